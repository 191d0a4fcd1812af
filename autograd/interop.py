"""NumPy's functions on nodes: `np.tanh(t)` is `autograd.tanh(t)`, with NumPy's argument names.

What is not in the tables here raises a DTypeError (a TypeError, as NumPy users expect): no function
turns a tensor into a plain array and drops its gradient on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from inspect import Parameter, Signature, signature
from typing import Any, NoReturn

import numpy as np

import autograd as ag
from autograd.errors import DTypeError
from autograd.node import OPS, Node
from autograd.op import Op
from autograd.ops.elementwise import Elementwise
from autograd.ops.join import sections_of
from autograd.ops.linalg import trace
from autograd.ops.shape import checked_axis

ADVICE = "or x.value if you want plain NumPy without gradient"


def _refuse(name: str, instead: str = "the functions of autograd") -> NoReturn:
    raise DTypeError(f"no differentiable rule for numpy.{name}; use {instead}, {ADVICE}")


def _refuse_out(name: str) -> NoReturn:
    raise DTypeError(
        f"numpy.{name} cannot write a tensor or virtual node into an array in place (out=, or an "
        f"operator like `array -= tensor`), as its gradient would be lost; write "
        f"`array = array - tensor`, {ADVICE}"
    )


def _refuse_argument(name: str, argument: str) -> NoReturn:
    raise DTypeError(
        f"no differentiable rule for numpy.{name} with the argument {argument}; leave it out, "
        f"{ADVICE}"
    )


# Universal functions.

_RENAMED = {
    "absolute": "abs",
    "fabs": "abs",
    "conjugate": "identity",
    "positive": "identity",
    "rint": "round",
}
_LOGICAL = {
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "invert": "logical_not",
}


def _degrees(x: Any) -> Any:
    return x * (180 / np.pi)


def _radians(x: Any) -> Any:
    return x * (np.pi / 180)


def _divmod(a: Any, b: Any) -> Any:
    return ag.floor_divide(a, b), ag.remainder(a, b)


def _vecdot(a: Any, b: Any) -> Any:
    return ag.sum(ag.multiply(a, b), -1)


_COMPOSED: dict[str, Callable[..., Any]] = {
    "matmul": ag.matmul,
    "degrees": _degrees,
    "rad2deg": _degrees,
    "radians": _radians,
    "deg2rad": _radians,
    "divmod": _divmod,
    "vecdot": _vecdot,
    "matvec": lambda a, b: ag.einsum("...ij,...j->...i", a, b),
    "vecmat": lambda a, b: ag.einsum("...i,...ij->...j", a, b),
}
_REDUCED: dict[str, Callable[..., Any]] = {
    "add": ag.sum,
    "multiply": ag.prod,
    "maximum": ag.max,
    "minimum": ag.min,
    "logical_and": ag.all,
    "logical_or": ag.any,
}
_ACCUMULATED: dict[str, Callable[..., Any]] = {"add": ag.cumsum, "multiply": ag.cumprod}
_DEFAULTS: dict[str, Any] = {
    "casting": "same_kind",
    "order": "K",
    "subok": True,
    "where": True,
    "dtype": None,
    "out": None,
    "initial": np._NoValue,
}


def apply_ufunc(ufunc: Any, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return what a universal function is of nodes; see `numpy.ndarray.__array_ufunc__`."""
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    out = kwargs.pop("out", None)
    if method == "at" or (out is not None and any(x is not None for x in out)):
        _refuse_out(name)
    options = {k: v for k, v in kwargs.items() if not _same(v, _DEFAULTS.get(k, _DEFAULTS))}
    dtype = options.pop("dtype", None)
    if dtype is not None:
        inputs = [_cast(x, dtype) for x in inputs]
    if method == "reduce":
        return _reduced(ufunc.__name__, name, *inputs, **options)
    if method == "accumulate" and ufunc.__name__ in _ACCUMULATED and set(options) <= {"axis"}:
        return _ACCUMULATED[ufunc.__name__](inputs[0], options.get("axis", 0))
    if options:
        _refuse_argument(name, next(iter(options)))
    rule = _ufunc_rule(ufunc.__name__, inputs)
    if rule is None or method not in ("__call__", "outer"):
        _refuse(name)
    if method == "outer":
        a, b = map(_valued, inputs)
        return rule(ag.reshape(a, (*a.shape, *(1,) * len(b.shape))), b)
    return rule(*map(_valued, inputs))


def _reduced(
    ufunc: str, name: str, x: Any, axis: Any = 0, keepdims: bool = False, **options: Any
) -> Any:
    if options:
        _refuse_argument(name, next(iter(options)))
    if ufunc not in _REDUCED:
        _refuse(name)
    return _REDUCED[ufunc](x, axis=axis, keepdims=keepdims)


def _ufunc_rule(name: str, inputs: Sequence[Any]) -> Callable[..., Any] | None:
    composed = _COMPOSED.get(name)
    if composed is not None:
        return composed
    if name in _LOGICAL:
        logical = all(np.result_type(_dtype_or_self(x)) == np.bool_ for x in inputs)
        return OPS[_LOGICAL[name]] if logical else None
    op: Op | None = OPS.get(_RENAMED.get(name, name))
    return op if isinstance(op, Elementwise) else None


def _valued(x: Any) -> Any:
    """Return an input as something with a shape, or a number, which keeps its weak dtype."""
    return np.asarray(x) if isinstance(x, (list, tuple)) else x


def _cast(x: Any, dtype: Any) -> Any:
    return ag.astype(x if isinstance(x, Node) else np.asarray(x), dtype)


def _same(value: Any, default: Any) -> bool:
    if value is default:
        return True
    plain = (bool, int, float, str)
    return isinstance(value, plain) and isinstance(default, plain) and value == default


# Functions. Each rule has the names of NumPy's arguments.


def _axis_rule(rule: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        return rule(a if dtype is None else _cast(a, dtype), axis=axis, keepdims=keepdims)

    return reduced


def _plain_axis_rule(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, axis=None, keepdims=False: rule(a, axis=axis, keepdims=keepdims)


def _spread_rule(rule: Callable[..., Any]) -> Callable[..., Any]:
    def spread(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        ddof: float = 0,
        keepdims: bool = False,
        correction: float = 0,
    ) -> Any:
        a = a if dtype is None else _cast(a, dtype)
        return rule(a, axis=axis, keepdims=keepdims, correction=ddof or correction)

    return spread


def _running_rule(rule: Callable[..., Any]) -> Callable[..., Any]:
    def running(a: Any, axis: Any = None, dtype: Any = None) -> Any:
        return rule(a if dtype is None else _cast(a, dtype), axis)

    return running


def _ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return ag.max(a, axis, keepdims) - ag.min(a, axis, keepdims)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low = a_min if min is None else min
    high = a_max if max is None else max
    return ag.clip(a, low, high)


def _reshape(a: Any, shape: Any = None, *, newshape: Any = None) -> Any:
    return ag.reshape(a, newshape if shape is None else shape)  # NumPy 2.0 says newshape


def _diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    before = (slice(None),) * checked_axis(axis, len(a.shape))
    for _ in range(n):
        a = a[(*before, slice(1, None))] - a[(*before, slice(None, -1))]
    return a


def _pad(array: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Any:
    if mode != "constant" or np.ndim(constant_values):
        _refuse("pad", "mode='constant' with one number as constant_values")
    return ag.pad(array, pad_width, constant_values)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    matrix = np.size(axis) == 2 if axis is not None else len(x.shape) == 2
    if ord is None or (matrix and ord == "fro"):
        return ag.norm(x, axis, keepdims)
    if matrix or ord not in (1, 2, np.inf) or (axis is None and len(x.shape) != 1):
        _refuse(f"linalg.norm with ord={ord!r}", "ord=None, or 1, 2 or inf for vectors")
    return ag.norm(x, axis, keepdims, ord)


def _vector_norm(x: Any, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    return ag.norm(x, axis, keepdims, ord)


def _matrix_norm(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    if ord != "fro":
        _refuse(f"linalg.matrix_norm with ord={ord!r}", "ord='fro'")
    return ag.norm(x, (-2, -1), keepdims)


def _multi_dot(arrays: Sequence[Any]) -> Any:
    product = arrays[0]
    for array in arrays[1:]:
        product = ag.matmul(product, array)
    return product


def _round(a: Any, decimals: int = 0) -> Any:
    if decimals:
        _refuse_argument("round", "decimals")
    return ag.round(a)


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None or y is None:
        _refuse("where with one argument", "where(condition, x, y)")
    return ag.where(condition, x, y)


# Joining and splitting in NumPy's special ways.


def _at_least(rank: int) -> Callable[..., Any]:
    def at_least(*arys: Any) -> Any:
        raised = tuple(_raised(_valued(x), rank) for x in arys)
        return raised[0] if len(raised) == 1 else raised

    return at_least


def _raised(x: Any, rank: int) -> Any:
    """Return `x` with axes of length 1 put where NumPy's `atleast_nd` puts them."""
    shape = tuple(np.shape(x))
    missing = rank - len(shape)
    if missing <= 0:
        return x
    if rank == 3:
        return ag.reshape(x, {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}[len(shape)])
    return ag.reshape(x, (1,) * missing + shape)


def _hstack(tup: Sequence[Any]) -> Any:
    arrays = [_raised(_valued(x), 1) for x in tup]
    return ag.concat(arrays, 0 if len(arrays[0].shape) == 1 else 1)


def _column_stack(tup: Sequence[Any]) -> Any:
    arrays = [_valued(x) for x in tup]
    columns = [ag.reshape(x, (-1, 1)) if len(x.shape) < 2 else x for x in arrays]
    return ag.concat(columns, 1)


def _append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return ag.concat([arr, values], axis)


def _array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    return list(ag.split(ary, sections_of(ary, indices_or_sections, axis), axis))


def _hsplit(ary: Any, indices_or_sections: Any) -> Any:
    return list(ag.split(ary, indices_or_sections, 0 if len(ary.shape) == 1 else 1))


def _broadcast_arrays(*args: Any) -> Any:
    arrays = [_valued(x) for x in args]
    shape = np.broadcast_shapes(*map(np.shape, arrays))
    return tuple(ag.broadcast_to(x, shape) for x in arrays)


# Questions about shape and value, which have no gradient.


def _dtype_or_self(x: Any) -> Any:
    return x.dtype if isinstance(x, Node) else x


def _of_values(function: Callable[..., Any]) -> Callable[..., Any]:
    def of_values(*args: Any, **kwargs: Any) -> Any:
        plain = [x.value if isinstance(x, Node) else x for x in args]
        return function(*plain, **kwargs)

    return of_values


def _like(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, dtype=None: rule(a, dtype=dtype)


def _size(a: Any, axis: Any = None) -> int:
    return int(a.size) if axis is None else int(a.shape[axis])


linalg = np.linalg

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    # Reductions.
    np.sum: _axis_rule(ag.sum),
    np.mean: _axis_rule(ag.mean),
    np.prod: _axis_rule(ag.prod),
    np.max: _plain_axis_rule(ag.max),
    np.amax: _plain_axis_rule(ag.max),
    np.min: _plain_axis_rule(ag.min),
    np.amin: _plain_axis_rule(ag.min),
    np.all: _plain_axis_rule(ag.all),
    np.any: _plain_axis_rule(ag.any),
    np.argmax: _plain_axis_rule(ag.argmax),
    np.argmin: _plain_axis_rule(ag.argmin),
    np.var: _spread_rule(ag.var),
    np.std: _spread_rule(ag.std),
    np.cumsum: _running_rule(ag.cumsum),
    np.cumprod: _running_rule(ag.cumprod),
    np.ptp: _ptp,
    np.diff: _diff,
    # Elementwise.
    np.clip: _clip,
    np.round: _round,
    np.around: _round,
    np.where: _where,
    np.real: lambda val: val,
    np.copy: lambda a: a,
    np.astype: lambda x, dtype: ag.astype(x, dtype),
    # Arrangement.
    np.reshape: _reshape,
    np.ravel: lambda a: ag.ravel(a),
    np.transpose: lambda a, axes=None: ag.permute_dims(a, axes),
    np.permute_dims: lambda a, axes=None: ag.permute_dims(a, axes),
    np.matrix_transpose: ag.matrix_transpose,
    np.moveaxis: lambda a, source, destination: ag.moveaxis(a, source, destination),
    np.swapaxes: lambda a, axis1, axis2: ag.swapaxes(a, axis1, axis2),
    np.expand_dims: lambda a, axis: ag.expand_dims(a, axis),
    np.squeeze: lambda a, axis=None: ag.squeeze(a, axis),
    np.broadcast_to: lambda array, shape: ag.broadcast_to(array, shape),
    np.broadcast_arrays: _broadcast_arrays,
    np.atleast_1d: _at_least(1),
    np.atleast_2d: _at_least(2),
    np.atleast_3d: _at_least(3),
    np.flip: lambda m, axis=None: ag.flip(m, axis),
    np.flipud: lambda m: ag.flip(m, 0),
    np.fliplr: lambda m: ag.flip(m, 1),
    np.roll: lambda a, shift, axis=None: ag.roll(a, shift, axis),
    np.tile: lambda A, reps: ag.tile(A, reps),
    np.repeat: lambda a, repeats, axis=None: ag.repeat(a, repeats, axis),
    np.pad: _pad,
    np.diag: lambda v, k=0: ag.diag(v, k),
    np.diagonal: lambda a, offset=0, axis1=0, axis2=1: ag.diagonal(a, offset, axis1, axis2),
    np.trace: lambda a, offset=0, axis1=0, axis2=1: trace(a, offset, axis1, axis2),
    np.tril: lambda m, k=0: ag.tril(m, k),
    np.triu: lambda m, k=0: ag.triu(m, k),
    # Joining, splitting and picking.
    np.concatenate: lambda arrays, axis=0: ag.concat(arrays, axis),
    np.stack: lambda arrays, axis=0: ag.stack(arrays, axis),
    np.hstack: _hstack,
    np.vstack: lambda tup: ag.concat([_raised(_valued(x), 2) for x in tup], 0),
    np.dstack: lambda tup: ag.concat([_raised(_valued(x), 3) for x in tup], 2),
    np.column_stack: _column_stack,
    np.append: _append,
    np.split: lambda ary, indices_or_sections, axis=0: list(
        ag.split(ary, indices_or_sections, axis)
    ),
    np.array_split: _array_split,
    np.vsplit: lambda ary, indices_or_sections: list(ag.split(ary, indices_or_sections, 0)),
    np.hsplit: _hsplit,
    np.take: lambda a, indices, axis=None: ag.take(a, indices, axis),
    np.take_along_axis: lambda arr, indices, axis=-1: ag.take_along_axis(arr, indices, axis),
    # Products and linear algebra.
    np.dot: lambda a, b: ag.dot(_valued(a), _valued(b)),
    np.vdot: lambda a, b: ag.vdot(_valued(a), _valued(b)),
    np.inner: lambda a, b: ag.inner(_valued(a), _valued(b)),
    np.outer: lambda a, b: ag.outer(_valued(a), _valued(b)),
    np.tensordot: lambda a, b, axes=2: ag.tensordot(a, b, axes),
    np.einsum: lambda *operands, optimize=False: ag.einsum(*operands),
    linalg.solve: lambda a, b: ag.solve(a, b),
    linalg.inv: lambda a: ag.inv(a),
    linalg.det: lambda a: ag.det(a),
    linalg.slogdet: lambda a: ag.slogdet(a),
    linalg.cholesky: lambda a: ag.cholesky(a),
    linalg.norm: _norm,
    linalg.vector_norm: _vector_norm,
    linalg.matrix_norm: _matrix_norm,
    linalg.multi_dot: _multi_dot,
    linalg.matmul: lambda x1, x2: ag.matmul(x1, x2),
    linalg.outer: lambda x1, x2: ag.outer(x1, x2),
    linalg.vecdot: lambda x1, x2: _vecdot(x1, x2),
    linalg.tensordot: lambda x1, x2, axes=2: ag.tensordot(x1, x2, axes),
    linalg.matrix_transpose: lambda x: ag.matrix_transpose(x),
    linalg.diagonal: lambda x, offset=0: ag.diagonal(x, offset, -2, -1),
    linalg.trace: lambda x, offset=0: trace(x, offset, -2, -1),
    # What has no gradient.
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: _size,
    np.zeros_like: _like(ag.zeros_like),
    np.empty_like: lambda prototype, dtype=None: ag.zeros_like(prototype, dtype),
    np.ones_like: _like(ag.ones_like),
    np.full_like: lambda a, fill_value, dtype=None: ag.full_like(a, fill_value, dtype),
    np.iscomplexobj: lambda x: False,
    np.isrealobj: lambda x: True,
}
if hasattr(np, "unstack"):  # new in NumPy 2.1
    _FUNCTIONS[np.unstack] = lambda x, axis=0: ag.unstack(x, axis)
_PLAIN: dict[Any, Callable[..., Any]] = {
    np.result_type: lambda *args: np.result_type(*map(_dtype_or_self, args)),
    np.can_cast: lambda from_, *rest, **options: np.can_cast(from_.dtype, *rest, **options),
    np.allclose: _of_values(np.allclose),
    np.array_equal: _of_values(np.array_equal),
    np.array_equiv: _of_values(np.array_equiv),
    np.array2string: _of_values(np.array2string),
    np.array_repr: _of_values(np.array_repr),
    np.array_str: _of_values(np.array_str),
}
"""Answers that are no arrays to compute on: they take their arguments as they come."""


@cache
def _signature(function: Any, rule: Any) -> Signature:
    try:
        return signature(function)
    except ValueError:  # functions in C tell theirs from NumPy 2.4 on
        return signature(rule)


def apply_function(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return what a NumPy function is of nodes; see `numpy.ndarray.__array_function__`."""
    plain = _PLAIN.get(func)
    if plain is not None:
        return plain(*args, **kwargs)
    name = f"{func.__module__}.{func.__name__}".removeprefix("numpy.")
    rule = _FUNCTIONS.get(func)
    if rule is None:
        _refuse(name)
    known = _signature(func, rule)
    bound = known.bind(*args, **kwargs).arguments
    several: Sequence[Any] = ()
    options: dict[str, Any] = {}
    for key, value in bound.items():
        parameter = known.parameters[key]
        if parameter.kind is Parameter.VAR_POSITIONAL:
            several = value
        elif parameter.kind is Parameter.VAR_KEYWORD:
            options.update(value)
        elif not _same(value, parameter.default):
            options[key] = value
    for key in options:
        if key == "out":
            _refuse_out(name)
        if key not in signature(rule).parameters:
            _refuse_argument(name, key)
    return rule(*several, **options)
