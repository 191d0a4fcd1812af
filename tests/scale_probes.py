"""What `test_scale.py` runs in a process of its own: with a tiny stack and a low recursion limit.

    python -m tests.scale_probes NAME [SIZE]

runs the probe `NAME` in a thread whose stack is 256 KiB, under `sys.setrecursionlimit(120)`: what
recurses once a node, in Python or in C, does not survive that.
"""

import copy
import math
import os
import pickle
import random
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import autograd as ag
from autograd.node import OPS
from loops import LoopNode, repeat, scan, while_loop

STACK = 256 * 1024
LIMIT = 120
RATE = 1e-6


def equal(found: Any, expected: float, tolerance: float = 1e-9) -> None:
    number = float(np.asarray(found))
    if not math.isclose(number, expected, rel_tol=tolerance):
        raise AssertionError(f"found {number}, expected {expected}")


def same(a: Any, b: Any) -> None:
    if a != b:
        raise AssertionError(f"{str(a)[:200]!r} != {str(b)[:200]!r}")


@contextmanager
def raising(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


def chain(x: Any, steps: int) -> Any:
    y = x
    for _ in range(steps):
        y = y + y * RATE
    return y


def skips(x: Any, nodes: int) -> tuple[Any, float]:
    """Return a graph whose every node has two edges to random earlier ones, and its d/dx."""
    numbers = random.Random(0)
    made = [x]
    slopes = [1.0]
    for _ in range(nodes):
        a, b = numbers.randrange(len(made)), numbers.randrange(len(made))
        made.append((made[a] + made[b]) * 0.5)
        slopes.append((slopes[a] + slopes[b]) * 0.5)
    return made[-1] + made[-2], slopes[-1] + slopes[-2]


def ladder(x: Any, rungs: int) -> tuple[Any, float]:
    """Return the end of a chain in which node k also reads a random one of the last hundred."""
    numbers = random.Random(1)
    made = [x]
    slopes = [1.0]
    for _ in range(rungs):
        back = numbers.randrange(1, min(100, len(made)) + 1)
        made.append(made[-1] * 0.75 + made[-back] * 0.25)
        slopes.append(slopes[-1] * 0.75 + slopes[-back] * 0.25)
    return made[-1], slopes[-1]


# Probes.


def eager_chain(nodes: int) -> None:
    x = ag.tensor(1.0, requires_grad=True)
    y = chain(x, nodes // 2)
    repr(y), str(y), copy.copy(y), copy.deepcopy(y)
    with raising(ag.LoopGradError):
        pickle.dumps(y)
    y.backward(keep_graph=True)
    equal(x.grad.value, (1 + RATE) ** (nodes // 2))
    y.backward()
    equal(x.grad.value, 2 * (1 + RATE) ** (nodes // 2))
    with raising(ag.GradientError):
        y.backward()
    z = chain(x, nodes // 2)
    del z  # never walked back: the whole chain is freed at once


def eager_second_order(nodes: int) -> None:
    """The gradient's own graph is as long again."""
    x = ag.tensor(0.5, requires_grad=True)
    first = ag.grad(chain(x * x, nodes // 2), x)
    equal(ag.grad(first, x).value, 2 * (1 + RATE) ** (nodes // 2))


def eager_function(nodes: int) -> None:
    value, slope = ag.value_and_grad(lambda x: chain(x, nodes // 2))(1.0)
    equal(slope.value, value.value)


def eager_skips(nodes: int) -> None:
    for draw in (skips, ladder):
        x = ag.tensor(1.0, requires_grad=True)
        y, slope = draw(x, nodes // 3)
        y.backward()
        equal(x.grad.value, slope)


def eager_wide(inputs: int) -> None:
    x = ag.tensor(2.0, requires_grad=True)
    y = ag.stack([x * float(i % 7) for i in range(inputs)]).sum()
    y.backward()
    equal(x.grad.value, sum(i % 7 for i in range(inputs)))
    rows = ag.tensor(np.ones((inputs, 1)), requires_grad=True)
    ag.concat(list(rows)).sum().backward()
    same(rows.grad.value.sum(), inputs)


def graph_chain(nodes: int) -> None:
    x = ag.input("x", ())
    w = ag.parameter("w", 1.0)
    graph = ag.Graph([x], {"y": chain(x * w, nodes // 2)})
    everything(graph, (1 + RATE) ** (nodes // 2))


def graph_skips(nodes: int) -> None:
    x = ag.input("x", ())
    w = ag.parameter("w", 1.0)
    y, slope = ladder(x * w, nodes // 3)
    everything(ag.Graph([x], {"y": y}), slope)


def graph_wide(inputs: int) -> None:
    x = ag.input("x", ())
    w = ag.parameter("w", 1.0)
    everything(ag.Graph([x], {"y": ag.stack([x * w] * inputs).sum()}), inputs)
    apart = inputs // 10
    everything(ag.Graph([x], {"y": ag.stack([x * w for _ in range(apart)]).sum()}), apart)


def everything(graph: ag.Graph, slope: float) -> None:
    """Take a graph of y = slope * w * x through all that can be done with a graph."""
    equal(graph.run(x=2.0)["y"], 2 * slope)
    gradient = graph.grad()
    equal(gradient.run(x=2.0)["grad_w"], 2 * slope)
    del gradient
    text = str(graph)
    repr(graph)
    if graph.flat:
        same(text.count("\n") >= len(graph.nodes) - 2, True)
    same(str(copy.deepcopy(graph)), text)
    same(len(graph.unroll().nodes), len(graph.nodes))
    for _, _, node in graph.walk():
        last = node
    graph.find("y")
    graph.consumers(graph.nodes[0])
    del last, node
    graph.resize(x=(3,)).run(x=np.ones(3))
    with raising(ag.LoopGradError):
        pickle.dumps(graph)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "graph.json")
        graph.save(path)
        loaded = ag.Graph.load(path)
        equal(loaded.run(x=2.0)["y"], 2 * slope)
        same(len(loaded.nodes), len(graph.nodes))
        path = os.path.join(folder, "graph.dot")
        graph.draw(path)
        same(os.path.getsize(path) > 0, True)


def nest(h: Any, w: Any, depth: int) -> Any:
    """Return h * w, computed inside `depth` loops of one step in each other."""
    opened = []
    for level in range(depth):
        node = LoopNode(f"level_{level}", length=1).__enter__()
        h = node.branch("h", h)
        opened.append((node, h))
    h = h * w
    for node, port in reversed(opened):
        node.feed(port, h)
        h = node.final(port)
        node.__exit__(None, None, None)
    return h


def nested_loops(depth: int) -> None:
    x = ag.input("x", ())
    w = ag.parameter("w", 1.5)
    graph = ag.Graph([x], {"y": nest(x, w, depth)})
    equal(graph.run(x=2.0)["y"], 3.0)
    paths = [path for path, _, _ in graph.walk()]
    same(max(path.count(".") for path in paths), depth)
    same(len(paths), len(set(paths)))
    text = str(graph)
    same(text.count("loop"), str(graph.copy()).count("loop"))
    same(str(graph.copy()), text)
    same(str(copy.deepcopy(graph)), text)
    same(len(graph.unroll().nodes), 3)
    graph.unroll(depth=1)
    repr(graph)


def nested_files(depth: int) -> None:
    x = ag.input("x", ())
    w = ag.parameter("w", 1.5)
    graph = ag.Graph([x], {"y": nest(x, w, depth)})
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "graph.json")
        graph.save(path)
        loaded = ag.Graph.load(path)
        equal(loaded.run(x=2.0)["y"], 3.0)
        same(str(loaded), str(graph))
        graph.draw(os.path.join(folder, "graph.dot"), depth=3)
        graph.draw(os.path.join(folder, "whole.dot"))


def nested_resize(depth: int) -> None:
    x = ag.input("x", ())
    w = ag.parameter("w", 1.5)
    graph = ag.Graph([x], {"y": nest(x, w, depth)}).resize(x=(2,))
    same(graph.run(x=np.ones(2))["y"].tolist(), [1.5, 1.5])


def nested_gradient(depth: int) -> None:
    """A nest's gradient computes again where it cannot save, so running it is quadratic."""
    x = ag.input("x", ())
    w = ag.parameter("w", 1.5)
    gradient = ag.Graph([x], {"y": nest(x, w, depth)}).grad(wrt=["w", "x"])
    same(len(gradient.copy().nodes), len(gradient.nodes))
    if depth <= 200:
        found = gradient.run(x=2.0)
        equal(found["grad_w"], 2.0)
        equal(found["grad_x"], 1.5)


def nested_unrolling(depth: int) -> None:
    """Loops and branches in each other, by turns, are unrolled from the inside out."""
    three = _by_turns(depth, 3)
    shallow = three.unroll(depth=1)
    same([node.op.name for node in shallow.nodes if node.bodies], ["branch"] * 3)
    by_two = three.unroll(factor=2)
    same([node.op.name for node in by_two.nodes if node.bodies], ["loop", "branch"])
    if depth <= 12:
        same([g.run(h=0.0, w=1.0)["y"] for g in (three, by_two)], [3.0 ** (depth // 2)] * 2)
    unrolled = _by_turns(depth, 1).unroll()
    same([node.op.name for node in unrolled.nodes if node.bodies], ["branch"])
    equal(unrolled.run(h=0.0, w=1.0)["y"], 1.0)


def _by_turns(depth: int, length: int) -> ag.Graph:
    """Return h + w, in loops of `length` steps and branches in each other; outermost is a loop."""
    body = _drawn(lambda h, w: h + w)
    for _ in range(depth // 2):
        body = _drawn(partial(_in_a_branch, body))
        body = _drawn(partial(_in_a_loop, body, length))
    return body


def _drawn(draw: Callable[..., Any]) -> ag.Graph:
    h, w = ag.input("h"), ag.input("w")
    return ag.Graph.of({"w": w, "h": h}, {"y": draw(h, w)}, "nest")


def _in_a_branch(body: ag.Graph, h: Any, w: Any) -> Any:
    return OPS["branch"](w > 0.0, w, h, body_0=_drawn(lambda h, w: h - w), body_1=body)[0]


def _in_a_loop(body: ag.Graph, length: int, h: Any, w: Any) -> Any:
    return repeat(body, shared=[w], init=[h], length=length)[0][0]


def nested_eager(depth: int) -> None:
    w = ag.parameter("w", 1.5)
    nest(ag.tensor(2.0), w, depth).backward()
    equal(w.grad.value, 2.0)


def million(nodes: int) -> None:
    """Build, walk back and free, within the time and memory of the field's middle."""
    start = time.process_time()
    x = ag.tensor(1.0, requires_grad=True)
    y = chain(x, nodes // 2)
    y.backward()
    equal(x.grad.value, (1 + RATE) ** (nodes // 2), 1e-6)
    del y
    spent = time.process_time() - start
    megabytes = peak() / 2**20
    print(f"{nodes} nodes: {spent:.1f} s of processor time, peak {megabytes:.0f} MB")
    if spent > 33 or megabytes > 1300:
        raise AssertionError("over 33 s or 1300 MB")


def peak() -> float:
    """Return the most memory this process has had, in bytes.

    That of `getrusage` begins, on Linux, at what the process had that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [x for x in status.read_text().splitlines() if x.startswith("VmHWM:")]
        return float(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def recurrence(h: Any, w: Any) -> Any:
    return ag.tanh(h @ w + 0.01)


def last_of_scan(h: Any, w: Any, steps: int) -> Any:
    return scan(lambda h, _: (recurrence(h, w), None), h, length=steps)[0]


def last_of_while(h: Any, w: Any, steps: int) -> Any:
    def body(carry: Any) -> Any:
        return recurrence(carry[0], w), carry[1] + 1

    (h, _), taken = while_loop(lambda c: c[1] < steps, body, (h, np.int64(0)))
    same(int(taken), steps)
    return h


def long_loop(loop: Callable[..., Any], steps: int, most_seconds: float) -> None:
    """Take value and gradient of a recurrence of 8 numbers, in 3 times what its states need."""
    w = ag.parameter("w", np.linspace(-0.5, 0.6, 64).reshape(8, 8))
    h = np.linspace(0.1, 0.8, 8)
    loop(ag.tensor(h), w, 10).sum().backward()  # imports what is imported late
    w.grad = None
    before, start = peak(), time.process_time()
    value = loop(ag.tensor(h), w, steps).sum()
    value.backward()
    spent, needed = time.process_time() - start, peak() - before
    stored = steps * 8 * 8
    print(
        f"{steps} steps: {spent:.1f} s of processor time, {needed / 1e6:.0f} MB more than before, "
        f"{needed / stored:.2f} times the states; peak {peak() / 1e6:.0f} MB"
    )
    same(bool(np.isfinite(w.grad.value).all() and np.any(w.grad.value != 0)), True)
    if spent > most_seconds or peak() > 1e9 or needed > 3 * stored + 5e6:
        raise AssertionError(f"over {most_seconds} s, 1 GB or 3 times the states")


def long_scan(steps: int) -> None:
    long_loop(last_of_scan, steps, 30)


def long_while(steps: int) -> None:
    long_loop(last_of_while, steps, 30)


def bounded_while(bound: int) -> None:
    """Ten steps of at most `bound`: rows of steps that do not run are never touched."""
    h = ag.tensor(np.full(16, 0.01), requires_grad=True)

    def run(bound: int) -> None:
        grown = while_loop(lambda h: ag.sum(h) < 50.0, lambda h: ag.tanh(h) + h, h, bound=bound)
        grown[0].sum().backward()

    run(100)
    before = peak()
    run(bound)
    same(peak() - before < 16e6, True)


PROBES: dict[str, Callable[[int], None]] = {
    probe.__name__: probe
    for probe in (
        eager_chain,
        eager_second_order,
        eager_function,
        eager_skips,
        eager_wide,
        graph_chain,
        graph_skips,
        graph_wide,
        nested_loops,
        nested_files,
        nested_resize,
        nested_unrolling,
        nested_gradient,
        nested_eager,
        million,
        long_scan,
        long_while,
        bounded_while,
    )
}


def main(name: str, size: str) -> int:
    failures: list[BaseException] = []

    def target() -> None:
        try:
            PROBES[name](int(size))
        except BaseException as error:
            failures.append(error)

    sys.setrecursionlimit(LIMIT)
    threading.stack_size(STACK)
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    for failure in failures:
        raise failure
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
