"""The NumPy plan: straight-line source over arrays that are there before it runs.

Every array has its memory, and every view of it is made, when the plan is bound; so a step of a
loop is calls with `out=` and nothing else. Sizes and numbers of steps are not in the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from threading import RLock
from typing import Any

import numpy as np

from autograd.arrays import apart
from autograd.execute.lower import Call, Compute, Copy, Instruction, Lowering, Place, Repeat, Var
from autograd.execute.numpy_rules import rule_for
from autograd.execute.reference import compute, execute, note
from autograd.execute.refs import Ref, packed
from autograd.execute.source import FILE, defined, remark
from autograd.execute.storage import aligned
from autograd.graph import Graph
from autograd.node import Node
from autograd.parameter import Parameter
from autograd.room import check_room, refuse
from autograd.spec import Array, Spec

LISTED = 2000
"""For at most so many steps the views a loop goes over are made beforehand (100 bytes each)."""


class Cells:
    """Goes over the scalars of a vector as arrays of shape (), which can be written to."""

    def __init__(self, vector: Array) -> None:
        self.vector = vector

    def __iter__(self) -> Iterator[Array]:
        return (self.vector[t, ...] for t in range(len(self.vector)))

    def __getitem__(self, steps: slice) -> Cells:
        return Cells(self.vector[steps])


class Frame:
    """A loop that is being printed: the arrays it goes over, and its variables."""

    def __init__(self, instruction: Repeat) -> None:
        self.instruction = instruction
        self.variables: dict[Ref, tuple[str, Ref]] = {}
        """For each reference that moves with this loop: its name, and what the loop goes over."""


class Printer:
    """Writes the source of a lowered graph, and collects what its names stand for."""

    def __init__(self, lowering: Lowering) -> None:
        self.lowering = lowering
        self.blocks = blocks_of(lowering)
        self.memory: dict[int, Array] = {}
        self.namespace: dict[str, Any] = {}
        self.names: dict[Any, str] = {}
        self.kept: list[Any] = []
        self.frames: list[Frame] = []
        self.fallbacks = {call.path: call.why for call in lowering.calls}
        """Paths of what another backend runs, and why."""
        self.lines: list[tuple[str, Compute | Call | None]] = []
        """Each line, and what it is part of."""
        self.current: Compute | Call | None = None
        self.taken: dict[str, int] = {}
        """How many views of a buffer have been named."""
        self.dense: dict[str, bool] = {}
        """Which of the named arrays are C-contiguous."""
        self.scratches: dict[tuple[Spec, int], str] = {}
        self.in_use: dict[Spec, int] = {}

    # Memory.

    def buffer(self, index: int) -> Array:
        """Return the memory of a buffer, as a vector."""
        if index not in self.memory:
            buffer = self.lowering.buffers[index]
            if buffer.kind in self.blocks:
                block = self.blocks[buffer.kind]
                size = buffer.size * buffer.spec.dtype.itemsize
                self.memory[index] = block[buffer.at : buffer.at + size].view(buffer.spec.dtype)
            elif buffer.kind == "constant" and buffer.node is not None:
                self.memory[index] = np.ascontiguousarray(buffer.node._value).reshape(-1)
            else:
                self.memory[index] = np.empty(buffer.size, buffer.spec.dtype)
        return self.memory[index]

    def array(self, ref: Ref) -> Array:
        """Return the array at a reference that no loop moves."""
        vector = self.buffer(ref.buffer)
        if not vector.size or 0 in ref.shape:
            return np.empty(ref.shape, ref.dtype)
        if ref.contiguous and ref.strides == packed(ref.shape):
            return vector[ref.offset : ref.offset + ref.spec.size].reshape(ref.shape)
        item = vector.itemsize
        return np.lib.stride_tricks.as_strided(
            vector[ref.offset :], ref.shape, [s * item for s in ref.strides]
        )

    # Names.

    def constant(self, value: Any, hint: str) -> str:
        """Return a name for a Python object."""
        known = self.names.get(id(value))
        if known is not None:
            return known
        name = hint
        number = 1
        while name in self.namespace:
            number += 1
            name = f"{hint}_{number}"
        self.namespace[name] = value
        self.names[id(value)] = name
        self.kept.append(value)
        return name

    def scratch(self, spec: Spec) -> str:
        """Return the name of a temporary array that is free again after this instruction."""
        number = self.in_use.get(spec, 0)
        self.in_use[spec] = number + 1
        if (spec, number) not in self.scratches:
            name = f"scratch_{len(self.scratches) + 1}"
            self.namespace[name] = np.empty(spec.shape, spec.dtype)
            self.scratches[spec, number] = name
            self.dense[name] = True
        return self.scratches[spec, number]

    def contiguous(self, name: str) -> bool:
        """Return whether the array of this name is C-contiguous, for sure."""
        return self.dense.get(name, False)

    def name(self, place: Place) -> str:
        """Return the name of the array at `place`, as the code being written may use it."""
        if isinstance(place, Var):
            return f"value_{place.number}"
        name = self._named(place)
        self.dense[name] = place.contiguous
        return name

    def _named(self, place: Ref) -> str:
        if place.steps:
            return self._moving(place)
        known = self.names.get(place)
        if known is None:
            known = self.names[place] = self._fresh(place)
            self.namespace[known] = self.array(place)
        return known

    def _fresh(self, ref: Ref, ending: str = "") -> str:
        """Return a new name for an array in a buffer: what fills it, its number, which view."""
        buffer = self.lowering.buffers[ref.buffer]
        name = f"{buffer.hint}_{ref.buffer}{ending}"
        count = self.taken[name] = self.taken.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"

    def _moving(self, ref: Ref) -> str:
        """Return the variable that a loop around has for `ref`; each loop peels off one axis."""
        at = max(i for i, f in enumerate(self.frames) if f.instruction.loop == ref.steps[-1][0])
        frame = self.frames[at]
        if ref not in frame.variables:
            stride = ref.steps[-1][1]
            steps = frame.instruction.length or 0
            spec = Spec((steps, *ref.shape), ref.dtype)
            rows = Ref(ref.buffer, spec, ref.offset, (stride, *ref.strides), ref.steps[:-1])
            frame.variables[ref] = (self._fresh(ref, "_t"), rows)
        return frame.variables[ref][0]

    # Lines.

    def line(self, text: str) -> None:
        """Append one line of source to what is being written."""
        self.lines.append(("    " * (len(self.frames) + 1) + text, self.current))

    def said(self, text: str, comment: str) -> None:
        """Append a line with a comment."""
        self.line(f"{text}  # {remark(comment)}")

    def print(self) -> str:
        """Return the source: a function `run()` over the arrays in `namespace`."""
        self._print_all(self.lowering.code)
        asarray = self.constant(np.asarray, "asarray")
        outputs = ", ".join(
            [
                f"{asarray}({self.name(place)})"
                if isinstance(place, Var)
                else f"{self.name(place)}.copy()"
                for place in self.lowering.outputs
            ]
        )
        self.line(f"return [{outputs}]")
        return "\n".join(["def run():", *[text for text, _ in self.lines], ""])

    def _print_all(self, code: Sequence[Instruction]) -> None:
        for instruction in code:
            self.in_use.clear()
            self.current = instruction if isinstance(instruction, Compute | Call) else None
            if isinstance(instruction, Compute):
                self._compute(instruction)
            elif isinstance(instruction, Copy):
                self._copy(instruction)
            elif isinstance(instruction, Repeat):
                self._repeat(instruction)
            elif isinstance(instruction, Call):
                self._call(instruction)
            else:
                now, following = self.blocks["resident"], self.blocks["next"]
                names = self.constant(now, "resident"), self.constant(following, "following")
                self.line(f"{names[0]}[...] = {names[1]}  # all at once")

    def _compute(self, instruction: Compute) -> None:
        node = instruction.node
        outs = [self.name(ref) for ref in instruction.outs]
        ins = [self.name(ref) for ref in instruction.ins]
        rule = rule_for(node)
        first = len(self.lines)
        if rule is None:
            self._forward(node, outs, ins)
        else:
            rule(self, outs, ins, node)
        self._comment(first, instruction.path)

    def _comment(self, first: int, path: str) -> None:
        """Say behind the first of the lines since `first` which node they compute."""
        if len(self.lines) > first:
            text, part = self.lines[first]
            self.lines[first] = f"{text}  # {remark(path)}", part

    def _forward(self, node: Node, outs: list[str], ins: list[str]) -> None:
        """Write an op without a rule of its own: its `forward`, and a copy of what that returns."""
        forward = self.constant(Forward(node), f"{node.op.name}_forward")
        call = f"{forward}({', '.join(ins)})"
        if not node.op.multiple:
            self.line(f"{outs[0]}[...] = {call}")
            return
        self.line(f"results = {call}")
        for i, out in enumerate(outs):
            self.line(f"{out}[...] = results[{i}]")

    def _copy(self, instruction: Copy) -> None:
        out, source = self.name(instruction.out), self.name(instruction.source)
        self.said(f"{out}[...] = {source}", instruction.why)

    def _call(self, instruction: Call) -> None:
        ins = [self.name(place) for place in instruction.ins]
        run = self.constant(Forward(instruction.node), "reference")
        first = len(self.lines)
        self.line(f"results = {run}({', '.join(ins)})")
        several = instruction.node.op.multiple
        for i, place in enumerate(instruction.outs):
            result = f"results[{i}]" if several else "results"
            if isinstance(place, Var):
                self.line(f"{self.name(place)} = {result}")
            else:
                self.line(f"{self.name(place)}[...] = {result}")
        self._comment(first, f"{instruction.path}: by the reference executor, {instruction.why}")

    def _repeat(self, instruction: Repeat) -> None:
        frame = Frame(instruction)
        lines, self.lines = self.lines, []
        self.frames.append(frame)
        if instruction.going is not None:
            self.line(f"if not {self.name(instruction.going)}:")
            self.line("    break")
        self._print_all(instruction.body)
        self.current = None
        if not self.lines:
            self.line("pass")
        self.frames.pop()
        body, self.lines = self.lines, lines
        variables, over = self._header(frame)
        self.said(f"for {variables} in {over}:", self._about(instruction))
        self.lines += body
        if instruction.still_going is not None and instruction.going is not None:
            error = self.constant(instruction.still_going, "still_going")
            self.line(f"if {self.name(instruction.going)}:")
            self.line(f"    raise {error}()")

    def _about(self, instruction: Repeat) -> str:
        return f"loop {instruction.path}" + (" the last step first" if instruction.reverse else "")

    def _header(self, frame: Frame) -> tuple[str, str]:
        """Return the variables of a loop, and what it goes over."""
        instruction = frame.instruction
        cut = ""
        if instruction.count is not None:
            checked = self.constant(instruction.checked_count, "checked_count")
            self.line(f"count = {checked}({self.name(instruction.count)})")
            cut = "[:count]"
        if not frame.variables:
            return "_", self._steps(instruction)
        names = [name for name, _ in frame.variables.values()]
        rows = [
            self._rows(rows, instruction) + cut + ("[::-1]" if cut and instruction.reverse else "")
            for _, rows in frame.variables.values()
        ]
        if len(names) == 1:
            return names[0], rows[0]
        return ", ".join(names), f"zip({', '.join(rows)})"

    def _steps(self, instruction: Repeat) -> str:
        """Return what goes round as often as a loop that moves no array."""
        if instruction.count is not None:
            return "range(count)"
        if instruction.length is None:
            return f"{self.constant(repeat, 'repeat')}(None)"
        return self.constant(range(instruction.length), "steps")

    def _rows(self, rows: Ref, instruction: Repeat) -> str:
        """Return the name of what a loop goes over: `rows` in its order, one array a step."""
        backward = instruction.reverse and instruction.count is None
        if backward and rows.shape[0]:
            offset = rows.offset + (rows.shape[0] - 1) * rows.strides[0]
            strides = (-rows.strides[0], *rows.strides[1:])
            rows = Ref(rows.buffer, rows.spec, offset, strides, rows.steps)
        if rows.steps:
            name = self._moving(rows)
            return f"{self.constant(Cells, 'Cells')}({name})" if rows.spec.ndim == 1 else name
        key = ("rows", rows)
        if key not in self.names:
            self.names[key] = name = self._fresh(rows, "_rows")
            array = self.array(rows)
            cells: Any = Cells(array) if array.ndim == 1 else array
            self.namespace[name] = list(cells) if len(array) <= LISTED else cells
        return self.names[key]


class Forward:
    """Calls an op's `forward`, or the reference executor for ops that hold bodies."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def __call__(self, *arrays: Any) -> Any:
        node = self.node
        if node.bodies:  # what it hands through is memory of the plan, written to again later
            results = compute(node.op, arrays, node.attrs)
            several = node.op.multiple
            return tuple([apart(y, arrays) for y in results]) if several else apart(results, arrays)
        return node.op.forward(*arrays, **node.attrs)


def blocks_of(lowering: Lowering) -> dict[str, Array]:
    """Return the memory of a plan, by kind of buffer; raise a TooLargeError if there is none."""
    kept = lowering.resident
    sizes = {"work": lowering.workspace, "resident": kept, "next": kept}
    largest = max(lowering.buffers, key=lambda b: b.spec.nbytes, default=None)
    most = f", most of it for '{largest.hint}' ({largest.spec})," if largest else ""
    what = f"the plan of graph '{lowering.graph.name}'{most}"
    advice = "take fewer steps or a smaller batch, or, of a gradient, less memory="
    check_room(sum(sizes.values()), what, advice)
    try:
        return {kind: aligned(size) for kind, size in sizes.items()}
    except MemoryError as error:
        refuse(error, what)
        raise


class NumpyProgram:
    """A graph lowered, printed and bound: `execute` runs it.

    With `feedback` (input: output) those inputs live in here: `resident[name]` is where, `execute`
    leaves them out of its values, and each run ends with their next values in their place.
    """

    printer_type: type[Printer] = Printer

    def __init__(self, graph: Graph, feedback: Mapping[str, str] | None = None) -> None:
        self.lowering = Lowering(graph, feedback)
        printer = self.printer_type(self.lowering)
        self.source = printer.print()
        self.fallbacks = printer.fallbacks
        self.held = printer.blocks, printer.memory  # machine code knows them by address only
        alone = [x.nbytes for x in printer.memory.values() if x.base is None]
        self.size = sum([*alone, *[x.nbytes for x in printer.blocks.values()]])
        """Bytes of memory that it holds."""
        self.parts = [part for _, part in printer.lines]
        self.function: Callable[[], list[Array]] = defined(self.source, "run", printer.namespace)
        buffers = self.lowering.buffers
        self.inputs: list[Array] = []
        self.resident: dict[str, Array] = {}
        for i, (name, node) in enumerate(graph.inputs.items()):
            memory = printer.buffer(i).reshape(node.shape)
            if buffers[i].kind == "resident":
                self.resident[name] = memory
            else:
                self.inputs.append(memory)
        self.parameters = [
            (printer.buffer(i), b.node)
            for i, b in enumerate(buffers)
            if isinstance(b.node, Parameter) and b.kind == "parameter"
        ]
        self.known: list[Any] = [None] * len(self.parameters)
        self.lock = RLock()
        self.running = False

    def execute(self, values: Sequence[Any]) -> list[Array]:
        """Return the values of the outputs for `values` of the inputs, which have their specs."""
        with self.lock:
            if self.running:  # by a function that it calls: the memory is in use
                return execute(self.lowering.graph, values)
            for memory, value in zip(self.inputs, values, strict=True):
                memory[...] = value
            return self.call()

    def call(self) -> list[Array]:
        """Return the values of the outputs for what is in `inputs`; one thread at a time."""
        for i, (memory, parameter) in enumerate(self.parameters):
            value = parameter._value
            if value is not self.known[i]:
                memory.reshape(value.shape)[...] = value
                self.known[i] = value
        try:
            self.running = True
            return self.function()
        except Exception as error:
            self._say_where(error)
            raise
        finally:
            self.running = False

    def _say_where(self, error: Exception) -> None:
        """Add to `error` which node the line computes in which it arose."""
        traceback = error.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == FILE:
                part = self.parts[traceback.tb_lineno - 2]
                if part is not None:
                    note(error, part.node, part.path)
            traceback = traceback.tb_next
