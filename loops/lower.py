"""How a loop is laid out in memory for plans.

A state whose next value is stacked anyway lives in the stack itself: a history of T + 1 rows, in
which step t reads row t and writes row t + 1. Other states have one place, which a step reads and
then overwrites; where it would overwrite it too early, the next value is copied at the end of the
step. Everything stacked is written into its row at once.
"""

from __future__ import annotations

from functools import partial

from autograd.execute.lower import MAX_NEST, Level, Repeat, known, overwritable
from autograd.execute.refs import VIEWS, Ref
from autograd.graph import Graph
from autograd.node import Node, constant
from autograd.spec import Spec
from loops.form import Ports, lags_of, most_steps, ports_of
from loops.running import check_stacks, checked_count, still_going


def lower_loop(level: Level, node: Node) -> tuple[Ref, ...] | str:
    """Write the instructions of a loop into `level`; return where its outputs are, or why not."""
    attrs = node.attrs
    if attrs.get("rows"):
        return "its rows have lengths of their own"
    if any(lag != 1 for lag in lags_of(attrs)):
        return "it reads states from several steps ago"
    if len(level.loops) >= MAX_NEST:
        return "it is nested too deep"
    body: Graph = attrs["body"]
    if not all([known(x) for x in body.nodes]):
        return "the number of steps of a loop in it is known only when that has run"
    check_stacks([level.refs[x] for x in node.inputs], attrs, level.path(node))
    return LoopLayout(level, node).lower()


class LoopLayout:
    """One loop: its places, and the code of its body."""

    def __init__(self, level: Level, node: Node) -> None:
        self.level = level
        self.node = node
        self.attrs = node.attrs
        self.body: Graph = node.attrs["body"]
        self.ports: Ports = ports_of(self.attrs)
        self.reverse: bool = self.attrs["reverse"]
        shared, inits, sequences = self.ports.split([level.refs[x] for x in node.inputs])
        self.shared: list[Ref] = shared
        self.inits: list[Ref] = inits
        self.sequences: list[Ref] = sequences
        self.next, self.collected = self.ports.split_outputs([*self.body.outputs.values()])
        self.steps: int | None = most_steps(sequences, self.attrs)
        self.counted = bool(self.attrs.get("counted"))
        self.until = bool(self.attrs.get("until"))
        lowering = level.lowering
        lowering.loops += 1
        self.loop = lowering.loops
        self.inner = Level(
            lowering, self.body, {}, (*level.loops, self.loop), level.path(node) + "."
        )
        self.wanted: dict[Node, Ref] = {}
        self.at_once: set[Node] = set()
        self.targets: list[Ref] = []
        """Where the next value of each state is to be at the end of the step."""

    def lower(self) -> tuple[Ref, ...]:
        """Emit the loop; return where its final states and stacked outputs are."""
        ports = self.ports.split([*self.body.inputs.values()])
        refs = self.inner.refs
        self._lay_out_factors(ports[0])
        refs.update(zip(ports[0], self.shared, strict=True))
        for port, sequence in zip(ports[2], self.sequences, strict=True):
            refs[port] = sequence.rows(self.loop)
        histories: dict[int, Ref] = {}
        finals = [
            self._history(i, port, histories) or self._place(i, port)
            for i, port in enumerate(ports[1])
        ]
        stacks = [histories.get(j) or self._stack(j) for j in range(len(self.collected))]
        begin = self.level.lowering.position + 1
        self._copy_what_was_before(stacks)
        self.inner.lower(self.wanted, self.at_once)
        self._end_step(stacks)
        self._emit(begin, finals)
        return (*finals, *stacks)

    def _lay_out_factors(self, ports: list[Node]) -> None:
        """Copy the transposed matrices that steps multiply by from the right once, in row order.

        BLAS reads such a matrix as it is, but takes 1.3 to 4 times as long (8 to 64 rows on the
        left, 16 to 256 columns): more than one step saves is what the copy takes.
        """
        apart = [i for i, ref in enumerate(self.shared) if _columns_lie_apart(ref)]
        if not apart or self.steps == 1:
            return
        factors = right_factors(self.body)
        for i in apart:
            if ports[i] in factors:
                ref = self.shared[i]
                self.shared[i] = self.level.allocate(ref.spec, "factor")
                self.level.copy(self.shared[i], ref, "in row order for products")

    # Where states and stacked values live.

    def _history(self, i: int, port: Node, histories: dict[int, Ref]) -> Ref | None:
        """Let state `i` live in a stack that holds its values anyway; return its final place."""
        after = self.next[i]
        if self.until or self.counted or self.steps is None or not self.inner.placeable(after):
            return None
        stacked = [j for j, x in enumerate(self.collected) if x is after and j not in histories]
        before = [j for j, x in enumerate(self.collected) if x is port]
        if after in self.wanted or not (stacked or before):
            return None
        steps, spec = self.steps, port.spec
        rows = self.level.allocate(Spec((steps + 1, *spec.shape), spec.dtype), "history")
        first, last = (steps, 0) if self.reverse else (0, steps)
        early, late = rows.between(0, steps), rows.between(1, steps + 1)
        entering, leaving = (late, early) if self.reverse else (early, late)
        self.inner.refs[port] = entering.rows(self.loop)
        self.wanted[after] = leaving.rows(self.loop)
        self.targets.append(self.wanted[after])
        histories.update({j: entering for j in before} | {j: leaving for j in stacked[:1]})
        self.level.copy(_row(rows, first), self.inits[i], "the initial value")
        lag = -1 if self.reverse else 1
        self.level.lowering.shifts[leaving] = (lag, self.inits[i], entering)
        return _row(rows, last)

    def _place(self, i: int, port: Node) -> Ref:
        """Give state `i` one place, and have its next value written there if that is safe."""
        place = self.level.allocate(port.spec, "state")
        self.level.copy(place, self.inits[i], "the initial value")
        self.inner.refs[port] = place
        self.targets.append(place)
        after = self.next[i]
        if (
            self.inner.placeable(after)
            and after not in self.wanted
            and self._read_before(port, after)
        ):
            self.wanted[after] = place
            self.at_once.add(after)
        return place

    def _read_before(self, port: Node, after: Node) -> bool:
        """Whether nobody reads `port` (or a view of it) once `after` is written in its place."""
        outputs = set(self.body.outputs.values())
        views = {port}
        end = after.inputs[0] if after.op.name == "item" else after
        for node in self.body.nodes:
            if not views.isdisjoint(node.inputs):
                looks = node.op.name in VIEWS or node.op.name in ("reshape", "item", "astype")
                if looks:
                    views.add(node)
                elif node is end:
                    over = overwritable(node, after.spec)
                    read = [i for i, x in enumerate(node.inputs) if x in views]
                    if not all([i in over and node.inputs[i] is port for i in read]):
                        return False
                elif node.serial >= end.serial:
                    return False
        return views.isdisjoint(outputs)

    def _stack(self, j: int) -> Ref:
        """Give collected output `j` its rows, and have the body write them if it can."""
        steps = self.steps or 0
        stack = self.level.destination(self.node, self.ports.states + j)
        if (self.until or self.counted) and steps:
            zero = self.level.lowering.leaf(constant(0, stack.dtype))
            self.level.copy(
                stack, _broadcast(zero, stack.spec), "steps that do not run leave zeros"
            )
        value = self.collected[j]
        if self.inner.placeable(value) and value not in self.wanted:
            self.wanted[value] = stack.rows(self.loop)
        return stack

    # The step's own copies.

    def _copy_what_was_before(self, stacks: list[Ref]) -> None:
        """Stack values that come into the step before any state is overwritten."""
        for stack, value in zip(stacks, self.collected, strict=True):
            if value in self.inner.refs:
                self.inner.copy(stack.rows(self.loop), self.inner.refs[value], "stacked")

    def _end_step(self, stacks: list[Ref]) -> None:
        """Copy what the body could not write where it belongs."""
        ports = set(self.inner.ports)
        for stack, value in zip(stacks, self.collected, strict=True):
            if value not in ports:
                self.inner.copy(stack.rows(self.loop), self.inner.refs[value], "stacked")
        moves = []
        for target, value in zip(self.targets, self.next, strict=True):
            source: Ref = self.inner.refs[value]
            if not target.same_place(source):
                moves.append((target, source))
        overwritten = {target.buffer for target, _ in moves}
        if len(moves) > 1:  # states that change places: read all before any is written
            for k, (target, source) in enumerate(moves):
                if source.buffer in overwritten:
                    held = self.inner.allocate(source.spec, "held")
                    self.inner.copy(held, source, "states change places")
                    moves[k] = target, held
        for target, source in moves:
            self.inner.copy(target, source, "the next value")

    # The loop itself.

    def _emit(self, begin: int, finals: list[Ref]) -> None:
        lowering = self.level.lowering
        path = self.level.path(self.node)
        going = finals[0] if self.until else None
        count = self.shared[0] if self.counted else None
        repeat = Repeat(self.loop, path, self.node, self.steps, self.reverse, self.inner.code)
        if going is not None:
            repeat.going = going
            if self.attrs.get("bounded"):
                line = next(iter(self.body.outputs.values())).line
                repeat.still_going = partial(still_going, path, self.steps or 0, line)
        if count is not None:
            repeat.count = count
            repeat.checked_count = partial(checked_count, most=self.steps, name=path)
        read = [ref for ref in (going, count) if ref is not None]
        self.level.emit(repeat, [], [*read, *finals])
        lowering.spans[self.loop] = (begin, lowering.position)


def right_factors(body: Graph) -> set[Node]:
    """Return the ports of `body` that products have on the right, in it and in bodies in it."""
    found = set()
    levels = [(body, {port: port for port in body.inputs.values()}, 0)]
    while levels:
        graph, origin, depth = levels.pop()
        for node in graph.nodes:
            if node.op.name == "matmul" and node.inputs[1] in origin:
                found.add(origin[node.inputs[1]])
            elif node.bodies and depth < MAX_NEST:
                inner: list[dict[Node, Node]] = [{} for _ in node.bodies]
                for port in node.op.ports(node.attrs)[0]:
                    outer = node.inputs[port.outer]
                    if port.kind == "shared" and outer in origin:
                        name = [*node.bodies[port.body].inputs.values()][port.inner]
                        inner[port.body][name] = origin[outer]
                levels += [(g, o, depth + 1) for g, o in zip(node.bodies, inner, strict=True) if o]
    return found


def _columns_lie_apart(ref: Ref) -> bool:
    return ref.spec.ndim == 2 and min(ref.shape) > 1 and ref.strides[1] != 1


def _row(rows: Ref, index: int) -> Ref:
    """Return one row along the first axis, without that axis."""
    row = rows.between(index, index + 1)
    return Ref(row.buffer, Spec(row.shape[1:], row.dtype), row.offset, row.strides[1:], row.steps)


def _broadcast(scalar: Ref, spec: Spec) -> Ref:
    return Ref(scalar.buffer, spec, scalar.offset, (0,) * spec.ndim, scalar.steps)
