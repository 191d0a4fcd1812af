"""Graphs to print, draw and save: one of each kind that a reader meets."""

import numpy as np

import autograd as ag
from loops import LoopNode, cond


def adder(length: int = 8) -> ag.Graph:
    """The binary adder: a recurrent network with shared weights."""
    xs = ag.input("xs", (length, 1, 2))
    shapes = {"u": (2, 16), "w": (16, 16), "v": (16, 1)}
    u, w, v = (
        ag.parameter(name, np.linspace(-1, 1, shape[0] * shape[1]).reshape(shape))
        for name, shape in shapes.items()
    )
    with LoopNode("step", length=length) as step:
        x = step.each(xs)
        h_before = step.branch("h", ag.constant(np.zeros((1, 16))))
        h = ag.tanh(x @ u + h_before @ w)
        step.feed(h_before, h)
        ys = step.collect(ag.tanh(h @ v))
    return ag.Graph([xs], {"ys": ys}, name="adder")


def adder_loss(length: int = 3) -> ag.Graph:
    graph = adder(length)
    targets = ag.input("targets", (length, 1, 1))
    error = graph.outputs["ys"] - targets
    inputs = [graph.inputs["xs"], targets]
    return ag.Graph(inputs, {"loss": ag.sum(error * error)}, name="adder loss")


def nested() -> ag.Graph:
    """A loop over rows that holds a loop over columns."""
    xs = ag.input("xs", (5, 3, 4))
    w, u = (ag.parameter(name, np.eye(4)) for name in "wu")
    with LoopNode("rows") as rows:
        row = rows.each(xs, "row")
        s = rows.branch("s", ag.constant(np.zeros(4)))
        with LoopNode("columns") as columns:
            x = columns.each(row, "x")
            h = columns.branch("h", s)
            columns.feed(h, ag.tanh(x @ w + h @ u).named("h_next"))
            last = columns.final(h)
        rows.feed(s, last * 0.5)
        ys = rows.collect(last)
    return ag.Graph([xs], {"ys": ys}, name="nested")


def branching() -> ag.Graph:
    """A branch in a loop: each step its flag chooses one of two graphs."""
    xs, flags = ag.input("xs", (6, 4)), ag.input("flags", (6,), bool)
    w = ag.parameter("w", np.eye(4))
    with LoopNode("walk") as walk:
        x, flag = walk.each(xs, "x"), walk.each(flags, "flag")
        h = walk.branch("h", ag.constant(np.zeros(4)))
        y = cond(flag, lambda a: ag.tanh(a @ w), lambda a: a * 0.5, (x + h).named("sum"))
        walk.feed(h, y)
        ys = walk.collect(y)
    return ag.Graph([xs, flags], {"ys": ys}, name="branching")


def narx() -> ag.Graph:
    """A loop at several lags: y[t] = f(y[t-1], y[t-5], x[t], x[t-2], x[t+1])."""
    x, past, start = ag.input("x", (8, 3)), ag.input("past", (2, 3)), ag.input("start", (5, 4))
    u, w, v = (ag.parameter(name, np.ones((n, 4))) for name, n in (("u", 3), ("w", 4), ("v", 4)))
    with LoopNode("narx") as step:
        ago = step.each(x, lag=2, before=past)
        ahead = step.each(x, lead=1, after="edge")
        y1, y5 = step.branch("y", history=start, lags=(1, 5))
        y = ag.tanh((step.each(x) + ago - ahead) @ u + y1 @ w + y5 @ v)
        step.feed(y1, y)
        ys = step.collect(y, "ys")
    return ag.Graph([x, past, start], {"ys": ys, "last": step.final(y5)}, name="narx")


def narx_loss() -> ag.Graph:
    graph = narx()
    loss = ag.sum(ag.square(graph.outputs["ys"]))
    return ag.Graph([*graph.inputs.values()], {"loss": loss}, name="narx loss")


def flat() -> ag.Graph:
    """No body; float32; constants of every size; a name with a space."""
    x = ag.input("x", (4, 2), np.float32)
    w = ag.parameter("w", np.ones((2, 3), np.float32))
    h = ag.tanh(x @ w + ag.constant(np.arange(3, dtype=np.float32))).named("hidden layer")
    big = ag.constant(np.arange(12, dtype=np.float32).reshape(4, 3), name="big")
    first = ((h * 2.0 - big) / 3.0)[1:3, 0]
    loss = ag.sum(1.0 - first).named("loss")
    return ag.Graph([x], {"loss": loss, "first": first}, name="flat")


SAMPLES = {
    "flat": flat,
    "flat_gradient": lambda: flat().grad("loss"),
    "adder": adder,
    "adder_unrolled": lambda: adder(3).unroll(),
    "adder_gradient": lambda: adder_loss().grad(),
    "nested": nested,
    "nested_unrolled_once": lambda: nested().unroll(1),
    "branching": branching,
    "narx": narx,
    "narx_gradient": lambda: narx_loss().grad(wrt=["x", "start"]),
}


def chain(length: int) -> ag.Graph:
    x = y = ag.input("x", (2,))
    for _ in range(length // 2):
        y = y + y * 1e-6
    return ag.Graph([x], {"y": y}, name="chain")


def nest(depth: int) -> ag.Graph:
    """Loops of one step, one in the other."""
    x = ag.input("x", (2,))
    loops = []
    value = x
    for i in range(depth):
        loop = LoopNode(f"level{i}", length=1)
        loop.__enter__()
        state = loop.branch("s", value)
        loops.append((loop, state))
        value = state
    value = value * 2.0
    for loop, state in reversed(loops):
        loop.feed(state, value)
        value = loop.final(state)
        loop.__exit__(None, None, None)
    return ag.Graph([x], {"y": value}, name="nest")
