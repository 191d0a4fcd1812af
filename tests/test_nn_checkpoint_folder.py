"""Folders of checkpoints: when files are written, what is resumed, what is refused, and Ctrl-C."""

import signal
import threading

import numpy as np
import pytest

import autograd as ag
import nn
from autograd.errors import FormatError, LoopGradError
from tests.test_nn_checkpoint import RNG, same

# Folders of checkpoints.


class Part:
    """A part of numbers; it refuses a state with `bad` in it."""

    def __init__(self, **state) -> None:
        self.state = state

    def state_dict(self):
        return dict(self.state)

    def load_state_dict(self, state) -> None:
        if "bad" in state:
            raise ZeroDivisionError("no")
        self.state = dict(state)


def names(checkpoints):
    return [int(path.stem.removeprefix("step-")) for path in checkpoints.paths()]


def test_files_are_written_every_so_many_steps_and_the_last_are_kept(tmp_path):
    part = Part(x=0)
    checkpoints = nn.Checkpoints(tmp_path / "a" / "b", {"p": part}, every=10, seconds=None, keep=2)
    assert checkpoints.latest() is None
    assert checkpoints.resume() == 0
    written = []
    for step in range(1, 36):
        part.state["x"] = step
        if checkpoints.maybe_save(step):
            written.append(step)
    assert written == [10, 20, 30]
    assert names(checkpoints) == [20, 30]
    again = nn.Checkpoints(tmp_path / "a" / "b", {"p": part}, every=10, seconds=None, keep=None)
    assert again.resume() == 30
    assert part.state == {"x": 30}
    assert [again.maybe_save(step) for step in (31, 43, 44, 75, 80)] == [0, 1, 0, 1, 1]
    assert names(again) == [20, 30, 43, 75, 80]


def test_files_are_written_every_so_many_seconds(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("nn.checkpoint.folder.time.monotonic", lambda: now[0])
    checkpoints = nn.Checkpoints(tmp_path, {"p": Part()}, seconds=60)
    written = []
    for step in range(1, 30):
        now[0] += 7
        if checkpoints.maybe_save(step):
            written.append(step)
    assert written == [9, 18, 27]


def test_generators_go_on_where_they_were(tmp_path):
    for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64):
        rng = np.random.Generator(kind(3))
        rng.integers(0, 9, 3, dtype=np.int32)  # leaves half a draw behind
        checkpoints = nn.Checkpoints(tmp_path / kind.__name__, {"rng": rng})
        checkpoints.save(1)
        expected = rng.integers(0, 1 << 30, 10, dtype=np.int32).tolist()
        assert checkpoints.resume() == 1
        assert rng.integers(0, 1 << 30, 10, dtype=np.int32).tolist() == expected
    with pytest.raises(FormatError, match="state of a SFC64, but here is PCG64"):
        nn.Checkpoints(tmp_path / "SFC64", {"rng": RNG(0)}).resume()


class Dropping(nn.Module):
    def __init__(self) -> None:
        self.inner = nn.Linear(3, 8, rng=RNG(0))
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(8, 1, rng=RNG(1))

    def loss(self, xs):
        return ag.square(self.out(self.drop(ag.tanh(self.inner(xs))))).mean()


class Training:
    """Batches, dropout, an average of the weights and a schedule."""

    def __init__(self, folder) -> None:
        self.model = Dropping()
        adam = nn.Adam(self.model.parameters(), lr=lambda steps: 0.1 / (1 + steps))
        self.optimizer = nn.Average(adam, decay=0.9)
        self.batches = nn.Batches(4, xs=RNG(2).normal(size=(18, 3)), seed=3)
        self.step = nn.TrainingStep(self.model.loss, self.optimizer, seed=4)
        parts = {"model": self.model, "optimizer": self.optimizer, "batches": self.batches}
        self.checkpoints = nn.Checkpoints(folder, parts, every=7)

    def run(self, steps: int) -> list[float]:
        losses: list[float] = []
        done = self.checkpoints.resume()
        while True:
            for batch in self.batches:
                losses.append(float(self.step.run(**batch)["loss"]))
                done += 1
                self.checkpoints.maybe_save(done)
                if done == steps:
                    return losses


def test_dropout_batches_averages_and_schedules_go_on_exactly(tmp_path):
    whole = Training(tmp_path / "whole")
    losses = whole.run(21)
    Training(tmp_path / "parts").run(9)  # the last file is of step 7, amid the second epoch
    rest = Training(tmp_path / "parts")
    assert rest.run(21) == losses[7:]
    for part in ("model", "optimizer", "batches"):
        same(*[run.checkpoints.parts[part].state_dict() for run in (whole, rest)])


def test_all_parts_take_their_state_or_none(tmp_path):
    model, wrong = nn.Linear(2, 2, rng=RNG(0)), nn.Linear(3, 2, rng=RNG(0))
    first = Part(x=1)
    parts = {"first": first, "model": model, "last": Part(y=1)}
    nn.Checkpoints(tmp_path, parts).save(5)
    first.state = {"x": 2}
    before = wrong.state_dict()
    others = {"first": first, "model": wrong, "last": Part(y=2)}
    with pytest.raises(
        FormatError, match=r"resume from '.*step-000000000005.safetensors': part 'mod"
    ):
        nn.Checkpoints(tmp_path, others).resume()
    same(before, wrong.state_dict())
    assert first.state == {"x": 2}
    assert others["last"].state == {"y": 2}


def test_a_part_that_fails_leaves_the_others_as_they_were(tmp_path):
    first, last = Part(x=1), Part(bad=1)
    nn.Checkpoints(tmp_path, {"first": first, "last": last}).save(1)
    first.state, last.state = {"x": 2}, {"good": 3}
    with pytest.raises(FormatError, match=r"part 'last' refuses.*: ZeroDivisionError\('no'\)"):
        nn.Checkpoints(tmp_path, {"first": first, "last": last}).resume()
    assert (first.state, last.state) == ({"x": 2}, {"good": 3})


def test_ctrl_c_while_resuming_leaves_all_parts_as_they_were(tmp_path):
    class Interrupted(Part):
        def load_state_dict(self, state) -> None:
            super().load_state_dict(state)
            if state["y"] == 1:
                raise KeyboardInterrupt

    first, last = Part(x=1), Interrupted(y=1)
    nn.Checkpoints(tmp_path, {"first": first, "last": last}).save(1)
    first.state, last.state = {"x": 2}, {"y": 2}
    with pytest.raises(KeyboardInterrupt):
        nn.Checkpoints(tmp_path, {"first": first, "last": last}).resume()
    assert (first.state, last.state) == ({"x": 2}, {"y": 2})


def test_other_parts_are_told(tmp_path):
    nn.Checkpoints(tmp_path, {"a": Part(x=1), "b": Part()}).save(1)
    with pytest.raises(FormatError, match="it has the parts a, b, but here are a, c"):
        nn.Checkpoints(tmp_path, {"a": Part(), "c": Part()}).resume()
    assert nn.Checkpoints(tmp_path, {"b": Part(), "a": Part()}).resume() == 1
    nn.save(tmp_path / "step-000000000002.safetensors", {"a.x": 1, "b.x": 1}, {"step": 2})
    assert nn.Checkpoints(tmp_path, {"a": Part(), "b": Part()}).resume() == 2
    nn.save(tmp_path / "step-000000000003.safetensors", {"a.x": 1}, {"step": 2})
    with pytest.raises(FormatError, match="was not saved under this name"):
        nn.Checkpoints(tmp_path, {"a": Part()}).resume()


def test_a_damaged_file_is_named_with_the_one_before(tmp_path):
    part = Part(x=1)
    checkpoints = nn.Checkpoints(tmp_path, {"p": part})
    first, second = checkpoints.save(1), checkpoints.save(2)
    second.write_bytes(second.read_bytes()[:-3])
    part.state = {"x": 5}
    with pytest.raises(
        FormatError, match=r"load '.*2.safetensors': .*start from '.*1.safetensors', mo"
    ):
        checkpoints.resume()
    assert part.state == {"x": 5}
    second.rename(tmp_path / "damaged")
    assert checkpoints.resume() == 1
    first.write_bytes(b"")
    with pytest.raises(FormatError, match="start from the beginning, move"):
        checkpoints.resume()


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    left = tmp_path / ".step-000000000003.safetensors.0123456789ab.tmp"
    others = [tmp_path / ".step-3.0123456789ab.tmp", tmp_path / "x.tmp", tmp_path / ".x"]
    for path in (left, *others):
        path.write_bytes(b"")
    checkpoints = nn.Checkpoints(tmp_path, {"p": Part()})
    assert checkpoints.paths() == []
    assert left.exists()
    checkpoints.resume()
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_folder_of_a_later_step_is_of_another_run(tmp_path):
    nn.Checkpoints(tmp_path, {"p": Part()}).save(100)
    checkpoints = nn.Checkpoints(tmp_path, {"p": Part()}, every=1000)
    with pytest.raises(
        FormatError, match=r"100.safetensors' is of a later step than 1.*call resume"
    ):
        checkpoints.maybe_save(1)
    with pytest.raises(FormatError, match="to go back, move the later files away first"):
        checkpoints.save(99)
    assert names(checkpoints) == [100]
    checkpoints.resume()
    checkpoints.save(100)


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    checkpoints = nn.Checkpoints(tmp_path / "file", {"p": Part()})
    for call in (checkpoints.paths, checkpoints.resume, lambda: checkpoints.save(1)):
        with pytest.raises(FormatError, match=r"cannot read folder '.*file': Not a directory"):
            call()
    with pytest.raises(
        FormatError, match=r"cannot write .*file/x/step.*: Not a directory|read folder"
    ):
        nn.Checkpoints(tmp_path / "file" / "x", {"p": Part()}).save(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": {}}, "dict of parts by name"),
        ({"parts": [1]}, "but got list"),
        ({"parts": {"a.b": Part()}}, "one word without dots, but is 'a.b'"),
        ({"parts": {"a": 3}}, "part 'a' is a int, which has no state_dict"),
        ({"every": 0}, "every must be a whole number >= 1, but is 0"),
        ({"every": True}, "every must be"),
        ({"keep": 0}, "keep must be"),
        ({"seconds": -1}, "seconds must be a number >= 0 or None, but is -1"),
        ({"seconds": float("nan")}, "seconds must be"),
    ],
)
def test_arguments_are_checked(arguments, message, tmp_path):
    with pytest.raises(LoopGradError, match=message):
        nn.Checkpoints(tmp_path, **{"parts": {"p": Part()}, **arguments})


def test_steps_are_numbers(tmp_path):
    checkpoints = nn.Checkpoints(tmp_path, {"p": Part()})
    with pytest.raises(LoopGradError, match="step must be a whole number >= 0, but is -1"):
        checkpoints.maybe_save(-1)
    with pytest.raises(LoopGradError, match="at most 12 digits, but is 1000000000000"):
        checkpoints.save(10**12)
    assert checkpoints.save(np.int64(3)).name == "step-000000000003.safetensors"


def test_parts_with_what_a_file_cannot_hold_are_named(tmp_path):
    with pytest.raises(FormatError, match=r"'p.x' holds object"):
        nn.Checkpoints(tmp_path, {"p": Part(x=object())}).save(1)


# Ctrl-C.


def test_the_first_ctrl_c_waits_for_the_end_of_the_step_and_saves(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    checkpoints = nn.Checkpoints(tmp_path, {"p": Part()})
    done = []

    def train() -> None:
        with checkpoints.guard():
            checkpoints.maybe_save(1)
            signal.raise_signal(signal.SIGINT)
            done.append("the step")
            checkpoints.maybe_save(2)
            done.append("another one")

    with pytest.raises(KeyboardInterrupt):
        train()
    assert done == ["the step"]
    assert names(checkpoints) == [2]
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    assert not checkpoints.maybe_save(3)


def test_the_second_ctrl_c_does_not_wait(tmp_path):
    checkpoints = nn.Checkpoints(tmp_path, {"p": Part()})

    def train() -> None:
        with checkpoints.guard():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            checkpoints.maybe_save(2)

    with pytest.raises(KeyboardInterrupt):
        train()
    assert names(checkpoints) == []


def test_sigterm_exits_with_its_status(tmp_path):
    checkpoints = nn.Checkpoints(tmp_path, {"p": Part()})

    def train() -> None:
        with checkpoints.guard():
            signal.raise_signal(signal.SIGTERM)
            checkpoints.maybe_save(7)

    with pytest.raises(SystemExit) as exit:
        train()
    assert exit.value.code == 143
    assert names(checkpoints) == [7]


def test_a_signal_after_the_last_step_is_obeyed_late(tmp_path):
    checkpoints = nn.Checkpoints(tmp_path, {"p": Part()})
    with pytest.raises(KeyboardInterrupt), checkpoints.guard():
        signal.raise_signal(signal.SIGINT)
    assert names(checkpoints) == []


def test_an_error_is_not_hidden_by_a_signal(tmp_path):
    checkpoints = nn.Checkpoints(tmp_path, {"p": Part()})

    def train() -> None:
        with checkpoints.guard():
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()


def test_other_threads_need_no_guard_and_may_have_one(tmp_path):
    checkpoints = nn.Checkpoints(tmp_path, {"p": Part()})
    before = signal.getsignal(signal.SIGINT)

    def work() -> None:
        with checkpoints.guard():
            checkpoints.save(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert names(checkpoints) == [1]
    assert signal.getsignal(signal.SIGINT) is before
