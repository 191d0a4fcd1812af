"""JAX: `lax.scan` under `jit`, plain and with the input's part of the gates hoisted by hand."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
from cells import CELLS, drive, initial
from problem import RATE, Problem

jax.config.update("jax_enable_x64", True)

VERSION = jax.__version__

M = SimpleNamespace(
    tanh=jnp.tanh,
    sigmoid=jax.nn.sigmoid,
    parts=lambda x, n: jnp.split(x, n, -1),
    mean=lambda x: x.mean(-1, keepdims=True),
    rsqrt=jax.lax.rsqrt,
)


def states_of(model: str, p: Any, carry: Any, xs: Any, hoisted: bool) -> Any:
    """Return the stacked h of all steps."""
    cell = CELLS[model]

    def step(carry: Any, x: Any) -> Any:
        carry = cell(M, p, carry, x if hoisted else drive(p, x))
        return carry, carry[0]

    return jax.lax.scan(step, carry, drive(p, xs) if hoisted else xs)[1]


class Adder:
    """One call is `updates` steps of SGD, in one scan if there is more than one."""

    def __init__(self, problem: Problem, hoisted: bool) -> None:
        self.problem = problem
        xs, ys = problem.sums()
        h0 = jnp.zeros((problem.batch, problem.hidden), xs.dtype)

        def loss_of(p: Any, xs: Any, ys: Any) -> Any:
            hs = states_of("adder", p, (h0,), xs, hoisted)
            return ((jax.nn.sigmoid(hs @ p["v"]) - ys) ** 2).sum() / 2

        def step(p: Any, xs: Any, ys: Any) -> Any:
            loss, grads = jax.value_and_grad(loss_of)(p, xs, ys)
            return jax.tree.map(lambda value, grad: value - RATE * grad, p, grads), loss

        def many(p: Any, xs: Any, ys: Any, start: Any) -> Any:
            turns = (start + jnp.arange(problem.updates)) % len(xs)
            p, losses = jax.lax.scan(lambda p, k: step(p, xs[k], ys[k]), p, turns)
            return p, losses.sum()

        self.step = jax.jit(step if problem.updates == 1 else many, donate_argnums=0)
        if problem.updates == 1:
            self.data = [(jnp.asarray(x), jnp.asarray(y)) for x, y in zip(xs, ys, strict=True)]
        else:
            xs, ys, n = jnp.asarray(xs), jnp.asarray(ys), len(xs)
            self.data = [(xs, ys, k * problem.updates % n) for k in range(n)]
        self.reset()

    def reset(self) -> None:
        self.p = jax.tree.map(jnp.asarray, self.problem.weights())
        self.turn = 0

    def __call__(self) -> Any:
        self.p, loss = self.step(self.p, *self.data[self.turn])
        self.turn = (self.turn + 1) % len(self.data)
        return loss.block_until_ready()

    def results(self) -> Any:
        return self.p


class Layer:
    def __init__(self, problem: Problem, hoisted: bool) -> None:
        self.p = jax.tree.map(jnp.asarray, problem.weights())
        self.xs = jnp.asarray(problem.sequences())
        valid = None
        if problem.ragged:
            valid = jnp.arange(problem.steps)[:, None] < jnp.asarray(problem.lengths())

        def loss_of(p: Any, xs: Any) -> Any:
            # After its last step a row goes on with what nobody reads: nothing needs to be held.
            hs = states_of(problem.model, p, initial(p), xs, hoisted)
            if valid is not None:
                hs = jnp.where(valid[:, :, None], hs, 0)
            return (hs * hs).mean()

        wrt = (0, 1) if problem.inputs else (0,)
        self.gradient = jax.jit(jax.value_and_grad(loss_of, wrt))

    def __call__(self) -> Any:
        loss, grads = jax.block_until_ready(self.gradient(self.p, self.xs))
        return {"loss": loss, **grads[0], **({"xs": grads[1]} if len(grads) > 1 else {})}


def of(problem: Problem, way: str) -> Any:
    return (Adder if problem.model == "adder" else Layer)(problem, way == "hoisted")
