"""LoopGrad: one graph for all backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import models
from problem import RATE, Problem
from serve import Unavailable

import autograd as ag
from loops import memory_plan


def runner(graph: ag.Graph, backend: str) -> Callable[..., Any]:
    """Return what runs the graph under a backend."""
    if backend == "reference":
        return graph.run
    if not hasattr(graph, "compile"):
        raise Unavailable(f"graphs have no plans, so no {backend} backend")
    plan = graph.compile(backend=backend)
    if plan.backend != backend:
        raise Unavailable(f"the plan is {plan.backend}: {plan.reason}")
    return plan.run  # type: ignore[no-any-return]


class Layer:
    def __init__(self, problem: Problem, backend: str, ragged: str) -> None:
        graph = models.gradient_graph(problem, ragged)
        self.inputs = {"xs": problem.sequences()}
        if problem.ragged:
            self.inputs["lengths"] = problem.lengths()
        self.graph, self.run = graph, runner(graph, backend)

    def foretold(self) -> int:
        """Return the bytes that running the graph takes at most, as we say beforehand."""
        return memory_plan(self.graph).peak

    def __call__(self) -> Any:
        results = self.run(**self.inputs)
        return {name.removeprefix("grad_"): value for name, value in results.items()}


class Adder:
    """One training step a call: loss, gradients and the update of all weights."""

    def __init__(self, problem: Problem, backend: str) -> None:
        self.problem = problem
        loss = models.adder_loss(problem)
        self.parameters = loss.parameters
        graph = loss.grad()
        self.run = runner(graph, backend)
        xs, ys = problem.sums()
        self.data = list(zip(xs, ys, strict=True))
        self.turn = 0

    def reset(self) -> None:
        for name, value in self.problem.weights().items():
            self.parameters[name].value = value
        self.turn = 0

    def step(self) -> Any:
        xs, ys = self.data[self.turn]
        self.turn = (self.turn + 1) % len(self.data)
        results = self.run(xs=xs, ys=ys)
        for name, parameter in self.parameters.items():
            parameter.value = parameter.value - RATE * results[f"grad_{name}"]
        return results["loss"]

    def __call__(self) -> Any:
        return sum(self.step() for _ in range(self.problem.updates))

    def results(self) -> Any:
        return {name: parameter.value for name, parameter in self.parameters.items()}


def of(problem: Problem, backend: str, ragged: str = "shrink") -> Any:
    if problem.model == "adder":
        return Adder(problem, backend)
    return Layer(problem, backend, ragged)
