"""Random numbers as pure functions of a key: the same key gives the same bits, every time.

A key is two uint64 along the last axis; axes before it are that many keys, and give that many
draws. The bits come from the counter-based generator Philox 4x64-10 (Salmon et al. 2011, "Parallel
random numbers: as easy as 1, 2, 3"): `key` is its key, and its 256-bit counter has three ranges,
for drawing, splitting and folding in. A recomputation or a replay therefore draws the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from autograd.errors import DTypeError, GraphError, ShapeError
from autograd.node import Node, tensor
from autograd.op import FUNCTION, Op, register
from autograd.ops.shape import checked_lengths, full_batch, reshape
from autograd.spec import Array, Spec, checked_dtype

Shape = tuple[int, ...]

# The last word of the counter. The words below count blocks of four draws, or number the keys.
_DRAW, _SPLIT, _FOLD = 0, 1, 2


def _bits(key: Array, count: int, number: int = 0, use: int = _DRAW) -> Array:
    """Return `count` uint64 that depend on nothing but the arguments."""
    counter = np.array([0, number, 0, use], np.uint64)
    bits: Array = np.random.Philox(counter=counter, key=key).random_raw(count)
    return bits


def _check_number(number: Any) -> None:
    if number.dtype.kind not in "iu":
        raise DTypeError(
            f"fold_in takes a whole number beside the key, but got {number.dtype}; pass integers"
        )


def _check_key(name: str, key: Spec | Array) -> None:
    if key.dtype != np.uint64 or key.shape[-1:] != (2,):
        raise DTypeError(
            f"{name} takes a random key, two uint64 along the last axis, but got {key.dtype} of "
            f"shape {key.shape}; make one with autograd.random.key(seed)"
        )


class RandomSplit(Op):
    """New, independent keys of each key."""

    weight = FUNCTION

    vjps = (None,)

    def forward(self, key: Array, *, count: int) -> Array:
        _check_key("split", key)
        flat = key.reshape(-1, 2)
        keys = [[_bits(k, 2, i, _SPLIT) for i in range(count)] for k in flat]
        return np.array(keys, np.uint64).reshape(*key.shape[:-1], count, 2)

    def infer(self, key: Spec, *, count: int) -> Spec:
        _check_key("split", key)
        return Spec((*key.shape[:-1], count, 2), key.dtype)

    def batch(self, batched: Sequence[bool], key: Any, *, count: int) -> Any:
        return self(key, count=count)


class RandomFoldIn(Op):
    """A new key of a key and a whole number; keys and numbers broadcast."""

    weight = FUNCTION

    vjps = (None, None)

    def forward(self, key: Array, number: Array) -> Array:
        number = np.asarray(number)
        _check_key("fold_in", key)
        _check_number(number)
        shape = np.broadcast_shapes(key.shape[:-1], number.shape)
        numbers = np.broadcast_to(number.astype(np.uint64), shape).ravel()
        flat = np.broadcast_to(key, (*shape, 2)).reshape(-1, 2)
        keys = [_bits(k, 2, int(i), _FOLD) for k, i in zip(flat, numbers, strict=True)]
        return np.array(keys, np.uint64).reshape(*shape, 2)

    def infer(self, key: Spec, number: Spec) -> Spec:
        _check_key("fold_in", key)
        _check_number(number)
        try:
            shape = np.broadcast_shapes(key.shape[:-1], number.shape)
        except ValueError:
            raise ShapeError(
                f"fold_in: keys of shape {key.shape[:-1]} and numbers of shape {number.shape} do "
                "not broadcast; give one number a key"
            ) from None
        return Spec((*shape, 2), key.dtype)

    def batch(self, batched: Sequence[bool], key: Any, number: Any) -> Any:
        key, number = full_batch(batched, (key, number))
        rank = max(len(key.shape) - 1, len(number.shape))
        key = reshape(key, (key.shape[0], *_ones(rank - len(key.shape) + 1), *key.shape[1:]))
        gap = _ones(rank - len(number.shape))
        return self(key, reshape(number, (number.shape[0], *gap, *number.shape[1:])))


def _ones(count: int) -> Shape:
    return (1,) * count


class Draw(Op):
    """An array of `shape` for each key, made of its bits by `of_bits`.

    The bits of a number count as one function, and what makes a normal number of them as another.
    """

    vjps = (None,)

    def __init__(
        self, name: str, of_bits: Callable[[Array, int, np.dtype[Any]], Array], weight: int
    ) -> None:
        super().__init__(name)
        self.of_bits = of_bits
        self.weight = weight

    def forward(self, key: Array, *, shape: Shape, dtype: str) -> Array:
        _check_key(self.name, key)
        size = prod(shape)
        result = np.empty((prod(key.shape[:-1]), size), dtype)
        for row, k in zip(result, key.reshape(-1, 2), strict=True):
            row[...] = self.of_bits(k, size, result.dtype)
        return result.reshape(key.shape[:-1] + shape)

    def infer(self, key: Spec, *, shape: Shape, dtype: str) -> Spec:
        _check_key(self.name, key)
        return Spec(key.shape[:-1] + shape, np.dtype(dtype))

    def batch(self, batched: Sequence[bool], key: Any, *, shape: Shape, dtype: str) -> Any:
        return self(key, shape=shape, dtype=dtype)


def _unit(bits: Array) -> Array:
    """Return the upper 53 bits as numbers in [0, 1)."""
    unit: Array = (bits >> np.uint64(11)) * 2.0**-53
    return unit


def _uniform_of_bits(key: Array, size: int, dtype: np.dtype[Any]) -> Array:
    # As many bits as the dtype can hold below 1: rounding 53 bits to float32 could give 1.
    digits = np.finfo(dtype).nmant + 1
    return (_bits(key, size) >> np.uint64(64 - digits)) * 2.0**-digits


def _normal_of_bits(key: Array, size: int, dtype: np.dtype[Any]) -> Array:
    """Box and Muller 1958: a radius and an angle give two independent normal numbers."""
    pairs = (size + 1) // 2
    unit = _unit(_bits(key, 2 * pairs))
    radius = np.sqrt(-2.0 * np.log(1.0 - unit[:pairs]))
    angle = 2.0 * np.pi * unit[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]


_split = register(RandomSplit("random_split"))
_fold_in = register(RandomFoldIn("random_fold_in"))
_uniform = register(Draw("random_uniform", _uniform_of_bits, FUNCTION))
_normal = register(Draw("random_normal", _normal_of_bits, 2 * FUNCTION))


def key(seed: int) -> Node:
    """Return the key of `seed`, a whole number from 0 to 2**128 - 1, as a tensor."""
    if not 0 <= seed < 2**128:
        raise GraphError(f"a seed is a whole number from 0 to 2**128 - 1, but is {seed}")
    return tensor(np.array([seed % 2**64, seed >> 64], np.uint64))


def split(key: Any, count: int = 2) -> Any:
    """Return `count` independent keys of each key: shape (..., 2) becomes (..., count, 2).

    Use a key once: draw with it, or split it, never both with the same purpose twice.
    """
    if count < 0:
        raise ShapeError(f"split makes count >= 0 keys, but count is {count}")
    return _split(key, count=count)


def fold_in(key: Any, number: Any) -> Any:
    """Return the key of `key` and a whole number, such as a step: one key for each step."""
    return _fold_in(key, number)


def uniform(key: Any, shape: Any = (), dtype: npt.DTypeLike = np.float64) -> Any:
    """Return numbers uniform in [0, 1), of shape `keys + shape`."""
    return _uniform(key, shape=checked_lengths(shape), dtype=_float_name("uniform", dtype))


def normal(key: Any, shape: Any = (), dtype: npt.DTypeLike = np.float64) -> Any:
    """Return normal numbers of mean 0 and variance 1, of shape `keys + shape`."""
    return _normal(key, shape=checked_lengths(shape), dtype=_float_name("normal", dtype))


def bernoulli(key: Any, p: Any = 0.5, shape: Any = ()) -> Any:
    """Return bools of shape `keys + shape`, True with probability `p` (broadcast against it)."""
    return uniform(key, shape) < p


def _float_name(name: str, dtype: npt.DTypeLike) -> str:
    checked = checked_dtype(dtype)
    if checked.kind != "f":
        raise DTypeError(f"{name} draws floats, but dtype is {checked}; use 'float32' or 'float64'")
    return checked.name
