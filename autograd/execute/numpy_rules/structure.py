"""Rules of ops that move elements: copies from a view of an input, or into a view of the output.

(Most of the time the layout of a plan makes these views references, and nothing is copied.)
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from autograd.execute.numpy_rules.writing import (
    Writer,
    call,
    copied,
    key_of,
    number,
    reshaped,
    rule,
    shown,
)
from autograd.node import Node
from autograd.ops.index import _fancy, _misfit, _shifted
from autograd.ops.keys import decoded
from autograd.spec import Array

Key = tuple[Any, ...]

LARGE = 1 << 16
"""Bytes from which on two passes over the indices cost less than the copy of what is taken that
NumPy makes when it checks them itself."""


def _along(axis: int, part: Any) -> str:
    """Return the key that takes `part` along `axis`."""
    return key_of((*[slice(None)] * axis, part))


# Views.


@rule("reshape")
def _reshape(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    (x,), (y,), shape = ins, outs, node.inputs[0].shape
    if writer.contiguous(y) and not writer.contiguous(x):
        writer.line(f"{reshaped(y, node.shape, shape)}[...] = {x}")
    else:
        copied(writer, y, reshaped(x, shape, node.shape))


@rule("expand_dims", "squeeze")
def _ones(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    copied(writer, outs[0], reshaped(ins[0], node.inputs[0].shape, node.shape))


@rule("broadcast_to", "repeat_like")
def _broadcast_to(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    copied(writer, outs[0], ins[0])


@rule("swapaxes")
def _swapaxes(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    axes = shown((node.attrs["axis1"], node.attrs["axis2"]))
    copied(writer, outs[0], f"{ins[0]}.swapaxes{axes}")


@rule("permute_dims")
def _permute_dims(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    copied(writer, outs[0], f"{ins[0]}.transpose({shown(node.attrs['axes'])})")


@rule("flip")
def _flip(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    back, whole = slice(None, None, -1), slice(None)
    parts = [back if a in node.attrs["axes"] else whole for a in range(len(node.shape))]
    copied(writer, outs[0], ins[0] + key_of(tuple(parts)))


@rule("slice")
def _slice(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    copied(writer, outs[0], ins[0] + key_of(decoded(node.attrs["key"])))


@rule("diagonal")
def _diagonal(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    copied(writer, outs[0], f"{ins[0]}.diagonal{shown((node.attrs['offset'], -2, -1))}")


@rule("unstack")
def _unstack(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    axis = node.attrs["axis"] % len(node.inputs[0].shape)
    for i, out in enumerate(outs):
        copied(writer, out, ins[0] + _along(axis, i))


@rule("split")
def _split(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    start = 0
    for out, size in zip(outs, node.attrs["sizes"], strict=True):
        copied(writer, out, ins[0] + _along(node.attrs["axis"], slice(start, start + size)))
        start += size


# Parts of the output.


@rule("concat")
def _concat(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    axis = node.attrs["axis"] % len(node.shape)
    start = 0
    for x, name in zip(node.inputs, ins, strict=True):
        stop = start + x.shape[axis]
        writer.line(f"{outs[0]}{_along(axis, slice(start, stop))} = {name}")
        start = stop


@rule("stack")
def _stack(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    axis = node.attrs["axis"] % len(node.shape)
    for i, name in enumerate(ins):
        writer.line(f"{outs[0]}{_along(axis, i)} = {name}")


@rule("pad")
def _pad(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    lengths = zip(node.inputs[0].shape, node.attrs["widths"], strict=True)
    inner = [slice(before, before + n) for n, (before, _) in lengths]
    copied(writer, outs[0], number(writer, node.attrs["value"], node.dtype))
    writer.line(f"{outs[0]}{key_of(tuple(inner))} = {ins[0]}")


@rule("roll")
def _roll(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    """Write each block to its place: along every axis that is rolled there are two."""
    shape = node.shape
    shifts = [0] * len(shape)
    for shift, axis in zip(node.attrs["shift"], node.attrs["axes"], strict=True):
        axis %= len(shape)
        shifts[axis] = (shifts[axis] + shift) % max(shape[axis], 1)
    blocks = [_blocks(n, by) for n, by in zip(shape, shifts, strict=True)]
    for chosen in product(*blocks):
        target, source = [key_of(tuple([pair[i] for pair in chosen])) for i in (0, 1)]
        writer.line(f"{outs[0]}{target} = {ins[0]}{source}")


def _blocks(length: int, shift: int) -> list[tuple[slice, slice]]:
    """Return (where to, where from) along an axis."""
    if not shift:
        return [(slice(None), slice(None))]
    stay = length - shift
    return [(slice(shift, None), slice(None, stay)), (slice(None, shift), slice(stay, None))]


@rule("place")
def _place(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    y = outs[0]
    copied(writer, y, number(writer, 0, node.dtype))
    for i, (part, key) in enumerate(zip(ins, node.attrs["keys"], strict=True)):
        view = y + key_of((*decoded(key), Ellipsis))
        if i == 0:
            writer.line(f"{view} = {part}")
        else:
            call(writer, np.add, view, part, view)


@rule("slice_set")
def _slice_set(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    copied(writer, outs[0], ins[0])
    writer.line(f"{outs[0]}{key_of(decoded(node.attrs['key']))} = {ins[1]}")


@rule("embed_diagonal")
def _embed_diagonal(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    offset, places = node.attrs["offset"], np.arange(node.inputs[0].shape[-1])
    rows = writer.constant(places + max(-offset, 0), "rows")
    columns = writer.constant(places + max(offset, 0), "columns")
    copied(writer, outs[0], number(writer, 0, node.dtype))
    writer.line(f"{outs[0]}[..., {rows}, {columns}] = {ins[0]}")


@rule("tril", "triu")
def _triangle(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    rows, columns = node.shape[-2:]
    lower = node.op.name == "tril"
    below = np.tri(rows, columns, node.attrs["k"] - (not lower), dtype=bool)
    outside = writer.constant(~below if lower else below, "outside")
    copied(writer, outs[0], ins[0])
    call(writer, np.copyto, outs[0], number(writer, 0, node.dtype), f"where={outside}")


@rule("positions")
def _positions(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    copied(writer, outs[0], writer.constant(np.arange(node.shape[0]), "places"))


# Integer arrays.


class Take:
    """`x.take(indices, axis, out)`, with the errors of the op `gather`."""

    def __init__(self, node: Node) -> None:
        (self.axis,) = node.attrs["axes"]
        self.large = node.spec.nbytes > LARGE

    def __call__(self, x: Array, indices: Array, out: Array) -> None:
        try:
            if self.large and _inside(indices, x.shape[self.axis]):
                x.take(indices, self.axis, out, "wrap")
            else:
                x.take(indices, self.axis, out)
        except IndexError as error:
            raise _misfit(x.shape, (indices,), (self.axis,), error) from None


def _inside(indices: Array, length: int) -> bool:
    return bool(indices.size and -length <= indices.min() and indices.max() < length)


def _one_axis(node: Node) -> bool:
    axes, indices = node.attrs["axes"], node.inputs[1:]
    return axes == (node.attrs["at"],) and np.can_cast(indices[0].dtype, np.intp)


@rule("gather", when=_one_axis)
def _gather(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    writer.line(f"{writer.constant(Take(node), 'take')}({', '.join([*ins, *outs])})")


class Put:
    """`out[key] = v` for integer arrays, with the errors of the op `scatter_set`."""

    def __init__(self, node: Node) -> None:
        self.axes, self.at = node.attrs["axes"], node.attrs["at"]

    def __call__(self, out: Array, v: Array, *indices: Array) -> None:
        key, natural = _fancy(out.ndim, self.axes, indices)
        try:
            out[key] = _shifted(v, v.ndim - out.ndim + len(self.axes), self.at, natural)
        except IndexError as error:
            raise _misfit(out.shape, indices, self.axes, error) from None


@rule("scatter_set")
def _scatter_set(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    copied(writer, outs[0], ins[0])
    put = writer.constant(Put(node), "put")
    writer.line(f"{put}({', '.join([outs[0], *ins[1:]])})")
