"""Walks a graph and its bodies and counts: every graph once, a level of nesting being a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autograd.draw.label import is_item, specs_of
from autograd.draw.text import reference
from autograd.errors import LoopGradError
from autograd.explain.report import (
    ONE,
    BodyReport,
    Count,
    Dependence,
    ExitReport,
    Explanation,
    LoopReport,
    NodeReport,
    PortReport,
    Saved,
    how_often,
)
from autograd.graph import Graph, ancestors
from autograd.node import Node
from autograd.op import Exit, Port, Trips
from autograd.spec import UNKNOWN, Spec
from autograd.trampoline import Task, trampoline

_KINDS = {"shared": Dependence.INVARIANT, "each": Dependence.EACH, "state": Dependence.STATE}


def explain(graph: Graph) -> Explanation:
    """Return what `graph` computes, moves and would save for a backward, loop by loop.

    The gradient that is meant is that by the parameters, or by the float inputs if there are none.
    What a gradient in the graph has drawn itself is counted in flops, but saves nothing again.
    """
    result: Explanation = trampoline(_explained(graph))
    return result


def _explained(graph: Graph) -> Task:
    wrt: set[Node] = set(graph.parameters.values())
    wrt = wrt or {x for x in graph.inputs.values() if x.spec.floating}
    active = _reached_from(graph, wrt, {})
    live = _reaching(graph, active)
    walk = _Walk(graph, "", ONE, active, live, {}, (), looped=False, pulled=False)
    ports = [PortReport("input", name, x.spec) for name, x in graph.inputs.items()]
    exits = [
        ExitReport("output", name, x.spec, reference(graph, x)) for name, x in graph.outputs.items()
    ]
    body = yield walk.report(ports, exits)
    saved = [item for loop in body.loops for item in _paths(loop)]
    return Explanation(
        body=body,
        parameters={name: node.spec for name, node in graph.parameters.items()},
        saved=(*saved, *_kept(graph, live)),
    )


def _paths(loop: LoopReport) -> list[Saved]:
    return [replace(item, name=f"{loop.path}.{item.name}") for item in loop.saved or ()]


def _kept(graph: Graph, live: set[Node]) -> list[Saved]:
    """Return the values a backward keeps alive: of nodes a gradient passes, no leaves or views."""
    return [
        Saved(reference(graph, node), node.spec, ONE)
        for node in graph.nodes
        if node in live
        and node.inputs
        and not (node.pulled or node.op.free or node.op.multiple)
        and not (is_item(node) and node.inputs[0].pulled)
    ]


class _Walk:
    """One graph or body on its way to a report."""

    def __init__(
        self,
        graph: Graph,
        prefix: str,
        runs: Count,
        active: set[Node],
        live: set[Node],
        classes: Mapping[Node, Dependence],
        carried: Collection[Node],
        looped: bool,
        pulled: bool,
    ) -> None:
        self.graph = graph
        self.prefix = prefix
        self.runs = runs
        self.active = active
        self.live = live
        self.carried = carried
        self.looped = looped
        self.pulled = pulled
        self.classes = dict(classes)
        self.nodes: list[NodeReport] = []
        self.loops: list[LoopReport] = []
        self.by_op: dict[str, int] = {}
        self.flops = self.moved = Count()

    def report(self, ports: Sequence[PortReport], exits: Sequence[ExitReport]) -> Task:
        handed_out = self._handed_out()
        for node in self.graph.nodes:
            if self.looped and node not in self.classes:
                given = [self.classes[x] for x in node.inputs]
                self.classes[node] = max(given, default=Dependence.INVARIANT)
            if node.bodies:
                loop, by_op = yield self._loop(node, handed_out.get(node, set()))
                self.loops.append(loop)
                self._add(node, loop.flops, loop.moved, by_op)
            elif node.inputs and not is_item(node):
                flops, moved = _cost(node)
                self._add(node, flops, moved, {node.op.name: flops.value})
        return BodyReport(
            name=self.graph.name,
            ports=tuple(ports),
            exits=tuple(exits),
            nodes=tuple(self.nodes),
            loops=tuple(self.loops),
            flops=self.flops,
            moved=self.moved,
            by_op=self.by_op,
        )

    def _handed_out(self) -> dict[Node, set[int]]:
        """Return for each node with bodies the outputs a gradient may come in for."""
        found: dict[Node, set[int]] = {}
        for node in self.graph.nodes:
            if is_item(node) and node in self.live:
                found.setdefault(node.inputs[0], set()).add(node.attrs["index"])
            elif node.bodies and node in self.live and not node.op.multiple:
                found[node] = {0}
        return found

    def _add(self, node: Node, flops: Count, moved: Count, by_op: Mapping[str, int]) -> None:
        self.nodes.append(
            NodeReport(
                name=self.graph.names[node],
                node=node,
                flops=flops,
                moved=moved,
                depends=self.classes.get(node),
                carried=node in self.carried,
            )
        )
        self.flops += flops
        self.moved += moved
        for op, n in by_op.items():
            if n:
                self.by_op[op] = self.by_op.get(op, 0) + n

    def _loop(self, node: Node, given: set[int]) -> Task:
        """Return the LoopReport of a node with bodies, and its flops by op."""
        path = self.prefix + self.graph.names[node]
        trips = node.op.trips([x.spec for x in node.inputs], node.attrs)
        pulled = self.pulled or node.pulled
        several = len(node.bodies) > 1
        entries, exits = node.op.ports(node.attrs)
        bodies = []
        for i, body in enumerate(node.bodies):
            own = [port for port in entries if port.body == i]
            walk = self._inner(node, body, own, f"{path}.{i}." if several else f"{path}.", trips)
            ports = _ports(self.graph, node, body, own)
            leaving = _exits(self.graph, node, body, [out for out in exits if out.body == i])
            report = yield walk.report(ports, leaving)
            bodies.append(report)
        saved, why = yield self._saved(node, given, trips, pulled)
        flops, moved, by_op = _total(bodies, trips)
        loop = LoopReport(
            path=path,
            node=node,
            trips=trips,
            runs=self.runs,
            bodies=tuple(bodies),
            flops=flops,
            moved=moved,
            depends=self.classes.get(node),
            saved=saved,
            why=why,
        )
        return loop, by_op

    def _inner(
        self, node: Node, body: Graph, ports: Sequence[Port], prefix: str, trips: Trips
    ) -> _Walk:
        """Return the walk through one body of `node`."""
        inputs = list(body.inputs.values())
        results = list(body.outputs.values())
        looped = self.looped or any(port.kind in _KINDS for port in ports)
        classes = {x: Dependence.INVARIANT for x in inputs} if looped else {}
        feedback: dict[Node, list[Node]] = {}
        active = set()
        for port in ports:
            inner, outer = inputs[port.inner], node.inputs[port.outer]
            if looped:
                around = self.classes.get(outer, Dependence.INVARIANT)
                classes[inner] = _KINDS.get(port.kind, around)
            if port.fed_by is not None:
                feedback.setdefault(results[port.fed_by], []).append(inner)
            if outer in self.active and inner.spec.floating:
                active.add(inner)
        carried = set(ancestors(feedback, set(inputs)))
        if node in self.carried and not any(port.kind in _KINDS for port in ports):
            carried = set(body.nodes)  # a branch: its steps are those of the loop around it
        reached = _reached_from(body, active, feedback)
        runs = self.runs * how_often(trips)
        pulled = self.pulled or node.pulled
        return _Walk(body, prefix, runs, reached, reached, classes, carried, looped, pulled)

    def _saved(self, node: Node, given: set[int], trips: Trips, pulled: bool) -> Task:
        """Return what the gradient of `node` saves in one run of it, or None and why not."""
        if pulled:
            return None, "it is part of a gradient"
        needs = [x in self.active for x in node.inputs]
        if not any(needs) or not given:
            return (), ""
        outputs = [i in given for i in range(len(specs_of(node)))]
        try:
            found = node.op.saved(node.attrs, needs, outputs)
            if not isinstance(found, list):
                found = yield found
        except LoopGradError as error:
            return None, f"its gradient cannot be drawn: {str(error).splitlines()[0]}"
        times = how_often(trips)
        return tuple([Saved(name, spec, times) for name, spec in found]), ""


def _total(bodies: Sequence[BodyReport], trips: Trips) -> tuple[Count, Count, dict[str, int]]:
    """Return flops, bytes moved and flops by op of one run of a node with these bodies."""
    if trips.one_of:
        dearest = max(bodies, key=lambda body: body.flops.value)
        flops = replace(dearest.flops, at_most=any(b.flops != dearest.flops for b in bodies))
        most = max((body.moved for body in bodies), key=lambda moved: moved.value)
        moved = replace(most, at_most=any(b.moved != most for b in bodies))
        bodies = [dearest]
    else:
        flops = sum((body.flops for body in bodies), Count())
        moved = sum((body.moved for body in bodies), Count())
    times = how_often(trips)
    by_op: dict[str, int] = {}
    for body in bodies:
        for op, n in body.by_op.items():
            by_op[op] = by_op.get(op, 0) + n * times.value
    return flops * times, moved * times, by_op


def _cost(node: Node) -> tuple[Count, Count]:
    """Return flops and bytes moved of one application; of unknown sizes nothing is counted."""
    inputs = [x.spec for x in node.inputs]
    outputs = specs_of(node)
    if any(UNKNOWN in spec.shape for spec in (*inputs, *outputs)):
        return Count(at_least=True), Count(at_least=True)
    flops = node.op.flops(inputs, node.spec, node.attrs)
    moved = 0 if node.op.free else sum(spec.nbytes for spec in (*inputs, *outputs))
    return Count(flops), Count(moved)


def _ports(graph: Graph, node: Node, body: Graph, ports: Sequence[Port]) -> list[PortReport]:
    names = list(body.inputs)
    results = list(body.outputs.values())
    return [
        PortReport(
            port.kind,
            names[port.inner],
            body.inputs[names[port.inner]].spec,
            reference(graph, node.inputs[port.outer]),
            "" if port.fed_by is None else reference(body, results[port.fed_by]),
            port.lag,
        )
        for port in ports
    ]


def _exits(graph: Graph, node: Node, body: Graph, exits: Sequence[Exit]) -> list[ExitReport]:
    results = list(body.outputs.values())
    specs = specs_of(node)
    found = []
    for out in exits:
        name = graph.names[node]
        if node.op.multiple:
            name += f":{node.op.output_name(node.attrs, out.outer)}"
        source = reference(body, results[out.inner])
        found.append(ExitReport(out.kind, name, specs[out.outer], source))
    return found


# Which nodes a gradient passes.


def _floating(spec: Any) -> bool:
    parts: tuple[Spec, ...] = spec if type(spec) is tuple else (spec,)
    return any(part.floating for part in parts)


def _passes(node: Node, index: int) -> bool:
    """Whether a gradient goes from `node` to that input of it, as far as its op declares."""
    rules = node.op.vjps
    return index >= len(rules) or rules[index] is not None


def _uses(node: Node, x: Node) -> bool:
    """Whether a gradient goes from `node` to its input `x`."""
    if not node.op.vjps:  # there may be a great many inputs
        return True
    return any(y is x and _passes(node, i) for i, y in enumerate(node.inputs))


def _reached_from(
    graph: Graph, sources: set[Node], feedback: Mapping[Node, Sequence[Node]]
) -> set[Node]:
    """Return the float nodes that depend on `sources`, also by way of earlier steps."""
    own = set(graph.nodes)
    reached: set[Node] = set()
    stack = list(sources)
    while stack:
        node = stack.pop()
        if node in reached:
            continue
        reached.add(node)
        stack += feedback.get(node, ())
        if node in own:
            stack += [y for y in graph.consumers(node) if _floating(y.spec) and _uses(y, node)]
    return reached


def _reaching(graph: Graph, active: set[Node]) -> set[Node]:
    """Return those of the `active` nodes on which a float output of the graph depends."""
    live = active & set(graph.outputs.values())
    for node in reversed(graph.nodes):
        if node in live:
            live |= {x for i, x in enumerate(node.inputs) if x in active and _passes(node, i)}
    return live
