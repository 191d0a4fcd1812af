"""What a pass is, and how it is run on a graph and all bodies in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from autograd.graph import Graph, item_name
from autograd.node import Node
from autograd.rewrite.cost import Cost, Machine
from autograd.rewrite.nodes import substitute, with_body
from autograd.trampoline import Task, trampoline


@dataclass(frozen=True)
class Move:
    """One thing a pass did, or considered and did not do."""

    by: str
    """The pass."""
    node: str
    """Path of the node it is about."""
    did: str
    """What was done, with where from and where to, in a few words."""
    law: str
    """Why the result stays the same."""
    before: Cost | None = None
    """What it took before, in all steps of the loops around."""
    after: Cost | None = None
    why_not: str = ""
    """Why it was not done; empty if it was."""


@dataclass
class Context:
    """What a pass is told besides the graph, and where it says what it did."""

    machine: Machine
    moves: list[Move] = field(default_factory=list)
    path: str = ""
    """Where the graph at hand is: `encoder.loop.`; empty for the outermost."""
    trips: int = 1
    """How often the graph at hand runs each time the outermost does (at most)."""
    by: str = ""
    """The pass that is running."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What a pass keeps from one body to the next, by a name of its own."""

    def moved(
        self,
        graph: Graph,
        node: Node,
        did: str,
        law: str,
        before: Cost | None = None,
        after: Cost | None = None,
    ) -> None:
        """Note that `node` of `graph` was moved or replaced. Costs are those of one run of it."""
        self._note(graph, node, did, law, before, after, "")

    def left(
        self,
        graph: Graph,
        node: Node,
        did: str,
        why_not: str,
        before: Cost | None = None,
        after: Cost | None = None,
    ) -> None:
        """Note that what `did` says of `node` was considered and not done."""
        self._note(graph, node, did, "", before, after, why_not)

    def _note(
        self,
        graph: Graph,
        node: Node,
        did: str,
        law: str,
        before: Cost | None,
        after: Cost | None,
        why_not: str,
    ) -> None:
        times = self.trips
        self.moves.append(
            Move(
                self.by,
                self.path + title(node),
                did,
                law,
                None if before is None else before * times,
                None if after is None else after * times,
                why_not,
            )
        )


def title(node: Node) -> str:
    """Return what a node of a neutral graph is called, without naming all others for it."""
    if node.name is None and node.op.name == "item":
        return item_name(title(node.inputs[0]), node)
    return node.name or node.op.name


@dataclass(frozen=True)
class Pass:
    """A pass: `run` works on one graph and leaves bodies to the engine, which visits them first.

    It returns the same object if it changed nothing. Nodes are without scope in all bodies (see
    `rewrite.nodes.neutral`), and are never changed: a pass draws others and substitutes them.
    """

    name: str
    law: str
    """Why it changes no result, in one line."""
    run: Callable[[Graph, Context], Graph]
    rounding: bool = False
    """Whether results may differ by rounding: other sums, in another order."""


def run_passes(graph: Graph, passes: Iterable[Pass], context: Context) -> Graph:
    """Return `graph` (neutral) after `passes`, one after the other, in bodies and outside."""
    for each in passes:
        context.by = each.name
        graph = trampoline(_everywhere(graph, each, context, {}))
    return graph


def _everywhere(graph: Graph, each: Pass, context: Context, known: dict[Graph, Graph]) -> Task:
    """Run a pass on all bodies, the innermost first, and then on the graph itself."""
    if graph in known:
        return known[graph]
    replacements = {}
    for node in graph.nodes:
        keys = node.op.replaceable(node.attrs) if node.bodies else ()
        if not keys:
            continue
        path, trips = context.path, context.trips
        context.path = f"{path}{title(node)}."
        context.trips = trips * (_trips(node) or 1)
        changed = {}
        for key in keys:
            body = node.attrs[key]
            after = yield _everywhere(body, each, context, known)
            if after is not body:
                changed[key] = after
        context.path, context.trips = path, trips
        if changed:
            replacements[node] = with_body(node, changed)
    result = each.run(substitute(graph, replacements), context)
    known[graph] = result
    return result


def _trips(node: Node) -> int | None:
    return node.op.trips([x.spec for x in node.inputs], node.attrs).count
