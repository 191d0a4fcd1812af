"""One contender of `python -m benchmarks`, in a process of its own.

Requests: {"what": "prepare", "problem": {...}} builds what computes the problem, runs it, and
answers seconds, bytes (`grown`: without those of the sequences) and the fingerprints of loss and
gradients; {"what": "sample", "at_least": s, "clock": c} answers seconds a call; {"what": "rate",
"dtype": d, "size": n, "clock": c} the rate of a large matrix product. The first argument is the
contender; a second one is the number of processors this process keeps to.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

if len(sys.argv) > 2 and hasattr(os, "sched_setaffinity"):  # before any library starts threads
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])

import numpy as np
from problem import PROBE_STEPS, Problem, fingerprint
from serve import UnavailableError, import_loopgrad, serve

Build = Callable[[Problem], Any]


def by_hand(hoisted: bool) -> tuple[str, Build]:
    import hand
    import hoisted as better

    return np.__version__, better.of if hoisted else hand.of


def by_c() -> tuple[str, Build]:
    import by_c

    return by_c.release(), by_c.of


def by_torch(way: str) -> tuple[str, Build]:
    import by_torch

    return by_torch.VERSION, lambda problem: by_torch.of(problem, way)


def by_jax(way: str) -> tuple[str, Build]:
    import by_jax

    return by_jax.VERSION, lambda problem: by_jax.of(problem, way)


def by_tape(name: str) -> tuple[str, Build]:
    import by_tape

    library = by_tape.Hips() if name == "hips" else by_tape.MyGrad()
    return library.version, lambda problem: by_tape.of(library, problem)


def by_loopgrad(backend: str, ragged: str = "shrink") -> tuple[str, Build]:
    import_loopgrad()
    import by_loopgrad

    return "this checkout", lambda problem: by_loopgrad.of(problem, backend, ragged)


def planted() -> tuple[str, Build]:
    """A contender with a wrong gradient, by which tests see that it would be found out."""
    import hand

    class Wrong:
        def __init__(self, problem: Problem) -> None:
            self.right = hand.of(problem)

        def __call__(self) -> Any:
            found = self.right()
            return {**found, "u": -found["u"]}

    return "wrong", Wrong


def dying() -> tuple[str, Build]:
    """A contender whose process ends at its third call, as after a fault in machine code."""
    import hand

    class Dying:
        def __init__(self, problem: Problem) -> None:
            self.right, self.calls = hand.of(problem), 0

        def __call__(self) -> Any:
            self.calls += 1
            if self.calls > 3:
                os._exit(3)
            return self.right()

    return "dying", Dying


CONTENDERS: dict[str, Callable[[], tuple[str, Build]]] = {
    "hand": lambda: by_hand(False),
    "hand-hoisted": lambda: by_hand(True),
    "c": by_c,
    "torch-eager": lambda: by_torch("eager"),
    "torch-nn": lambda: by_torch("nn"),
    "torch-compile": lambda: by_torch("compile"),
    "jax": lambda: by_jax("plain"),
    "jax-hoisted": lambda: by_jax("hoisted"),
    "hips": lambda: by_tape("hips"),
    "mygrad": lambda: by_tape("mygrad"),
    "planted": planted,
    "dying": dying,
    **{name: lambda name=name: by_loopgrad(name) for name in ("reference", "numpy", "native")},
    **{
        f"{name}-mask": lambda name=name: by_loopgrad(name, "mask")
        for name in ("reference", "numpy", "native")
    },
}


def peak() -> float:
    """Return the peak resident set of this process in bytes."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found * (1 if sys.platform == "darwin" else 1024)


def outcome(run: Any, steps: int) -> dict[str, Any]:
    """Return what a contender has found, from the start: of training, the weights it comes to."""
    if not hasattr(run, "reset"):
        return dict(run())
    run.reset()
    loss = 0.0
    for _ in range(steps):
        loss += float(run())
    return {"loss": loss, **run.results()}


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def sample(
    run: Callable[[], Any], at_least: float, batch: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the median and the least seconds a call over `at_least` seconds.

    Calls are timed in batches, so that the clock does not count.
    """
    times = []
    end = time.perf_counter() + at_least
    while not times or time.perf_counter() < end:
        start = clock()
        for _ in range(batch):
            run()
        times.append((clock() - start) / batch)
    return {"median": float(np.median(times)), "least": min(times)}


def rate(dtype: str, size: int, clock: Callable[[], float]) -> float:
    """Return the best rate of a product of two large square matrices, in operations a second."""
    a = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
    out = a @ a
    best = float("inf")
    for _ in range(3):
        start = clock()
        np.matmul(a, a, out=out)
        best = min(best, clock() - start)
    return 2 * size**3 / best


def make(name: str) -> tuple[str, Callable[..., Any]]:
    if name == "blas":
        return np.__version__, lambda what, dtype, size, clock: rate(dtype, size, CLOCKS[clock])
    version, build = CONTENDERS[name]()
    made: dict[str, Any] = {}

    def prepare(problem: dict[str, Any], clock: str) -> dict[str, Any]:
        asked, now = Problem(**problem), CLOCKS[clock]
        asked.sequences()
        before = peak()
        start = now()
        try:
            run = build(asked)
            drawn = now()
            run()
        except UnavailableError as error:
            return {"missing": str(error)}
        except Exception as error:  # one contender's fault must not end the others' run
            traceback.print_exc()
            return {"missing": f"failed: {type(error).__name__}: {error}"}
        first = now()
        run()
        again = now() - first
        top = peak()
        made["run"] = run
        made["batch"] = max(1, round(0.002 / max(again, 1e-7)))
        steps = max(1, PROBE_STEPS // asked.updates)
        return {
            "build": drawn - start,
            "first": first - drawn,
            "again": again,
            "peak": top,
            "grown": top - before,
            **({"foretold": run.foretold()} if hasattr(run, "foretold") else {}),
            "fingerprint": fingerprint(outcome(run, steps)),
        }

    def answer(what: str, **request: Any) -> Any:
        if what == "prepare":
            return prepare(**request)
        at_least, clock = request["at_least"], CLOCKS[request["clock"]]
        return sample(made["run"], at_least, made["batch"], clock)

    return version, answer


serve(make)
