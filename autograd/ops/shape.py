"""Ops that change the arrangement of a value and never an element."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import index
from typing import Any

import numpy as np

from autograd.describe import describe, put_in_front
from autograd.errors import ShapeError
from autograd.node import Node
from autograd.op import Op, register
from autograd.spec import Array, Spec, checked_dtype

Axes = tuple[int, ...]


def checked_axis(axis: Any, ndim: int) -> int:
    """Return `axis` as a number >= 0, or raise a ShapeError."""
    number = index(axis)
    if not -ndim <= number < ndim:
        raise ShapeError(
            f"axis {number} does not exist in a value with {ndim} axes; "
            f"choose one from {-ndim} to {ndim - 1}"
        )
    return number % ndim


def checked_axes(axes: Any, ndim: int, x: Any = None) -> Axes:
    """Return `axes` (a number or several, in their order) as numbers >= 0, none of them twice.

    Errors name `x`, where it is given and a node.
    """
    try:
        return _checked_axes(axes, ndim)
    except ShapeError as error:
        if isinstance(x, Node):
            put_in_front(error, "", f". Input: {describe(x)}")
        raise


def _checked_axes(axes: Any, ndim: int) -> Axes:
    numbers = axes if isinstance(axes, (tuple, list, range, np.ndarray)) else (axes,)
    result = tuple(checked_axis(axis, ndim) for axis in numbers)
    if len(set(result)) != len(result):
        raise ShapeError(f"axes {tuple(axes)} name one axis twice; name each once")
    return result


def checked_lengths(shape: Any) -> tuple[int, ...]:
    """Return `shape` (a number or several) as a tuple of Python ints."""
    numbers = shape if isinstance(shape, (tuple, list, np.ndarray)) else (shape,)
    try:
        return tuple(map(index, numbers))
    except TypeError:
        raise ShapeError(f"a shape is made of whole numbers, but is {shape!r:.80}") from None


def full_batch(batched: Sequence[bool], xs: Sequence[Any]) -> list[Any]:
    """Return `xs` with those that are not batched repeated along the batch axis."""
    n = next(x.shape[0] for b, x in zip(batched, xs, strict=True) if b)
    return [x if b else broadcast_to(x, (n, *x.shape)) for b, x in zip(batched, xs, strict=True)]


class Reshape(Op):
    """The elements in row-major order, in another shape."""

    free = True
    vjps = (lambda g, y, x, shape: _reshape(g, shape=x.shape),)

    def forward(self, x: Array, *, shape: tuple[int, ...]) -> Array:
        return x.reshape(shape)

    def infer(self, x: Spec, *, shape: tuple[int, ...]) -> Spec:
        result = Spec(_found(shape, x.size), x.dtype)
        if result.size != x.size or any(n < 0 for n in result.shape):
            raise ShapeError(
                f"cannot reshape {x.shape} ({x.size} elements) to {shape} ({result.size} "
                "elements); choose lengths whose product is the number of elements, or leave one "
                "of them to be found by writing -1"
            )
        return result

    def batch(self, batched: Sequence[bool], x: Any, *, shape: tuple[int, ...]) -> Any:
        return self(x, shape=(x.shape[0], *shape))


_reshape: Reshape = register(Reshape("reshape"))


def _found(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Return `shape` with the length in place of a -1."""
    if -1 not in shape:
        return shape
    place = shape.index(-1)
    known = prod(shape[:place] + shape[place + 1 :])
    return (*shape[:place], size // known if known else 0, *shape[place + 1 :])


def reshape(x: Any, shape: Any) -> Any:
    """Return `x` in another shape of as many elements; one length may be -1: what is left.

    In a graph the -1 stays, so that `graph.resize` finds the length anew.
    """
    lengths = checked_lengths(shape)
    if -1 in lengths and 0 in (lengths[lengths.index(-1) + 1 :] + lengths[: lengths.index(-1)]):
        lengths = _found(lengths, prod(x.shape))
    return _reshape(x, shape=lengths)


def ravel(x: Any) -> Any:
    """Return `x` with all elements along one axis, in row-major order."""
    return x if len(x.shape) == 1 else reshape(x, -1)


class ExpandDims(Op):
    """Axes of length 1 added, at the places `axes` of the result."""

    free = True
    vjps = (lambda g, y, x, axes: _squeeze(g, axes=axes),)

    def forward(self, x: Array, *, axes: Axes) -> Array:
        return x.reshape(_expanded(x.shape, axes))

    def infer(self, x: Spec, *, axes: Axes) -> Spec:
        checked_axes(axes, x.ndim + len(axes))
        return Spec(_expanded(x.shape, axes), x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, axes: Axes) -> Any:
        return self(x, axes=tuple(a + 1 for a in axes))


def _expanded(shape: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    lengths = iter(shape)
    return tuple([1 if i in axes else next(lengths) for i in range(len(shape) + len(axes))])


class Squeeze(Op):
    """The axes `axes`, all of length 1, dropped."""

    free = True
    vjps = (lambda g, y, x, axes: _expand_dims(g, axes=axes),)

    def forward(self, x: Array, *, axes: Axes) -> Array:
        return x.squeeze(axes)

    def infer(self, x: Spec, *, axes: Axes) -> Spec:
        for a in checked_axes(axes, x.ndim):
            if x.shape[a] != 1:
                raise ShapeError(
                    f"axis {a} of shape {x.shape} has length {x.shape[a]}; only axes of length 1 "
                    "can be dropped, index or reduce the others"
                )
        return Spec(tuple([n for i, n in enumerate(x.shape) if i not in axes]), x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, axes: Axes) -> Any:
        return self(x, axes=tuple(a + 1 for a in axes))


_expand_dims: ExpandDims = register(ExpandDims("expand_dims"))
_squeeze: Squeeze = register(Squeeze("squeeze"))


def expand_dims(x: Any, axis: Any) -> Any:
    """Return `x` with an axis of length 1 at each place `axis` of the result."""
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    return _expand_dims(x, axes=checked_axes(axis, len(x.shape) + count, x))


def squeeze(x: Any, axis: Any = None) -> Any:
    """Return `x` without the axes `axis` of length 1 (None: without all of them)."""
    if axis is None:
        axes = tuple(i for i, n in enumerate(x.shape) if n == 1)
    else:
        axes = checked_axes(axis, len(x.shape), x)
    return _squeeze(x, axes=axes)


class SumTo(Op):
    """Sum over what broadcasting has repeated: the adjoint of `broadcast_to`."""

    vjps = (lambda g, y, x, shape: broadcast_to(g, x.shape),)

    def forward(self, x: Array, *, shape: tuple[int, ...]) -> Array:
        extra = x.ndim - len(shape)
        axes = tuple(range(extra)) + tuple(
            i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1
        )
        if not axes:
            return x.reshape(shape)
        return np.add.reduce(x, axis=axes, keepdims=True).reshape(shape)

    def infer(self, x: Spec, *, shape: tuple[int, ...]) -> Spec:
        if not _broadcasts(shape, x.shape):
            raise ShapeError(
                f"{shape} does not broadcast to {x.shape}, so {x.shape} cannot be summed back to "
                "it; give the shape of what was broadcast"
            )
        return Spec(shape, x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, shape: tuple[int, ...]) -> Any:
        n = x.shape[0]
        extra = len(x.shape) - 1 - len(shape)
        kept = self(x, shape=(n, *(1,) * extra, *shape))
        return _reshape(kept, shape=(n, *shape))

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        return inputs[0].size if inputs[0].size != output.size else 0


sum_to = register(SumTo("sum_to"))


_SMALL = 1024
"""Up to this many elements writing them takes less time than NumPy takes to make a view."""


class BroadcastTo(Op):
    """Elements repeated along new leading axes and along axes of length 1."""

    free = True
    vjps = (lambda g, y, x, shape: sum_to(g, shape=x.shape),)

    def forward(self, x: Array, *, shape: tuple[int, ...]) -> Array:
        if prod(shape) > _SMALL:
            return np.broadcast_to(x, shape)
        out = np.empty(shape, x.dtype)
        out[...] = x
        return out

    def infer(self, x: Spec, *, shape: tuple[int, ...]) -> Spec:
        if not _broadcasts(x.shape, shape):
            raise ShapeError(
                f"{x.shape} does not broadcast to {shape}: counted from the last axis, lengths "
                "must be equal, or 1 in the first; reshape it, or choose another shape"
            )
        return Spec(shape, x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, shape: tuple[int, ...]) -> Any:
        n = x.shape[0]
        x = _reshape(x, shape=(n, *(1,) * (len(shape) + 1 - len(x.shape)), *x.shape[1:]))
        return self(x, shape=(n, *shape))


def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


_broadcast_to = register(BroadcastTo("broadcast_to"))


def broadcast_to(x: Any, shape: Any) -> Any:
    """Return `x` repeated along new axes and axes of length 1 to make `shape`."""
    return _broadcast_to(x, shape=checked_lengths(shape))


# The order of axes.


class SwapAxes(Op):
    """Two axes exchanged; both counted from the end or both from the front."""

    free = True
    vjps = (lambda g, y, x, axis1, axis2: _swapaxes(g, axis1=axis1, axis2=axis2),)

    def forward(self, x: Array, *, axis1: int, axis2: int) -> Array:
        return x.swapaxes(axis1, axis2)

    def infer(self, x: Spec, *, axis1: int, axis2: int) -> Spec:
        shape = list(x.shape)
        a, b = checked_axis(axis1, x.ndim), checked_axis(axis2, x.ndim)
        shape[a], shape[b] = shape[b], shape[a]
        return Spec(tuple(shape), x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, axis1: int, axis2: int) -> Any:
        return self(x, axis1=axis1 + (axis1 >= 0), axis2=axis2 + (axis2 >= 0))


_swapaxes: SwapAxes = register(SwapAxes("swapaxes"))


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Return `x` with two axes exchanged."""
    return _swapaxes(x, axis1=index(axis1), axis2=index(axis2))


def matrix_transpose(x: Any) -> Any:
    """Return `x` with its last two axes exchanged."""
    return _swapaxes(x, axis1=-2, axis2=-1)


class PermuteDims(Op):
    """Axis `i` of the result is axis `axes[i]` of the input."""

    free = True
    vjps = (lambda g, y, x, axes: _permute_dims(g, axes=_inverse(axes)),)

    def forward(self, x: Array, *, axes: Axes) -> Array:
        return x.transpose(axes)

    def infer(self, x: Spec, *, axes: Axes) -> Spec:
        if sorted(axes) != list(range(x.ndim)):
            raise ShapeError(f"axes {axes} must name each of the {x.ndim} axes of {x.shape} once")
        return Spec(tuple(x.shape[a] for a in axes), x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, axes: Axes) -> Any:
        return self(x, axes=(0, *[a + 1 for a in axes]))


def _inverse(axes: Axes) -> Axes:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


_permute_dims: PermuteDims = register(PermuteDims("permute_dims"))


def permute_dims(x: Any, axes: Any = None) -> Any:
    """Return `x` with its axes in the order `axes` (None: in reverse order)."""
    rank = len(x.shape)
    order = tuple(reversed(range(rank))) if axes is None else checked_axes(axes, rank, x)
    return x if order == tuple(range(rank)) else _permute_dims(x, axes=order)


transpose = permute_dims


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Return `x` with axes `source` at places `destination`, the others in their order."""
    rank = len(x.shape)
    sources, places = checked_axes(source, rank), checked_axes(destination, rank)
    if len(sources) != len(places):
        raise ShapeError(
            f"moveaxis: {len(sources)} axes {sources} cannot go to {len(places)} places {places}; "
            "give one place an axis"
        )
    order = [a for a in range(rank) if a not in sources]
    for place, a in sorted(zip(places, sources, strict=True)):
        order.insert(place, a)
    return permute_dims(x, order)


class Flip(Op):
    """Elements in the opposite order along `axes`."""

    weight = 0
    vjps = (lambda g, y, x, axes: _flip(g, axes=axes),)

    def forward(self, x: Array, *, axes: Axes) -> Array:
        step = slice(None, None, -1)
        return x[tuple(step if a in axes else slice(None) for a in range(x.ndim))]

    def infer(self, x: Spec, *, axes: Axes) -> Spec:
        checked_axes(axes, x.ndim)
        return x

    def batch(self, batched: Sequence[bool], x: Any, *, axes: Axes) -> Any:
        return self(x, axes=tuple(a + 1 for a in axes))


_flip: Flip = register(Flip("flip"))


def flip(x: Any, axis: Any = None) -> Any:
    """Return `x` with the elements in the opposite order along `axis` (None: along all)."""
    rank = len(x.shape)
    return _flip(x, axes=tuple(range(rank)) if axis is None else checked_axes(axis, rank, x))


class Roll(Op):
    """Elements moved on by `shift[i]` places along `axes[i]`, those past the end to the front."""

    weight = 0
    vjps = (lambda g, y, x, shift, axes: _roll(g, shift=tuple(-s for s in shift), axes=axes),)

    def forward(self, x: Array, *, shift: tuple[int, ...], axes: Axes) -> Array:
        return np.roll(x, shift, axes)

    def infer(self, x: Spec, *, shift: tuple[int, ...], axes: Axes) -> Spec:
        for a in axes:
            checked_axis(a, x.ndim)
        if len(shift) != len(axes):
            raise ShapeError(
                f"{len(shift)} shifts {shift} for {len(axes)} axes {axes}; give one shift an axis"
            )
        return x

    def batch(self, batched: Sequence[bool], x: Any, *, shift: tuple[int, ...], axes: Axes) -> Any:
        return self(x, shift=shift, axes=tuple(a + 1 for a in axes))


_roll: Roll = register(Roll("roll"))


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Return `x` with elements moved on by `shift` places along `axis`, round the end.

    With axis None it is the elements in row-major order that are moved on, as in NumPy.
    """
    if axis is None:
        return reshape(_roll(ravel(x), shift=(sum(checked_lengths(shift)),), axes=(0,)), x.shape)
    axes = tuple(checked_axis(a, len(x.shape)) for a in checked_lengths(axis))
    shifts = checked_lengths(shift)
    if len(shifts) == 1:
        shifts *= len(axes)
    return _roll(x, shift=shifts, axes=axes * len(shifts) if len(axes) == 1 else axes)


# Joining along a new axis. (`autograd.ops.join` joins along one that is there.)


class Stack(Op):
    """Arrays of one shape joined along a new axis."""

    weight = 0

    def forward(self, *xs: Array, axis: int) -> Array:
        return np.stack(xs, axis)

    def infer(self, *specs: Spec, axis: int) -> Spec:
        shapes = {spec.shape for spec in specs}
        if len(shapes) != 1:
            raise ShapeError(
                f"stack joins values of one shape, but they are {sorted(shapes)}; reshape or "
                "broadcast them first"
            )
        shape = list(shapes.pop())
        shape.insert(checked_axis(axis, len(shape) + 1), len(specs))
        return Spec(tuple(shape), np.result_type(*[spec.dtype for spec in specs]))

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        parts = unstack(g, attrs["axis"])
        return [part if need else None for need, part in zip(needs, parts, strict=True)]

    def batch(self, batched: Sequence[bool], *xs: Any, axis: int) -> Any:
        return self(*full_batch(batched, xs), axis=axis + (axis >= 0))


_stack = register(Stack("stack"))


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Return arrays of one shape joined along a new axis."""
    if len(xs) == 0:
        raise ShapeError("stack needs at least one value, but the sequence is empty")
    return _stack(*xs, axis=axis)


class Unstack(Op):
    """The slices along an axis, each an output: the adjoint of `stack`."""

    weight = 0
    multiple = True

    def forward(self, x: Array, *, axis: int) -> tuple[Array, ...]:
        return tuple(np.moveaxis(x, axis, 0))

    def infer(self, x: Spec, *, axis: int) -> tuple[Spec, ...]:
        shape = list(x.shape)
        length = shape.pop(checked_axis(axis, x.ndim))
        return (Spec(tuple(shape), x.dtype),) * length

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        x, axis = xs[0], attrs["axis"]
        shape = list(x.shape)
        shape.pop(axis)
        zeros = np.zeros(shape, x.dtype)
        return (_stack(*[zeros if part is None else part for part in g], axis=axis),)

    def batch(self, batched: Sequence[bool], x: Any, *, axis: int) -> Any:
        return self(x, axis=axis + (axis >= 0))


_unstack = register(Unstack("unstack"))


def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """Return the slices of `x` along `axis`, one each."""
    if not x.shape:
        what = describe(x) if isinstance(x, Node) else "a value of shape ()"
        raise ShapeError(f"{what} cannot be iterated over: it has no axis; reshape it first")
    slices: tuple[Any, ...] = _unstack(x, axis=axis)
    return slices


class AsType(Op):
    """Conversion to another dtype. To integers and bools no gradient passes."""

    weight = 0
    vjps = (lambda g, y, x, dtype: astype(g, x.dtype),)

    def forward(self, x: Array, *, dtype: str) -> Array:
        return x.astype(dtype, copy=False)

    def infer(self, x: Spec, *, dtype: str) -> Spec:
        return Spec(x.shape, checked_dtype(dtype))

    def batch(self, batched: Sequence[bool], x: Any, *, dtype: str) -> Any:
        return self(x, dtype=dtype)


_astype = register(AsType("astype"))


def astype(x: Any, dtype: Any) -> Any:
    """Return `x` converted to `dtype`."""
    return _astype(x, dtype=checked_dtype(dtype).name)
