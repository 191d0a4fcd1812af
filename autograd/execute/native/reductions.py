"""Sums, means and extremes of expressions, in one pass over memory.

Two forms. Over inner axes: each result is one number, gathered from vectors. Over outer axes: each
result is one lane, and the rows run by. Sums over inner axes are made of blocks, whose sums are
added with what rounding takes (Knuth's two-sum), so that their error does not grow with the length;
sums over outer axes add row after row, as NumPy's do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from autograd.execute.native import rules
from autograd.execute.native.elementwise import (
    Array,
    Expression,
    Lanes,
    nest,
    rounds,
    spreads,
)
from autograd.execute.native.ir import Function, Value, Variable, vector
from autograd.execute.native.rules import TYPES

_BLOCK = 64
"""Vectors that are added one by one, before their sum is added exactly."""


@dataclass(frozen=True)
class Reduction:
    """How numbers become one."""

    combine: Callable[[Value, Value], Value]
    start: float
    is_mean: bool = False

    @property
    def is_sum(self) -> bool:
        """Whether rounding errors pile up."""
        return self.start == 0


REDUCTIONS = {
    "sum": Reduction(lambda a, b: a + b, 0.0),
    "mean": Reduction(lambda a, b: a + b, 0.0, is_mean=True),
    "max": Reduction(rules.maximum, -inf),
    "min": Reduction(rules.minimum, inf),
}


def missing(op: str, dtype: str) -> str:
    """Say why a reduction to this element type has no native form, or return ""."""
    if op not in REDUCTIONS:
        return f"op '{op}' has no native rule"
    return "" if dtype in ("float32", "float64") else f"op '{op}' has no native rule for {dtype}"


def emit_inner(
    f: Function,
    kept: Sequence[Value],
    reduced: Sequence[Value],
    op: str,
    expression: Expression,
    operands: Sequence[Array],
    result: Array,
    vector_bytes: int,
) -> None:
    """Reduce `expression` over the inner axes `reduced`; `result` has only the axes `kept`."""
    reduction = REDUCTIONS[op]
    lanes = expression.lanes(vector_bytes)
    scalar = TYPES[result.dtype]
    with nest(kept, [*operands, result]) as (*rows, place):
        total = _Total(f, f.constant(vector(scalar, lanes), reduction.start), reduction)
        with nest(reduced[:-1], rows) as innermost:
            same = spreads(innermost, lanes)
            block = reduced[-1].constant(_BLOCK * lanes)
            with f.range(reduced[-1], step=block) as start:
                rest = reduced[-1] - start
                partial = f.variable(total.start)
                for part in rounds((rest < block).where(rest, block), lanes):
                    shifted = Lanes(part.start + start, lanes, part.mask)
                    loaded = [shifted.load(a, s) for a, s in zip(innermost, same, strict=True)]
                    (value,) = expression.compute(loaded)
                    value = value.to(scalar)
                    if part.mask is not None:
                        value = part.mask.where(value, total.start)
                    partial.value = reduction.combine(partial.value, value)
                total.add(partial.value)
        y = f.folded(total.value, reduction.combine)
        f.store(_finished(y, reduction, reduced), place.pointer)


def emit_outer(
    f: Function,
    reduced: Sequence[Value],
    kept: Sequence[Value],
    op: str,
    expression: Expression,
    operands: Sequence[Array],
    result: Array,
    vector_bytes: int,
) -> None:
    """Reduce `expression` over the outer axes `reduced`; `result` has only the axes `kept`.

    There is at least one axis in `kept`.
    """
    reduction = REDUCTIONS[op]
    lanes = expression.lanes(vector_bytes)
    type = vector(TYPES[result.dtype], lanes)
    depth = len(reduced)
    # The axes that stay go first, so that one vector of the result is finished before the next.
    turned = [
        Array(
            a.dtype, a.inner, a.pointer, [*a.strides[depth:-1], *a.strides[:depth], a.strides[-1]]
        )
        for a in operands
    ]
    with nest(kept[:-1], [*turned, result]) as (*stacks, row):
        for part in rounds(kept[-1], lanes):
            total = f.variable(f.constant(type, reduction.start))
            with nest(reduced, stacks) as rows:
                same = spreads(rows, lanes)
                loaded = [part.load(a, s) for a, s in zip(rows, same, strict=True)]
                (value,) = expression.compute(loaded)
                total.value = reduction.combine(total.value, value.to(type))
            part.store(_finished(total.value, reduction, reduced), row)


def _finished(y: Value, reduction: Reduction, reduced: Sequence[Value]) -> Value:
    if not reduction.is_mean:
        return y
    count = reduced[0]
    for size in reduced[1:]:
        count = count * size
    number = count.to(y.type.element)
    return y / (y.f.splat(number, y.type.lanes) if y.type.lanes else number)


class _Total:
    """What blocks give together. For sums, what rounding took is kept and given back at the end."""

    def __init__(self, f: Function, start: Value, reduction: Reduction) -> None:
        self.start = start
        self._reduction = reduction
        self._sum = f.variable(start)
        self._lost: Variable | None = f.variable(start) if reduction.is_sum else None

    def add(self, x: Value) -> None:
        a = self._sum.value
        y = self._reduction.combine(a, x)
        self._sum.value = y
        if self._lost is not None:
            part = y - a
            self._lost.value = self._lost.value + ((a - (y - part)) + (x - part))

    @property
    def value(self) -> Value:
        """All of it, one number a lane."""
        if self._lost is None:
            return self._sum.value
        together = self._sum.value + self._lost.value
        return together.is_nan().where(self._sum.value, together)  # inf - inf in what was lost
