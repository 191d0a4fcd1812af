"""The one contender of `benchmarks.finite`: training steps, checked or not."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
from serve import import_loopgrad, seconds_a_call, serve

Step = Callable[[], Any]


def make(name: str) -> tuple[str, Callable[..., Any]]:
    ag = import_loopgrad()
    import nn

    def layer(steps: int, rows: int, features: int, hidden: int, dtype: str) -> tuple[Any, Any]:
        rnn = nn.RNN(features, hidden, rng=0, dtype=dtype)
        xs = np.random.default_rng(0).normal(size=(steps, rows, features)).astype(dtype)
        return rnn, xs

    def by_graph(*sizes: Any) -> Step:
        rnn, xs = layer(*sizes)
        x = ag.input("xs", xs.shape, xs.dtype)
        graph = ag.Graph([x], {"loss": ag.square(rnn(x)[0]).mean()}).grad()
        return lambda: graph.run(xs=xs)

    def on_tensors(*sizes: Any) -> Step:
        rnn, xs = layer(*sizes)
        parameters = list(rnn.parameters())

        def step() -> None:
            for p in parameters:
                p.grad = None
            ag.square(rnn(ag.tensor(xs))[0]).mean().backward()

        return step

    def op_by_op() -> Step:
        x = ag.tensor(np.linspace(0.7, 1.3, 8), requires_grad=True)

        def step() -> None:
            y = x
            for _ in range(50):
                y = ag.tanh(y) * x
            y.sum().backward()

        return step

    rnn, adder = (100, 32, 64, 128, "float32"), (8, 1, 2, 16, "float64")
    workloads = {
        "rnn, graph": by_graph(*rnn),
        "adder, graph": by_graph(*adder),
        "rnn, tensors": on_tensors(*rnn),
        "adder, tensors": on_tensors(*adder),
        "100 small ops": op_by_op(),
    }

    def answer(workload: str, checked: bool, at_least: float) -> float:
        with ag.check_finite() if checked else nullcontext():
            return seconds_a_call(workloads[workload], at_least)

    return "this checkout", answer


serve(make)
