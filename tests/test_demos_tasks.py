"""Demos on tasks run, say the same twice, do without optional parts, and compute what they say."""

import re
import sys

import numpy as np
import pytest

import autograd as ag
import nn
from demos import (
    adding_problem,
    charts,
    copy_memory,
    custom_cell,
    datasets,
    digits,
    forecast,
    latch,
    learning,
)

DEMOS = [adding_problem, copy_memory, custom_cell, digits, forecast]
NEEDS = {digits: "sklearn", forecast: "statsmodels"}
EXTRAS = ("tqdm", "matplotlib", "matplotlib.figure", "sklearn.datasets", "statsmodels.datasets")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# --- all of them ----------------------------------------------------------------------------------


@pytest.fixture
def few_networks(monkeypatch):
    """Two of the networks of demos that compare some."""
    for demo, names in ((adding_problem, ["tanh RNN", "LSTM"]), (copy_memory, ["orthogonal RNN"])):
        monkeypatch.setattr(demo, "NETWORKS", {name: demo.NETWORKS[name] for name in names})


@pytest.fixture
def nothing_compiled():
    """Plans of NumPy calls, which are ready sooner than machine code."""
    with ag.backend("numpy"):
        yield


@pytest.mark.usefixtures("few_networks", "nothing_compiled")
@pytest.mark.parametrize("demo", DEMOS, ids=lambda demo: demo.__name__)
def test_demos_run_in_their_quick_form_and_print_the_same_twice(demo, capsys, monkeypatch):
    pytest.importorskip(NEEDS.get(demo, "numpy"))
    monkeypatch.setattr(ag.Graph, "draw", lambda self, path: path.touch())
    demo.main(["--quick"])
    first = capsys.readouterr().out
    assert "graph.svg" in first
    demo.main(["--quick"])
    assert capsys.readouterr().out == first


@pytest.mark.usefixtures("few_networks", "nothing_compiled")
@pytest.mark.parametrize("demo", DEMOS, ids=lambda demo: demo.__name__)
def test_demos_do_without_optional_parts_and_say_what_to_install(demo, capsys, monkeypatch):
    for name in EXTRAS:
        monkeypatch.setitem(sys.modules, name, None)

    def no_renderer(self, path):
        raise ag.DrawError("no pygraphviz here; install it")

    monkeypatch.setattr(ag.Graph, "draw", no_renderer)
    demo.main(["--quick"])
    out = capsys.readouterr().out
    if demo in NEEDS:
        assert "is not installed, so there are no" in out
        assert "python -m pip install 'loopgrad[data]'" in out
        return
    assert "no pygraphviz here; install it" in out
    for missing in ("tqdm is not installed", "matplotlib is not installed"):
        assert missing in out
    assert "python -m pip install 'loopgrad[demos]'" in out


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (["--seed", "-1"], "--seed must be at least 0, but is -1"),
        (["--steps", "0"], "--steps must be at least 1, but is 0"),
    ],
)
def test_wrong_options_are_refused(given, match, capsys):
    with pytest.raises(SystemExit):
        adding_problem.main(given)
    assert match in capsys.readouterr().err


# --- what they share ------------------------------------------------------------------------------


class Falling:
    """In place of a training step: losses 1, 1/2, 1/3, ..."""

    def __init__(self):
        self.count = 0

    def run(self, **batch):
        self.count += 1
        return {"loss": 1 / self.count}


def test_learning_stops_at_its_goal(capsys):
    losses = learning.learn(Falling(), dict, 1000, "falling", goal=0.02, reports=4)
    assert np.mean(losses[-100:]) < 0.02 <= np.mean(losses[-101:-1])
    assert (
        f"falling, step {len(losses):,}: loss {np.mean(losses[-100:]):.4f}, below 0.02"
        in capsys.readouterr().out
    )
    assert learning.steps_until(losses, 0.02) == len(losses)
    assert learning.steps_until(losses, 0.01) is None
    assert learning.steps_until(losses[:99], 1.0) is None
    assert len(learning.learn(Falling(), dict, 7, "falling")) == 7


def test_smoothed_values_are_means_of_at_most_250_points():
    steps, values = charts.smoothed([3.0, 5.0])
    np.testing.assert_array_equal((steps, values), ([1, 2], [3, 5]))
    steps, values = charts.smoothed(np.arange(1, 1001))
    assert len(steps) == 250
    np.testing.assert_array_equal(steps, values)
    steps, values = charts.smoothed(np.arange(1, 502))  # 167 threes
    np.testing.assert_array_equal(steps, values)


def test_the_same_chart_is_the_same_file(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    for name in "ab":
        level = ("level", 0.5)
        named = {"one": [1.0, 0.1], "two": np.linspace(1, 0.2, 600)}
        charts.curves(tmp_path / "new" / f"{name}.svg", name, named, "y", level=level, log=True)
    first, second = ((tmp_path / "new" / f"{name}.svg").read_text() for name in "ab")
    assert first == second
    assert "<svg" in first
    assert "two" in first
    assert f"a: {tmp_path / 'new' / 'a.svg'}" in capsys.readouterr().out


# --- tasks ----------------------------------------------------------------------------------------


def test_sums_are_those_of_the_marked_numbers_one_in_each_half(rng):
    xs, ys = adding_problem.adding(rng, 15, 200).values()
    assert (xs.shape, ys.shape) == ((15, 200, 2), (200,))
    assert xs.dtype == ys.dtype == np.float32
    assert (xs[:7, :, 1].sum(axis=0) == 1).all()
    assert (xs[7:, :, 1].sum(axis=0) == 1).all()
    assert (xs[:, :, 1].sum(axis=1) > 0).all()  # marks are everywhere
    for b in range(200):
        assert ys[b] == pytest.approx(sum(x for x, mark in xs[:, b] if mark))


def test_who_always_says_1_has_the_variance_of_the_sum(rng):
    ys = adding_problem.adding(rng, 10, 100000)["ys"]
    assert np.mean((ys - 1) ** 2) == pytest.approx(adding_problem.BASELINE, rel=0.02)


def test_networks_start_as_they_are_said_to(rng):
    irnn = adding_problem.irnn(rng, 100)
    np.testing.assert_array_equal(irnn.weight_hh_l0.value, np.eye(100))
    assert 0.0005 < irnn.weight_ih_l0.value.std() < 0.0015
    assert not irnn.bias_ih_l0.value.any()
    lstm = adding_problem.lstm(rng, 4)
    total = lstm.bias_ih_l0.value + lstm.bias_hh_l0.value
    np.testing.assert_array_equal(total, [0] * 4 + [1] * 4 + [0] * 8)


def test_copying_asks_for_the_symbols_after_the_marker(rng):
    xs, ys = copy_memory.copying(rng, 7, 50).values()
    assert (xs.shape, ys.shape) == ((27, 50, 10), (27, 50))
    assert xs.dtype == np.float32
    read = xs.argmax(axis=2)
    assert (xs.sum(axis=2) == 1).all()
    np.testing.assert_array_equal(read[:10], ys[-10:])
    assert set(ys[-10:].ravel()) == set(range(1, 9))
    assert not ys[:-10].any()
    assert (read[16] == copy_memory.MARKER).all()
    assert not np.delete(read, 16, axis=0)[10:].any()


@pytest.mark.parametrize("size", [2, 7, 16])
def test_the_matrix_is_orthogonal_whatever_its_parameter_is(size, rng):
    cell = copy_memory.Orthogonal(3, size, rng)
    for w in (cell.w.value, rng.normal(size=(size, size)).astype(np.float32)):
        cell.w.value = w
        cell.draw_matrix()
        q = cell.q.value
        assert q.dtype == np.float32
        np.testing.assert_allclose(q @ q.T, np.eye(size), atol=2e-5)
        assert np.linalg.det(q) == pytest.approx(1, abs=1e-4)  # a rotation


def test_the_matrix_starts_with_turns_of_up_to_162_degrees(rng):
    cell = copy_memory.Orthogonal(3, 12, rng)
    cell.draw_matrix()
    angles = np.abs(np.angle(np.linalg.eigvals(cell.q.value)))
    assert (angles < np.radians(162.1)).all()
    assert angles.max() > np.pi / 2


def test_modrelu_moves_sizes_and_keeps_signs(rng):
    cell = copy_memory.Orthogonal(4, 4, rng)
    cell.inside.weight.value = np.eye(4, dtype=np.float32)
    cell.b.value = np.full(4, -0.5, np.float32)
    cell.draw_matrix()
    x = np.array([[2, -2, 0.25, -0.25]], np.float32)
    after = cell(x, np.zeros((1, 4), np.float32))
    np.testing.assert_array_equal(after.value, [[1.5, -1.5, 0, 0]])


def test_the_matrix_is_drawn_once_and_trained_through_the_loop(rng):
    layer = copy_memory.orthogonal(rng, 6)
    xs = rng.normal(size=(5, 2, 10)).astype(np.float32)
    graph = ag.trace(lambda xs: ag.square(layer(xs)[0]).sum(), xs)
    assert len(graph.find(op="solve")) == 1  # and none in the body
    gradient = graph.grad().run(xs=xs)["grad_cell.w"]
    np.testing.assert_allclose(gradient, -gradient.T, atol=1e-4)  # only W - W^T matters
    assert np.abs(gradient).max() > 0.1


def test_latched_numbers_are_those_of_the_latest_marks(rng):
    xs, ys = latch.latch(rng, 40, 3).values()
    assert (xs.shape, ys.shape) == ((40, 3, 2), (40, 3, 1))
    for b in range(3):
        kept = 0.0
        for t in range(40):
            if xs[t, b, 1]:
                kept = xs[t, b, 0]
            assert ys[t, b, 0] == kept


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_cell_is_the_loop_drawn_by_hand(dtype, rng):
    cell = custom_cell.MinimalGatedUnit(2, 5, rng, dtype)
    xs = rng.normal(size=(7, 3, 2)).astype(dtype)
    ys, _, seen = nn.Recurrent(cell)(xs, watch="gate")
    by_hand = custom_cell.by_hand(cell, xs, np.zeros((3, 5), dtype))
    np.testing.assert_array_equal(by_hand.value, ys.value)
    assert ys.dtype == dtype
    # and NumPy's word for the first step, from a state of zeros
    f = 1 / (1 + np.exp(-(xs[0] @ cell.gate_x.weight.value.T + cell.gate_x.bias.value)))
    n = np.tanh(xs[0] @ cell.new_x.weight.value.T + cell.new_x.bias.value)
    np.testing.assert_allclose(seen["gate"].value[0], f, rtol=1e-6)
    np.testing.assert_allclose(ys.value[0], f * n, rtol=1e-5)


def test_the_page_of_the_custom_cell_shows_the_program_as_it_is(root):
    source = (root / "demos" / "custom_cell.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) < 60
    page = (root / "docs" / "custom_cell.md").read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    # the page shows it piece by piece, in its order, and leaves nothing out
    assert "".join("".join(shown).split()) == "".join(source.split())


# --- data -----------------------------------------------------------------------------------------


def test_digits_are_split_the_same_way_every_time_and_nothing_is_in_both(rng):
    images = np.arange(1797.0).repeat(64).reshape(1797, 8, 8)
    labels = np.arange(1797)
    first, second = digits.split(images, labels), digits.split(images, labels)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    training, test = first[1], first[3]
    assert (len(training), len(test)) == (1347, 450)
    assert set(training) | set(test) == set(range(1797))
    np.testing.assert_array_equal(first[2][:, 0, 0], test)


def test_the_digits_are_those_of_scikit_learn(rng):
    pytest.importorskip("sklearn")
    images, labels = datasets.digits()
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0, 1)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_shifted_images_are_moved_by_at_most_one_pixel(rng):
    images = np.zeros((300, 8, 8))
    images[:, 4, 4] = 1
    moved = digits.shifted(images, rng)
    _, rows, columns = np.nonzero(moved)
    assert len(rows) == 300  # one pixel each, still
    assert {*zip(rows.tolist(), columns.tolist(), strict=True)} == {
        (a, b) for a in (3, 4, 5) for b in (3, 4, 5)
    }


def test_confusion_counts_what_is_read_as_what():
    counts = digits.confusion(np.array([1, 2, 2, 3]), np.array([1, 2, 3, 3]))
    assert counts.sum() == 4
    assert (counts[1, 1], counts[2, 2], counts[3, 2], counts[3, 3]) == (1, 1, 1, 1)


def test_a_batch_of_images_is_a_batch_of_sequences_of_rows(rng):
    images = rng.normal(size=(5, 8, 8))
    np.testing.assert_array_equal(digits.rows_of(images)[2, 3], images[3, 2])


# --- forecasts ------------------------------------------------------------------------------------


def test_the_sunspots_are_those_of_statsmodels():
    pytest.importorskip("statsmodels")
    years, values = datasets.sunspots()
    np.testing.assert_array_equal(years, np.arange(1700, 2009))
    assert (values[0], values[257], values[-1]) == (5.0, 190.2, 2.9)  # 1957: the highest


def test_the_scale_goes_there_and_back():
    scale = forecast.Scale(np.array([1.0, 4.0, 9.0]))
    scaled = scale.to(np.array([1.0, 4.0, 9.0]))
    np.testing.assert_allclose((scaled.mean(), scaled.std()), (0, 1), atol=1e-12)
    np.testing.assert_allclose(scale.back(scaled), [1, 4, 9])
    assert scale.back(np.array(-100.0)) == 0


def test_an_autoregression_finds_the_law_of_a_wave():
    """A sum of three cosines obeys a linear law of order 6, so it is forecast without error."""
    t = np.arange(200.0)
    wave = 9 + sum(np.cos(2 * np.pi * t / period) for period in (11, 7, 23))
    ahead = forecast.autoregression(wave[:150], None)(wave[128:150, None])
    np.testing.assert_allclose(ahead[:, 0], wave[150:161], atol=1e-7)
    on_roots = forecast.autoregression(wave[:150] ** 2, forecast.Scale(wave[:150] ** 2))
    np.testing.assert_allclose(
        on_roots(wave[128:150, None] ** 2)[:, 0], wave[150:161] ** 2, atol=1e-5
    )


def test_errors_are_those_of_forecasts_made_the_horizon_before():
    values = np.arange(80.0)
    assert forecast.errors(forecast.persistence, values, 60) == pytest.approx([1, 2, 5, 11])
    assert forecast.errors(forecast.one_cycle_ago, values, 60) == pytest.approx([11] * 4)
    right = forecast.errors(lambda past: past[-1] + np.arange(1, 12)[:, None], values, 60)
    assert right == pytest.approx([0] * 4)


def test_the_forecaster_reads_its_own_forecasts(rng):
    model = forecast.Forecaster(rng)
    past = rng.normal(size=(22, 2, 1)).astype(np.float32)
    ys = model(past).value
    assert ys.shape == (11, 2, 1)
    h = np.zeros((2, forecast.SIZE), np.float32)
    for x in past:
        h = model.cell(x, h)
    for y in ys:
        np.testing.assert_allclose(model.out(h).value, y, rtol=1e-4, atol=1e-5)
        h = model.cell(y, h)


@pytest.mark.usefixtures("nothing_compiled")
def test_a_network_is_trained_on_known_years_only(rng, capsys):
    known = 50 + 40 * np.sin(np.arange(120) / 1.75)
    scale = forecast.Scale(known)
    forecaster, model = forecast.train(known, scale, 0, 3)
    again, _ = forecast.train(known.copy(), scale, 0, 3)
    past = known[-22:, None]
    np.testing.assert_array_equal(forecaster(past), again(past))
    np.testing.assert_allclose(
        forecaster(past), scale.back(model(scale.to(past).astype("f4")[:, :, None]).value[:, :, 0])
    )
