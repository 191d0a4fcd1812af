"""Kernels that compute a whole expression for each element: one pass over memory, on vectors.

An `Expression` is what is computed: a list of ops, each on operands or on results before it. An
`Array` is where an operand lies while the code runs: its address and strides are values, so the
same code runs for any sizes. Only how the innermost axis lies in memory is known when the code is
written: `DENSE` (one element after the other), `SPREAD` (one element for the whole row, as a bias
in its column), `STRIDED` (anything else; each lane is fetched by itself).

The nest of loops has one loop an axis, and the innermost takes as many elements as a vector holds.
What is left at the end of a row is done once more with a mask, which touches no memory beyond the
row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from autograd.execute.native import rules
from autograd.execute.native.ir import I1, I8, Function, Type, Value, vector
from autograd.execute.native.rules import TYPES

DENSE, SPREAD, STRIDED = "dense", "spread", "strided"
CONSTANT = "constant"
"""The op of a step that is a number, its attribute `value`."""


@dataclass(frozen=True)
class Step:
    """One op of an expression. Its arguments are numbers of operands and steps, counted
    together."""

    op: str
    arguments: tuple[int, ...]
    dtype: str
    """The element type of its result, as NumPy writes it."""
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Expression:
    """What is computed for each element."""

    operands: tuple[str, ...]
    """Their element types."""
    steps: tuple[Step, ...]
    results: tuple[int, ...]
    """Which operands or steps are results, counted together."""

    def dtype(self, number: int) -> str:
        """Return the element type of an operand or a step."""
        count = len(self.operands)
        return self.operands[number] if number < count else self.steps[number - count].dtype

    def missing(self) -> str:
        """Say what has no native form, or return ""."""
        for step in self.steps:
            if step.op == CONSTANT:
                continue
            arguments = [self.dtype(i) for i in step.arguments]
            reason = rules.missing(step.op, arguments, step.dtype, step.attrs)
            if reason:
                return reason
        unknown = [d for d in self.operands if d not in TYPES]
        return f"native code has no element type {unknown[0]}" if unknown else ""

    def lanes(self, vector_bytes: int) -> int:
        """Return how many elements are computed at a time: a vector of the widest floats."""
        dtypes = [*self.operands, *(step.dtype for step in self.steps)]
        sizes = [TYPES[d].size for d in dtypes if TYPES[d].is_float]
        return vector_bytes // max(sizes, default=8)

    def compute(self, operands: Sequence[Value]) -> list[Value]:
        """Write its instructions for one vector of each operand, and return its results."""
        values = list(operands)
        for step in self.steps:
            if step.op == CONSTANT:
                type = operands[0].type.of(TYPES[step.dtype])
                values.append(operands[0].f.constant(type, step.attrs["value"]))
                continue
            arguments = [values[i] for i in step.arguments]
            result = arguments[0].type.of(TYPES[step.dtype])
            values.append(rules.compute(step.op, arguments, result, step.attrs))
        return [values[i] for i in self.results]


@dataclass(frozen=True)
class Array:
    """An array while the code runs. Strides count elements, one an axis of the nest of loops."""

    dtype: str
    inner: str
    pointer: Value
    strides: Sequence[Value]

    @property
    def stored(self) -> Type:
        """The type of one element in memory: bools are bytes."""
        type = TYPES[self.dtype]
        return I8 if type is I1 else type

    def along(self, i: Value) -> Array:
        """Return the array that is left when the outermost axis stands at `i`."""
        place = i.f.at(self.stored, self.pointer, i * self.strides[0])
        return Array(self.dtype, self.inner, place, self.strides[1:])


@dataclass(frozen=True)
class Lanes:
    """Which elements of a row one round of its innermost loop works on."""

    start: Value
    count: int
    mask: Value | None
    """None: all of them."""

    def load(self, array: Array, spread: Value | None) -> Value:
        """Return this round's elements of an array (`spread`: of one that is the same for all)."""
        if spread is not None:
            return spread
        f, type = self.start.f, vector(array.stored, self.count)
        if array.inner == STRIDED:
            loaded = f.gather(type, self._places(array), self._some())
        else:
            place = f.at(array.stored, array.pointer, self.start)
            loaded = (
                f.load(type, place) if self.mask is None else f.load_masked(type, place, self.mask)
            )
        return loaded.to(I1) if array.dtype == "bool" else loaded

    def store(self, value: Value, array: Array) -> None:
        """Store this round's elements of a result."""
        f = self.start.f
        value = value.to(TYPES[array.dtype]).to(array.stored)
        if array.inner == STRIDED:
            f.scatter(value, self._places(array), self._some())
            return
        place = f.at(array.stored, array.pointer, self.start)
        if self.mask is None:
            f.store(value, place)
        else:
            f.store_masked(value, place, self.mask)

    def _places(self, array: Array) -> Value:
        f = self.start.f
        numbers = f.lane_numbers(self.count) + f.splat(self.start, self.count)
        return f.at(array.stored, array.pointer, numbers * f.splat(array.strides[0], self.count))

    def _some(self) -> Value:
        everywhere = self.start.f.constant(vector(I1, self.count), 1)
        return everywhere if self.mask is None else self.mask


@contextmanager
def nest(sizes: Sequence[Value], arrays: Sequence[Array]) -> Iterator[Sequence[Array]]:
    """Loop over the axes of `sizes`, the first outermost; give the arrays' rests at that place."""
    if not sizes:
        yield arrays
        return
    with sizes[0].f.range(sizes[0]) as i, nest(sizes[1:], [a.along(i) for a in arrays]) as rests:
        yield rests


def rounds(length: Value, lanes: int) -> Iterator[Lanes]:
    """Loop over a row: what is written for the first round given runs for all full vectors, what
    is written for the second for the elements left."""
    f = length.f
    full = length & -lanes
    with f.range(full, step=lanes) as start:
        yield Lanes(start, lanes, None)
    with f.when(full < length):
        yield Lanes(full, lanes, f.first_lanes(length - full, lanes))


def spreads(arrays: Sequence[Array], lanes: int) -> list[Value | None]:
    """Return in all lanes the values of arrays with one for the whole row; None for the others."""
    return [_spread(array, lanes) if array.inner == SPREAD else None for array in arrays]


def _spread(array: Array, lanes: int) -> Value:
    f = array.pointer.f
    one = f.load(array.stored, array.pointer)
    return f.splat(one.to(I1) if array.dtype == "bool" else one, lanes)


def emit(
    f: Function,
    sizes: Sequence[Value],
    expression: Expression,
    operands: Sequence[Array],
    results: Sequence[Array],
    vector_bytes: int,
) -> None:
    """Write loops over `sizes` that compute `expression`; a result may be one of the operands.

    Results are not `SPREAD`, and `sizes` has at least one axis.
    """
    lanes = expression.lanes(vector_bytes)
    count = len(operands)
    with nest(sizes[:-1], [*operands, *results]) as rows:
        same = spreads(rows[:count], lanes)
        for part in rounds(sizes[-1], lanes):
            loaded = [part.load(a, s) for a, s in zip(rows[:count], same, strict=True)]
            computed = expression.compute(loaded)
            for value, array in zip(computed, rows[count:], strict=True):
                part.store(value, array)
