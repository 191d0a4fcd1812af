"""Initial values of parameters, drawn from a generator the caller chooses.

Everywhere in `nn`, `rng` is a `numpy.random.Generator`, a seed for one, or None for fresh entropy.
Layers that are to differ must be given one generator, not the same seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autograd.spec import Array

Rng = np.random.Generator | int | None


def generator(rng: Rng = None) -> np.random.Generator:
    """Return `rng` itself if it is a generator, else one seeded with it."""
    return np.random.default_rng(rng)


def uniform(
    shape: Sequence[int],
    low: float,
    high: float,
    rng: Rng = None,
    dtype: npt.DTypeLike = np.float64,
) -> Array:
    """Return an array of `shape`, uniform in [low, high)."""
    return generator(rng).uniform(low, high, shape).astype(dtype)


def normal(
    shape: Sequence[int],
    mean: float = 0.0,
    std: float = 1.0,
    rng: Rng = None,
    dtype: npt.DTypeLike = np.float64,
) -> Array:
    """Return an array of `shape`, normally distributed."""
    return generator(rng).normal(mean, std, shape).astype(dtype)


def zeros(shape: Sequence[int], dtype: npt.DTypeLike = np.float64) -> Array:
    """Return an array of `shape`, all zero."""
    return np.zeros(shape, dtype)


def bounded_by_fan(
    shape: Sequence[int], fan: int, rng: Rng = None, dtype: npt.DTypeLike = np.float64
) -> Array:
    """Return U(-1/sqrt(fan), 1/sqrt(fan)), PyTorch's choice for linear and recurrent layers."""
    bound = fan**-0.5 if fan else 0.0
    return uniform(shape, -bound, bound, rng, dtype)
