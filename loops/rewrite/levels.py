"""Passes that go from the outside in: what they do to a loop is what those inside it need first.

The engine visits bodies first. A pass made by `outside_in` leaves them alone then, and goes through
all of them itself once it is given the outermost graph. (Of two loops that become one, those inside
can only then become one; of an output that nobody reads, what leads to it can only then go.)
"""

from __future__ import annotations

from collections.abc import Callable

from autograd.graph import Graph
from autograd.rewrite.engine import Context, title
from autograd.rewrite.nodes import substitute, with_body
from autograd.trampoline import Task, trampoline

Change = Callable[[Graph, Context], Graph]


def outside_in(change: Change, and_back: bool = False) -> Change:
    """Return the pass that has `change` work on the outermost graph and then on bodies in it.

    With `and_back` it works on a graph once more after it changed bodies in it, as these may then
    read less.
    """

    def run(graph: Graph, context: Context) -> Graph:
        if context.path:
            return graph
        changed: Graph = trampoline(_inward(graph, change, context, and_back, {}))
        return changed

    return run


def _inward(
    graph: Graph, change: Change, context: Context, and_back: bool, known: dict[Graph, Graph]
) -> Task:
    """Return `graph` after `change` to it and then to the bodies in what came of it; a task."""
    if graph in known:
        return known[graph]
    result = change(graph, context)
    replacements = {}
    for node in result.nodes:
        keys = node.op.replaceable(node.attrs) if node.bodies else ()
        if not keys:
            continue
        path, trips = context.path, context.trips
        context.path = f"{path}{title(node)}."
        context.trips *= node.op.trips([x.spec for x in node.inputs], node.attrs).count or 1
        bodies = {}
        for key in keys:
            bodies[key] = yield _inward(node.attrs[key], change, context, and_back, known)
        context.path, context.trips = path, trips
        if any([body is not node.attrs[key] for key, body in bodies.items()]):
            replacements[node] = with_body(node, bodies)
    result = substitute(result, replacements)
    known[graph] = change(result, context) if replacements and and_back else result
    return known[graph]
