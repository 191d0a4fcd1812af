"""Runs of training that are killed, interrupted and started again: they end at the same bits.

LOOPGRAD_KILLS says how many kills there are at random moments (20 unless told); half as many
signals are sent, and half as many processes killed while they write.
"""

import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nn
from tests.conftest import ROOT

KILLS = int(os.environ.get("LOOPGRAD_KILLS", "20"))
STEPS, EVERY = 1000, 50


class Child:
    """A process that trains, from a folder's latest checkpoint on."""

    def __init__(self, mode: str, folder: Path, *options: str, **environment: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.checkpoint_child", mode, str(folder), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )

    def start(self) -> int:
        """Wait until it trains; return the steps done before."""
        line = self.process.stdout.readline().split()
        if line[:1] != ["start"]:
            raise RuntimeError(self.rest()[1])
        return int(line[1])

    def end(self) -> list[str]:
        """Wait until it ends by itself; return the words of what it printed last.

        CPython ends with the status of Ctrl-C also where a KeyboardInterrupt was caught, if that
        came while `exec` ran a text.
        """
        out, err = self.rest()
        if err or self.process.returncode not in (0, -signal.SIGINT):
            raise RuntimeError(f"exit status {self.process.returncode}: {out}{err}")
        return out.split()

    def rest(self) -> tuple[str, str]:
        """What it prints until it ends. (`communicate` would miss what `readline` read ahead.)"""
        out, err = self.process.stdout.read(), self.process.stderr.read()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        return out, err

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait until a signal has ended it; return the exit status."""
        self.rest()
        return self.process.returncode

    def ends_within(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def progress(self) -> int:
        """How many steps it has done."""
        return struct.unpack("q", (self.folder / "progress").read_bytes())[0]

    def saved(self) -> int:
        """The number of steps in the latest checkpoint, which must be sound; 0 without any."""
        paths = sorted((self.folder / "checkpoints").glob("step-*"))
        return nn.load(paths[-1]).metadata["step"] if paths else 0


def unbroken(folder: Path, *options: str) -> tuple[str, float]:
    """Return the digest that a run ends with, and how many seconds it trains."""
    child = Child("whole", folder, *options)
    child.start()
    start = time.perf_counter()
    return child.end()[-1], time.perf_counter() - start


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--many",)], ids=["run", "many"])
def test_killed_runs_end_at_the_bits_of_the_unbroken_one(options, tmp_path):
    expected, seconds = unbroken(tmp_path / "unbroken", *options)
    rng = random.Random(len(options))
    kills = runs = 0
    while kills < KILLS // 2:
        runs += 1
        while True:
            child = Child("whole", tmp_path / str(runs), *options)
            resumed = child.start()
            if kills >= KILLS // 2 or child.ends_within(rng.uniform(0, seconds / 3)):
                assert child.end() == ["done", expected]
                break
            child.kill()
            kills += child.wait() == -signal.SIGKILL
            assert child.saved() >= resumed
            if not options:  # else the chunks of steps say how much an interval is
                assert child.progress() - child.saved() <= EVERY


@pytest.mark.slow
def test_processes_killed_while_they_write_leave_the_file_before(tmp_path):
    options = ("--ballast=8", "--every=1", "--steps=12")
    expected, _ = unbroken(tmp_path / "unbroken", *options)
    kills = runs = 0
    while kills < KILLS // 2:
        runs += 1
        folder = tmp_path / str(runs)
        while True:
            child = Child("whole", folder, *options)
            child.start()
            assert not list((folder / "checkpoints").glob(".*.tmp"))
            if kills >= KILLS // 2 or not stopped_while_writing(child, folder / "checkpoints"):
                assert child.end() == ["done", expected]
                break
            child.kill()
            child.wait()
            kills += 1
            assert len(list((folder / "checkpoints").glob(".*.tmp"))) == 1
            assert child.progress() - child.saved() <= 1


def stopped_while_writing(child: Child, folder: Path) -> bool:
    """Stop the process when a file is not yet in its place; return whether that was in time."""
    target = child.process.pid % 3 + 1  # let it write some of them
    while child.process.poll() is None:
        if child.progress() >= target and list(folder.glob(".*.tmp")):
            child.kill(signal.SIGSTOP)
            os.waitid(os.P_PID, child.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if list(folder.glob(".*.tmp")):
                return True
            child.kill(signal.SIGCONT)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_signals_never_leave_half_a_step(number, tmp_path):
    known = Child("states", tmp_path, "--steps=10000").end()
    rng = random.Random(number)
    done = set()
    for i in range(KILLS // 4):
        child = Child("torn", tmp_path)
        child.start()
        if i % 4:  # else it is still drawing its graph
            child.start()
        time.sleep(rng.uniform(0, 0.05))
        child.kill(number)
        *_, stopped, steps, digest = child.end()
        assert stopped == "stopped"
        assert known[int(steps)] == digest
        done.add(steps)
    assert len(done) > KILLS // 8


@pytest.mark.slow
def test_signals_under_guard_save_what_was_done_and_the_run_goes_on(tmp_path):
    expected, seconds = unbroken(tmp_path / "unbroken")
    rng = random.Random(3)
    signals = runs = 0
    while signals < KILLS // 2:
        runs += 1
        while True:
            child = Child("whole", tmp_path / str(runs), "--guard")
            child.start()
            if signals >= KILLS // 2 or child.ends_within(rng.uniform(0, seconds / 3)):
                assert child.end() == ["done", expected]
                break
            numbers = [rng.choice([signal.SIGINT, signal.SIGTERM])]
            numbers += rng.choice([[], [signal.SIGINT]])
            for number in numbers:
                child.kill(number)
                time.sleep(rng.choice([0, 0, 0.0005, 0.003]))
            out, _ = child.rest()
            status = child.process.returncode
            if status == 0:  # it was over when the signal came
                assert out.split() == ["done", expected]
                break
            signals += 1
            if len(numbers) == 1:
                assert child.progress() - child.saved() == 0
                assert status in (
                    (-number,) if number == signal.SIGINT else (128 + number, -number)
                )
            else:
                assert child.progress() - child.saved() <= EVERY


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--many",)], ids=["run", "many"])
def test_a_run_in_two_parts_has_the_bits_of_one(options, tmp_path):
    expected, _ = unbroken(tmp_path / "whole", "--steps=300", *options)
    if not options:  # many() with fewer steps in all would draw other rows
        unbroken(tmp_path / "parts", "--steps=137", "--every=137")
    else:
        (tmp_path / "parts").mkdir()
        paths = sorted((tmp_path / "whole/checkpoints").glob("step-*"))
        (tmp_path / "parts/checkpoints").mkdir()
        paths[0].rename(tmp_path / "parts/checkpoints" / paths[0].name)
    assert unbroken(tmp_path / "parts", "--steps=300", *options)[0] == expected


SETTINGS = [
    ((), {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "LOOPGRAD_THREADS": "1"}),
    ((), {"PYTHONHASHSEED": "1", "OPENBLAS_NUM_THREADS": "2", "LOOPGRAD_THREADS": "2"}),
    (("--watch",), {"PYTHONHASHSEED": "random", "OPENBLAS_NUM_THREADS": "2"}),
    (("--watch",), {"PYTHONHASHSEED": "12345", "OPENBLAS_NUM_THREADS": "1"}),
]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_losses_and_weights_are_the_same_in_every_process(backend, tmp_path):
    """`check_finite` looks at the nodes as they are drawn: it has the bits of "reference"."""
    checked = (("--check",), {"PYTHONHASHSEED": "2"}) if backend == "reference" else ((), {})
    found = [
        Child(
            *("curve", tmp_path, "--steps=200", "--hidden=64", *options),
            **{"LOOPGRAD_BACKEND": backend, **environment},
        ).end()
        for options, environment in [*SETTINGS, checked]
    ]
    assert found[0][0] == "done"
    assert found == [found[0]] * 5
