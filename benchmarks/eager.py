"""Eager overhead: what one small op costs, forward and backward, in several libraries.

The chain y = tanh(y) * x on 8 float64, `length` times over: 2 * length ops so small that nearly
all of the time goes into recording and walking back. Samples of the contenders are interleaved, so
that a busy machine is busy for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.contest import (
    Worker,
    interpreters,
    median,
    parser,
    present,
    spread,
    table,
    write,
)

CONTENDERS = ("loopgrad", "torch", "hips", "mygrad", "numpy")

Samples = dict[str, dict[str, list[float]]]
"""Microseconds an op: contender -> `forward` or `both` -> one figure a round."""


def measure(workers: Sequence[Worker], length: int, rounds: int, at_least: float) -> Samples:
    """Return the samples of one chain length, the contenders taking turns."""
    samples: Samples = {worker.contender: {"forward": [], "both": []} for worker in workers}
    gradients: dict[str, list[float]] = {}
    for worker in workers:  # warm up
        worker.ask(length=length, at_least=0.0)
    for turn in range(rounds):
        for worker in workers if turn % 2 == 0 else reversed(workers):
            answer = worker.ask(length=length, at_least=at_least)
            for phase in ("forward", "both"):
                samples[worker.contender][phase].append(answer[phase] / (2 * length) * 1e6)
            gradients[worker.contender] = answer["gradient"]
    same_gradients(gradients)
    return samples


def same_gradients(gradients: dict[str, list[float]]) -> None:
    """Make sure that all contenders did the same work."""
    first, *others = gradients.items()
    for name, values in others:
        for a, b in zip(first[1], values, strict=True):
            if not math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12):
                raise RuntimeError(f"{first[0]} and {name} disagree on the gradient: {a} and {b}")


def rows(samples: Samples, length: int) -> list[list[str]]:
    peer = samples.get("torch")
    made = []
    for name, phases in samples.items():
        ratio = f"{median(phases['both']) / median(peer['both']):.2f}" if peer else "-"
        made.append(
            [
                name,
                str(length),
                f"{median(phases['forward']):.2f}",
                spread(phases["forward"]),
                f"{median(phases['both']):.2f}",
                spread(phases["both"]),
                ratio,
            ]
        )
    return made


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__, CONTENDERS)
    options.add_argument("--lengths", type=int, nargs="+", default=[10, 100, 1000])
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--at-least", type=float, default=0.05, help="seconds a sample")
    given = options.parse_args(arguments)
    pythons = interpreters(given.python, CONTENDERS)
    found: list[list[str]] = []
    results: dict[str, Any] = {"unit": "microseconds an op", "versions": {}, "samples": {}}
    with ExitStack() as stack:
        workers = present(
            [
                stack.enter_context(Worker("eager_worker.py", name, pythons[name]))
                for name in given.only
            ]
        )
        results["versions"] = {worker.contender: worker.version for worker in workers}
        for length in given.lengths:
            samples = measure(workers, length, given.rounds, given.at_least)
            results["samples"][str(length)] = samples
            found += rows(samples, length)
    head = ["contender", "length", "forward us/op", "range", "fwd+bwd us/op", "range", "/ torch"]
    print(table(head, found))
    write(given.json, results)
    return results


if __name__ == "__main__":
    main()
