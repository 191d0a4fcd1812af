"""Normalization over features: mean 0 and variance 1, or mean square 1, of every vector."""

from __future__ import annotations

from typing import Any

import autograd as ag
from autograd.node import Node


def normalized(x: Any, eps: float = 1e-5) -> Node:
    """Return (x - mean) / sqrt(variance + eps) over the last axis.

    The variance is the mean square deviation (nothing is subtracted from the count), so a vector
    of equal elements becomes zeros. It keeps the dtype.
    """
    x = ag.tensor(x)
    deviation = x - ag.mean(x, -1, keepdims=True)
    variance = ag.mean(ag.square(deviation), -1, keepdims=True)
    scaled: Node = deviation / ag.sqrt(variance + eps)
    return scaled
