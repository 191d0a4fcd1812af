"""LoopGrad: one graph for all backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from problem import RATE, Problem
from serve import UnavailableError

import autograd as ag
import nn
from autograd.execute.plan import MAKERS
from benchmarks import models
from loops import memory_plan


def available(backend: str) -> str:
    """Return the backend; raise an UnavailableError where there is none of that name."""
    if backend not in MAKERS:
        raise UnavailableError(f"there is no backend '{backend}'")
    return backend


def runner(graph: ag.Graph, backend: str) -> Callable[..., Any]:
    """Return what runs the graph under a backend."""
    plan = graph.compile(backend=available(backend))
    if plan.backend != backend:
        raise UnavailableError(f"the plan is {plan.backend}: {plan.reason}")
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
    """Training steps that are one plan each, or one for `updates` of them."""

    def __init__(self, problem: Problem, backend: str) -> None:
        self.problem = problem
        loss = models.adder_loss(problem)
        self.parameters = loss.parameters
        optimizer = nn.SGD(self.parameters.values(), lr=RATE)
        self.training = nn.TrainingStep(loss, optimizer, backend=available(backend))
        xs, ys = problem.sums()
        self.data = list(zip(xs, ys, strict=True))
        # Sequences are time first, and examples their second axis.
        self.sets = {"xs": np.moveaxis(xs[:, :, 0], 0, 1), "ys": np.moveaxis(ys[:, :, 0], 0, 1)}
        self.turn = 0

    def reset(self) -> None:
        for name, value in self.problem.weights().items():
            self.parameters[name].value = value
        self.turn = 0

    def __call__(self) -> Any:
        updates = self.problem.updates
        if updates == 1:
            xs, ys = self.data[self.turn]
            loss = self.training.run(xs=xs, ys=ys)["loss"]
        else:
            turns = (self.turn + np.arange(updates)) % len(self.data)
            loss = self.training.many(indices=turns[:, None], axis=1, **self.sets)["loss"].sum()
        self.turn = (self.turn + updates) % len(self.data)
        return loss

    def results(self) -> Any:
        return {name: parameter.value for name, parameter in self.parameters.items()}


def of(problem: Problem, backend: str, ragged: str = "shrink") -> Any:
    if problem.model == "adder":
        return Adder(problem, backend)
    return Layer(problem, backend, ragged)
