"""One contender of `benchmarks.eager`: the chain y = tanh(y) * x on 8 float64."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from serve import import_hips, import_loopgrad, import_torch, seconds_a_call, serve

START = np.linspace(0.7, 1.3, 8)

Forward = Callable[[int], Any]
"""Computes the chain of a length."""
Both = Callable[[int], Any]
"""Computes the chain, its sum and the sum's gradient with respect to x, as an array."""


def chain(x: Any, tanh: Any, length: int) -> Any:
    y = x
    for _ in range(length):
        y = tanh(y) * x
    return y


def loopgrad() -> tuple[str, Forward, Both]:
    ag = import_loopgrad()
    x = ag.tensor(START, requires_grad=True)

    def both(length: int) -> Any:
        x.grad = None
        chain(x, ag.tanh, length).sum().backward()
        return x.grad.value

    return "this checkout", lambda length: chain(x, ag.tanh, length), both


def torch() -> tuple[str, Forward, Both]:
    module = import_torch()
    x = module.tensor(START, requires_grad=True)

    def both(length: int) -> Any:
        x.grad = None
        chain(x, module.tanh, length).sum().backward()
        return x.grad.numpy()

    return version("torch"), lambda length: chain(x, module.tanh, length), both


def hips() -> tuple[str, Forward, Both]:
    import_hips()
    import autograd.numpy as anp
    from autograd import grad, make_vjp

    def loss(x: Any, length: int) -> Any:
        return anp.sum(chain(x, anp.tanh, length))

    # Its forward records only when asked for a pullback.
    forward, both = make_vjp(loss), grad(loss)
    return version("autograd"), lambda n: forward(START, n), lambda n: both(START, n)


def mygrad() -> tuple[str, Forward, Both]:
    import mygrad as mg

    x = mg.tensor(START)

    def both(length: int) -> Any:
        x.null_grad()
        chain(x, mg.tanh, length).sum().backward()
        return x.grad

    return version("mygrad"), lambda length: chain(x, mg.tanh, length), both


def numpy() -> tuple[str, Forward, Both]:
    """The limit: no graph, and a gradient written by hand that stores what it needs."""

    def both(length: int) -> Any:
        y = x = START
        kept = []
        for _ in range(length):
            t = np.tanh(y)
            kept.append(t)
            y = t * x
        y.sum()
        g = np.ones(8)
        total = np.zeros(8)
        for t in reversed(kept):
            total += g * t
            g = g * x
            g = g - g * t * t
        return total + g

    return np.__version__, lambda length: chain(START, np.tanh, length), both


CONTENDERS = {"loopgrad": loopgrad, "torch": torch, "hips": hips, "mygrad": mygrad, "numpy": numpy}


def make(name: str) -> tuple[str, Callable[..., Any]]:
    release, forward, both = CONTENDERS[name]()

    def answer(length: int, at_least: float) -> Any:
        return {
            "forward": seconds_a_call(lambda: forward(length), at_least),
            "both": seconds_a_call(lambda: both(length), at_least),
            "gradient": [float(g) for g in both(length)],
        }

    return release, answer


serve(make)
