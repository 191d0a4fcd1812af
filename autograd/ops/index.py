"""Reading and functional writing by index.

Basic keys (ints, slices, new axes) are `slice`, `place` (its adjoint) and `slice_set`. Integer
arrays are `gather`, `scatter` (its adjoint) and `scatter_set`: the arrays are inputs, so they may
be virtual. `autograd.ops.keys` takes a user's key apart into these two.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from autograd.describe import describe, put_in_front
from autograd.errors import DTypeError, ShapeError
from autograd.grad import Placed
from autograd.node import Node
from autograd.op import Op, register
from autograd.ops.comparison import equal, where
from autograd.ops.elementwise import align
from autograd.ops.keys import WHOLE, Basic, decoded, parsed, shown
from autograd.ops.shape import (
    Axes,
    astype,
    broadcast_to,
    checked_axis,
    expand_dims,
    full_batch,
    moveaxis,
    ravel,
)
from autograd.spec import Array, Spec, checked_dtype, spec_of

Shape = tuple[int, ...]


# Basic keys.


def _sliced(shape: Shape, key: Basic) -> Shape:
    probe: Any = np.broadcast_to(np.False_, shape)
    try:
        result: Shape = probe[decoded(key)].shape
    except (IndexError, ValueError) as error:
        raise ShapeError(
            f"index {shown(key)} does not fit shape {shape}: {error}; change the index"
        ) from None
    return result


class Slice(Op):
    """`x[key]` for basic keys. Its gradient is `Placed`: slices are added up all at once."""

    weight = 0

    def forward(self, x: Array, *, key: Basic) -> Any:
        return x[decoded(key)]

    def infer(self, x: Spec, *, key: Basic) -> Spec:
        return Spec(_sliced(x.shape, key), x.dtype)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        return (Placed(g, attrs["key"], xs[0].shape),)

    def batch(self, batched: Sequence[bool], x: Any, *, key: Basic) -> Any:
        return self(x, key=(WHOLE, *key))


slice_ = register(Slice("slice"))


class Place(Op):
    """Zeros of `shape`, with each input added at its key: the adjoint of `slice`."""

    def forward(self, *parts: Array, keys: tuple[Basic, ...], shape: Shape) -> Array:
        out = np.zeros(shape, parts[0].dtype)
        for part, key in zip(parts, keys, strict=True):
            out[decoded(key)] += part
        return out

    def infer(self, *specs: Spec, keys: tuple[Basic, ...], shape: Shape) -> Spec:
        for spec, key in zip(specs, keys, strict=True):
            _need_shape(spec.shape, _sliced(shape, key), shown(key))
        return Spec(shape, specs[0].dtype)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        keys = zip(needs, attrs["keys"], strict=True)
        return [slice_(g, key=key) if need else None for need, key in keys]

    def batch(
        self, batched: Sequence[bool], *parts: Any, keys: tuple[Basic, ...], shape: Shape
    ) -> Any:
        full = full_batch(batched, parts)
        keys = tuple((WHOLE, *key) for key in keys)
        return self(*full, keys=keys, shape=(full[0].shape[0], *shape))

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        return sum(spec.size for spec in inputs)


place = register(Place("place"))


class SliceSet(Op):
    """`x` with `v` in place of `x[key]`."""

    weight = 0
    overwrites = (0,)
    vjps = (
        lambda g, y, x, v, key: slice_set(g, np.zeros(v.shape, v.dtype), key=key),
        lambda g, y, x, v, key: slice_(g, key=key),
    )

    def forward(self, x: Array, v: Array, *, key: Basic) -> Array:
        out = x.copy()
        out[decoded(key)] = v
        return out

    def infer(self, x: Spec, v: Spec, *, key: Basic) -> Spec:
        _need_shape(v.shape, _sliced(x.shape, key), shown(key))
        return x

    def batch(self, batched: Sequence[bool], x: Any, v: Any, *, key: Basic) -> Any:
        return self(*full_batch(batched, (x, v)), key=(WHOLE, *key))


slice_set: SliceSet = register(SliceSet("slice_set"))


def _need_shape(shape: Shape, expected: Shape, what: str) -> None:
    if shape != expected:
        raise ShapeError(
            f"what goes to {what} must have shape {expected}, but has {shape}; reshape or "
            "broadcast it first"
        )


# Integer arrays.


def _fancy(ndim: int, axes: Axes, indices: Sequence[Any]) -> tuple[tuple[Any, ...], int]:
    """Return NumPy's key, and the place where NumPy puts the common axes of the index arrays."""
    key: list[Any] = [slice(None)] * ndim
    for a, i in zip(axes, indices, strict=True):
        key[a] = i
    together = axes[-1] - axes[0] == len(axes) - 1
    return tuple(key), axes[0] if together else 0


def _shifted(x: Array, count: int, source: int, target: int) -> Array:
    """Return `x` with `count` axes that begin at `source` moved to begin at `target`."""
    if source == target or count == 0:
        return x
    return np.moveaxis(x, range(source, source + count), range(target, target + count))


def _checked_indices(shape: Shape, indices: Sequence[Spec], axes: Axes) -> Shape:
    """Return the common shape of index arrays for `axes` of `shape`."""
    ordered = list(axes) == sorted(set(axes)) and all(0 <= a < len(shape) for a in axes)
    if len(axes) != len(indices) or not axes or not ordered:
        raise ShapeError(
            f"{len(indices)} index arrays for axes {axes} of shape {shape}; give one for "
            "each axis, the axes in rising order"
        )
    for spec in indices:
        if spec.dtype.kind not in "iu":
            raise DTypeError(
                f"an index array must be of an integer dtype, but is {spec}; convert it "
                "with .astype('int64')"
            )
    try:
        return np.broadcast_shapes(*[spec.shape for spec in indices])
    except ValueError:
        shapes = " and ".join(str(spec.shape) for spec in indices)
        raise ShapeError(
            f"index arrays of shapes {shapes} do not broadcast; make their lengths equal or 1"
        ) from None


def _gathered(shape: Shape, common: Shape, axes: Axes, at: int) -> Shape:
    rest = tuple(n for a, n in enumerate(shape) if a not in axes)
    if not 0 <= at <= len(rest):
        raise ShapeError(
            f"the axes of the indices cannot begin at {at}: the result has {len(rest)} other axes"
        )
    return rest[:at] + common + rest[at:]


def _misfit(shape: Shape, indices: Sequence[Array], axes: Axes, error: IndexError) -> ShapeError:
    """Return what is wrong with index arrays that NumPy refused, or raise it."""
    _checked_indices(shape, [spec_of(np.asarray(i)) for i in indices], axes)
    return ShapeError(
        f"an index array for axes {axes} does not fit shape {shape}: {error}; indices go "
        "from minus the length of the axis to the length less one"
    )


class Gather(Op):
    """`x` at integer arrays that index `axes`; their common axes begin at `at` in the result."""

    weight = 0

    def forward(self, x: Array, *indices: Array, axes: Axes, at: int) -> Any:
        key, natural = _fancy(x.ndim, axes, indices)
        try:
            taken = x[key]
        except IndexError as error:
            raise _misfit(x.shape, indices, axes, error) from None
        return _shifted(taken, taken.ndim - x.ndim + len(axes), natural, at)

    def infer(self, x: Spec, *indices: Spec, axes: Axes, at: int) -> Spec:
        common = _checked_indices(x.shape, indices, axes)
        return Spec(_gathered(x.shape, common, axes, at), x.dtype)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        return [scatter(g, *xs[1:], shape=xs[0].shape, **attrs), *[None] * (len(xs) - 1)]

    def batch(self, batched: Sequence[bool], x: Any, *indices: Any, axes: Axes, at: int) -> Any:
        later = tuple(a + 1 for a in axes)
        if not any(batched[1:]):
            return self(x, *indices, axes=later, at=at + 1)
        full, counter, count = _batched_indices(batched[1:], indices)
        if batched[0]:
            taken = self(x, counter, *full, axes=(0, *later), at=0)
        else:
            taken = self(x, *full, axes=axes, at=0)
        return moveaxis(taken, range(1, 1 + count), range(at + 1, at + 1 + count))


gather = register(Gather("gather"))


def _batched_indices(batched: Sequence[bool], indices: Any) -> tuple[list[Any], Array, int]:
    """Return index arrays aligned for a batch, one that counts the batch, and their common rank."""
    aligned = align(batched, indices)
    count = max(
        len(i.shape) - 1 if b else len(i.shape) for i, b in zip(aligned, batched, strict=True)
    )
    n = next(i.shape[0] for i, b in zip(aligned, batched, strict=True) if b)
    return aligned, np.arange(n).reshape(n, *(1,) * count), count


class Scatter(Op):
    """Zeros of `shape`, with `v` added at integer arrays: the adjoint of `gather`.

    What goes to the same place adds up.
    """

    def forward(self, v: Array, *indices: Array, axes: Axes, at: int, shape: Shape) -> Array:
        targets, common = _flat_targets(indices, axes, shape)
        v = _shifted(np.asarray(v), len(common), at, 0)
        rest = v.shape[len(common) :]
        rows = v.reshape(targets.size, prod(rest))
        dims = tuple(shape[a] for a in axes)
        total = _sum_rows(rows, targets, prod(dims)).reshape(dims + rest)
        return np.moveaxis(total, range(len(axes)), axes)

    def infer(self, v: Spec, *indices: Spec, axes: Axes, at: int, shape: Shape) -> Spec:
        common = _checked_indices(shape, indices, axes)
        _need_shape(v.shape, _gathered(shape, common, axes, at), f"axes {axes}")
        return Spec(shape, v.dtype)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        taken = gather(g, *xs[1:], axes=attrs["axes"], at=attrs["at"])
        return [taken, *[None] * (len(xs) - 1)]

    def batch(
        self, batched: Sequence[bool], v: Any, *indices: Any, axes: Axes, at: int, shape: Shape
    ) -> Any:
        later = tuple(a + 1 for a in axes)
        if not any(batched[1:]):
            return self(v, *indices, axes=later, at=at + 1, shape=(v.shape[0], *shape))
        full, counter, count = _batched_indices(batched[1:], indices)
        n = counter.shape[0]
        v = v if batched[0] else broadcast_to(v, (n, *v.shape))
        v = moveaxis(v, range(at + 1, at + 1 + count), range(1, 1 + count))
        return self(v, counter, *full, axes=(0, *later), at=0, shape=(n, *shape))

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        return inputs[0].size


scatter = register(Scatter("scatter"))


def _flat_targets(indices: Sequence[Array], axes: Axes, shape: Shape) -> tuple[Array, Shape]:
    """Return where each element goes, counting over `axes` in row-major order, and their shape."""
    flat: Any = 0
    for a, i in zip(axes, indices, strict=True):
        n = shape[a]
        if i.size and not -n <= i.min() <= i.max() < n:
            error = IndexError(f"{i.min()} to {i.max()} for axis {a} of length {n}")
            raise _misfit(shape, indices, axes, error)
        i = np.asarray(i).astype(np.intp, copy=False)
        flat = flat * n + np.where(i < 0, i + n, i)
    return np.ravel(flat), np.shape(flat)


def _sum_rows(rows: Array, targets: Array, count: int) -> Array:
    """Return `count` rows, row `targets[i]` the sum of all `rows[i]` that go there.

    `np.add.at` is fast on flat arrays only (there, three times as fast as sorting the rows).
    """
    width = rows.shape[1]
    if width == 1 and rows.dtype.kind == "f":
        return np.bincount(targets, rows[:, 0], count).astype(rows.dtype)
    out = np.zeros(count * width, rows.dtype)
    np.add.at(out, np.ravel(targets[:, None] * width + np.arange(width)), rows.ravel())
    return out


class ScatterSet(Op):
    """`x` with `v` in place of what `gather` would read. The last of several to one place stays."""

    weight = 0
    overwrites = (0,)

    def forward(self, x: Array, v: Array, *indices: Array, axes: Axes, at: int) -> Array:
        out = x.copy()
        key, natural = _fancy(x.ndim, axes, indices)
        try:
            out[key] = _shifted(v, v.ndim - x.ndim + len(axes), at, natural)
        except IndexError as error:
            raise _misfit(x.shape, indices, axes, error) from None
        return out

    def infer(self, x: Spec, v: Spec, *indices: Spec, axes: Axes, at: int) -> Spec:
        common = _checked_indices(x.shape, indices, axes)
        _need_shape(v.shape, _gathered(x.shape, common, axes, at), f"axes {axes}")
        return x

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        x, v, *indices = xs
        gx = gv = None
        if needs[0]:
            gx = self(g, np.zeros(v.shape, v.dtype), *indices, **attrs)
        if needs[1]:
            gv = gather(g, *indices, **attrs)
            number = np.arange(prod(v.shape)).reshape(v.shape)
            written = self(np.zeros(x.shape, number.dtype), number, *indices, **attrs)
            stayed = equal(gather(written, *indices, **attrs), number)
            gv = where(stayed, gv, 0.0)
        return [gx, gv, *[None] * len(indices)]

    def batch(
        self, batched: Sequence[bool], x: Any, v: Any, *indices: Any, axes: Axes, at: int
    ) -> Any:
        later = tuple(a + 1 for a in axes)
        if not any(batched[2:]):
            x, v = full_batch(batched[:2], (x, v))
            return self(x, v, *indices, axes=later, at=at + 1)
        full, counter, count = _batched_indices(batched[2:], indices)
        n = counter.shape[0]
        x = x if batched[0] else broadcast_to(x, (n, *x.shape))
        v = v if batched[1] else broadcast_to(v, (n, *v.shape))
        v = moveaxis(v, range(at + 1, at + 1 + count), range(1, 1 + count))
        return self(x, v, counter, *full, axes=(0, *later), at=0)


scatter_set = register(ScatterSet("scatter_set"))


# What users write.


def getitem(x: Any, key: Any) -> Any:
    """Return `x[key]`, for every key NumPy takes.

    Integer arrays and nodes (virtual ones too) are data, and so are constant boolean masks; a
    virtual mask is a GraphError, as the shape of the result is not known.
    """
    if type(key) is int:
        return slice_(x, key=(key,))
    try:
        found = parsed(key, x.shape)
    except ShapeError as error:
        if isinstance(x, Node):
            put_in_front(error, "", f". Input: {describe(x)}")
        raise
    y = slice_(x, key=found.basic) if found.basic else x
    if not found.indices:
        return y
    try:
        return gather(y, *found.indices, axes=found.axes, at=found.place)
    except ShapeError as error:
        error.args = (f"{error.args[0]}. The index was {shown(key)} of shape {x.shape}",)
        raise


def index_set(x: Any, key: Any, value: Any) -> Any:
    """Return `x` with `value`, broadcast, in place of `x[key]`; `x` itself does not change.

    Where an index array names a place twice, the last value stays, and only that one has a
    gradient.
    """
    found = parsed(key, x.shape)
    part = slice_(x, key=found.basic) if found.basic else x
    value = _fitted(value, part, found)
    if found.indices:
        value = scatter_set(part, value, *found.indices, axes=found.axes, at=found.place)
    return slice_set(x, value, key=found.basic) if found.basic or not found.indices else value


def index_add(x: Any, key: Any, value: Any) -> Any:
    """Return `x` with `value`, broadcast, added to `x[key]`; `x` itself does not change.

    Where an index array names a place twice, both values are added.
    """
    found = parsed(key, x.shape)
    part = slice_(x, key=found.basic) if found.basic else x
    value = _fitted(value, part, found)
    if found.indices:
        value = scatter(
            value, *found.indices, axes=found.axes, at=found.place, shape=tuple(part.shape)
        )
    if found.basic:
        value = place(value, keys=(found.basic,), shape=tuple(x.shape))
    return x + value


def _fitted(value: Any, part: Any, found: Any) -> Any:
    """Return `value` in the dtype of `part` and the shape of what the key picks from it."""
    value = value if isinstance(value, (Node, np.ndarray)) else np.asarray(value)
    if value.dtype.kind == "f" and part.dtype.kind != "f":
        raise DTypeError(
            f"cannot write {value.dtype} values into a value of dtype {part.dtype}; convert the "
            "one or the other with .astype(...)"
        )
    shape = tuple(part.shape)
    if found.indices:
        common = np.broadcast_shapes(*[i.shape for i in found.indices])
        shape = _gathered(shape, common, found.axes, found.place)
    if value.dtype != part.dtype:
        value = astype(value, part.dtype)
    return value if value.shape == shape else broadcast_to(value, shape)


def _index_array(indices: Any) -> Any:
    """Return `indices` as something with a shape and an integer dtype."""
    array = indices if isinstance(indices, Node) else np.asarray(indices)
    if array.size == 0 and not isinstance(indices, (Node, np.ndarray)):
        array = array.astype(np.intp)
    if array.dtype.kind not in "iu":
        raise DTypeError(
            f"indices must be integers, but are of dtype {array.dtype}; convert them with "
            ".astype('int64')"
        )
    return array


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """Return the slices of `x` at `indices` along `axis` (None: elements in row-major order).

    The axes of `indices` take the place of `axis`: `take(table, tokens, axis=0)` looks up rows.
    """
    if axis is None:
        return take(ravel(x), indices, 0)
    a = checked_axis(axis, len(x.shape))
    return gather(x, _index_array(indices), axes=(a,), at=a)


def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Any:
    """Return, for each line of `x` along `axis`, its elements at that line of `indices`.

    `indices` has as many axes as `x`, and broadcasts with it along the others.
    """
    array = _index_array(indices)
    if axis is None:
        return take(ravel(x), array, 0)
    rank = len(x.shape)
    a = checked_axis(axis, rank)
    if len(array.shape) != rank:
        raise ShapeError(
            f"take_along_axis: indices of shape {array.shape} must have as many axes as the value "
            f"of shape {x.shape}; use take to look up whole slices"
        )
    lines = [np.arange(n).reshape((-1, *(1,) * (rank - d - 1))) for d, n in enumerate(x.shape)]
    return gather(x, *lines[:a], array, *lines[a + 1 :], axes=tuple(range(rank)), at=0)


def scatter_add(x: Any, indices: Any, values: Any, axis: int = 0) -> Any:
    """Return `x` with `values` added to its slices at `indices` along `axis`.

    `values` has the shape of `take(x, indices, axis)`; what goes to one place adds up.
    """
    a = checked_axis(axis, len(x.shape))
    return index_add(x, (*(slice(None),) * a, _index_array(indices)), values)


def one_hot(indices: Any, num_classes: int, dtype: Any = np.float64) -> Any:
    """Return 1 where the last, new axis counts to the index, else 0: `indices.shape + (n,)`.

    An index outside 0 ... n - 1 gives a row of zeros.
    """
    hits = equal(expand_dims(_index_array(indices), -1), np.arange(num_classes))
    return astype(hits, checked_dtype(dtype))
