"""What tensors and `graph.run` ask for, run by plans: only where a backend was chosen for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autograd.backend import backend
from autograd.execute.plan import Plan, compiled
from autograd.node import apply, draw_input, items
from autograd.recent import Recent
from autograd.scope import drawing
from autograd.spec import UNKNOWN, Array, Spec, spec_of

if TYPE_CHECKING:
    from autograd.graph import Graph
    from autograd.op import Op

_PLANS = Recent(64, lambda plan: plan.held if plan else 0, limit=1 << 29, least=16)
"""Plans of single ops, by op, attrs, specs and backend. Beyond the last 16 only up to 512 MB:
sequences of many lengths make a plan for each, with memory of its own."""


def run_graph(graph: Graph, values: Sequence[Array], name: str) -> list[Array]:
    """Return the outputs of `graph` for `values` of its inputs, by the plan of a backend."""
    return _executed(compiled(graph, name), values)


def run_op(op: Op, values: Sequence[Any], attrs: dict[str, Any], name: str) -> Any:
    """Return what an op with bodies makes of arrays, by a plan; None if there can be none.

    The plan is that of a graph of this one node, which is called as its body is. There is none
    where only running tells how many rows an output has.
    """
    arrays = [np.asarray(x) for x in values]
    specs = tuple([spec_of(x) for x in arrays])
    key = (name, op, specs, tuple(attrs.items()))
    plan = _PLANS.get(key)
    if plan is None:
        graph = _graph_of(op, specs, attrs)
        plan = _PLANS.put(key, () if graph is None else compiled(graph, name))
    if not plan:
        return None
    results = _executed(plan, arrays)
    return tuple(results) if op.multiple else results[0]


def _executed(plan: Plan, values: Sequence[Array]) -> list[Array]:
    """Run a plan; what it leaves to the reference executor is not planned once more."""
    with backend("reference"):
        return plan.execute(values)


def _graph_of(op: Op, specs: Sequence[Spec], attrs: dict[str, Any]) -> Graph | None:
    from autograd.graph import Graph

    inputs = {f"x_{i}": draw_input(None, spec, None) for i, spec in enumerate(specs)}
    with drawing(None):
        node = apply(op, list(inputs.values()), attrs).named(op.bodies(attrs)[0].name)
        outputs = items(node) if op.multiple else (node,)
    if any([UNKNOWN in y.shape for y in outputs]):
        return None
    return Graph.of(inputs, {f"y_{i}": y for i, y in enumerate(outputs)}, op.name)
