"""Native plans: threads, loops whose length is data, errors, Ctrl-C, products of all kinds."""

import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import autograd as ag
from autograd.errors import GraphError
from autograd.execute import native_plan
from autograd.execute.native.compiler import compiled
from autograd.execute.native.share import threads
from autograd.execute.plan import Plan
from loops import scan, while_loop

rng = np.random.default_rng(7)


def graph_of(fn: Any, *specs: Any) -> ag.Graph:
    inputs = [ag.input(f"x{i}", *spec) for i, spec in enumerate(specs)]
    found = fn(*inputs)
    return ag.Graph(inputs, dict(enumerate_names(found)), allow_unused=True)


def enumerate_names(found: Any) -> Any:
    found = found if isinstance(found, tuple) else (found,)
    return ((f"y{i}", y) for i, y in enumerate(found))


def check(graph: ag.Graph, *values: Any, tolerance: float = 1e-12, fallbacks: int = 0) -> Plan:
    """Compare a native plan with the reference; all of it must be machine code."""
    plan = graph.compile("native")
    assert len(plan.fallbacks) == fallbacks, plan.fallbacks
    given = dict(zip(graph.inputs, values, strict=True))
    with ag.backend("reference"):
        wanted = graph.run(**given)
    for _ in range(2):
        for name, found in plan.run(**given).items():
            np.testing.assert_allclose(found, wanted[name], rtol=tolerance, atol=tolerance)
    return plan


# Loops whose number of steps is data.


def collatz(n: Any) -> Any:
    def body(n: Any) -> Any:
        return ag.where(ag.floor(n / 2) * 2 == n, n / 2, 3 * n + 1)

    return while_loop(lambda n: n > 1.0, body, n, bound=200)


@pytest.mark.parametrize("n", [1.0, 6.0, 27.0])
def test_while_loops_are_machine_code_and_stop_where_they_are_told(n):
    check(graph_of(collatz, ((), "float64")), n)


def test_both_loops_of_a_while_loops_gradient_are_machine_code():
    def root(a: Any) -> Any:
        x, _ = while_loop(
            lambda x: ag.abs(x * x - a) > 1e-9, lambda x: (x + a / x) / 2, a, bound=50
        )
        return x

    graph = graph_of(root, ((), "float64")).grad("y0", wrt=["x0"])
    plan = check(graph, 7.0, fallbacks=1)  # what each step began with, laid out by NumPy
    assert plan.run(x0=7.0)["grad_x0"] == pytest.approx(0.5 / np.sqrt(7.0), rel=1e-6)


def test_a_loop_that_goes_on_behind_its_bound_is_an_error_that_names_it():
    graph = graph_of(
        lambda a: while_loop(lambda x: x > 0, lambda x: x + 1, a, bound=5, name="up")[0],
        ((), "float64"),
    )
    plan = graph.compile("native")
    assert not plan.fallbacks
    with pytest.raises(GraphError, match="loop 'up' still goes on after step 4"):
        plan.run(x0=1.0)
    assert plan.run(x0=-1.0)["y0"] == -1.0
    assert plan.run(x0=-4.0)["y0"] == -4.0


def test_the_error_of_a_loop_in_a_loop_is_raised_too():
    def outer(h: Any, x: Any) -> Any:
        y, _ = while_loop(lambda y: y < x, lambda y: y + 1, h, bound=3, name="inner")
        return y * 0, y

    graph = graph_of(lambda xs: scan(outer, ag.zeros(()), xs, name="rows")[1], ((4,), "float64"))
    check(graph, np.array([1.0, 0.0, 3.0, 2.0]))
    with pytest.raises(GraphError, match=r"'rows\.inner' still goes on after step 2"):
        graph.compile("native").run(x0=np.array([1.0, 4.0, 0.0, 2.0]))


# Ctrl-C.


def endless(x: Any) -> Any:
    return while_loop(lambda x: x > 0.0, lambda x: x * 0.5 + 1.0, x)


def long(x: Any) -> Any:
    def step(h: Any, _: Any) -> Any:
        return scan(lambda h, _: (ag.tanh(h), None), h, length=10_000)[0], None

    return scan(step, x, length=10_000_000)[0]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
@pytest.mark.parametrize("fn", [long, endless])
def test_long_loops_can_be_interrupted(fn):
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    plan = graph_of(fn, ((3,) if fn is long else (), "float64")).compile("native")
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            plan.run(x0=np.ones(plan.graph["x0"].shape))
        assert time.monotonic() - start < 20
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_other_threads_run_meanwhile():
    graph = graph_of(
        lambda x: scan(lambda h, _: (ag.tanh(h), None), x, length=400_000)[0], ((64,), "float64")
    )
    plan = graph.compile("native")
    thread = threading.Thread(target=plan.run, kwargs={"x0": np.ones(64)})
    thread.start()
    rounds = 0
    while thread.is_alive():
        rounds += 1
    thread.join()
    assert rounds > 10


# Threads.


def wide(xs: Any, w: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = ag.tanh(x + h @ w)
        return h, h

    _, hs = scan(step, ag.zeros(xs.shape[1:], xs.dtype), xs)
    flat = hs.reshape((-1, hs.shape[-1]))
    return hs, flat.sum(0), flat.mean(1), ag.softmax(flat), flat.T @ flat, ag.square(hs).mean()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_do_not_depend_on_how_many_threads_there_are(count, monkeypatch):
    monkeypatch.setattr(native_plan, "threads", lambda: count)
    monkeypatch.setattr(native_plan, "HELPED", -1.0)
    xs, w = rng.normal(size=(20, 64, 256)), rng.normal(size=(256, 256)) / 16
    graph = graph_of(wide, (xs.shape, "float64"), (w.shape, "float64"))
    plan = check(graph, xs, w)
    monkeypatch.setattr(native_plan, "threads", lambda: 1)
    alone = plan.run(x0=xs, x1=w)
    monkeypatch.setattr(native_plan, "threads", lambda: count)
    for _ in range(5):
        for name, value in plan.run(x0=xs, x1=w).items():
            np.testing.assert_array_equal(value, alone[name])


def test_helpers_are_gone_when_a_plan_has_run(monkeypatch):
    monkeypatch.setattr(native_plan, "threads", lambda: 3)
    monkeypatch.setattr(native_plan, "HELPED", -1.0)
    plan = graph_of(lambda x: ag.exp(x) @ x, ((200, 200), "float64")).compile("native")
    for _ in range(20):
        plan.run(x0=np.ones((200, 200)))
    folder = "/proc/self/task"
    if os.path.isdir(folder):
        deadline = time.monotonic() + 10
        names = [1] * 99
        while len(names) > 20 and time.monotonic() < deadline:
            names = os.listdir(folder)
        assert len(names) <= 20


def test_how_many_threads_there_are_is_the_users_to_say(monkeypatch):
    monkeypatch.setenv("LOOPGRAD_THREADS", "1")
    assert threads() == 1
    monkeypatch.setenv("LOOPGRAD_THREADS", "1000")
    assert 1 <= threads() <= (os.cpu_count() or 1)
    monkeypatch.setenv("LOOPGRAD_THREADS", "many")
    assert 1 <= threads() <= (os.cpu_count() or 1)


# Shapes.


@pytest.mark.parametrize(
    ("m", "k", "n"), [(0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (2000, 70, 33)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_all_sizes(m, k, n, dtype):
    a, b = (rng.normal(size=s).astype(dtype) for s in ((m, k), (n, k)))
    graph = graph_of(lambda a, b: (a @ b.T, (b @ a.T).T), (a.shape, dtype), (b.shape, dtype))
    check(graph, a, b, tolerance={"float32": 1e-4, "float64": 1e-11}[dtype])


def test_a_product_whose_columns_lie_apart_is_written_beside_and_copied():
    def fn(a: Any, b: Any) -> Any:
        _, ys = scan(lambda c, x: (c, ag.swapaxes(x @ b, 0, 1)), ag.zeros(()), a)
        return ys

    a, b = rng.normal(size=(5, 4, 3)), rng.normal(size=(3, 6))
    check(graph_of(fn, (a.shape, "float64"), (b.shape, "float64")), a, b)


@pytest.mark.parametrize("shape", [(4, 5), (1, 5), (4, 1), (3, 2, 40), (2, 0), (7, 200)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_over_any_axes(shape, keepdims):
    x = rng.normal(size=shape)

    def fn(x: Any) -> Any:
        axes = [None, *range(x.ndim), tuple(range(x.ndim - 1)), tuple(range(1, x.ndim))]
        return tuple([ag.sum(x, axis=a, keepdims=keepdims) for a in axes])

    check(graph_of(fn, (shape, "float64")), x)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 70), (3, 1), (2, 0, 3)])
def test_softmax_and_its_kind_of_rows(shape):
    x = rng.normal(size=shape) * 10

    def fn(x: Any) -> Any:
        last = ag.logsumexp(x, axis=-1, keepdims=True)
        return ag.softmax(x), ag.log_softmax(x), ag.logsumexp(x, axis=-1), last

    check(graph_of(fn, (shape, "float64")), x)


def test_softmax_of_one_number_repeated_and_of_columns():
    x = rng.normal(size=(4, 1))
    spread = lambda x: ag.softmax(ag.broadcast_to(x, (4, 9)))  # noqa: E731
    check(graph_of(spread, (x.shape, "float64")), x)
    check(graph_of(lambda x: ag.softmax(x, axis=0), ((4, 1), "float64")), x, fallbacks=1)


def test_lengths_of_loops_are_no_part_of_the_code(monkeypatch):
    texts = []

    def noted(module: Any) -> Any:
        texts.append(str(module))
        return compiled(module)

    monkeypatch.setattr(native_plan, "compiled", noted)
    for length in (3, 500):
        specs = (((length, 8, 32), "float32"), ((32, 32), "float32"))
        graph_of(lambda xs, w: wide(xs, w)[0], *specs).compile("native")
    assert len(texts) == 2
    assert texts[0] == texts[1]
