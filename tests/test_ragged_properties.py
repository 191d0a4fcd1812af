"""Random ragged loops: each row gets, and sends back, what it would alone.

A body is a list of instructions on a pool of values whose first axis is the rows; indices count
modulo the pool's size, so any integers make a body. Alone, a row runs the same instructions in
Python's own loop. The faults below are planted in what is special to ragged loops.
"""

import dataclasses
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd as ag
from loops import LoopNode, cond, gradient, running, scan
from tests.loop_reference import assert_same

EXPLORING = os.environ.get("HYPOTHESIS_PROFILE") == "exploring"
EXAMPLES = 2000 if EXPLORING else 60
ROWS, WIDTH = 4, 2

BINARY = {
    "add": lambda a, b, w: (a + b) * 0.5,
    "multiply": lambda a, b, w: a * b,
    "product": lambda a, b, w: ag.tanh(a @ w - b),
    "softmax": lambda a, b, w: ag.softmax(a, axis=-1) + b * 0.3,
    "loop": lambda a, b, w: scan(lambda h, _: (ag.tanh(h @ w + b), None), a, length=2)[0],
    "choose": lambda a, b, w: cond(w.sum() > 0, lambda x: x * 0.5, ag.tanh, a) - b,
    "outer": lambda a, b, w: (ag.expand_dims(a, 2) * ag.reshape(b, (-1, 1, WIDTH))).mean(axis=1),
    "turned": lambda a, b, w: ag.swapaxes(ag.tanh(ag.swapaxes(a, 0, 1)), 0, 1) * b,
}


@dataclasses.dataclass(frozen=True)
class Body:
    """What one step does: (op, first, second) on the pool [slices, states, captured], in order."""

    instructions: tuple[tuple[str, int, int], ...]
    states: tuple[tuple[int, int], ...]
    """One (initial value, what is fed) a state."""
    collected: tuple[int, ...]
    reverse: bool

    def step(self, slices, states, captured, w):
        pool = [*slices, *states, *captured]
        for op, a, b in self.instructions:
            pool.append(BINARY[op](pool[a % len(pool)], pool[b % len(pool)], w))
        after = [ag.tanh(pool[-1 - i % len(pool)]) for _, i in self.states]
        return after, [pool[-1 - i % len(pool)] * 1.0 for i in self.collected]


@dataclasses.dataclass(frozen=True)
class Start:
    xs: np.ndarray
    rows: np.ndarray
    """Initial values of states, and one that is captured."""
    w: np.ndarray
    lengths: np.ndarray

    @property
    def arrays(self):
        return self.xs, self.rows, self.w


def together(body, start, xs, rows, w, **ragged):
    with LoopNode("ragged", reverse=body.reverse, lengths=start.lengths, **ragged) as loop:
        x = loop.each(xs)
        before = [loop.branch(f"s{i}", rows[i % 2]) for i, _ in body.states]
        after, outputs = body.step([x], before, [rows[2]], w)
        for port, value in zip(before, after, strict=True):
            loop.feed(port, value)
        stacked = [loop.collect(y) for y in outputs]
        finals = [loop.final(port) for port in before]
    return finals, stacked


def alone(body, start, xs, rows, w):
    """Return the same, one row after the other, each in a Python loop."""
    all_finals, all_stacked = [], []
    for b, length in enumerate(start.lengths):
        states = [rows[i % 2, b : b + 1] for i, _ in body.states]
        steps = {}
        for t in reversed(range(length)) if body.reverse else range(length):
            states, steps[t] = body.step([xs[t, b : b + 1]], states, [rows[2, b : b + 1]], w)
        all_finals.append(states)
        all_stacked.append([_padded(steps, i, len(start.xs)) for i in range(len(body.collected))])
    finals = [ag.concat(list(column)) for column in zip(*all_finals, strict=True)]
    return finals, [ag.concat(list(column), axis=1) for column in zip(*all_stacked, strict=True)]


def _padded(steps, i, length):
    """Return output `i` of the steps there are, and zeros."""
    nothing = ag.tensor(np.zeros((1, WIDTH)))
    rows = [steps[t][i] if t in steps else nothing for t in range(length)]
    return ag.stack(rows) if rows else ag.zeros((0, 1, WIDTH))


def scalar(meaning, body, start, **ragged):
    """Return a scalar function of the arrays of `start` that weighs every result differently."""

    def function(xs, rows, w):
        finals, stacked = meaning(body, start, xs, rows, w, **ragged)
        results = [*finals, *stacked]
        return sum(
            (y * y * np.cos(np.arange(y.size) + i).reshape(y.shape)).sum()
            for i, y in enumerate(results)
        )

    return function


def check(body, start, second_order=True):
    """Assert that rows together and alone agree, as tensors and as a graph, to order two."""
    wanted = alone(body, start, *map(ag.tensor, start.arrays))
    slopes = ag.grad(scalar(alone, body, start), (0, 1, 2))(*start.arrays)
    for how in WAYS:
        found = together(body, start, *map(ag.tensor, start.arrays), **how)
        for ys, zs in zip(found, wanted, strict=True):
            for y, z in zip(ys, zs, strict=True):
                assert_same(y, z, 1e-14)
        graph = ag.trace(scalar(together, body, start, **how), *start.arrays, name="f")
        feed = dict(zip(graph.inputs, start.arrays, strict=True))
        grads = graph.grad(wrt=list(graph.inputs)).run(**feed)
        eager = ag.grad(scalar(together, body, start, **how), (0, 1, 2))(*start.arrays)
        for name, slope, g in zip(graph.inputs, slopes, eager, strict=True):
            assert_same(g, slope, 1e-12)
            assert_same(grads[f"grad_{name}"], slope, 1e-12)
        if second_order:
            directions = tuple(np.cos(np.arange(x.size)).reshape(x.shape) for x in start.arrays)
            curved = ag.hvp(scalar(together, body, start, **how), start.arrays, directions)
            straight = ag.hvp(scalar(alone, body, start), start.arrays, directions)
            for a, b in zip(curved, straight, strict=True):
                assert_same(a, b, 1e-11)


WAYS = ({}, {"ragged": "mask"})

index = st.integers(0, 9)
bodies = st.builds(
    Body,
    instructions=st.lists(
        st.tuples(st.sampled_from(sorted(BINARY)), index, index), min_size=1, max_size=4
    ).map(tuple),
    states=st.lists(st.tuples(index, index), min_size=1, max_size=3).map(tuple),
    collected=st.lists(index, max_size=2).map(tuple),
    reverse=st.booleans(),
)


@st.composite
def starts(draw, steps):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    length = draw(st.integers(0, steps))
    lengths = draw(st.lists(st.integers(0, length), min_size=ROWS, max_size=ROWS))
    return Start(
        random.uniform(-1, 1, (length, ROWS, WIDTH)),
        random.uniform(-1, 1, (3, ROWS, WIDTH)),
        random.uniform(-1, 1, (WIDTH, WIDTH)),
        np.array(lengths, np.int64),
    )


@settings(max_examples=EXAMPLES)
@given(bodies, starts(5))
def test_rows_together_are_rows_alone(body, start):
    check(body, start, second_order=False)


@settings(max_examples=max(10, EXAMPLES // 4))
@given(bodies, starts(3))
def test_rows_together_are_rows_alone_to_order_two(body, start):
    check(body, start)


# Sentences of documents: a ragged loop in a ragged loop.

SENTENCES, WORDS = np.array([2, 3, 0, 1]), np.array([[4, 0, 2, 1], [1, 2, 3, 4], [3, 3, 0, 0]])


def documents(xs, u, reverse):
    """Return one state a document, from `xs` of shape (sentences, documents, words, features)."""
    with LoopNode("document", lengths=SENTENCES, reverse=reverse) as outer:
        x, words = outer.each(xs), outer.each(WORDS)
        before = outer.branch("d", ag.zeros((ROWS, WIDTH)))
        with LoopNode("sentence", lengths=words, reverse=reverse) as inner:
            h = inner.branch("h", before)
            after = ag.tanh(inner.each(ag.swapaxes(x, 0, 1)) @ u + h)
            inner.feed(h, after)
            hs = inner.collect(after)
        outer.feed(before, ag.tanh(inner.final(h) * 0.9 + hs.sum(axis=0) * 0.1))
    return outer.final(before)


def documents_alone(xs, u, reverse):
    def steps(count):
        return reversed(range(count)) if reverse else range(count)

    rows = []
    for b in range(ROWS):
        d = ag.zeros(WIDTH)
        for s in steps(SENTENCES[b]):
            h, total = d, 0.0
            for t in steps(WORDS[s, b]):
                h = ag.tanh(xs[s, b, t] @ u + h)
                total = total + h
            d = ag.tanh(h * 0.9 + total * 0.1)
        rows.append(d)
    return ag.stack(rows)


@pytest.mark.parametrize("reverse", [False, True])
def test_ragged_inside_ragged(reverse, tmp_path):
    random = np.random.default_rng(0)
    start = random.normal(size=(3, ROWS, 4, WIDTH)), random.normal(size=(WIDTH, WIDTH))
    together = lambda xs, u: (documents(xs, u, reverse) ** 2).sum()  # noqa: E731
    alone = lambda xs, u: (documents_alone(xs, u, reverse) ** 2).sum()  # noqa: E731
    slopes = ag.grad(alone, (0, 1))(*start)
    graph = ag.trace(together, *start).grad(wrt=["xs", "u"])
    graph.save(tmp_path / "graph.json")
    for each in (graph, ag.Graph.load(tmp_path / "graph.json")):
        found = each.run(xs=start[0], u=start[1])
        assert_same(found["grad_xs"], slopes[0], 1e-12)
        assert_same(found["grad_u"], slopes[1], 1e-12)
    directions = tuple(map(np.cos, start))
    for a, b in zip(
        ag.hvp(together, start, directions), ag.hvp(alone, start, directions), strict=True
    ):
        assert_same(a, b, 1e-11)


@pytest.mark.parametrize("how", WAYS)
def test_steps_of_rows_are_numbered_where_lengths_are_a_list(how):
    with LoopNode("rows", lengths=[2, 0, 3], **how) as loop:
        x = loop.each(np.ones((3, 3)))
        h = loop.branch("h", np.zeros(3))
        loop.feed(h, h + x * loop.index)
        steps = loop.steps
    np.testing.assert_array_equal(steps.value, [2, 0, 3])
    np.testing.assert_array_equal(loop.final(h).value, [1.0, 0.0, 3.0])


# Planted faults.

RANDOM = np.random.default_rng(3)
RICH = Body(
    instructions=(("product", 0, 1), ("multiply", 4, 3), ("add", 5, 2)),
    states=((0, 0), (1, 1)),
    collected=(0, 2),
    reverse=False,
)
START = Start(
    RANDOM.uniform(-1, 1, (5, ROWS, WIDTH)),
    RANDOM.uniform(-1, 1, (3, ROWS, WIDTH)),
    RANDOM.uniform(-1, 1, (WIDTH, WIDTH)),
    np.array([3, 5, 0, 2]),
)


@pytest.mark.parametrize("reverse", [False, True])
def test_rich_body_is_right_without_a_fault(reverse):
    check(dataclasses.replace(RICH, reverse=reverse), START)


def mask_ignored(monkeypatch):
    """Every row runs as long as the longest."""

    def lengths(given, most, name):
        return np.full_like(given, max(given, default=0))

    monkeypatch.setattr(running, "check_lengths", lengths)


def mask_ignored_going_back(monkeypatch):
    real = gradient.loop

    def loop(*inputs, **attrs):
        if attrs["body"].name.endswith("_grad"):
            longest = inputs[0].value if isinstance(inputs[0], ag.Node) else inputs[0]
            inputs = (np.full_like(longest, longest.max(initial=0)), *inputs[1:])
        return real(*inputs, **attrs)

    monkeypatch.setattr(gradient, "loop", loop)


def one_step_too_few(monkeypatch):
    real = running.check_lengths
    monkeypatch.setattr(
        running, "check_lengths", lambda given, *rest: np.maximum(real(given, *rest) - 1, 0)
    )


def rows_not_sorted_back(monkeypatch):
    def final(line):
        rows = line.ring if line.reverse else line._turned(line.ring)
        return rows[0] if line.lag == 1 else rows

    monkeypatch.setattr(running.RaggedLine, "final", final)


def captured_rows_not_sorted(monkeypatch):
    real = running._rows

    def rows(x, axis, which):
        return (
            x
            if isinstance(which, np.ndarray) and x.ndim == 2 and axis == 0
            else real(x, axis, which)
        )

    monkeypatch.setattr(running, "_rows", rows)


FAULTS = [
    mask_ignored,
    mask_ignored_going_back,
    one_step_too_few,
    rows_not_sorted_back,
    captured_rows_not_sorted,
]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(monkeypatch, fault, reverse):
    fault(monkeypatch)
    with pytest.raises((AssertionError, IndexError, ValueError)):
        check(dataclasses.replace(RICH, reverse=reverse), START)


@pytest.mark.parametrize("mode", ["shrink", "mask"])
def test_a_table_as_long_as_there_are_rows_is_no_row(mode):
    """Beside a captured value that has rows; neither lookups nor steps show it in derivatives."""
    lengths = np.array([2, 0, 4, 1])
    table, own = np.array([10.0, 20.0, 0.7, 5.0]), np.arange(1.0, 5.0)
    at = np.array([[3, 0, 1, 2], [2, 3, 3, 1], [1, 1, 0, 3], [0, 2, 3, 3]])

    def step(at, own):
        above = ag.sum((table < ag.tensor(at)[:, None] + 0.0).astype("float64"), 1)
        return (ag.tensor(table)[at] + above) * own

    with LoopNode("rnn", lengths=lengths, ragged=mode) as loop:
        total = loop.branch("total", np.zeros(4))
        loop.feed(total, total + step(loop.each(at), ag.tensor(own)))
    wanted = [sum(step(at[t], own)[b].item() for t in range(n)) for b, n in enumerate(lengths)]
    assert_same(loop.final(total), np.array(wanted, float))


@pytest.mark.parametrize("mode", ["shrink", "mask"])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
@pytest.mark.parametrize("mixing", [ag.max, ag.min, ag.sum, lambda x: x[0], lambda x: x[-1]])
def test_bodies_that_mix_rows_are_refused(mixing, dtype, mode):
    def step(total, x):
        return total + mixing(x).astype("float64"), None

    xs = np.ones((3, 4), dtype)
    with pytest.raises(ag.GraphError, match=r"ragged loop 'scan' mixes the rows of the batch"):
        scan(step, np.zeros(4), xs, lengths=np.array([1, 3, 0, 2]), ragged=mode)


@pytest.mark.parametrize("mixing", [ag.any, lambda x: x[0], lambda x: x[-1]])
def test_bodies_that_mix_conditions_of_rows_are_refused(mixing):
    def step(total, x):
        return ag.where(mixing(x), total, 0.0), None

    with pytest.raises(ag.GraphError, match=r"mixes the rows of the batch"):
        scan(step, np.zeros(4), np.ones((3, 4), bool), lengths=np.array([1, 3, 0, 2]))
