"""From a graph to instructions over places in memory: what all plans have in common.

Every node's value gets a place (`refs.Ref`). Views cost nothing: they are other references to the
same buffer. What is computed is written where it is needed, if that can be said beforehand: into
its part of a `concat`, its row of a loop's stacked output, its loop's state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autograd.execute.refs import VIEWS, Ref, keyed, reshaped, view, whole
from autograd.execute.storage import Need, arranged, padded
from autograd.graph import Graph
from autograd.node import OPS, Node, constant
from autograd.spec import UNKNOWN, Spec

MAX_NEST = 10
"""Loops nested deeper than this are run by the reference executor: Python allows 20 blocks."""


@dataclass(frozen=True)
class Var:
    """A value whose size only running can tell: a plan holds it by name, not in a buffer."""

    number: int


Place = Ref | Var


@dataclass(eq=False)
class Buffer:
    """Memory for `size` elements. What kind, says who fills it."""

    kind: str
    """`input` (filled before each run), `parameter` (filled where it was replaced), `constant`
    (filled once), `work`, or, of what is fed back, `resident` (now) and `next`."""
    size: int
    spec: Spec
    node: Node | None
    depth: int
    """How many loops are around the place where it was made: within the next one it lives on."""
    hint: str
    """What it is called in source, before its number: the op that fills it, or `state`, `stack`."""
    events: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """(position, loops around it) of each instruction that reads or writes it."""
    at: int = 0
    """Where in the workspace it begins (bytes)."""


@dataclass(eq=False)
class Compute:
    """`outs = op(*ins)`; no out overlaps an in, except in the very same place if the op allows."""

    node: Node
    path: str
    outs: tuple[Ref, ...]
    ins: tuple[Ref, ...]


@dataclass(eq=False)
class Call:
    """A node that the reference executor runs: its op holds bodies, or sizes are not known."""

    node: Node
    path: str
    outs: tuple[Place, ...]
    ins: tuple[Place, ...]
    why: str


@dataclass(eq=False)
class Copy:
    """`out = source`, broadcast to its shape."""

    out: Ref
    source: Ref
    why: str


@dataclass(eq=False)
class Repeat:
    """A body that is repeated."""

    loop: int
    path: str
    node: Node
    length: int | None
    """How many steps at most; None: no limit."""
    reverse: bool
    body: list[Instruction]
    count: Ref | None = None
    """Where the number of steps is, if it is data."""
    checked_count: Callable[[Any], int] | None = None
    going: Ref | None = None
    """Where it is said whether there is another step, if that is data."""
    still_going: Callable[[], Exception] | None = None
    """What to raise if there is another step after the last."""


@dataclass(eq=False)
class Commit:
    """Everything that is fed back takes its next value, all of it in one copy."""


Instruction = Compute | Call | Copy | Repeat | Commit


class Lowering:
    """A graph's instructions, its buffers, and where its outputs are.

    `feedback` names inputs that stay in the plan, and the outputs that are their next values: they
    are written beside them, and take their place at the very end.
    """

    def __init__(self, graph: Graph, feedback: Mapping[str, str] | None = None) -> None:
        self.graph = graph
        self.buffers: list[Buffer] = []
        self.position = 0
        self.loops = 0
        self.spans: dict[int, tuple[int, int]] = {}
        self.leaves: dict[Node, Ref] = {}
        self.vars = 0
        self.calls: list[Call] = []
        """What the reference executor is to run, and why."""
        self.shifts: dict[Ref, tuple[int, Ref, Ref]] = {}
        """For the stacked values of a state: the lag at which they are also found as a whole in
        memory, what is at the place that is then in front (or behind), and where."""
        given = feedback or {}
        feedback = {name: given[name] for name in graph.inputs if name in given}
        refs: dict[Node, Any] = {
            node: self.buffer(node.spec, "resident" if name in feedback else "input", node)
            for name, node in graph.inputs.items()
        }
        level = Level(self, graph, refs)
        nexts = [self.buffer(graph.inputs[name].spec, "next") for name in feedback]
        wanted: dict[Node, Ref] = {}
        for name, ref in zip(feedback.values(), nexts, strict=True):
            node = graph.outputs[name]
            if level.placeable(node):
                wanted.setdefault(node, ref)
        level.lower(wanted)
        self.outputs: list[Place] = []
        fed = set(feedback.values())
        for name, node in graph.outputs.items():
            if name in fed:
                continue
            self.outputs.append(self._kept(level, name, level.refs[node]))
        for name, ref in zip(feedback.values(), nexts, strict=True):
            level.copy(ref, level.refs[graph.outputs[name]], "the next value")
        if feedback:
            level.emit(Commit(), (), ())
        self.code = level.code
        for place in self.outputs:
            self.touch(place, ())
        self.resident = self._beside("resident")
        """How many bytes what is fed back has."""
        self._beside("next")
        self.workspace = self._arrange()

    def _kept(self, level: Level, name: str, place: Place) -> Place:
        """Return where an output is that the last copy does not overwrite."""
        if not isinstance(place, Ref) or self.buffers[place.buffer].kind != "resident":
            return place
        copy = level.allocate(place.spec, "output")
        level.copy(copy, place, f"output {name}")
        return copy

    def _beside(self, kind: str) -> int:
        """Lay out the buffers of a kind one after the other; return their length in bytes."""
        end = 0
        for buffer in self.buffers:
            if buffer.kind == kind:
                buffer.at = end
                end += padded(buffer.size * buffer.spec.dtype.itemsize)
        return end

    def buffer(
        self,
        spec: Spec,
        kind: str = "work",
        node: Node | None = None,
        depth: int = 0,
        hint: str = "",
    ) -> Ref:
        """Return a reference to a new buffer for an array of this spec."""
        self.buffers.append(Buffer(kind, spec.size, spec, node, depth, hint or kind))
        return whole(len(self.buffers) - 1, spec)

    def leaf(self, node: Node) -> Ref:
        """Return where a parameter or constant is."""
        if node not in self.leaves:
            kind = "parameter" if node.op.name == "parameter" else "constant"
            self.leaves[node] = self.buffer(node.spec, kind, node)
        return self.leaves[node]

    def var(self) -> Var:
        """Return a new name for a value whose size is not known."""
        self.vars += 1
        return Var(self.vars)

    def shifted(self, node: Node, ins: Sequence[Any]) -> tuple[Ref, ...] | None:
        """Return where the outputs of a `delays` node are already, or None."""
        lag, init, shifted = self.shifts.get(ins[0], (0, None, None))
        lags, attrs = node.attrs["lags"], node.attrs
        if shifted is None or init is None or lags != (lag,) or attrs.get("ragged"):
            return None
        if attrs.get("before" if lag > 0 else "after") != "fill" or len(ins) != 2:
            return None
        return (shifted,) if self._same_value(ins[1], init) else None

    def _same_value(self, fill: Ref, init: Ref) -> bool:
        """Whether a row given to `delays` is the initial value of a state."""
        a, b = self.buffers[fill.buffer], self.buffers[init.buffer]
        if a is b:
            spec = Spec((init.spec.size,), init.dtype)
            return fill.spec.size == init.spec.size and reshaped(fill, spec) == reshaped(init, spec)
        values = [x.node._value for x in (a, b) if x.kind == "constant" and x.node is not None]
        return len(values) == 2 and all([v.size and (v == values[0].flat[0]).all() for v in values])

    def touch(self, place: Place, loops: tuple[int, ...]) -> None:
        """Note that the instruction at this position, in these loops, uses a buffer."""
        if isinstance(place, Ref):
            self.buffers[place.buffer].events.append((self.position, loops))

    def _arrange(self) -> int:
        """Give each buffer its bytes of the workspace; return how many bytes that has."""
        work = [b for b in self.buffers if b.kind == "work" and b.events]
        places, total = arranged([self._need(b) for b in work])
        for b, at in zip(work, places, strict=True):
            b.at = at
        return total

    def _need(self, buffer: Buffer) -> Need:
        first, last = self.position, 0
        for position, loops in buffer.events:
            begin = end = position
            if len(loops) > buffer.depth:
                begin, end = self.spans[loops[buffer.depth]]
            first, last = min(first, begin), max(last, end)
        return Need(buffer.size * buffer.spec.dtype.itemsize, first, last)


class Level:
    """The lowering of one graph: the outermost, or the body of a loop."""

    def __init__(
        self,
        lowering: Lowering,
        graph: Graph,
        refs: dict[Node, Any],
        loops: tuple[int, ...] = (),
        prefix: str = "",
    ) -> None:
        self.lowering = lowering
        self.graph = graph
        self.refs = refs
        self.loops = loops
        self.prefix = prefix
        self.code: list[Instruction] = []
        self.ports = set(graph.inputs.values())
        self.wanted: dict[Node, Ref] = {}
        """Where nodes are to be written, if they can be."""
        self.items: dict[tuple[Node, int], Node] = {
            (node.inputs[0], node.attrs["index"]): node
            for node in graph.nodes
            if node.op.name == "item"
        }

    def lower(
        self, wanted: Mapping[Node, Ref] | None = None, whole: set[Node] | None = None
    ) -> None:
        """Write the instructions of all nodes, those in `wanted` where it says, if possible.

        Those in `whole` are written at once, when their turn comes, and no part of them before.
        """
        self.wanted = dict(wanted or {})
        whole = whole or set()
        for node in reversed(self.graph.nodes):
            if node in self.ports or node in whole or not node.inputs:
                continue
            if node.op.name == "concat":
                self._want_parts(node)
            elif node in self.wanted:
                self._want_viewed(node)
        for node in self.graph.nodes:
            if node not in self.refs:
                self.refs[node] = self._lowered(node)

    def placeable(self, node: Node) -> bool:
        """Whether an instruction of this level can be told where to write `node`."""
        owner = node.inputs[0] if node.op.name == "item" else node
        if node in self.ports or owner in self.ports or not (owner.inputs or owner.bodies):
            return False
        return owner.op.name != "reshape" and owner.op.name not in VIEWS and known(node)

    def _want_parts(self, node: Node) -> None:
        """Have the parts of a concat written where they go."""
        if not known(node):
            return
        total = self.wanted.get(node)
        axis = node.attrs["axis"] % max(node.ndim, 1)
        start = 0
        for x in node.inputs:
            if self.placeable(x) and x not in self.wanted and x.dtype == node.dtype:
                if total is None:
                    total = self.wanted[node] = self.allocate(node.spec, "concat")
                self.wanted[x] = total.part(axis, start, x.shape[axis])
            start += x.shape[axis]

    def _want_viewed(self, node: Node) -> None:
        """Have what `node` is a view of written so that the view is where it is wanted."""
        x = node.inputs[0]
        if len(node.inputs) > 1 or x in self.wanted or not self.placeable(x):
            return
        place: Any = None
        if node.op.name in ("reshape", "expand_dims", "squeeze"):
            place = reshaped(self.wanted[node], x.spec)
        elif node.op.name == "swapaxes":
            place = view(node, self.wanted[node])
        if place is not None:
            self.wanted[x] = place

    def _lowered(self, node: Node) -> Any:
        if node.op.name == "item":
            return self.refs[node.inputs[0]][node.attrs["index"]]
        if not node.inputs and not node.bodies:
            return self.lowering.leaf(node)
        ins = tuple([self.refs[x] for x in node.inputs])
        if not known(node) or any([isinstance(x, Var) for x in ins]):
            return self.call(node, "its number of steps is known only when it has run")
        if node.bodies:
            lowered = node.op.lower(self, node)
            return self.call(node, lowered) if isinstance(lowered, str) else lowered
        seen = view(node, ins[0])
        if seen is not None:
            return seen
        if node.op.name == "concat":
            return self._concat(node)
        if node.op.name == "place" and len(ins) == 1:
            return self._place(node)
        if node.op.name == "delays":
            seen = self.lowering.shifted(node, ins)
            if seen is not None:
                return seen
        return self.compute(node)

    def _concat(self, node: Node) -> Ref:
        """Copy those parts of a concat that are not written where they go."""
        (total,) = self.destinations(node)
        axis = node.attrs["axis"] % max(node.ndim, 1)
        start = 0
        for x in node.inputs:
            part = total.part(axis, start, x.shape[axis])
            self.copy(part, self.refs[x], f"a part of {self.path(node)}")
            start += x.shape[axis]
        return total

    def _place(self, node: Node) -> Ref:
        """Make zeros, and copy what is placed into the view of them that its key is."""
        (total,) = self.destinations(node)
        zero = self.lowering.leaf(constant(np.zeros((), node.dtype)))
        self.copy(total, zero, f"zeros of {self.path(node)}")
        part = keyed(total, node.attrs["keys"][0])
        self.copy(part, self.refs[node.inputs[0]], f"what is placed by {self.path(node)}")
        return total

    def compute(self, node: Node) -> Any:
        """Emit one instruction for `node`, and return where its outputs then are."""
        ins = tuple([self.refs[x] for x in node.inputs])
        outs = self.destinations(node)
        self.emit(Compute(node, self.path(node), outs, ins), outs, ins)
        return outs if node.op.multiple else outs[0]

    def call(self, node: Node, why: str) -> Any:
        """Have the reference executor run `node`, and return where its outputs then are."""
        specs = specs_of(node)
        ins = tuple([self.refs[x] for x in node.inputs])
        outs: tuple[Place, ...]
        if known(node):
            outs = self.destinations(node)
        else:
            outs = tuple([self.lowering.var() for _ in specs])
        call = Call(node, self.path(node), outs, ins, why)
        self.lowering.calls.append(call)
        self.emit(call, outs, ins)
        return outs if node.op.multiple else outs[0]

    def destinations(self, node: Node) -> tuple[Ref, ...]:
        """Return where the outputs of `node` are to be written."""
        if not node.op.multiple:
            return (self.wanted.get(node) or self.allocate(node.spec, hint_of(node)),)
        return tuple([self.destination(node, i) for i in range(len(specs_of(node)))])

    def destination(self, node: Node, index: int) -> Ref:
        """Return where output `index` of a node with several outputs is to be written."""
        item = self.items.get((node, index))
        place = None if item is None else self.wanted.get(item)
        return place or self.allocate(specs_of(node)[index], hint_of(node))

    def allocate(self, spec: Spec, hint: str) -> Ref:
        """Return a reference to new memory that lives while this level runs once."""
        return self.lowering.buffer(spec, depth=len(self.loops), hint=hint)

    def copy(self, out: Ref, source: Ref, why: str) -> None:
        """Emit a copy, unless both are the same place."""
        if not out.same_place(source):
            self.emit(Copy(out, source, why), (out,), (source,))

    def emit(self, instruction: Instruction, outs: Sequence[Place], ins: Sequence[Place]) -> None:
        """Append an instruction, and note what it touches."""
        self.lowering.position += 1
        for place in (*outs, *ins):
            self.lowering.touch(place, self.loops)
        self.code.append(instruction)

    def path(self, node: Node) -> str:
        """Return the path of `node`, for people."""
        return self.prefix + self.graph.names[node]


def known(node: Node) -> bool:
    """Whether the sizes of a node's outputs are known before it runs."""
    return all([UNKNOWN not in spec.shape for spec in specs_of(node)])


def overwritable(node: Node, spec: Spec) -> tuple[int, ...]:
    """Return the inputs that an output of this spec may be written over, element on element."""
    over = node.op.overwrites
    return tuple(
        [i for i, x in enumerate(node.inputs) if x.spec == spec and (over is None or i in over)]
    )


def hint_of(node: Node) -> str:
    """Return what source may call a node's value: the op, if it is one of the library's."""
    return node.op.name if OPS.get(node.op.name) is node.op else "own"


def specs_of(node: Node) -> tuple[Spec, ...]:
    """Return the specs of a node's outputs, also if there is one."""
    spec: Any = node.spec
    return spec if isinstance(spec, tuple) else (spec,)
