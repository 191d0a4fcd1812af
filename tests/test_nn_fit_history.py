"""The history of a run: columns, best epochs, tables, plots, and as data."""

import json
import math
import sys

import numpy as np
import pytest

import nn
from autograd.errors import DrawError, LoopGradError
from nn.history import Means


def history(*rows):
    made = nn.History()
    for row in rows:
        made.add(row)
    return made


TWO = [
    {"loss": 0.5, "val_loss": 0.75, "lr": 0.1, "seconds": 1.234},
    {"loss": 1 / 3, "val_loss": 0.625, "lr": 0.05, "seconds": 0.5},
]


def test_columns_are_lists_by_name():
    h = history(*TWO)
    assert h["loss"] == [0.5, 1 / 3]
    assert list(h) == ["loss", "val_loss", "lr", "seconds"]
    assert ("loss" in h, "accuracy" in h, len(h), h.epochs) == (True, False, 4, 2)
    assert dict(h)["lr"] == [0.1, 0.05]
    with pytest.raises(KeyError, match="'accuracy' is not in the history; it has loss, val_loss"):
        h["accuracy"]


def test_what_an_epoch_lacks_is_nan_and_what_is_about_the_run_goes_last():
    h = history({"loss": 1.0, "seconds": 2.0}, {"loss": 0.5, "val_loss": 3.0, "seconds": 2.0})
    assert list(h) == ["loss", "val_loss", "seconds"]
    assert math.isnan(h["val_loss"][0])
    assert h["val_loss"][1] == 3.0


def test_it_is_json():
    assert json.loads(json.dumps(dict(history(*TWO)))) == dict(history(*TWO))


@pytest.mark.parametrize(
    ("values", "options", "best"),
    [
        ([3, 1, 2], {}, 1),
        ([3, 1, 1], {}, 1),
        ([3, 1, 2, 3], {"largest": True}, 0),
        ([3, 2.9, 2.4, 2.3], {"min_delta": 0.5}, 2),
        ([math.nan, 5, math.nan], {}, 1),
        ([math.inf, math.nan], {}, None),
        ([math.inf, 5.0], {"largest": True}, 0),
        ([], {}, None),
    ],
)
def test_the_best_epoch(values, options, best):
    assert history(*[{"loss": x} for x in values]).best("loss", **options) == best


def test_it_prints_as_a_table():
    h = history(*TWO)
    assert repr(h).splitlines() == [
        "epoch     loss  val_loss    lr  seconds",
        "    1      0.5      0.75   0.1     1.23",
        "    2  0.33333     0.625  0.05     0.50",
    ]
    h.stopped = "a callback stopped it after epoch 2"
    assert repr(h).endswith("\nstopped: a callback stopped it after epoch 2")
    assert repr(nn.History()) == "<History of no epoch>"


def test_long_tables_are_cut():
    lines = repr(history(*[{"loss": i} for i in range(100)])).splitlines()
    assert len(lines) == 25
    assert [line.split()[0] for line in lines[:6]] == ["epoch", "1", "2", "3", "...", "81"]
    assert lines[-1].split() == ["100", "99"]
    assert "..." not in repr(history(*[{"loss": i} for i in range(24)]))


def test_it_is_a_state_that_a_file_keeps(tmp_path):
    pytest.importorskip("safetensors")
    h = history(*TWO, {"loss": math.nan, "lr": math.inf})
    h.steps, h.batch, h.seconds, h.stopped = 70, 3, 0.25, "why not"
    h.running.add(8, {"loss": np.array(0.1), "many": np.ones(3)})
    h.best_values = [np.arange(3.0), np.float32(2.0) * np.ones((2, 1), np.float32)]
    nn.save(tmp_path / "h.safetensors", h)
    other = nn.History()
    other.load_state_dict(nn.load(tmp_path / "h.safetensors"))
    assert repr(other) == repr(h)
    one, two = h.state_dict(), other.state_dict()
    assert str(one) == str(two)
    assert two["totals"] == {"loss": 8 * 0.1}
    assert [x.dtype for x in other.best_values] == ["float64", "float32"]


def test_a_state_is_a_copy():
    h = history(*TWO)
    h.best_values = [np.zeros(2)]
    state = h.state_dict()
    h.add({"loss": 9.0})
    h.rows[0]["loss"] = 8.0
    h.best_values[0][0] = 7.0
    assert [row["loss"] for row in state["rows"]] == [0.5, 1 / 3]
    assert state["best.0"].tolist() == [0, 0]


@pytest.mark.parametrize("change", [{"more": 1}, {"best.1": np.zeros(1)}])
def test_other_states_are_refused(change):
    with pytest.raises(LoopGradError, match="this is not the state of a History: it has steps, ba"):
        nn.History().load_state_dict({**nn.History().state_dict(), **change})
    with pytest.raises(LoopGradError, match="not the state of a History: it has loss"):
        nn.History().load_state_dict({"loss": 1})


def test_means_are_the_same_bits_however_values_come():
    rng = np.random.default_rng(0)
    values, sizes = rng.normal(size=50).astype("float32"), rng.integers(1, 9, 50).tolist()
    singly, together = Means(), Means()
    for size, value in zip(sizes, values, strict=True):
        singly.add(size, {"loss": value, "right": np.array(value > 0)})
    for part in (slice(0, 7), slice(7, 50)):
        together.add_all(sizes[part], {"loss": values[part], "right": values[part] > 0})
    assert singly.means() == together.means()
    exact = np.average(values.astype(float), weights=sizes)
    assert singly.means()["loss"] == pytest.approx(exact, rel=1e-12)
    assert singly.means()["right"] == pytest.approx(np.average(values > 0, weights=sizes))


def test_nan_and_infinity_pass_through_the_means():
    means = Means()
    with np.errstate(all="raise"):
        means.add(2, {"a": np.array(np.inf), "b": np.array(np.nan)})
        means.add_all([1, 1], {"a": np.array([-np.inf, 1.0]), "b": np.array([1.0, 2.0])})
    assert all(math.isnan(x) for x in means.means().values())


# --- plots ----------------------------------------------------------------------------------------


def test_plots_are_files(tmp_path):
    pytest.importorskip("matplotlib")
    h = history(*TWO)
    path = h.plot(tmp_path / "new" / "loss.svg")
    text = path.read_text(encoding="utf-8")
    assert path == tmp_path / "new" / "loss.svg"
    assert text.count('<g id="axes_') == 1  # loss and val_loss share axes
    both = h.plot(tmp_path / "two.svg", "loss", "lr").read_text(encoding="utf-8")
    assert both.count('<g id="axes_') == 2
    assert h.plot(tmp_path / "loss.png").read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_plotted_is_told(tmp_path, monkeypatch):
    with pytest.raises(DrawError, match="no 'accuracy' in the history to draw; it has loss, val"):
        history(*TWO).plot(tmp_path / "x.svg", "accuracy")
    with pytest.raises(DrawError, match="no 'epoch' in the history to draw; it has nothing"):
        nn.History().plot(tmp_path / "x.svg")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DrawError, match="python -m pip install 'loopgrad"):
        history(*TWO).plot(tmp_path / "x.svg")
