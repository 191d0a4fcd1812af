"""A graph as text: one node a line, stable names, bodies indented below their node.

Lines are never aligned with each other, so that a change of one node is a change of one line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from autograd.draw.label import (
    attributes,
    constant_text,
    is_item,
    is_scalar,
    number,
    quoted,
    spec_text,
    specs_of,
    specs_text,
)
from autograd.graph import item_name
from autograd.node import Node

if TYPE_CHECKING:
    from autograd.graph import Graph

_INDENT = "  "


def to_text(graph: Graph) -> str:
    """Return `graph` as text, without a line break at the end.

    Unnamed scalar constants stand where they are used, `name:1` is output 1 of a node with
    several outputs. Values of parameters are left out: training does not change the text.
    """
    return "\n".join(lines(graph))


def lines(graph: Graph) -> Iterator[str]:
    """Yield the text line by line. Bodies are on a stack of our own, however deep they nest."""
    yield f"graph {quoted(graph.name)}:"
    stack = [_graph_lines(graph, _INDENT)]
    while stack:
        for line in stack[-1]:
            if isinstance(line, str):
                yield line
            else:
                stack.append(line)
                break
        else:
            stack.pop()


def _graph_lines(graph: Graph, indent: str) -> Iterator[Any]:
    """Yield the lines of the outermost graph, and for each body an iterator over its lines."""
    for name, node in graph.inputs.items():
        yield f"{indent}input {quoted(name)}: {spec_text(node.spec)}"
    yield from _node_lines(graph, indent)
    for name, node in graph.outputs.items():
        source = reference(graph, node)
        same = source == quoted(name)
        yield f"{indent}output {quoted(name)}" + ("" if same else f" = {source}")


def _node_lines(graph: Graph, indent: str) -> Iterator[Any]:
    inputs = set(graph.inputs.values())
    for node in graph.nodes:
        if node in inputs or is_scalar(node):
            continue
        if is_item(node):
            if graph.names[node] != item_name(graph.names[node.inputs[0]], node):
                name = quoted(graph.names[node])
                yield f"{indent}{name} = {_item_reference(graph, node)}: {spec_text(node.spec)}"
            continue
        bodies = node.bodies
        yield indent + _node_line(graph, node) + (":" if bodies else "")
        for i, body in enumerate(bodies):
            yield _body_lines(graph, node, i, body, indent + _INDENT)


def _node_line(graph: Graph, node: Node) -> str:
    name = quoted(graph.names[node])
    spec = specs_text(specs_of(node))
    if node.op.name == "parameter":
        return f"parameter {name}: {spec}"
    if node.op.name == "constant":
        return f"constant {name} = {constant_text(node.value)}: {spec}"
    beside = {x.dtype for x in node.inputs if not (is_scalar(x) or x.op.multiple)}
    arguments = ", ".join(reference(graph, x, beside) for x in node.inputs)
    attrs = "".join(f" {attr}" for attr in attributes(node))
    arrow = " ->" if node.bodies else ":"
    return f"{name} = {node.op.name}({arguments}){attrs}{arrow} {spec}"


def _body_lines(graph: Graph, node: Node, index: int, body: Graph, indent: str) -> Iterator[Any]:
    """Yield a body: what its inputs are given, its nodes, where its outputs go."""
    if len(node.bodies) > 1:
        yield f"{indent}body {index} {quoted(body.name)}:"
        indent += _INDENT
    ports, exits = node.op.ports(node.attrs)
    names = list(body.inputs)
    results = list(body.outputs.values())
    given = set()
    for port in ports:
        if port.body != index:
            continue
        given.add(port.inner)
        name = names[port.inner]
        line = f"{indent}{port.kind} {quoted(name)}: {spec_text(body.inputs[name].spec)}"
        line += f" <- {reference(graph, node.inputs[port.outer])}"
        if port.fed_by is not None:
            line += f", then {reference(body, results[port.fed_by])}"
            line += f" {port.lag} steps later" if port.lag > 1 else ""
        yield line
    for i, name in enumerate(names):
        if i not in given:
            yield f"{indent}input {quoted(name)}: {spec_text(body.inputs[name].spec)}"
    yield from _node_lines(body, indent)
    owner = quoted(graph.names[node])
    several = node.op.multiple
    for out in exits:
        if out.body == index:
            target = owner
            if several:
                target += f":{quoted(node.op.output_name(node.attrs, out.outer))}"
            yield f"{indent}{out.kind} {target} <- {reference(body, results[out.inner])}"


def reference(graph: Graph, node: Node, beside: Collection[Any] = ()) -> str:
    """Return how `node` is written as an argument: its name, or its number if it is a scalar.

    The number is followed by its dtype, unless Python's numbers or the dtypes `beside` it tell.
    """
    if is_scalar(node):
        dtype = node.dtype
        plain = dtype.name in ("float64", "int64", "bool") or dtype in beside
        return number(node.value) + ("" if plain else f":{dtype}")
    if is_item(node) and graph.names[node] == item_name(graph.names[node.inputs[0]], node):
        return _item_reference(graph, node)
    return quoted(graph.names[node])


def _item_reference(graph: Graph, node: Node) -> str:
    source = node.inputs[0]
    output = source.op.output_name(source.attrs, node.attrs["index"])
    return f"{quoted(graph.names[source])}:{quoted(output) if not output.isdigit() else output}"
