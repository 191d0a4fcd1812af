"""Damaged and hostile files of weights: each is refused, by one class of error, before it hurts.

LOOPGRAD_FLIPS says how many random bits of a larger file are flipped (10,000 unless told).
"""

import hashlib
import io
import json
import os
import random
import struct
import textwrap
import time
import tracemalloc

import numpy as np
import pytest

import nn
from autograd.errors import FormatError
from autograd.export.parsing import parse_json
from nn.checkpoint.file import read
from nn.checkpoint.header import MOST_ENTRIES, MOST_HEADER_BYTES

FLIPS = int(os.environ.get("LOOPGRAD_FLIPS", "10000"))


def loads(data: bytes) -> nn.checkpoint.State:
    return read(io.BytesIO(data), len(data))


def ours(tmp_path, state=None, metadata=None) -> bytes:
    """The bytes of a file of ours."""
    state = {"w": np.ones(2, np.float32), "lr": 0.1} if state is None else state
    nn.save(tmp_path / "ours", state, metadata)
    return (tmp_path / "ours").read_bytes()


# Damage.


def test_every_truncation_is_noticed(tmp_path):
    data = ours(tmp_path, metadata={"format": "pt", "epoch": 3})
    for length in range(len(data)):
        with pytest.raises(FormatError):
            loads(data[:length])
    for more in (b"\0", b" " * 8, data):
        with pytest.raises(FormatError):
            loads(data + more)
    loads(data)


def test_every_flipped_bit_is_noticed(tmp_path):
    data = ours(tmp_path, metadata={"format": "pt", "epoch": 3})
    for i in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[i] ^= 1 << bit
            with pytest.raises(FormatError):
                loads(bytes(damaged))


def test_random_flips_in_a_larger_file_are_noticed(tmp_path):
    rng = random.Random(0)
    parts = {f"layers.{i}.weight": np.random.default_rng(i).normal(size=(3, 5)) for i in range(20)}
    data = ours(tmp_path, {**parts, "steps": 100})
    header = 8 + int.from_bytes(data[:8], "little")
    slowest = 0.0
    for i in range(FLIPS):
        damaged = bytearray(data)
        # the header is what could go wrong in more ways than one
        damaged[rng.randrange(header if i % 2 else len(data))] ^= 1 << rng.randrange(8)
        start = time.process_time()
        with pytest.raises(FormatError):
            loads(bytes(damaged))
        slowest = max(slowest, time.process_time() - start)
    assert slowest < 1


def test_damage_of_several_bytes_is_noticed(tmp_path):
    rng = random.Random(1)
    data = ours(tmp_path)
    for _ in range(2000):
        damaged = bytearray(data)
        begin = rng.randrange(len(data))
        for i in range(begin, min(begin + rng.randrange(1, 64), len(data))):
            damaged[i] = rng.choice([0, 255, 34, 92, rng.randrange(256)])
        if damaged != data:
            with pytest.raises(FormatError):
                loads(bytes(damaged))


def test_files_of_other_programs_never_crash(tmp_path):
    """They have no digest, so flips in their data pass; all else is sound, or refused."""
    data = other({"w": entry("F32", [2], 0, 8), "b": entry("BOOL", [8], 8, 16)}, b"\0\1" * 8)
    passed = 0
    for i in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[i] ^= 1 << bit
            try:
                state = loads(bytes(damaged))
            except FormatError:
                continue
            passed += 1
            assert sum(x.nbytes for x in state.values()) == 16
    assert 64 < passed < 400


# Hostile files: whole ones of other programs, or of ours with their digest in order.


def entry(dtype, shape, begin: int, end: int) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def other(table, data: bytes = b"") -> bytes:
    """A file of another program, of this header."""
    if isinstance(table, dict):
        table = json.dumps(table)
    header = table.encode("utf-8", "surrogatepass") if isinstance(table, str) else table
    return struct.pack("<Q", len(header)) + header + data


def sealed(table: dict | str, entries: dict | None = None, data: bytes = b"") -> bytes:
    """A file with this text of ours, sealed as by ours."""
    blank = "0" * 64
    text = table if isinstance(table, str) else json.dumps(table, separators=(",", ":"))
    metadata = {"loopgrad": text}
    header = json.dumps({"__metadata__": metadata, **(entries or {})}, separators=(",", ":"))
    digest = hashlib.sha256(other(header, data)).hexdigest()
    return other(header.replace(blank, digest, 1), data)


def table_of_ours(**changes) -> dict:
    table = {"sha256": "0" * 64, "version": 1, "values": {}, "metadata": {}}
    return {key: x for key, x in (table | changes).items() if x is not None}


W = entry("F32", [2], 0, 8)
E8 = b"\0" * 8
MANY = {f"{i}": entry("F32", [0], 0, 0) for i in range(MOST_ENTRIES + 1)}

HOSTILE = {
    "nothing": (b"", "has 0 bytes"),
    "7 bytes": (b"\0" * 7, "has 7 bytes"),
    "no header": (b"\0" * 8, "is not JSON"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "no safetensors file"),
    "a pickle": (b"\x80\x04\x95\x1f\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system", "no safetens"),
    "a zip": (b"PK\x03\x04" + b"\0" * 60, "no safetensors|is not JSON|cut off"),
    "header of 2**64 - 1": (b"\xff" * 8 + b"{}", "would have 18446744073709551615 bytes"),
    "header of 11 MB": (struct.pack("<Q", 11_000_000) + b" " * 11_000_000, "more than 10000000"),
    "header longer than the file": (struct.pack("<Q", 100) + b"{}", "100 bytes, but the file 10"),
    "header a list": (other("[]"), "header is no table"),
    "header a number": (other("1"), "header is no table"),
    "header null": (other("null"), "header is no table"),
    "header not UTF-8": (other(b'{"\xff": 1}'), "not UTF-8 text at byte 2"),
    "header with a mark": (other("\ufeff{}"), "is not JSON"),
    "two headers": (other("{}{}"), "is not JSON"),
    "brackets 1e5": (other("[" * 100_000 + "]" * 100_000), "brackets nest"),
    "tables 4e4": (other('{"a":' * 40_000 + "1" + "}" * 40_000), "brackets nest"),
    "entries 50,001": (other(MANY), "more than 50000 entries"),
    "a number for an entry": (other({"w": 3}), "must have data_offsets, dtype, shape"),
    "unknown key": (other({"w": W | {"path": "/etc/passwd"}}, E8), "and nothing else"),
    "missing key": (other({"w": {"dtype": "F32", "shape": []}}), "must have data_offsets"),
    "duplicate name": (other('{"w": 1, "w": 2}'), "a key twice: 'w'"),
    "duplicate key": (other('{"w": {"dtype": "F32", "dtype": "F64"}}'), "a key twice: 'dtype'"),
    "duplicate, and 1e5 others": (
        other("{" + ",".join(f'"{i % 99_999}":1' for i in range(100_000)) + "}"), "twice: '0'"
    ),
    "dtype unknown": (other({"w": W | {"dtype": "Q7"}}, E8), "is of type 'Q7'"),
    "dtype BF16": (other({"w": W | {"dtype": "BF16"}}, E8), "type 'BF16'.*to F32"),
    "dtype F8": (other({"w": W | {"dtype": "F8_E4M3"}}, E8), "type 'F8_E4M3'"),
    "dtype C64": (other({"w": entry("C64", [1], 0, 8)}, E8), "type 'C64'"),
    "dtype object": (other({"w": W | {"dtype": "O"}}, E8), "type 'O'"),
    "dtype a list": (other({"w": W | {"dtype": ["F32"]}}, E8), "is of type"),
    "dtype of 1 MB": (other({"w": W | {"dtype": "F" * 1_000_000}}, E8), "type 'FFFF"),
    "shape negative": (other({"w": W | {"shape": [-2]}}, E8), "shape of 'w' are no list"),
    "shape of two minus signs": (other({"w": W | {"shape": [-1, -2]}}, E8), "are no list"),
    "shape 2.0": (other({"w": W | {"shape": [2.0]}}, E8), "are no list of whole numbers"),
    "shape 1e999": (other('{"w": {"shape": [1e999]}}'), "too large for a float"),
    "shape true": (other({"w": W | {"shape": [True, 2]}}, E8), "are no list"),
    "shape a number": (other({"w": W | {"shape": 2}}, E8), "are no list"),
    "shape NaN": (other('{"w": {"shape": [NaN]}}'), "holds NaN"),
    "shape Infinity": (other('{"w": {"shape": [-Infinity]}}'), "holds -Infinity"),
    "shape of 1e5 digits": (other('{"w": {"shape": [' + "9" * 100_000 + "]}}"), "100000 digits"),
    "shape bomb": (other({"w": W | {"shape": [1 << 40]}}, E8), "of 4398046511104 bytes, but has 8"),
    "shape overflow": (
        other({"w": entry("F32", [1 << 32, 1 << 32], 0, 0)}), "shape that no array can have"
    ),
    "shape overflow to 8 bytes": (
        other({"w": entry("F32", [(1 << 62) + 2], 0, 8)}, E8), "shape that no array can have"
    ),
    "shape overflow times 0": (
        other({"w": entry("F32", [0, 1 << 40, 1 << 40], 0, 0)}), "shape that no array can have"
    ),
    "shape of 65 axes": (other({"w": entry("F32", [1] * 65, 0, 4)}, b"1234"), "no array can have"),
    "shape of 1e5 axes": (
        other({"w": entry("F32", [2] * 100_000, 0, 4)}, b"1234"), "no array can have"
    ),
    "shape of 1e6 axes": (
        other({"w": entry("F32", [2] * 1_000_000, 0, 4)}, b"1234"), "or 500000 values"
    ),
    "offsets backwards": (other({"w": entry("F32", [2], 8, 0)}, E8), "no begin and end"),
    "offsets one": (other({"w": W | {"data_offsets": [0]}}, E8), "no begin and end"),
    "offsets three": (other({"w": W | {"data_offsets": [0, 8, 8]}}, E8), "no begin and end"),
    "offsets negative": (other({"w": W | {"data_offsets": [-8, 0]}}, E8), "are no list"),
    "offsets behind the end": (other({"w": entry("F32", [2], 8, 16)}, E8), "take bytes 8 to 16"),
    "offsets 2**63": (
        other({"w": entry("F32", [2], 1 << 63, (1 << 63) + 8)}, E8), "the data, but there are 8"
    ),
    "overlap": (
        other({"a": W, "b": entry("F32", [2], 4, 12)}, b"\0" * 12), "'a' and 'b' overlap"
    ),
    "the same bytes twice": (other({"a": W, "b": W}, E8), "'a' and 'b' overlap"),
    "gap": (
        other({"a": W, "b": entry("F32", [2], 12, 20)}, b"\0" * 20), "4 bytes between them"
    ),
    "gap at the start": (other({"a": entry("F32", [1], 4, 8)}, E8), "take bytes 4 to 8"),
    "more data": (other({"w": W}, E8 + b"#!/bin/sh"), "but there are 17"),
    "no arrays but data": (other("{}", E8), "take bytes 0 to 0 of the data, but there are 8"),
    "bools of 2": (other({"w": entry("BOOL", [2], 0, 2)}, b"\0\2"), "is not of bools"),
    "name empty": (other({"": W}, E8), "'' is no name"),
    "name of 1 MB": (other({"x" * 1_000_000: W}, E8), "is no name"),
    "name with NUL": (other({"a\0b": W}, E8), r"'a\\x00b' is no name"),
    "name with a newline": (other({"a\nb": W}, E8), r"'a\\x0ab' is no name"),
    "name with an escape": (other({"\x1b[31m": W}, E8), r"'\\x1b\[31m' is no name"),
    "name right to left": (other({"\u202eevil": W}, E8), r"'\\u202eevil' is no name"),
    "name a lone surrogate": (other('{"\\ud800": 1}'), r"'\\ud800' is no name"),
    "metadata a list": (other('{"__metadata__": []}'), "__metadata__ is no table"),
    "metadata of numbers": (other('{"__metadata__": {"a": 1}}'), "'a' in its .* is no text"),
    "metadata of tables": (other('{"__metadata__": {"a": {}}}'), "'a' in its .* is no text"),
    "metadata twice": (other('{"__metadata__": {}, "__metadata__": {}}'), "a key twice"),
    "metadata surrogate": (other('{"__metadata__": {"a": "\\ud800"}}'), "is no text"),
    "metadata names": (other('{"__metadata__": {"a\\n": "x"}}'), "is no name"),
    "digest under another name": (
        other({"__metadata__": {"loopgrae": '{"sha256":"'}}), "'loopgrae' in its metadata is not"
    ),
    "two texts of ours": (
        other({"__metadata__": {"loopgrad": "{}", "loopgrad.b": "x"}}), "is not known"
    ),
    "no digest": (other({"__metadata__": {"loopgrad": '{"version":1}'}}), "not in its place"),
    "digest of another": (
        sealed(table_of_ours()).replace(b'"version', b'"vertion'), "sha256 does not fit"
    ),
    "no version": (sealed(table_of_ours(version=None)), "no table with a version"),
    "version 2": (sealed(table_of_ours(version=2)), "version is '2', but.*update LoopGrad"),
    "version true": (sealed(table_of_ours(version=True)), "version is 'True'"),
    "unknown switch": (sealed(table_of_ours(unsafe=True)), "other keys than it must have"),
    "no values": (sealed(table_of_ours(values=None)), "other keys than it must have"),
    "values a list": (sealed(table_of_ours(values=[])), "the values .* are no table"),
    "metadata of ours a text": (sealed(table_of_ours(metadata="x")), "the metadata .* are no tab"),
    "value of another form": (
        sealed(table_of_ours(values={"x": {"py/object": "os.system"}})), "value of 'x' is not one"
    ),
    "value of two forms": (
        sealed(table_of_ours(values={"x": {"int": "0x1", "float": "inf"}})), "value of 'x' is not"
    ),
    "value of code": (
        sealed(table_of_ours(metadata={"x": {"float": "__import__('os')"}})), "value of 'x' is not"
    ),
    "value int of 1e6 digits": (
        sealed(table_of_ours(values={"x": {"int": "0x" + "f" * 1_000_000}})), "value of 'x' is not"
    ),
    "value number of 1e5 digits": (
        sealed('{"sha256":"' + "0" * 64 + '","version":' + "9" * 100_000 + "}"), "100000 digits"
    ),
    "value nested 1e5": (
        sealed('{"sha256":"' + "0" * 64 + '","values":' + "[" * 100_000 + "}"), "brackets nest"
    ),
    "value twice": (
        sealed('{"sha256":"' + "0" * 64 + '","a":1,"a":2}'), "a key twice: 'a'"
    ),
    "value NaN": (sealed('{"sha256":"' + "0" * 64 + '","a":NaN}'), "holds NaN"),
    "value of a bad name": (sealed(table_of_ours(values={"a\0": 1})), r"'a\\x00' is no name"),
    "value and array": (
        sealed(table_of_ours(values={"w": 1}), {"w": W}, E8), "'w' is an array and a value"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name, tmp_path):
    data, message = HOSTILE[name]
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(data)
    start = time.process_time()
    with pytest.raises(FormatError, match=message) as caught:
        nn.load(path)
    assert time.process_time() - start < 1
    assert "hostile.safetensors" in str(caught.value)
    assert len(str(caught.value)) < 2000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_take_no_memory(name):
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            loads(HOSTILE[name][0])
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_the_sound_files_are_sound():
    """Or else the files above might be refused for another reason."""
    np.testing.assert_array_equal(loads(other({"w": W}, E8))["w"], np.zeros(2, np.float32))
    state = loads(sealed(table_of_ours(values={"x": 1}), {"w": W}, E8))
    assert state.keys() == {"w", "x"}
    assert loads(other("{}")) == {}
    assert loads(other({"__metadata__": {"a": ""}})).metadata == {"a": ""}
    assert len(loads(other({name: MANY[name] for name in "0123"}))) == 4


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "a b", "C:\\x", "日本", "a/b", "é"])
def test_names_are_never_paths(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ours(tmp_path, {name: np.ones(1)})
    (tmp_path / "ours").unlink()
    assert loads(data).keys() == {name}
    assert list(tmp_path.iterdir()) == []


def test_the_largest_header_is_read_in_time():
    n = MOST_ENTRIES - 1
    header = json.dumps({f"{i}": entry("F32", [0], 0, 0) for i in range(n)})
    assert len(header) < MOST_HEADER_BYTES
    start = time.process_time()
    with pytest.raises(FormatError, match="there are 8"):
        loads(other(header, E8))
    assert time.process_time() - start < 1


def test_the_parser_of_both_kinds_of_files_takes_linear_time():
    keys = ",".join(f'"{i}":1' for i in range(200_000))
    start = time.process_time()
    with pytest.raises(FormatError, match="twice: '199999'"):
        parse_json(f'{{{keys},"199999":1}}'.encode(), "UTF-8")
    assert time.process_time() - start < 1


# What is no file, or none of this size.


def test_what_is_no_ordinary_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "link", "/dev/zero", "/dev/stdin", "/"):
        with pytest.raises(FormatError, match="it is no ordinary file"):
            nn.load(path)
    with pytest.raises(FormatError, match="nowhere': it cannot be read: No such file"):
        nn.load(tmp_path / "nowhere")
    with pytest.raises(FormatError, match="it cannot be read: Too many levels"):
        nn.load(tmp_path / "loop")
    with pytest.raises(FormatError, match="it cannot be read: embedded null"):
        nn.load("a\0b")


def test_a_huge_file_is_refused_by_its_header(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.write(other({"w": W}, E8))
        file.truncate(1 << 40)
    start = time.process_time()
    with pytest.raises(FormatError, match="but there are 10995"):
        nn.load(path)
    assert time.process_time() - start < 1


def test_a_file_there_is_no_room_for_is_told(tmp_path):
    class Full(io.BytesIO):
        def read(self, size=-1):
            if size > 100_000:
                raise MemoryError
            return super().read(size)

    data = ours(tmp_path, {"w": np.zeros(20_000)})
    with pytest.raises(FormatError, match=f"not the memory for its {len(data)} bytes"):
        read(Full(data), len(data))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    data = ours(tmp_path)

    class Changing(io.BytesIO):
        def seek(self, *args):
            self.getbuffer()[20] ^= 1
            return super().seek(*args)

    with pytest.raises(FormatError, match="changed while it was read"):
        read(Changing(data), len(data))
    with pytest.raises(FormatError, match="changed while it was read"):
        read(io.BytesIO(data + b"x"), len(data))


# What loading does.

WATCHED = """
    import sys
    import nn
    path = sys.argv[1]
    nn.load(path)  # once unwatched: the library is imported
    events = []
    watching = True
    def watch(event, arguments):
        if watching:
            events.append((event, str(arguments[0]) if arguments else ""))
    sys.addaudithook(watch)
    state = nn.load(path)
    watching = False
    loud = [e for e in events if not e[0].startswith(("object.", "sys._getframe", "cpython."))]
    # the path, and the number that the system gave it
    print([e[0] for e in loud] == ["open", "open"], loud[0][1] == path, loud[1][1].isdigit(), loud)
"""


def test_loading_opens_one_file_and_executes_nothing(tmp_path, run_python):
    path = tmp_path / "x.safetensors"
    nn.save(path, {"../../evil": np.ones(3), "__import__('os')": 1}, {"os.system": "ls"})
    answer = run_python("-c", textwrap.dedent(WATCHED), str(path))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("True True True"), answer.stdout


LIMITED = """
    import resource, sys
    import nn, safetensors.numpy
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, used + 100_000_000))
    for path in sys.argv[1:]:
        try:
            nn.load(path)
        except nn.checkpoint.file.FormatError as error:
            print("refused")
"""


def test_hostile_files_are_refused_within_100_megabytes(tmp_path, run_python):
    """Counted by the system, not by Python: a limit on the process's memory."""
    paths = []
    for i, (data, _) in enumerate(HOSTILE.values()):
        paths.append(tmp_path / f"{i}")
        paths[-1].write_bytes(data)
    answer = run_python("-c", textwrap.dedent(LIMITED), *map(str, paths))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == ["refused"] * len(HOSTILE)
