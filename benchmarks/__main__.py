"""Run the benchmarks: every case of `cases.py` side by side with what a user would pick instead.

    python -m benchmarks                                    everything (about 15 minutes)
    python -m benchmarks --case rnn lstm --contender numpy native jax jax-hoisted torch-nn
    python -m benchmarks --quick                            tiny sizes: whether it all runs
    python -m benchmarks --list

Libraries may live in environments of their own (HIPS autograd must: it has our import name):

    python -m benchmarks --peer-python hips=/path/python --peer-python torch=/path/python
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from autograd import doctor
from benchmarks import report, suite
from benchmarks.cases import CASES, CONTENDERS, FAMILIES, Case, Problem
from benchmarks.contest import machine


def parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    names = [case.name for case in CASES]
    made.add_argument("--case", nargs="+", choices=names, default=names, metavar="CASE")
    made.add_argument("--contender", nargs="+", choices=CONTENDERS, metavar="CONTENDER")
    made.add_argument("--slow", action="store_true", help="with contenders that take minutes")
    made.add_argument("--quick", action="store_true", help="tiny sizes, two rounds")
    made.add_argument("--list", action="store_true", help="print cases and contenders, and end")
    made.add_argument("--rounds", type=positive, default=9)
    made.add_argument("--at-least", type=float, default=0.1, help="seconds a sample")
    made.add_argument("--threads", type=positive, default=cores(), help="of every contender")
    made.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: what the process was busy, for --threads 1 on a busy machine",
    )
    made.add_argument("--core-type", help="OPENBLAS_CORETYPE; by default the fastest one here")
    made.add_argument("--peer-python", action="append", default=[], metavar="NAME=PATH")
    made.add_argument("--read", type=Path, metavar="FILE", help="show the results of a --json file")
    made.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there")
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw them (needs matplotlib)")
    return made


def positive(text: str) -> int:
    """Return a whole number >= 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number >= 1, but is {text!r}")
    return int(text)


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def interpreters(options: Sequence[str]) -> dict[str, str]:
    """Return the interpreters given as NAME=PATH, by the family of contenders they are for."""
    found = {}
    for option in options:
        name, _, path = option.partition("=")
        if name not in FAMILIES or not path:
            raise SystemExit(
                f"--peer-python {option}: write NAME=PATH with NAME one of {', '.join(FAMILIES)}"
            )
        found[name] = path
    return found


def chosen(case: Case, contenders: Sequence[str] | None, slow: bool) -> list[str]:
    """Return who takes part in a case."""
    if contenders is not None:
        return [name for name in case.contenders if name in contenders]
    return [name for name in case.contenders if slow or name not in case.slow]


def core_type(asked: str | None) -> dict[str, str]:
    """Return the environment in which NumPy's OpenBLAS takes the fastest kernels."""
    if asked is None and "OPENBLAS_CORETYPE" not in os.environ:
        asked = doctor.fastest_core_type()
    return {"OPENBLAS_CORETYPE": asked} if asked else {}


def listing() -> str:
    lines = []
    for case in CASES:
        lines.append(f"{case.name}: {case.title}")
        names = [f"{name} (slow)" if name in case.slow else name for name in case.contenders]
        lines.append(f"    {', '.join(names)}")
        lines += [f"    must reach: {bound} <= {bound.at_most:.3g}" for bound in case.bounds]
    return "\n".join(lines)


def described(given: Any, environment: dict[str, str]) -> dict[str, Any]:
    """Return the machine and the settings that the figures depend on."""
    return {
        **machine(),
        "processor name": doctor.processor_name(),
        "numpy": np.__version__,
        "threads": given.threads,
        "clock": given.clock,
        "environment": environment,
        "release": platform.release(),
    }


def write(
    path: Path, about: dict[str, Any], cases: Sequence[Case], results: dict[str, suite.Result]
) -> None:
    """Write everything that was measured so far."""
    found = {
        case.name: {"problem": asdict(case.problem), **asdict(results[case.name])}
        for case in cases
        if case.name in results
    }
    path.write_text(json.dumps({"machine": about, "cases": found}, indent=1) + "\n")


def read(path: Path) -> tuple[dict[str, Any], list[Case], dict[str, suite.Result]]:
    """Return the machine, the cases and the results that `write` has written."""
    found = json.loads(path.read_text())
    cases, results = [], {}
    for case in CASES:
        fields = found["cases"].get(case.name)
        if fields is not None:
            cases.append(replace(case, problem=Problem(**fields.pop("problem"))))
            results[case.name] = suite.Result(**fields)
    return found["machine"], cases, results


def main(arguments: Sequence[str] | None = None) -> dict[str, suite.Result]:
    given = parser().parse_args(arguments)
    if given.list:
        print(listing())
        return {}
    if given.read:
        about, cases, results = read(given.read)
        texts = [heading(about), *[report.case_text(case, results[case.name]) for case in cases]]
        print("\n\n".join(texts))
    else:
        texts, cases, results = measure(given)
    texts.append("### What must be reached\n\n" + report.bound_table(cases, results))
    print(f"\n{texts[-1]}")
    if given.markdown:
        given.markdown.write_text("\n\n".join(texts) + "\n")
    if given.plot:
        from benchmarks.plot import draw

        draw(cases, results, given.plot)
    wrong = [text for result in results.values() for text in result.wrong]
    if wrong:
        raise SystemExit(
            "\n".join(["contenders that were wrong or died, and do not count:", *wrong])
        )
    return results


def heading(about: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in about.items())


def measure(given: Any) -> tuple[list[str], list[Case], dict[str, suite.Result]]:
    """Measure the cases, printing each; return the texts, the cases and the results."""
    if given.clock == "cpu" and given.threads != 1:
        raise SystemExit("--clock cpu adds up the time of all threads: use it with --threads 1")
    environment = core_type(given.core_type)
    setting = suite.Setting(
        rounds=given.rounds,
        at_least=given.at_least,
        threads=given.threads,
        pythons=interpreters(given.peer_python),
        environment=environment,
        clock=given.clock,
    )
    cases = [case for case in CASES if case.name in given.case]
    if given.quick:
        cases = [case.quick() for case in cases]
        setting = replace(setting, rounds=2, at_least=0.0, lengths=(10, 20), rate_size=64)
    about = described(given, environment)
    texts = [heading(about)]
    print(texts[0])
    results: dict[str, suite.Result] = {}
    for case in cases:
        names = chosen(case, given.contender, given.slow)
        results[case.name] = suite.measured(case, names, setting)
        texts.append(report.case_text(case, results[case.name]))
        print(f"\n{texts[-1]}", flush=True)
        if given.json:  # after each case: what was measured is kept if the next one is interrupted
            write(given.json, about, cases, results)
    return texts, cases, results


if __name__ == "__main__":
    main()
