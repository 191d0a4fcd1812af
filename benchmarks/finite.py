"""What `check_finite` costs: training steps with and without it, taking turns.

One step is forward and backward. `rnn` has T = 100 steps, B = 32 rows, 64 features, 128 hidden,
float32; `adder` T = 8, B = 1, 2 features, 16 hidden, float64: `graph` runs the drawn gradient,
`tensors` calls the layer and `backward()`. `100 small ops` is a chain on 8 float64, op by op.
`cost` is the median over pairs of samples; `fastest` compares the fastest sample of each kind,
which is what a busy machine disturbs least.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.contest import Worker, median, parser, spread, table, write

WORKLOADS = ("rnn, graph", "adder, graph", "rnn, tensors", "adder, tensors", "100 small ops")


def measure(worker: Worker, workload: str, rounds: int, at_least: float) -> dict[str, list[float]]:
    """Return seconds a step, `off` and `on`, one a round; both are warm before the first."""
    for checked in (False, True):
        worker.ask(workload=workload, checked=checked, at_least=0.0)
    samples: dict[str, list[float]] = {"off": [], "on": []}
    for turn in range(rounds):
        for checked in (False, True) if turn % 2 == 0 else (True, False):
            seconds = worker.ask(workload=workload, checked=checked, at_least=at_least)
            samples["on" if checked else "off"].append(seconds)
    return samples


def row(workload: str, samples: dict[str, list[float]]) -> list[str]:
    ratios = [on / off for on, off in zip(samples["on"], samples["off"], strict=True)]
    off, on = (f"{median(samples[key]) * 1e3:.3f}" for key in ("off", "on"))
    cost = [100 * (ratio - 1) for ratio in ratios]
    fastest = 100 * (min(samples["on"]) / min(samples["off"]) - 1)
    return [workload, off, on, f"{median(cost):.0f}", spread(cost), f"{fastest:.0f}"]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__, ("loopgrad",))
    options.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--at-least", type=float, default=0.1, help="seconds a sample")
    given = options.parse_args(arguments)
    results: dict[str, Any] = {"unit": "seconds a step", "samples": {}}
    with Worker("finite_worker.py", "loopgrad", sys.executable) as worker:
        for workload in given.workloads:
            results["samples"][workload] = measure(worker, workload, given.rounds, given.at_least)
    head = ["step", "off ms", "on ms", "cost %", "range", "fastest %"]
    print(table(head, [row(name, samples) for name, samples in results["samples"].items()]))
    write(given.json, results)
    return results


if __name__ == "__main__":
    main()
