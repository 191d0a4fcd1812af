"""Training steps of whole layers: what `nn.LSTM` and its like take, beside PyTorch's.

A step is forward, mean of squares, backward and SGD, in float32, all layers from the same weights.
`loopgrad` runs `nn.TrainingStep.run`, `loopgrad-many` 20 steps in one call, `loopgrad-eager` the
eager habit with `backward()` and `optimizer.step()`. Contenders take turns.

    python -m benchmarks.layers [--cases lstm ...] [--threads 2] [--python torch=PATH]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.contest import Worker, interpreters, median, parser, present, spread, table, write

CONTENDERS = ("loopgrad", "loopgrad-many", "loopgrad-eager", "torch")

CASES: dict[str, dict[str, Any]] = {
    "rnn": {"kind": "RNN", "sizes": (100, 32, 64, 128)},
    "lstm": {"kind": "LSTM", "sizes": (100, 32, 128, 256)},
    "gru": {"kind": "GRU", "sizes": (100, 32, 128, 256)},
    "lstm-small": {"kind": "LSTM", "sizes": (100, 4, 32, 64)},
    "gru-tiny": {"kind": "GRU", "sizes": (20, 1, 8, 16)},
    "lstm-two-layers": {"kind": "LSTM", "sizes": (50, 16, 64, 128), "num_layers": 2},
    "lstm-both-ways": {"kind": "LSTM", "sizes": (50, 16, 64, 128), "bidirectional": True},
    "lstm-ragged": {"kind": "LSTM", "sizes": (100, 32, 64, 128), "ragged": True},
}
"""Arguments of the layers; sizes are (steps, batch, features, hidden)."""


def measure(
    workers: Sequence[Worker], case: dict[str, Any], rounds: int, at_least: float
) -> dict[str, list[float]]:
    """Return milliseconds a step, one figure a round, of each contender that can do it."""
    losses = {worker.contender: worker.ask(what="prepare", **case)["loss"] for worker in workers}
    first, expected = next(iter(losses.items()))
    for name, loss in losses.items():
        if not math.isclose(loss, expected, rel_tol=1e-3):
            raise RuntimeError(f"{first} and {name} disagree on the loss: {expected} and {loss}")
    samples: dict[str, list[float]] = {worker.contender: [] for worker in workers}
    for turn in range(rounds):
        for worker in workers if turn % 2 == 0 else reversed(workers):
            answer = worker.ask(what="sample", at_least=at_least)
            samples[worker.contender].append(answer["seconds"] * 1e3)
    return samples


def rows(case: str, samples: dict[str, list[float]]) -> list[list[str]]:
    peer = samples.get("torch")
    return [
        [
            case,
            name,
            f"{median(found):.3f}",
            spread(found),
            f"{median(found) / median(peer):.2f}" if peer else "-",
        ]
        for name, found in samples.items()
    ]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__, CONTENDERS)
    options.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--at-least", type=float, default=0.2, help="seconds a sample")
    given = options.parse_args(arguments)
    pythons = interpreters(given.python, CONTENDERS)
    results: dict[str, Any] = {"unit": "milliseconds a step", "versions": {}, "samples": {}}
    found: list[list[str]] = []
    with ExitStack() as stack:
        workers = present(
            [
                stack.enter_context(
                    Worker(
                        "layer_worker.py",
                        name,
                        pythons[name],
                        str(given.threads),
                        ours=name.startswith("loopgrad"),
                        threads=given.threads,
                    )
                )
                for name in given.only
            ]
        )
        results["versions"] = {worker.contender: worker.version for worker in workers}
        for case in given.cases:
            samples = measure(workers, CASES[case], given.rounds, given.at_least)
            results["samples"][case] = samples
            found += rows(case, samples)
    print(table(["case", "contender", "ms/step", "range", "/ torch"], found))
    write(given.json, results)
    return results


if __name__ == "__main__":
    main()
