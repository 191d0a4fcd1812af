"""Machine code on disk: found again, never trusted where others could have written it."""

import ctypes
import os
import subprocess
import sys
import textwrap
import time

import pytest

pytest.importorskip("llvmlite")

from autograd.execute.native import cache as caching
from autograd.execute.native import compiler
from autograd.execute.native.cache import Cache, folder
from autograd.execute.native.ir import F64, Module

KEY = "0" * 64
posix = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes are POSIX's")


@pytest.fixture
def kept(tmp_path) -> Cache:
    cache = Cache(tmp_path / "kept")
    assert cache.reason == ""
    return cache


def module(factor: float = 2.0) -> Module:
    module = compiler.machine().module()
    f = module.function("scale", F64, [F64])
    f.give(f.arguments[0] * factor)
    return module


def scale(code: compiler.Compiled, x: float) -> float:
    return code.function("scale", ctypes.c_double, result=ctypes.c_double)(x)


def only_file(cache: Cache):
    (file,) = cache.path.iterdir()
    return file


def test_what_is_written_is_read(kept):
    assert kept.read(KEY) is None
    kept.write(KEY, b"code")
    assert kept.read(KEY) == b"code"
    assert Cache(kept.path).read(KEY) == b"code"


def test_code_comes_from_disk_the_second_time(kept):
    first, second = (compiler.compiled(module(), kept) for _ in range(2))
    assert not first.from_disk
    assert second.from_disk
    assert scale(first, 1.5) == scale(second, 1.5) == 3.0


def test_other_code_has_another_key(kept):
    compiler.compiled(module(2.0), kept)
    assert not compiler.compiled(module(3.0), kept).from_disk
    assert len(list(kept.path.iterdir())) == 2


@pytest.mark.parametrize("fact", ["cpu", "features", "key"])
def test_another_machine_has_another_key(kept, monkeypatch, fact):
    compiler.compiled(module(), kept)
    host = compiler.machine()
    assert host.cpu in host.key
    assert host.features in host.key
    monkeypatch.setattr(host, "key", host.key.replace(getattr(host, fact), "another"))
    assert not compiler.compiled(module(), kept).from_disk


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:20],
        lambda content: b"",
        lambda content: content[:-7] + bytes([content[-7] ^ 1]) + content[-6:],
        lambda content: b"X" + content[1:],
        lambda content: content + b"\0",
    ],
    ids=["a byte short", "head only", "empty", "a bit turned", "other magic", "a byte more"],
)
def test_damaged_files_are_compiled_anew(kept, damage):
    compiler.compiled(module(), kept)
    file = only_file(kept)
    sound = file.read_bytes()
    file.write_bytes(damage(sound))
    again = compiler.compiled(module(), kept)
    assert not again.from_disk
    assert scale(again, 2.0) == 4.0
    assert file.read_bytes() == sound


def test_a_file_under_another_key_is_not_taken(kept):
    kept.write(KEY, b"code")
    (kept.path / KEY).rename(kept.path / ("1" * 64))
    assert kept.read("1" * 64) is None


@posix
def test_folder_and_files_are_this_users_alone(kept):
    kept.write(KEY, b"code")
    assert kept.path.stat().st_mode & 0o777 == 0o700
    assert only_file(kept).stat().st_mode & 0o777 == 0o600


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_is_refused(kept, mode):
    kept.write(KEY, b"code")
    kept.path.chmod(mode)
    refused = Cache(kept.path)
    assert refused.reason.startswith("compiled code is not kept on disk: ")
    assert "can be written by others; `chmod 700` it" in refused.reason
    assert refused.read(KEY) is None
    refused.write("1" * 64, b"code")
    assert [file.name for file in kept.path.iterdir()] == [KEY]
    assert scale(compiler.compiled(module(), refused), 2.0) == 4.0


@posix
def test_a_folder_of_another_user_is_refused(kept, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: kept.path.stat().st_uid + 1)
    assert "belongs to another user" in Cache(kept.path).reason


@posix
def test_links_are_refused(kept, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(kept.path)
    assert "is a link" in Cache(link).reason
    kept.write(KEY, b"code")
    (kept.path / ("1" * 64)).symlink_to(kept.path / KEY)
    assert kept.read("1" * 64) is None


@posix
def test_a_file_that_others_may_write_is_not_read(kept):
    kept.write(KEY, b"code")
    only_file(kept).chmod(0o606)
    assert kept.read(KEY) is None


@posix
def test_a_folder_made_writable_later_is_not_read(kept):
    kept.write(KEY, b"code")
    kept.path.chmod(0o777)
    assert kept.read(KEY) is None


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    place = tmp_path / "file"
    place.write_text("")
    assert "is a link or of another kind" in Cache(place).reason
    assert "cannot be used" in Cache(place / "inside").reason


def test_a_disk_without_room_is_no_error(kept, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching, "_write_all", full)
    kept.write(KEY, b"code")
    assert list(kept.path.iterdir()) == []


def test_the_oldest_go_when_there_are_too_many(tmp_path):
    cache = Cache(tmp_path / "kept", largest=3500)
    now = time.time()
    for i in range(5):
        cache.write(str(i) * 64, bytes(1000))
        os.utime(cache.path / (str(i) * 64), (now + i - 100,) * 2)
    cache.write("5" * 64, bytes(1000))
    assert sorted(file.name[0] for file in cache.path.iterdir()) == ["3", "4", "5"]


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("LOOPGRAD_CACHE", str(tmp_path / "chosen"))
    assert folder() == tmp_path / "chosen"
    monkeypatch.delenv("LOOPGRAD_CACHE")
    if sys.platform != "win32":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert folder() == tmp_path / "xdg" / "loopgrad"


PROGRAM = textwrap.dedent("""
    import ctypes, time
    start = time.perf_counter()
    from autograd.execute.native import products, blas
    from autograd.execute.native.compiler import compiled, machine
    module = machine().module()
    products.write(module, "float64", machine().vector_bytes, blas.find())
    code = compiled(module)
    assert code.address(products.name("float64"))
    print(code.from_disk, time.perf_counter() - start)
""")


def test_a_second_process_need_not_compile(run_python, tmp_path):
    times = []
    for expected in ("False", "True"):
        answer = run_python("-c", PROGRAM, LOOPGRAD_CACHE=str(tmp_path / "kept"))
        assert answer.returncode == 0, answer.stderr
        from_disk, seconds = answer.stdout.split()
        assert from_disk == expected
        times.append(float(seconds))
    assert times[1] < times[0]


def test_two_processes_at_once(root, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(root), "LOOPGRAD_CACHE": str(tmp_path / "kept")}
    command = [sys.executable, "-c", PROGRAM]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, cwd=tmp_path)
        for _ in range(3)
    ]
    for process in running:
        process.communicate(timeout=120)
        assert process.returncode == 0
    (file,) = (tmp_path / "kept").iterdir()
    assert Cache(tmp_path / "kept").read(file.name) is not None
