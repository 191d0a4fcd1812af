"""fit against the loop by hand; validation, patience, callbacks, progress, and what is refused."""

import math
import sys
from threading import Thread

import numpy as np
import pytest

import autograd as ag
import nn
from autograd.errors import GraphError, LoopGradError
from nn.many import Loops
from tests.nn_helpers import RNG

XS = RNG(0).normal(size=(30, 3))
YS = XS @ RNG(1).normal(size=(3, 1)) + 0.1
HELD_OUT = {"xs": XS[22:], "ys": YS[22:]}


class Run:
    """A small model with all that belongs to it, made the same each time."""

    def __init__(self, lr=0.05, backend=None):
        self.model = nn.Linear(3, 1, rng=RNG(2))
        self.optimizer = nn.Adam(self.model.parameters(), lr=lr)
        self.step = nn.TrainingStep(self.loss, self.optimizer, backend=backend)
        self.data = nn.Batches(8, xs=XS[:22], ys=YS[:22], seed=5)

    def loss(self, xs, ys):
        out = self.model(xs)
        error = nn.squared_error(out, ys)
        return {"loss": error, "mae": nn.absolute_error(out, ys), "outputs": out}

    def fit(self, epochs=3, **options) -> nn.History:
        return nn.fit(self.step, self.data, epochs, **options)

    @property
    def values(self):
        return [p.value.copy() for p in self.optimizer.parameters]


def assert_equal(one: Run, other: Run) -> None:
    for a, b in zip(one.values, other.values, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one.optimizer.state, other.optimizer.state, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    assert one.optimizer.steps == other.optimizer.steps


# --- the loop -------------------------------------------------------------------------------------


def test_fit_is_the_loop_by_hand():
    fitted, by_hand = Run(), Run()
    history = fitted.fit()
    for epoch in range(3):
        losses, sizes = [], []
        for batch in by_hand.data:
            results = by_hand.step.run(**batch)
            losses.append([results["loss"], results["mae"]])
            sizes.append(len(batch["xs"]))
        assert sizes == [8, 8, 6]
        expected = np.average(losses, axis=0, weights=sizes)
        np.testing.assert_allclose(history["loss"][epoch], expected[0], rtol=1e-14)
        np.testing.assert_allclose(history["mae"][epoch], expected[1], rtol=1e-14)
    assert_equal(fitted, by_hand)
    assert fitted.data.state_dict() == by_hand.data.state_dict()
    assert (history.epochs, history.steps, history.batch) == (3, 9, 0)
    assert list(history) == ["loss", "mae", "lr", "seconds"]
    assert min(history["seconds"]) > 0


def test_a_second_fit_goes_on_with_the_next_epoch():
    twice, once = Run(), Run()
    first, second = twice.fit(1), twice.fit(2)
    whole = once.fit(3)
    assert_equal(twice, once)
    assert first["loss"] + second["loss"] == whole["loss"]


def test_the_rate_is_that_of_the_last_update():
    run = Run(lr=lambda steps: 0.1 / (1 + steps))
    assert run.fit()["lr"] == [0.1 / 3, 0.1 / 6, 0.1 / 9]


def test_rates_of_groups_have_their_names():
    model = nn.Linear(3, 1, rng=RNG(2))
    groups = [{"parameters": [model.weight]}, {"parameters": [model.bias], "lr": 0.5}]
    step = nn.TrainingStep(lambda xs, ys: nn.squared_error(model(xs), ys), nn.SGD(groups, lr=0.25))
    history = nn.fit(step, [HELD_OUT])
    assert (history["groups.0.lr"], history["groups.1.lr"]) == ([0.25], [0.5])


@pytest.mark.parametrize("form", ["list", "function", "generator", "one", "lists in it"])
def test_batches_may_be_ones_own(form):
    own, by_hand = Run(), Run()
    batches = list(by_hand.data.of_epoch(0))
    given = {
        "list": batches,
        "function": lambda epoch: iter(batches),
        "generator": iter(batches),
        "one": HELD_OUT,
        "lists in it": [{name: x.tolist() for name, x in batch.items()} for batch in batches],
    }[form]
    history = nn.fit(own.step, given)
    taken = [HELD_OUT] if form == "one" else batches
    losses = [by_hand.step.run(**batch)["loss"] for batch in taken]
    assert_equal(own, by_hand)
    np.testing.assert_allclose(history["loss"], [np.mean(losses)], rtol=1e-14)


def test_a_function_is_called_with_the_number_of_the_epoch():
    asked = []
    nn.fit(Run().step, lambda epoch: asked.append(epoch) or [HELD_OUT], epochs=3)
    assert asked == [0, 1, 2]


def test_ragged_sequences_and_texts_are_fitted():
    net, out = nn.RNN(1, 4, rng=RNG(0)), nn.Linear(4, 1, rng=RNG(1))
    model = nn.Sequential(net, out)
    rows = [RNG(i).normal(size=(n, 1)) for i, n in enumerate([3, 5, 2, 9, 4])]

    def loss(xs, lengths):
        hs, _ = net(xs, lengths=lengths)
        return nn.squared_error(out(hs), xs, lengths=lengths)

    step = nn.TrainingStep(loss, nn.Adam(model.parameters(), lr=0.02), backend="reference")
    history = nn.fit(step, nn.RaggedBatches(2, xs=rows), epochs=8)
    assert history["loss"][-1] < 0.8 * history["loss"][0]

    table = ag.parameter("table", RNG(0).normal(size=(6, 6)))
    step = nn.TrainingStep(lambda xs, ys: nn.cross_entropy(table[xs], ys), nn.Adam([table], lr=0.1))
    history = nn.fit(step, nn.TokenBlocks([0, 1, 2, 3, 4, 5] * 10, 3, 4), epochs=20)
    assert history["loss"][-1] < 0.3 * history["loss"][0]


def test_a_graph_may_be_the_loss():
    run = Run()
    x, y = ag.input("xs", (8, 3)), ag.input("ys", (8, 1))
    graph = ag.Graph([x, y], {"loss": nn.squared_error(run.model(x), y)})
    data = nn.Batches(8, xs=XS[:22], ys=YS[:22], drop_last=True)
    before = nn.evaluate(graph, data)
    assert before["loss"] == pytest.approx(nn.evaluate(run.loss, data)["loss"], rel=1e-14)
    history = nn.fit(nn.TrainingStep(graph, run.optimizer), data, 2, validation=data)
    assert list(history) == ["loss", "val_loss", "lr", "seconds"]
    assert history["val_loss"][-1] == nn.evaluate(graph, data)["loss"] < before["loss"]


# --- many steps in one call -----------------------------------------------------------------------


def test_steps_in_one_call_are_the_same_steps():
    single, many = Run(backend="reference"), Run(backend="reference")
    one, other = single.fit(), many.fit(steps_per_call=2)
    assert_equal(single, many)
    assert [one[name] for name in ("loss", "mae")] == [other[name] for name in ("loss", "mae")]


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_plans_of_steps_in_one_call_agree_to_rounding_and_with_themselves(backend):
    if backend == "native":
        pytest.importorskip("llvmlite")
    single, many, again = (Run(backend=backend) for _ in range(3))
    one, other = single.fit(), many.fit(steps_per_call=2)
    assert again.fit(steps_per_call=2)["loss"] == other["loss"]
    assert_equal(again, many)
    np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-11)
    for a, b in zip(single.values, many.values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_calls_are_one_chunk_of_batches_of_one_kind(monkeypatch):
    run, chunks = Run(), []
    chunk_run = Loops._run

    def counted(loops, graph, start, count):
        chunks.append(count)
        chunk_run(loops, graph, start, count)

    monkeypatch.setattr(Loops, "_run", counted)
    one = run.step.run
    monkeypatch.setattr(run.step, "run", lambda **batch: chunks.append("one") or one(**batch))
    kinds = [4, 4, 4, 4, 2, 4, 4, 4]
    history = nn.fit(run.step, [{"xs": XS[:n], "ys": YS[:n]} for n in kinds], steps_per_call=3)
    assert chunks == [3, "one", "one", 3]
    assert (history.steps, run.optimizer.steps) == (8, 8)
    # the step's own choice of chunks is as it was
    chunks.clear()
    run.step.many(xs=XS[None, :4].repeat(4, 0), ys=YS[None, :4].repeat(4, 0), seconds=1e3)
    assert chunks == [1, 3]


# --- validation -----------------------------------------------------------------------------------


def test_validation_is_measured_after_each_epoch():
    run, by_hand = Run(), Run()
    history = run.fit(validation=nn.Batches(3, **HELD_OUT))
    for epoch in range(3):
        for batch in by_hand.data:
            by_hand.step.run(**batch)
        expected = by_hand.loss(**HELD_OUT)
        assert history["val_loss"][epoch] == pytest.approx(expected["loss"].item(), rel=1e-13)
        assert history["val_mae"][epoch] == pytest.approx(expected["mae"].item(), rel=1e-13)
    assert_equal(run, by_hand)


def test_validation_can_be_other_measures_or_any_function():
    run = Run()
    history = run.fit(
        validation=[HELD_OUT], metrics=lambda xs, ys: {"worst": ag.max(ag.abs(run.model(xs) - ys))}
    )
    worst = np.abs(run.model(HELD_OUT["xs"]).value - HELD_OUT["ys"]).max()
    assert list(history) == ["loss", "mae", "val_worst", "lr", "seconds"]
    assert history["val_worst"][-1] == worst
    history = Run().fit(validation=lambda: {"seven": 7}, epochs=1)
    assert history["val_seven"] == [7.0]


def test_evaluate_weighs_batches_by_their_examples_and_moves_nothing():
    run = Run()
    state = run.data.state_dict()
    found = nn.evaluate(run.loss, run.data, run.model)
    whole = run.loss(XS[:22], YS[:22])
    assert list(found) == ["loss", "mae"]
    assert found["loss"] == pytest.approx(whole["loss"].item(), rel=1e-13)
    assert (run.data.state_dict(), run.optimizer.steps) == (state, 0)
    assert nn.evaluate(lambda xs, ys: ag.sum(xs), HELD_OUT) == {
        "loss": pytest.approx(HELD_OUT["xs"].sum())
    }


def test_evaluate_draws_once_a_kind():
    drawn = []

    def loss(xs):
        drawn.append(xs.shape)
        return ag.mean(xs)

    nn.evaluate(loss, nn.Batches(4, xs=XS))
    assert sorted(drawn) == [(2, 3), (4, 3)]
    drawn.clear()
    run = Run()
    run.fit(validation=nn.Batches(8, **HELD_OUT), metrics=lambda xs, ys: loss(xs), epochs=4)
    assert drawn == [(8, 3)]


class Noisy(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(3, 1, rng=RNG(2))
        self.noise = nn.Dropout(0.5)
        self.always = nn.Dropout(0.5).eval()

    def forward(self, xs):
        return self.always(self.layer(self.noise(xs)))


def noisy():
    model = Noisy()
    step = nn.TrainingStep(
        lambda xs, ys: nn.squared_error(model(xs), ys), nn.SGD(model.parameters(), lr=0.01)
    )
    return model, step


def test_the_model_is_in_eval_meanwhile_and_as_it_was_after():
    model, step = noisy()
    history = nn.fit(step, nn.Batches(8, xs=XS, ys=YS), 2, validation=HELD_OUT, model=model)
    assert (model.training, model.noise.training, model.always.training) == (True, True, False)
    plain = model.layer(HELD_OUT["xs"]).value
    expected = np.mean((plain - HELD_OUT["ys"]) ** 2)
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-12)
    for wrong in ({"xs": XS}, {"xs": XS, "ys": YS[:, :0]}):
        with pytest.raises(LoopGradError):
            nn.evaluate(step.loss, wrong, model)
        assert (model.noise.training, model.always.training) == (True, False)


def test_random_layers_without_the_model_are_told():
    _, step = noisy()
    with pytest.raises(GraphError, match=r"call model\.eval\(\) first"):
        nn.fit(step, nn.Batches(8, xs=XS, ys=YS), validation=HELD_OUT)
    assert step.optimizer.steps == 0


def test_averages_are_what_is_validated():
    run = Run()
    averaged = nn.Average(run.optimizer, decay=0.9)
    step = nn.TrainingStep(run.loss, averaged)
    seen = []
    history = nn.fit(
        step,
        run.data,
        2,
        validation=lambda: seen.append(run.model.weight.value.copy()) or {"loss": -len(seen)},
    )
    np.testing.assert_array_equal(seen[-1], averaged.averages[0])
    assert not np.array_equal(run.model.weight.value, averaged.averages[0])
    assert history["val_loss"] == [-1.0, -2.0]
    nn.fit(step, run.data, 2, validation=HELD_OUT, patience=5)
    np.testing.assert_array_equal(run.model.weight.value, averaged.averages[0])


# --- ending early ---------------------------------------------------------------------------------


def scripted(values):
    """A validation that returns one number after the other."""
    rest = iter(values)
    return lambda: {"loss": next(rest)}


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([5, 4, 6, 6, 1], {"patience": 2}, 4, 1),
        ([5, 4, 6, 3, 4, 4], {"patience": 2}, 6, 3),
        ([5, 4.9, 4.8, 4.7], {"patience": 2, "min_delta": 0.5}, 3, 0),
        ([1, 2, 1.5, 1.7], {"patience": 2, "largest": True}, 4, 1),
        ([math.nan, 4, math.nan, math.nan], {"patience": 2}, 4, 1),
        ([math.nan, math.nan, 1], {"patience": 2}, 2, None),
        ([3, 2, 1], {"patience": 1}, 3, 2),
    ],
)
def test_patience_ends_training_with_the_best_parameters(values, options, epochs, best):
    run = Run()
    seen = []
    history = run.fit(
        len(values),
        validation=scripted(values),
        callbacks=lambda h: seen.append(run.values),
        **options,
    )
    assert history.epochs == epochs
    expected = seen[-1 if best is None else best]
    for value, one in zip(run.values, expected, strict=True):
        np.testing.assert_array_equal(value, one)
    patience = options.pop("patience")
    assert history.best("val_loss", **options) == best
    said = "no epoch" if best is None else f"epoch {best + 1}, which was {values[best]:.5g}"
    over = epochs - (0 if best is None else best + 1) >= patience
    assert history.stopped == (f"val_loss was best in {said}" if over else None)


def test_the_last_parameters_can_be_kept():
    run, plain = Run(), Run()
    run.fit(4, validation=scripted([1, 2, 3, 4]), patience=2, restore_best=False)
    plain.fit(3)
    assert_equal(run, plain)


def test_a_plateau_is_told_of_each_epoch():
    run = Run(lr=nn.schedules.Plateau(0.1, factor=0.5, patience=0))
    history = run.fit(5, validation=scripted([3, 4, 2, 2, 1]))
    assert history["lr"] == [0.1, 0.1, 0.05, 0.05, 0.025]
    run = Run(lr=nn.schedules.Plateau(0.1))
    history = run.fit(2)
    assert run.optimizer.lr.best == history["loss"][1]


# --- callbacks ------------------------------------------------------------------------------------


class Recorder:
    def __init__(self, stop_at=None):
        self.steps, self.epochs, self.stop_at = [], [], stop_at

    def on_step(self, history, outputs):
        self.steps.append((history.epochs, history.batch, float(outputs["loss"])))
        return history.steps == self.stop_at

    def on_epoch_end(self, history):
        self.epochs.append(history.rows[-1]["loss"])


def test_callbacks_are_told_of_steps_and_epochs():
    run, recorder, called = Run(), Recorder(), []
    history = run.fit(2, callbacks=[recorder, called.append])
    assert [x[:2] for x in recorder.steps] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]
    losses = [x[2] for x in recorder.steps]
    np.testing.assert_allclose(np.average(losses[:3], weights=[8, 8, 6]), history["loss"][0])
    assert recorder.epochs == history["loss"]
    assert called == [history, history]


def test_a_callback_that_returns_true_ends_training():
    history = Run().fit(9, callbacks=lambda history: history.epochs == 2)
    assert (history.epochs, history.stopped) == (2, "a callback stopped it after epoch 2")
    run = Run()
    history = run.fit(9, callbacks=Recorder(stop_at=5))
    assert (history.epochs, history.batch, run.optimizer.steps) == (1, 2, 5)
    assert history.stopped == "a callback stopped it after step 5"
    history.stopped = None
    run.fit(2, history=history)
    assert (history.epochs, history.stopped, run.optimizer.steps) == (2, None, 6)
    # what returns something else goes on
    assert Run().fit(2, callbacks=lambda history: 1).stopped is None


def test_a_callback_may_change_the_optimizer():
    run = Run()

    def slower(history):
        run.optimizer.lr /= 2

    assert run.fit(callbacks=slower)["lr"] == [0.05, 0.025, 0.0125]


# --- where it runs --------------------------------------------------------------------------------


def test_threads_can_fit():
    runs = [Run() for _ in range(3)]
    threads = [Thread(target=run.fit, kwargs={"validation": HELD_OUT}) for run in runs[:2]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs[2].fit(validation=HELD_OUT)
    for run in runs[:2]:
        assert_equal(run, runs[2])


def test_the_first_nan_is_named():
    run = Run()
    xs = XS.copy()
    xs[3] = np.inf
    history = nn.History()
    data = nn.Batches(3, xs=xs, ys=YS, shuffle=False)
    with ag.check_finite(), pytest.raises(ag.NonFiniteError, match="xs"):
        nn.fit(run.step, data, history=history)
    assert (history.steps, run.optimizer.steps) == (1, 1)
    with ag.check_finite():
        assert Run().fit(1, validation=HELD_OUT)["val_loss"] == pytest.approx(
            Run().fit(1, validation=HELD_OUT)["val_loss"], rel=1e-12
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_of_data_stay(dtype):
    layer = nn.Linear(3, 1, rng=RNG(0), dtype=dtype)
    seen = []

    def loss(xs, ys):
        result = nn.squared_error(layer(xs), ys)
        seen.extend([xs.dtype, ys.dtype, result.dtype])
        return result

    data = nn.Batches(8, xs=XS, ys=YS, dtype=dtype)
    history = nn.fit(
        nn.TrainingStep(loss, nn.SGD(layer.parameters(), lr=0.01)), data, validation=data
    )
    assert {str(x) for x in seen} == {dtype}
    assert type(history["loss"][0]) is float


# --- progress -------------------------------------------------------------------------------------


def test_nothing_is_shown_where_nobody_looks(capsys):
    Run().fit(validation=HELD_OUT)
    Run().fit(progress=False)
    assert capsys.readouterr() == ("", "")


def test_progress_is_a_bar(capsys):
    pytest.importorskip("tqdm")
    Run().fit(validation=HELD_OUT, progress=True)
    said = capsys.readouterr().err
    assert "epoch 3/3" in said
    assert "9/9" in said
    assert "val_loss=" in said


def test_progress_is_a_line_without_tqdm(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(nn.progress, "EVERY", 0.0)
    history = Run().fit(validation=HELD_OUT, progress=True)
    lines = capsys.readouterr().err.split("\r")
    assert lines[1].startswith("epoch 1/3, 1 of 9 steps, loss ")
    last = f"epoch 3/3, 9 of 9 steps, loss {history['loss'][-1]:.4g}, val_loss"
    assert lines[-1].startswith(last)
    assert lines[-1].endswith("\n")
    nn.fit(Run().step, lambda epoch: [HELD_OUT], progress=True)
    assert "epoch 1/1, 1 steps, loss" in capsys.readouterr().err


# --- what is refused ------------------------------------------------------------------------------


def bad_loss(result):
    run = Run()
    return nn.fit(nn.TrainingStep(lambda xs, ys: result(run.model(xs)), run.optimizer), [HELD_OUT])


REFUSED = {
    "no step": (lambda: nn.fit(Run().loss, [HELD_OUT]), r"fit takes a training step first.*method"),
    "no dict": (lambda: bad_loss(lambda out: None), r"must return a scalar node, or a dict"),
    "no scalar": (lambda: bad_loss(lambda out: out), r"scalar"),
    "no loss": (lambda: bad_loss(lambda out: {"mae": ag.sum(out)}), r"with 'loss' among them"),
    "epochs 0": (lambda: Run().fit(0), r"epochs must be a whole number >= 1, but is int 0"),
    "epochs 1.5": (lambda: Run().fit(1.5), r"epochs must be a whole number >= 1"),
    "no batches": (lambda: nn.fit(Run().step, []), r"epoch 1 has no batches"),
    "a number": (lambda: nn.fit(Run().step, 3), r"batches must be nn\.Batches, a list of dicts"),
    "pairs": (lambda: nn.fit(Run().step, [(XS, YS)]), r"a batch is a dict of arrays.*tuple"),
    "a generator": (
        lambda: nn.fit(Run().step, iter([HELD_OUT]), 2),
        r"batches came as a list_iterator, which is used up after one epoch",
    ),
    "other names": (
        lambda: nn.fit(Run().step, [{"x": XS, "y": YS}]),
        r"the loss function takes \(xs, ys\), but the batch has \(x, y\)",
    ),
    "other names for a graph": (
        lambda: nn.evaluate(ag.trace(lambda x: ag.sum(x), (3,)), HELD_OUT),
        r"takes a batch of x, but came xs, ys",
    ),
    "other names in validation": (
        lambda: Run().fit(validation={"x": XS, "y": YS}),
        r"the loss function takes \(xs, ys\), but the batch has \(x, y\)",
    ),
    "validation of 3": (lambda: Run().fit(validation=3), r"validation must be nn\.Batches"),
    "no validation": (lambda: Run().fit(validation=[]), r"no batches to evaluate on"),
    "validation returns": (
        lambda: Run().fit(validation=lambda: 3.0),
        r"given as validation must return a dict of numbers, but returned float 3\.0",
    ),
    "metrics of nothing": (lambda: Run().fit(metrics=Run().loss), r"metrics measure validation="),
    "metrics of arrays": (
        lambda: Run().fit(validation=HELD_OUT, metrics=lambda xs, ys: xs),
        r"no output is a single number, to take the mean of: 'loss' float64\[8, 3\]",
    ),
    "metrics of floats": (
        lambda: Run().fit(validation=HELD_OUT, metrics=lambda xs, ys: 1.0),
        r"'loss' is float 1\.0",
    ),
    "metrics of 3": (
        lambda: Run().fit(validation=HELD_OUT, metrics=3),
        r"evaluate needs a function of the batch, or a graph, but got int 3",
    ),
    "model": (lambda: Run().fit(validation=HELD_OUT, model=3), r"model must be an nn\.Module"),
    "monitor": (
        lambda: Run().fit(monitor="accuracy", patience=2),
        r"monitor is 'accuracy', but an epoch has loss, mae, lr, seconds; give the name",
    ),
    "monitor of validation": (
        lambda: Run().fit(monitor="val_x", validation=HELD_OUT),
        r"monitor is 'val_x', but an epoch has loss, mae, val_loss, val_mae, lr",
    ),
    "monitor of a function": (
        lambda: Run().fit(monitor="val_x", validation=lambda: {"y": 1}),
        r"monitor is 'val_x', but an epoch has loss, mae, val_y, lr",
    ),
    "patience": (lambda: Run().fit(patience=0), r"patience must be a whole number >= 1"),
    "min_delta": (lambda: Run().fit(min_delta=-1), r"min_delta"),
    "largest": (lambda: Run().fit(largest=1), r"largest must be True or False"),
    "restore_best": (lambda: Run().fit(restore_best=None), r"restore_best must be True or False"),
    "callback": (lambda: Run().fit(callbacks=[3]), r"a callback is a function of the history"),
    "callback class": (lambda: Run().fit(callbacks=Recorder), r"a callback is a function of the"),
    "callback of two": (
        lambda: Run().fit(callbacks=lambda epoch, logs: None),
        r"a callback's on_epoch_end is called with \(history\), but takes \(epoch, logs\)",
    ),
    "on_step in calls": (
        lambda: Run().fit(callbacks=Recorder(), steps_per_call=4),
        r"a callback has on_step, .*steps_per_call=4 does many at a time",
    ),
    "steps_per_call": (lambda: Run().fit(steps_per_call=0), r"steps_per_call must be a whole"),
    "progress": (lambda: Run().fit(progress=1), r"progress must be True or False, but is 1"),
    "history": (lambda: Run().fit(history={}), r"history must be an nn\.History, but is dict"),
    "checkpoints": (lambda: Run().fit(checkpoints=3), r"checkpoints must be a folder or"),
    "folder only": (lambda: Run().fit(checkpoints="x"), r"need to know what to save: give model"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_told(case):
    make, match = REFUSED[case]
    with pytest.raises(LoopGradError, match=match):
        make()


@pytest.mark.parametrize("monitor", ["accuracy", "val_loss"])
def test_a_monitor_that_is_not_there_is_told_after_the_first_step(monitor):
    run = Run()
    with pytest.raises(LoopGradError, match=f"monitor is '{monitor}'"):
        run.fit(monitor=monitor, patience=1)
    assert run.optimizer.steps == 1


def test_a_monitor_is_found_whatever_the_first_call_is():
    data = [{"xs": XS[:n], "ys": YS[:n]} for n in (3, 4, 4)]
    history = nn.fit(Run().step, data, patience=1, monitor="mae", steps_per_call=2)
    assert history.epochs == 1


def test_wrong_validation_is_told_before_anything_is_trained():
    run = Run()
    with pytest.raises(LoopGradError) as raised:
        run.fit(validation={"x": XS})
    assert raised.value.__notes__ == ["this is about the data given as validation="]
    assert run.optimizer.steps == 0
