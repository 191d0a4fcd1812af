"""Graphs of a hundred thousand nodes, a million once: no recursion, and linear time and memory.

The probes run in processes of their own, in a thread with a tiny stack and under a recursion limit
of 120; see `scale_probes.py`.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import autograd as ag
from loops import LoopNode
from tests.scale_probes import LIMIT, chain, ladder, nest

PROBES = [
    ("eager_chain", 100_000),
    ("eager_second_order", 100_000),
    ("eager_function", 100_000),
    ("eager_skips", 100_000),
    ("eager_wide", 100_000),
    ("nested_loops", 1000),
    ("nested_files", 1000),
    ("nested_resize", 1000),
    ("nested_unrolling", 1000),
    ("nested_unrolling", 12),
    ("nested_gradient", 1000),
    ("nested_gradient", 100),
    ("nested_eager", 100),
]
SLOW = [("graph_chain", 100_000), ("graph_skips", 20_000), ("graph_wide", 100_000)]


@pytest.mark.parametrize(("name", "size"), PROBES)
def test_nothing_recurses_once_a_node(name, size, run_python):
    done = run_python("-m", "tests.scale_probes", name, str(size))
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), SLOW)
def test_nothing_recurses_once_a_node_of_a_graph(name, size, run_python):
    done = run_python("-m", "tests.scale_probes", name, str(size))
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_a_million_nodes_are_built_walked_back_and_freed(run_python):
    done = run_python("-m", "tests.scale_probes", "million", "1000000")
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("long_scan", 1_000_000), ("long_while", 100_000)])
def test_long_loops_keep_to_time_and_memory(name, steps, run_python):
    done = run_python("-m", "tests.scale_probes", name, str(steps))
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_probes_do_meet_the_recursion_limit(run_python):
    source = f"""
from tests import scale_probes

def recurses(depth):
    if depth:
        recurses(depth - 1)

scale_probes.PROBES["recurses"] = recurses
scale_probes.main("recurses", "{LIMIT}")
"""
    done = run_python("-c", source)
    assert done.returncode == 1
    assert "RecursionError" in done.stderr


# Linear: ten times the size is ten times the calls, of Python and of C functions. Counts do not
# depend on how busy the machine is. What they cannot see, copies of long lists, the clock can.


def calls(do: Callable[[], Any]) -> int:
    """Return how many functions `do` calls."""
    count = 0

    def tick(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    sys.setprofile(tick)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


def chain_graph(nodes: int) -> ag.Graph:
    x = ag.input("x", ())
    return ag.Graph([x], {"y": chain(x * ag.parameter("w", 1.0), nodes // 2)})


def ladder_graph(nodes: int) -> ag.Graph:
    x = ag.input("x", ())
    return ag.Graph([x], {"y": ladder(x * ag.parameter("w", 1.0), nodes // 3)[0]})


def wide_graph(nodes: int) -> ag.Graph:
    x = ag.input("x", ())
    w = ag.parameter("w", 1.0)
    return ag.Graph([x], {"y": ag.stack([x * w for _ in range(nodes)]).sum()})


def rnn_graph(steps: int) -> ag.Graph:
    xs = ag.input("xs", (steps, 1, 2))
    w = ag.parameter("w", np.full((2, 2), 0.1))
    with LoopNode("rnn") as node:
        x = node.each(xs)
        before = node.branch("h", np.zeros((1, 2)))
        h = ag.tanh(x + before @ w)
        node.feed(before, h)
        hs = node.collect(h)
    return ag.Graph([xs], {"y": hs.sum()})


def save_and_load(graph: ag.Graph, path: Any) -> None:
    graph.save(path)
    ag.Graph.load(path)


GRAPHS = [chain_graph, ladder_graph, wide_graph]
USES: dict[str, Callable[[ag.Graph, Any], Any]] = {
    "run": lambda graph, folder: graph.run(x=1.0),
    "grad": lambda graph, folder: graph.grad(),
    "run grad": lambda graph, folder: graph.grad().run(x=1.0),
    "str": lambda graph, folder: str(graph),
    "copy": lambda graph, folder: graph.copy(),
    "unroll": lambda graph, folder: graph.unroll(),
    "resize": lambda graph, folder: graph.resize(x=(2,)),
    "find": lambda graph, folder: graph.find("y"),
    "consumers": lambda graph, folder: graph.consumers(graph.nodes[0]),
    "save and load": lambda graph, folder: save_and_load(graph, folder / "graph.json"),
    "draw": lambda graph, folder: graph.draw(folder / "graph.dot"),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("make", GRAPHS)
def test_uses_of_a_graph_are_linear_in_its_nodes(make, use, tmp_path):
    USES[use](make(20), tmp_path)  # imports what is imported late, fills caches
    small, large = (make(nodes) for nodes in (200, 2000))
    few = calls(lambda: USES[use](small, tmp_path))
    many = calls(lambda: USES[use](large, tmp_path))
    assert few > 20
    assert many / few < 12


@pytest.mark.parametrize("make", GRAPHS)
def test_drawing_is_linear_in_nodes(make):
    make(20)
    assert calls(lambda: make(2000)) / calls(lambda: make(200)) < 12


def slices(x: Any, count: int) -> Any:
    total = x[0]
    for i in range(1, count):
        total = total + x[i]
    return total


def looped(xs: Any, steps: int) -> Any:
    with LoopNode("sum") as node:
        x = node.each(xs)
        total = node.branch("total", 0.0)
        node.feed(total, total + x * x)
    return node.final(total)


EAGER: dict[str, Callable[[Any, int], Any]] = {
    "chain": lambda x, n: chain(x.sum(), n),
    "ladder": lambda x, n: ladder(x.sum(), n)[0],
    "slices": slices,
    "rows": lambda x, n: ag.stack(list(x)).sum(),
    "used often": lambda x, n: ag.stack([x.sum()] * n).sum(),
    "joined": lambda x, n: ag.concat([x[i : i + 1] for i in range(n)]).sum(),
    "loop": looped,
}


def eager_step(function: Callable[[Any, int], Any], size: int) -> None:
    x = ag.tensor(np.ones(size), requires_grad=True)
    function(x, size).backward()


@pytest.mark.parametrize("name", EAGER)
def test_eager_steps_call_linearly_many_functions(name):
    eager_step(EAGER[name], 20)
    few = calls(lambda: eager_step(EAGER[name], 200))
    many = calls(lambda: eager_step(EAGER[name], 2000))
    assert many / few < 12


@pytest.mark.parametrize("name", EAGER)
def test_eager_steps_take_linear_time(name):
    """Linear is 10, quadratic 100. The best of several, in processor time, against 40."""
    eager_step(EAGER[name], 100)
    small = min(seconds(lambda: eager_step(EAGER[name], 2_000)) for _ in range(5))
    large = min(seconds(lambda: eager_step(EAGER[name], 20_000)) for _ in range(2))
    assert large / small < 40


def seconds(do: Callable[[], Any]) -> float:
    start = time.process_time()
    do()
    return time.process_time() - start


def test_the_rolled_graph_does_not_grow_with_steps():
    short, long = rnn_graph(10), rnn_graph(10_000)
    assert len(str(short.grad())) <= len(str(long.grad())) < len(str(short.grad())) + 400
    assert len(list(short.grad().walk())) == len(list(long.grad().walk()))


def test_a_loop_and_its_gradient_run_in_linearly_many_calls():
    def run(steps: int) -> int:
        graph = rnn_graph(steps).grad()
        xs = np.zeros((steps, 1, 2))
        graph.run(xs=xs)
        return calls(lambda: graph.run(xs=xs))

    assert run(1000) / run(100) < 12


def test_unrolling_is_linear_in_steps():
    rnn_graph(2).unroll()
    short, long = rnn_graph(100), rnn_graph(1000)
    assert calls(long.unroll) / calls(short.unroll) < 12


def test_drawing_a_nest_is_linear_in_its_depth():
    w = ag.parameter("w", 1.0)
    nest(1.0, w, 3)
    few, many = (calls(lambda depth=depth: nest(1.0, w, depth)) for depth in (20, 200))
    assert many / few < 12


def test_a_quadratic_use_is_found():
    def quadratic(size: int) -> None:
        for i in range(size):
            list(map(abs, range(i)))
            for _ in range(i):
                abs(i)

    assert calls(lambda: quadratic(200)) / calls(lambda: quadratic(20)) > 40
