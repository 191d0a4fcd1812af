"""How much memory running a graph takes at most, from its specs alone, before it runs.

The reference executor is followed step by step: values are made, and those over 4096 bytes are let
go after the last node that reads them. What a node needs for a while beside its inputs and its
result, its op says (`Op.working`); ops with bodies go through these in turn.

Inputs, parameters and constants are not counted: they exist before. All sizes are in bytes. They
are upper bounds of what tracemalloc measures, and close where arrays are large.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple

from autograd.spec import UNKNOWN, Spec
from autograd.trampoline import Task, trampoline

if TYPE_CHECKING:
    from autograd.graph import Graph
    from autograd.node import Node

OBJECT = 176
"""Python's and NumPy's own bytes for an array."""
NODE = 1000
"""Python's own bytes for a node made ready to run."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VIEWS = _words(
    """
    broadcast_to diagonal expand_dims flip identity item permute_dims repeat_like slice split
    squeeze stop_gradient swapaxes unstack
    """
)
"""Ops whose results look at their first input, which therefore stays as long as they do."""
MAYBE_VIEWS = frozenset({"astype", "einsum", "reshape"})
"""Ops whose results may do so, or be arrays of their own."""

LEAN = _words(
    """
    abs add arccos arccosh arcsin arcsinh arctan arctan2 arctanh astype ceil concat cos cosh
    divide equal exp exp2 expm1 floor floor_divide greater greater_equal hypot identity isfinite
    isinf isnan item less less_equal log log10 log1p log2 logaddexp logical_and logical_not
    logical_or logical_xor matmul maximum minimum multiply negative not_equal power reciprocal
    relu remainder reshape round sign sin sinh sqrt square stack stop_gradient subtract swapaxes
    tan tanh where
    """
)
"""Ops that make nothing but their result."""
REDUCTIONS = _words("all any max mean min prod sum sum_to")
BUFFERED = 8192
"""How many elements at a time older releases of NumPy copy when they reduce."""
OTHERS = {"erf": 8, "erfc": 8}
FEW = 4
"""How many arrays of the size of the largest one other ops may need for a while."""


def scratch(name: str, specs: Sequence[Spec], results: Sequence[Spec]) -> float:
    """Return what an op without bodies may need for a while beside its inputs and results."""
    if name in REDUCTIONS:
        return sum(min(nbytes(spec), BUFFERED * spec.dtype.itemsize) for spec in specs)
    if name in LEAN or name in VIEWS:
        return 0
    return OTHERS.get(name, FEW) * max(map(nbytes, (*specs, *results)), default=0)


def nbytes(spec: Spec) -> float:
    """Return the bytes of a value; infinity where only running can tell."""
    return inf if UNKNOWN in spec.shape else spec.nbytes


def _specs(node: Node) -> tuple[Spec, ...]:
    spec: Any = node.spec
    return spec if type(spec) is tuple else (spec,)


class Peak(NamedTuple):
    """The most memory that running a graph takes, and the node at which it does."""

    bytes: float
    node: Node | None


class _Buffer:
    """An array some values are, or look at; `readers` of them are alive."""

    __slots__ = ("nbytes", "readers")

    def __init__(self, size: float) -> None:
        self.nbytes = size
        self.readers = 0


def peak(graph: Graph) -> Task:
    """Return the Peak of running `graph`; a task, as bodies may nest deep. Kept with the graph."""
    known = graph._cache.get("peak")
    if known is None:
        known = graph._cache["peak"] = yield _peak(graph)
    return known


def _peak(graph: Graph) -> Task:
    alive: dict[int, list[list[_Buffer]]] = {}
    slots: dict[Node, int] = {}
    held: float = 0
    highest = Peak(0, None)
    for instruction in graph.program.code:
        node = instruction.node
        slots[node] = instruction.slot
        parts = _buffers(node, [alive.get(slots.get(x, -1), []) for x in node.inputs])
        for buffer in {id(b): b for part in parts for b in part}.values():
            held += buffer.nbytes if not buffer.readers else 0
            buffer.readers += 1
        alive[instruction.slot] = parts
        specs = [spec for x in node.inputs for spec in _specs(x)]
        working = node.op.working(specs, _specs(node), node.attrs)
        if type(working) is GeneratorType:
            working = yield working
        if held + working > highest.bytes:
            highest = Peak(held + working, node)
        for slot in instruction.dead:
            for buffer in {id(b): b for part in alive.pop(slot, []) for b in part}.values():
                buffer.readers -= 1
                held -= buffer.nbytes if not buffer.readers else 0
    return highest


def _buffers(node: Node, inputs: Sequence[list[list[_Buffer]]]) -> list[list[_Buffer]]:
    """Return what each result of `node` is or looks at, given that of its inputs."""
    name = node.op.name
    if name == "item":
        return inputs[0][node.attrs["index"] :][:1]
    seen = [b for part in inputs[0] for b in part] if name in VIEWS | MAYBE_VIEWS else []
    if name in VIEWS:
        return [[*seen, _Buffer(OBJECT)] for _ in _specs(node)]
    return [[*seen, _Buffer(nbytes(spec) + OBJECT)] for spec in _specs(node)]


def predicted(graph: Graph) -> Peak:
    """Return the Peak of `graph`, with what Python needs for its nodes and those of its bodies."""
    found: Peak = trampoline(peak(graph))
    return Peak(found.bytes + NODE * node_count(graph), found.node)


def node_count(graph: Graph) -> int:
    """Return the number of nodes of a graph and its bodies, each once."""
    bodies: list[Graph] = [graph]
    seen = {id(graph)}
    nodes = 0
    for body in bodies:
        nodes += len(body.nodes)
        for inner in [b for node in body.nodes for b in node.bodies if id(b) not in seen]:
            seen.add(id(inner))
            bodies.append(inner)
    return nodes
