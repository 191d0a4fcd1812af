"""How the cases are measured: a process a contender, who take turns and are checked first."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from problem import Problem

from benchmarks.cases import LIMIT, OURS, Case, family
from benchmarks.contest import ROOT, Worker, WorkerDiedError

TOLERANCES = {"float32": 1e-3, "float64": 1e-7}
"""How far norms and sums of gradients may be from those of NumPy, relative to the norm."""
PATIENCE = 20.0
"""Seconds for all samples of one contender: those that are slow have fewer rounds."""
SETTLE = 0.1
"""Seconds between two contenders, in which idle threads of the first one stop spinning."""
LENGTHS = (100, 1_000, 10_000, 100_000, 1_000_000)

Fingerprint = Mapping[str, Sequence[float]]


class DisagreementError(Exception):
    """A contender has not computed what the others have."""


@dataclass(frozen=True)
class Setting:
    """What holds for all cases of a run.

    With one thread the `clock` may be "cpu", which a busy machine disturbs less.
    """

    rounds: int = 9
    at_least: float = 0.1
    threads: int = 2
    pythons: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    lengths: tuple[int, ...] = LENGTHS
    rate_size: int = 2048
    clock: str = "wall"

    @property
    def sample(self) -> dict[str, Any]:
        """Return what a contender is asked for its time."""
        return {"what": "sample", "at_least": self.at_least, "clock": self.clock}

    def worker(self, contender: str, environment: Mapping[str, str] | None = None) -> Worker:
        """Start a contender's process."""
        ours = family(contender) == "loopgrad"
        python = self.pythons.get(family(contender), sys.executable)
        settings = {**self.environment, **(environment or {})}
        return Worker(
            "suite_worker.py",
            contender,
            python,
            str(self.threads),
            ours=ours,
            threads=self.threads,
            settings=settings,
        )


@dataclass
class Result:
    """What was measured in a case, and who was left out: with the reason, or for being wrong."""

    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    samples: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def check(name: str, found: Fingerprint, expected: Fingerprint, tolerance: float) -> None:
    """Make sure that a contender's loss and gradients are the expected ones.

    Raises a DisagreementError that names the first result which is another, or lacking.
    """
    for result, (norm, probe) in expected.items():
        if result not in found:
            raise DisagreementError(f"{name} has not computed '{result}'")
        margin = tolerance * norm
        near = [abs(a - b) <= margin for a, b in zip(found[result], (norm, probe), strict=True)]
        if not all(near):  # so that NaN is a disagreement, too
            raise DisagreementError(
                f"{name} finds another '{result}': norm and weighted sum are "
                f"{found[result][0]:.6g} and {found[result][1]:.6g}, not {norm:.6g} and {probe:.6g}"
            )


def prepared(worker: Worker, problem: Problem, clock: str) -> dict[str, Any]:
    asked = {"what": "prepare", "problem": asdict(problem), "clock": clock}
    answer: dict[str, Any] = worker.ask(**asked)
    return answer


def expected_of(problem: Problem, setting: Setting) -> Fingerprint:
    """Return what hand-written NumPy finds, in a process that ends with this."""
    # For a million steps the plain form holds a million arrays; the hoisted one is tested for it.
    name = "hand" if problem.steps <= 10_000 and problem.updates <= 1000 else "hand-hoisted"
    with setting.worker(name) as worker:
        found: Fingerprint = prepared(worker, problem, "wall")["fingerprint"]
        return found


def rounds(case: Case, names: Sequence[str], setting: Setting) -> Result:
    """Measure seconds a call: contender after contender, round after round."""
    problem, result = case.problem, Result()
    expected = expected_of(problem, setting)
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        turns: dict[str, int] = {}
        for name in names:
            worker = stack.enter_context(setting.worker(name))
            first = _entered(name, worker, problem, result, setting.clock, expected)
            if first is None:
                continue
            workers[name], result.samples[name] = worker, []
            turns[name] = max(1, min(setting.rounds, int(PATIENCE / max(first["again"], 1e-9))))
            result.figures[name] = {
                "first call s": first["build"] + first["first"],
                "peak MB": first["peak"] / 1e6,
            }
        blas = stack.enter_context(setting.worker("blas"))
        rates = []
        for turn in range(setting.rounds):
            for name in list(workers)[:: 1 if turn % 2 == 0 else -1]:
                if turn < turns[name]:
                    time.sleep(SETTLE)
                    try:
                        result.samples[name].append(workers[name].ask(**setting.sample))
                    except WorkerDiedError as error:
                        result.wrong.append(str(error))
                        result.missing[name] = f"wrong: {error}"
                        del workers[name], result.samples[name], result.figures[name]
            asked = {"dtype": problem.dtype, "size": setting.rate_size, "clock": setting.clock}
            rates.append(blas.ask(what="rate", **asked))
    for name, samples in result.samples.items():
        result.figures[name] |= summary(samples)
    limit = problem.flops / max(rates)
    result.figures[LIMIT] = {"median": limit, "least": limit, "GF/s": max(rates) / 1e9}
    return result


def _entered(
    name: str,
    worker: Worker,
    problem: Problem,
    result: Result,
    clock: str,
    expected: Fingerprint | None = None,
) -> dict[str, Any] | None:
    """Return what a contender says of its first call, or note why it does not take part."""
    missing = worker.missing
    if missing is None:
        result.versions[name] = str(worker.version)
        try:
            first = prepared(worker, problem, clock)
            missing = first.get("missing")
            if missing is None:
                check(name, first["fingerprint"], expected or {}, TOLERANCES[problem.dtype])
                return first
        except (DisagreementError, WorkerDiedError) as error:
            result.wrong.append(str(error))
            missing = f"wrong: {error}"
    result.missing[name] = missing
    return None


def summary(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return median and quartiles over the rounds, and the least of all calls."""
    medians = [sample["median"] for sample in samples]
    low, middle, high = (
        statistics.quantiles(medians, n=4, method="inclusive") if len(medians) > 1 else medians * 3
    )
    least = min(sample["least"] for sample in samples)
    return {"median": middle, "low": low, "high": high, "least": least}


def growing(case: Case, names: Sequence[str], setting: Setting) -> Result:
    """Measure one problem at many lengths, each in a fresh process."""
    result = Result()
    for name in names:
        rows = []
        for steps in setting.lengths:
            problem = replace(case.problem, steps=steps)
            with setting.worker(name) as worker:
                first = _entered(name, worker, problem, result, setting.clock)
                if first is None:
                    break
                try:
                    again = worker.ask(**setting.sample)
                except WorkerDiedError as error:
                    result.wrong.append(str(error))
                    result.missing[name] = f"wrong: {error}"
                    break
            row = {"steps": steps, "seconds": again["least"], "compile s": compile_time(first)}
            row |= {key: first[key] / 1e6 for key in ("peak", "grown", "foretold") if key in first}
            rows.append(row)
        if rows and name not in result.missing:
            result.samples[name] = rows
            result.figures[name] = growth(rows)
    return result


def compile_time(first: Mapping[str, float]) -> float:
    """Return the seconds that drawing and compiling took: what the first call had over others."""
    return first["build"] + max(0.0, first["first"] - first["again"])


def growth(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return how time, compilation and memory grow with the number of steps.

    `slope` is that of log(time) over log(steps) between the two greatest lengths, where neither
    the constant part counts nor what a cache holds: 1 is linear.
    """
    shorter, longest = rows[-2:]
    times, steps = (longest[key] / shorter[key] for key in ("seconds", "steps"))
    found = {
        "slope": math.log(times) / math.log(steps),
        "median": rows[-1]["seconds"],
        "least": rows[-1]["seconds"],
        "compile s": rows[-1]["compile s"],
        "compile growth": rows[-1]["compile s"] / max(rows[0]["compile s"], 1e-9),
        "peak MB": rows[-1]["peak"],
    }
    if "foretold" in rows[-1]:
        found["memory / foretold"] = rows[-1]["grown"] / rows[-1]["foretold"]
    return found


def first_call(case: Case, names: Sequence[str], setting: Setting) -> Result:
    """Measure drawing, compiling and the first run in fresh processes.

    Caches on disk are put into an empty folder: "cold s" is the first process, "first call s" the
    median of later ones.
    """
    result = Result()
    expected = expected_of(case.problem, setting)
    for name in names:
        seconds = []
        with tempfile.TemporaryDirectory() as folder:
            caches = {"LOOPGRAD_CACHE": folder, "TORCHINDUCTOR_CACHE_DIR": folder}
            for _ in range(1 + min(setting.rounds, 5)):
                with setting.worker(name, caches) as worker:
                    first = _entered(name, worker, case.problem, result, setting.clock, expected)
                if first is None:
                    break
                seconds.append(first["build"] + first["first"])
        if seconds:
            result.samples[name] = [{"seconds": s} for s in seconds]
            later = statistics.median(seconds[1:])
            result.figures[name] = {
                **{"cold s": seconds[0], "first call s": later},
                **{"median": later, "least": min(seconds[1:])},
            }
    return result


IMPORT = """
import sys, time
import numpy
now = time.process_time if sys.argv[1] == "cpu" else time.perf_counter
start = now()
import autograd
print(now() - start)
"""


def importing(case: Case, names: Sequence[str], setting: Setting) -> Result:
    """Measure what `import autograd` takes after `import numpy`, in fresh processes.

    Bytecode goes into a folder of its own, which the first process fills: it does not count.
    """
    result = Result()
    python = setting.pythons.get("loopgrad", sys.executable)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            command = [python, "-c", IMPORT, setting.clock]
            seconds = []
            for _ in range(1 + setting.rounds):
                done = subprocess.run(
                    command, stdout=subprocess.PIPE, check=True, cwd=ROOT, env=environment
                )
                seconds.append(float(done.stdout))
        seconds = seconds[1:]
        found = statistics.median(seconds)
        result.samples[name] = [{"seconds": s} for s in seconds]
        result.figures[name] = {"import s": found, "median": found, "least": min(seconds)}
    return result


Measure = Callable[[Case, Sequence[str], Setting], Result]
MEASURES: dict[str, Measure] = {
    **{"rounds": rounds, "growing": growing},
    **{"first-call": first_call, "import": importing},
}


def measured(case: Case, names: Sequence[str], setting: Setting) -> Result:
    """Measure a case for the contenders of `names` that take part in it."""
    return MEASURES[case.kind](case, names, setting)


__all__ = ["OURS", "DisagreementError", "Result", "Setting", "check", "measured", "summary"]
