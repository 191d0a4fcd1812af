"""The benchmarks' models as graphs of LoopGrad: cells in `loops.scan`, their gradients drawn.

The cells are those of `workers/cells.py`, which every library runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import autograd as ag
from loops import scan

sys.path.append(str(Path(__file__).resolve().parent / "workers"))

from cells import CELLS, drive, initial
from problem import Problem

M = SimpleNamespace(
    tanh=ag.tanh,
    sigmoid=ag.sigmoid,
    parts=lambda x, n: ag.split(x, n, axis=-1),
    mean=lambda x: ag.mean(x, axis=-1, keepdims=True),
    rsqrt=lambda x: 1 / ag.sqrt(x),
)


def parameters(problem: Problem) -> dict[str, Any]:
    return {name: ag.parameter(name, value) for name, value in problem.weights().items()}


def loss_graph(problem: Problem, ragged: str = "shrink") -> ag.Graph:
    """Return the graph of the loss: inputs `xs` (T, B, D) and, if ragged, `lengths` (B,)."""
    p = parameters(problem)
    cell = CELLS[problem.model]
    xs = ag.input("xs", (problem.steps, problem.batch, problem.features), problem.dtype)
    inputs, options = [xs], {}
    if problem.ragged:
        lengths = ag.input("lengths", (problem.batch,), "int64")
        inputs.append(lengths)
        options = {"lengths": lengths, "ragged": ragged}

    def step(carry: Any, x: Any) -> Any:
        carry = cell(M, p, carry, drive(p, x))
        return carry, carry[0]

    _, hs = scan(step, initial(p), xs, name=problem.model, **options)
    return ag.Graph(inputs, {"loss": ag.square(hs).mean()}, name=problem.model)


def gradient_graph(problem: Problem, ragged: str = "shrink") -> ag.Graph:
    """Return the graph of the loss and its gradients: `loss`, `grad_u`, ..., `grad_xs`."""
    graph = loss_graph(problem, ragged)
    wrt = [*graph.parameters, *["xs"][: problem.inputs]]
    return graph.grad(wrt=wrt)


def adder_loss(problem: Problem) -> ag.Graph:
    """Return the adder's graph: inputs `xs` (T, B, 2) and `ys` (T, B, 1), output `loss`."""
    p = parameters(problem)
    T, B, dtype = problem.steps, problem.batch, problem.dtype
    xs, ys = ag.input("xs", (T, B, problem.features), dtype), ag.input("ys", (T, B, 1), dtype)

    def step(carry: Any, x: Any) -> Any:
        carry = CELLS["adder"](M, p, carry, drive(p, x))
        return carry, ag.sigmoid(carry[0] @ p["v"])

    _, bits = scan(step, (ag.zeros((B, problem.hidden), dtype),), xs, name="adder")
    return ag.Graph([xs, ys], {"loss": 0.5 * ag.square(bits - ys).sum()}, name="adder")
