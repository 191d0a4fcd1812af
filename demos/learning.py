"""What the demos on tasks share: their options, and training step after step with reports."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

import nn
from autograd.spec import Array
from demos.charts import aside
from demos.showing import progress

LATEST = 100
"""Of how many of the latest steps the mean is reported."""


def learn(
    step: nn.TrainingStep,
    batch: Callable[[], Mapping[str, Array]],
    steps: int,
    label: str,
    goal: float = 0.0,
    reports: int = 10,
) -> list[float]:
    """Do up to `steps` training steps, each on a new batch; return the loss of each.

    Prints reports on the way, and stops where the mean of the latest 100 losses is below `goal`.
    """
    losses: list[float] = []
    started = time.perf_counter()
    numbers, write = progress(steps, label)
    for number in numbers:
        losses.append(float(step.run(**batch())["loss"]))
        if (number + 1) % max(1, steps // reports) == 0:
            write(f"    {label}, step {number + 1:,}: loss {latest(losses):.4f}")
        if len(losses) >= LATEST and latest(losses) < goal:
            write(f"    {label}, step {number + 1:,}: loss {latest(losses):.4f}, below {goal:g}")
            break
    seconds = time.perf_counter() - started
    aside(f"    {label}: {seconds:.1f} s, {1e3 * seconds / len(losses):.2f} ms a step")
    return losses


def steps_until(losses: Sequence[float], goal: float) -> int | None:
    """Return after how many steps the mean of 100 losses was below `goal`; None if never."""
    if len(losses) < LATEST:
        return None
    means = np.convolve(losses, np.ones(LATEST) / LATEST, "valid")
    return int(np.argmax(means < goal)) + LATEST if (means < goal).any() else None


def latest(losses: list[float]) -> float:
    """Return the mean of the latest losses."""
    return float(np.mean(losses[-LATEST:]))


def options(
    name: str, about: str | None, argv: Sequence[str] | None, **numbers: tuple[int, str]
) -> argparse.Namespace:
    """Return what the command line of a demo says: `quick`, `seed`, the folder `out`, and more.

    `numbers` are options of whole numbers >= 1: what each is by default, and what it is for.
    """
    parser = argparse.ArgumentParser(prog=f"demos.{name}", description=about)
    parser.add_argument("--quick", action="store_true", help="a short training")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("out", name), help="folder for pictures")
    for option, (default, what) in numbers.items():
        about = f"{what} (default: {default})"
        parser.add_argument(f"--{option}", type=int, default=default, help=about)
    found = parser.parse_args(argv)
    for option, least in ({"seed": 0} | dict.fromkeys(numbers, 1)).items():
        if getattr(found, option) < least:
            parser.error(f"--{option} must be at least {least}, but is {getattr(found, option)}")
    return found
