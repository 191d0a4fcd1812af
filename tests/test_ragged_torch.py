"""Ragged scans of plain cells against PyTorch's packed sequences, as torch computed them once.

The numbers are in tests/fixtures/torch_ragged.json, written by make_torch_ragged.py beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograd as ag
from loops import scan

FILE = Path(__file__).parent / "fixtures" / "torch_ragged.json"
ROWS = json.loads(FILE.read_text(encoding="utf-8"))["rows"]
NAMES = [f"{row['kind']}-{'both ways' if row['bidirectional'] else 'forward'}" for row in ROWS]


def rnn(weights):
    w_ih, w_hh, b_ih, b_hh = weights

    def cell(carry, x):
        h = ag.tanh(x @ w_ih.T + b_ih + carry[0] @ w_hh.T + b_hh)
        return (h,), h

    return cell


def lstm(weights):
    w_ih, w_hh, b_ih, b_hh = weights

    def cell(carry, x):
        h, c = carry
        i, f, g, o = ag.split(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=-1)
        c = ag.sigmoid(f) * c + ag.sigmoid(i) * ag.tanh(g)
        h = ag.sigmoid(o) * ag.tanh(c)
        return (h, c), h

    return cell


CELLS = {"RNN": rnn, "LSTM": lstm}


def layer(row: Any, arrays: dict[str, Any], mode: str) -> list[Any]:
    """Return outputs and final states as torch does: directions side by side, then one by one."""
    states = [value for name, value in arrays.items() if name.startswith("state_")]
    stacked, finals = [], []
    for k, suffix in enumerate(("", "_reverse")[: 1 + row["bidirectional"]]):
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        carry, ys = scan(
            CELLS[row["kind"]]([arrays[name + suffix] for name in names]),
            tuple(s[k] for s in states),
            arrays["xs"],
            reverse=k == 1,
            lengths=row["lengths"],
            ragged=mode,
        )
        stacked.append(ys)
        finals.append(carry)
    return [ag.concat(stacked, axis=-1), *[ag.stack(list(s)) for s in zip(*finals, strict=True)]]


@pytest.mark.parametrize("mode", ["shrink", "mask"])
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_values_and_gradients_are_those_of_packed_sequences(row: Any, mode: str):
    arrays = {name: np.array(value) for name, value in row["arrays"].items()}
    for b, n in enumerate(row["lengths"]):
        arrays["xs"][n:, b] = np.nan  # torch never sees the padding either
    names = list(arrays)
    ys, pull = ag.vjp(
        lambda *values: layer(row, dict(zip(names, values, strict=True)), mode), *arrays.values()
    )
    for y, expected in zip(ys, row["outputs"], strict=True):
        np.testing.assert_allclose(y.value, expected, rtol=1e-12, atol=1e-14)
    for name, g in zip(names, pull([np.array(u) for u in row["cotangents"]]), strict=True):
        np.testing.assert_allclose(g.value, row["gradients"][name], rtol=1e-11, atol=1e-13)
