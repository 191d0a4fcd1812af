"""Four ways to train an RNN to add: ours, and three published ones held to their numbers.

A recipe draws a graph with inputs `xs` (8, B, 2), `ys` (8, B, 1) and `h0`, the state before the
first step, and outputs `bits` (8, B, 1), each the probability of a 1, and `loss`. It knows how
its samples are chosen, how its parameters are updated and what it prints.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

import autograd as ag
import nn
from autograd.spec import Array
from demos.adder_data import BITS, LARGEST, number
from loops import LoopNode


class Recipe:
    """What all four share: a step runs the graph of loss and gradients, then the optimizer."""

    summary: ClassVar[str]
    steps: ClassVar[int]
    quick_steps: ClassVar[int]
    hidden: ClassVar[int] = 16
    batch: ClassVar[int] = 1
    first_seed: ClassVar[int] = 0

    graph: ag.Graph
    training: ag.Graph
    optimizer: nn.SGD

    def inputs(self) -> tuple[ag.Node, ag.Node, ag.Node]:
        """Return the virtual inputs xs, ys and h0."""
        return (
            ag.input("xs", (BITS, self.batch, 2)),
            ag.input("ys", (BITS, self.batch, 1)),
            ag.input("h0", self.no_state(self.batch).shape),
        )

    def differentiate(self, lr: float, momentum: float = 0.0) -> None:
        """Add the gradient to the graph, and SGD for its parameters."""
        self.training = self.graph.grad(of="loss")
        self.optimizer = nn.SGD(self.graph.parameters.values(), lr, momentum)

    def pairs(self, step: int) -> tuple[Array, Array]:
        """Return the addends (B,) of one training step."""
        raise NotImplementedError

    def train(self, xs: Array, ys: Array) -> Mapping[str, Array]:
        """Do one step; return `bits` and `loss` as they were before it."""
        results = self.training.run(xs=xs, ys=ys, h0=self.no_state(self.batch))
        names = self.graph.parameters
        self.optimizer.step([results[f"grad_{name}"] for name in names])
        return results

    def no_state(self, batch: int) -> Array:
        """Return the state before the first step: zeros."""
        return np.zeros((batch, self.hidden))

    def printed_loss(self, results: Mapping[str, Array], ys: Array) -> float:
        """Return the loss to print and plot; the listings print the absolute error."""
        return float(sum(abs(error) for error in (results["bits"] - ys).ravel()))

    def loss_text(self, loss: float) -> str:
        return f"loss:{loss}"

    def report(self, a: int, b: int, bits: Array, loss: float) -> str:
        """Return what is printed of one sum, in the words of the published listing."""
        predicted = np.round(bits[::-1]).astype(int)
        true = np.array([int(bit) for bit in f"{a + b:0{len(bits)}b}"])
        return (
            f"{self.loss_text(loss)}\nPred:{predicted}\nTrue:{true}\n"
            f"{a} + {b} = {number(np.round(bits))}\n------------"
        )


class Adder(nn.Module):
    """A recurrent layer, and a linear one from its states to the logit of each bit."""

    def __init__(self, hidden: int, rng: np.random.Generator) -> None:
        self.rnn = nn.RNN(2, hidden, rng=rng)
        self.out = nn.Linear(hidden, 1, rng=rng)

    def forward(self, xs: ag.Node, h0: ag.Node) -> ag.Node:
        hs, _ = self.rnn(xs, h0)
        logits: ag.Node = self.out(hs)
        return logits


class Default(Recipe):
    """Layers, cross-entropy and momentum on batches of 32: every seed gets all sums right."""

    summary = "nn.RNN and nn.Linear, cross-entropy, SGD with momentum, batches of 32"
    steps = 2000
    quick_steps = 400
    batch = 32

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.model = Adder(self.hidden, self.rng)
        xs, ys, h0 = self.inputs()
        logits = self.model(xs, h0)
        loss = nn.binary_cross_entropy_with_logits(logits, ys)
        outputs = {"bits": ag.sigmoid(logits), "loss": loss}
        self.graph = ag.Graph([xs, ys, h0], outputs, name="adder")
        self.differentiate(lr=0.2, momentum=0.9)
        self.step = nn.TrainingStep(self.graph, self.optimizer)

    def train(self, xs: Array, ys: Array) -> Mapping[str, Array]:
        """Run loss, gradient and update as one graph."""
        return self.step.run(xs=xs, ys=ys, h0=self.no_state(self.batch))

    def pairs(self, step: int) -> tuple[Array, Array]:
        a, b = self.rng.integers(LARGEST, size=(2, self.batch))
        return a, b

    def no_state(self, batch: int) -> Array:
        return np.zeros((1, batch, self.hidden))  # one layer

    def printed_loss(self, results: Mapping[str, Array], ys: Array) -> float:
        return float(results["loss"])


class Listing(Recipe):
    """The network of both NumPy listings, drawn by hand: no biases, half squared error, SGD 0.1."""

    def __init__(self, seed: int) -> None:
        # the legacy generator: what `np.random.seed(seed)` and the module's functions would draw
        self.rng = np.random.RandomState(seed)
        self.graph = self.draw(self.weights())
        self.differentiate(lr=0.1)

    def weights(self) -> dict[str, Array]:
        """Return u (2, 16), w (16, 16) and v (16, 1), drawn in the listing's order."""
        raise NotImplementedError

    def draw(self, weights: dict[str, Array]) -> ag.Graph:
        u, w, v = (ag.parameter(name, weights[name]) for name in "uwv")
        xs, ys, h0 = self.inputs()
        with LoopNode("step") as step:
            x = step.each(xs, "x")
            before = step.branch("h", h0)
            h = ag.sigmoid(x @ u + before @ w)
            step.feed(before, h)
            bits = step.collect(ag.sigmoid(h @ v), "bits")
        loss = nn.half_squared_error(bits, ys, reduction="sum")
        return ag.Graph([xs, ys, h0], {"bits": bits, "loss": loss}, name="adder")

    def pairs(self, step: int) -> tuple[Array, Array]:
        a, b = self.rng.randint(LARGEST), self.rng.randint(LARGEST)
        return np.array([a]), np.array([b])


class Numpy(Listing):
    """The listing of the blog article "RNN代码实现"."""

    summary = "the NumPy listing 'RNN代码实现': normal weights, 20,000 single sums"
    steps = 20000
    quick_steps = 1001

    def weights(self) -> dict[str, Array]:
        return {
            "u": self.rng.randn(2, self.hidden),
            "w": self.rng.randn(self.hidden, self.hidden),
            "v": self.rng.randn(self.hidden, 1),
        }


class Published(Listing):
    """The listing of 2015 that the others descend from ("Anyone Can Learn To Code an LSTM-RNN")."""

    summary = "the NumPy listing of 2015: uniform weights, 10,000 single sums"
    steps = 10000
    quick_steps = 1001

    def weights(self) -> dict[str, Array]:
        return {
            "u": 2 * self.rng.random_sample((2, self.hidden)) - 1,
            "v": 2 * self.rng.random_sample((self.hidden, 1)) - 1,
            "w": 2 * self.rng.random_sample((self.hidden, self.hidden)) - 1,
        }

    def loss_text(self, loss: float) -> str:
        return f"Error:{np.array([loss])}"
