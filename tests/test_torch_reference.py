"""Values and gradients against those PyTorch computed once (tests/fixtures/make_torch_ops.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograd as ag

FILE = Path(__file__).parent / "fixtures" / "torch_ops.json"
ROWS = json.loads(FILE.read_text(encoding="utf-8"))["rows"]
NAMES = [f"{row['name']}-{i}" for i, row in enumerate(ROWS)]


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_value_and_gradients_equal_those_of_pytorch(row: Any):
    fn = getattr(ag, row["name"])
    y, pull = ag.vjp(lambda *xs: fn(*xs, **row["kwargs"]), *[np.array(x) for x in row["xs"]])
    np.testing.assert_allclose(y.value, row["y"], rtol=1e-12, atol=1e-300)
    for g, expected in zip(pull(np.array(row["u"])), row["gradients"], strict=True):
        np.testing.assert_allclose(g.value, expected, rtol=1e-9, atol=1e-12)
