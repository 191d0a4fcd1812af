"""An RNN drawn as a looped graph learns to add binary numbers: `python -m demos.binary_addition`.

It reads two numbers bit by bit, lowest first, and writes their sum; the carry is what it has to
learn to remember. Trained on 8 bits, the same graph then runs for 65 steps and adds 64-bit numbers.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autograd.spec import Array
from demos.adder_data import BITS, addends, all_pairs, number, sums
from demos.article import Article
from demos.recipes import Default, Numpy, Published, Recipe
from demos.showing import curve, picture, progress

RECIPES: dict[str, type[Recipe]] = {
    "default": Default,
    "numpy": Numpy,
    "published": Published,
    "article": Article,
}
LONG_SUMS = 1000


@dataclass(frozen=True)
class Training:
    """The printed reports, and the loss of every step."""

    reports: list[str]
    losses: list[float]


def train(recipe: Recipe, steps: int) -> Training:
    """Train for `steps`, printing a report every 1000 (of a short run: four of them)."""
    every = 1000 if steps > 1000 else max(1, steps // 4)
    reports, losses = [], []
    numbers, write = progress(steps, "training")
    for step in numbers:
        a, b = recipe.pairs(step)
        xs, ys = addends(a, b), sums(a, b)
        results = recipe.train(xs, ys)
        losses.append(recipe.printed_loss(results, ys))
        if step % every == 0:
            bits = results["bits"][:, 0, 0]
            reports.append(recipe.report(int(a[0]), int(b[0]), bits, losses[-1]))
            write(reports[-1])
    return Training(reports, losses)


def predict(recipe: Recipe, a: Array, b: Array, width: int) -> Array:
    """Return the bits (width, B) the trained graph writes for many sums of `width` bits."""
    graph = recipe.graph.select("bits")
    # a loop that computes losses too asks for targets, which the bits do not depend on
    known = {"xs": addends(a, b, width), "h0": recipe.no_state(len(a))}
    known["ys"] = np.zeros((width, len(a), 1))
    inputs = {name: known[name] for name in graph.inputs}
    longer = graph.resize(**{name: value.shape for name, value in inputs.items()})
    return longer.run(**inputs)["bits"][:, :, 0] > 0.5


def count_right(recipe: Recipe, a: Array, b: Array, width: int) -> int:
    """Return how many of the sums come out right in all bits."""
    right = predict(recipe, a, b, width) == sums(a, b, width)[:, :, 0]
    return int(np.count_nonzero(right.all(axis=0)))


def examine(recipe: Recipe, seed: int) -> tuple[int, int]:
    """Print and return how many of all small and of 1,000 random 64-bit sums are right."""
    a, b = all_pairs()
    small = count_right(recipe, a, b, BITS)
    print(f"all pairs of addends below 128: {small:,} / {len(a):,} right")
    rng = np.random.default_rng([seed, 64])
    a, b = rng.integers(2**64, size=(2, LONG_SUMS), dtype=np.uint64)
    large = count_right(recipe, a, b, 65)
    print(f"random 64-bit sums, the same graph run for 65 steps: {large:,} / {LONG_SUMS:,} right")
    for i in range(3):
        guess = number(predict(recipe, a[i : i + 1], b[i : i + 1], 65)[:, 0])
        verdict = "right" if guess == int(a[i]) + int(b[i]) else "wrong"
        print(f"    {a[i]} + {b[i]} = {guess} ({verdict})")
    return small, large


def draw(recipe: Recipe, out: Path) -> None:
    """Draw the virtual, the computation and the gradient graph."""
    graph = recipe.graph.select("bits", "loss")
    picture(graph, out / "virtual.svg", "virtual graph")
    picture(graph.unroll(), out / "unrolled.svg", "computation graph, unrolled")
    picture(recipe.training, out / "gradient.svg", "gradient graph")


def main(argv: Sequence[str] | None = None) -> None:
    """Draw, train and test the network of one recipe."""
    options = parse(argv)
    chosen = RECIPES[options.recipe]
    seed = chosen.first_seed if options.seed is None else options.seed
    steps = options.steps or (chosen.quick_steps if options.quick else chosen.steps)
    recipe = chosen(seed)
    print(f"recipe {options.recipe}: {chosen.summary}\nseed {seed}, {steps} training steps")
    draw(recipe, options.out)
    training = train(recipe, steps)
    curve(training.losses, options.out / "loss.png", "loss")
    examine(recipe, seed)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="demos.binary_addition", description=__doc__)
    listed = "; ".join(f"{name}: {recipe.summary}" for name, recipe in RECIPES.items())
    parser.add_argument("--recipe", choices=RECIPES, default="default", help=listed)
    parser.add_argument("--steps", type=int, help="training steps (default: the recipe's)")
    parser.add_argument("--seed", type=int, help="of weights and samples (default: the recipe's)")
    parser.add_argument("--out", type=Path, default=Path("out/binary_addition"), help="folder")
    parser.add_argument("--quick", action="store_true", help="a short training")
    options = parser.parse_args(argv)
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps must be at least 1, but is {options.steps}")
    if options.seed is not None and options.seed < 0:
        parser.error(f"--seed must be at least 0, but is {options.seed}")
    return options


if __name__ == "__main__":
    main()
