"""What a loop means, in six lines of Python; loop tests compare with it.

It works on arrays and, since tensors are sliced and combined alike, on tensors: then every step is
recorded, and `backward()` gives the gradients of the loop laid out by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import autograd as ag
from autograd.backend import for_running

Step = Callable[[list[Any], list[Any]], tuple[Sequence[Any], Sequence[Any]]]
"""From states and slices to next states and outputs. Shared values: whatever it closes over."""


def reference_loop(
    step: Step, init: Sequence[Any], each: Sequence[Any], length: int, reverse: bool = False
) -> tuple[list[Any], list[list[Any]]]:
    """Return the final states and one row of outputs a step (row t belongs to slice t)."""
    states, rows = list(init), [[] for _ in range(length)]
    for t in reversed(range(length)) if reverse else range(length):
        after, outputs = step(states, [xs[t] for xs in each])
        states, rows[t] = list(after), list(outputs)
    return states, rows


def value_of(x: Any) -> np.ndarray:
    """Return the value of a tensor or array."""
    return np.asarray(x.value if isinstance(x, ag.Node) else x)


def assert_same(found: Any, wanted: Any, tolerance: float = 0.0) -> None:
    """Assert equal shape, dtype and value: the same bits, or to `tolerance` of the largest.

    With `pytest --backend`, floats are the same to rounding: passes may sum in another order.
    """
    found, wanted = value_of(found), value_of(wanted)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    if for_running() is not None and wanted.dtype.kind == "f":
        tolerance = max(tolerance, 1000 * float(np.finfo(wanted.dtype).eps))
    if tolerance == 0.0 or not wanted.size:
        np.testing.assert_array_equal(found, wanted)
    else:
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale)


def leaf(value: Any, dtype: str | None = None) -> ag.Node:
    """Return a tensor that `backward()` accumulates a gradient in."""
    return ag.tensor(value, dtype, requires_grad=True)
