"""A sequence as it was some steps ago, or will be some steps ahead, at every step of it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from autograd.errors import GraphError, ShapeError
from autograd.op import Op, register
from autograd.ops.index import _sum_rows
from autograd.ops.shape import broadcast_to, full_batch, reshape, sum_to, swapaxes
from autograd.spec import Array, Spec

RULES = ("", "fill", "edge", "wrap")
"""What lies outside of a sequence: nothing is asked for, given rows, its first or last row
repeated, or the sequence again (the last two are NumPy's names in `pad`)."""


class Delays(Op):
    """For each of `lags` the sequence `xs` that many steps ago: `y[t] = xs[t - lag]`.

    A negative lag looks ahead. `before` and `after` (see RULES) say what lies outside of `xs`,
    earlier than step 0 and later than the last. Given rows are inputs: `before`, whose last row is
    that of step -1, then `after`, whose first row is that of step T. They broadcast, so one number
    or one row serves all steps. With `ragged` the last input has the number of steps of each row of
    the batch, axis 1: what lies after is then what lies after a row's own last step. Step t of row
    b is only right for t < lengths[b], the others say nothing.

    Lags that only take given rows are views of one array. The gradient is the adjoint: what was
    taken from a place is added to it.
    """

    multiple = True
    weight = 0

    def forward(self, *arrays: Array, **attrs: Any) -> tuple[Array, ...]:
        xs, before, after, lengths = _parts(arrays, attrs)
        first, last = _counts(_spec(xs), before, after, attrs["lags"])
        row = xs.shape[1:]
        around = [xs]
        if before is not None:
            around.insert(0, np.broadcast_to(before, (first, *row)))
        if after is not None:
            around.append(np.broadcast_to(after, (last, *row)))
        rows = np.concatenate(around) if len(around) > 1 else xs
        return tuple(
            _taken(rows, _source(lag, len(xs), first, last, lengths, attrs))
            for lag in attrs["lags"]
        )

    def infer(
        self,
        *specs: Spec,
        lags: tuple[int, ...],
        before: str = "",
        after: str = "",
        ragged: bool = False,
    ) -> tuple[Spec, ...]:
        attrs = {"lags": lags, "before": before, "after": after, "ragged": ragged}
        _check(attrs, len(specs), 1 + (before == "fill") + (after == "fill") + ragged)
        xs, *given, lengths = _parts(specs, attrs)
        if xs.ndim < 1 + ragged or (ragged and lengths != Spec(xs.shape[1:2], np.dtype(np.int64))):
            raise ShapeError(
                f"delays of {xs} with lengths {lengths}: a sequence has its steps on its first "
                "axis and, if it is ragged, one int64 length for each row on its second"
            )
        needed = _needed(lags)
        for side, fill, count in zip(("before", "after"), given, needed, strict=True):
            if fill is not None and not rows_fit(fill, xs, count):
                raise ShapeError(
                    f"`{side}` must be {xs.dtype} and broadcast to the rows it stands for, shape "
                    f"{(count, *xs.shape[1:])}, but is {fill}; give {count} rows or more in the "
                    "order of time, or one row or number for all of them"
                )
        return (xs,) * len(lags)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        sequence, before, after, lengths = _parts(xs, attrs)
        used = [i for i, part in enumerate(g) if part is not None]
        counts = _counts(_spec(sequence), before, after, attrs["lags"])
        back = delays_adjoint(
            *[g[i] for i in used],
            *([lengths] if attrs.get("ragged") else []),
            **{**attrs, "lags": tuple(attrs["lags"][i] for i in used)},
            counts=counts,
        )
        grads = [back[0]]
        for fill, rows in zip((before, after), back[1:], strict=True):
            if fill is not None:
                grads.append(sum_to(rows, shape=tuple(fill.shape)))
        grads += [None] * (len(xs) - len(grads))
        return [grad if need else None for grad, need in zip(grads, needs, strict=True)]

    def batch(self, batched: Sequence[bool], *xs: Any, **attrs: Any) -> Any:
        if attrs.get("ragged"):
            return self._merged(batched, xs, attrs)
        n = next(x.shape[0] for b, x in zip(batched, xs, strict=True) if b)
        sequence = xs[0] if batched[0] else broadcast_to(xs[0], (n, *xs[0].shape))
        fills = [
            _behind(x, len(sequence.shape) - 1, b) for x, b in zip(xs[1:], batched[1:], strict=True)
        ]
        return [swapaxes(y, 0, 1) for y in self(swapaxes(sequence, 0, 1), *fills, **attrs)]

    def shifts(self, attrs: dict[str, Any]) -> tuple[int, ...]:
        lags: tuple[int, ...] = attrs["lags"]
        return lags

    def output_name(self, attrs: dict[str, Any], index: int) -> str:
        lag = attrs["lags"][index]
        if attrs["lags"].count(lag) > 1:
            return str(index)
        return f"lag_{lag}" if lag > 0 else f"lead_{-lag}"

    def _merged(self, batched: Sequence[bool], xs: Sequence[Any], attrs: dict[str, Any]) -> Any:
        """Return the result for a batch of ragged batches: their rows side by side are one."""
        sequence, *fills, lengths = full_batch(batched, xs)
        n, steps, rows, *rest = sequence.shape
        full = []
        for x in fills:
            x = reshape(x, (n, *(1,) * (len(rest) + 3 - len(x.shape)), *x.shape[1:]))
            full.append(broadcast_to(x, (n, x.shape[1], rows, *rest)))
        sides = [
            reshape(swapaxes(x, 0, 1), (x.shape[1], n * rows, *rest)) for x in (sequence, *full)
        ]
        results = self(*sides, reshape(lengths, (n * rows,)), **attrs)
        return [swapaxes(reshape(y, (steps, n, rows, *rest)), 0, 1) for y in results]


class DelaysAdjoint(Op):
    """What `delays` took from each place, summed there: of `xs`, and of the rows around it.

    Inputs are what each of `lags` is given, then the lengths of a ragged batch. `counts` says how
    many rows lie before and after; the outputs for these have so many.
    """

    multiple = True

    def forward(self, *arrays: Array, counts: tuple[int, int], **attrs: Any) -> tuple[Array, ...]:
        parts = arrays[: len(attrs["lags"])]
        lengths = arrays[-1] if attrs.get("ragged") else None
        first, last = counts
        steps = len(parts[0])
        total = np.zeros((first + steps + last, *parts[0].shape[1:]), parts[0].dtype)
        for lag, part in zip(attrs["lags"], parts, strict=True):
            _give_back(total, _source(lag, steps, first, last, lengths, attrs), part)
        return total[first : first + steps], total[:first], total[first + steps :]

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        return sum(spec.size for spec in inputs[: len(attrs["lags"])])

    def infer(
        self,
        *specs: Spec,
        lags: tuple[int, ...],
        before: str = "",
        after: str = "",
        ragged: bool = False,
        counts: tuple[int, ...],
    ) -> tuple[Spec, ...]:
        attrs = {"lags": lags, "before": before, "after": after, "ragged": ragged}
        _check(attrs, len(specs), len(lags) + ragged)
        needed = [
            count if rule == "fill" else 0
            for count, rule in zip(_needed(lags), (before, after), strict=True)
        ]
        whole = type(counts) is tuple and len(counts) == 2 and all(type(n) is int for n in counts)
        if not whole or any(n < m for n, m in zip(counts, needed, strict=True)):
            raise GraphError(
                f"delays with lags {lags} read {needed} rows before and after, but counts says "
                f"{counts!r}"
            )
        xs = specs[0]
        if any(spec != xs for spec in specs[: len(lags)]) or xs.ndim < 1 + ragged:
            raise ShapeError(f"gradients of the lags of one sequence are alike, but are {specs}")
        if ragged and specs[-1] != Spec(xs.shape[1:2], np.dtype(np.int64)):
            raise ShapeError(f"lengths of the rows of {xs} cannot be {specs[-1]}")
        return (xs, *[Spec((count, *xs.shape[1:]), xs.dtype) for count in counts])

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        attrs = {**attrs}
        counts = attrs.pop("counts")
        shape, dtype = xs[0].shape, xs[0].dtype
        given = [np.zeros(shape, dtype) if g[0] is None else g[0]]
        for side, part, count in zip(("before", "after"), g[1:], counts, strict=True):
            if attrs.get(side) == "fill":
                given.append(np.zeros((count, *shape[1:]), dtype) if part is None else part)
        if attrs.get("ragged"):
            given.append(xs[-1])
        grads = delays(*given, **attrs)
        grads = [*grads, *[None] * (len(xs) - len(grads))]
        return [grad if need else None for grad, need in zip(grads, needs, strict=True)]

    def batch(self, batched: Sequence[bool], *xs: Any, **attrs: Any) -> Any:
        full = full_batch(batched, xs)
        if not attrs.get("ragged"):
            return [swapaxes(y, 0, 1) for y in self(*[swapaxes(x, 0, 1) for x in full], **attrs)]
        *parts, lengths = full
        n, steps, rows, *rest = parts[0].shape
        side = [reshape(swapaxes(x, 0, 1), (steps, n * rows, *rest)) for x in parts]
        results = self(*side, reshape(lengths, (n * rows,)), **attrs)
        return [swapaxes(reshape(y, (y.shape[0], n, rows, *rest)), 0, 1) for y in results]


delays = register(Delays("delays"))
delays_adjoint = register(DelaysAdjoint("delays_adjoint"))


def _parts(xs: Sequence[Any], attrs: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Return sequence, rows before, rows after and lengths; None for what is not there."""
    rest = list(xs[1:])
    before = rest.pop(0) if attrs.get("before") == "fill" else None
    after = rest.pop(0) if attrs.get("after") == "fill" else None
    return xs[0], before, after, rest.pop(0) if attrs.get("ragged") else None


def _spec(x: Any) -> Spec:
    return Spec(tuple(x.shape), x.dtype)


def _needed(lags: Sequence[int]) -> tuple[int, int]:
    """Return how many rows before and after the sequence are read."""
    return max(0, *lags), max(0, *[-lag for lag in lags])


def _counts(xs: Spec, before: Any, after: Any, lags: Sequence[int]) -> tuple[int, int]:
    """Return how many rows stand before and after the sequence: as many as are given, or needed."""
    first, last = [
        0 if fill is None else max(count, fill.shape[0] if len(fill.shape) == xs.ndim else 0)
        for fill, count in zip((before, after), _needed(lags), strict=True)
    ]
    return first, last


def rows_fit(fill: Spec, xs: Spec, count: int) -> bool:
    """Return whether `fill` broadcasts to `count` rows of `xs`, or is `count` full rows or more."""
    if fill.dtype != xs.dtype or fill.ndim > xs.ndim:
        return False
    if fill.ndim == xs.ndim and fill.shape[0] != 1 and fill.shape[0] < count:
        return False
    row = xs.shape[1:]
    inner = fill.shape[1:] if fill.ndim == xs.ndim else fill.shape
    pairs = zip(inner[::-1], row[::-1], strict=False)
    return all(n in (1, m) for n, m in pairs)


def _check(attrs: dict[str, Any], inputs: int, wanted: int) -> None:
    """Check attrs as a file may give them, and how many inputs there are."""
    lags, before, after = attrs["lags"], attrs["before"], attrs["after"]
    whole = type(lags) is tuple and lags and all(type(lag) is int and lag for lag in lags)
    if not whole or before not in RULES or after not in RULES or type(attrs["ragged"]) is not bool:
        raise GraphError(
            "delays take lags that are whole numbers other than 0, and for what lies before and "
            f"after one of {RULES}, but got {lags!r}, {before!r} and {after!r}"
        )
    for side, rule, count in zip(("before", "after"), (before, after), _needed(lags), strict=True):
        if count and not rule:
            raise GraphError(f"delays with lags {lags} need a rule for what lies {side}")
    if inputs != wanted:
        raise GraphError(f"delays {attrs} take {wanted} inputs, but {inputs} are given")


def _source(
    lag: int, steps: int, first: int, last: int, lengths: Array | None, attrs: dict[str, Any]
) -> Array:
    """Return which of [rows before | xs | rows after] each step reads: (T,), or ragged (T, B)."""
    before, after = attrs.get("before"), attrs.get("after")
    at = np.arange(steps) - lag
    count: Any = steps
    if lengths is not None and (lag < 0 or before == "wrap"):  # who looks back sees no end
        at, count = at[:, None], np.minimum(lengths, steps)  # the loop refuses longer ones
    source = at + first
    if lag < 0:
        beyond = at >= count
        where = {
            "fill": first + steps + np.minimum(at - count, last - 1),
            "edge": first + np.maximum(count - 1, 0),
            "wrap": first + at % np.maximum(count, 1),
        }[str(after)]
        return np.where(beyond, where, source)
    if before == "edge":
        return np.maximum(source, first)
    if before == "wrap":
        return np.where(at < 0, first + at % np.maximum(count, 1), source)
    return source


def _taken(rows: Array, source: Array) -> Array:
    """Return `rows` at `source`: a view where these follow each other."""
    if source.ndim > 1:
        taken: Array = rows[source, np.arange(source.shape[1])]
        return taken
    start = int(source[0]) if source.size else 0
    if np.array_equal(source, np.arange(start, start + source.size)):
        return rows[start : start + source.size]
    return rows[source]


def _give_back(total: Array, source: Array, part: Array) -> None:
    """Add `part` to the rows of `total` it was taken from."""
    if source.ndim == 1:
        start = int(source[0]) if source.size else 0
        if np.array_equal(source, np.arange(start, start + source.size)):
            total[start : start + source.size] += part
            return
        source, part, total = source[:, None], part[:, None], total[:, None]
    columns = source.shape[1]
    targets = (source * columns + np.arange(columns)).ravel()
    width = prod(total.shape[2:])
    flat = total.reshape(len(total) * columns, width)
    rows = _sum_rows(part.reshape(targets.size, width), targets, len(flat))
    flat += rows.reshape(flat.shape)


def _behind(x: Any, ndim: int, batched: bool) -> Any:
    """Return rows with the axis of a batch as their second: `ndim` is their full rank."""
    shape = x.shape[1:] if batched else x.shape
    full = (*(1,) * (ndim - len(shape)), *shape)
    if batched:
        return swapaxes(reshape(x, (x.shape[0], *full)), 0, 1)
    return reshape(x, (full[0], 1, *full[1:]))
