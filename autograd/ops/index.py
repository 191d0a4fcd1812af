"""Reading and functional writing by index, basic and advanced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograd.errors import ShapeError
from autograd.op import Op, register
from autograd.spec import Array, Spec

Key = tuple[Any, ...]
"""A basic index as data: ints, `("slice", start, stop, step)` and `None` for a new axis."""


def encoded(key: Any) -> Key:
    parts = key if isinstance(key, tuple) else (key,)
    return tuple(
        ("slice", p.start, p.stop, p.step) if isinstance(p, slice) else p for p in parts
    )


def decoded(key: Key) -> tuple[Any, ...]:
    return tuple(slice(*p[1:]) if isinstance(p, tuple) else p for p in key)


class Slice(Op):
    """`x[key]` for basic keys. Its gradient is `Placed`: slices are added up all at once."""

    def forward(self, x: Array, *, key: Key) -> Any:
        return x[decoded(key)]

    def infer(self, x: Spec, *, key: Key) -> Spec:
        try:
            shape = np.broadcast_to(np.zeros((), np.bool_), x.shape)[decoded(key)].shape
        except IndexError as error:
            raise ShapeError(f"index {decoded(key)} does not fit shape {x.shape}: {error}") from None
        return Spec(shape, x.dtype)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        from autograd.grad import Placed

        return (Placed(g, attrs["key"], xs[0].shape),)

    def batch(self, batched: Sequence[bool], x: Any, *, key: Key) -> Any:
        return self(x, key=(("slice", None, None, None), *key))


slice_ = register(Slice("slice"))


class Place(Op):
    """Zeros of `shape`, with each input added at its key: the adjoint of `slice`."""

    def forward(self, *parts: Array, keys: tuple[Key, ...], shape: tuple[int, ...]) -> Array:
        out = np.zeros(shape, parts[0].dtype)
        for part, key in zip(parts, keys, strict=True):
            out[decoded(key)] += part
        return out

    def infer(self, *specs: Spec, keys: tuple[Key, ...], shape: tuple[int, ...]) -> Spec:
        return Spec(shape, specs[0].dtype)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        return [slice_(g, key=key) for key in attrs["keys"]]

    def batch(self, batched: Sequence[bool], *parts: Any, keys: tuple[Key, ...], shape: Any) -> Any:
        n = next(p.shape[0] for b, p in zip(batched, parts, strict=True) if b)
        whole = ("slice", None, None, None)
        from autograd.ops.shape import broadcast_to

        full = [
            p if b else broadcast_to(p, (n, *p.shape)) for b, p in zip(batched, parts, strict=True)
        ]
        return self(*full, keys=tuple((whole, *key) for key in keys), shape=(n, *shape))


place = register(Place("place"))


def getitem(x: Any, key: Any) -> Any:
    """Return `x[key]`."""
    return slice_(x, key=encoded(key))
