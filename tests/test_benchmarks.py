"""The benchmarks run, in small; their figures are not looked at."""

import json

import pytest


def run(run_python, tmp_path, *arguments: str):
    path = tmp_path / "results.json"
    done = run_python("-m", *arguments, "--json", str(path))
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())


def test_eager_benchmark(run_python, tmp_path):
    table, results = run(
        run_python,
        tmp_path,
        *("benchmarks.eager", "--only", "loopgrad", "numpy"),
        *("--lengths", "3", "--rounds", "2", "--at-least", "0"),
    )
    assert "| loopgrad " in table
    samples = results["samples"]["3"]
    assert set(samples) == {"loopgrad", "numpy"}
    assert len(samples["loopgrad"]["both"]) == 2
    assert results["machine"]["python"]


def test_scale_benchmark(run_python, tmp_path):
    table, results = run(
        run_python,
        tmp_path,
        *("benchmarks.scale", "--only", "loopgrad", "--nodes", "200", "--rounds", "1"),
    )
    assert "| loopgrad " in table
    assert results["chain"]["200"]["loopgrad"][0]["gradient"] == pytest.approx(1 + 100e-6)
    assert {"draw nodes", "grad", "save", "load", "copy"} <= set(results["graph"]["200"]["laps"])


def test_memory_benchmark(run_python):
    arguments = ("--steps", "300", "--budgets", "none", "90kB", "--slices")
    done = run_python("-m", "benchmarks.memory", *arguments)
    assert done.returncode == 0, done.stderr
    head, none, within = done.stdout.splitlines()
    assert head.split() == ["budget", "seconds", "ratio", "foretold", "grown", "peak"]
    assert none.endswith("rnn: 300 steps, keeps residuals: 38.4 kB, runs 300 steps forward")
    assert "keeps checkpoints" in within


def test_finite_benchmark(run_python, tmp_path):
    table, results = run(
        run_python,
        tmp_path,
        *("benchmarks.finite", "--workloads", "adder, graph", "100 small ops"),
        *("--rounds", "2", "--at-least", "0"),
    )
    assert "| adder, graph " in table
    assert set(results["samples"]) == {"adder, graph", "100 small ops"}
    assert all(len(s["on"]) == len(s["off"]) == 2 for s in results["samples"].values())


def test_ragged_benchmark(run_python):
    done = run_python("-m", "benchmarks.ragged", "--sizes", "4,3,2", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    head, _, *rows = done.stdout.splitlines()
    assert "graph: shrink" in head
    assert "function: plain" in head
    assert [row.split()[1] for row in rows] == ["4,3,2", "4,3,2"]


@pytest.mark.parametrize("option", ["nobody=python", "hips"])
def test_wrong_interpreter_option(option, run_python):
    done = run_python("-m", "benchmarks.eager", "--python", option)
    assert done.returncode == 1
    assert "write NAME=PATH with NAME one of loopgrad, torch" in done.stderr


def test_hips_is_left_out_where_autograd_is_ours(run_python, root):
    done = run_python(str(root / "benchmarks" / "workers" / "eager_worker.py"), "hips", path=root)
    assert done.returncode == 0, done.stderr
    assert "HIPS autograd needs its own environment" in json.loads(done.stdout)["missing"]
