"""Sums, means and extremes of expressions, in one pass over memory.

Two forms. Over inner axes: each result is one number, gathered from vectors. Over outer axes: each
result is one lane, and the rows run by. Sums over inner axes are made of blocks, whose sums are
added with what rounding takes (Knuth's two-sum), so that their error does not grow with the length;
sums over outer axes add row after row, as NumPy's do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from autograd.execute.native.ir import Function, Type, Value, Variable, vector
from autograd.execute.native.rules import TYPES

_TOGETHER = 8
"""Vectors of a row that are added to at a time, where rows run by."""

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
    type = vector(TYPES[result.dtype], lanes)
    with nest(kept, [*operands, result]) as (*rows, place):
        total = _Total(f, f.constant(type, reduction.start), reduction)
        with nest(reduced[:-1], rows) as innermost:
            _add_row(total, reduced[-1], lanes, _computed(expression, innermost, type))
        f.store(_finished(total.folded, reduction, reduced), place.pointer)


def _computed(
    expression: Expression, operands: Sequence[Array], type: Type
) -> Callable[[Lanes], Value]:
    """Return what writes the values of an expression for a part of a row."""
    same = spreads(operands, type.lanes)

    def compute(part: Lanes) -> Value:
        loaded = [part.load(a, s) for a, s in zip(operands, same, strict=True)]
        (value,) = expression.compute(loaded)
        return value.to(type)

    return compute


def reduced_row(op: str, length: Value, type: Type, compute: Callable[[Lanes], Value]) -> Value:
    """Return what the values that `compute` gives for the parts of a row are together."""
    reduction = REDUCTIONS[op]
    total = _Total(length.f, length.f.constant(type, reduction.start), reduction)
    _add_row(total, length, type.lanes, compute)
    return _finished(total.folded, reduction, [length])


def _add_row(total: _Total, length: Value, lanes: int, compute: Callable[[Lanes], Value]) -> None:
    """Add a row to a total, block by block."""
    f, combine = length.f, total.reduction.combine
    block = length.constant(_BLOCK * lanes)
    with f.range(length, step=block) as start:
        rest = length - start
        partial = f.variable(total.start)
        for part in rounds((rest < block).where(rest, block), lanes):
            value = compute(Lanes(part.start + start, lanes, part.mask))
            if part.mask is not None:
                value = part.mask.where(value, total.start)
            partial.value = combine(partial.value, value)
        total.add(partial.value)


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
        for parts in _columns(kept[-1], lanes):
            totals = [f.variable(f.constant(type, reduction.start)) for _ in parts]
            with nest(reduced, stacks) as rows:
                compute = _computed(expression, rows, type)
                for part, total in zip(parts, totals, strict=True):
                    total.value = reduction.combine(total.value, compute(part))
            for part, total in zip(parts, totals, strict=True):
                part.store(_finished(total.value, reduction, reduced), row)


def _columns(length: Value, lanes: int) -> Iterator[list[Lanes]]:
    """Loop over a row, several vectors at a time: rows may be far apart, so read much of each."""
    width = _TOGETHER * lanes
    whole = length & -width
    with length.f.range(whole, step=width) as start:
        yield [Lanes(start + i * lanes, lanes, None) for i in range(_TOGETHER)]
    for part in rounds(length - whole, lanes):
        yield [Lanes(part.start + whole, lanes, part.mask)]


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
        self.reduction = reduction
        self._sum = f.variable(start)
        self._lost: Variable | None = f.variable(start) if reduction.is_sum else None

    def add(self, x: Value) -> None:
        a = self._sum.value
        y = self.reduction.combine(a, x)
        self._sum.value = y
        if self._lost is not None:
            part = y - a
            self._lost.value = self._lost.value + ((a - (y - part)) + (x - part))

    @property
    def folded(self) -> Value:
        """All of it, as one number."""
        return self.start.f.folded(self._value, self.reduction.combine)

    @property
    def _value(self) -> Value:
        if self._lost is None:
            return self._sum.value
        together = self._sum.value + self._lost.value
        return together.is_nan().where(self._sum.value, together)  # inf - inf in what was lost
