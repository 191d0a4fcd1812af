"""Which nodes of a body surely have equal values: numbers for values, by structure.

Two nodes get one number if they are the same op, with equal attrs, of inputs with the same numbers
(value numbering: Cocke and Schwartz 1970, "Programming Languages and Their Compilers"). States are
assumed equal as long as nothing tells them apart, as states of automata are (Hopcroft 1971, "An
n log n algorithm for minimizing states in a finite automaton").
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from autograd.graph import Graph
from autograd.node import OPS, Node
from autograd.trampoline import Task, trampoline
from loops.rewrite.parts import Entry, Parts

SMALL = 1024
"""Bytes up to which constants are compared by value; larger ones are equal if they are one node."""

PLAIN = (bool, int, float, str, bytes, type(None))


def same_source(node: Node) -> Hashable:
    """Return a key that two nodes outside of a loop share only if their values are equal."""
    if node.op.name == "constant" and not node.tracked and node.spec.nbytes <= SMALL:
        return node.spec, node._value.tobytes()
    return "node", id(node)  # a node is no key: its == draws another


def first_of(keys: Sequence[Hashable]) -> list[int]:
    """Return, for each of `keys`, the index of the first one that is equal."""
    seen: dict[Hashable, int] = {}
    return [seen.setdefault(key, i) for i, key in enumerate(keys)]


def numbered(nodes: Iterable[Node], given: Mapping[Node, Hashable]) -> dict[Node, Hashable]:
    """Return a number for each of `nodes` (each after its inputs); `given` has those of ports."""
    numbers: dict[Node, Hashable] = dict(given)
    known: dict[Hashable, int] = {}
    for node in nodes:
        if node in numbers:
            continue
        if not node.inputs and not node.bodies:
            numbers[node] = same_source(node)
            continue
        key = (_kind(node), tuple([numbers[x] for x in node.inputs]))
        numbers[node] = known.setdefault(key, len(known))
    return numbers


def classes_of_states(parts: Parts, given: Mapping[Node, Hashable]) -> list[int]:
    """Return, for each state, the index of the first one that is always equal to it.

    They start alike, and each step feeds them alike as long as they were alike before it.
    `given` has the numbers of the ports that are not states.
    """
    states = parts.states
    classes = first_of([(same_source(x.outer), x.port.spec, x.lag) for x in states])
    count = len(set(classes))
    while count < len(states):
        numbers = numbers_inside(parts, given, classes)
        classes = first_of([(k, numbers[x.after]) for x, k in zip(states, classes, strict=True)])
        if len(set(classes)) == count:
            break
        count = len(set(classes))
    return classes


def numbers_of_ports(parts: Parts) -> dict[Node, Hashable]:
    """Return numbers for shared and per-step ports: equal where they are given the same."""
    numbers: dict[Node, Hashable] = {}
    for kind, entries in (("shared", parts.shared), ("each", parts.each)):
        numbers |= {x.port: (kind, same_source(x.outer)) for x in entries}
    return numbers


def numbers_inside(
    parts: Parts, given: Mapping[Node, Hashable], classes: Sequence[int]
) -> dict[Node, Hashable]:
    """Return numbers of all nodes of the body: `given` ones, and states equal as `classes` says."""
    ports = {x.port: ("state", k) for x, k in zip(parts.states, classes, strict=True)}
    return numbered(parts.nodes(), {**given, **ports})


def first_alike(entries: Sequence[Entry], numbers: Mapping[Node, Hashable]) -> list[int]:
    """Return, for each port, the index of the first one of the same number."""
    return first_of([numbers[x.port] for x in entries])


def _kind(node: Node) -> Hashable:
    """Return a key of what a node does to its inputs."""
    return (node.op, _attrs(node))


def _attrs(node: Node) -> Hashable:
    return tuple([(name, _plain(value)) for name, value in sorted(node.attrs.items())])


def _plain(value: Any) -> Hashable:
    """Return a key of an attr. (A bool is no int here: `x[True]` is not `x[1]`.)"""
    if type(value) is Graph:
        digest: bytes = trampoline(signature(value))
        return digest
    if type(value) is tuple:
        return tuple([_plain(part) for part in value])
    return (type(value), repr(value)) if isinstance(value, PLAIN) else ("object", id(value))


def signature(graph: Graph) -> Task:
    """Return a digest that is equal for graphs that do the same in the same order; a task.

    It holds for graphs that are there at the same time, and is kept with the graph.
    """
    if "signature" not in graph._cache:
        for node in graph.nodes:
            for body in node.bodies:
                yield signature(body)
        places = {node: i for i, node in enumerate(graph.inputs.values())}
        rows = []
        for node in graph.nodes:
            if node in places:
                continue
            places[node] = len(places)
            rows.append(_row(node, places))
        ends = [places[node] for node in graph.outputs.values()]
        specs = [node.spec for node in graph.inputs.values()]
        text = repr((specs, rows, ends)).encode()
        graph._cache["signature"] = blake2b(text, digest_size=16).digest()
    return graph._cache["signature"]


def _row(node: Node, places: Mapping[Node, int]) -> Hashable:
    """Return what a node is, without any object that prints its insides."""
    if not node.inputs and not node.bodies:
        return same_source(node)
    op = node.op
    name = op.name if OPS.get(op.name) is op else (op.name, id(op))
    return name, _attrs(node), tuple([places[x] for x in node.inputs])
