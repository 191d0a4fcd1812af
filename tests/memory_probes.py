"""What `test_memory.py` runs in a process of its own: one round of something, over and over.

    python -m tests.memory_probes NAME ROUNDS

With the cyclic garbage collector off, memory stays flat only if nothing is held in a cycle.
"""

import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

import autograd as ag
from autograd import recent
from loops import LoopNode, cond, scan, while_loop

XS = np.linspace(-1, 1, 12).reshape(3, 4)
SEQUENCE = np.linspace(-1, 1, 40).reshape(5, 2, 4)


class StopError(Exception):
    """Raised by the user's code in the middle of something."""


def parameters() -> tuple[Any, Any]:
    values = np.linspace(-0.5, 0.5, 16).reshape(4, 4)
    return ag.parameter("w", values), ag.parameter("b", np.zeros(4))


def update(*leaves: Any) -> None:
    for p in leaves:
        p.value = p.value - 1e-3 * p.grad.value
        p.grad = None


def loss_of(w: Any, b: Any) -> Any:
    return (ag.tanh(ag.matmul(XS, w) + b) * 0.5).sum()


def rnn(xs: Any, w: Any, b: Any) -> Any:
    with LoopNode("rnn") as node:
        x = node.each(xs)
        before = node.branch("h", np.zeros((2, 4)))
        h = ag.tanh(x @ w + before + b)
        node.feed(before, h)
        hs = node.collect(h)
    return (hs * hs).sum() + node.final(before).sum()


Round = Callable[[], Any]


def train() -> Round:
    w, b = parameters()

    def step() -> None:
        loss_of(w, b).backward()
        update(w, b)

    return step


def train_keeping_the_loss() -> Round:
    """The loss of the step before is alive, and so are all losses' values as one tensor."""
    w, b = parameters()
    kept: dict[str, Any] = {"loss": None, "total": ag.tensor(0.0)}

    def step() -> None:
        loss = loss_of(w, b)
        loss.backward()
        update(w, b)
        kept["loss"] = loss
        kept["total"] = ag.tensor(kept["total"].value + loss.value)

    return step


def train_by_function() -> Round:
    w, b = parameters()
    both = ag.value_and_grad(loss_of, argnums=(0, 1))

    def step() -> None:
        _, slopes = both(w, b)
        for p, g in zip((w, b), slopes, strict=True):
            p.value = p.value - 1e-3 * g.value

    return step


def train_by_numpy_functions() -> Round:
    w, b = parameters()

    def step() -> None:
        np.sum(np.tanh(XS @ w + b)).backward()
        update(w, b)

    return step


def never_walked_back() -> Round:
    w, b = parameters()
    return lambda: loss_of(w, b)


def second_order() -> Round:
    w, b = parameters()

    def step() -> None:
        g = ag.grad(loss_of(w, b), w)
        (g * g).sum().backward()
        w.grad = b.grad = None
        ag.hvp(lambda x: (x * x * x).sum(), [XS], [XS])

    return step


def loop_on_tensors() -> Round:
    w, b = parameters()

    def step() -> None:
        rnn(ag.tensor(SEQUENCE), w, b).backward()
        update(w, b)

    return step


def scan_and_branch() -> Round:
    w, b = parameters()

    def step() -> None:
        def cell(h: Any, x: Any) -> Any:
            after = cond(x.sum() > 0, lambda h: ag.tanh(h @ w), lambda h: h + b, h)
            return after, after

        _, ys = scan(cell, np.zeros((2, 4)), SEQUENCE)
        ys.sum().backward()
        update(w, b)

    return step


def while_that_stops_or_not() -> Round:
    w, _ = parameters()

    def last(a: Any, **bound: Any) -> Any:
        return while_loop(
            lambda x: ag.sum(x * x) < 9.0, lambda x: x * 1.5 + x @ w * 0.1, a, **bound
        )

    exceed = raising(lambda: last(ag.tensor(np.full((2, 4), 0.1)), bound=2))

    def step() -> None:
        last(ag.tensor(np.full((2, 4), 0.1)))[0].sum().backward()
        update(w)
        ag.vmap(lambda a: last(a)[0])(np.linspace(0.1, 0.6, 24).reshape(3, 2, 4))
        exceed()

    return step


def within_a_budget() -> Round:
    """Gradients of tensors and of graphs, by checkpoints, and one that cannot be."""
    w, b = parameters()
    xs = ag.input("xs", SEQUENCE.shape)
    graph = ag.Graph([xs], {"y": rnn(xs, w, b)})

    def step() -> None:
        rnn(ag.tensor(SEQUENCE), w, b).backward(memory="1MB")
        rnn(ag.tensor(SEQUENCE), w, b).backward(checkpoints=2)
        update(w, b)
        graph.grad(checkpoints=2).run(xs=SEQUENCE)
        try:
            graph.grad(memory=0)
        except ag.BudgetError:
            return
        raise AssertionError("nothing was raised")

    return step


def raising(fail: Round) -> Round:
    """Return a round in which `fail` must raise, and is caught as users would."""

    def step() -> None:
        try:
            fail()
        except (StopError, ag.LoopGradError, ValueError, FloatingPointError):
            return
        raise AssertionError("nothing was raised")

    return step


def raise_between_ops() -> Round:
    w, b = parameters()

    def fail() -> None:
        loss = loss_of(w, b)
        raise StopError(loss.shape)

    return raising(fail)


def raise_in_an_op() -> Round:
    w, b = parameters()
    return raising(lambda: (ag.matmul(XS, w) + b) @ ag.matmul(XS, w))


def raise_while_drawing() -> Round:
    w, _ = parameters()
    return raising(lambda: ag.input("x", (3,)) @ w)


def raise_in_a_backward() -> Round:
    w, b = parameters()

    @ag.custom_vjp
    def double(x: Any) -> Any:
        return x * 2.0

    @double.defvjp
    def _(g: Any, y: Any, x: Any) -> Any:
        raise StopError

    return raising(lambda: double(loss_of(w, b)).backward())


def raise_in_a_second_backward() -> Round:
    w, b = parameters()

    def fail() -> None:
        loss = loss_of(w, b)
        loss.backward()
        w.grad = b.grad = None
        loss.backward()

    return raising(fail)


def raise_in_a_loop_being_drawn() -> Round:
    w, b = parameters()

    def fail() -> None:
        with LoopNode("broken", length=3) as node:
            before = node.branch("h", np.zeros((2, 4)))
            ag.tanh(before @ w + b)
            raise StopError

    return raising(fail)


def raise_in_a_running_loop() -> Round:
    """Overflow in step 3, told by NumPy as an error."""
    with np.errstate(over="ignore"):  # parameters have values, so drawing computes
        graph = ag.Graph([], {"y": grown(ag.parameter("w", 1e200))})

    def fail() -> None:
        with np.errstate(all="raise"):
            graph.run()

    return raising(fail)


def grown(w: Any) -> Any:
    with LoopNode("grow", length=5) as node:
        before = node.branch("h", 1.0)
        node.feed(before, before * w)
    return node.final(before)


def raise_in_a_watched_loop() -> Round:
    w, b = parameters()
    xs = ag.input("xs", SEQUENCE.shape)
    graph = ag.Graph([xs], {"y": rnn(xs, w, b)})

    def watch(path: str, value: Any) -> None:
        if "[3]" in path:
            raise StopError

    return raising(lambda: graph.run(xs=SEQUENCE, watch=watch))


def raise_in_a_graph() -> Round:
    return raising(lambda: ag.Graph([ag.input("x", ())], {"y": ag.input("z", ()) * 2.0}))


def raise_on_wrong_inputs() -> Round:
    x = ag.input("x", (3,))
    graph = ag.Graph([x], {"y": x * 2.0})
    return raising(lambda: graph.run(x=np.zeros(4)))


def graphs() -> Round:
    w, b = parameters()

    def step() -> None:
        x = ag.input("x", (3, 4))
        graph = ag.Graph([x], {"y": ag.tanh(x @ w + b).sum()})
        graph.run(x=XS)
        gradient = graph.grad()
        gradient.run(x=XS)
        for made in (graph, gradient):
            str(made), repr(made), made.copy(), made.find("*")
            made.consumers(made.nodes[0])
        graph.resize(x=(5, 4))
        graph.select("y")
        ag.trace(lambda x: x * 2.0, (3,))

    return step


def graphs_with_loops() -> Round:
    w, b = parameters()

    def step() -> None:
        xs = ag.input("xs", SEQUENCE.shape)
        graph = ag.Graph([xs], {"y": rnn(xs, w, b)})
        graph.run(xs=SEQUENCE)
        gradient = graph.grad()
        gradient.run(xs=SEQUENCE)
        for made in (graph, gradient):
            str(made), made.copy(), made.unroll()
        graph.resize(xs=(7, 2, 4))

    return step


def graphs_with_branches() -> Round:
    w, b = parameters()

    def step() -> None:
        x = ag.input("x", (3, 4))
        y = cond(x.sum() > 0, lambda x: x @ w, lambda x: x + b, x).sum()
        graph = ag.Graph([x], {"y": y})
        graph.run(x=XS)
        graph.grad().run(x=XS)
        str(graph), graph.copy()

    return step


def open_loops() -> Round:
    """Loops that are drawn and never used, and one never closed properly."""
    w, _ = parameters()

    def step() -> None:
        LoopNode("never opened", length=2)
        with LoopNode("unused", length=2) as node:
            before = node.branch("h", np.zeros((2, 4)))
            node.feed(before, before @ w)

    return step


def files() -> Round:
    w, b = parameters()
    xs = ag.input("xs", SEQUENCE.shape)
    graph = ag.Graph([xs], {"y": rnn(xs, w, b)})
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, "graph.json")

    def step(folder: Any = folder) -> None:
        graph.save(path)
        ag.Graph.load(path)

    return step


def pictures() -> Round:
    w, b = parameters()
    xs = ag.input("xs", SEQUENCE.shape)
    graph = ag.Graph([xs], {"y": rnn(xs, w, b)})
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, "graph.dot")

    def step(folder: Any = folder) -> None:
        graph.draw(path)

    return step


PROBES: dict[str, Callable[[], Round]] = {
    probe.__name__: probe
    for probe in (
        train,
        train_keeping_the_loss,
        train_by_function,
        train_by_numpy_functions,
        never_walked_back,
        second_order,
        loop_on_tensors,
        scan_and_branch,
        within_a_budget,
        while_that_stops_or_not,
        raise_between_ops,
        raise_in_an_op,
        raise_while_drawing,
        raise_in_a_backward,
        raise_in_a_second_backward,
        raise_in_a_loop_being_drawn,
        raise_in_a_running_loop,
        raise_in_a_watched_loop,
        raise_in_a_graph,
        raise_on_wrong_inputs,
        graphs,
        graphs_with_loops,
        graphs_with_branches,
        open_loops,
        files,
        pictures,
    )
}


def resident() -> int:
    """Return the resident set in bytes (0 where the system does not say)."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Return how far memory grew over `rounds` rounds, and what the collector finds then.

    The collector is asked before and after, never in between. It also empties Python's lists of
    free tuples, which grow for a while: what it found tells whether it hid anything else.
    """
    step = PROBES[name]()
    step()  # imports what is imported late, which leaves cycles of its own
    gc.collect()
    gc.disable()
    for _ in range(min(1000, max(50, rounds // 3))):
        step()
    gc.set_debug(gc.DEBUG_SAVEALL)
    recent.forget()
    found = gc.collect()
    objects, blocks, bytes_ = len(gc.get_objects()), sys.getallocatedblocks(), resident()
    for _ in range(rounds):
        step()
    recent.forget()  # what is kept for a while
    grown = {"objects": len(gc.get_objects()) - objects, "bytes": resident() - bytes_}
    found += gc.collect()
    grown["blocks"] = sys.getallocatedblocks() - blocks
    kinds: dict[str, int] = {}
    for x in gc.garbage:
        kinds[type(x).__qualname__] = kinds.get(type(x).__qualname__, 0) + 1
    return {**grown, "rounds": rounds, "collected": found, "kinds": kinds}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
