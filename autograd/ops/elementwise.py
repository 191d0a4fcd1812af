"""Elementwise ops. Inputs broadcast; the gradient walk sums their gradients back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from autograd.errors import DTypeError, ShapeError
from autograd.node import OPS
from autograd.op import Op, Rule, register
from autograd.spec import Spec


class Elementwise(Op):
    """An op computed element by element: `forward` is a NumPy ufunc or works like one."""

    broadcasts = True

    def __init__(self, name: str, forward: Any, vjps: tuple[Rule | None, ...] = (), doc: str = ""):
        super().__init__(name)
        self.forward = forward
        self.vjps = vjps  # type: ignore[misc]
        self.__doc__ = doc

    def infer(self, *specs: Spec, **attrs: Any) -> Spec:
        return Spec(broadcast_shapes(*specs), self.result_dtype(*specs, **attrs))

    def result_dtype(self, *specs: Spec, **attrs: Any) -> np.dtype[Any]:
        """Ask `forward` itself, on empty arrays."""
        return _dtype_of(self, tuple(spec.dtype for spec in specs), tuple(attrs.items()))

    def batch(self, batched: Sequence[bool], *xs: Any, **attrs: Any) -> Any:
        return self(*align(batched, xs), **attrs)


@cache
def _dtype_of(
    op: Elementwise, dtypes: tuple[np.dtype[Any], ...], attrs: tuple[tuple[str, Any], ...]
) -> np.dtype[Any]:
    try:
        result = op.forward(*[np.empty(0, dtype) for dtype in dtypes], **dict(attrs))
    except TypeError:
        given = ", ".join(map(str, dtypes))
        raise DTypeError(
            f"op '{op.name}' does not work on {given}; convert with .astype('float64') or another "
            "dtype first"
        ) from None
    dtype: np.dtype[Any] = np.asarray(result).dtype
    return dtype


def broadcast_shapes(*specs: Spec) -> tuple[int, ...]:
    """Return the common shape of specs under NumPy's broadcasting rule."""
    try:
        return np.broadcast_shapes(*[spec.shape for spec in specs])
    except ValueError:
        shapes = " and ".join(str(spec.shape) for spec in specs)
        raise ShapeError(
            f"shapes {shapes} do not broadcast: counted from the last axis, lengths must be equal "
            "or 1; reshape or transpose one of them"
        ) from None


def align(batched: Sequence[bool], xs: Sequence[Any]) -> list[Any]:
    """Return `xs` with axes of length 1 put behind the batch axes, so that all ranks agree."""
    rank = max(len(x.shape) - b for b, x in zip(batched, xs, strict=True))
    return [
        OPS["reshape"](x, shape=x.shape[:1] + (1,) * (rank + 1 - len(x.shape)) + x.shape[1:])
        if b and len(x.shape) < rank + 1
        else x
        for b, x in zip(batched, xs, strict=True)
    ]


def _elementwise(name: str, forward: Any, *vjps: Rule | None, doc: str) -> Elementwise:
    return register(Elementwise(name, forward, vjps, doc))


# Arithmetic.

add = _elementwise(
    "add",
    np.add,
    lambda g, y, a, b: g,
    lambda g, y, a, b: g,
    doc="a + b",
)
subtract = _elementwise(
    "subtract",
    np.subtract,
    lambda g, y, a, b: g,
    lambda g, y, a, b: -g,
    doc="a - b",
)
multiply = _elementwise(
    "multiply",
    np.multiply,
    lambda g, y, a, b: g * b,
    lambda g, y, a, b: g * a,
    doc="a * b",
)
negative = _elementwise("negative", np.negative, lambda g, y, x: -g, doc="-x")
divide = _elementwise(
    "divide",
    np.true_divide,
    lambda g, y, a, b: g / b,
    lambda g, y, a, b: -g * y / b,
    doc="a / b; integers divide to float64",
)

# Links.

identity = _elementwise(
    "identity", lambda x: x, lambda g, y, x: g, doc="x itself, as a node of its own"
)
stop_gradient = _elementwise(
    "stop_gradient", lambda x: x, None, doc="x, as a value through which no gradient flows"
)

# Hyperbolic functions.

tanh = _elementwise(
    "tanh", np.tanh, lambda g, y, x: g - g * y * y, doc="Hyperbolic tangent of x, in (-1, 1)"
)
