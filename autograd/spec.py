"""Specs: the shape and dtype of a value that may not exist yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from autograd.errors import DTypeError, ShapeError

Array = npt.NDArray[Any]
"""A NumPy array of any dtype LoopGrad carries."""

_KINDS = "fiub"


class _Unknown(int):
    """An axis length that only running can tell: printed `?`, equal to itself only."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "?"

    __str__ = __repr__


UNKNOWN = _Unknown(-1)
"""The number of steps of a loop that the data stop. No user sees a value of such a spec: it is what
such a loop hands to its gradient."""


@dataclass(frozen=True, slots=True)
class Spec:
    """Shape and dtype of a value, printed as `float64[8, 1, 2]`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{_name(self.dtype)}[{', '.join(map(str, self.shape))}]"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements, as a Python int (never overflows); those of one step, if unknown."""
        count = 1
        for length in self.shape:
            count *= 1 if length is UNKNOWN else length
        return count

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def floating(self) -> bool:
        """True for values that can be differentiated."""
        return self.dtype.kind == "f"


@cache
def _name(dtype: np.dtype[Any]) -> str:
    """Return `dtype.name`, which NumPy works out anew each time: too slow for a million nodes."""
    return dtype.name


def spec_of(value: Array) -> Spec:
    """Return the spec of an array."""
    return Spec(value.shape, value.dtype)


def make_spec(shape: int | Iterable[Any], dtype: npt.DTypeLike = np.float64) -> Spec:
    """Return the spec of user-given `shape` and `dtype`, checked."""
    lengths = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    for length in lengths:
        if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or length < 0:
            given = lengths if isinstance(shape, Iterable) else shape
            if isinstance(shape, np.ndarray):
                raise ShapeError(
                    "a shape is a tuple of whole numbers >= 0, but an array of shape "
                    f"{shape.shape} was given; write x.shape for that of an array x"
                )
            raise ShapeError(
                f"a shape is a tuple of whole numbers >= 0, but {given!r} was given; "
                "write for example shape=(8, 1, 2)"
            )
    return Spec(tuple(int(length) for length in lengths), checked_dtype(dtype))


def checked_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return `dtype` as a NumPy dtype LoopGrad can carry: float, integer or bool."""
    try:
        result = np.dtype(dtype)
    except TypeError:
        raise DTypeError(
            f"{dtype!r} is not a dtype; use for example 'float32', 'float64', 'int64' or 'bool'"
        ) from None
    if result.kind not in _KINDS:
        what = " (None, or rows of different lengths)" if result.kind == "O" else ""
        raise DTypeError(
            f"LoopGrad carries float, integer and bool arrays, but the dtype is {result}{what}; "
            "convert the data first"
        )
    return result.newbyteorder("=")
