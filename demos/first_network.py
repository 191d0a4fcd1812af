"""The network of the Go article as a module: an RNN with sigmoid units, linear outputs, no biases.

    h_t = sigmoid(x_t W_in + h_{t-1} W_hid),   o_t = h_t W_out

Weights have one row for each source unit, as in the article.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import autograd as ag
import nn
from autograd.errors import LoopGradError, ShapeError
from loops import LoopNode

OPTIMIZERS: dict[str, tuple[type[nn.Optimizer], dict[str, float]]] = {
    "adagrad": (nn.Adagrad, {"lr": 0.2}),
    "sgd": (nn.SGD, {"lr": 0.1, "momentum": 0.9}),
    "rmsprop": (nn.RMSprop, {"lr": 0.01}),
    "adam": (nn.Adam, {"lr": 0.03}),
}
"""Optimizers by name, with the numbers they start from."""


class FirstRNN(nn.Module):
    """Inputs (steps, input_dim) -> outputs (steps, output_dim) and hidden states, or with a batch.

        model = FirstRNN(2, 16, 3, 16)
        outputs, hidden = model(xs)             # xs (T, 2) or (T, B, 2); starts from zeros
        outputs, hidden = model(xs, hidden[-1])     # goes on where that ended

    The article has a size for the state and one for the hidden layer; since the state is the hidden
    layer of the step before, they must be equal. Weights start uniform in +-4/sqrt(hidden_dim):
    the slope of the sigmoid is at most 1/4, and smaller ones forget within a few steps.
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        output_dim: int,
        state_dim: int,
        *,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        sizes = {
            "input_dim": input_dim,
            "hidden_dim": hidden_dim,
            "output_dim": output_dim,
            "state_dim": state_dim,
        }
        for name, size in sizes.items():
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise LoopGradError(f"{name} must be a whole number >= 1, but is {size!r:.60}")
        if state_dim != hidden_dim:
            raise LoopGradError(
                f"state_dim must equal hidden_dim, but they are {state_dim} and {hidden_dim}; the "
                "state is the hidden layer of the step before, so give both the same number"
            )
        self.input_dim, self.hidden_dim, self.output_dim = input_dim, hidden_dim, output_dim
        rng = nn.init.generator(rng)

        bound = 4.0 / np.sqrt(hidden_dim)

        def weight(*shape: int) -> ag.Parameter:
            return ag.parameter("weight", rng.uniform(-bound, bound, shape))

        self.input_weight = weight(input_dim, hidden_dim)
        self.hidden_weight = weight(hidden_dim, hidden_dim)
        self.output_weight = weight(hidden_dim, output_dim)

    def forward(self, xs: Any, state: Any = None) -> tuple[ag.Node, ag.Node]:
        """Return (outputs, hidden states) of all steps: (T, output_dim), (T, hidden_dim)."""
        xs = ag.tensor(xs)
        if xs.ndim not in (2, 3) or xs.shape[-1] != self.input_dim:
            raise ShapeError(
                f"FirstRNN takes (steps, {self.input_dim}) or (steps, batch, {self.input_dim}), "
                f"but got {xs.spec}"
            )
        with LoopNode("rnn") as rnn:
            before = rnn.branch("h", self._start(xs, state))
            x = rnn.each(xs, "x")
            h = ag.sigmoid(x @ self.input_weight + before @ self.hidden_weight)
            rnn.feed(before, h)
            hidden = rnn.collect(h, "hidden")
            outputs = rnn.collect(h @ self.output_weight, "outputs")
        return outputs, hidden

    def _start(self, xs: ag.Node, state: Any) -> ag.Node:
        """Return the state before the first step of `xs`."""
        wanted = (*xs.shape[1:-1], self.hidden_dim)
        if state is None:
            zeros = ag.zeros(self.hidden_dim)
            return zeros if xs.ndim == 2 else ag.repeat_like(zeros, xs, 1)
        state = ag.tensor(state)
        if state.shape != wanted:
            raise ShapeError(
                f"the state of FirstRNN must be of shape {wanted} to go with {xs.spec}, but is "
                f"{state.spec}"
            )
        return state


def optimizer_named(
    name: str, parameters: Iterable[ag.Parameter], **numbers: float
) -> nn.Optimizer:
    """Return an optimizer of `OPTIMIZERS` for `parameters`; `numbers` replace those listed there.

    >>> optimizer_named("adagrad", model.parameters(), lr=0.1)
    """
    if name not in OPTIMIZERS:
        raise LoopGradError(
            f"there is no optimizer named {name!r:.60}; choose one of {', '.join(OPTIMIZERS)}"
        )
    kind, usual = OPTIMIZERS[name]
    return kind(parameters, **{**usual, **numbers})
