"""Elementwise ops: their base class, and arithmetic.

Inputs broadcast; the gradient walk sums their gradients back. The other families stand in
explog, trigonometric, activation, piecewise and comparison. What happens at kinks, edges and
singular points is the table in `docs/conventions.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from autograd.errors import DTypeError, ShapeError
from autograd.node import OPS, Node
from autograd.op import DIVISION, FUNCTION, Op, Rule, register
from autograd.spec import Spec


class Elementwise(Op):
    """An op computed element by element: `forward` is a NumPy ufunc or works like one."""

    broadcasts = True
    overwrites: tuple[int, ...] | None = None

    def __init__(
        self,
        name: str,
        forward: Any,
        vjps: tuple[Rule | None, ...] = (),
        doc: str = "",
        weight: int = 1,
    ) -> None:
        super().__init__(name)
        self.weight = weight
        self.forward = forward  # type: ignore[method-assign]
        self.vjps = vjps  # type: ignore[misc]
        self.__doc__ = doc

    def infer(self, *specs: Spec, **attrs: Any) -> Spec:
        shape, dtype = broadcast_shapes(*specs), self.result_dtype(*specs, **attrs)
        for spec in specs:  # one object for many nodes: less memory, less for the collector to see
            if spec.shape == shape and spec.dtype is dtype:
                return spec
        return Spec(shape, dtype)

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
    first = specs[0].shape
    if all([spec.shape == first for spec in specs]):
        return first
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


def elementwise(
    name: str, forward: Any, *vjps: Rule | None, doc: str, weight: int = 1
) -> Elementwise:
    """Register and return an elementwise op with one gradient rule an input.

    `weight` is what it counts for each element: see `Op.flops`.
    """
    return register(Elementwise(name, forward, vjps, doc, weight))


# Arithmetic.

add = elementwise(
    "add",
    np.add,
    lambda g, y, a, b: g,
    lambda g, y, a, b: g,
    doc="a + b",
)
subtract = elementwise(
    "subtract",
    np.subtract,
    lambda g, y, a, b: g,
    lambda g, y, a, b: -g,
    doc="a - b",
)
multiply = elementwise(
    "multiply",
    np.multiply,
    lambda g, y, a, b: g * b,
    lambda g, y, a, b: g * a,
    doc="a * b",
)
negative = elementwise("negative", np.negative, lambda g, y, x: -g, doc="-x")
divide = elementwise(
    "divide",
    np.true_divide,
    lambda g, y, a, b: g / b,
    lambda g, y, a, b: -g * y / b,
    doc="a / b; integers divide to float64",
    weight=DIVISION,
)
floor_divide = elementwise(
    "floor_divide",
    np.floor_divide,
    None,
    None,
    doc="floor(a / b), a step function: its gradient is zero",
    weight=DIVISION,
)
remainder = elementwise(
    "remainder",
    np.remainder,
    lambda g, y, a, b: g,
    lambda g, y, a, b: -g * floor_divide(a, b),
    doc="a - b * floor(a / b): Python's a % b, with the sign of b",
    weight=DIVISION,
)
reciprocal = elementwise(
    "reciprocal",
    lambda x: np.true_divide(1, x),
    lambda g, y, x: -g * y * y,
    doc="1 / x; integers divide to float64 (NumPy's own reciprocal rounds them to 0)",
    weight=DIVISION,
)
square = elementwise("square", np.square, lambda g, y, x: 2 * g * x, doc="x * x")
sqrt = elementwise(
    "sqrt",
    np.sqrt,
    lambda g, y, x: 0.5 * g / y,
    doc="The square root of x; its gradient at 0 is infinite",
    weight=DIVISION,
)


# Powers.


def _constant_scalar(x: Any) -> Any:
    """Return `x` as a Python number if it is one number that no later run changes, else None."""
    if isinstance(x, Node):
        x = x._value if x.op is OPS["constant"] and not x.tracked else None
    return x.item() if x is not None and x.ndim == 0 else None


def _power_base(g: Any, y: Any, a: Any, b: Any) -> Any:
    known = _constant_scalar(b)
    if known is None or known == 0:
        # At 0**0, where the rule would say 0 * 0**-1, the gradient is 0. Masking b == 0 alone
        # would be enough here, but not for the mixed second derivative.
        origin = OPS["logical_and"](OPS["equal"](a, 0), OPS["equal"](b, 0))
        return g * (b * power(a, OPS["where"](origin, b, b - 1)))
    if known == 1:
        return g
    return 2 * g * a if known == 2 else g * (known * power(a, known - 1))


def _power_exponent(g: Any, y: Any, a: Any, b: Any) -> Any:
    return g * y * OPS["log"](OPS["where"](OPS["equal"](a, 0), 1.0, a))


power = elementwise(
    "power",
    np.power,
    _power_base,
    _power_exponent,
    doc="a ** b. With a < 0 it has no derivative in b: NaN",
    weight=FUNCTION,
)


# Links.

identity = elementwise(
    "identity", lambda x: x, lambda g, y, x: g, doc="x itself, as a node of its own", weight=0
)
stop_gradient = elementwise(
    "stop_gradient",
    lambda x: x,
    None,
    doc="x, as a value through which no gradient flows",
    weight=0,
)
