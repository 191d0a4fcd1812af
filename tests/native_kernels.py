"""Runs single kernels of `autograd.execute.native` on NumPy arrays, as tests want them."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from autograd.execute.native import elementwise, reductions, softmax
from autograd.execute.native.compiler import compiled, machine
from autograd.execute.native.elementwise import DENSE, SPREAD, STRIDED, Array, Expression, Step
from autograd.execute.native.ir import I64, PTR, VOID, Function, Value

WIDTHS = (16, 32, 64)


def expression(operands: Sequence[np.ndarray], *steps: tuple, **named: Any) -> Expression:
    """Return the expression of `steps`, each (op, arguments, dtype) or with attrs as well."""
    made = tuple(Step(op, tuple(i), dtype, *rest) for op, i, dtype, *rest in steps)
    last = len(operands) + len(made) - 1
    dtypes = tuple(str(x.dtype) for x in operands)
    return Expression(dtypes, made, named.get("results", (last,)))


def inner(array: np.ndarray) -> str:
    """Return how the last axis of an array lies."""
    step = array.strides[-1] // array.itemsize
    return {0: SPREAD, 1: DENSE}.get(step, STRIDED)


def table_of(sizes: Sequence[int], arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return sizes, then each array's address and strides in elements, as a kernel reads them."""
    numbers = list(sizes)
    for x in arrays:
        numbers += [x.ctypes.data, *(s // x.itemsize for s in x.strides)]
    return np.array(numbers, np.int64)


class Table:
    """Reads what `table_of` wrote, in a kernel."""

    def __init__(self, f: Function) -> None:
        self.f = f
        self.slot = 0

    def number(self) -> Value:
        value = self.f.load(I64, self.f.arguments[0], self.slot)
        self.slot += 1
        return value

    def array(self, x: np.ndarray, how: str) -> Array:
        pointer = self.f.cast("inttoptr", self.number(), PTR)
        return Array(str(x.dtype), how, pointer, [self.number() for _ in x.shape])


def run(write: Any, table: np.ndarray) -> None:
    """Compile the function that `write(f, table)` writes, and run it on a table."""
    module = machine().module()
    f = module.function("kernel", VOID, [PTR])
    write(f, Table(f))
    f.give()
    compiled(module).function("kernel", ctypes.c_void_p)(table.ctypes.data)


def mapped(
    e: Expression, operands: Sequence[np.ndarray], results: Sequence[np.ndarray], width: int = 0
) -> None:
    """Compute an elementwise expression into `results`, which all have the shape of the loops."""
    shape = results[0].shape
    spread = [np.broadcast_to(x, shape) for x in operands]
    arrays = [*spread, *results]

    def write(f: Function, table: Table) -> None:
        sizes = [table.number() for _ in shape]
        hows = [
            *map(inner, spread),
            *(h if (h := inner(r)) != SPREAD else STRIDED for r in results),
        ]
        read = [table.array(x, how) for x, how in zip(arrays, hows, strict=True)]
        count = len(operands)
        wide = width or machine().vector_bytes
        elementwise.emit(f, sizes, e, read[:count], read[count:], wide)

    run(write, table_of(shape, arrays))


def reduced(
    op: str, e: Expression, operands: Sequence[np.ndarray], axes: int, over: str, width: int = 0
) -> np.ndarray:
    """Reduce an expression over its first (`over="outer"`) or last axes; return the result."""
    shape = np.broadcast_shapes(*(x.shape for x in operands))
    spread = [np.broadcast_to(x, shape) for x in operands]
    kept = shape[axes:] if over == "outer" else shape[: len(shape) - axes]
    result = np.full(kept, np.nan, e.dtype(e.results[0]))

    def write(f: Function, table: Table) -> None:
        sizes = [table.number() for _ in shape]
        read = [table.array(x, inner(x)) for x in spread]
        place = table.array(result, DENSE)
        wide = width or machine().vector_bytes
        if over == "outer":
            reductions.emit_outer(f, sizes[:axes], sizes[axes:], op, e, read, place, wide)
        else:
            cut = len(shape) - axes
            reductions.emit_inner(f, sizes[:cut], sizes[cut:], op, e, read, place, wide)

    run(write, table_of(shape, [*spread, result]))
    return result


def of_rows(op: str, x: np.ndarray, width: int = 0) -> np.ndarray:
    """Return softmax, log_softmax or logsumexp over the last axis."""
    result = np.empty(x.shape[:-1] if op == "logsumexp" else x.shape, x.dtype)

    def write(f: Function, table: Table) -> None:
        *kept, length = [table.number() for _ in x.shape]
        row = table.array(x, inner(x) if x.shape[-1] > 1 else DENSE)
        place = table.array(result, DENSE)
        softmax.emit(f, kept, length, op, row, place, width or machine().vector_bytes)

    run(write, table_of(x.shape, [x, result]))
    return result
