"""Nothing is held in a reference cycle: memory stays flat without the cyclic garbage collector.

By default a few thousand steps; under `HYPOTHESIS_PROFILE=exploring` a hundred thousand.
"""

import json
import os

import pytest

from tests.memory_probes import PROBES

EXPLORING = os.environ.get("HYPOTHESIS_PROFILE") == "exploring"

# Rounds that draw graphs take milliseconds, all others a few dozen microseconds.
ROUNDS = dict.fromkeys(
    (
        "loop_on_tensors",
        "scan_and_branch",
        "within_a_budget",
        "while_that_stops_or_not",
        "graphs",
        "graphs_with_loops",
        "graphs_with_branches",
        "files",
        "pictures",
    ),
    450,
)
FEW = 400  # objects of any kind that Python and NumPy keep for themselves for a while


def probed(name, rounds, run_python):
    """Return what `rounds` rounds leave behind; none of it may be an object, or in a cycle."""
    done = run_python("-m", "tests.memory_probes", name, str(rounds))
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout.splitlines()[-1])
    assert grown["collected"] == 0, grown["kinds"]
    assert abs(grown["objects"]) <= 100
    return grown


@pytest.mark.parametrize("name", PROBES)
def test_memory_stays_flat_without_the_garbage_collector(name, run_python):
    rounds = ROUNDS.get(name, 3000) * (33 if EXPLORING else 1)
    assert rounds > FEW
    grown = probed(name, rounds, run_python)
    if grown["blocks"] > FEW:  # what grows, unlike what is kept for a while, grows with the rounds
        rounds *= 4
        grown = probed(name, rounds, run_python)
        assert grown["blocks"] <= rounds / 2
    if EXPLORING:
        assert grown["bytes"] / rounds < 10


def test_a_planted_cycle_is_found(run_python):
    source = """
import json
from tests import memory_probes

def leaking():
    def step():
        kept = []
        kept.append(kept)
    return step

memory_probes.PROBES["leaking"] = leaking
print(json.dumps(memory_probes.measure("leaking", 500)))
"""
    done = run_python("-c", source)
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout)
    assert grown["collected"] >= 500
    assert grown["objects"] >= 500
    assert grown["kinds"]["list"] >= 500


def test_planted_growth_without_a_cycle_is_found(run_python):
    source = """
import json
from tests import memory_probes

def growing():
    kept = []
    return lambda: kept.append(float(len(kept)))

memory_probes.PROBES["growing"] = growing
print(json.dumps(memory_probes.measure("growing", 500)))
"""
    done = run_python("-c", source)
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout)
    assert grown["collected"] == 0
    assert grown["blocks"] >= 500
