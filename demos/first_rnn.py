"""The network of the Go article, with gradients that are right: `python -m demos.first_rnn`.

First the article's fixed example: outputs, loss and all gradients, for one step and for three that
keep the state. (As printed there it does not compile, forgets its state after each step and has
zero gradients.) Then what the article promises: cross-entropy, Adagrad and other optimizers, and
goroutines, which are threads here: four networks learn at the same time to tell waves apart.
"""

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import autograd as ag
import nn
from autograd.spec import Array
from demos.first_network import OPTIMIZERS, FirstRNN, optimizer_named
from demos.showing import picture

X = (0.2, 0.4)
TARGET = (0.9,)
WEIGHTS = {
    "input_weight": [[0.5, 0.2], [0.1, 0.3]],
    "hidden_weight": [[0.4, 0.4], [0.5, 0.5]],
    "output_weight": [[0.6], [0.7]],
}


# --- the fixed example ----------------------------------------------------------------------------


def article_network() -> FirstRNN:
    """Return the article's network of 2 inputs, 2 units and 1 output, with its weights."""
    model = FirstRNN(2, 2, 1, 2, rng=0)
    model.load_state_dict(WEIGHTS)
    return model


def draw() -> ag.Graph:
    """Return the virtual graph for one step; `resize` runs it for more."""
    model = article_network()

    def example(xs: ag.Node, targets: ag.Node, h0: ag.Node) -> dict[str, ag.Node]:
        outputs, hidden = model(xs, h0)
        loss = nn.half_squared_error(outputs, targets, reduction="sum")
        return {"hidden": hidden, "outputs": outputs, "loss": loss}

    return ag.trace(example, (1, 2), (1, 1), (2,), name="first_rnn")


def run(graph: ag.Graph, steps: int) -> dict[str, Array]:
    """Return hidden states, outputs, loss and all gradients for `steps` times the same input."""
    longer = graph.resize(xs=(steps, 2), targets=(steps, 1))
    with_gradients = longer.grad(of="loss", wrt=[*WEIGHTS, "xs", "h0"])
    return with_gradients.run(xs=[X] * steps, targets=[TARGET] * steps, h0=[0.0, 0.0])


def show(results: Mapping[str, Array]) -> None:
    """Print all digits of all results."""
    for name, value in results.items():
        print(f"    {name} = {np.array2string(value, precision=17, separator=', ', prefix=name)}")


# --- telling waves apart --------------------------------------------------------------------------

CYCLES = (1, 2, 4)
STEPS = 16


@dataclass(frozen=True)
class Waves:
    """Noisy waves: xs (STEPS, examples, 2), and of each the number of its kind."""

    xs: Array
    kinds: Array

    @classmethod
    def some(cls, count: int, seed: int) -> "Waves":
        """Return `count` waves of 1, 2 or 4 cycles in 16 steps, at random phases.

        The second input is always 1: its weights are the biases that the network has not.
        """
        rng = np.random.default_rng(seed)
        kinds = rng.integers(len(CYCLES), size=count)
        angles = np.arange(STEPS)[:, None] / STEPS * np.array(CYCLES)[kinds] + rng.uniform(
            size=count
        )
        values = np.sin(2 * np.pi * angles) + rng.normal(0.0, 0.2, (STEPS, count))
        return cls(np.stack([values, np.ones_like(values)], axis=-1), kinds)


@dataclass(frozen=True)
class Learned:
    """A trained network, and the loss of every update."""

    model: FirstRNN
    losses: Array

    def right(self, waves: Waves) -> float:
        """Return the share of waves whose kind has the largest output after the last step."""
        outputs, _ = self.model(waves.xs)
        return float(np.mean(outputs.value[-1].argmax(axis=-1) == waves.kinds))


def learn(name: str, updates: int, seed: int) -> Learned:
    """Train a network by the optimizer of this name, on the same waves and weights for all."""
    model = FirstRNN(2, 16, len(CYCLES), 16, rng=seed)
    waves = Waves.some(960, seed)

    def loss(xs: ag.Node, kinds: ag.Node) -> ag.Node:
        outputs, _ = model(xs)
        return nn.cross_entropy(outputs[-1], kinds)

    step = nn.TrainingStep(loss, optimizer_named(name, model.parameters()))
    batches = np.random.default_rng([seed, 1]).integers(960, size=(updates, 32))
    xs, kinds = np.moveaxis(waves.xs[:, batches], 1, 0), waves.kinds[batches]
    return Learned(model, step.many(xs=xs, kinds=kinds)["loss"])


def learn_at_once(names: Sequence[str], updates: int, seed: int) -> dict[str, Learned]:
    """Train one network by each of the optimizers, each in a thread of its own."""
    with ThreadPoolExecutor(len(names)) as threads:
        learned = threads.map(lambda name: learn(name, updates, seed), names)
        return dict(zip(names, learned, strict=True))


def main(argv: Sequence[str] | None = None) -> None:
    """Print the example for one step and for three; then train networks by several optimizers."""
    options = parse(argv)
    graph = draw()
    print(graph)
    print("one step from a zero state:")
    show(run(graph, 1))
    print("three steps that keep the state:")
    show(run(graph, 3))
    names = list(OPTIMIZERS) if options.optimizer == "all" else [options.optimizer]
    updates = 200 if options.quick else 1000
    print(f"waves of {CYCLES} cycles, {updates} updates of 32 waves, seed {options.seed}:")
    new = Waves.some(2000, options.seed + 1)
    together = learn_at_once(names, updates, options.seed)
    for name, learned in together.items():
        first, last = learned.losses[0], learned.losses[-20:].mean()
        print(f"    {name:8} cross-entropy {first:.3f} -> {last:.3f}, new waves right: ", end="")
        print(f"{learned.right(new):.1%}")
    alone = {name: learn(name, updates, options.seed) for name in names}
    equal = all(np.array_equal(together[name].losses, alone[name].losses) for name in names)
    print(f"one after the other instead of in threads: {'the same' if equal else 'other'} bits")
    picture(graph, options.out / "virtual.svg", "virtual graph")
    picture(graph.grad(of="loss"), options.out / "gradient.svg", "gradient graph")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="demos.first_rnn", description=__doc__)
    parser.add_argument("--optimizer", choices=["all", *OPTIMIZERS], default="all")
    parser.add_argument("--seed", type=int, default=0, help="of waves and weights")
    parser.add_argument("--out", type=Path, default=Path("out/first_rnn"), help="folder")
    parser.add_argument("--quick", action="store_true", help="a short training")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
