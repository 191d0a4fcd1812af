"""A network of two layers learns exclusive or, the eager way: `python -m demos.xor`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import autograd as ag
import nn
from autograd.spec import Array
from demos.showing import curve, picture, progress

INPUTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
TARGETS = np.array([[0.0], [1.0], [1.0], [0.0]])
STEPS = 1000
QUICK_STEPS = 300


class Xor(nn.Module):
    """2 inputs, 16 sigmoid units, 1 logit."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.hidden = nn.Linear(2, 16, rng=rng)
        self.out = nn.Linear(16, 1, rng=rng)

    def forward(self, x: ag.Node) -> ag.Node:
        logits: ag.Node = self.out(ag.sigmoid(self.hidden(x)))
        return logits


def train(model: Xor, steps: int) -> list[float]:
    """Train on all four cases at once and return the losses."""
    optimizer = nn.SGD(model.parameters(), lr=1.0, momentum=0.9)
    losses = []
    numbers, _ = progress(steps, "training")
    for _ in numbers:
        loss = nn.binary_cross_entropy_with_logits(model(INPUTS), TARGETS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


def answers(model: Xor) -> Array:
    """Return the probability of a 1 for each of the four cases."""
    probabilities: Array = ag.sigmoid(model(INPUTS)).value
    return probabilities[:, 0]


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the network, train it and print its truth table."""
    parser = argparse.ArgumentParser(prog="demos.xor", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument("--out", type=Path, default=Path("out/xor"), help="folder for pictures")
    parser.add_argument("--quick", action="store_true", help="a short training")
    options = parser.parse_args(argv)
    steps = QUICK_STEPS if options.quick else STEPS
    model = Xor(np.random.default_rng(options.seed))
    print(f"seed {options.seed}, {steps} training steps")
    graph = ag.trace(model, INPUTS, name="xor")
    picture(graph, options.out / "graph.svg", "graph")
    losses = train(model, steps)
    curve(losses, options.out / "loss.png", "loss")
    print(f"loss {losses[0]:.4f} -> {losses[-1]:.6f}")
    for (a, b), probability in zip(INPUTS, answers(model), strict=True):
        print(f"{a:.0f} xor {b:.0f} = {probability:.3f}")


if __name__ == "__main__":
    main()
