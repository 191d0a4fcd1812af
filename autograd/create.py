"""Constant tensors made from a shape or a range. They never have a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from autograd.grad import make_constant
from autograd.node import Node
from autograd.spec import Array, checked_dtype, make_spec


def zeros(shape: Any, dtype: npt.DTypeLike = np.float64) -> Node:
    """Return a constant tensor of zeros."""
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: npt.DTypeLike = np.float64) -> Node:
    """Return a constant tensor of ones."""
    return full(shape, 1, dtype)


def full(shape: Any, fill_value: float, dtype: npt.DTypeLike | None = None) -> Node:
    """Return a constant tensor of one number, by default of that number's own dtype."""
    spec = make_spec(shape, np.result_type(fill_value) if dtype is None else dtype)
    return make_constant(np.full(spec.shape, fill_value, spec.dtype))


def zeros_like(x: Any, dtype: npt.DTypeLike | None = None) -> Node:
    """Return a constant tensor of zeros with the shape (and dtype) of `x`, virtual or not."""
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: npt.DTypeLike | None = None) -> Node:
    """Return a constant tensor of ones with the shape (and dtype) of `x`, virtual or not."""
    return full_like(x, 1, dtype)


def full_like(x: Any, fill_value: float, dtype: npt.DTypeLike | None = None) -> Node:
    """Return a constant tensor of one number with the shape (and dtype) of `x`."""
    return full(x.shape, fill_value, x.dtype if dtype is None else dtype)


def eye(
    rows: int, columns: int | None = None, k: int = 0, dtype: npt.DTypeLike = np.float64
) -> Node:
    """Return a constant matrix with ones on diagonal `k` and zeros elsewhere."""
    return make_constant(np.eye(rows, columns, k, checked_dtype(dtype)))


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    dtype: npt.DTypeLike | None = None,
) -> Node:
    """Return the numbers from `start` (with one argument: from 0) to before `stop`."""
    bounds: tuple[Any, Any] = (0, start) if stop is None else (start, stop)
    numbers: Array = np.arange(*bounds, step)
    return make_constant(numbers if dtype is None else numbers.astype(checked_dtype(dtype)))


def linspace(
    start: float,
    stop: float,
    num: int = 50,
    endpoint: bool = True,
    dtype: npt.DTypeLike = np.float64,
) -> Node:
    """Return `num` evenly spaced numbers from `start` to `stop` (left out without `endpoint`)."""
    return make_constant(np.linspace(start, stop, num, endpoint, dtype=checked_dtype(dtype)))
