"""From a plan's instructions to machine code: one function for a run of them, loops included.

The function has one argument, a table of 64-bit numbers: addresses, sizes, strides, numbers of
steps. They are read while it runs, so other sizes and lengths are another table for the same code.
What is fixed in the code is how things lie: which axes are dense, and how many there are.

It returns 0; or, where a loop cannot go on, the number of an error; or -1, if Python is to raise
something (Ctrl-C): long loops let Python look at its signals now and then.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from autograd.execute.lower import Commit, Compute, Copy, Instruction, Repeat
from autograd.execute.native import elementwise, products, reductions, softmax
from autograd.execute.native.described import (
    all_of,
    expressed,
    identity,
    reduced_axes,
    seconds,
    work,
    written_by,
)
from autograd.execute.native.elementwise import DENSE, SPREAD, STRIDED, Array, Expression
from autograd.execute.native.ir import I8, I32, I64, PTR, VOID, Function, Module, Value
from autograd.execute.native.layout import (
    as_matrices,
    broadcast_strides,
    collapsed,
    inner,
    reduction_strides,
)
from autograd.execute.native.library import blas_for_large, code_of_products
from autograd.execute.native.rules import TYPES
from autograd.execute.native.share import MOST_PARTS, share
from autograd.execute.refs import Ref, whole
from autograd.execute.storage import aligned
from autograd.spec import Spec

POLITE = 1e-4
"""Seconds from which on a plan lets other threads of Python run meanwhile."""

NOTICE = 0.05
"""Seconds after which, about, a loop lets Python look at its signals."""

SHARED = 2**16
"""Kernels in loops that do so many simple operations are shared by threads."""

PART = 2**15
"""Simple operations of one part."""

_NEVER = -1


class Table:
    """The numbers a piece of native code reads, and what each one means."""

    def __init__(self) -> None:
        self.meanings: dict[Hashable, int] = {}
        self.numbers: list[int] = []

    def slot(self, meaning: Hashable, number: int) -> int:
        """Return the place of a number. What means the same has one place."""
        if meaning not in self.meanings:
            self.meanings[meaning] = len(self.numbers)
            self.numbers.append(number)
        return self.meanings[meaning]

    def array(self) -> np.ndarray[Any, Any]:
        """Return the table itself."""
        return np.array(self.numbers or [0], np.int64)


class Emitter:
    """Writes instructions into one function `run(table)`."""

    def __init__(self, module: Module, vector_bytes: int, address: Callable[[Ref], int]) -> None:
        self.module = module
        self.f: Function = module.function("run", I64, [PTR])
        self.base = self.f.arguments[0]
        self.vector_bytes = vector_bytes
        self.address = address
        self.table = Table()
        self.steps: dict[int, Value] = {}
        """The step each loop that is open stands at."""
        self.packed: dict[Ref, tuple[Value, Value]] = {}
        """For right factors that loops read again and again: whether they are packed, and where."""
        self.held: list[Any] = []
        """Memory of its own."""
        self.errors: list[Callable[[int], Any]] = []
        """What raises the error of each number, given a number the code leaves in its table."""
        self.parts = 0
        """How many kernels there are of which threads compute parts."""
        self.state = self.f.variable(Value(self.f, PTR, "null"))

    def write(self, code: Sequence[Instruction], blocks: Any = None) -> Any:
        """Write the function; return its table."""
        self.polite = self.number("polite", sum(map(seconds, code)) > POLITE)
        self.number("desk", 0)
        self.number("told", 0)
        with self.f.when(self.polite.differs(0)):
            self.state.value = self._python("PyEval_SaveThread", PTR)
        self.emit(code, blocks)
        self._give(0)
        return self.table.array()

    # Python.

    def _python(self, name: str, result: Any, *arguments: Value) -> Value:
        """Call a function of Python's C interface."""
        function: Any = getattr(ctypes.pythonapi, name)
        address = ctypes.cast(function, ctypes.c_void_p).value or 0
        place = self.f.cast("inttoptr", self.number(name, address), PTR)
        return self.f.call_address(result, place, *arguments)

    def _give(self, status: int) -> None:
        with self.f.when(self.polite.differs(0)):
            self._python("PyEval_RestoreThread", VOID, self.state.value)
        self.f.give(self.f.constant(I64, status))

    def _stop(self, told: Value, error: Callable[[int], Any]) -> None:
        """Leave the function with an error, as the last thing in a `when`."""
        self.errors.append(error)
        self.f.store(told, self.base, self.table.slot("told", 0))
        self._give(len(self.errors))
        self.f.unreached()

    def _look_at_signals(self, instruction: Repeat, t: Value) -> None:
        """Every so many steps of a long loop, let Python look whether it is to stop."""
        step = sum(map(seconds, instruction.body))
        length = float("inf") if instruction.length is None else instruction.length
        every = 1 << max(0, int(NOTICE / step).bit_length() - 1)
        mask = every - 1 if step * length > NOTICE else _NEVER
        mask_now = self.number(("look", instruction.loop), mask)
        with self.f.when((t & mask_now).equals(mask_now)):
            self._python("PyEval_RestoreThread", VOID, self.state.value)
            raised = self._python("PyErr_CheckSignals", I32)
            with self.f.when(raised.differs(0)):
                self.f.leave(self.f.constant(I64, -1))
            self.state.value = self._python("PyEval_SaveThread", PTR)

    # Numbers and places.

    def memory(self, spec: Spec) -> Ref:
        """Return a place for an array, in memory of its own."""
        self.held.append(aligned(spec.nbytes))
        return whole(-len(self.held), spec)

    def number(self, meaning: Hashable, number: int) -> Value:
        """Return a number of the table as it is when the code runs."""
        return self.f.load_fixed(I64, self.base, self.table.slot(meaning, int(number)))

    def pointer(self, ref: Ref) -> Value:
        """Return the address of the first element at `ref` in the steps the loops stand at."""
        own = ref.buffer < 0
        address = self.held[-ref.buffer - 1].ctypes.data if own else self.address(ref)
        place = self.number(("address", ref), address)
        size = ref.dtype.itemsize
        for loop, stride in ref.steps:
            place = place + self.steps[loop] * self.number(("step", ref, loop), stride * size)
        return self.f.cast("inttoptr", place, PTR)

    def desk(self) -> Value:
        """Return where threads meet, or null if there is one."""
        return self.f.cast("inttoptr", self.number("desk", 0), PTR)

    @contextmanager
    def divided(
        self, key: Hashable, refs: Sequence[Ref], length: int, simple: int, grain: int = 1
    ) -> Iterator[tuple[Callable[[Ref], Value], Value, Value]]:
        """Write the block as a kernel for a part of an axis of `length`, shared if that pays.

        It gives what tells the address of each of `refs`, where the part begins, and its length.
        `simple` is how many simple operations there are in all, `grain` what lengths of parts are
        multiples of.
        """
        if self.steps and simple < SHARED:
            yield self.pointer, self.f.constant(I64, 0), self.number((key, "length"), length)
            return
        parts = min(max(1, simple // PART), MOST_PARTS)
        each = -(-max(length, 1) // parts)
        each = -(-each // grain) * grain
        count = self.number((key, "parts"), -(-length // each))
        outer, base = self.f, self.base
        self.parts += 1
        name = f"part{self.parts}"
        frame = outer.local(PTR, len(refs) + 1)
        for i, pointer in enumerate([base, *[self.pointer(ref) for ref in refs]]):
            outer.store(pointer, frame, i)
        share(outer, self.desk(), name, frame, count)
        self.f = part = self.module.function(name, VOID, (PTR, I64), internal=True)
        self.base = part.load(PTR, part.arguments[0], 0)
        places = {ref: part.load(PTR, part.arguments[0], i + 1) for i, ref in enumerate(refs)}
        step = self.number((key, "each"), each)
        start = part.arguments[1] * step
        rest = self.number((key, "length"), length) - start
        yield places.__getitem__, start, (rest < step).where(rest, step)
        part.give()
        self.f, self.base = outer, base

    # Instructions.

    def emit(self, code: Sequence[Instruction], blocks: Any = None) -> None:
        """Write instructions; each is one that `refusal` says nothing against."""
        for instruction in code:
            if isinstance(instruction, Compute):
                self._compute(instruction)
            elif isinstance(instruction, Copy):
                self._elementwise(identity(instruction), [instruction.source], [instruction.out])
            elif isinstance(instruction, Repeat):
                self._repeat(instruction, blocks)
            elif isinstance(instruction, Commit):
                self._commit(*blocks)

    def _repeat(self, instruction: Repeat, blocks: Any) -> None:
        """Write a loop. Its number of steps is in the table, or data."""
        most = 2**62 if instruction.length is None else instruction.length
        length = self.number(("steps", instruction.loop), most)
        count, going, error = instruction.count, instruction.going, instruction.still_going
        if count is not None and instruction.checked_count is not None:
            length = self._counted(count, instruction.checked_count, length)
        outside = dict(self.packed)
        self._pack(instruction)
        goes_on = None if going is None else partial(self._is_true, going)
        with self.f.range(length, going=goes_on) as t:
            self.steps[instruction.loop] = (length - 1) - t if instruction.reverse else t
            self.emit(instruction.body, blocks)
            self._look_at_signals(instruction, t)
        del self.steps[instruction.loop]
        self.packed = outside
        if error is not None and going is not None:
            with self.f.when(self._is_true(going)):
                self._stop(length, partial(_raise, error))

    def _counted(self, ref: Ref, check: Callable[[int], int], most: Value) -> Value:
        """Return the number of steps of a loop that is told how many."""
        count = self.f.load(TYPES[ref.dtype.name], self.pointer(ref)).to(I64)
        with self.f.when((count < 0) | (count > most)):
            self._stop(count, check)
        return count

    def _is_true(self, ref: Ref) -> Value:
        return self.f.load(I8, self.pointer(ref)).differs(0)

    def _pack(self, instruction: Repeat) -> None:
        """Lay out right factors that all steps of a loop read, so that products are fastest."""
        written = {ref.buffer for inside in all_of(instruction.body) for ref in written_by(inside)}
        for inside in instruction.body:
            if not (isinstance(inside, Compute) and inside.node.op.name == "matmul"):
                continue
            _, b, out = as_matrices(inside.ins[0], inside.ins[1], inside.outs[0])
            moves = any([loop == instruction.loop for loop, _ in b.steps])
            if moves or b.spec.ndim > 2 or b in self.packed or b.buffer in written:
                continue
            self._pack_one(b, out)

    def _pack_one(self, b: Ref, out: Ref, rows: int = 0) -> None:
        """Lay out a right factor if its products are ours and have at least so many `rows`."""
        key = ("packed", b, out, rows)
        dtype = b.dtype.name
        (k, n), m = b.shape, out.shape[-2]
        sizes = [self.number((*key, i), size) for i, size in enumerate((m, n, k))]
        by_blas = blas_for_large() is not None
        most = products.SMALL if by_blas else 2**62
        pays = m >= rows and m * n * k <= most
        ours = (sizes[0] >= rows) & (sizes[0] * sizes[1] * sizes[2] <= most)
        size = products.packed_size(k, n, dtype, self.vector_bytes) if pays else 0
        place = self.pointer(self.memory(Spec((size,), b.dtype)))
        source = self.pointer(b)
        with self.f.when(ours):
            lead = self._lead(key, b)
            pack = self._function(dtype, products.pack_name(dtype))
            self.f.call_address(VOID, pack, source, *lead, sizes[2], sizes[1], place)
        self.packed[b] = (ours, place)

    def _function(self, dtype: str, name: str) -> Value:
        """Return the address of a function of the library."""
        return self.f.cast(
            "inttoptr", self.number(name, code_of_products(dtype).address(name)), PTR
        )

    def _lead(self, key: Hashable, ref: Ref) -> list[Value]:
        """Return the strides of a matrix, as products want them where an axis has length 1."""
        (rows, columns), (row, column) = ref.shape[-2:], ref.strides[-2:]
        column = 1 if columns == 1 else column
        if rows == 1:
            row = columns if column == 1 else 1
        return [self.number(("lead", key, i), s) for i, s in enumerate((row, column))]

    def _commit(self, now: Any, following: Any) -> None:
        """Copy the next values over the present ones. Float64 moves all bits as they are."""
        places = [
            self.f.cast("inttoptr", self.number(("commit", i), x.ctypes.data), PTR)
            for i, x in enumerate((following, now))
        ]
        one = self.number("one", 1)
        arrays = [Array("float64", DENSE, place, [one]) for place in places]
        size = self.number("committed", now.nbytes // 8)
        copy = Expression(("float64",), (), (0,))
        elementwise.emit(self.f, [size], copy, arrays[:1], arrays[1:], self.vector_bytes)

    def _compute(self, instruction: Compute) -> None:
        node = instruction.node
        if node.op.name == "matmul":
            self._product(instruction)
        elif node.op.name in softmax.OPS:
            self._softmax(instruction)
        elif reduced_axes(node) is not None:
            self._reduce(instruction)
        else:
            expression, ins = expressed(node, instruction.ins)
            self._elementwise(expression, ins, instruction.outs)

    def _elementwise(self, expression: Expression, ins: Sequence[Ref], outs: Sequence[Ref]) -> None:
        shape = outs[0].shape
        refs = (*ins, *outs)
        sizes, moves = collapsed(shape, [broadcast_strides(ref, shape) for ref in refs])
        key = ("elementwise", refs, len(sizes))
        grain = 64 if len(sizes) == 1 else 1
        with self.divided(key, refs, sizes[0], work(expression) * prod(shape), grain) as part:
            arrays = [
                self._array((key, i), ref, move, sizes[-1], part[0], part[1])
                for i, (ref, move) in enumerate(zip(refs, moves, strict=True))
            ]
            lengths = [
                part[2],
                *[self.number((key, "size", i), n) for i, n in enumerate(sizes)][1:],
            ]
            ends = arrays[: len(ins)], arrays[len(ins) :]
            elementwise.emit(self.f, lengths, expression, *ends, self.vector_bytes)

    def _array(
        self,
        key: Hashable,
        ref: Ref,
        strides: Sequence[int],
        last: int,
        address: Callable[[Ref], Value],
        start: Value | None = None,
        axis: int = 0,
    ) -> Array:
        """Return an array for a nest of loops, from `start` on along an axis.

        `last` is the length of its last axis.
        """
        moves = [self.number((key, "stride", i), s) for i, s in enumerate(strides)]
        array = Array(ref.dtype.name, inner(last, strides[-1]), address(ref), moves)
        if start is None:
            return array
        place = self.f.at(array.stored, array.pointer, start * moves[axis])
        return Array(array.dtype, array.inner, place, moves)

    def _reduce(self, instruction: Compute) -> None:
        """Write a sum, mean or extreme over some axes."""
        node, x, out = instruction.node, instruction.ins[0], instruction.outs[0]
        axes = reduced_axes(node) or ()
        reduced, kept = reduction_strides(x, out, axes)
        inside = reduced.strides[0][-1] == 1 or kept.sizes[-1] == 1
        key = ("reduce", x, out, inside, len(reduced.sizes), len(kept.sizes))
        op = "sum" if node.op.name == "sum_to" else node.op.name
        expression = Expression((x.dtype.name,), (), (0,))
        axis = 0 if inside else len(kept.sizes) - 1
        grain = 1 if inside else 64
        parts = self.divided(key, (x, out), kept.sizes[axis], 2 * x.spec.size, grain)
        with parts as (address, start, length):
            over = [self.number((key, "over", i), n) for i, n in enumerate(reduced.sizes)]
            stays = [self.number((key, "kept", i), n) for i, n in enumerate(kept.sizes)]
            stays[axis] = length
            groups = (kept, reduced) if inside else (reduced, kept)
            moves = [s for group in groups for s in group.strides[0]]
            at = axis if inside else len(moves) - 1
            source = self._array((key, "x"), x, moves, groups[1].sizes[-1], address, start, at)
            to = kept.strides[1]
            result = self._array((key, "out"), out, to, kept.sizes[-1], address, start, axis)
            if inside:
                result = replace(result, inner=DENSE)
                reductions.emit_inner(
                    self.f, stays, over, op, expression, [source], result, self.vector_bytes
                )
            else:
                reductions.emit_outer(
                    self.f, over, stays, op, expression, [source], result, self.vector_bytes
                )

    def _softmax(self, instruction: Compute) -> None:
        """Write a softmax over the last axis, or one of its kind."""
        node, x, out = instruction.node, instruction.ins[0], instruction.outs[0]
        gone = node.op.name == "logsumexp"
        rows = x.shape[:-1]
        to = broadcast_strides(out, out.shape)
        to = to[: len(rows)] if gone else to
        kept = [1, *rows]
        sizes, (of_x, of_out) = collapsed(kept, [[0, *x.strides[:-1]], [0, *to[: len(rows)]]])
        key = ("softmax", x, out, len(sizes))
        simple = 30 * x.spec.size
        with self.divided(key, (x, out), sizes[0], simple) as (address, start, length):
            stays = [length, *[self.number((key, "kept", i), n) for i, n in enumerate(sizes)][1:]]
            last = x.shape[-1]
            moves = [*of_x, x.strides[-1] if last > 1 else 1]
            source = self._array((key, "x"), x, moves, last, address, start)
            ends = of_out if gone else [*of_out, out.strides[-1] if last > 1 else 1]
            result = self._array((key, "out"), out, ends, 1 if gone else last, address, start)
            if source.inner == SPREAD:
                source = replace(source, inner=STRIDED)
            count = self.number((key, "row"), last)
            softmax.emit(self.f, stays, count, node.op.name, source, result, self.vector_bytes)

    def _product(self, instruction: Compute) -> None:
        """Write a matrix product, one for each matrix of a stack of them."""
        a, b, out = as_matrices(instruction.ins[0], instruction.ins[1], instruction.outs[0])
        apart = out.shape[-1] != 1 and out.strides[-1] != 1
        target, out = out, self.memory(out.spec) if apart else out
        batch = out.shape[:-2]
        if not self.steps and b.spec.ndim == 2 and b not in self.packed:
            self._pack_one(b, out, products.MANY_ROWS)
        (m, n), k = out.shape[-2:], a.shape[-1]
        key = (a, b, out)
        sizes = [self.number(("product", key, i), size) for i, size in enumerate((m, n, k))]
        sides = [broadcast_strides(ref, (*batch, *ref.shape[-2:])) for ref in key]
        dims, moves = collapsed(batch, [side[:-2] for side in sides]) if batch else ([], [[]] * 3)
        lengths = [self.number(("batch", key, i), size) for i, size in enumerate(dims)]
        pointers = [self.pointer(ref) for ref in key]
        self._products(key, sizes, lengths, moves, pointers)
        if not self.steps:
            self.packed.pop(b, None)
        if apart:
            self._elementwise(Expression((out.dtype.name,), (), (0,)), [out], [target])

    def _products(
        self,
        key: Sequence[Ref],
        sizes: Sequence[Value],
        lengths: Sequence[Value],
        moves: Sequence[Sequence[int]],
        pointers: Sequence[Value],
    ) -> None:
        """Write loops over the axes of a stack, and in them the products."""
        if not lengths:
            self._one_product(key, sizes, pointers)
            return
        depth = len(lengths)
        with self.f.range(lengths[0]) as i:
            moved = []
            for r, (pointer, move, ref) in enumerate(zip(pointers, moves, key, strict=True)):
                step = self.number(("batch step", tuple(key), r, depth), move[0])
                moved.append(self.f.at(TYPES[ref.dtype.name], pointer, i * step))
            self._products(key, sizes, lengths[1:], [move[1:] for move in moves], moved)

    def _one_product(
        self, key: Sequence[Ref], sizes: Sequence[Value], pointers: Sequence[Value]
    ) -> None:
        a, b, out = [
            (pointer, *self._lead(("product", ref), ref))
            for pointer, ref in zip(pointers, key, strict=True)
        ]
        dtype = key[0].dtype.name
        packed = self.packed.get(key[1])
        if packed is None:
            self._multiply(dtype, [*a, *b, *out, *sizes])
            return
        small, place = packed
        no = self.f.constant(I64, 0)
        with self.f.when(small):
            function = self._function(dtype, products.packed_name(dtype))
            operands = (*a, place, out[0], out[1], *sizes, no, self.desk())
            self.f.call_address(VOID, function, *operands)
        if not self.steps or blas_for_large() is not None:
            with self.f.unless(small):
                self._multiply(dtype, [*a, *b, *out, *sizes])

    def _multiply(self, dtype: str, arguments: Sequence[Value]) -> None:
        """Call the function for products of any size."""
        blas = blas_for_large()
        gemm = self.number(("gemm", dtype), blas.gemm(dtype) if blas else 0)
        no = self.f.constant(I64, 0)
        function = self._function(dtype, products.name(dtype))
        place = self.f.cast("inttoptr", gemm, PTR)
        self.f.call_address(VOID, function, *arguments, no, place, self.desk())


def _raise(error: Callable[[], Exception], _: int) -> None:
    raise error()
