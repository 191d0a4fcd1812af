"""softmax, log_softmax and logsumexp of rows: of `autograd.ops.softmax`, the same steps.

A row is read twice or three times while it is in the nearest cache.
"""

from __future__ import annotations

from collections.abc import Sequence

from autograd.execute.native.elementwise import Array, Lanes, nest, rounds
from autograd.execute.native.functions import apply
from autograd.execute.native.ir import Function, Value, vector
from autograd.execute.native.reductions import reduced_row
from autograd.execute.native.rules import TYPES

OPS = ("softmax", "log_softmax", "logsumexp")


def missing(op: str, dtypes: Sequence[str]) -> str:
    """Say why `op` of these element types (operand, result) has no native form, or return ""."""
    one = len(set(dtypes)) == 1 and dtypes[0] in ("float32", "float64")
    return "" if one else f"op '{op}' has no native rule for {', '.join(dtypes)}"


def emit(
    f: Function,
    kept: Sequence[Value],
    length: Value,
    op: str,
    operand: Array,
    result: Array,
    vector_bytes: int,
) -> None:
    """Write one of `OPS` over the last axis, `length`.

    `kept` are the axes before it. The result of logsumexp has no last axis; that of the others lies
    in other memory than the operand, or in the very same place.
    """
    with nest(kept, [operand, result]) as (row, place):
        _Row(f, length, row, place, vector_bytes).emit(op)


class _Row:
    """One row, and what is known of it."""

    def __init__(
        self, f: Function, length: Value, row: Array, place: Array, vector_bytes: int
    ) -> None:
        scalar = TYPES[row.dtype]
        self.f, self.length, self.row, self.place = f, length, row, place
        self.type = vector(scalar, vector_bytes // scalar.size)
        self.largest = reduced_row("max", length, self.type, self._element)

    def emit(self, op: str) -> None:
        if op == "softmax":
            self._softmax()
            return
        largest = self.largest
        if op == "logsumexp":  # subtracted, an infinity would leave NaN
            finite = self.f.intrinsic("fabs", largest) < float("inf")
            largest = finite.where(largest, 0.0)
            self.f.store(self._log_sum(largest) + largest, self.place.pointer)
            return
        shift, log_sum = self._everywhere(largest), self._everywhere(self._log_sum(largest))
        for part in rounds(self.length, self.type.lanes):
            part.store(self._element(part) - shift - log_sum, self.place)

    def _element(self, part: Lanes) -> Value:
        return part.load(self.row, None)

    def _everywhere(self, number: Value) -> Value:
        return self.f.splat(number, self.type.lanes)

    def _softmax(self) -> None:
        shift = self._everywhere(self.largest)

        def weight(part: Lanes) -> Value:
            e = apply("exp", self._element(part) - shift)
            part.store(e, self.place)
            return e

        total = self._everywhere(reduced_row("sum", self.length, self.type, weight))
        for part in rounds(self.length, self.type.lanes):
            part.store(part.load(self.place, None) / total, self.place)

    def _log_sum(self, largest: Value) -> Value:
        """Return log(sum(exp(x - largest))).

        As log1p of the others' sum, which keeps its digits where one element outweighs all others.
        """
        shift = self._everywhere(largest)

        def others(part: Lanes) -> Value:
            shifted = self._element(part) - shift
            return apply("exp", shifted) - shifted.equals(0).to(self.type)

        def tops(part: Lanes) -> Value:
            return self._element(part).equals(shift).to(self.type)

        rest = reduced_row("sum", self.length, self.type, others)
        count = reduced_row("sum", self.length, self.type, tops)
        sum = self._everywhere(rest + (count - 1.0))
        return self.f.lane(apply("log1p", sum), 0)
