"""Methods that NumPy and PyTorch users expect of an array, by way of the functions of that name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autograd.describe import describe
from autograd.elsewhere import METHODS, no_attribute
from autograd.errors import DTypeError

if TYPE_CHECKING:
    from autograd.node import Node


def _call(name: str, *args: Any) -> Node:
    import autograd  # complete by the time a method is called

    result: Node = getattr(autograd, name)(*args)
    return result


def boolean(x: Node) -> Node:
    """Return `x` if it is bool: `&`, `|`, `^` and `~` are logic here, never bitwise."""
    if x.dtype.kind != "b":
        raise DTypeError(
            f"&, |, ^ and ~ work on bool values, but got {describe(x)}; compare first, for example "
            "(x > 0) & (y > 0), or use autograd.logical_and and its like"
        )
    return x


class ArrayMethods:
    """Base of `Node`: `x.max(axis=0)` is `autograd.max(x, axis=0)`, and so on."""

    __slots__ = ()

    if not TYPE_CHECKING:  # which would take every name to be known

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, f"'{type(self).__name__}' object", name, METHODS)

    def reshape(self, *shape: Any) -> Node:
        return _call("reshape", self, shape[0] if len(shape) == 1 else shape)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Node:
        return _call("sum", self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Node:
        return _call("mean", self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Node:
        return _call("max", self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Node:
        return _call("min", self, axis, keepdims)

    def prod(self, axis: Any = None, keepdims: bool = False) -> Node:
        return _call("prod", self, axis, keepdims)

    def var(self, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Node:
        return _call("var", self, axis, keepdims, correction)

    def std(self, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Node:
        return _call("std", self, axis, keepdims, correction)

    def all(self, axis: Any = None, keepdims: bool = False) -> Node:
        return _call("all", self, axis, keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Node:
        return _call("any", self, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Node:
        return _call("argmax", self, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Node:
        return _call("argmin", self, axis, keepdims)

    def cumsum(self, axis: int | None = None) -> Node:
        return _call("cumsum", self, axis)

    def cumprod(self, axis: int | None = None) -> Node:
        return _call("cumprod", self, axis)

    def clip(self, low: Any = None, high: Any = None) -> Node:
        return _call("clip", self, low, high)

    def round(self) -> Node:
        return _call("round", self)

    def dot(self, other: Any) -> Node:
        return _call("dot", self, other)

    def transpose(self, *axes: Any) -> Node:
        """Return the axes in the order `axes` (none given: in reverse order, as NumPy does)."""
        given = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return _call("permute_dims", self, given or None)

    def swapaxes(self, axis1: int, axis2: int) -> Node:
        return _call("swapaxes", self, axis1, axis2)

    def ravel(self) -> Node:
        return _call("ravel", self)

    def flatten(self) -> Node:
        return _call("ravel", self)

    def squeeze(self, axis: Any = None) -> Node:
        return _call("squeeze", self, axis)

    def repeat(self, repeats: Any, axis: int | None = None) -> Node:
        return _call("repeat", self, repeats, axis)

    def take(self, indices: Any, axis: int | None = None) -> Node:
        return _call("take", self, indices, axis)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Node:
        return _call("diagonal", self, offset, axis1, axis2)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Node:
        return _call("sum", self.diagonal(offset, axis1, axis2), -1)

    def tolist(self) -> Any:
        """Return the value as nested lists of Python numbers."""
        value: Any = self.value  # type: ignore[attr-defined]
        return value.tolist()
