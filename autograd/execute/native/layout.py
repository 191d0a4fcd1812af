"""How arrays lie in memory, as native kernels want to be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from autograd.execute.native.elementwise import DENSE, SPREAD, STRIDED
from autograd.execute.refs import Ref
from autograd.spec import Spec


def broadcast_strides(ref: Ref, shape: tuple[int, ...]) -> list[int]:
    """Return the strides of `ref` broadcast to `shape`: 0 where it is repeated."""
    ahead = len(shape) - len(ref.shape)
    return [0] * ahead + [
        0 if size == 1 else stride for size, stride in zip(ref.shape, ref.strides, strict=True)
    ]


def collapsed(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """Return sizes and strides of as few axes as will do; at least one.

    Axes of length 1 go, and one that every array passes through in step with the next joins it.
    """
    sizes: list[int] = []
    moves: list[list[int]] = [[] for _ in strides]
    for i, size in enumerate(shape):
        if size == 1:
            continue
        here = [s[i] for s in strides]
        if sizes and all([m[-1] == s * size for m, s in zip(moves, here, strict=True)]):
            sizes[-1] *= size
            for m, s in zip(moves, here, strict=True):
                m[-1] = s
            continue
        sizes.append(size)
        for m, s in zip(moves, here, strict=True):
            m.append(s)
    if not sizes:
        return [1], [[1] for _ in strides]
    return sizes, moves


class Axes(NamedTuple):
    """Some axes of several arrays."""

    sizes: list[int]
    strides: list[list[int]]
    """For each array."""


def reduction_strides(x: Ref, out: Ref, axes: Sequence[int]) -> tuple[Axes, Axes]:
    """Return the axes of `x` that a reduction goes over, and those of `x` and `out` it keeps."""
    kept = [i for i in range(x.spec.ndim) if i not in axes]
    ahead = x.spec.ndim - out.spec.ndim
    places = range(len(kept)) if len(kept) == out.spec.ndim else [i - ahead for i in kept]
    to = [out.strides[i] for i in places]
    over = collapsed([x.shape[i] for i in axes], [[x.strides[i] for i in axes]])
    left = collapsed([x.shape[i] for i in kept], [[x.strides[i] for i in kept], to])
    return Axes(*over), Axes(*left)


def inner(size: int, stride: int) -> str:
    """Return how an innermost axis lies."""
    if stride == 1 or size == 1:
        return DENSE
    return SPREAD if stride == 0 else STRIDED


def as_matrices(a: Ref, b: Ref, out: Ref) -> tuple[Ref, Ref, Ref]:
    """Return operands and result of a product with the axes of length 1 that vectors lack."""
    if a.spec.ndim == 1:
        a = _with_axis(a, 0)
        out = _with_axis(out, out.spec.ndim - (b.spec.ndim > 1))
    if b.spec.ndim == 1:
        b = _with_axis(b, 1)
        out = _with_axis(out, out.spec.ndim)
    return a, b, out


def _with_axis(ref: Ref, axis: int) -> Ref:
    shape = (*ref.shape[:axis], 1, *ref.shape[axis:])
    strides = (*ref.strides[:axis], 0, *ref.strides[axis:])
    return Ref(ref.buffer, Spec(shape, ref.dtype), ref.offset, strides, ref.steps)
