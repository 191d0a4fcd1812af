"""From a plan's instructions to machine code: one function for a run of them, loops included.

The function has one argument, a table of 64-bit numbers: addresses, sizes, strides, numbers of
steps. They are read while it runs, so other sizes and lengths are another table for the same code.
What is fixed in the code is how things lie: which axes are dense, and how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from autograd.execute.lower import Call, Commit, Compute, Copy, Instruction, Repeat
from autograd.execute.native import elementwise, products, reductions, rules
from autograd.execute.native.blas import Blas
from autograd.execute.native.elementwise import DENSE, SPREAD, STRIDED, Array, Expression, Step
from autograd.execute.native.ir import I64, PTR, VOID, Function, Module, Value
from autograd.execute.refs import Ref
from autograd.execute.storage import aligned
from autograd.node import Node
from autograd.spec import Spec


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

    def __init__(
        self,
        module: Module,
        vector_bytes: int,
        address: Callable[[Ref], int],
        blas: Blas | None,
    ) -> None:
        self.module = module
        self.f: Function = module.function("run", VOID, [PTR])
        self.base = self.f.arguments[0]
        self.vector_bytes = vector_bytes
        self.address = address
        self.blas = blas
        self.table = Table()
        self.steps: dict[int, Value] = {}
        """The step each loop that is open stands at."""
        self.packed: dict[Ref, tuple[Value, Value]] = {}
        """For right factors that loops read again and again: whether they are packed, and where."""
        self.room = 0
        """Bytes that products need for copies."""
        self.held: list[Any] = []
        """Memory of its own."""

    def finish(self) -> Any:
        """End the function, and return the table."""
        self.f.give()
        if self.room:
            scratch = self._memory(self.room)
            self.table.numbers[self.table.meanings["scratch"]] = scratch.ctypes.data
        return self.table.array()

    def _memory(self, size: int) -> Any:
        block = aligned(size)
        self.held.append(block)
        return block

    # Numbers and places.

    def number(self, meaning: Hashable, number: int) -> Value:
        """Return a number of the table as it is when the code runs."""
        return self.f.load_fixed(I64, self.base, self.table.slot(meaning, number))

    def pointer(self, ref: Ref) -> Value:
        """Return the address of the first element at `ref` in the steps the loops stand at."""
        place = self.number(("address", ref), self.address(ref))
        size = ref.dtype.itemsize
        for loop, stride in ref.steps:
            place = place + self.steps[loop] * self.number(("step", ref, loop), stride * size)
        return self.f.cast("inttoptr", place, PTR)

    def arrays(
        self, shape: tuple[int, ...], refs: Sequence[Ref], strides: Sequence[Sequence[int]]
    ) -> tuple[list[Value], list[Array]]:
        """Return sizes and arrays for a nest of loops over `shape`, of as few axes as will do."""
        sizes, moves = collapsed(shape, strides)
        inner = [_inner(sizes[-1], move[-1]) for move in moves]
        key = (tuple(refs), len(sizes))
        dims = [self.number(("size", key, i), n) for i, n in enumerate(sizes)]
        arrays = [
            Array(
                ref.dtype.name,
                how,
                self.pointer(ref),
                [self.number(("stride", key, k, i), s) for i, s in enumerate(move)],
            )
            for k, (ref, how, move) in enumerate(zip(refs, inner, moves, strict=True))
        ]
        return dims, arrays

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
        """Write a loop. Its number of steps is in the table."""
        length = self.number(("steps", instruction.loop), instruction.length or 0)
        outside = dict(self.packed)
        self._pack(instruction)
        with self.f.range(length) as t:
            self.steps[instruction.loop] = (length - 1) - t if instruction.reverse else t
            self.emit(instruction.body, blocks)
        del self.steps[instruction.loop]
        self.packed = outside

    def _pack(self, instruction: Repeat) -> None:
        """Lay out right factors that all steps of a loop read, so that products are fastest.

        For small products only: BLAS packs for itself.
        """
        written = {ref.buffer for inside in all_of(instruction.body) for ref in written_by(inside)}
        for inside in instruction.body:
            if not (isinstance(inside, Compute) and inside.node.op.name == "matmul"):
                continue
            _, b, out = as_matrices(inside.ins[0], inside.ins[1], inside.outs[0])
            moves = any([loop == instruction.loop for loop, _ in b.steps])
            if moves or b.spec.ndim > 2 or b in self.packed or b.buffer in written:
                continue
            self._pack_one(b, out)

    def _pack_one(self, b: Ref, out: Ref) -> None:
        key = ("packed", b, out)
        dtype = b.dtype.name
        if not self.module.has(products.packed_name(dtype)):
            products.write_packed(self.module, dtype, self.vector_bytes)
        (k, n), m = b.shape, out.shape[-2]
        sizes = [self.number((*key, i), size) for i, size in enumerate((m, n, k))]
        small = sizes[0] * sizes[1] * sizes[2] <= products.SMALL
        room = products.packed_size(k, n, dtype, self.vector_bytes) * b.dtype.itemsize
        copy = self._memory(room if m * n * k <= products.SMALL else 0)
        place = self.f.cast("inttoptr", self.number((*key, "copy"), copy.ctypes.data), PTR)
        source = self.pointer(b)
        with self.f.when(small):
            lead = self._lead(key, b)
            self.f.call(VOID, products.pack_name(dtype), source, *lead, sizes[2], sizes[1], place)
        self.packed[b] = (small, place)

    def _need_products(self, dtype: str) -> None:
        if not self.module.has(products.name(dtype)):
            products.write(self.module, dtype, self.vector_bytes, self.blas)

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
        elif reduced_axes(node) is not None:
            self._reduce(instruction)
        else:
            expression, ins = expressed(node, instruction.ins)
            self._elementwise(expression, ins, instruction.outs)

    def _elementwise(self, expression: Expression, ins: Sequence[Ref], outs: Sequence[Ref]) -> None:
        shape = outs[0].shape
        strides = [broadcast_strides(ref, shape) for ref in (*ins, *outs)]
        sizes, arrays = self.arrays(shape, [*ins, *outs], strides)
        count = len(ins)
        elementwise.emit(
            self.f, sizes, expression, arrays[:count], arrays[count:], self.vector_bytes
        )

    def _reduce(self, instruction: Compute) -> None:
        """Write a sum, mean or extreme over some axes."""
        node, x, out = instruction.node, instruction.ins[0], instruction.outs[0]
        axes = reduced_axes(node) or ()
        kept = [i for i in range(x.spec.ndim) if i not in axes]
        over = collapsed([x.shape[i] for i in axes], [[x.strides[i] for i in axes]])
        rest = [x.strides[i] for i in kept]
        to = [out.strides[-len(kept) + k] for k in range(len(kept))] if kept else []
        if kept and len(out.shape) != len(kept):  # keepdims
            to = [out.strides[i] for i in kept]
        left = collapsed([x.shape[i] for i in kept], [rest, to])
        inner = not kept or over[1][0][-1] == 1 or left[0][-1] == 1
        reduced = [self.number(("reduced", x, i), n) for i, n in enumerate(over[0])]
        stays = [self.number(("kept", x, out, i), n) for i, n in enumerate(left[0])]
        moves = [*left[1][0], *over[1][0]] if inner else [*over[1][0], *left[1][0]]
        size = over[0][-1] if inner else left[0][-1]
        source = Array(
            x.dtype.name,
            _inner(size, moves[-1]),
            self.pointer(x),
            [self.number(("move", x, out, inner, i), s) for i, s in enumerate(moves)],
        )
        result = Array(
            out.dtype.name,
            DENSE if inner else _inner(left[0][-1], left[1][1][-1]),
            self.pointer(out),
            [self.number(("to", x, out, i), s) for i, s in enumerate(left[1][1])],
        )
        copy = Expression((x.dtype.name,), (), (0,))
        op = "sum" if node.op.name == "sum_to" else node.op.name
        write = reductions.emit_inner if inner else reductions.emit_outer
        first, second = (stays, reduced) if inner else (reduced, stays)
        write(self.f, first, second, op, copy, [source], result, self.vector_bytes)

    def _product(self, instruction: Compute) -> None:
        """Write a matrix product, one for each matrix of a stack of them."""
        a, b = instruction.ins
        out = instruction.outs[0]
        a, b, out = as_matrices(a, b, out)
        batch = out.shape[:-2]
        (m, n), k = out.shape[-2:], a.shape[-1]
        key = (a, b, out)
        sizes = [self.number(("product", key, i), size) for i, size in enumerate((m, n, k))]
        sides = [broadcast_strides(ref, (*batch, *ref.shape[-2:])) for ref in key]
        dims, moves = collapsed(batch, [side[:-2] for side in sides]) if batch else ([], [[]] * 3)
        lengths = [self.number(("batch", key, i), size) for i, size in enumerate(dims)]
        pointers = [self.pointer(ref) for ref in key]
        self._products(key, sizes, sides, lengths, moves, pointers)

    def _products(
        self,
        key: Sequence[Ref],
        sizes: Sequence[Value],
        sides: Sequence[Sequence[int]],
        lengths: Sequence[Value],
        moves: Sequence[Sequence[int]],
        pointers: Sequence[Value],
    ) -> None:
        if lengths:
            with self.f.range(lengths[0]) as i:
                depth = len(lengths)
                moved = [
                    self.f.cast(
                        "inttoptr",
                        self.f.cast("ptrtoint", pointer, I64)
                        + i
                        * self.number(
                            ("batch step", tuple(key), r, depth), move[0] * ref.dtype.itemsize
                        ),
                        PTR,
                    )
                    for r, (pointer, move, ref) in enumerate(zip(pointers, moves, key, strict=True))
                ]
                rest = [move[1:] for move in moves]
                self._products(key, sizes, sides, lengths[1:], rest, moved)
            return
        a, b, out = [
            (pointer, *self._lead(("product", ref), ref))
            for pointer, ref in zip(pointers, key, strict=True)
        ]
        dtype = key[0].dtype.name
        packed = self.packed.get(key[1])
        if packed is None:
            self._multiply(key[1], [*a, *b, *out, *sizes])
            return
        small, place = packed
        no = self.f.constant(I64, 0)
        with self.f.when(small):
            name = products.packed_name(dtype)
            self.f.call(VOID, name, *a, place, out[0], out[1], *sizes, no)
        with self.f.unless(small):
            self._multiply(key[1], [*a, *b, *out, *sizes])

    def _multiply(self, right: Ref, arguments: Sequence[Value]) -> None:
        """Call the function for products of any size."""
        dtype = right.dtype.name
        self._need_products(dtype)
        if right.strides[-1] != 1 and right.shape[-1] != 1:
            self.room = max(self.room, right.shape[-1] * right.shape[-2] * right.dtype.itemsize)
        scratch = self.number("scratch", 0)
        gemm = self.number(("gemm", dtype), self.blas.gemm(dtype) if self.blas else 0)
        no = self.f.constant(I64, 0)
        places = [self.f.cast("inttoptr", number, PTR) for number in (scratch, gemm)]
        self.f.call(VOID, products.name(dtype), *arguments, no, *places)


def refusal(instruction: Instruction) -> str:
    """Say why an instruction has no native form, or return ""."""
    if isinstance(instruction, Call):
        return instruction.why
    if isinstance(instruction, Commit):
        return ""
    if isinstance(instruction, Copy):
        return identity(instruction).missing()
    if isinstance(instruction, Repeat):
        if instruction.length is None or instruction.count is not None or instruction.going:
            return "the number of its steps is data"
        for inside in instruction.body:
            reason = refusal(inside)
            if reason:
                return reason
        return ""
    return _refused(instruction)


def _refused(instruction: Compute) -> str:
    node = instruction.node
    dtypes = {ref.dtype.name for ref in (*instruction.ins, *instruction.outs)}
    if node.op.name == "matmul":
        out = as_matrices(instruction.ins[0], instruction.ins[1], instruction.outs[0])[2]
        if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
            return f"op 'matmul' has no native form for {', '.join(sorted(dtypes))}"
        apart = out.shape[-1] != 1 and out.strides[-1] != 1
        return "the columns of a product lie apart" if apart else ""
    if node.op.name in ("sum", "mean", "max", "min", "sum_to"):
        if reduced_axes(node) is None or len(dtypes) > 1:
            return f"op '{node.op.name}' has no native form for {', '.join(sorted(dtypes))}"
        op = "sum" if node.op.name == "sum_to" else node.op.name
        return reductions.missing(op, node.dtype.name)
    if node.op.multiple and node.op.name != "fused":
        return f"op '{node.op.name}' has no native rule"
    return expressed(node, instruction.ins)[0].missing()


def all_of(code: Sequence[Instruction]) -> Iterator[Instruction]:
    """Yield instructions and those in their bodies."""
    for instruction in code:
        yield instruction
        if isinstance(instruction, Repeat):
            yield from all_of(instruction.body)


def written_by(instruction: Instruction) -> Sequence[Ref]:
    """Return where an instruction itself writes."""
    if isinstance(instruction, Compute):
        return instruction.outs
    return (instruction.out,) if isinstance(instruction, Copy) else ()


def has_form(node: Node) -> bool:
    """Whether there is native code for an elementwise node."""
    attrs, arguments = node.attrs, node.inputs
    if node.op.name == "power" and _scalar(arguments[1]):
        attrs, arguments = {"exponent": float(arguments[1]._value)}, arguments[:1]
    dtypes = [x.dtype.name for x in arguments]
    return not rules.missing(node.op.name, dtypes, node.dtype.name, attrs)


def identity(copy: Copy) -> Expression:
    """Return the expression of a copy."""
    same = copy.source.dtype == copy.out.dtype
    steps = () if same else (Step("astype", (0,), copy.out.dtype.name, {}),)
    return Expression((copy.source.dtype.name,), steps, (len(steps),))


def expressed(node: Node, ins: Sequence[Ref]) -> tuple[Expression, list[Ref]]:
    """Return what an elementwise or fused node computes, and of what.

    An exponent that is a constant is part of the expression.
    """
    if node.op.name == "fused":
        return _fused(node, ins)
    refs, attrs = list(ins), node.attrs
    if node.op.name == "power" and _scalar(node.inputs[1]):
        refs, attrs = refs[:1], {"exponent": float(node.inputs[1]._value)}
    step = Step(node.op.name, tuple(range(len(refs))), node.dtype.name, attrs)
    operands = tuple([ref.dtype.name for ref in refs])
    return Expression(operands, (step,), (len(refs),)), refs


def _scalar(node: Node) -> bool:
    return node.op.name == "constant" and node.shape == ()


def _fused(node: Node, ins: Sequence[Ref]) -> tuple[Expression, list[Ref]]:
    body = node.attrs["body"]
    numbers = {port: i for i, port in enumerate(body.inputs.values())}
    steps: list[Step] = []
    count = len(numbers)
    for inside in body.nodes:
        if inside in numbers:
            continue
        if not inside.inputs:
            if _scalar(inside):
                numbers[inside] = count + len(steps)
                value = {"value": inside._value.item()}
                steps.append(Step("constant", (), inside.dtype.name, value))
            continue
        attrs, arguments = inside.attrs, inside.inputs
        if inside.op.name == "power" and _scalar(arguments[1]):
            attrs, arguments = {"exponent": float(arguments[1]._value)}, arguments[:1]
        places = tuple([numbers.get(x, -1) for x in arguments])
        numbers[inside] = count + len(steps)
        steps.append(Step(inside.op.name, places, inside.dtype.name, attrs))
    results = tuple([numbers[x] for x in body.outputs.values()])
    return Expression(tuple([ref.dtype.name for ref in ins]), tuple(steps), results), list(ins)


def reduced_axes(node: Node) -> tuple[int, ...] | None:
    """Return the axes a reduction goes over, rising; None for other ops."""
    x = node.inputs[0] if node.inputs else node
    if node.op.name in ("sum", "mean", "max", "min"):
        axes: Any = node.attrs["axis"]
        axes = range(x.ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
        return tuple(sorted([axis % x.ndim for axis in axes])) if x.ndim else None
    if node.op.name == "sum_to" and x.ndim:
        ahead = x.ndim - node.ndim
        small = (*(1,) * ahead, *node.shape)
        axes = [i for i in range(x.ndim) if i < ahead or (small[i] == 1 and x.shape[i] != 1)]
        return tuple(axes) or None
    return None


def broadcast_strides(ref: Ref, shape: tuple[int, ...]) -> list[int]:
    """Return the strides of `ref` broadcast to `shape`: 0 where it is repeated."""
    ahead = len(shape) - len(ref.shape)
    return [0] * ahead + [
        0 if size == 1 else stride for size, stride in zip(ref.shape, ref.strides, strict=True)
    ]


def collapsed(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """Return sizes and strides of as few axes as will do; at least one.

    Axes of length 1 go, and one that every array passes through in step with the next joins it.
    """
    sizes: list[int] = []
    moves: list[list[int]] = [[] for _ in strides]
    for i, size in enumerate(shape):
        if size == 1:
            continue
        here = [s[i] for s in strides]
        if sizes and all([m[-1] == s * size for m, s in zip(moves, here, strict=True)]):
            sizes[-1] *= size
            for m, s in zip(moves, here, strict=True):
                m[-1] = s
            continue
        sizes.append(size)
        for m, s in zip(moves, here, strict=True):
            m.append(s)
    if not sizes:
        return [1], [[1] for _ in strides]
    return sizes, moves


def _inner(size: int, stride: int) -> str:
    if stride == 1 or size == 1:
        return DENSE
    return SPREAD if stride == 0 else STRIDED


def as_matrices(a: Ref, b: Ref, out: Ref) -> tuple[Ref, Ref, Ref]:
    """Return operands and result of a product with the axes of length 1 that vectors lack."""
    if a.spec.ndim == 1:
        a = _with_axis(a, 0)
        out = _with_axis(out, out.spec.ndim - (b.spec.ndim > 1))
    if b.spec.ndim == 1:
        b = _with_axis(b, 1)
        out = _with_axis(out, out.spec.ndim)
    return a, b, out


def _with_axis(ref: Ref, axis: int) -> Ref:
    shape = (*ref.shape[:axis], 1, *ref.shape[axis:])
    strides = (*ref.strides[:axis], 0, *ref.strides[axis:])
    return Ref(ref.buffer, Spec(shape, ref.dtype), ref.offset, strides, ref.steps)
