"""Rules of reductions, running reductions and softmax.

Sums over leading or trailing axes of contiguous floats are products with a vector of ones: BLAS
takes 180 to 250 ns for what NumPy's `add.reduce` takes 450 to 1000, and is faster for many elements
too. Over leading axes both add one row after the other. Over trailing axes NumPy adds in pairs, in
blocks of 128; BLAS adds 8 or more partial sums, which is as exact for short rows: `SHORT`.
"""

from __future__ import annotations

from math import prod
from operator import index
from typing import Any

import numpy as np

from autograd.execute.numpy_rules.writing import (
    RULES,
    Printed,
    Writer,
    call,
    contiguous,
    copied,
    floating,
    number,
    ones,
    quiet,
    reshaped,
    rule,
    shown,
)
from autograd.node import OPS, Node
from autograd.ops.reduce import Fold
from autograd.spec import Spec

Shape = tuple[int, ...]

SHORT = 1024
"""Rows of up to so many elements are summed by BLAS."""
_BLAS = ("float32", "float64")


def _axes(axes: Shape) -> str:
    return str(index(axes[0])) if len(axes) == 1 else shown(axes)


def _kept(shape: Shape, axes: Shape) -> Shape:
    """Return what is left of `shape`, with length 1 where it was reduced."""
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def write_fold(
    writer: Writer, ufunc: Any, x: str, y: str, axes: Shape, keepdims: bool, initial: str = ""
) -> None:
    """Write `y = ufunc.reduce(x)` over `axes`."""
    arguments = [x, _axes(axes), "None", y]
    if keepdims or initial:
        arguments.append(str(bool(keepdims)))
    if initial:
        arguments.append(initial)
    call(writer, ufunc.reduce, *arguments, name=f"{ufunc.__name__}_reduce")


def write_sum(writer: Writer, x: str, y: str, spec: Spec, axes: Shape, keepdims: bool) -> None:
    """Write `y = sum(x)` over `axes`, for x of this spec."""
    lengths = [spec.shape[a] for a in axes]
    if not axes or (set(lengths) == {1} and spec.dtype.kind == "f"):
        kept = _kept(spec.shape, axes)
        new = kept if keepdims else tuple([n for i, n in enumerate(kept) if i not in axes])
        leading = axes == tuple(range(len(axes)))  # an assignment drops these itself
        copied(writer, y, x if leading else reshaped(x, spec.shape, new))
        return
    first = spec.ndim - len(axes)
    plain = spec.size > 0 and spec.dtype.name in _BLAS
    if not plain or not writer.contiguous(x) or not writer.contiguous(y):
        write_fold(writer, np.add, x, y, axes, keepdims)
    elif axes == tuple(range(first, spec.ndim)) and prod(lengths) <= SHORT:
        _sum_rows(writer, x, y, spec, len(axes), keepdims)
    elif axes == tuple(range(len(axes))) and first:
        _sum_columns(writer, x, y, spec, len(axes), keepdims)
    else:
        write_fold(writer, np.add, x, y, axes, keepdims)


def _sum_rows(writer: Writer, x: str, y: str, spec: Spec, count: int, keepdims: bool) -> None:
    """Write the sum over the last `count` axes as a product with ones."""
    rest = spec.shape[: spec.ndim - count]
    length = prod(spec.shape[spec.ndim - count :])
    flat = (prod(rest), length) if rest else (length,)
    matrix = keepdims and spec.ndim == 2 and count == 1
    result = (*spec.shape[:1], 1) if matrix else (prod(rest),) if rest else ()
    one = writer.constant(ones((length, 1) if matrix else (length,), spec.dtype), "ones")
    kept = rest + (1,) * count if keepdims else rest
    x, y = reshaped(x, spec.shape, flat), reshaped(y, kept, result)
    writer.line(f"{x}.dot({one}, {y})")


def _sum_columns(writer: Writer, x: str, y: str, spec: Spec, count: int, keepdims: bool) -> None:
    """Write the sum over the first `count` axes as a product of ones with it."""
    rest = spec.shape[count:]
    length = prod(spec.shape[:count])
    matrix = keepdims and spec.ndim == 2
    result = (1, *rest) if matrix else (prod(rest),)
    one = writer.constant(ones((1, length) if matrix else (length,), spec.dtype), "ones")
    kept = (1,) * count + rest if keepdims else rest
    x, y = reshaped(x, spec.shape, (length, prod(rest))), reshaped(y, kept, result)
    writer.line(f"{one}.dot({x}, {y})")


def _safe(writer: Writer, x: str, spec: Spec) -> str:
    """Return what the extremes of `x` can be taken of.

    NumPy 2.0 gets those of two or three elements wrong if they lie backwards and there is an `out`.
    """
    return contiguous(writer, x, spec)


def _fold_rule(ufunc: Any) -> Printed:
    def write(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
        x = ins[0]
        if ufunc in (np.maximum, np.minimum):
            x = _safe(writer, x, node.inputs[0].spec)
        write_fold(writer, ufunc, x, outs[0], node.attrs["axis"], node.attrs["keepdims"])

    return Printed(write)


for _op in list(OPS.values()):
    if isinstance(_op, Fold):
        RULES[_op.name] = _fold_rule(_op.ufunc)


@rule("sum")
def _sum(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    spec = node.inputs[0].spec
    write_sum(writer, ins[0], outs[0], spec, node.attrs["axis"], node.attrs["keepdims"])


@rule("mean")
def _mean(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    (x,), (y,), spec = ins, outs, node.inputs[0].spec
    axes, keepdims = node.attrs["axis"], node.attrs["keepdims"]
    total = y
    if node.dtype != spec.dtype:  # integers and bools are added up as int64
        total = writer.scratch(Spec(node.shape, np.add.reduce(np.zeros(1, spec.dtype)).dtype))
    write_sum(writer, x, total, spec, axes, keepdims)
    count = prod([spec.shape[a] for a in axes])
    call(writer, np.true_divide, total, number(writer, count, node.dtype), y)


@rule("sum_to")
def _sum_to(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    (x,), (y,), spec, shape = ins, outs, node.inputs[0].spec, node.shape
    extra = spec.ndim - len(shape)
    inner = [i for i, n in enumerate(shape) if n == 1 and spec.shape[i + extra] != 1]
    axes = (*range(extra), *[i + extra for i in inner])
    if inner and extra:  # both to drop and to keep: without the kept ones `y` is a view
        y += f"[{', '.join(['0' if i in inner else ':' for i in range(len(shape))])}, ...]"
        write_fold(writer, np.add, x, y, axes, False)
    else:
        write_sum(writer, x, y, spec, axes, bool(inner))


@rule("count")
def _count(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    count = prod([node.inputs[0].shape[a] for a in node.attrs["axis"]])
    writer.line(f"{outs[0]}.fill({index(count)})")


@rule("norm", when=floating)
def _norm(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    (x,), (y,), spec = ins, outs, node.inputs[0].spec
    axes, keepdims = node.attrs["axis"], node.attrs["keepdims"]
    kept = Spec(_kept(spec.shape, axes), spec.dtype)
    scaled, unit = writer.scratch(spec), writer.scratch(kept)
    fits, finite = [writer.scratch(Spec(kept.shape, np.dtype(bool))) for _ in range(2)]
    zero, one = number(writer, 0, spec.dtype), number(writer, 1, spec.dtype)
    with quiet(writer, "under") as block:
        call(block, np.absolute, x, scaled)
        write_fold(block, np.maximum, scaled, unit, axes, True, initial="0")
        call(block, np.greater, unit, zero, fits)
        call(block, np.less, unit, number(block, np.inf, spec.dtype), finite)
        call(block, np.logical_and, fits, finite, fits)
        call(block, np.logical_not, fits, fits)
        call(block, np.copyto, unit, one, f"where={fits}")
        call(block, np.true_divide, x, unit, scaled)
        call(block, np.square, scaled, scaled)
        write_sum(block, scaled, y, spec, axes, keepdims)
        call(block, np.sqrt, y, y)
        call(block, np.multiply, reshaped(unit, kept.shape, node.shape), y, y)


# Where the largest is.


@rule("argmax", "argmin")
def _position(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    kept = ", keepdims=True" if node.attrs["keepdims"] else ""
    writer.line(f"{ins[0]}.{node.op.name}({_axes(node.attrs['axis'])}, {outs[0]}{kept})")


# Running sums and products.


@rule("cumsum", "cumprod")
def _cumulative(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    ufunc = np.add if node.op.name == "cumsum" else np.multiply
    axis = index(node.attrs["axis"])
    way = f"[{':, ' * axis}::-1]" if node.attrs["reverse"] else ""
    arguments = [f"{ins[0]}{way}", str(axis), "None", f"{outs[0]}{way}"]
    call(writer, ufunc.accumulate, *arguments, name=f"{ufunc.__name__}_accumulate")


# Softmax and its kin.


def _write_shift(writer: Writer, x: str, spec: Spec, axes: Shape) -> str:
    """Write the largest element of each row to a temporary array, and return its name."""
    largest = writer.scratch(Spec(_kept(spec.shape, axes), spec.dtype))
    nothing = 0 in [spec.shape[a] for a in axes]
    initial = number(writer, -np.inf, spec.dtype) if nothing else ""
    write_fold(writer, np.maximum, _safe(writer, x, spec), largest, axes, True, initial)
    return largest


def _write_log_sum(writer: Writer, shifted: str, spec: Spec, axes: Shape) -> str:
    """Write log(sum(exp(shifted))) as `softmax._log_sum` computes it, and return its name."""
    kept = Spec(_kept(spec.shape, axes), spec.dtype)
    e, others, tops = writer.scratch(spec), writer.scratch(kept), writer.scratch(kept)
    top = writer.scratch(Spec(spec.shape, np.dtype(bool)))
    call(writer, np.exp, shifted, e)
    call(writer, np.equal, shifted, number(writer, 0, spec.dtype), top)
    call(writer, np.subtract, e, top, e)
    write_sum(writer, e, others, spec, axes, True)
    write_fold(writer, np.add, top, tops, axes, True)
    call(writer, np.subtract, tops, number(writer, 1, spec.dtype), tops)
    call(writer, np.add, others, tops, others)
    call(writer, np.log1p, others, others)
    return others


@rule("softmax", when=floating)
def _softmax(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    (x,), (y,), axes = ins, outs, node.attrs["axis"]
    with quiet(writer, "under", "invalid") as block:
        row = _write_shift(block, x, node.spec, axes)
        call(block, np.subtract, x, row, y)
        call(block, np.exp, y, y)
        write_sum(block, y, row, node.spec, axes, True)
        call(block, np.true_divide, y, row, y)


@rule("log_softmax", when=floating)
def _log_softmax(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    (x,), (y,), axes = ins, outs, node.attrs["axis"]
    with quiet(writer, "under", "invalid", "divide") as block:
        call(block, np.subtract, x, _write_shift(block, x, node.spec, axes), y)
        call(block, np.subtract, y, _write_log_sum(block, y, node.spec, axes), y)


@rule("logsumexp", when=floating)
def _logsumexp(writer: Writer, outs: list[str], ins: list[str], node: Node) -> None:
    (x,), (y,), spec, axes = ins, outs, node.inputs[0].spec, node.attrs["axis"]
    kept = _kept(spec.shape, axes)
    lost = writer.scratch(Spec(kept, np.dtype(bool)))
    shifted = writer.scratch(spec)
    with quiet(writer, "under", "divide") as block:
        largest = _write_shift(block, x, spec, axes)
        call(block, np.isfinite, largest, lost)
        call(block, np.logical_not, lost, lost)
        call(block, np.copyto, largest, number(block, 0, spec.dtype), f"where={lost}")
        call(block, np.subtract, x, largest, shifted)
        log_sum = _write_log_sum(block, shifted, spec, axes)
        here = node.shape
        call(block, np.add, reshaped(log_sum, kept, here), reshaped(largest, kept, here), y)
