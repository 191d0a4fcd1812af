"""What plans compile: only words, names and numbers of the library's, whatever a graph says."""

import ast
import json
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import autograd as ag
from autograd.execute.numpy_plan import NumpyProgram
from autograd.execute.source import remark
from autograd.rewrite.nodes import neutral
from autograd.rewrite.pipeline import optimized
from loops import LoopNode
from tests.loop_forms import FORMS
from tests.samples import adder

GOLDEN = Path(__file__).parent / "golden"

ATTRIBUTES = {
    "dot",
    "fill",
    "reshape",
    "transpose",
    "swapaxes",
    "view",
    "diagonal",
    "T",
    "copy",
    "argmax",
}
STATEMENTS = (ast.Expr, ast.Assign, ast.For, ast.If, ast.Break, ast.Pass, ast.Raise, ast.With)
EXPRESSIONS = (ast.Call, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Tuple, ast.List)
OTHERS = (ast.Constant, ast.UnaryOp, ast.Not, ast.USub, ast.keyword, ast.withitem, ast.expr_context)


def faults(source, names):
    """Return what in the source of a plan is none of the few things plans consist of."""
    (function,) = ast.parse(source).body
    *body, last = function.body
    assert isinstance(last, ast.Return)
    assigned = {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    found = []
    for node in (x for statement in (*body, last.value) for x in ast.walk(statement)):
        plain = isinstance(node, (*STATEMENTS, *EXPRESSIONS, *OTHERS))
        if isinstance(node, ast.Attribute):
            plain = node.attr in ATTRIBUTES
        elif isinstance(node, ast.Name):
            plain = node.id in names | assigned | {"zip", "range"} and "__" not in node.id
        elif isinstance(node, ast.Constant):
            plain = node.value is None or type(node.value) in (int, bool, type(...), str)
            plain = plain and node.value in ("ignore", None, ..., *range(-100, 10_000))
        if not plain:
            found.append(ast.dump(node))
    return found


def names_of(graph):
    """Return what the names in the source of a graph's plan are bound to."""
    return set(NumpyProgram(neutral(graph)).function.__globals__) - {"__builtins__"}


HOSTILE = [
    "x\nimport os",
    "__import__('os').system('true')",
    "a = 1; b",
    "\"\"\"'''\\",
    "ünï\u2028cödé\r\x0c",
    "# " * 200,
    "run():\n    return 1\n#",
    "scratch_1",
    "steps",
]


def hostile_graph(name):
    """Return a graph in which everything that can have a name has this one."""
    xs, w = ag.input(name, (3, 2)), ag.parameter(name + "p", np.eye(2))
    with LoopNode(name + "l") as loop:
        x, h = loop.each(xs, name + "x"), loop.branch(name + "h", ag.constant(np.zeros(2)))
        after = ag.tanh(x + h @ w).named(name + "t")
        loop.feed(h, after)
        ys = loop.collect(after.named(name + "t"), name + "y")
    erf = ag.erf(ys).named(name + "e")
    return ag.Graph([xs], {name + "o": erf * 2.0}, name=name)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_reach_source_only_as_cleaned_remarks(name, tmp_path):
    try:
        graph = hostile_graph(name)
    except ag.GraphError:
        pytest.skip("the graph refuses such a name")
    graph.save(tmp_path / "graph.json")
    loaded = ag.Graph.load(tmp_path / "graph.json")
    values = np.linspace(-1, 1, 6).reshape(3, 2)
    with ag.backend("reference"):
        expected = graph.run(**{name: values})[name + "o"]
    for each in (graph, loaded):
        program = NumpyProgram(neutral(each))
        assert faults(program.source, names_of(each)) == []
        np.testing.assert_allclose(program.execute([values])[0], expected, rtol=1e-12)
        for line in program.source.splitlines():
            code, _, comment = line.partition("#")
            assert (code + comment).isascii()
            assert "import" not in code


def test_names_changed_in_a_file_reach_source_only_as_cleaned_remarks(tmp_path):
    file = tmp_path / "graph.json"
    hostile_graph("name").save(file)
    text = file.read_text(encoding="utf-8")
    for name in HOSTILE:
        changed = text.replace('"namet"', json.dumps(name + "t"))
        assert changed != text
        file.write_text(changed, encoding="utf-8")
        try:
            graph = ag.Graph.load(file)
        except ag.LoopGradError:
            continue
        program = NumpyProgram(neutral(graph))
        assert faults(program.source, names_of(graph)) == []


def test_a_remark_is_one_short_line_of_plain_characters():
    for name in HOSTILE:
        assert remark(name).isascii()
        assert len(remark(name).splitlines()) == 1
        assert len(remark(name)) <= 120


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "os.system()",
        "open(other)",
        "a = lambda: 1",
        "while True: pass",
        "a.__class__",
        "f'{a}'",
        "a('text')",
    ],
)
def test_other_source_would_be_noticed(text):
    assert faults(f"def run():\n    {text}\n    return [a]", {"a"})


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_plans_consist_of_few_things(form):
    graph = form.graph()
    assert faults(NumpyProgram(neutral(graph)).source, names_of(graph)) == []


def test_source_is_that_of_the_golden_file():
    source = NumpyProgram(neutral(adder())).source
    assert source == (GOLDEN / "plan_adder.txt").read_text(encoding="utf-8")


def lstm_gradient(steps, batch=2, size=4):
    """Return the graph of the gradient of an LSTM's loss (Hochreiter and Schmidhuber, 1997)."""
    rng = np.random.default_rng(0)
    xs, ys = ag.input("xs", (steps, batch, 3)), ag.input("ys", (steps, batch, size))
    w = ag.parameter("w", rng.normal(size=(3 + size, 4 * size)))
    with LoopNode("lstm") as loop:
        x = loop.each(xs)
        h, c = (loop.branch(name, ag.constant(np.zeros((batch, size)))) for name in "hc")
        i, f, o, new = ag.split(ag.concat([x, h], axis=1) @ w, 4, axis=1)
        after = ag.sigmoid(f) * c + ag.sigmoid(i) * ag.tanh(new)
        out = ag.sigmoid(o) * ag.tanh(after)
        loop.feed(c, after)
        loop.feed(h, out)
        hs = loop.collect(out)
    return ag.Graph([xs, ys], {"loss": ag.square(hs - ys).sum()}, name="tagger").grad()


def test_a_plan_of_more_steps_is_no_longer():
    few, many = (NumpyProgram(optimized(lstm_gradient(n))[0]) for n in (200, 2000))
    assert few.source == many.source
    assert few.source.count("\n") < 80
    assert few.source.count("    for ") == 2


def test_a_run_allocates_no_more_than_it_returns():
    rng = np.random.default_rng(0)
    graph = lstm_gradient(500)
    program = NumpyProgram(optimized(graph)[0])
    values = [rng.normal(size=x.shape) for x in graph.inputs.values()]
    program.execute(values)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        results = program.execute(values)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < sum(x.nbytes for x in results) + 50_000
    assert program.lowering.workspace > 400_000


def test_a_thousand_runs_leave_nothing_behind():
    graph = lstm_gradient(3)
    program = NumpyProgram(optimized(graph)[0])
    values = [np.ones(x.shape) for x in graph.inputs.values()]
    tracemalloc.start()
    try:
        for _ in range(50):
            program.execute(values)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            program.execute(values)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 4_000


def test_threads_that_run_one_plan_take_turns():
    graph = lstm_gradient(20)
    plan = graph.compile(backend="numpy")
    names = list(graph.inputs)
    inputs = [{n: np.full(graph.inputs[n].shape, k / 4) for n in names} for k in range(4)]
    expected = [plan.run(**each) for each in inputs]
    wrong = []

    def work(k):
        for _ in range(30):
            found = plan.run(**inputs[k])
            wrong.extend(n for n in found if not np.array_equal(found[n], expected[k][n]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(("steps", "batch"), [(0, 2), (3, 0), (0, 0)])
def test_plans_of_no_steps_or_examples_agree(steps, batch):
    xs, w = ag.input("xs", (steps, batch, 2)), ag.input("w", (2, 2))
    with LoopNode("loop") as loop:
        x, h = loop.each(xs), loop.branch("h", ag.constant(np.ones((batch, 2))))
        after = ag.tanh(x + h @ w)
        loop.feed(h, after)
        ys = loop.collect(after)
    graph = ag.Graph([xs, w], {"loss": ys.sum() + loop.final(h).sum()}).grad(wrt=["xs", "w"])
    values = {"xs": np.ones((steps, batch, 2)), "w": np.eye(2)}
    with ag.backend("reference"):
        expected = graph.run(**values)
    for name, value in graph.compile(backend="numpy").run(**values).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12)


BITS = """
import hashlib
import numpy as np
from tests.test_plan_source import lstm_gradient

graph = lstm_gradient(40, batch=5, size=9)
values = {name: np.random.default_rng(1).normal(size=x.shape) for name, x in graph.inputs.items()}
plan = graph.compile(backend="numpy")
for run in range(3):
    found = plan.run(**values)
    print(hashlib.sha256(b"".join(found[name].tobytes() for name in found)).hexdigest())
"""


def test_bits_are_the_same_in_every_run_and_process(run_python):
    runs = [run_python("-c", BITS) for _ in range(2)]
    assert [done.returncode for done in runs] == [0, 0], runs[0].stderr
    lines = [line for done in runs for line in done.stdout.splitlines()]
    assert len(lines) == 6
    assert len(set(lines)) == 1
