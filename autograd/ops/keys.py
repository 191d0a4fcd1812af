"""Index keys: what a user writes between brackets, brought to a form that is data.

A key becomes a *basic* part, ints, `("slice", start, stop, step)` and None for a new axis, and
an *advanced* part: integer arrays, the axes they index once the basic part is done, and the place
where their common axes come in the result. NumPy's rule for that place: where the first of them
was, if nothing stands between them; else in front. (Ints beside arrays count as arrays there.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import index
from typing import Any

import numpy as np

from autograd.describe import describe
from autograd.errors import DTypeError, GraphError, ShapeError
from autograd.node import Node

Basic = tuple[Any, ...]
WHOLE = ("slice", None, None, None)


def decoded(key: Basic) -> tuple[Any, ...]:
    """Return a basic key as NumPy takes it."""
    return tuple(slice(*part[1:]) if isinstance(part, tuple) else part for part in key)


def shown(key: Any) -> str:
    """Return a key as a user would write it: `[0, :, ::2, None]`."""
    return "[" + ", ".join(map(_shown, key if isinstance(key, tuple) else (key,))) + "]"


def _shown(part: Any) -> str:
    if isinstance(part, slice):
        part = ("slice", part.start, part.stop, part.step)
    if isinstance(part, tuple):
        start, stop, step = ("" if bound is None else str(bound) for bound in part[1:])
        return f"{start}:{stop}" + (f":{step}" if step else "")
    if part is Ellipsis:
        return "..."
    if isinstance(part, Node):
        return f"<{part.spec}>"
    if isinstance(part, list) and len(part) > 8:
        part = np.asarray(part)
    if isinstance(part, np.ndarray) and part.ndim:
        return f"<{part.dtype} array of shape {part.shape}>"
    return str(part)


@dataclass
class Parsed:
    """A key for a value of known shape, in two parts; see above."""

    basic: Basic = ()
    axes: tuple[int, ...] = ()
    indices: list[Any] = field(default_factory=list)
    place: int = 0


def parsed(key: Any, shape: tuple[int, ...]) -> Parsed:
    """Return `key` in its two parts, or raise what does not fit `shape`."""
    parts = [_normal(part) for part in (key if isinstance(key, tuple) else (key,))]
    parts = _without_ellipsis(parts, key, shape)
    basic: list[Any] = []
    axes: list[int] = []
    indices: list[Any] = []
    advanced: list[int] = []  # places in the key of what counts as an array
    kept = 0  # axes so far that will be there once the basic part is done
    axis = 0
    first = 0
    arrays = any(_is_array(part) for part in parts)
    for number, part in enumerate(parts):
        if part is Ellipsis:
            continue
        if part is None or isinstance(part, tuple):
            basic.append(part)
            kept += 1
            axis += part is not None
            continue
        if not advanced:
            first = kept - len(axes)
        advanced.append(number)
        if isinstance(part, int):
            if arrays and not -shape[axis] <= part < shape[axis]:
                raise _outside(part, axis, key, shape)
            basic.append(part)
            axis += 1
            continue
        news = _mask_indices(part, axis, key, shape) if part.dtype.kind == "b" else [part]
        for new in news:
            basic.append(None if part.ndim == 0 and part.dtype.kind == "b" else WHOLE)
            indices.append(new)
            axes.append(kept)
            kept += 1
        axis += part.ndim if part.dtype.kind == "b" else 1
    while basic and basic[-1] == WHOLE:
        basic.pop()
    together = not advanced or advanced == list(range(advanced[0], advanced[-1] + 1))
    return Parsed(tuple(basic), tuple(axes), indices, first if together else 0)


def _is_array(part: Any) -> bool:
    return isinstance(part, (np.ndarray, Node))


def _normal(part: Any) -> Any:
    """Return a part as None, Ellipsis, int, ("slice", ...), integer array or node, or mask."""
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        return (
            "slice",
            *(None if b is None else _bound(b) for b in (part.start, part.stop, part.step)),
        )
    if isinstance(part, (bool, np.bool_)):
        return np.asarray(part)
    if isinstance(part, (int, np.integer)):
        return int(part)
    if isinstance(part, Node):
        return _normal_node(part)
    array = np.asarray(part)
    if array.size == 0 and not isinstance(part, np.ndarray):
        array = array.astype(np.intp)
    if array.dtype.kind not in "iub":
        raise DTypeError(
            f"an index must be an integer, a slice, None, ..., an integer array or a boolean mask, "
            f"but {part!r} has dtype {array.dtype}; convert it with .astype('int64')"
        )
    return int(array) if array.ndim == 0 and array.dtype.kind != "b" else array


def _normal_node(part: Node) -> Any:
    if part.dtype.kind == "f":
        raise DTypeError(
            f"{describe(part)} cannot be an index, as it is not of an integer or bool dtype; "
            "convert it with .astype('int64')"
        )
    if part.dtype.kind == "b":
        if part.virtual:
            raise GraphError(
                f"{describe(part)} cannot be a mask, as how many elements it picks is not known "
                "before the graph runs; use autograd.where(mask, x, 0), or a constant mask"
            )
        return part.value
    return int(part) if part.ndim == 0 and not part.virtual else part


def _bound(bound: Any) -> int:
    try:
        return index(bound)
    except TypeError:
        raise DTypeError(
            f"the bounds of a slice must be whole numbers, but {bound!r} came; convert them with "
            "int()"
        ) from None


def _without_ellipsis(parts: list[Any], key: Any, shape: tuple[int, ...]) -> list[Any]:
    """Return `parts` with an Ellipsis followed by the whole slices that it stands for."""
    used = 0
    for part in parts:
        if _is_array(part) and part.dtype.kind == "b":
            used += part.ndim
        else:
            used += part is not None and part is not Ellipsis
    dots = [i for i, part in enumerate(parts) if part is Ellipsis]
    if used > len(shape) or len(dots) > 1:
        problem = "more than one '...'" if len(dots) > 1 else f"{used} indices"
        raise ShapeError(
            f"index {shown(key)} has {problem}, but shape {shape} has {len(shape)} axes; "
            "leave some out"
        )
    if not dots:
        return parts
    return [*parts[: dots[0] + 1], *[WHOLE] * (len(shape) - used), *parts[dots[0] + 1 :]]


def _outside(number: int, axis: int, key: Any, shape: tuple[int, ...]) -> ShapeError:
    return ShapeError(
        f"index {shown(key)} does not fit shape {shape}: {number} is outside axis {axis}, which "
        f"has length {shape[axis]}"
    )


def _mask_indices(mask: Any, axis: int, key: Any, shape: tuple[int, ...]) -> list[Any]:
    """Return the indices of the true elements, one array for each axis of the mask."""
    if mask.ndim == 0:
        return [np.zeros(int(mask), np.intp)]
    if mask.shape != shape[axis : axis + mask.ndim]:
        raise ShapeError(
            f"index {shown(key)} does not fit shape {shape}: a mask must have the shape of the "
            f"axes that it masks, {shape[axis : axis + mask.ndim]}, but has {mask.shape}"
        )
    return list(np.nonzero(mask))
