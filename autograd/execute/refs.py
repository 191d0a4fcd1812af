"""References: where a plan finds an array in memory, and how a view of one is another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autograd.node import Node
from autograd.ops.keys import decoded
from autograd.spec import Array, Spec

VIEWS = frozenset(
    [
        *["expand_dims", "squeeze", "broadcast_to", "swapaxes", "permute_dims", "flip"],
        *["slice", "split", "unstack", "identity", "stop_gradient", "repeat_like"],
    ]
)
"""Ops whose `forward` only looks at its input in another way. (`reshape`: where it can.)"""


@dataclass(frozen=True)
class Ref:
    """An array in a buffer: its first element at `offset`, one axis step is `strides` elements.

    In the t-th step of loop l it begins `steps[l] * t` elements further on.
    """

    buffer: int
    spec: Spec
    offset: int
    strides: tuple[int, ...]
    steps: tuple[tuple[int, int], ...] = ()
    """(loop, elements a step), the outermost loop first, without those in which it stays put."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.spec.dtype

    @property
    def contiguous(self) -> bool:
        """Whether the elements of one step lie one after the other, in row-major order."""
        return packed(self.shape) == tuple(
            [0 if n == 1 else s for n, s in zip(self.shape, self.strides, strict=True)]
        )

    def same_place(self, other: Ref) -> bool:
        """Whether each element of `other` is the element of this one with the same index."""
        return replace(other, spec=self.spec) == self and other.shape == self.shape

    def rows(self, loop: int, start: int = 0) -> Ref:
        """Return the slice along the first axis that step t of `loop` sees: row `start` + t."""
        return Ref(
            self.buffer,
            Spec(self.shape[1:], self.dtype),
            self.offset + start * self.strides[0],
            self.strides[1:],
            (*self.steps, (loop, self.strides[0])),
        )

    def between(self, start: int, stop: int) -> Ref:
        """Return rows `start` to `stop` along the first axis."""
        return self.part(0, start, stop - start)

    def part(self, axis: int, start: int, length: int) -> Ref:
        """Return `length` places from `start` on along `axis`."""
        shape = (*self.shape[:axis], length, *self.shape[axis + 1 :])
        offset = self.offset + start * self.strides[axis]
        return replace(self, spec=Spec(shape, self.dtype), offset=offset)


def packed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides (elements) of a C-contiguous array; 0 along axes of length 1."""
    strides = []
    count = 1
    for n in reversed(shape):
        strides.append(0 if n == 1 else count)
        count *= n
    return tuple(reversed(strides))


def whole(buffer: int, spec: Spec) -> Ref:
    """Return the reference to all of a buffer that holds an array of this spec."""
    return Ref(buffer, spec, 0, packed(spec.shape))


def view(node: Node, x: Ref) -> Ref | tuple[Ref, ...] | None:
    """Return what `node`, applied to the array at `x`, is a view of; None if it is none.

    The op's own `forward` tells: it is given an array of the same shape and strides that lies
    nowhere, and what comes back is looked at and not read.
    """
    name = node.op.name
    if name == "reshape":
        return reshaped(x, node.spec)
    if name == "astype" and node.spec == x.spec:
        return x
    if name not in VIEWS:
        return None
    several = isinstance(node.spec, tuple)
    found = _looking(x, lambda nowhere: _looked_at(node, nowhere), several)
    return found if several else found[0]


def keyed(x: Ref, key: Any) -> Ref:
    """Return the reference to x[key], for a key as attrs have it."""
    (found,) = _looking(x, lambda nowhere: _part(nowhere, key), several=False)
    return found


def _looking(x: Ref, look: Callable[[Array], Any], several: bool) -> tuple[Ref, ...]:
    """Return the references to what `look` makes of an array at `x`: one view, or several."""
    item = x.dtype.itemsize
    base = np.zeros(1, x.dtype)
    nowhere = np.lib.stride_tricks.as_strided(base, x.shape, [s * item for s in x.strides])
    results = look(nowhere)
    return tuple(
        Ref(
            x.buffer,
            Spec(result.shape, result.dtype),
            x.offset + (_address(result) - _address(base)) // item if result.size else 0,
            tuple(s // item for s in result.strides),
            x.steps,
        )
        for result in (results if several else (results,))
    )


def _part(x: Array, key: Any) -> Array:
    index = decoded(key)
    part: Array = x[index if Ellipsis in index else (*index, ...)]
    return part


def _looked_at(node: Node, x: Array) -> Any:
    """Return `forward` of a view, also where that copies because a small copy is faster."""
    if node.op.name == "flip" and not x.ndim:
        return x
    if node.op.name in ("broadcast_to", "repeat_like"):
        return np.broadcast_to(x, node.shape)
    if node.op.name == "unstack" and x.ndim == 1:
        return [x[i, ...] for i in range(len(x))]
    if node.op.name == "slice":
        return _part(x, node.attrs["key"])
    return node.op.forward(x, **node.attrs)


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def reshaped(x: Ref, spec: Spec) -> Ref | None:
    """Return the elements at `x` in row-major order in another shape, if that is a view.

    Axes of both shapes are matched in groups of as many elements; within a group of several axes of
    `x`, each must continue the next (the rule of NumPy's `_attempt_nocopy_reshape`).
    """
    if x.spec.size == 0:
        return replace(x, spec=spec, strides=packed(spec.shape))
    old = [(n, s) for n, s in zip(x.shape, x.strides, strict=True) if n != 1]
    new = [n for n in spec.shape if n != 1]
    strides: list[int] = []
    i = j = 0
    while i < len(old):
        count, wanted = old[i][0], new[j]
        end = j
        while count != wanted:
            if count < wanted:
                i += 1
                if old[i - 1][1] != old[i][0] * old[i][1]:
                    return None
                count *= old[i][0]
            else:
                end += 1
                wanted *= new[end]
        stride = old[i][1]
        group = []
        for n in reversed(new[j : end + 1]):
            group.append(stride)
            stride *= n
        strides += reversed(group)
        i, j = i + 1, end + 1
    rest = iter(strides)
    return replace(x, spec=spec, strides=tuple(0 if n == 1 else next(rest) for n in spec.shape))
