"""Which nodes of a body surely have equal values: numbers for values, by structure.

Two nodes get one number if they are the same op, with equal attrs, of inputs with the same numbers
(value numbering: Cocke and Schwartz 1970, "Programming Languages and Their Compilers"). States are
assumed equal as long as nothing tells them apart, as states of automata are (Hopcroft 1971, "An
n log n algorithm for minimizing states in a finite automaton").
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

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
    numbering = Numbering(parts)
    numbering.refine()
    return numbering.numbers, first_of(numbering.labels)


class Numbering:
    """Numbers of nodes while states are told apart: only what reads those told apart changes.

    Of states told apart the larger part keeps its label, so none gets a new one more than log(n)
    times.
    """

    def __init__(self, parts: Parts) -> None:
        self.states = parts.states
        self.nodes = [node for node in parts.nodes() if node.op.name != "input"]
        self.told = [_told(node) for node in self.nodes]
        self.known: dict[Hashable, int] = {}
        self.labels = first_of([(same_source(x.outer), x.port.spec, x.lag) for x in self.states])
        self.fresh = len(self.states)
        self.numbers = numbers_of_ports(parts)
        for k, state in enumerate(self.states):
            self.numbers[state.port] = ("state", self.labels[k])
        for node, told in zip(self.nodes, self.told, strict=True):
            self.numbers[node] = self._number(node, told)

    def refine(self) -> None:
        """Tell states apart until those of one label are fed with nodes of one number."""
        if len(set(self.labels)) == len(self.labels):
            return
        members: dict[int, set[int]] = {}
        for k, label in enumerate(self.labels):
            members.setdefault(label, set()).add(k)
        fed: dict[Node, list[int]] = {}
        for k, state in enumerate(self.states):
            fed.setdefault(state.after, []).append(k)
        readers: dict[Node, list[int]] = {}
        for i, node in enumerate(self.nodes):
            for x in _read(node, self.told[i]):
                readers.setdefault(x, []).append(i)
        changed = set(range(len(self.states)))
        while changed:
            apart = self._split(changed, members)
            moved = self._follow([self.states[k].port for k in apart], readers)
            changed = {k for node in moved for k in fed.get(node, ())}

    def _split(self, changed: Iterable[int], members: dict[int, set[int]]) -> list[int]:
        """Give new labels to states that are now fed with others; return these states.

        Of the states of a label, those that are not `changed` are fed alike.
        """
        found: dict[int, dict[Hashable, set[int]]] = {}
        for k in changed:
            groups = found.setdefault(self.labels[k], {})
            groups.setdefault(self.numbers[self.states[k].after], set()).add(k)
        apart: list[int] = []
        for label, groups in found.items():
            others = members[label].difference(*groups.values())
            *smaller, members[label] = sorted([others, *groups.values()], key=len)
            for group in filter(None, smaller):
                for k in group:
                    self.labels[k] = self.fresh
                    self.numbers[self.states[k].port] = ("state", self.fresh)
                members[self.fresh] = group
                self.fresh += 1
                apart += group
        return apart

    def _follow(self, ports: Iterable[Node], readers: Mapping[Node, Sequence[int]]) -> list[Node]:
        """Number again what reads `ports`, and what reads that; return what changed, ports too."""
        moved = list(ports)
        waiting = [i for x in moved for i in readers.get(x, ())]
        heapify(waiting)
        last = -1
        while waiting:
            i = heappop(waiting)
            if i == last:
                continue
            last = i
            node = self.nodes[i]
            number = self._number(node, self.told[i])
            if number != self.numbers[node]:
                self.numbers[node] = number
                moved.append(node)
                for k in readers.get(node, ()):
                    heappush(waiting, k)
        return moved

    def _number(self, node: Node, told: Slice | Hashable) -> int:
        key: Hashable
        if told is None:
            key = ("node", id(node))
        else:
            op = told.digest if isinstance(told, Slice) else told
            key = (op, *[self.numbers[x] for x in _read(node, told)])
        return self.known.setdefault(key, len(self.known))


def _read(node: Node, told: Slice | Hashable) -> Sequence[Node]:
    """Return what the value of a node depends on: not all that a loop reads, if it is an output."""
    if isinstance(told, Slice):
        inputs = node.inputs[0].inputs
        return [inputs[i] for i in told.reads]
    return node.inputs


def _told(node: Node) -> Slice | Hashable:
    """Return what gives a node its value besides its inputs; None if it is no one else's."""
    if is_output(node):
        told: Slice = trampoline(slice_of(node.inputs[0], node.attrs["index"]))
        return told
    if not node.inputs and not node.bodies:
        return same_source(node)
    return None if node.op is loop and not node.attrs.get("rows") else what(node)
