"""From a graph to the text of a file."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from autograd.draw.label import spec_text, specs_of, visible
from autograd.errors import FormatError
from autograd.graph import Graph
from autograd.node import OPS, Node
from autograd.spec import Array

FORMAT = "loopgrad graph"
VERSION = 1
LONGEST_NAME = 100_000

SURROGATE = re.compile("[\ud800-\udfff]")
_text = json.JSONEncoder(ensure_ascii=True, allow_nan=False).encode


def write(graph: Graph) -> str:
    """Return the text of a file, up to its digest."""
    graphs = _bodies_first(graph)
    position = {id(each): i for i, each in enumerate(graphs)}
    head = f'{{"format": "{FORMAT}", "version": {VERSION}, "graphs": [\n'
    tables = [_graph(each, position) for each in graphs]
    return head + ",\n".join(tables) + "\n],\n"


def _bodies_first(graph: Graph) -> list[Graph]:
    """Return `graph` and all bodies, each once, bodies before the graphs that hold them."""
    order: list[Graph] = []
    done = {id(graph)}
    stack: list[tuple[Graph, Iterator[Graph]]] = [(graph, _bodies(graph))]
    while stack:
        holder, bodies = stack[-1]
        for body in bodies:
            if id(body) not in done:
                done.add(id(body))
                stack.append((body, _bodies(body)))
                break
        else:
            order.append(holder)
            stack.pop()
    return order


def _bodies(graph: Graph) -> Iterator[Graph]:
    for node in graph.nodes:
        yield from (value for value in node.attrs.values() if isinstance(value, Graph))


def _graph(graph: Graph, position: dict[int, int]) -> str:
    names = graph.names
    inputs = []
    for name, node in graph.inputs.items():
        entry: dict[str, Any] = {"name": _name(name), "spec": spec_text(node.spec)}
        if node.name != name:
            entry["label"] = node.name
        if node.spec.floating and not node.tracked:
            entry["tracked"] = False
        inputs.append(entry)
    known = set(graph.inputs.values())
    nodes = [_node(names, node, position) for node in graph.nodes if node not in known]
    outputs = [[_name(name), names[node]] for name, node in graph.outputs.items()]
    structure = ""
    if graph.structure is not None:
        structure = f', "structure": {_text(_structure(graph.structure[0]))}'
    table = ",\n".join(nodes)
    return (
        f'{{"name": {_text(_name(graph.name))}, "inputs": {_text(inputs)}, "nodes": [\n'
        f'{table}\n], "outputs": {_text(outputs)}{structure}}}'
    )


def _node(names: dict[Node, str], node: Node, position: dict[int, int]) -> str:
    name = _name(names[node])
    if OPS.get(node.op.name) is not node.op:
        raise FormatError(
            f"node '{visible(name)}' is of op '{visible(node.op.name)}', which is not one of "
            "LoopGrad's own, so a file cannot name it; build that part from LoopGrad's ops, or "
            "leave it out with graph.select(...)"
        )
    specs = [spec_text(spec) for spec in specs_of(node)]
    entry: dict[str, Any] = {"name": name, "op": node.op.name}
    if node.pulled:
        entry["pulled"] = True
    if node.op.name in ("parameter", "constant"):
        entry["spec"] = specs[0]
        entry["value"] = _array(node.value)
        if node.op.name == "constant" and node.tracked:
            entry["tracked"] = True
        return _text(entry)
    entry["inputs"] = [names[x] for x in node.inputs]
    if node.attrs:
        entry["attrs"] = {
            key: _attribute(value, position, name) for key, value in node.attrs.items()
        }
    entry["spec"] = specs if node.op.multiple else specs[0]
    return _text(entry)


def _array(value: Array) -> str:
    little = np.asarray(value, value.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode("ascii")


def _attribute(value: Any, position: dict[int, int], name: str) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, (tuple, list)):
        return [_attribute(part, position, name) for part in value]
    if id(value) in position:
        return {"graph": position[id(value)]}
    raise FormatError(
        f"node '{visible(name)}' has an attribute of type {type(value).__name__}, but a file holds "
        "only numbers, names, tuples of these and graphs"
    )


def _structure(structure: Any) -> Any:
    """Return what a traced function returned; a namedtuple is written as a tuple."""
    if structure is None:
        return None
    kind, children = structure
    if kind is not dict:
        form = "list" if issubclass(kind, list) else "tuple"
        return {form: [_structure(child) for child in children]}
    for key, _ in children:
        if type(key) not in (str, int):
            raise FormatError(
                f"the graph returns a dict with a key of type {type(key).__name__}; a file holds "
                "only dicts whose keys are strings or whole numbers"
            )
    return {"dict": [[key, _structure(child)] for key, child in children]}


def _name(name: str) -> str:
    if len(name) > LONGEST_NAME or SURROGATE.search(name):
        raise FormatError(
            f"the name '{visible(name[:40])}' ({len(name)} characters) cannot be saved: a name is "
            f"text of up to {LONGEST_NAME} characters, without lone surrogates"
        )
    return name
