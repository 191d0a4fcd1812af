"""Memory: the gradient of a long loop that stores everything, and within budgets.

The loop is h = tanh(h W + x_t) in float64, its loss the squared last state; asked for are the
gradients of W, of the initial state and, where said, of all x_t. Every run has a process of its
own, so that its peak memory is its own.

    python -m benchmarks.memory [--steps 1000000] [--hidden 8] [--budgets none 300MB 20MB ...]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

BUDGETS = ("none", "300MB", "100MB", "20MB", "2MB")


def one_run(steps: int, hidden: int, budget: str, slices: bool) -> dict[str, Any]:
    """Return what the gradient took in this process: seconds and bytes, foretold and measured."""
    import autograd as ag
    from loops import memory_plan, scan

    def loss(w: Any, xs: Any, h: Any) -> Any:
        h, _ = scan(lambda h, x: (ag.tanh(h @ w + x), None), h, xs, name="rnn")
        return (h * h).sum()

    random = np.random.default_rng(0)
    w = random.normal(size=(hidden, hidden)) / hidden
    xs = random.normal(size=(steps, hidden))
    graph = ag.trace(loss, w.shape, xs.shape, (hidden,))
    wrt = ["w", "h", *["xs"][:slices]]
    start = time.perf_counter()
    grads = graph.grad(wrt=wrt, memory=None if budget == "none" else budget)
    plan = memory_plan(grads)
    drawn = time.perf_counter()
    before = resident_peak()
    outputs = grads.run(w=w, xs=xs, h=np.zeros(hidden))
    return {
        "draw": drawn - start,
        "run": time.perf_counter() - drawn,
        "foretold": plan.peak,
        "grown": resident_peak() - before,
        "peak": resident_peak(),
        "plan": str(plan.loops[0]),
        "inputs": xs.nbytes,
        "sum": float(np.abs(outputs["grad_w"]).sum()),
    }


def resident_peak() -> int:
    """Return the most bytes this process has had resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(arguments: list[str] | None = None) -> None:
    """Print a table with one line a budget."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=1_000_000)
    options.add_argument("--hidden", type=int, default=8)
    options.add_argument("--budgets", nargs="+", default=BUDGETS)
    options.add_argument("--slices", action="store_true", help="ask for the gradient of all x_t")
    options.add_argument("--one", help=argparse.SUPPRESS)
    chosen = options.parse_args(arguments)
    if chosen.one:
        run = one_run(chosen.steps, chosen.hidden, chosen.one, chosen.slices)
        print(json.dumps(run))
        return
    print(f"{'budget':>8} {'seconds':>8} {'ratio':>6} {'foretold':>9} {'grown':>9} {'peak':>9}")
    first: dict[str, Any] = {}
    for budget in chosen.budgets:
        command = [sys.executable, "-m", "benchmarks.memory", "--one", budget]
        command += ["--steps", str(chosen.steps), "--hidden", str(chosen.hidden)]
        command += ["--slices"][: chosen.slices]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        run = json.loads(done.stdout)
        first = first or run
        if run["sum"] != first["sum"]:
            raise RuntimeError(f"the gradient within {budget} is another one")
        sizes = " ".join(f"{run[key] / 1e6:7.1f}MB" for key in ("foretold", "grown", "peak"))
        ratio = run["run"] / first["run"]
        print(f"{budget:>8} {run['run']:8.1f} {ratio:6.2f} {sizes}   {run['plan']}")


if __name__ == "__main__":
    main()
