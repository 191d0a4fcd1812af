"""The order of the passes: the only place that has one."""

from __future__ import annotations

from collections.abc import Collection

from autograd.errors import GraphError
from autograd.graph import Graph
from autograd.rewrite.cost import NUMPY, Machine
from autograd.rewrite.engine import Context, Pass, run_passes
from autograd.rewrite.nodes import neutral

PASSES: dict[str, Pass] = {}
"""Every pass by name. `loops` adds its own when it is imported."""

ORDER: tuple[str, ...] = (
    *("fold", "uniform", "algebra", "powers", "views", "cse"),
    *("merge_loops", "merge_states", "trim_ports", "cse"),
    *("split_products", "invariants", "regroup", "batch", "push_out", "contract"),
    *("residuals", "history", "trim_ports"),
    *("views", "cse", "chain"),
    *("parts", "fuse"),
)


def register(each: Pass) -> Pass:
    """Add a pass to the table, and return it. `ORDER` says when it runs."""
    PASSES[each.name] = each
    return each


def optimized(
    graph: Graph, off: Collection[str] = (), machine: Machine = NUMPY
) -> tuple[Graph, Context]:
    """Return `graph` after all passes but those `off`, and what they did."""
    for name in off:
        if name not in PASSES:
            known = ", ".join(dict.fromkeys([each for each in ORDER if each in PASSES]))
            raise GraphError(
                f"there is no pass {name!r} to leave out; the passes, in order, are {known}"
            )
    context = Context(machine)
    passes = [PASSES[name] for name in ORDER if name in PASSES and name not in off]
    return run_passes(neutral(graph), passes, context), context
