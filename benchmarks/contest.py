"""What the benchmarks share: contenders in processes of their own, and tables of what they took."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
THREADED = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "NUMBA")


def thread_settings(threads: int) -> dict[str, str]:
    """Return the environment in which every library we know uses that many threads.

    JAX has no such setting but one of XLA's, for one thread; it follows the processors that a
    process may use, which the suite's workers therefore set.
    """
    found = {f"{library}_NUM_THREADS": str(threads) for library in THREADED}
    if threads == 1:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        found["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    return found


class WorkerDiedError(RuntimeError):
    """A contender's process ended before it answered."""


class Worker:
    """A contender in a process of its own, which answers one request at a time."""

    def __init__(
        self,
        script: str,
        contender: str,
        python: str,
        *arguments: str,
        ours: bool = False,
        threads: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`ours`: it imports this checkout; `settings`: more of its environment."""
        self.contender = contender
        environment = {**os.environ, **thread_settings(threads), **(settings or {})}
        environment.pop("PYTHONPATH", None)
        if ours or contender == "loopgrad":
            environment["PYTHONPATH"] = str(ROOT)
        self.process = subprocess.Popen(
            [python, str(ROOT / "benchmarks" / "workers" / script), contender, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        hello = self._answer()
        self.version: str | None = hello.get("version")
        self.missing: str | None = hello.get("missing")

    def ask(self, **request: Any) -> Any:
        """Send a request and wait for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            raise WorkerDiedError(
                f"contender '{self.contender}' ended with status {status} before it answered; "
                "its message is above"
            )
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.communicate()


def parser(doc: str | None, contenders: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser with the options every benchmark has."""
    made = argparse.ArgumentParser(description=doc, allow_abbrev=False)
    made.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="interpreter of a contender that lives in an environment of its own; "
        f"contenders: {', '.join(contenders)}",
    )
    made.add_argument("--only", nargs="+", choices=contenders, default=list(contenders))
    made.add_argument("--json", type=Path, metavar="FILE", help="also write every sample there")
    return made


def interpreters(options: Sequence[str], contenders: Sequence[str]) -> dict[str, str]:
    """Return the interpreter of each contender: this one, but for the given `NAME=PATH`."""
    found = dict.fromkeys(contenders, sys.executable)
    for option in options:
        name, _, path = option.partition("=")
        if name not in found or not path:
            raise SystemExit(
                f"--python {option}: write NAME=PATH with NAME one of {', '.join(contenders)}"
            )
        found[name] = path
    return found


def present(workers: Sequence[Worker]) -> list[Worker]:
    """Return the workers whose library is installed, and say which are left out."""
    for worker in workers:
        if worker.missing is not None:
            print(f"left out: {worker.contender} ({worker.missing})")
    return [worker for worker in workers if worker.missing is None]


def median(samples: Sequence[float]) -> float:
    return statistics.median(samples)


def spread(samples: Sequence[float]) -> str:
    """Return the samples' range as a text: `3.9-4.4`."""
    return f"{min(samples):.3g}-{max(samples):.3g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with columns of equal width, the first one to the left."""
    cells = [list(head), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        rest = [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("| " + " | ".join([first, *rest]) + " |")
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def machine() -> dict[str, Any]:
    """Return what the figures depend on, with nothing that names one machine."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "python": platform.python_version(),
    }


def write(path: Path | None, results: Mapping[str, Any]) -> None:
    """Write the results as JSON if a path was given."""
    if path is not None:
        path.write_text(json.dumps({"machine": machine(), **results}, indent=1) + "\n")
