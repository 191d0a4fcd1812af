"""Arrays at the border: what enters is copied, what leaves cannot be written.

So nobody can change what a backward still needs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from autograd.errors import ShapeError
from autograd.spec import Array, checked_dtype


def copied(value: Any, dtype: npt.DTypeLike | None = None) -> Array:
    """Return a fresh native-order array of `value` with a dtype LoopGrad carries."""
    if dtype is not None:
        dtype = checked_dtype(dtype)
    try:
        array = np.array(value, dtype=dtype, order="K")
    except ValueError as error:
        raise ShapeError(f"cannot make an array of this value: {error}") from None
    known = checked_dtype(array.dtype)
    return array if known == array.dtype and array.dtype.isnative else array.astype(known)


def locked(value: Any) -> Any:
    """Return `value` as an array that cannot be written, nor be made writable by flags or base."""
    return np.asarray(value.data.toreadonly()) if isinstance(value, np.ndarray) else value
