"""Which nodes of a body surely have equal values: numbers for values, by structure.

Two nodes get one number if they are the same op, with equal attrs, of inputs with the same numbers
(value numbering: Cocke and Schwartz 1970, "Programming Languages and Their Compilers"). States are
assumed equal as long as nothing tells them apart, as states of automata are (Hopcroft 1971, "An
n log n algorithm for minimizing states in a finite automaton").
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from autograd.node import Node
from autograd.trampoline import trampoline
from loops.loop import loop
from loops.rewrite.parts import Parts
from loops.rewrite.slices import Slice, is_output, same_source, slice_of, what

Numbers = dict[Node, Hashable]


def first_of(keys: Sequence[Hashable]) -> list[int]:
    """Return, for each of `keys`, the index of the first one that is equal."""
    seen: dict[Hashable, int] = {}
    return [seen.setdefault(key, i) for i, key in enumerate(keys)]


def numbers_of_ports(parts: Parts) -> Numbers:
    """Return numbers for shared and per-step ports: equal where they are given the same."""
    numbers: Numbers = {}
    for kind, entries in (("shared", parts.shared), ("each", parts.each)):
        numbers |= {x.port: (kind, same_source(x.outer)) for x in entries}
    return numbers


def numbered(parts: Parts) -> tuple[Numbers, list[int]]:
    """Return a number for each node of the body, and for each state the first one equal to it.

    States are equal in all steps if they start alike, and each step feeds them alike as long as
    they were alike before it.
    """
    states = parts.states
    given = numbers_of_ports(parts)
    nodes = [(node, _told(node)) for node in parts.nodes() if node.op.name != "input"]
    classes = first_of([(same_source(x.outer), x.port.spec, x.lag) for x in states])
    while True:
        ports = {x.port: ("state", k) for x, k in zip(states, classes, strict=True)}
        numbers = _follow(nodes, {**given, **ports})
        finer = first_of([(k, numbers[x.after]) for x, k in zip(states, classes, strict=True)])
        if finer == classes:
            return numbers, classes
        classes = finer


def _told(node: Node) -> Slice | Hashable:
    """Return what gives a node its value besides its inputs; None if it is no one else's."""
    if is_output(node):
        told: Slice = trampoline(slice_of(node.inputs[0], node.attrs["index"]))
        return told
    if not node.inputs and not node.bodies:
        return same_source(node)
    return None if node.op is loop and not node.attrs.get("rows") else what(node)


def _follow(
    nodes: Iterable[tuple[Node, Slice | Hashable]], given: Mapping[Node, Hashable]
) -> Numbers:
    """Return numbers for `nodes`, each after its inputs; `given` has those of ports."""
    numbers = dict(given)
    known: dict[Hashable, int] = {}
    for node, told in nodes:
        key: Hashable
        if isinstance(told, Slice):
            source = node.inputs[0].inputs
            key = (told.digest, *[numbers[source[i]] for i in told.reads])
        elif told is None:
            key = ("node", id(node))
        else:
            key = (told, *[numbers[x] for x in node.inputs])
        numbers[node] = known.setdefault(key, len(known))
    return numbers
