"""The table of op cases: one row an op and way of calling it. `tests/test_ops.py` walks it.

A row gives the function to call, NumPy's equivalent, and samples: functions from a random
generator to the arrays to call it on. Float inputs are the ones differentiated. Samples of
functions with kinks, ties or edges stay at least 1e-3 away from them, because differences across
a kink check nothing; `tests/test_conventions.py` tests the kinks themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Sample = Callable[[np.random.Generator], tuple[Any, ...]]


@dataclass(frozen=True)
class Case:
    """One row: `fn` on tensors, virtual nodes or arrays must equal `like` on arrays."""

    op: str
    """The name in OPS of the op that this row is about; `fn` must apply it."""
    fn: Callable[..., Any]
    """Takes the sample's arrays (or nodes of them) only, so attrs are inside: `lambda x: ...`."""
    like: Callable[..., Any]
    """What NumPy computes. Returns a tuple where `fn` does."""
    samples: tuple[Sample, ...]
    differentiable: bool = True
    """False where no input has a gradient, or it is zero everywhere it exists."""
    order: int = 2
    """Up to which derivative the row is checked."""
    forward_tolerance: float = 1e-12
    """Relative to the largest element of the result, float64."""
    tolerance: float = 1e-6
    """Of the derivatives, relative, against central differences."""
    label: str = ""
    """Tells rows of one op apart."""

    def __str__(self) -> str:
        return f"{self.op}-{self.label}" if self.label else self.op


@dataclass(frozen=True)
class Wrong:
    """One row of misuse: `fn` on the arrays of `sample`, eager and drawn, raises `error`."""

    op: str
    fn: Callable[..., Any]
    sample: Sample
    error: type[Exception]
    match: str

    def __str__(self) -> str:
        return f"{self.op}-{self.match[:40]}"


Shape = tuple[int, ...]


def floats(
    *shapes: Shape, low: float = -2.0, high: float = 2.0, away: tuple[float, ...] = ()
) -> Sample:
    """Return a sample of float64 arrays in [low, high), no element within 0.01 of `away`."""

    def sample(rng: np.random.Generator) -> tuple[Any, ...]:
        arrays = []
        for shape in shapes:
            x = np.asarray(rng.uniform(low, high, shape))
            for kink in away:
                x = np.where(abs(x - kink) < 0.01, kink + 0.02, x)
            arrays.append(x)
        return tuple(arrays)

    return sample


def distinct(*shapes: Shape, low: float = -2.0, high: float = 2.0) -> Sample:
    """Return a sample of float64 arrays whose elements, over all arrays, are far from equal."""

    def sample(rng: np.random.Generator) -> tuple[Any, ...]:
        sizes = [int(np.prod(shape)) for shape in shapes]
        values = rng.permutation(np.linspace(low, high, sum(sizes)))
        parts = np.split(values, np.cumsum(sizes)[:-1])
        return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))

    return sample


def integers(*shapes: Shape, low: int = -5, high: int = 6) -> Sample:
    """Return a sample of int64 arrays in [low, high)."""
    return lambda rng: tuple(np.asarray(rng.integers(low, high, shape)) for shape in shapes)


def bools(*shapes: Shape) -> Sample:
    """Return a sample of bool arrays."""
    return lambda rng: tuple(np.asarray(rng.integers(0, 2, shape) == 1) for shape in shapes)


def exactly(*values: Any) -> Sample:
    """Return a sample of copies of these arrays."""
    return lambda rng: tuple(np.array(value) for value in values)


def beside(*samples: Sample) -> Sample:
    """Return the sample of all arrays of several samples, in order."""
    return lambda rng: tuple(x for sample in samples for x in sample(rng))


# The shapes every elementwise op must take: 0-d, a row, empty, several axes.
SHAPES: tuple[Shape, ...] = ((), (1, 4), (0, 3), (2, 3, 2))
# And pairs that broadcast: equal, both ways, leading ones, a scalar, empty.
PAIRS: tuple[tuple[Shape, Shape], ...] = (
    ((), ()),
    ((1, 4), (1, 4)),
    ((3, 1), (1, 4)),
    ((2, 3), (3,)),
    ((), (2, 2)),
    ((0, 3), (1, 3)),
)

CASES: list[Case] = []
WRONG: list[Wrong] = []
