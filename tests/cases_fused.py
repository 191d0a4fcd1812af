"""The rows of the table of op cases for fused elementwise ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import autograd as ag
from autograd.errors import GraphError, ShapeError
from autograd.ops.fused import fused
from autograd.spec import Spec
from tests.cases import Case, Wrong, beside, floats, integers


def as_one(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that applies `fused` to its arguments, the body being that of `fn`."""

    def apply(*xs: Any) -> Any:
        body = ag.trace(fn, *[Spec(x.shape, x.dtype) for x in xs])
        outputs = fused(*xs, body=body)
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    return apply


def gate(f: Any, c: Any, i: Any) -> Any:
    """Two outputs, of which one makes the other; the last input may broadcast."""
    after = ag.sigmoid(f) * c + ag.tanh(i) * 0.5
    return after, ag.tanh(after)


def _gate(f: Any, c: Any, i: Any) -> Any:
    after = c / (1 + np.exp(-f)) + np.tanh(i) * 0.5
    return after, np.tanh(after)


CASES = [
    Case(
        "fused",
        as_one(gate),
        _gate,
        (floats((), (), ()), floats((2, 3), (2, 3), (3,)), floats((0, 2), (0, 2), ())),
        label="gate",
    ),
    Case(
        "fused",
        as_one(lambda x: x * x * x),
        lambda x: x * x * x,
        (floats((4,)), floats((2, 1, 2))),
        label="one",
    ),
    Case(
        "fused",
        as_one(lambda x, n: ag.where(n > 0, x, 2.0 * x) + ag.astype(n, x.dtype)),
        lambda x, n: np.where(n > 0, x, 2.0 * x) + n,
        (beside(floats((3,)), integers((3,))), beside(floats((2, 2)), integers((2,)))),
        label="integers",
    ),
    Case(
        "fused",
        as_one(lambda x: (x > 0.0, ag.sign(x))),
        lambda x: (x > 0.0, np.sign(x)),
        (floats((3,), away=(0.0,)),),
        differentiable=False,
        label="steps",
    ),
    Case(
        "fused",
        as_one(lambda a, b: a * np.array([1.0, 2.0]).astype(a.dtype) + b),
        lambda a, b: a * np.array([1.0, 2.0]) + b,
        (floats((), (3, 2)), floats((2,), (2,))),
        label="array-inside",
    ),
]

_shapes = ag.trace(lambda x: (x * 2.0, ag.constant(1.0)), (3,), name="shapes")
_two = ag.trace(lambda x: ag.tanh(x) * 2.0, (2,))

WRONG = [
    Wrong(
        "fused",
        lambda x: fused(x, body=_two),
        floats((3,)),
        ShapeError,
        r"takes \(float64\[2\]\), but gets \(float64\[3\]\); draw it for these",
    ),
    Wrong(
        "fused",
        lambda x: fused(x, body=ag.trace(lambda y: ag.sum(y) * 2.0, (3,))),
        floats((3,)),
        GraphError,
        "holds 'sum_1' of op 'sum', which is not elementwise; leave it outside",
    ),
    Wrong(
        "fused",
        lambda x: fused(x, body=ag.trace(lambda y: (y * 2.0, y * y[:1]), (3,))),
        floats((3,)),
        GraphError,
        "holds 'slice_1' of op 'slice', which is not elementwise",
    ),
    Wrong(
        "fused",
        lambda x: fused(x, body=_shapes),
        floats((3,)),
        ShapeError,
        r"outputs .* must have one shape, but those of 'shapes' have \[\(\), \(3,\)\]",
    ),
    Wrong(
        "fused",
        lambda x: fused(x, body=None),
        floats((3,)),
        GraphError,
        "body of fused ops must be a graph, but is NoneType",
    ),
]
