"""Ragged batches: a batch that shrinks, masks, and a loop that computes the padding too.

The loop is h = tanh(x_t + h W) over `steps`, `rows` and `hidden` in float64, its loss the sum of
all h squared; asked for is the gradient of W. Lengths are random; `valid` is their share of all
steps. `graph` runs a gradient that has been drawn, `function` calls `ag.grad(loss)`, which draws it
each time. The plain loop has no lengths, so it computes something else: it is there to compare.

    python -m benchmarks.ragged [--sizes 100,64,256 ...] [--rounds 9]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported

import numpy as np

import autograd as ag
from benchmarks.contest import table
from loops import scan

SIZES = ("200,32,64", "100,64,256", "50,16,16")
WAYS = ("shrink", "mask", "plain")
Run = Callable[[], Any]


def fastest(runs: Sequence[Run], rounds: int) -> list[float]:
    """Return the fastest time of each in seconds, taking turns; all are warm before the first."""
    for run in runs:
        run()
    best = [float("inf")] * len(runs)
    for _ in range(rounds):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def runs_of(way: str, xs: Any, lengths: Any, w: Any) -> tuple[Run, Run]:
    """Return what runs a drawn gradient of the loop, and what calls `ag.grad`."""
    h0 = np.zeros(xs.shape[1:])

    def loss(w: Any, xs: Any, lengths: Any) -> Any:
        options = {} if way == "plain" else {"lengths": lengths, "ragged": way}
        _, hs = scan(lambda h, x: (ag.tanh(x + h @ w),) * 2, h0, xs, **options)
        return (hs * hs).sum()

    inputs = [ag.input("xs", xs.shape), ag.input("lengths", lengths.shape, "int64")]
    weight = ag.parameter("w", w)
    drawn = ag.Graph(inputs, {"loss": loss(weight, *inputs)}, allow_unused=True).grad()
    function = ag.grad(loss)
    return (lambda: drawn.run(xs=xs, lengths=lengths)), (lambda: function(w, xs, lengths))


def row(size: str, share: float, rounds: int) -> list[str]:
    """Return a row of the table: milliseconds of each way, for lengths up to `share` of all."""
    steps, rows, hidden = map(int, size.split(","))
    random = np.random.default_rng(0)
    lengths = random.integers(0, int(share * steps) + 1, rows)
    lengths[0] = steps
    xs, w = random.normal(size=(steps, rows, hidden)), random.normal(size=(hidden, hidden)) * 0.1
    pairs = [runs_of(way, xs, lengths, w) for way in WAYS]
    found = [fastest(runs, rounds) for runs in zip(*pairs, strict=True)]
    times = [f"{seconds * 1e3:.1f}" for kind in found for seconds in kind]
    return [size, f"{lengths.mean() / steps:.2f}", *times]


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    options.add_argument("--sizes", nargs="+", default=list(SIZES), metavar="STEPS,ROWS,HIDDEN")
    options.add_argument("--rounds", type=int, default=9)
    given = options.parse_args(arguments)
    head = ["steps,rows,hidden", "valid"]
    head += [f"{kind}: {way}" for kind in ("graph", "function") for way in WAYS]
    rows = [row(size, share, given.rounds) for size in given.sizes for share in (1.0, 0.4)]
    print(table(head, rows))


if __name__ == "__main__":
    main()
