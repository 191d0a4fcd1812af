"""HIPS autograd and MyGrad: the cells in a Python loop, every operation taped."""

from __future__ import annotations

from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np
from cells import CELLS, drive, initial
from problem import RATE, Problem


class Hips:
    def __init__(self) -> None:
        from serve import import_hips

        import_hips()
        import autograd.numpy as anp
        from autograd import value_and_grad

        self.version, self.numpy, self.differentiated = version("autograd"), anp, value_and_grad
        self.m = SimpleNamespace(
            tanh=anp.tanh,
            sigmoid=lambda x: 1 / (1 + anp.exp(-x)),
            parts=lambda x, n: anp.split(x, n, -1),
            mean=lambda x: anp.mean(x, -1, keepdims=True),
            rsqrt=lambda x: 1 / anp.sqrt(x),
        )

    def gradient(self, loss_of: Any) -> Any:
        return self.differentiated(loss_of)

    def stack(self, values: list[Any]) -> Any:
        return self.numpy.stack(values)


class MyGrad:
    def __init__(self) -> None:
        import mygrad as mg

        self.version, self.mg = version("mygrad"), mg
        self.m = SimpleNamespace(
            tanh=mg.tanh,
            sigmoid=mg.nnet.sigmoid,
            parts=parts,
            mean=lambda x: x.mean(-1, keepdims=True),
            rsqrt=lambda x: 1 / mg.sqrt(x),
        )

    def gradient(self, loss_of: Any) -> Any:
        def call(p: dict[str, Any]) -> Any:
            tracked = {name: self.mg.tensor(value) for name, value in p.items()}
            loss = loss_of(tracked)
            loss.backward()
            return loss.data, {name: value.grad for name, value in tracked.items()}

        return call

    def stack(self, values: list[Any]) -> Any:
        return self.mg.stack(values)


def parts(x: Any, n: int) -> list[Any]:
    size = x.shape[-1] // n
    return [x[..., k * size : (k + 1) * size] for k in range(n)]


class Adder:
    def __init__(self, library: Any, problem: Problem) -> None:
        self.problem, self.library = problem, library
        self.xs, self.ys = problem.sums()
        self.reset()

    def reset(self) -> None:
        self.p = self.problem.weights()
        self.turn = 0

    def __call__(self) -> Any:
        m = self.library.m
        total = 0.0
        for _ in range(self.problem.updates):
            xs, ys = self.xs[self.turn], self.ys[self.turn]

            def loss_of(p: Any, xs: Any = xs, ys: Any = ys) -> Any:
                carry, loss = (np.zeros((xs.shape[1], self.problem.hidden)),), 0.0
                for x, y in zip(xs, ys, strict=True):
                    carry = CELLS["adder"](m, p, carry, drive(p, x))
                    error = m.sigmoid(carry[0] @ p["v"]) - y
                    loss = loss + (error * error).sum()
                return loss / 2

            loss, grads = self.library.gradient(loss_of)(self.p)
            self.p = {name: value - RATE * grads[name] for name, value in self.p.items()}
            total += float(loss)
            self.turn = (self.turn + 1) % len(self.xs)
        return total

    def results(self) -> Any:
        return self.p


class Layer:
    def __init__(self, library: Any, problem: Problem) -> None:
        self.p, self.xs, cell = problem.weights(), problem.sequences(), CELLS[problem.model]
        if problem.inputs:
            self.p["xs"] = self.xs

        def loss_of(p: Any) -> Any:
            carry, states = initial(p), []
            xs = p.get("xs", self.xs)
            for t in range(problem.steps):
                carry = cell(library.m, p, carry, drive(p, xs[t]))
                states.append(carry[0])
            hs = library.stack(states)
            return (hs * hs).mean()

        self.gradient = library.gradient(loss_of)

    def __call__(self) -> Any:
        loss, grads = self.gradient(self.p)
        return {"loss": loss, **grads}


def of(library: Any, problem: Problem) -> Any:
    return (Adder if problem.model == "adder" else Layer)(library, problem)
