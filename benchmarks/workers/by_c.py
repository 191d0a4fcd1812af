"""The adder's training step in C (`adder_step.c`), compiled here if there is a compiler.

The flags that turn out fastest are used: the limit should be one.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from problem import RATE, Problem

SOURCE = Path(__file__).resolve().parent.parent / "adder_step.c"
FLAGS = (
    ("-O3",),
    # gcc's -O3 unrolls loops of 16 before it looks for vectors, and then finds poor ones.
    ("-O2", "-ftree-vectorize", "-funroll-loops"),
    ("-O2", "-ftree-vectorize", "-funroll-loops", "-mprefer-vector-width=512"),
)
COMMON = ("-march=native", "-ffast-math", "-shared", "-fPIC")


def compiler() -> str:
    """Return the path of a C compiler."""
    for name in ("cc", "gcc", "clang"):
        path = shutil.which(name)
        if path is not None:
            return path
    raise ImportError("no C compiler on the PATH")


def release() -> str:
    """Return the compiler's first line about itself."""
    done = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def built(flags: tuple[str, ...]) -> Any:
    """Return the function, compiled with these flags."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "adder_step.so"
        command = [compiler(), *flags, *COMMON, str(SOURCE), "-o", str(library), "-lm"]
        subprocess.run(command, check=True)
        train = ctypes.CDLL(str(library)).train
    train.restype = ctypes.c_double
    train.argtypes = [ctypes.c_long] * 4 + [ctypes.c_double] + [ctypes.c_void_p] * 5
    return train


class Adder:
    def __init__(self, problem: Problem) -> None:
        if (problem.batch, problem.features, problem.hidden) != (1, 2, 16) or problem.steps > 64:
            raise ValueError("adder_step.c is written for one row of 2 features and 16 states")
        self.problem = problem
        self.xs, self.ys = map(np.ascontiguousarray, problem.sums())
        self.train = min(map(built, FLAGS), key=self.seconds)
        self.reset()

    def seconds(self, train: Any) -> float:
        """Return the least time of a hundred steps of a compiled function."""
        self.reset()
        times = []
        for _ in range(20):
            start = time.process_time()
            train(0, 100, len(self.xs), self.problem.steps, RATE, *self.pointers)
            times.append(time.process_time() - start)
        return min(times)

    def reset(self) -> None:
        self.p = self.problem.weights()
        self.turn = 0
        arrays = (self.xs, self.ys, self.p["u"], self.p["w"], self.p["v"])
        self.pointers = [ctypes.c_void_p(a.ctypes.data) for a in arrays]

    def __call__(self) -> float:
        p, n = self.problem, len(self.xs)
        loss = self.train(self.turn, p.updates, n, p.steps, RATE, *self.pointers)
        self.turn = (self.turn + p.updates) % n
        return float(loss)

    def results(self) -> Any:
        return self.p


def of(problem: Problem) -> Any:
    return Adder(problem)
