"""What is computed: the same weights and sequences for every contender, drawn from one seed.

Workers run as scripts, in whatever environment the contender lives in, so this file and its
neighbours know NumPy and nothing of LoopGrad.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import sqrt
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

GATES = {"adder": 1, "rnn": 1, "lstm": 4, "gru": 3, "mgu": 2}
RATE = 0.1
"""Learning rate of the adder's SGD."""
EXAMPLES = 256
"""Sums that the adder is trained on, one after another and over again."""
EPSILON = 1e-5
"""Added to the variance by layer normalization."""
PROBE_STEPS = 100
"""Training steps after which the weights of contenders are compared."""


@dataclass(frozen=True)
class Problem:
    """One case's model and sizes.

    `inputs`: whether the gradient of the sequences is asked for, beside those of all weights and
    initial states. `updates`: training steps in one call (adder only). `ragged`: rows have lengths
    uniform in 1..steps.
    """

    model: str
    steps: int
    batch: int
    features: int
    hidden: int
    dtype: str
    inputs: bool = True
    updates: int = 1
    ragged: bool = False

    @property
    def elements(self) -> int:
        """Return how many numbers the mean of the loss is over."""
        return self.steps * self.batch * self.hidden

    def weights(self) -> dict[str, Array]:
        """Return the weights: u (D, gates * H), w (H, gates * H), biases, initial states."""
        random = np.random.default_rng(1)
        D, H, G = self.features, self.hidden, GATES[self.model]

        def uniform(*shape: int) -> Array:
            return random.uniform(-1 / sqrt(H), 1 / sqrt(H), shape).astype(self.dtype)

        found = {"u": uniform(D, G * H)}
        if self.model == "adder":
            return {**found, "w": uniform(H, H), "v": uniform(H, 1)}
        if self.model == "mgu":
            for gate in ("f", "n"):
                found[f"w_{gate}"] = uniform(H, H)
                found[f"scale_{gate}"] = 1 + uniform(H)
                found[f"shift_{gate}"] = uniform(H)
        else:
            found["w"], found["b"] = uniform(H, G * H), uniform(G * H)
        if self.model == "gru":
            found["b_n"] = uniform(H)
        states = ("h0", "c0") if self.model == "lstm" else ("h0",)
        return {**found, **{name: uniform(self.batch, H) for name in states}}

    def sequences(self) -> Array:
        """Return the inputs, (T, B, D); drawn once, so that drawing need not count."""
        return _normal((self.steps, self.batch, self.features), self.dtype)

    def lengths(self) -> Array:
        """Return the number of steps of each row, (B,)."""
        return np.random.default_rng(3).integers(1, self.steps + 1, self.batch)

    def sums(self) -> tuple[Array, Array]:
        """Return the adder's examples: bits of two addends (N, T, B, 2), of the sum (N, T, B, 1).

        The lowest bit first.
        """
        random = np.random.default_rng(4)
        addends = random.integers(0, 2 ** (self.steps - 1), (EXAMPLES, 1, self.batch, 2))
        place = np.arange(self.steps)[:, None, None]
        xs = (addends >> place) & 1
        ys = (addends.sum(-1, keepdims=True) >> place) & 1
        return xs.astype(self.dtype), ys.astype(self.dtype)

    @property
    def flops(self) -> float:
        """Return the floating-point operations of all matrix products, forward and backward.

        A product and its two gradients are three products of as many operations; where the
        gradient of the sequences is not asked for, x @ u has one.
        """
        rows = self.lengths().sum() if self.ragged else self.steps * self.batch
        columns = GATES[self.model] * self.hidden
        products = (3 if self.inputs else 2) * self.features + 3 * self.hidden
        if self.model == "adder":
            products = 2 * self.features + 3 * self.hidden + 3  # v has one column
        return 2.0 * float(rows) * columns * products * self.updates


@cache
def _normal(shape: tuple[int, ...], dtype: str) -> Array:
    return np.random.default_rng(2).standard_normal(shape, np.dtype(dtype).type)


def fingerprint(results: dict[str, Any]) -> dict[str, list[float]]:
    """Return for each result its norm and a weighted sum, by which contenders are compared.

    The weights cos(1), cos(2), ... tell a transposed or negated gradient from the right one. Goes
    through a large array in pieces, so that checking it costs no memory to speak of.
    """
    found = {}
    for name, value in results.items():
        flat = np.asarray(value).reshape(-1)
        squares = probe = 0.0
        for start in range(0, flat.size, 1 << 20):
            piece = flat[start : start + (1 << 20)].astype(np.float64)
            squares += float(piece @ piece)
            probe += float(piece @ np.cos(np.arange(start + 1, start + 1 + piece.size)))
        found[name] = [sqrt(squares), probe]
    return found
