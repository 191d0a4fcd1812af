"""Independent work in threads and tasks equals serial work, bit for bit; switches are their own."""

import asyncio
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import autograd as ag
from autograd.scope import current_state
from loops import LoopNode

THREADS = 8


@pytest.fixture(autouse=True)
def switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def trained(seed):
    """A small eager training; everything it makes is its own."""
    random = np.random.default_rng(seed)
    w = ag.parameter("w", random.standard_normal((4, 3)))
    b = ag.parameter("b", np.zeros(3))
    x, target = random.standard_normal((6, 4)), random.standard_normal((6, 3))
    for step in range(10):
        error = ag.tanh(ag.matmul(x, w) + b) - target
        loss = ag.mean(error * error)
        if step % 3 == 0:
            with ag.no_grad():
                assert not (w * 2.0).tracked
        loss.backward()
        for p in (w, b):
            p.value = p.value - 0.1 * p.grad.value
            p.grad = None
    return w.value.tobytes() + b.value.tobytes() + loss.value.tobytes()


def calculus(seed):
    """Nested derivatives, forward and reverse, and vmap."""
    v = np.random.default_rng(seed).standard_normal(4)

    def fn(x):
        return ag.sum(ag.tanh(x) * x * x)

    _, tangent = ag.jvp(ag.grad(fn), (v,), (v,))
    parts = [ag.hessian(fn)(v), tangent, ag.vmap(ag.grad(ag.grad(lambda x: fn(x) * x)))(v)]
    return b"".join(part.value.tobytes() for part in parts)


def drawn(seed):
    """A loop drawn, differentiated and run."""
    random = np.random.default_rng(seed)
    w = ag.parameter("w", random.standard_normal((3, 3)))
    xs = ag.input("xs", (5, 2, 3))
    with LoopNode("loop") as loop:
        x = loop.each(xs)
        h = loop.branch("h", ag.tensor(np.zeros((2, 3))))
        loop.feed(h, ag.tanh(ag.matmul(h, w) + x))
    graph = ag.Graph([xs], {"loss": ag.sum(loop.final(h))}).grad()
    result = graph.run(xs=random.standard_normal((5, 2, 3)))
    return result["loss"].tobytes() + result["grad_w"].tobytes()


def in_threads(work, seeds):
    """`work` of each seed in a thread of its own, all started at once."""
    gate = threading.Barrier(len(seeds))

    def wait_and_work(seed):
        gate.wait(timeout=30)
        return work(seed)

    with ThreadPoolExecutor(len(seeds)) as pool:
        return list(pool.map(wait_and_work, seeds))


@pytest.mark.parametrize("work", [trained, calculus, drawn])
def test_threads_equal_serial_bit_for_bit(work):
    seeds = range(THREADS)
    serial = [work(seed) for seed in seeds]
    assert len(set(serial)) == THREADS
    for _ in range(20):
        assert in_threads(work, seeds) == serial


def test_mixed_work():
    jobs = [trained, calculus, drawn]
    serial = [jobs[i % 3](i) for i in range(THREADS)]
    assert in_threads(lambda i: jobs[i % 3](i), range(THREADS)) == serial


def test_one_graph_run_by_many_threads():
    w = ag.parameter("w", np.random.default_rng(0).standard_normal((3, 3)))
    x = ag.input("x", (2, 3))
    with LoopNode("loop", length=4) as loop:
        h = loop.branch("h", x)
        loop.feed(h, ag.tanh(ag.matmul(h, w)))
    loss = ag.sum(loop.final(h))

    def run(seed):
        value = np.random.default_rng(seed).standard_normal((2, 3))
        result = graph.run(x=value)
        return result["loss"].tobytes() + result["grad_w"].tobytes()

    graph = ag.Graph([x], {"loss": loss}).grad()
    serial = [run(seed) for seed in range(THREADS)]
    graph = ag.Graph([x], {"loss": loss}).grad()  # whose caches are still to be filled
    assert in_threads(run, range(THREADS)) == serial


def test_no_grad_is_the_threads_own():
    x = ag.tensor(1.0, requires_grad=True)
    inside, done = threading.Event(), threading.Event()

    def off():
        with ag.no_grad():
            inside.set()
            assert done.wait(30)
            return (x * 2.0).tracked

    with ThreadPoolExecutor(2) as pool:
        result = pool.submit(off)
        assert inside.wait(30)
        assert (x * 2.0).tracked
        assert pool.submit(lambda: (x * 2.0).tracked).result(30)
        done.set()
        assert result.result(30) is False


def test_thread_started_under_no_grad_begins_with_recording():
    x = ag.tensor(1.0, requires_grad=True)
    with ag.no_grad(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: (x * 2.0).tracked).result(30)


def test_loop_being_drawn_does_not_catch_the_nodes_of_another_thread():
    x = ag.input("x", (3,))
    with LoopNode("loop", length=2) as loop:
        h = loop.branch("h", x)
        with ThreadPoolExecutor(1) as pool:
            state = pool.submit(current_state).result(30)
            tensor = pool.submit(lambda: ag.tensor(1.0) * 2.0).result(30)
        loop.feed(h, h * 2.0)
    assert state.scope is None
    assert tensor.item() == 2.0
    assert np.array_equal(
        ag.Graph([x], {"h": loop.final(h)}).run(x=np.ones(3))["h"], np.full(3, 4.0)
    )


def test_switches_are_the_tasks_own():
    x = ag.tensor(1.0, requires_grad=True)

    async def off(turns):
        with ag.no_grad():
            seen = []
            for _ in range(turns):
                await asyncio.sleep(0)
                seen.append((x * 2.0).tracked)
            return seen

    async def on(turns):
        seen = []
        for _ in range(turns):
            await asyncio.sleep(0)
            seen.append((x * 2.0).tracked)
        return seen

    async def both():
        return await asyncio.gather(off(20), on(20), off(20), on(20))

    first, second, third, fourth = asyncio.run(both())
    assert not any(first + third)
    assert all(second + fourth)


def test_tasks_equal_serial_bit_for_bit():
    async def task(seed):
        v = np.random.default_rng(seed).standard_normal(3)
        with LoopNode(f"loop_{seed}", length=3) as loop:
            h = loop.branch("h", x)
            await asyncio.sleep(0)
            y = ag.tanh(h * v)
            await asyncio.sleep(0)
            loop.feed(h, y)
        return ag.Graph([x], {"h": loop.final(h)}).run(x=v)["h"].tobytes()

    async def alone(seed):
        return await task(seed)

    async def together():
        return await asyncio.gather(*map(task, range(THREADS)))

    x = ag.input("x", (3,))
    assert asyncio.run(together()) == [asyncio.run(alone(seed)) for seed in range(THREADS)]


def test_serial_numbers_are_unique_over_threads():
    def made(_):
        return [ag.tensor(1.0).serial for _ in range(2000)]

    numbers = [n for part in in_threads(made, range(THREADS)) for n in part]
    assert len(set(numbers)) == len(numbers)


def test_exception_in_one_thread_leaves_the_others_alone():
    def work(seed):
        if seed % 2:
            with pytest.raises(ZeroDivisionError):
                ag.grad(lambda x: x * (1 / 0))(1.0)
        return trained(seed - seed % 2)

    assert in_threads(work, range(THREADS)) == [trained(seed - seed % 2) for seed in range(THREADS)]


def test_machine_code_that_threads_ask_for_at_once_is_made_once():
    """What two had made, and one kept, was freed while the other ran it."""
    pytest.importorskip("llvmlite")
    from autograd.execute.native.compiler import once

    made = []

    @once
    def make(key):
        time.sleep(0.01)
        made.append(key)
        return object()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(make, ["a", "b"] * 8))
    assert sorted(made) == ["a", "b"]
    assert len(set(found)) == 2
