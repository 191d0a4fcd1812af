"""Runs that are interrupted at any step and go on: the same bits as if nothing happened."""

import os
import signal
import sys
from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest

import nn
from autograd.errors import FormatError, LoopGradError
from tests.nn_helpers import RNG

pytest.importorskip("safetensors")

XS = RNG(0).normal(size=(6, 21, 2))
YS = RNG(1).normal(size=(21, 1))
EPOCHS, STEPS = 3, 9


class Model(nn.Module):
    def __init__(self):
        self.rnn = nn.RNN(2, 3, rng=RNG(2))
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(3, 1, rng=RNG(3))

    def forward(self, xs):
        return self.out(self.dropout(self.rnn(xs)[0][-1]))


class Counter:
    """A callback with a state."""

    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, history):
        self.epochs += 1

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state):
        self.epochs = state["epochs"]


class Run:
    """All of a run, as a process makes it: a random layer, a schedule with a memory, validation."""

    def __init__(self):
        self.model = Model()
        self.plateau = nn.schedules.Plateau(0.05, factor=0.5, patience=0, threshold=0.5)
        self.optimizer = nn.Adam(self.model.parameters(), lr=self.plateau)
        self.step = nn.TrainingStep(self.loss, self.optimizer, seed=4, backend="numpy")
        self.data = nn.Batches(6, xs=XS[:, :15], ys=YS[:15], axis={"xs": 1}, seed=7)
        self.counter = Counter()

    def loss(self, xs, ys):
        return nn.squared_error(self.model(xs), ys)

    def fit(self, *callbacks, **options):
        options = {"epochs": EPOCHS, "patience": 5, **options}
        return nn.fit(
            self.step,
            self.data,
            validation={"xs": XS[:, 15:], "ys": YS[15:]},
            model=self.model,
            callbacks=[self.counter, *callbacks],
            **options,
        )

    def everything(self, history):
        state = {**self.model.state_dict(), **self.optimizer.state_dict()}
        columns = {name: history[name] for name in history if name != "seconds"}
        return {
            **{name: np.asarray(x).tobytes() for name, x in state.items()},
            **columns,
            "data": self.data.state_dict(),
            "counter": self.counter.epochs,
            "best": [x.tobytes() for x in history.best_values],
            "steps": history.steps,
        }


@cache
def whole_run():
    run = Run()
    whole = run.everything(run.fit())
    assert whole["steps"] == STEPS
    assert whole["lr"][0] > whole["lr"][-1]
    return whole


@pytest.fixture
def uninterrupted():
    return whole_run()  # not of the module's scope: the test's backend runs it


class At:
    """Does something once, after a step."""

    def __init__(self, step, what):
        self.step, self.what = step, what

    def on_step(self, history, outputs):
        if history.steps == self.step:
            self.step = None
            self.what()


def control_c():
    os.kill(os.getpid(), signal.SIGINT)


def interrupt():
    raise KeyboardInterrupt


class FaultError(Exception):
    pass


def fail():
    raise FaultError


@pytest.mark.parametrize(
    ("step", "what"),
    [*[(step, control_c) for step in range(1, STEPS + 1)], (2, interrupt), (6, fail)],
)
def test_the_same_process_goes_on_with_the_history(step, what, uninterrupted):
    run, history = Run(), nn.History()
    with pytest.raises(FaultError if what is fail else KeyboardInterrupt) as raised:
        run.fit(At(step, what), history=history)
    if what is not fail:
        assert raised.value.history is history
    assert (history.steps, run.optimizer.steps) == (step, step)
    assert history.epochs == (step - 1) // 3
    assert run.everything(run.fit(history=history)) == uninterrupted


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_another_process_goes_on_with_the_checkpoint_that_control_c_saved(
    step, uninterrupted, tmp_path
):
    first = Run()
    with pytest.raises(KeyboardInterrupt):
        first.fit(At(step, control_c), checkpoints=tmp_path)
    assert first.optimizer.steps == step
    second = Run()
    history = second.fit(checkpoints=tmp_path)
    assert second.everything(history) == uninterrupted


def test_whatever_was_saved_last_leads_to_the_same_end(uninterrupted, tmp_path):
    """What a process that is killed leaves: the file that was due last, some steps ago."""
    for step in range(3, STEPS + 1):
        first, second = Run(), Run()
        folder = tmp_path / f"{step}"
        with pytest.raises(FaultError):
            first.fit(At(step, fail), checkpoints=saving(first, folder, 2))
        checkpoints = saving(second, folder, 2)
        assert checkpoints.latest().name == f"step-{(step - 1) // 2 * 2:012}.safetensors"
        assert second.everything(second.fit(checkpoints=checkpoints)) == uninterrupted


def saving(run, folder, every):
    parts = {"model": run.model, "optimizer": run.optimizer}
    return nn.Checkpoints(folder, parts, every=every, seconds=None)


CHILD = """
import os, signal, sys
import tests.test_nn_fit_resume as here

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

run = here.Run()
run.fit(here.At(int(sys.argv[2]), kill), checkpoints=here.saving(run, sys.argv[1], 1))
"""


@pytest.mark.parametrize("step", [5, 9])
def test_a_process_that_was_killed_goes_on(step, uninterrupted, tmp_path, run_python):
    answer = run_python("-c", CHILD, str(tmp_path / "run"), str(step))
    assert answer.returncode == -signal.SIGKILL, answer.stderr
    run = Run()
    checkpoints = saving(run, tmp_path / "run", 1)
    assert checkpoints.latest().name == f"step-{step - 1:012}.safetensors"
    assert run.everything(run.fit(checkpoints=checkpoints)) == uninterrupted


@pytest.mark.parametrize("steps_per_call", [2, 3])
def test_steps_in_one_call_go_on_to_the_same_bits(steps_per_call, tmp_path):
    whole = Run()
    expected = whole.everything(whole.fit(steps_per_call=steps_per_call))
    calls = 0
    while True:
        run = Run()
        many = run.step.many

        def one_call(many=many, **batches):
            control_c()
            return many(**batches)

        run.step.many = one_call
        try:
            history = run.fit(steps_per_call=steps_per_call, checkpoints=tmp_path)
        except KeyboardInterrupt:
            calls += 1
            continue
        break
    assert calls == EPOCHS  # of 2 or 3 steps
    assert run.everything(history) == expected


def test_control_c_between_two_epochs_is_obeyed_there(uninterrupted, tmp_path):
    def once(history):
        if history.epochs == 2:
            control_c()

    first, second = Run(), Run()
    with pytest.raises(KeyboardInterrupt) as raised:
        first.fit(once, checkpoints=tmp_path)
    assert (raised.value.history.epochs, raised.value.history.batch) == (2, 0)
    assert second.everything(second.fit(checkpoints=tmp_path)) == uninterrupted


def test_control_c_in_the_validation_lets_the_epoch_end():
    history, run = nn.History(), Run()
    with pytest.raises(KeyboardInterrupt):
        nn.fit(
            run.step, run.data, 2, validation=lambda: control_c() or {"loss": 1}, history=history
        )
    assert (history.epochs, history["val_loss"]) == (1, [1.0])
    assert run.data.state_dict()["epoch"] == 1


@contextmanager
def control_c_at_line(number):
    """Send SIGINT when so many lines of nn/fit.py have run."""
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        if not frame.f_code.co_filename.endswith(os.path.join("nn", "fit.py")):
            return None
        if event == "line":
            lines += 1
            if lines == number:
                control_c()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.slow
def test_control_c_at_any_line_loses_nothing(uninterrupted):
    number = interrupted = 0
    while True:
        number += 29
        run, history = Run(), nn.History()
        try:
            with control_c_at_line(number):
                run.fit(history=history)
        except KeyboardInterrupt:
            interrupted += 1
        else:
            break
        assert history.steps == run.optimizer.steps
        assert run.everything(run.fit(history=history)) == uninterrupted
    assert interrupted > 10


def test_a_second_control_c_does_not_wait():
    def twice():
        control_c()
        control_c()

    run = Run()
    with pytest.raises(KeyboardInterrupt):
        run.fit(At(2, twice))
    assert run.optimizer.steps == 2


def test_handlers_of_signals_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    Run().fit(epochs=1)
    with pytest.raises(KeyboardInterrupt):
        Run().fit(At(1, control_c))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_run_that_is_complete_is_taken_up_again(uninterrupted, tmp_path):
    Run().fit(checkpoints=tmp_path)
    again = Run()
    assert again.everything(again.fit(checkpoints=tmp_path)) == uninterrupted
    longer, whole = Run(), Run()
    history = longer.fit(checkpoints=tmp_path, epochs=5)
    assert longer.everything(history) == whole.everything(whole.fit(epochs=5))


def test_a_run_that_ended_early_stays_ended(tmp_path):
    history = Run().fit(lambda history: history.epochs == 2, checkpoints=tmp_path)
    again = Run()
    assert again.fit(checkpoints=tmp_path)["loss"] == history["loss"]
    assert again.optimizer.steps == 6


def test_ones_own_batches_go_on_too(tmp_path):
    batches = list(Run().data.of_epoch(0))

    def fitted(run, *callbacks, **options):
        return nn.fit(run.step, lambda epoch: iter(batches), 2, callbacks=callbacks, **options)

    whole, first, second = Run(), Run(), Run()
    expected = fitted(whole)
    with pytest.raises(KeyboardInterrupt):
        fitted(first, At(5, control_c), checkpoints=tmp_path, model=first.model)
    history = fitted(second, checkpoints=tmp_path, model=second.model)
    assert second.everything(history) == whole.everything(expected)


def test_fit_goes_on_in_an_epoch_that_was_begun_by_hand():
    by_hand, whole = Run(), Run()
    for number, batch in enumerate(by_hand.data, start=1):
        by_hand.step.run(**batch)
        if number == 2:
            break
    state, later = by_hand.data.state_dict(), Run()
    later.model.load_state_dict(by_hand.model.state_dict())
    later.optimizer.load_state_dict(by_hand.optimizer.state_dict())
    later.data.load_state_dict(state)
    history = nn.fit(later.step, later.data)
    nn.fit(whole.step, whole.data)
    assert history.steps == 1
    for p, q in zip(later.model.parameters(), whole.model.parameters(), strict=True):
        np.testing.assert_array_equal(p.value, q.value)


def test_other_batches_than_those_of_the_history_are_refused():
    run, history = Run(), nn.History()
    with pytest.raises(KeyboardInterrupt):
        run.fit(At(2, control_c), history=history)
    run.data = Run().data
    with pytest.raises(LoopGradError, match=r"goes on after batch 2 of an epoch, but the batches "):
        run.fit(history=history)


def test_checkpoints_must_have_all_that_changes(tmp_path):
    run = Run()
    for parts in ({"model": run.model}, {"optimizer": run.optimizer, "model": run.model.rnn}):
        with pytest.raises(LoopGradError, match=r"must have the optimizer of the training step an"):
            run.fit(checkpoints=nn.Checkpoints(tmp_path, parts))


def test_a_folder_of_another_run_is_refused(tmp_path):
    run = Run()
    nn.Checkpoints(tmp_path, {"model": run.model}).save(3)
    with pytest.raises(FormatError, match=r"it has the parts model, but here are model, optimizer"):
        run.fit(checkpoints=tmp_path)
