"""New graphs from old ones: what a pass does not change is shared, node by node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from autograd.graph import Graph
from autograd.node import Node, _next_serial, draw_input
from autograd.scope import drawing
from autograd.trampoline import Task, trampoline

_new = object.__new__


def renewed(node: Node, inputs: Sequence[Node], attrs: dict[str, Any] | None = None) -> Node:
    """Return `node` applied to other inputs of the same specs, or holding other bodies.

    It keeps its name, line and origin. Nothing is inferred again: the caller knows the specs.
    """
    new: Node = _new(type(node))
    new.op = node.op
    new.inputs = tuple(inputs)
    new.attrs = node.attrs if attrs is None else attrs
    new.tracked = node.tracked
    new._value = None
    new._spec = node.spec
    new.name = node.name
    new.line = node.line
    new.scope = None
    new._pulled = node.origin
    new.serial = _next_serial()
    return new


def like(node: Node, old: Node) -> Node:
    """Give a node that stands for `old` its name, line and origin, and return it."""
    if node.inputs or node.bodies:
        node.name = old.name
        node.line = old.line
        node._pulled = old.origin
    return node


def neutral(graph: Graph) -> Graph:
    """Return a copy of `graph` whose nodes, in all bodies, belong to no scope.

    Passes may then move any node anywhere. Each node is named as in `graph`, so what becomes of it
    can be told.
    """
    copied: Graph = trampoline(_neutral(graph, {}))
    return copied


def _neutral(graph: Graph, known: dict[Graph, Graph]) -> Task:
    if graph in known:
        return known[graph]
    inputs = {}
    for key, port in graph.inputs.items():
        inputs[key] = draw_input(port.name, port.spec, None, port.tracked)
        inputs[key].line = port.line
    made = dict(zip(graph.inputs.values(), inputs.values(), strict=True))
    for node in graph.nodes:
        if node in made:
            continue
        if not node.inputs and not node.bodies:
            made[node] = node
            continue
        attrs = node.attrs
        if node.bodies:
            attrs = dict(attrs)
            for key in node.op.replaceable(attrs):
                attrs[key] = yield _neutral(attrs[key], known)
        made[node] = new = renewed(node, [made[x] for x in node.inputs], attrs)
        if node.op.name != "item":
            new.name = graph.names[node]
        origin = node.origin
        new._pulled = made.get(origin, True) if isinstance(origin, Node) else origin
    known[graph] = graph.like(inputs, [made[node] for node in graph.outputs.values()])
    return known[graph]


def rewired(
    heads: Sequence[Node], others: Mapping[Node, Node], fixed: Iterable[Node] = ()
) -> list[Node]:
    """Return `heads` with the nodes that are keys of `others` replaced; the unchanged is shared.

    What is `fixed` stays, and nothing before it is looked at.
    """
    made: dict[Node, Node] = {node: node for node in fixed}
    stack = list(heads)
    while stack:
        node = stack[-1]
        if node in made:
            stack.pop()
            continue
        other = others.get(node)
        needed = node.inputs if other is None else (other,)
        missing = [x for x in needed if x not in made]
        if missing:
            stack += missing
            continue
        stack.pop()
        if other is not None:
            made[node] = made[other]
        elif all([made[x] is x for x in node.inputs]):
            made[node] = node
        else:
            made[node] = renewed(node, [made[x] for x in node.inputs])
    return [made[head] for head in heads]


def substitute(graph: Graph, replacements: Mapping[Node, Node]) -> Graph:
    """Return `graph` with some nodes replaced by others of the same spec.

    A replacement is drawn on nodes of `graph` as it is, also on ones that are replaced themselves,
    as long as that goes round in no circle. `graph` itself comes back if nothing changes.
    """
    if not replacements:
        return graph
    heads = list(graph.outputs.values())
    made = rewired(heads, replacements, graph.inputs.values())
    if all([new is head for new, head in zip(made, heads, strict=True)]):
        return graph
    return _with_outputs(graph, made)


def rewritten(graph: Graph, rule: Callable[[Node], Node | None]) -> Graph:
    """Return `graph` with `rule` applied to its nodes, from the inputs on, as often as it applies.

    `rule(node)` is given a node whose inputs are rewritten already, and returns what stands for it,
    of the same spec and drawn on these inputs or on what is before them; or None.
    """
    made: dict[Node, Node] = {port: port for port in graph.inputs.values()}
    for node in graph.nodes:
        if node in made:
            continue
        new = node
        for x in node.inputs:
            if made[x] is not x:
                new = renewed(node, [made[x] for x in node.inputs])
                break
        while True:
            other = rule(new)
            if other is None:
                break
            new = other
        made[node] = new
    heads = list(graph.outputs.values())
    if all([made[head] is head for head in heads]):
        return graph
    return _with_outputs(graph, [made[head] for head in heads])


def _with_outputs(graph: Graph, outputs: Sequence[Node]) -> Graph:
    """Return the graph of other outputs on the inputs of `graph`."""
    new = Graph.of(graph.inputs, dict(zip(graph.outputs, outputs, strict=True)), graph.name)
    new.structure = graph.structure
    return new


def with_body(node: Node, bodies: Mapping[str, Graph]) -> Node:
    """Return `node` with other bodies (by attr) of the same inputs and outputs."""
    return renewed(node, node.inputs, {**node.attrs, **bodies})


def applied(node: Node, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Return what `node.op` gives on `inputs`, drawn outside of all bodies, specs inferred."""
    with drawing(None):
        result = node.op(*inputs, **attrs)
    return result
