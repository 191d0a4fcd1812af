"""Dropout: random elements become zero while a model trains, so that it relies on none of them.

Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import autograd as ag
from autograd.describe import describe
from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.node import Node
from nn.init import Rng, generator
from nn.module import Module
from nn.randomness import key_for, note


def dropped(x: Any, key: Any, p: float, shape: Sequence[int] | None = None) -> Node:
    """Return `x` with elements zero with probability `p`, and the others divided by 1 - p.

    That keeps the mean ("inverted" dropout). `shape`, that of `x` by default, is the mask's: where
    an axis of it is 1 the elements along this axis of `x` share their fate. One key, one mask,
    whatever the dtype of `x`. p = 0 returns `x`; p = 1 returns zeros. Keys (B, 2), one for each
    row of `x`, give each row a mask of its own: so `nn.Recurrent` runs ragged batches.
    """
    node: Node = ag.tensor(x)
    p = checked_probability(p)
    shape = node.shape if shape is None else _fitting(shape, node)
    if p == 0.0:
        return node
    if p == 1.0:
        nothing: Node = ag.where(np.False_, node, 0.0)
        return nothing
    keep = ag.random.bernoulli(key, 1.0 - p, _of_each(key, shape, node))
    rest: Node = node * (keep.astype(node.dtype) / (1.0 - p))
    return rest


def _of_each(key: Any, shape: tuple[int, ...], x: Node) -> tuple[int, ...]:
    """Return the shape of the mask that each key makes: of one key, `shape` itself."""
    if key.ndim == 1:
        return shape
    if shape[:1] != key.shape[:1]:
        raise ShapeError(
            f"dropout in a ragged loop has a key for each of the {key.shape[0]} rows, so the first "
            f"axis of its mask must be these, but a mask of shape {shape} was asked for, of "
            f"{describe(x)}; drop what has a row for each sequence"
        )
    return shape[1:]


def _fitting(shape: Sequence[int], x: Node) -> tuple[int, ...]:
    """Return the shape of a mask, checked to broadcast against `x` without making it larger."""
    shape = tuple(shape)
    if not broadcasts(shape, x.shape):
        raise ShapeError(
            f"a mask of shape {shape} does not broadcast against {describe(x)}; each of its "
            "axes, counted from the last, must have the length there, or 1"
        )
    return shape


def broadcasts(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Return whether an array of `shape` broadcasts to `whole`."""
    ends = whole[max(len(whole) - len(shape), 0) :]
    return len(shape) <= len(whole) and all(n in (1, m) for n, m in zip(shape, ends, strict=True))


def checked_probability(p: Any) -> float:
    """Return `p` as a float if it is a number from 0 to 1."""
    if isinstance(p, bool) or not isinstance(p, (int, float, np.number)) or not 0.0 <= p <= 1.0:
        raise LoopGradError(
            "p is the probability that an element is dropped, a number from 0 to 1, but is "
            f"{type(p).__name__} {p!r:.60}"
        )
    return float(p)


class Dropout(Module):
    """Zero with probability `p` and otherwise x / (1 - p), while `training`; else x itself.

    With `variational` (Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in
    Recurrent Neural Networks", NIPS 2016) one mask serves all steps, which lie along `axis`.

    Called on tensors it draws from a stream of its own, whose seed is drawn from `rng`, call by
    call. Inside `with nn.randomness(key):` and in training steps keys come from there; what is
    drawn elsewhere needs one of these (see `nn.randomness`), or `model.eval()`.
    """

    def __init__(
        self, p: float = 0.5, *, variational: bool = False, axis: int = 0, rng: Rng = None
    ) -> None:
        self.p = checked_probability(p)
        self.variational = variational
        self.axis = axis
        self._seed = int(generator(rng).integers(2**63))
        self._calls = 0

    def forward(self, x: Any) -> Node:
        """Return `x`, some of its elements zero."""
        node: Node = ag.tensor(x)
        if node.dtype.kind != "f":
            raise DTypeError(
                f"Dropout scales floats, but got {describe(node)}; drop after the embedding, or "
                "convert with .astype('float64')"
            )
        shape = self._mask_shape(node)
        if self.p == 0.0:
            return node
        note(self)
        if not self.training:
            return node
        return dropped(node, key_for(self, node, self._own_key), self.p, shape)

    def _mask_shape(self, x: Node) -> tuple[int, ...]:
        """Return the shape of the mask: that of `x`, or with one step for all."""
        if not self.variational:
            return x.shape
        if not -x.ndim <= self.axis < x.ndim:
            raise ShapeError(
                f"the steps of a variational Dropout lie along axis {self.axis}, which "
                f"{describe(x)} does not have"
            )
        steps = self.axis % x.ndim
        return (*x.shape[:steps], 1, *x.shape[steps + 1 :])

    def _own_key(self) -> Any:
        """Return the key of this call."""
        self._calls += 1
        return ag.random.fold_in(ag.random.key(self._seed), self._calls - 1)
