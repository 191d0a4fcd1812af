"""Recurrent layers against PyTorch, as it computed their values and gradients once.

The numbers are in tests/fixtures, written by make_torch_recurrent.py there. Inputs, parameters and
cotangents are not stored: they are drawn here as they were there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import nn_reference as by_hand

FOLDER = Path(__file__).parent / "fixtures"
KINDS = ("rnn_tanh", "rnn_relu", "lstm", "lstm_projected", "gru")
RELATIVE = 1e-10
"""How far a result may be from torch's, in units of the largest element of torch's."""


def stored(name: str) -> Any:
    return json.loads((FOLDER / f"torch_{name}.json").read_text(encoding="utf-8"))


def thousandths(rng: np.random.RandomState, shape: Any, limit: float = 1.0) -> np.ndarray:
    """What make_torch_recurrent.py drew: whole thousandths within +-limit."""
    most = int(1000 * limit)
    return rng.randint(-most, most + 1, tuple(shape), dtype=np.int64) / 1000.0


class Case:
    """One stored case, with everything that went into it."""

    def __init__(self, name: str, row: dict[str, Any]) -> None:
        self.name = name
        self.row = row
        self.kwargs: dict[str, Any] = row["kwargs"]
        self.form: str = row.get("form", "cell")
        self.lengths: list[int] | None = row.get("lengths")
        rng = np.random.RandomState(row["seed"])
        self.state_dict = {n: thousandths(rng, shape, 0.5) for n, shape in row["state_dict"]}
        self.inputs = {"x": thousandths(rng, row["x"])}
        outputs = row["outputs"]
        shapes = [np.shape(y) for y in outputs]
        if self.form == "long":
            shapes[0] = (*row["x"][:2], np.shape(outputs[0]["steps"])[-1])
        states = shapes if self.form == "cell" else shapes[1:]
        for i, shape in enumerate(states if row["states"] else ()):
            self.inputs[f"state_{i}"] = thousandths(rng, shape)
        self.cotangents = [thousandths(rng, shape) for shape in shapes]
        self.outputs = outputs
        self.gradients: dict[str, Any] = row["gradients"]
        self.state_shapes = states

    def states(self) -> list[np.ndarray]:
        """The initial states, zeros where torch was given none."""
        zeros = [np.zeros(shape) for shape in self.state_shapes]
        return [self.inputs.get(f"state_{i}", zero) for i, zero in enumerate(zeros)]

    def time_axis(self) -> int:
        return int(self.kwargs.get("batch_first", False) and self.form != "unbatched")


def cases(name: str) -> list[Any]:
    """The cases of a file as parameters of a test, called by what is special about each."""
    result = []
    for i, row in enumerate(stored(name)["cases"]):
        kwargs = row["kwargs"]
        words = [f"{key}={value}" for key, value in kwargs.items() if key != "nonlinearity"]
        kind = row.get("form", "x".join(map(str, row["x"])))
        label = "-".join([name, str(i), row["class"], kind, *words])
        result.append(pytest.param(Case(label, row), id=label))
    return result


CELLS = cases("cells")
LAYERS = [case for kind in KINDS for case in cases(kind)]


def distance(ours: Any, theirs: Any) -> float:
    """The largest difference, in units of the largest element of `theirs`."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    if not theirs.size:
        return 0.0
    largest = np.abs(theirs).max()
    return float(np.abs(ours - theirs).max() / (largest if largest else 1.0))


def assert_is_torchs(ours: Any, theirs: Any, what: str) -> None:
    """Compare with what is stored: an array, or the digest of a long sequence."""
    if isinstance(theirs, dict):
        ours = np.asarray(ours)
        assert np.sum(ours) == pytest.approx(theirs["sum"], rel=RELATIVE), what
        squares = np.sum(np.square(ours))
        assert squares == pytest.approx(theirs["sum_of_squares"], rel=RELATIVE), what
        ours, theirs = ours[[0, 499, 999]], theirs["steps"]
    far = distance(ours, theirs)
    assert far < RELATIVE, f"{what} is {far} from torch's"


# The reference by hand.

HAND_CELLS = {"RNN": by_hand.rnn_cell, "LSTM": by_hand.lstm_cell, "GRU": by_hand.gru_cell}


def hand_cell(case: Case) -> by_hand.Cell:
    cell = HAND_CELLS[case.row["class"].removesuffix("Cell")]
    if "nonlinearity" not in case.kwargs:
        return cell
    return lambda *args: cell(*args, nonlinearity=case.kwargs["nonlinearity"])


@pytest.mark.parametrize("case", CELLS)
def test_cells_by_hand_are_torchs(case: Case):
    ours = hand_cell(case)(case.state_dict, case.inputs["x"], *case.states())
    for y, theirs in zip(ours, case.outputs, strict=True):
        assert_is_torchs(y, theirs, "the state")


@pytest.mark.parametrize("case", LAYERS)
def test_layers_by_hand_are_torchs(case: Case):
    directions = 1 + case.kwargs["bidirectional"]
    xs = np.moveaxis(case.inputs["x"], case.time_axis(), 0)
    args = (hand_cell(case), case.state_dict, xs, case.states())
    if case.lengths is None:
        ys, finals = by_hand.layered(*args, directions)
    else:
        ys, finals = by_hand.each_row_alone(*args, case.lengths, directions)
    for y, theirs in zip(
        [np.moveaxis(ys, 0, case.time_axis()), *finals], case.outputs, strict=True
    ):
        assert_is_torchs(y, theirs, "the output")
