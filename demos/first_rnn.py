"""The Go article's fixed example, with gradients that are right: `python -m demos.first_rnn`.

    h_t = sigmoid(x_t IW + h_{t-1} HW),   o_t = h_t OW,   loss = sum_t (o_t - target_t)^2 / 2

As printed there it does not compile, forgets its state after each step and has zero gradients.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import autograd as ag
import nn
from autograd.spec import Array
from demos.showing import picture
from loops import LoopNode

X = (0.2, 0.4)
TARGET = (0.9,)
WEIGHTS = {
    "IW": [[0.5, 0.2], [0.1, 0.3]],
    "HW": [[0.4, 0.4], [0.5, 0.5]],
    "OW": [[0.6], [0.7]],
}


def draw() -> ag.Graph:
    """Return the virtual graph for one step; `resize` runs it for more."""
    iw, hw, ow = (ag.parameter(name, value) for name, value in WEIGHTS.items())
    xs, targets = ag.input("xs", (1, 2)), ag.input("targets", (1, 1))
    h0 = ag.input("h0", (2,))
    with LoopNode("rnn") as rnn:
        before = rnn.branch("h", h0)
        h = ag.sigmoid(rnn.each(xs, "x") @ iw + before @ hw)
        rnn.feed(before, h)
        hidden = rnn.collect(h, "hidden")
        outputs = rnn.collect(h @ ow, "outputs")
    loss = nn.half_squared_error(outputs, targets, reduction="sum")
    named = {"hidden": hidden, "outputs": outputs, "loss": loss}
    return ag.Graph([xs, targets, h0], named, name="first_rnn")


def run(graph: ag.Graph, steps: int) -> dict[str, Array]:
    """Return hidden states, outputs, loss and all gradients for `steps` times the same input."""
    longer = graph.resize(xs=(steps, 2), targets=(steps, 1))
    with_gradients = longer.grad(of="loss", wrt=[*WEIGHTS, "xs", "h0"])
    return with_gradients.run(xs=[X] * steps, targets=[TARGET] * steps, h0=[0.0, 0.0])


def train(graph: ag.Graph, steps: int, rounds: int) -> list[float]:
    """Train on a sequence of `steps` equal inputs, and return the losses."""
    optimizer = nn.SGD(graph.parameters.values(), lr=0.1)
    losses = []
    for _ in range(rounds):
        results = run(graph, steps)
        losses.append(float(results["loss"]))
        optimizer.step([results[f"grad_{name}"] for name in graph.parameters])
    return losses


def show(results: Mapping[str, Array]) -> None:
    """Print all digits of all results."""
    for name, value in results.items():
        print(f"    {name} = {np.array2string(value, precision=17, separator=', ', prefix=name)}")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the example for one step and for three; then train it."""
    parser = argparse.ArgumentParser(prog="demos.first_rnn", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/first_rnn"), help="folder")
    parser.add_argument("--quick", action="store_true", help="a short training")
    options = parser.parse_args(argv)
    graph = draw()
    print(graph)
    print("one step from a zero state:")
    show(run(graph, 1))
    print("three steps that keep the state:")
    show(run(graph, 3))
    rounds = 20 if options.quick else 200
    losses = train(graph, 3, rounds)
    print(f"{rounds} rounds of SGD on the three steps: loss {losses[0]:.6f} -> {losses[-1]:.6f}")
    picture(graph, options.out / "virtual.svg", "virtual graph")
    picture(graph.grad(of="loss"), options.out / "gradient.svg", "gradient graph")


if __name__ == "__main__":
    main()
