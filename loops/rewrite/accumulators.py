"""States that only add up: found by following what a state is fed with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autograd.node import Node
from autograd.ops.elementwise import add, subtract
from loops.rewrite.parts import Parts, State
from loops.rewrite.steps import uses_of


@dataclass(frozen=True, eq=False)
class Accumulator:
    """A state fed with itself plus (or minus) some terms, which nothing else reads."""

    state: State
    chain: tuple[Node, ...]
    """The additions, the last of which the state is fed with."""
    terms: tuple[tuple[Node, bool], ...]
    """What is added in a step, and whether it is subtracted."""


def accumulators(parts: Parts) -> list[Accumulator]:
    """Return the accumulators among the states of a loop."""
    body = parts.body
    uses = uses_of(body.nodes, parts.heads)
    readers: dict[Node, Node] = {}
    for node in body.nodes:
        for x in node.inputs:
            readers[x] = node
    found = [_followed(state, uses, readers) for state in parts.states]
    return [each for each in found if each is not None]


def _followed(
    state: State, uses: Mapping[Node, int], readers: Mapping[Node, Node]
) -> Accumulator | None:
    node, chain, terms = state.port, [], []
    if state.lag != 1 or not node.spec.floating:
        return None
    while node is not state.after:
        reader = readers.get(node)
        if uses[node] != 1 or reader is None or reader.spec != node.spec:
            return None
        if reader.op is add:
            a, b = reader.inputs
            terms.append((b if a is node else a, False))
        elif reader.op is subtract and reader.inputs[0] is node:
            terms.append((reader.inputs[1], True))
        else:
            return None
        if terms[-1][0].dtype != node.dtype:
            return None
        chain.append(reader)
        node = reader
    if not chain or uses[node] != 1:
        return None
    return Accumulator(state, tuple(chain), tuple(terms))
