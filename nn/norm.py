"""Normalization over features: mean 0 and variance 1, or mean square 1, of every vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import autograd as ag
from autograd.describe import describe
from autograd.errors import DTypeError, ShapeError
from autograd.node import Node
from nn.init import ones, zeros
from nn.module import Module


def normalized(x: Any, eps: float = 1e-5, axes: int = 1) -> Node:
    """Return (x - mean) / sqrt(variance + eps) over the last axis, or the last `axes` of them.

    The variance is the mean square deviation (nothing is subtracted from the count), so a vector
    of equal elements becomes zeros. It keeps the dtype.
    """
    x = ag.tensor(x)
    last = tuple(range(-axes, 0))
    deviation = x - ag.mean(x, last, keepdims=True)
    variance = ag.mean(ag.square(deviation), last, keepdims=True)
    scaled: Node = deviation / ag.sqrt(variance + eps)
    return scaled


class LayerNorm(Module):
    """`normalized(x, eps) * weight + bias` over the last axis, or all last axes of a shape.

    Ba, Kiros and Hinton, "Layer Normalization", 2016; torch's `nn.LayerNorm`. `weight` and `bias`
    have the given shape and start as ones and zeros; without `elementwise_affine` there is
    neither. Nothing depends on other rows or steps, nor on `training`.
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.shape = _shape(shape)
        self.eps = eps
        self.weight: ag.Parameter | None = None
        self.bias: ag.Parameter | None = None
        if elementwise_affine:
            self.weight = ag.parameter("weight", ones(self.shape, dtype=dtype))
        if elementwise_affine and bias:
            self.bias = ag.parameter("bias", zeros(self.shape, dtype=dtype))

    def forward(self, x: Any) -> Node:
        """Return the outputs, of the shape of `x`."""
        x = _checked(x, self)
        y = normalized(x, self.eps, len(self.shape)).named("normalized")
        if self.weight is not None:
            y = y * self.weight
        return y if self.bias is None else y + self.bias


class RMSNorm(Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last axis, or all last axes of a shape.

    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019; torch's `nn.RMSNorm`.
    `eps` None is the distance from 1 to the next number of the dtype of `x`.
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.shape = _shape(shape)
        self.eps = eps
        self.weight: ag.Parameter | None = None
        if elementwise_affine:
            self.weight = ag.parameter("weight", ones(self.shape, dtype=dtype))

    def forward(self, x: Any) -> Node:
        """Return the outputs, of the shape of `x`."""
        x = _checked(x, self)
        eps = float(np.finfo(x.dtype).eps) if self.eps is None else self.eps
        last = tuple(range(-len(self.shape), 0))
        y: Node = x / ag.sqrt(ag.mean(ag.square(x), last, keepdims=True) + eps)
        y.named("normalized")
        return y if self.weight is None else y * self.weight


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """Return the shape to normalize over, of one axis at least."""
    axes: list[Any] = list(shape) if isinstance(shape, Sequence) else [shape]
    sizes = [isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in axes]
    if not axes or not all(sizes):
        raise ShapeError(
            "a norm takes the number of features, or the shape of the last axes, but got "
            f"{shape!r:.60}"
        )
    return tuple([int(n) for n in axes])


def _checked(x: Any, module: LayerNorm | RMSNorm) -> Node:
    """Return `x` as a node whose last axes and dtype suit a norm."""
    node = ag.tensor(x)
    shape, weight, name = module.shape, module.weight, type(module).__name__
    if node.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"this {name} takes inputs (..., {', '.join(map(str, shape))}), but got "
            f"{describe(node)}; the last axes must be those it was made for"
        )
    if node.dtype.kind != "f" or (weight is not None and node.dtype != weight.dtype):
        dtype = "float64" if weight is None else weight.dtype
        raise DTypeError(
            f"this {name} computes in {dtype}, but got {describe(node)}; convert the input with "
            f".astype('{dtype}') or give the layer another dtype"
        )
    return node
