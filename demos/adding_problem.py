"""Which networks remember two numbers for 150 steps: `python -m demos.adding_problem`.

Of a sequence of random numbers two are marked, one in each half; their sum is asked for at the
end (Hochreiter and Schmidhuber 1997; in this form Le, Jaitly and Hinton 2015, arXiv:1504.00941).
Who always says 1 has a mean squared error of 1/6. To do better, a network has to carry something
over more than a hundred steps, and its gradient has to find the way back.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import autograd as ag
import nn
from autograd.spec import Array
from demos.charts import curves
from demos.custom_cell import MinimalGatedUnit
from demos.learning import learn, options, steps_until
from demos.showing import picture

BASELINE = 1 / 6
SOLVED = 0.01
ENOUGH = 0.003
"""Training stops here."""
BATCH = 32


def tanh_rnn(rng: np.random.Generator, size: int) -> nn.Recurrent:
    """Return an RNN as it comes: the one that fails."""
    return nn.RNN(2, size, rng=rng, dtype=np.float32)


def irnn(rng: np.random.Generator, size: int) -> nn.Recurrent:
    """Return the network of Le et al.: relu, with recurrent weights that start as the identity."""
    layer = nn.RNN(2, size, nonlinearity="relu", rng=rng, dtype=np.float32)
    small = partial(nn.init.normal, std=0.001)
    rules = {"weight_hh*": nn.init.identity, "weight_ih*": small, "bias*": 0.0}
    nn.init.apply(layer, rules, rng)
    return layer


def lstm(rng: np.random.Generator, size: int) -> nn.Recurrent:
    """Return an LSTM whose forget gates start open: their biases are 1."""
    layer = nn.LSTM(2, size, rng=rng, dtype=np.float32)
    open_gates = nn.init.stacked(0.0, 1.0, 0.0, 0.0)
    nn.init.apply(layer, {"bias_ih*": open_gates, "bias_hh*": 0.0})
    return layer


def gru(rng: np.random.Generator, size: int) -> nn.Recurrent:
    """Return a GRU as it comes."""
    return nn.GRU(2, size, rng=rng, dtype=np.float32)


def minimal(rng: np.random.Generator, size: int) -> nn.Recurrent:
    """Return a layer of the cell of `demos.custom_cell`."""
    return nn.Recurrent(MinimalGatedUnit(2, size, rng, np.float32))


NETWORKS = {
    "tanh RNN": (tanh_rnn, 100, 0.001),
    "IRNN": (irnn, 100, 0.0005),
    "LSTM": (lstm, 64, 0.002),
    "GRU": (gru, 64, 0.002),
    "minimal gated unit": (minimal, 64, 0.002),
}
"""How each is made, its units and its learning rate."""


def adding(rng: np.random.Generator, length: int, size: int) -> dict[str, Array]:
    """Return xs (length, size, 2), numbers from 0 to 1 and marks, and the sums ys (size,)."""
    numbers, marks = rng.random((length, size), np.float32), np.zeros((length, size), np.float32)
    rows = np.arange(size)
    marks[rng.integers(length // 2, size=size), rows] = 1
    marks[rng.integers(length // 2, length, size=size), rows] = 1
    return {"xs": np.stack([numbers, marks], axis=2), "ys": (numbers * marks).sum(axis=0)}


class Adder(nn.Module):
    """A recurrent layer, and a number made of its last output: (T, B, 2) -> (B,)."""

    def __init__(self, kind: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        make, size, self.rate = NETWORKS[kind]
        self.layer = make(rng, size)
        self.out = nn.Linear(size, 1, rng=rng, dtype=np.float32)

    def forward(self, xs: Any) -> ag.Node:
        hs, _ = self.layer(xs)
        sums: ag.Node = self.out(hs[-1])[:, 0]
        return sums


def train(model: Adder, kind: str, length: int, steps: int, seed: int) -> list[float]:
    """Return the losses of up to `steps` steps, each on 32 new sequences."""
    rng = np.random.default_rng([seed, 1])

    def loss(xs: ag.Node, ys: ag.Node) -> ag.Node:
        return nn.squared_error(model(xs), ys)

    optimizer = nn.Adam(model.parameters(), model.rate, clip_norm=1.0)
    step = nn.TrainingStep(loss, optimizer)
    return learn(step, lambda: adding(rng, length, BATCH), steps, kind, ENOUGH, reports=4)


def tested(model: Adder, length: int, seed: int) -> float:
    """Return the mean squared error on 1,000 sequences that nobody has seen."""
    xs, ys = adding(np.random.default_rng([seed, 2]), length, 1000).values()
    with ag.no_grad():
        return float(np.mean((model(xs).value - ys) ** 2))


def main(argv: Sequence[str] | None = None) -> None:
    """Train each network, test it, and chart all losses."""
    numbers = {"length": (150, "of a sequence"), "steps": (8000, "of training, at most")}
    chosen = options("adding_problem", __doc__, argv, **numbers)
    length, steps = (20, 40) if chosen.quick else (chosen.length, chosen.steps)
    print(f"sequences of {length} steps, seed {chosen.seed}; who always says 1 has {BASELINE:.4f}")
    losses, rows = {}, []
    for kind in NETWORKS:
        model = Adder(kind, chosen.seed)
        losses[kind] = train(model, kind, length, steps, chosen.seed)
        count = sum(p.size for p in model.parameters())
        needed = steps_until(losses[kind], SOLVED)
        said = f"never in {len(losses[kind]):,}" if needed is None else f"{needed:,}"
        rows.append(f"{kind:<20}{count:>10,}{said:>16}{tested(model, length, chosen.seed):>12.4f}")
    print(f"{'network':<20}{'parameters':>10}{f'steps to {SOLVED}':>16}{'test error':>12}")
    print("\n".join(rows))
    start = np.zeros((length, 1, 2), np.float32)
    graph = ag.trace(Adder("LSTM", 0).forward, start, name="adding_problem")
    picture(graph, chosen.out / "graph.svg", "virtual graph of the LSTM")
    level = ("always 1", BASELINE)
    curves(chosen.out / "losses.svg", "losses", losses, "squared error", level=level, log=True)


if __name__ == "__main__":
    main()
