"""Arrays at the border: what enters is copied, what leaves cannot be written.

So nobody can change what a backward still needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from autograd.errors import DTypeError, ShapeError
from autograd.spec import Array, Spec, checked_dtype


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


def converted(what: str, value: Any, spec: Spec) -> Array:
    """Return a Python number or nested list as an array of the spec's dtype, if that is safe."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{what} is not an array: {error}") from None
    if array.dtype.kind not in "biuf":
        raise DTypeError(
            f"{what} is {spec}, but {type(value).__name__} {value!r:.60} came; pass an "
            "array, a number or a nested list of numbers"
        )
    if np.can_cast(array.dtype, spec.dtype, "same_kind"):
        array = array.astype(spec.dtype)
    return array


def locked(value: Any) -> Any:
    """Return `value` as an array that cannot be written, nor be made writable by flags or base."""
    return np.asarray(value.data.toreadonly()) if isinstance(value, np.ndarray) else value


def apart(value: Any, arrays: Iterable[Array]) -> Array:
    """Return an array that shares no memory with any of the caller's `arrays`: copied, if it does.

    A value that is whole in itself, and none of them, needs no look at their memory.
    """
    array = np.asarray(value)
    whole = array.base is None and not any([array is x for x in arrays])
    if not whole and any([np.may_share_memory(array, x) for x in arrays]):
        return array.copy()
    return array
