"""Weights and checkpoints as files: the round trip, PyTorch's files, writing, folders of them."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import autograd as ag
import nn
from autograd.errors import FormatError, LoopGradError, ShapeError
from autograd.export.atomic import left_over, write_whole
from nn.checkpoint.header import DTYPES, MOST_ENTRIES

FIXTURES = Path(__file__).parent / "fixtures"
GOLDEN = Path(__file__).parent / "golden" / "step-000000000007.safetensors"
RNG = np.random.default_rng


def same(before: dict, after: dict) -> None:
    """Fail unless two states have the same names, types and bits."""
    assert before.keys() == after.keys()
    for name, x in before.items():
        assert type(x) is type(after[name]), name
        if isinstance(x, np.ndarray):
            assert (x.dtype, x.shape) == (after[name].dtype, after[name].shape), name
            assert x.tobytes() == after[name].tobytes(), name
        else:
            assert repr(x) == repr(after[name]), name


def round_trip(path, state, metadata=None):
    nn.save(path / "x.safetensors", state, metadata)
    return nn.load(path / "x.safetensors")


# The round trip.


@pytest.mark.parametrize("code", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (1, 0, 2), (7,)])
def test_every_dtype_and_shape_is_kept(code, shape, tmp_path):
    value = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(DTYPES[code])
    same({"x": value}, round_trip(tmp_path, {"x": value}))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_bits_of_floats_are_kept(dtype, tmp_path):
    bits = np.dtype(dtype).itemsize * 8
    patterns = RNG(0).integers(0, 1 << min(bits, 63), 1000).astype(f"uint{bits}")
    special = np.array([-0.0, np.nan, np.inf, -np.inf], dtype)
    state = {"any": patterns.view(dtype), "special": special}
    same(state, round_trip(tmp_path, state))


@pytest.mark.parametrize(
    "lay",
    [
        lambda x: x.T,
        lambda x: x[::-2, 1:],
        lambda x: np.asfortranarray(x),
        lambda x: x.astype(">f8"),
        lambda x: np.broadcast_to(x[0], (3, 4)),
        lambda x: x[1, 2],
    ],
)
def test_arrays_may_lie_in_memory_as_they_like(lay, tmp_path):
    x = lay(np.arange(12.0).reshape(3, 4))
    after = round_trip(tmp_path, {"x": x})["x"]
    np.testing.assert_array_equal(after, x)
    assert after.dtype == np.float64
    assert after.dtype.isnative


def test_numbers_and_texts_come_back_as_they_were(tmp_path):
    state = {
        **{"steps": 12, "lr": 0.1, "none": None, "yes": True, "name": "ä\0\ud800\n"},
        **{"big": 2**127 - 1, "low": -(2**64), "zero": -0.0, "nan": np.nan, "inf": -np.inf},
        **{"least": 5e-324, "most": 1.7976931348623157e308, "edge": 2**63, "list": [1, [2.0], []]},
        **{"tuple": (1, ("a",)), "dict": {"float": "nan", "a": {"": (None,)}}, "empty": {}},
    }
    same(state, round_trip(tmp_path, state))
    loaded = round_trip(tmp_path, {}, metadata=state)
    same(state, loaded.metadata)
    assert loaded == {}


def test_random_floats_come_back_as_they_were(tmp_path):
    numbers = RNG(0).integers(0, 1 << 63, 1000).view(np.float64).tolist()
    after = round_trip(tmp_path, {"x": numbers})["x"]
    assert list(map(repr, after)) == list(map(repr, numbers))


def test_texts_of_the_metadata_are_for_other_programs_too(tmp_path):
    from safetensors import safe_open

    nn.save(tmp_path / "x", {"w": np.ones(2)}, {"format": "pt", "epoch": 3})
    with safe_open(tmp_path / "x", "np") as file:
        assert file.metadata()["format"] == "pt"
        np.testing.assert_array_equal(file.get_tensor("w"), np.ones(2))
    assert nn.load(tmp_path / "x").metadata == {"format": "pt", "epoch": 3}


def test_the_same_state_is_the_same_file(tmp_path):
    for name in "ab":
        nn.save(tmp_path / name, {"w": np.ones(2), "b": np.ones(1), "lr": 0.1}, {"epoch": 3})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_modules_and_optimizers_are_saved_by_their_state(tmp_path):
    model = nn.LSTM(2, 3, rng=RNG(0))
    optimizer = nn.Adam(model.parameters(), lr=0.01)
    loss = nn.TrainingStep(lambda xs: ag.square(model(xs)[0]).mean(), optimizer)
    loss.run(xs=np.ones((4, 1, 2)))
    for part in (model, optimizer):
        before = part.state_dict()
        loaded = round_trip(tmp_path, part)
        same(before, loaded)
        part.load_state_dict(loaded)
        same(before, part.state_dict())
    tensors = {"x": ag.tensor([1.0, 2.0]), "p": model.parameters()[0]}
    same({name: np.asarray(x.value) for name, x in tensors.items()}, round_trip(tmp_path, tensors))


def test_what_is_loaded_is_ones_own(tmp_path):
    state = round_trip(tmp_path, {"a.x": np.zeros(2), "a.y": 1, "b.x": np.ones(1)})
    state["a.x"][0] = 1
    assert state.part("a").keys() == {"x", "y"}
    with pytest.raises(FormatError, match="nothing of 'c'; the parts are a, b"):
        state.part("c")


# PyTorch's files.


def test_weights_of_torch_give_the_output_of_torch():
    state = nn.load(FIXTURES / "torch_weights.safetensors")
    rnn = nn.LSTM(2, 3, num_layers=2, bidirectional=True, dtype=np.float32)
    rnn.load_state_dict(state.part("rnn"))
    ys, _ = rnn(state["xs"])
    np.testing.assert_allclose(ys.value, state["ys"], rtol=0, atol=1e-6)


def test_all_kinds_of_torch_are_read():
    state = nn.load(FIXTURES / "torch_kinds.safetensors")
    assert state.metadata == {"format": "pt"}
    same({"steps": np.array(7), "nothing": np.zeros((0, 3), np.float32)}, {
        name: state.pop(name) for name in ("steps", "nothing")
    })  # fmt: skip
    bits = state.pop("bits")
    assert bits.tobytes() == np.array([-0.0, np.nan, np.inf, 1e-45], np.float32).tobytes()
    assert len(state) == len(DTYPES)
    for name, x in state.items():
        np.testing.assert_array_equal(x, np.array([[0, 1, 1]], name), strict=True)


def test_bfloat16_is_refused_with_what_to_do():
    with pytest.raises(FormatError, match=r"'x' is of type 'BF16', which.*BF16 for example to F32"):
        nn.load(FIXTURES / "torch_bfloat16.safetensors")


def test_the_library_reads_ours(tmp_path):
    from safetensors.numpy import load_file

    state = {f"x.{code}": np.ones((2, 3), DTYPES[code]) for code in DTYPES}
    nn.save(tmp_path / "x", {**state, "lr": 0.1, "scalar": np.array(2.0)})
    same({**state, "scalar": np.array(2.0)}, load_file(tmp_path / "x"))


# Files of this version.


class Golden:
    """A run whose values are arithmetic, so that they are the same on every machine."""

    def __init__(self) -> None:
        self.model = nn.Linear(2, 3, rng=RNG(0))
        self.optimizer = nn.Adam(self.model.parameters(), lr=0.5)
        self.rng = RNG(0)
        self.parts = {"model": self.model, "optimizer": self.optimizer, "rng": self.rng}

    def fill(self) -> None:
        for part in (self.model, self.optimizer):
            state = part.state_dict()
            for i, (name, x) in enumerate(state.items()):
                if isinstance(x, np.ndarray):
                    state[name] = (np.arange(x.size) / 7 + i).reshape(x.shape)
            part.load_state_dict({**state, **({"steps": 7} if "steps" in state else {})})
        self.rng.random(5)

    def states(self) -> list[dict]:
        state = {"state": str(self.rng.bit_generator.state)}
        return [self.model.state_dict(), self.optimizer.state_dict(), state]


def write_golden() -> None:
    """Write the golden file again; only for a new version of the format."""
    run = Golden()
    run.fill()
    nn.Checkpoints(GOLDEN.parent, run.parts).save(7)


def test_the_golden_checkpoint_is_read_exactly(tmp_path):
    expected, run = Golden(), Golden()
    expected.fill()
    (tmp_path / GOLDEN.name).write_bytes(GOLDEN.read_bytes())
    assert nn.Checkpoints(tmp_path, run.parts).resume() == 7
    for before, after in zip(expected.states(), run.states(), strict=True):
        same(before, after)


def test_today_the_golden_checkpoint_is_written_the_same(tmp_path):
    run = Golden()
    run.fill()
    path = nn.Checkpoints(tmp_path, run.parts).save(7)
    assert path.read_bytes() == GOLDEN.read_bytes()


# What cannot be saved.


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"x": np.ones(2, complex)}, "'x' is complex128.2., which a file cannot hold"),
        ({"x": np.array([None])}, "'x' is object.1., which a file"),
        ({"x": np.array("text")}, "'x' is <U4..., which a file|'x' is .*which a file"),
        ({"x": np.ones(2, np.longdouble)}, "floats of up to 64 bits"),
        ({"x": object()}, "'x' holds object <object"),
        ({"x": [np.ones(2)]}, "'x' holds ndarray.*arrays stand in the outermost dict only"),
        ({"x": {1: 2}}, "keys that are no texts"),
        ({"x": {1, 2}}, "'x' holds set"),
        ({"": np.ones(2)}, "'' is no name that a file can have"),
        ({"a\nb": 1}, r"'a\\x0ab' is no name"),
        ({"a\ud800": 1}, "is no name"),
        ({"x" * 1001: 1}, "is no name"),
        ({"__metadata__": np.ones(2)}, "and not '__metadata__'"),
        ({3: np.ones(2)}, "a name is text, but int 3 came"),
        ([np.ones(2)], "takes a dict of arrays by name.*but got list"),
        (None, "but got NoneType"),
    ],
)
def test_what_a_file_cannot_hold_is_named(state, message, tmp_path):
    with pytest.raises(FormatError, match=message):
        nn.save(tmp_path / "x", state)
    assert list(tmp_path.iterdir()) == []


def test_endless_values_are_refused(tmp_path):
    endless: list = []
    endless.append(endless)
    with pytest.raises(FormatError, match="20 deep at most"):
        nn.save(tmp_path / "x", {"x": endless})


def test_what_could_not_be_read_is_not_written(tmp_path):
    with pytest.raises(FormatError, match=r"cannot write '.*x': its header would have 120"):
        nn.save(tmp_path / "x", {"x": "text" * 3_000_000})
    with pytest.raises(FormatError, match="more than 50000 entries"):
        nn.save(tmp_path / "x", {f"{i}": np.zeros(0) for i in range(MOST_ENTRIES)})
    with pytest.raises(FormatError, match="or 500000 values in all"):
        nn.save(tmp_path / "x", {"x": [0] * 500_001})
    assert list(tmp_path.iterdir()) == []


def test_metadata_of_our_name_are_refused(tmp_path):
    with pytest.raises(FormatError, match=r"'loopgrad.x' in metadata is LoopGrad's own"):
        nn.save(tmp_path / "x", {}, {"loopgrad.x": 1})


def test_the_order_of_arguments_is_told(tmp_path):
    with pytest.raises(
        FormatError, match=r"takes a path first, but got Linear; write nn.save\('mod"
    ):
        nn.save(nn.Linear(1, 1), tmp_path / "x")
    with pytest.raises(FormatError, match=r"takes a path, but got Linear"):
        nn.load(nn.Linear(1, 1))


def test_without_the_library_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(LoopGradError, match=r"pip install 'loopgrad\[files\]'"):
        nn.save(tmp_path / "x", {"x": np.ones(2)})
    with pytest.raises(LoopGradError, match=r"pip install 'loopgrad\[files\]'"):
        nn.load(FIXTURES / "torch_weights.safetensors")


# Writing.


def fails_to_write(path, message):
    with pytest.raises(FormatError, match=message) as caught:
        nn.save(path, {"x": np.zeros(100)})
    assert str(path) in str(caught.value)


def test_paths_that_cannot_be_written_are_named(tmp_path):
    fails_to_write(tmp_path / "missing" / "x", "cannot write '.*missing/x': No such file")
    (tmp_path / "folder").mkdir()
    fails_to_write(tmp_path / "folder", "cannot write '.*folder': Is a directory")
    (tmp_path / "file").write_bytes(b"")
    fails_to_write(tmp_path / "file" / "x", "cannot write '.*file/x': Not a directory")
    fails_to_write(tmp_path / ("x" * 300), "File name too long")
    with pytest.raises(FormatError, match="cannot write '/': Is a directory"):
        nn.save("/", {})
    with pytest.raises(FormatError, match=r"cannot write 'a\\x00b': embedded null byte"):
        nn.save("a\0b", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


READ_ONLY = """
    import os, sys
    import numpy as np, nn, safetensors.numpy
    os.chdir(sys.argv[1])  # so that the folders above need not be readable
    nn.save("x", {"x": np.ones(2)})
    os.chmod("x", 0o444)
    os.chmod(".", 0o555)
    if os.geteuid() == 0:  # root may write everywhere, so be nobody
        os.seteuid(65534)
    try:
        nn.save("x", {"x": np.zeros(2)})
    except Exception as error:
        print(type(error).__name__, error)
    print(nn.load("x")["x"].tolist())
"""


def test_a_folder_without_permission_is_named(tmp_path, run_python):
    (tmp_path / "folder").mkdir()
    answer = run_python("-c", textwrap.dedent(READ_ONLY), str(tmp_path / "folder"))
    assert answer.returncode == 0, answer.stderr
    error, loaded = answer.stdout.splitlines()
    assert error.startswith("FormatError")
    assert error.endswith("cannot write 'x': Permission denied")
    assert loaded == "[1.0, 1.0]"


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EXDEV]
)
def test_a_write_that_fails_leaves_the_old_file(call, code, tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    nn.save(path, {"x": np.ones(2)})
    real = getattr(os, call)

    def fail(*args, **kwargs):
        if call == "open" and not str(args[0]).endswith(".tmp"):
            return real(*args, **kwargs)
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        fails_to_write(path, os.strerror(code))
    same({"x": np.ones(2)}, nn.load(path))
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


FULL_DISK = """
    import resource, sys
    import numpy as np, nn
    folder = sys.argv[1]
    checkpoints = nn.Checkpoints(folder, {"model": nn.Linear(2, 2), "big": nn.Linear(200, 100)})
    checkpoints.save(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        checkpoints.save(2)
    except Exception as error:
        print(type(error).__name__, error)
    print(checkpoints.resume())
"""


def test_a_disk_that_is_full_leaves_the_last_checkpoint(tmp_path, run_python):
    answer = run_python("-c", textwrap.dedent(FULL_DISK), str(tmp_path / "run"))
    assert answer.returncode == 0, answer.stderr
    error, resumed = answer.stdout.splitlines()
    assert error.startswith("FormatError")
    assert "step-000000000002.safetensors': File too large" in error
    assert resumed == "1"
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["step-000000000001.safetensors"]


def test_a_file_is_flushed_before_it_is_renamed_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))
        )
    nn.save(tmp_path / "x", {"x": np.ones(2)})
    assert calls == ["fsync", "replace", "fsync"]


def test_a_link_is_replaced_when_written_and_followed_when_read(tmp_path):
    nn.save(tmp_path / "target", {"x": np.ones(2)})
    (tmp_path / "link").symlink_to(tmp_path / "target")
    same({"x": np.ones(2)}, nn.load(tmp_path / "link"))
    nn.save(tmp_path / "link", {"x": np.zeros(1)})
    assert not (tmp_path / "link").is_symlink()
    same({"x": np.ones(2)}, nn.load(tmp_path / "target"))


def test_parts_are_written_one_behind_the_other(tmp_path):
    write_whole(tmp_path / "x", b"ab", memoryview(b"cd"), b"")
    assert (tmp_path / "x").read_bytes() == b"abcd"


@pytest.mark.parametrize(
    ("name", "of"),
    [
        (".x.safetensors.0123456789ab.tmp", "x.safetensors"),
        (".x.0123456789ab.0123456789ab.tmp", "x.0123456789ab"),
        ("x.safetensors.0123456789ab.tmp", None),
        (".x.safetensors.0123456789.tmp", None),
        (".x.safetensors.0123456789ab.tmp~", None),
    ],
)
def test_left_over_files_are_known_by_their_names(name, of):
    assert left_over(name) == of


# Loading.


def test_a_wrong_model_is_told_all_that_differs_and_stays_as_it_is(tmp_path):
    state = nn.LSTM(2, 3, rng=RNG(0)).state_dict()
    state["extra"] = state.pop("bias_ih_l0")
    state["bias_hh_l0"] = np.zeros(5)
    loaded = round_trip(tmp_path, state)
    model = nn.LSTM(2, 3, rng=RNG(1))
    before = model.state_dict()
    with pytest.raises(ShapeError, match=r"missing: bias_ih_l0; extra: extra; .*'bias_hh_l0' is"):
        model.load_state_dict(loaded)
    same(before, model.state_dict())


def test_a_fifo_does_not_make_loading_wait(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    code = f"import nn; nn.load({str(tmp_path / 'fifo')!r})"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "FormatError" in answer.stderr
    assert "it is no ordinary file" in answer.stderr
