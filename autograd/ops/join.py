"""Joining along an axis that is there, taking apart, and filling up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from operator import index
from typing import Any

import numpy as np

from autograd.errors import ShapeError
from autograd.op import Op, register
from autograd.ops.index import slice_, take
from autograd.ops.shape import (
    broadcast_to,
    checked_axis,
    checked_lengths,
    expand_dims,
    full_batch,
    ravel,
    reshape,
)
from autograd.spec import Array, Spec


class Concat(Op):
    """Arrays joined along `axis`; the other axes are equally long. Its gradient is `split`."""

    weight = 0

    def forward(self, *xs: Array, axis: int) -> Array:
        return np.concatenate(xs, axis)

    def infer(self, *specs: Spec, axis: int) -> Spec:
        first = specs[0].shape
        a = checked_axis(axis, len(first))
        for spec in specs:
            if spec.shape[:a] != first[:a] or spec.shape[a + 1 :] != first[a + 1 :]:
                shapes = ", ".join(str(spec.shape) for spec in specs)
                raise ShapeError(
                    f"concat along axis {a} takes values equally long along all other axes, but "
                    f"their shapes are {shapes}; reshape or broadcast them first"
                )
        length = sum(spec.shape[a] for spec in specs)
        dtype = np.result_type(*[spec.dtype for spec in specs])
        return Spec((*first[:a], length, *first[a + 1 :]), dtype)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        axis = attrs["axis"]
        parts = _split(g, sizes=tuple(x.shape[axis] for x in xs), axis=axis)
        return [part if need else None for need, part in zip(needs, parts, strict=True)]

    def batch(self, batched: Sequence[bool], *xs: Any, axis: int) -> Any:
        return self(*full_batch(batched, xs), axis=axis + 1)


_concat = register(Concat("concat"))


def concat(xs: Sequence[Any], axis: int | None = 0) -> Any:
    """Return arrays joined along `axis` (None: their elements in row-major order)."""
    if len(xs) == 0:
        raise ShapeError("concat needs at least one value, but the sequence is empty")
    values = [x if hasattr(x, "shape") else np.asarray(x) for x in xs]
    if axis is None:
        return _concat(*map(ravel, values), axis=0)
    return _concat(*values, axis=checked_axis(axis, len(values[0].shape)))


class Split(Op):
    """The parts of lengths `sizes` along `axis`, each an output. Its gradient is `concat`."""

    weight = 0
    multiple = True

    def forward(self, x: Array, *, sizes: tuple[int, ...], axis: int) -> tuple[Array, ...]:
        parts = []
        start = 0
        before = (slice(None),) * axis
        for size in sizes:
            parts.append(x[(*before, slice(start, start + size))])
            start += size
        return tuple(parts)

    def infer(self, x: Spec, *, sizes: tuple[int, ...], axis: int) -> tuple[Spec, ...]:
        a = checked_axis(axis, x.ndim)
        if sum(sizes) != x.shape[a] or any(size < 0 for size in sizes):
            raise ShapeError(
                f"the parts {sizes} do not make up axis {a} of {x.shape}, which has length "
                f"{x.shape[a]}; choose parts that add up to it"
            )
        return tuple(Spec((*x.shape[:a], size, *x.shape[a + 1 :]), x.dtype) for size in sizes)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        x = xs[0]
        axis = attrs["axis"]
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        parts = [
            np.zeros((*before, size, *after), x.dtype) if part is None else part
            for part, size in zip(g, attrs["sizes"], strict=True)
        ]
        return (_concat(*parts, axis=axis),)

    def batch(self, batched: Sequence[bool], x: Any, *, sizes: tuple[int, ...], axis: int) -> Any:
        return self(x, sizes=sizes, axis=axis + 1)


_split = register(Split("split"))


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> tuple[Any, ...]:
    """Return the parts of `x` along `axis`, in order.

    `sections` is how many equal parts, or, as in NumPy, the places at which to cut: `(2, 5)` gives
    `x[:2]`, `x[2:5]` and `x[5:]`.
    """
    a = checked_axis(axis, len(x.shape))
    length = x.shape[a]
    if isinstance(sections, (int, np.integer)):
        if sections < 1 or length % sections:
            raise ShapeError(
                f"split: axis {a} of {x.shape} has length {length}, which does not divide into "
                f"{sections} equal parts; give the places at which to cut instead"
            )
        sizes = (length // int(sections),) * int(sections)
    else:
        cuts = [0, *(min(cut, length) for cut in checked_lengths(sections)), length]
        sizes = tuple(b - a for a, b in pairwise(cuts))
        if min(sizes) < 0:
            raise ShapeError(
                f"split: the cuts {tuple(sections)} must be places >= 0 in rising order; sort them"
            )
    parts: tuple[Any, ...] = _split(x, sizes=sizes, axis=a)
    return parts


def sections_of(x: Any, sections: Any, axis: int) -> Any:
    """Return where to cut `x` into as many nearly equal parts as `sections` says."""
    if not isinstance(sections, (int, np.integer)):
        return sections
    each, more = divmod(x.shape[checked_axis(axis, len(x.shape))], int(sections))
    return [i * each + min(i, more) for i in range(1, int(sections))]


class Pad(Op):
    """`widths[i]` = (before, after) elements of `value` added along axis `i`."""

    weight = 0
    vjps = (
        lambda g, y, x, widths, value: slice_(
            g,
            key=tuple(
                ("slice", before, before + n, None)
                for (before, _), n in zip(widths, x.shape, strict=True)
            ),
        ),
    )

    def forward(self, x: Array, *, widths: tuple[tuple[int, ...], ...], value: Any) -> Array:
        shape = [n + before + after for n, (before, after) in zip(x.shape, widths, strict=True)]
        out = np.full(shape, value, x.dtype)
        inner = zip(x.shape, widths, strict=True)
        out[tuple(slice(before, before + n) for n, (before, _) in inner)] = x
        return out

    def infer(self, x: Spec, *, widths: tuple[tuple[int, ...], ...], value: Any) -> Spec:
        if len(widths) != x.ndim or any(len(pair) != 2 or min(pair) < 0 for pair in widths):
            raise ShapeError(
                f"widths {widths} must be one pair (before, after) of numbers >= 0 for each "
                f"of the {x.ndim} axes of {x.shape}"
            )
        lengths = zip(x.shape, widths, strict=True)
        return Spec(tuple(n + before + after for n, (before, after) in lengths), x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, widths: Any, value: Any) -> Any:
        return self(x, widths=((0, 0), *widths), value=value)


_pad = register(Pad("pad"))


def pad(x: Any, pad_width: Any, value: float = 0) -> Any:
    """Return `x` with elements `value` added before and after it along each axis.

    `pad_width` is, as in NumPy, one number for all sides, one pair (before, after) for all axes, or
    a pair for each axis.
    """
    try:
        pairs = np.broadcast_to(np.asarray(pad_width, np.int64), (len(x.shape), 2))
    except ValueError:
        raise ShapeError(
            f"pad: pad_width {pad_width!r} must be a number, a pair (before, after), or one pair "
            f"for each of the {len(x.shape)} axes of {x.shape}"
        ) from None
    widths = tuple((before, after) for before, after in pairs.tolist())
    return _pad(x, widths=widths, value=value)


# Repetition, by what is there already.


def tile(x: Any, reps: Any) -> Any:
    """Return `x` put `reps[i]` times side by side along axis `i` (a number: along the last)."""
    counts = checked_lengths(reps)
    rank = max(len(counts), len(x.shape))
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - len(x.shape)) + tuple(x.shape)
    apart = reshape(x, [m for n in shape for m in (1, n)])
    repeated = broadcast_to(apart, [m for pair in zip(counts, shape, strict=True) for m in pair])
    return reshape(repeated, [r * n for r, n in zip(counts, shape, strict=True)])


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Return `x` with every slice along `axis` (None: every element) `repeats` times in a row.

    `repeats` is a number, or an array with a number for each slice.
    """
    if axis is None:
        return repeat(ravel(x), repeats, 0)
    a = checked_axis(axis, len(x.shape))
    if not isinstance(repeats, (int, np.integer)):
        counts = np.asarray(repeats)
        if counts.size not in (1, x.shape[a]) or counts.ndim > 1:
            raise ShapeError(
                f"repeat: {counts.size} counts for axis {a} of {x.shape}, which has {x.shape[a]} "
                "slices; give one count, or one a slice"
            )
        return take(x, np.repeat(np.arange(x.shape[a]), counts), a)
    apart = expand_dims(x, a + 1)
    count = index(repeats)
    before, n, after = x.shape[:a], x.shape[a], x.shape[a + 1 :]
    return reshape(broadcast_to(apart, (*before, n, count, *after)), (*before, n * count, *after))
