"""Common sub-expressions: what is computed twice from the same inputs is computed once.

Nodes are the same if their op, attrs and inputs are; small constants, if their bytes are; nodes
that hold bodies, if these have the same structure. Random ops are functions of their key, which is
an input, so only draws with one key are one draw. An op that runs code of the user's is left
alone: nobody promises that it gives the same again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from autograd.graph import Graph
from autograd.node import Node
from autograd.rewrite.cost import Cost, cost_of
from autograd.rewrite.engine import Context, Pass
from autograd.rewrite.nodes import rewritten
from autograd.rewrite.pipeline import register
from autograd.rewrite.rules import value_of
from autograd.trampoline import Task, trampoline

LAW = "the same op on the same inputs gives the same"

SMALL = 1024
"""Bytes up to which constants are compared."""

_COMMUTE = frozenset({"add", "multiply", "equal", "not_equal", "logical_and", "logical_or"})
"""Ops whose operands may change places without changing a bit of the result."""


class Structures:
    """Numbers graphs such that those of the same structure have the same number."""

    def __init__(self) -> None:
        self._numbers: dict[Graph, int] = {}
        self._known: dict[Hashable, int] = {}

    def number(self, graph: Graph) -> int:
        """Return the number of the structure of `graph`: ops, attrs, edges, and leaves."""
        number: int = trampoline(self._number(graph))
        return number

    def _number(self, graph: Graph) -> Task:
        known = self._numbers.get(graph)
        if known is not None:
            return known
        places: dict[Node, int] = {}
        rows: list[Hashable] = []
        for place, (name, port) in enumerate(graph.inputs.items()):
            places[port] = place
            rows.append((name, port.spec))
        for node in graph.nodes:
            if node in places:
                continue
            places[node] = len(places)
            if not node.inputs and not node.bodies:
                rows.append(_leaf(node))
                continue
            for value in node.attrs.values():
                if isinstance(value, Graph):
                    yield self._number(value)
            inputs = tuple([places[x] for x in node.inputs])
            rows.append((node.op, self._attrs(node), inputs, node.tracked))
        heads = tuple([(name, places[node]) for name, node in graph.outputs.items()])
        number = self._known.setdefault((tuple(rows), heads), len(self._known))
        self._numbers[graph] = number
        return number

    def _attrs(self, node: Node) -> Hashable:
        """Return the attrs of a node, its bodies by their numbers, which are known."""
        return tuple(
            [
                (key, self._numbers[value] if isinstance(value, Graph) else _plain(value))
                for key, value in node.attrs.items()
            ]
        )

    def same(self, a: Node, b: Node) -> bool:
        """Whether two nodes of one op hold bodies of the same structure."""
        return all(
            [
                value is b.attrs[key] or self.number(value) == self.number(b.attrs[key])
                for key, value in a.attrs.items()
                if isinstance(value, Graph)
            ]
        )


def run(graph: Graph, context: Context) -> Graph:
    """Let all readers of equal nodes read the first of them."""
    first: dict[Hashable, list[Node]] = {}
    structures: Structures = context.kept.setdefault("cse", Structures())

    def rule(node: Node) -> Node | None:
        others = first.setdefault(_key(node), [])
        for other in others:
            if other is node:
                return None
            if not node.bodies or structures.same(node, other):
                if node.inputs and node.op.name != "item":
                    did = f"{node.op.name} is computed already"
                    context.moved(graph, node, did, LAW, cost_of(node), Cost())
                return other
        others.append(node)
        return None

    return rewritten(graph, rule)


def _key(node: Node) -> Hashable:
    """Return what equal nodes have in common: bodies are compared besides."""
    if not node.inputs and not node.bodies:
        return _leaf(node)
    if not node.op.portable:
        return id(node)
    inputs = [id(x) for x in node.inputs]
    if node.op.name in _COMMUTE:
        inputs.sort()
    attrs: Hashable = None
    if node.attrs:
        attrs = tuple([(key, _plain(value)) for key, value in node.attrs.items()])
    return (node.op, attrs, node.tracked, *inputs)


def _leaf(node: Node) -> Hashable:
    """Return what tells a leaf apart: that it is this one, or the bytes of a small constant."""
    value = value_of(node)
    if value is None or value.nbytes > SMALL:
        return id(node)
    return (value.dtype, value.shape, value.tobytes())


def _plain(value: Any) -> Hashable:
    """Return an attr such that only equal ones of the same types are equal: 1 is not True."""
    if isinstance(value, tuple):
        return tuple([_plain(part) for part in value])
    if isinstance(value, Graph):
        return Graph
    if type(value) is float:
        return (float, value.hex())
    if value is None or type(value) in (bool, int, str):
        return (type(value), value)
    return id(value)


register(Pass("cse", LAW, run))
