"""The benchmarks run, in small; their figures are not looked at."""

import json
from dataclasses import replace

import pytest

from autograd.execute.plan import MAKERS
from benchmarks import __main__ as command
from benchmarks import report, suite
from benchmarks.cases import BEST, CASES, LIMIT, OURS, Bound, Case, Problem
from benchmarks.suite import DisagreementError, Result, Setting
from benchmarks.workers import by_loopgrad, hand, hoisted
from benchmarks.workers.problem import fingerprint

CASE = {case.name: case.quick() for case in CASES}
SMALL = Problem("rnn", 3, 2, 3, 4, "float64")


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


def test_layers_benchmark(run_python, tmp_path):
    table, results = run(
        run_python,
        tmp_path,
        *("benchmarks.layers", "--only", "loopgrad", "loopgrad-many", "loopgrad-eager"),
        *("--cases", "gru-tiny", "--rounds", "2", "--at-least", "0", "--threads", "1"),
    )
    assert "loopgrad-many |" in table
    assert all(len(found) == 2 for found in results["samples"]["gru-tiny"].values())


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


def outcome(run, calls: int = 4):
    """What a contender finds: of a training step, the weights after some calls."""
    if not hasattr(run, "results"):
        return fingerprint(run())
    losses = [float(run()) for _ in range(calls)]
    return fingerprint({"loss": sum(losses), **run.results()})


PROBLEMS = {name: case.problem for name, case in CASE.items() if case.kind == "rounds"}


@pytest.mark.parametrize("name", PROBLEMS)
def test_hand_hoisted_gradients_are_those_of_the_plain_form(name, monkeypatch):
    problem = replace(PROBLEMS[name], dtype="float64")
    expected = outcome(hand.of(problem))
    for cache in (1, 400, 1 << 18):  # one step, a few steps, all steps at once
        monkeypatch.setattr(hoisted, "CACHE", cache)
        suite.check("hand-hoisted", outcome(hoisted.of(problem)), expected, 1e-12)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "mgu", "ragged"])
def test_hand_written_gradients_by_finite_differences(name):
    run = hand.of(replace(PROBLEMS[name], dtype="float64"))
    found = run()
    for parameter, value in run.weights.items():
        place, step = (0,) * value.ndim, 1e-6
        losses = []
        for change in (step, -step):
            value[place] += change
            losses.append(float(run()["loss"]))
            value[place] -= change
        slope = (losses[0] - losses[1]) / (2 * step)
        assert slope == pytest.approx(found[parameter][place], abs=1e-9), parameter


@pytest.mark.parametrize("backend", [name for name in OURS if name in MAKERS])
@pytest.mark.parametrize("name", PROBLEMS)
def test_our_contenders_agree_with_those_written_by_hand(name, backend):
    problem = PROBLEMS[name]
    expected = outcome(hand.of(problem))
    for way in ("shrink", "mask") if problem.ragged else ("shrink",):
        found = outcome(by_loopgrad.of(problem, backend, way))
        suite.check(backend, found, expected, suite.TOLERANCES[problem.dtype])


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"loss": [1.0, 0.5]}, "has not computed 'u'"),
        ({"loss": [1.0, 0.5], "u": [2.0, -0.3]}, "another 'u'.* 2 and -0.3, not 2 and 0.3"),
        ({"loss": [1.0, 0.5], "u": [2.1, 0.3]}, "another 'u'"),
        ({"loss": [float("nan")] * 2, "u": [2.0, 0.3]}, "another 'loss'"),
    ],
)
def test_a_wrong_contender_is_found_out(found, message):
    expected = {"loss": [1.0, 0.5], "u": [2.0, 0.3]}
    suite.check(
        "right", {"loss": [1.0, 0.5001], "u": [2.0, 0.3001], "more": [1.0, 1.0]}, expected, 1e-3
    )
    with pytest.raises(DisagreementError, match=message):
        suite.check("wrong", found, expected, 1e-3)


def test_a_planted_wrong_contender_does_not_count():
    case = Case("planted", "a wrong gradient", SMALL, ("hand", "planted"), ())
    setting = Setting(rounds=1, at_least=0.0, threads=1, rate_size=8)
    result = suite.measured(case, case.contenders, setting)
    assert set(result.figures) == {"hand", LIMIT}
    assert result.figures["hand"]["median"] > 0
    assert "planted finds another 'u'" in result.wrong[0]
    assert "left out: planted (wrong: " in report.case_text(case, result)


def test_a_contender_that_dies_does_not_end_the_run():
    case = Case("planted", "a process that ends", SMALL, ("dying", "hand"), ())
    setting = Setting(rounds=2, at_least=0.0, threads=1, rate_size=8)
    result = suite.measured(case, case.contenders, setting)
    assert set(result.figures) == {"hand", LIMIT}
    assert len(result.samples["hand"]) == 2
    assert "'dying' ended with status 3 before it answered" in result.missing["dying"]
    assert len(result.wrong) == 1


def test_a_fingerprint_goes_through_large_arrays_in_pieces(monkeypatch):
    import numpy as np

    value = np.random.default_rng(0).normal(size=(1 << 20) + 3)
    norm, probe = fingerprint({"g": value.reshape(1, -1)})["g"]
    assert norm == pytest.approx(np.linalg.norm(value))
    assert probe == pytest.approx(value @ np.cos(np.arange(1, value.size + 1)))


def test_medians_and_quartiles():
    samples = [{"median": m, "least": m - 0.5} for m in (3.0, 1.0, 2.0, 5.0, 4.0)]
    assert suite.summary(samples) == {"median": 3.0, "low": 2.0, "high": 4.0, "least": 0.5}
    assert suite.summary(samples[:1]) == {"median": 3.0, "low": 3.0, "high": 3.0, "least": 2.5}


def test_growth_looks_at_the_greatest_lengths():
    rows = [
        {
            "steps": n,
            "seconds": 1e-3 + 2e-6 * n,
            "compile s": 0.1,
            "peak": 50,
            "grown": n,
            "foretold": 2 * n,
        }
        for n in suite.LENGTHS
    ]
    found = suite.growth(rows)
    assert found["slope"] == pytest.approx(1.0, abs=0.02)
    assert found["compile growth"] == 1.0
    assert found["memory / foretold"] == 0.5


FIGURES = {
    **{"numpy": {"median": 2.0}, "native": {"median": 1.0, "cold s": 3.0}},
    **{"jax": {"median": 5.0}, "jax-hoisted": {"median": 4.0}},
}


@pytest.mark.parametrize(
    ("bound", "reached"),
    [
        (Bound(BEST, 0.5, ("jax", "jax-hoisted")), 0.25),
        (Bound(("numpy",), 0.5, ("jax",)), 0.4),
        (Bound(("native",), 4.0, quantity="cold s"), 3.0),
        (Bound(("numpy",), 4.0, quantity="cold s"), None),
        (Bound(BEST, 1.0, ("torch-nn",)), None),
        (Bound(("reference",), 1.0, ("jax",)), None),
    ],
)
def test_what_is_reached(bound, reached):
    assert bound.reached(FIGURES) == reached


@pytest.mark.parametrize(
    ("reached", "mark"), [(0.65, "pass"), (0.65001, "MISS"), (None, "not measured")]
)
def test_marks_are_never_softened(reached, mark):
    assert report.verdict(reached, 0.65) == mark


def test_the_table_of_bounds():
    bounds = (Bound(("numpy",), 0.2, ("jax",)), Bound(("native",), 1.0, ("jax",)))
    case = Case("rnn", "an RNN", SMALL, (), (*bounds, Bound(("native",), 1.0, ("c",))))
    rows = report.bound_rows([case], {"rnn": Result(figures=FIGURES)})
    assert rows[0] == ["rnn", "numpy / jax", "0.4 / 0.2", "0.4", "MISS"]
    assert rows[1] == ["rnn", "native / jax", "0.2 / 1", "0.2", "pass"]
    assert rows[2] == ["rnn", "native / c", "- / 1", "-", "not measured"]
    table = report.bound_table([case], {"rnn": Result(figures=FIGURES)})
    assert "MISS" in table.splitlines()[2]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.0, "2 s"), (0.0123, "12.3 ms"), (1.6e-6, "1.6 us"), (3e-9, "3 ns"), (0.999e-3, "999 us")],
)
def test_durations(seconds, text):
    assert report.duration(seconds) == text


def test_every_bound_names_contenders_of_its_case():
    for case in CASES:
        for bound in case.bounds:
            assert {*bound.ours, *bound.peers} <= {*case.contenders, LIMIT}, case.name


def test_operations_of_a_problem():
    assert replace(SMALL, inputs=True).flops == 2 * (3 * 2) * 4 * 3 * (3 + 4)
    assert replace(SMALL, inputs=False).flops == 2 * (3 * 2) * 4 * (2 * 3 + 3 * 4)


@pytest.mark.slow
def test_the_suite_from_the_command_line(run_python, tmp_path, capsys):
    names = ("rnn", "adder-run", "growing", "import", "first-call")
    done = run_python(
        *("-m", "benchmarks", "--quick", "--case", *names, "--core-type", "Haswell"),
        *("--contender", "hand-hoisted", "numpy", "--clock", "cpu", "--threads", "1"),
        *("--json", str(tmp_path / "r.json"), "--markdown", str(tmp_path / "r.md")),
        *("--plot", str(tmp_path / "r.svg")),
    )
    assert done.returncode == 0, done.stderr
    assert "### What must be reached" in done.stdout
    assert (tmp_path / "r.md").read_text().rstrip("\n") in done.stdout.replace("\n\n\n", "\n\n")
    results = json.loads((tmp_path / "r.json").read_text())
    assert results["machine"]["threads"] == 1
    assert results["machine"]["environment"] == {"OPENBLAS_CORETYPE": "Haswell"}
    assert set(results["cases"]) == set(names)
    assert len(results["cases"]["rnn"]["samples"]["hand-hoisted"]) == 2
    assert "<svg" in (tmp_path / "r.svg").read_text()
    command.main(["--read", str(tmp_path / "r.json")])
    assert capsys.readouterr().out.split() == done.stdout.split()


def test_the_list_names_every_case_and_bound(capsys):
    assert command.main(["--list"]) == {}
    text = capsys.readouterr().out
    for case in CASES:
        assert f"{case.name}: {case.title}" in text
        assert all(f"must reach: {bound} <= " in text for bound in case.bounds)


def test_the_clock_of_the_process_is_for_one_thread():
    with pytest.raises(SystemExit, match="use it with --threads 1"):
        command.main(["--clock", "cpu", "--threads", "2", "--core-type", "Haswell"])


@pytest.mark.parametrize("option", ["--threads", "--rounds"])
def test_counts_are_at_least_one(option, capsys):
    with pytest.raises(SystemExit):
        command.main([option, "0"])
    assert f"{option}: must be a whole number >= 1, but is '0'" in capsys.readouterr().err


def test_wrong_peer_interpreter():
    with pytest.raises(SystemExit, match="write NAME=PATH with NAME one of hand, c, torch"):
        command.interpreters(["keras=/usr/bin/python"])
    assert command.interpreters(["hips=/env/python"]) == {"hips": "/env/python"}
