"""Linear: x W^T + b."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import autograd as ag
from autograd.describe import describe
from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.node import Node
from nn.init import Rng, bounded_by_fan, generator
from nn.module import Module


class Linear(Module):
    """`x @ weight.T + bias` over the last axis: (..., in_features) -> (..., out_features).

    `weight` is (out_features, in_features) and `bias` (out_features,), PyTorch's layout; both start
    uniform in +-1/sqrt(in_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: Rng = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        rng = generator(rng)
        in_features = checked_size("in_features", in_features)
        shape = (checked_size("out_features", out_features), in_features)
        self.weight = ag.parameter("weight", bounded_by_fan(shape, in_features, rng, dtype))
        self.bias = (
            ag.parameter("bias", bounded_by_fan(shape[:1], in_features, rng, dtype))
            if bias
            else None
        )

    def forward(self, x: Any) -> Node:
        """Return the outputs (..., out_features) for `x` (..., in_features)."""
        x = checked_features(x, self.weight)
        y: Node = x @ self.weight.T
        return y if self.bias is None else y + self.bias


def checked_features(x: Any, weight: ag.Parameter) -> Node:
    """Return `x` as a node whose last axis and dtype suit `weight` (out, in)."""
    node = ag.tensor(x)
    if node.ndim == 0 or node.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"the layer of '{weight.name}' takes inputs (..., {weight.shape[1]}), but got "
            f"{describe(node)}; the last axis must hold the features"
        )
    if node.dtype != weight.dtype:
        raise DTypeError(
            f"the layer of '{weight.name}' computes in {weight.dtype}, but got {describe(node)}; "
            f"convert the input with .astype('{weight.dtype}') or give the layer another dtype"
        )
    return node


def checked_size(name: str, size: Any) -> int:
    """Return a number of units as an int >= 0."""
    if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 0:
        raise LoopGradError(f"{name} must be a whole number >= 0, but is {size!r:.60}")
    return int(size)
