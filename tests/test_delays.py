"""States and per-step inputs of other steps: against loops written by hand, to second order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd as ag
from autograd.export.json import dumps, loads
from loops import LoopNode, cond, gradient, running
from tests.loop_reference import assert_same

LENGTHS = [0, 1, 2, 4, 5, 6, 13]
"""Around the longest lag, which is 5."""
BOTH_WAYS = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


class Past:
    """The values of a state by step; those before the start are the rows of `history`."""

    def __init__(self, history, steps, reverse):
        count = history.shape[0]
        first = steps if reverse else -count
        self.values = {first + j: history[j] for j in range(count)}
        self.steps = steps
        self.reverse = reverse
        self.order = range(steps - 1, -1, -1) if reverse else range(steps)

    def ago(self, t, lag):
        return self.values[t + lag if self.reverse else t - lag]

    def all(self, shape):
        rows = [self.values[t] for t in range(self.steps)]
        return ag.stack(rows) if rows else ag.zeros((0, *shape))

    def last(self, count):
        first = 0 if self.reverse else self.steps - count
        return ag.stack([self.values[first + j] for j in range(count)])


# The systems: drawn, and by hand. Both take arrays or nodes and return a tuple.


def autoregression(x, a, history, reverse):
    """Return y[t] = a1 y[t-1] + a2 y[t-2] + a3 y[t-3] + x[t]: AR(3)."""
    with LoopNode("ar", reverse=reverse) as step:
        lags = step.branch("y", history=history, lags=(1, 2, 3))
        y = step.each(x) + a[0] * lags[0] + a[1] * lags[1] + a[2] * lags[2]
        step.feed(lags[1], y)
        ys = step.collect(y)
    return ys, step.final(lags[2]), step.final(lags[0])


def autoregression_by_hand(x, a, history, reverse):
    y = Past(history, x.shape[0], reverse)
    for t in y.order:
        y.values[t] = x[t] + a[0] * y.ago(t, 1) + a[1] * y.ago(t, 2) + a[2] * y.ago(t, 3)
    return y.all(()), y.last(3), y.last(1)[0]


def narx(x, past, start, u, w, reverse):
    """Return y[t] = f(y[t-1], y[t-5], x[t], x[t-2], x[t+1]): NARX, the lags in time."""
    with LoopNode("narx", reverse=reverse) as step:
        y1, y5 = step.branch("y", history=start, lags=(1, 5))
        ago, ahead = step.each(x, lag=2, before=past), step.each(x, lead=1, after="edge")
        y = ag.tanh((step.each(x) * ago - ahead) @ u + y1 @ w + 0.5 * y5)
        step.feed(y1, y)
        ys = step.collect(y)
    return ys, step.final(y5), step.final(y1)


def narx_by_hand(x, past, start, u, w, reverse):
    steps = x.shape[0]
    y = Past(start, steps, reverse)
    for t in y.order:
        ago = x[t - 2] if t >= 2 else past[t]
        ahead = x[min(t + 1, steps - 1)]
        y.values[t] = ag.tanh((x[t] * ago - ahead) @ u + y.ago(t, 1) @ w + 0.5 * y.ago(t, 5))
    return y.all((2,)), y.last(5), y.last(1)[0]


def dilated(x, init, w, reverse):
    """Return h[t] = tanh(x[t] + h[t-4] w): a dilated recurrent layer, started from one value."""
    with LoopNode("dilated", reverse=reverse) as step:
        h4 = step.branch("h", init, lag=4)
        h = ag.tanh(step.each(x) + h4 @ w)
        step.feed(h4, h)
        hs = step.collect(h)
    return hs, step.final(h4)


def dilated_by_hand(x, init, w, reverse):
    h = Past(ag.stack([init] * 4), x.shape[0], reverse)
    for t in h.order:
        h.values[t] = ag.tanh(x[t] + h.ago(t, 4) @ w)
    return h.all((2,)), h.last(4)


def equal_lags(x, init, reverse):
    """Return the sum of a state at equal lags, and of one at the same lag as another's."""
    with LoopNode("equal", reverse=reverse) as step:
        a, b, c = step.branch("a", init, lags=[3, 3, 2])
        d = step.branch("d", init * 2.0, lag=3)
        value = ag.sin(a * b + c + step.each(x, lag=5, before="wrap") * d)
        step.feed(b, value)
        step.feed(d, a)
        values = step.collect(value)
    return values, step.final(a), step.final(b), step.final(d)


def equal_lags_by_hand(x, init, reverse):
    steps = x.shape[0]
    a = Past(ag.stack([init] * 3), steps, reverse)
    d = Past(ag.stack([init * 2.0] * 3), steps, reverse)
    for t in a.order:
        other = x[(t - 5) % steps]
        a.values[t] = ag.sin(a.ago(t, 3) * a.ago(t, 3) + a.ago(t, 2) + other * d.ago(t, 3))
        d.values[t] = a.ago(t, 3)
    return a.all((2,)), a.last(3), a.last(3), d.last(3)


SYSTEMS = {
    "AR": (autoregression, autoregression_by_hand, [(), (3,), (3,)]),
    "NARX": (narx, narx_by_hand, [(2,), (2, 2), (5, 2), (2, 2), (2, 2)]),
    "dilated": (dilated, dilated_by_hand, [(2,), (2,), (2, 2)]),
    "equal": (equal_lags, equal_lags_by_hand, [(2,), (2,)]),
}
EACH_SYSTEM = pytest.mark.parametrize("name", SYSTEMS)


def arguments(name, steps):
    """Return arrays for a system: a sequence of `steps`, and the rest."""
    rng = np.random.default_rng(7)
    first, *shapes = SYSTEMS[name][2]
    return [rng.uniform(-0.8, 0.8, shape) for shape in ((steps, *first), *shapes)]


def weighed(fn, *more):
    """Return the sum of the outputs of `fn`, each element with another weight."""

    def loss(*args):
        total = 0.0
        for i, y in enumerate(fn(*args, *more)):
            total = total + (y * np.cos(i + np.arange(y.size)).reshape(y.shape)).sum()
        return total

    return loss


def assert_all_same(found, wanted, tolerance=0.0):
    for a, b in zip(found, wanted, strict=True):
        assert_same(a, b, tolerance)


@BOTH_WAYS
@pytest.mark.parametrize("steps", LENGTHS)
@EACH_SYSTEM
def test_systems_equal_loops_by_hand(name, steps, reverse):
    drawn, by_hand, _ = SYSTEMS[name]
    args = arguments(name, steps)
    nodes = [ag.tensor(x) for x in args]
    assert_all_same(drawn(*nodes, reverse), by_hand(*nodes, reverse))
    numbers = tuple(range(len(args)))
    f, g = weighed(drawn, reverse), weighed(by_hand, reverse)
    assert_all_same(ag.grad(f, numbers)(*args), ag.grad(g, numbers)(*args), 1e-13)
    directions = [np.sin(1 + np.arange(x.size)).reshape(x.shape) for x in args]
    assert_all_same(ag.jvp(f, args, directions), ag.jvp(g, args, directions), 1e-12)
    assert_all_same(ag.hvp(f, args, directions), ag.hvp(g, args, directions), 1e-12)


@BOTH_WAYS
@EACH_SYSTEM
def test_systems_against_finite_differences(name, reverse):
    ag.check_grad(weighed(SYSTEMS[name][0], reverse), tuple(arguments(name, 6)), order=2)


@BOTH_WAYS
@EACH_SYSTEM
def test_graphs_resize_unroll_and_are_saved(name, reverse):
    drawn, by_hand, _ = SYSTEMS[name]
    graph = ag.trace(lambda *xs: drawn(*xs, reverse), *arguments(name, 9))
    first = next(iter(graph.inputs))
    for steps in LENGTHS:
        args = arguments(name, steps)
        resized = graph.resize(**{first: args[0].shape})
        feed = dict(zip(resized.inputs, args, strict=True))
        wanted = by_hand(*map(ag.tensor, args), reverse)
        forms = [resized, resized.unroll(), resized.unroll(factor=2), loads(dumps(resized))]
        for form in forms:
            assert_all_same(form.run(**feed).values(), wanted)
    assert str(loads(dumps(graph))) == str(graph)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 14), st.booleans())
def test_random_linear_recurrences(lags, steps, reverse):
    """y[t] = sum of y[t - lag] / (2 n) + x[t], for any lags, and its gradient unrolled."""
    rng = np.random.default_rng(steps)
    x, history = rng.normal(size=steps), rng.normal(size=max(lags))

    def drawn(x, history):
        with LoopNode("linear", reverse=reverse) as step:
            ports = step.branch("y", history=history, lags=lags)
            y = step.each(x)
            for port in ports:
                y = y + port * (0.5 / len(lags))
            step.feed(ports[-1], y)
            ys = step.collect(y)
        return ys, *map(step.final, ports)

    wanted = Past(ag.tensor(history), steps, reverse)
    for t in wanted.order:
        wanted.values[t] = ag.tensor(x)[t]
        for lag in lags:
            wanted.values[t] = wanted.values[t] + wanted.ago(t, lag) * (0.5 / len(lags))
    lasts = [wanted.last(lag) if lag > 1 else wanted.last(1)[0] for lag in lags]
    assert_all_same(drawn(ag.tensor(x), ag.tensor(history)), [wanted.all(()), *lasts])
    graph = ag.trace(weighed(drawn), x, history)
    rolled, unrolled = graph.grad(wrt=["x0", "x1"]), graph.unroll().grad(wrt=["x0", "x1"])
    feed = dict(zip(graph.inputs, (x, history), strict=True))
    assert_all_same(rolled.run(**feed).values(), unrolled.run(**feed).values(), 1e-13)


# Recurrences whose solution is known.


def test_fibonacci_numbers_in_integers():
    with LoopNode("fibonacci", length=90) as step:
        a, b = step.branch("f", history=np.array([0, 1]), lags=(1, 2))
        f = a + b
        step.feed(a, f)
        numbers = step.collect(f)
    known = [0, 1]
    while len(known) < 92:
        known.append(known[-1] + known[-2])
    assert numbers.dtype == np.int64
    assert numbers.value.tolist() == known[2:]
    assert step.final(b).value.tolist() == known[-2:]
    assert known[90] == 2880067194370816120


def oscillator(c, history, steps):
    """Return q[t+1] = 2 q[t] - q[t-1] - c q[t]: Stoermer and Verlet's rule for q'' = -w^2 q."""
    with LoopNode("verlet", length=steps) as step:
        q, before = step.branch("q", history=history, lags=(1, 2))
        after = 2.0 * q - before - c * q
        step.feed(q, after)
        qs = step.collect(after)
    return qs


def test_harmonic_oscillator_by_stoermer_and_verlet():
    """With c = 2 - 2 cos(a) the solution through cos(-2a), cos(-a) is cos(at)."""
    steps, angle = 1000, 0.07
    history = np.cos([-2 * angle, -angle])
    qs = oscillator(2 - 2 * np.cos(angle), ag.tensor(history), steps)
    np.testing.assert_allclose(qs.value, np.cos(angle * np.arange(steps)), rtol=0, atol=1e-10)

    def end(angle):
        start = ag.stack([ag.cos(-2.0 * angle), ag.cos(-angle)])
        return oscillator(2.0 - 2.0 * ag.cos(angle), start, steps)[-1]

    slope = ag.grad(end)(np.array(angle))
    np.testing.assert_allclose(slope.value, -999 * np.sin(999 * angle), rtol=1e-8)


def test_going_on_from_the_last_values_is_one_loop():
    x, _, history = arguments("AR", 11)
    a = np.array([0.4, -0.3, 0.2])
    whole = autoregression(ag.tensor(x), a, history, False)
    first = autoregression(ag.tensor(x[:7]), a, history, False)
    second = autoregression(ag.tensor(x[7:]), a, first[1], False)
    assert_same(ag.concat([first[0], second[0]]), whole[0])
    assert_all_same(second[1:], whole[1:])


# Per-step inputs of other steps.


def moved(xs, **how):
    """Return what a loop sees of `xs` at another step, stacked."""
    with LoopNode("moved") as step:
        ys = step.collect(step.each(xs, **how))
    return ys


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("k", [1, 2, 3, 7])
@pytest.mark.parametrize("rule", ["edge", "wrap", 0.5])
def test_what_lies_outside_is_what_pad_says(steps, k, rule):
    xs = np.random.default_rng(0).normal(size=(steps, 2))
    mode = {"mode": rule} if isinstance(rule, str) else {"constant_values": rule}
    assert_same(moved(xs, lag=k, before=rule), np.pad(xs, ((k, 0), (0, 0)), **mode)[:steps])
    assert_same(moved(xs, lead=k, after=rule), np.pad(xs, ((0, k), (0, 0)), **mode)[-steps:])


def test_rows_outside_are_in_the_order_of_time_and_have_gradients():
    xs, past, future = np.arange(4.0), np.array([-30.0, -20.0, -10.0]), np.array([40.0, 50.0])
    assert moved(xs, lag=2, before=past).value.tolist() == [-20, -10, 0, 1]
    assert moved(xs, lag=3, before=past).value.tolist() == [-30, -20, -10, 0]
    assert moved(xs, lead=1, after=future).value.tolist() == [1, 2, 3, 40]
    assert moved(xs, lead=2, after=7).value.tolist() == [2, 3, 7, 7]

    def loss(xs, past, future):
        return weighed(lambda: (moved(xs, lag=2, before=past), moved(xs, lead=2, after=future)))()

    g = ag.grad(loss, (0, 1, 2))(xs, past, future)
    w, v = np.cos(np.arange(4)), np.cos(1 + np.arange(4))
    assert_same(g[0], np.array([w[2], w[3], v[0], v[1]]), 1e-15)
    assert_same(g[1], np.array([0, w[0], w[1]]), 1e-15)
    assert_same(g[2], v[2:], 1e-15)


def test_rows_outside_of_a_constant_sequence_have_gradients():
    steps = np.arange(4.0)

    def product(p):
        ago, ahead = moved(steps, lag=2, before=p), moved(steps, lead=1, after=2.0)
        return (ago * ahead).sum()  # (p, p, 0, 1) * (1, 2, 3, 2)

    assert ag.grad(product)(np.array(0.3)).value == 3.0


def test_numbers_take_the_dtype_of_the_sequence():
    assert moved(np.arange(3), lag=1, before=-1).value.tolist() == [-1, 0, 1]
    assert moved(np.ones(3, np.float32), lag=1, before=0.5).dtype == np.float32
    flags = moved(np.array([True, True]), lead=1, after=False)
    assert (flags.dtype, flags.value.tolist()) == (np.bool_, [True, False])


def test_all_lags_of_a_sequence_are_one_op():
    xs, row, pasts = ag.input("x", (6, 3)), ag.input("row", (3,)), ag.input("pasts", (4, 3))
    with LoopNode("many") as step:
        parts = [step.each(xs, lag=k, before=row) for k in (1, 4, 1)]
        parts += [step.each(xs, lead=k, after=0.0) for k in (2, 3)]
        parts.append(step.each(xs, lag=2, before=pasts))
        total = step.collect(ag.stack(parts))
    graph = ag.Graph([xs, row, pasts], {"total": total})
    shifts = [node.attrs["lags"] for node in graph.nodes if node.op.name == "delays"]
    assert shifts == [(1, 4, -2, -3), (2,)]
    values = graph.run(x=np.ones((6, 3)), row=np.zeros(3), pasts=np.full((4, 3), 2.0))["total"]
    assert values[0, :, 0].tolist() == [0, 0, 0, 1, 1, 2]


def test_lags_that_take_given_rows_share_their_memory():
    delays = ag.node.OPS["delays"]
    a, b, c = delays(np.ones((5, 2)), np.zeros(()), lags=(1, 2, 4), before="fill")
    assert np.shares_memory(a, b)
    assert np.shares_memory(b, c)


# In all forms of loops.


def test_nested_loops_with_lags_at_both_levels():
    rng = np.random.default_rng(3)
    xs, start, w = rng.normal(size=(4, 5, 2)), rng.normal(size=(2, 2)), rng.normal(size=(2, 2))

    def drawn(xs, start, w):
        with LoopNode("rows") as rows:
            row, above = rows.each(xs), rows.each(xs, lag=1, before=0.0)
            s1, s2 = rows.branch("s", history=start, lags=(1, 2))
            with LoopNode("columns", reverse=True) as columns:
                x = columns.each(row) + columns.each(above, lag=2, before="edge")
                h = columns.branch("h", s2, lag=3)
                value = ag.tanh(x @ w + h * s1)
                columns.feed(h, value)
            last = columns.final(h)
            rows.feed(s1, last[0])
            out = rows.collect(last)
        return out, rows.final(s2)

    def by_hand(xs, start, w):
        s = Past(start, 4, False)
        outs = []
        for i in s.order:
            h = Past(ag.stack([s.ago(i, 2)] * 3), 5, True)
            above = xs[i - 1] if i else xs[0] * 0.0
            for t in h.order:
                x = xs[i][t] + above[max(t - 2, 0)]
                h.values[t] = ag.tanh(x @ w + h.ago(t, 3) * s.ago(i, 1))
            outs.append(h.last(3))
            s.values[i] = outs[-1][0]
        return ag.stack(outs), s.last(2)

    args = (xs, start, w)
    assert_all_same(drawn(*map(ag.tensor, args)), by_hand(*map(ag.tensor, args)))
    numbers = (0, 1, 2)
    wanted = ag.grad(weighed(by_hand), numbers)(*args)
    assert_all_same(ag.grad(weighed(drawn), numbers)(*args), wanted, 1e-13)
    directions = [np.cos(x) for x in args]
    found = ag.hvp(weighed(drawn), args, directions)
    assert_all_same(found, ag.hvp(weighed(by_hand), args, directions), 1e-12)
    graph = ag.trace(drawn, *args)
    feed = dict(zip(graph.inputs, args, strict=True))
    assert_all_same(graph.unroll().run(**feed).values(), graph.run(**feed).values())


def test_integer_states_and_branches_among_delayed_states():
    def drawn(x, h0):
        with LoopNode("mixed") as step:
            count = step.branch("count", np.array(3), lag=2)
            h = step.branch("h", h0, lag=3)
            value = cond(count > 4, lambda h: ag.sin(h), lambda h: h * 2.0, h) + step.each(x)
            step.feed(h, value)
            step.feed(count, count + 1)
            hs = step.collect(value)
        return hs, step.final(h), step.final(count)

    x, h0 = np.linspace(-1, 1, 9), np.array(0.4)
    hs, last, counts = drawn(ag.tensor(x), ag.tensor(h0))
    wanted, known = [], [0.4] * 3
    for t in range(9):
        value = known[t]
        known.append((np.sin(value) if 3 + t // 2 > 4 else value * 2) + x[t])
        wanted.append(known[-1])
    np.testing.assert_allclose(hs.value, wanted, rtol=1e-15)
    np.testing.assert_allclose(last.value, known[-3:], rtol=1e-15)
    assert counts.value.tolist() == [7, 8]
    ag.check_grad(lambda x, h0: weighed(lambda *a: drawn(*a)[:2])(x, h0), (x, h0), order=2)


RAGGED = np.array([6, 2, 0, 4, 1])


def ragged_system(x, before, after, history, w, reverse, **how):
    with LoopNode("ragged", reverse=reverse, **how) as step:
        seen = step.each(x) * step.each(x, lag=2, before=before) + step.each(
            x, lag=3, before="wrap"
        )
        for lead, rule in ((1, "wrap"), (3, "edge"), (2, after)):
            seen = seen * 0.5 - step.each(x, lead=lead, after=rule)
        h1, h3 = step.branch("h", history=history, lags=(1, 3))
        h = ag.tanh(seen + h1 * w + h3 * 0.5)
        step.feed(h1, h)
        hs = step.collect(h)
    return hs, step.final(h3), step.final(h1)


def rows_alone(x, before, after, history, w, reverse):
    """Return what rows give that run each by itself, with what is collected filled up by zeros."""
    rows = []
    for b, n in enumerate(RAGGED.tolist()):
        args = (x[:n, b], before[:, b], after[:, b], history[:, b])
        hs, h3, h1 = ragged_system(*args, w, reverse)
        rows.append((ag.pad(hs, ((0, 6 - n), (0, 0))), h3, h1))
    hs, h3, h1 = zip(*rows, strict=True)
    return ag.stack(hs, axis=1), ag.stack(h3, axis=1), ag.stack(h1)


@BOTH_WAYS
@pytest.mark.parametrize("ragged", ["shrink", "mask"])
def test_ragged_rows_get_what_they_get_alone(ragged, reverse):
    rng = np.random.default_rng(11)
    args = [rng.normal(size=(n, 5, 2)) for n in (6, 2, 2, 3)] + [rng.normal(size=2)]
    for b, n in enumerate(RAGGED):
        args[0][n:, b] = np.nan  # no padding is ever looked at
    how = {"lengths": RAGGED, "ragged": ragged}

    def drawn(*args):
        return ragged_system(*args, reverse, **how)

    nodes = [ag.tensor(x) for x in args]
    assert_all_same(drawn(*nodes), rows_alone(*nodes, reverse), 1e-15)
    numbers = tuple(range(5))
    wanted = ag.grad(weighed(rows_alone, reverse), numbers)(*args)
    assert_all_same(ag.grad(weighed(drawn), numbers)(*args), wanted, 1e-13)
    directions = [np.cos(np.arange(x.size)).reshape(x.shape) for x in args]
    found = ag.hvp(weighed(drawn), args, directions)
    assert_all_same(found, ag.hvp(weighed(rows_alone, reverse), args, directions), 1e-12)


def test_loops_with_lags_inside_of_ragged_loops_run_for_fewer_rows():
    lengths = np.array([3, 0, 2, 1])

    def drawn(xs, start, w, **how):
        with LoopNode("outer", **how) as outer:
            x, s = outer.each(xs), outer.branch("s", start, lag=2)
            parts = ag.swapaxes(x, 0, 1) if how else x
            with LoopNode("inner") as inner:
                seen = inner.each(parts, lag=2, before="edge") + inner.each(parts, lead=1, after=s)
                h = inner.branch("h", s, lag=3)
                inner.feed(h, ag.tanh(seen + h * w))
            last = inner.final(h)
            outer.feed(s, last[0] + last[2])
            out = outer.collect(last[1])
        return out, outer.final(s)

    rng = np.random.default_rng(4)
    args = rng.normal(size=(3, 4, 5, 2)), rng.normal(size=(4, 2)), rng.normal(size=2)
    xs, start, w = map(ag.tensor, args)
    out, last = drawn(xs, start, w, lengths=lengths)
    for b, n in enumerate(lengths):
        alone = drawn(xs[:n, b], start[b], w)
        assert_all_same((out[:n, b], last[:, b]), alone, 1e-15)
    ag.check_grad(weighed(lambda *xs: drawn(*xs, lengths=lengths)), args, order=1)


@BOTH_WAYS
@pytest.mark.parametrize("limit", [0.0, 2.0, 99.0])
def test_loops_that_stop_count_from_where_they_begin(limit, reverse):
    def drawn(x, history):
        with LoopNode("stops", reverse=reverse) as step:
            h1, h3 = step.branch("h", history=history, lags=(1, 3))
            h = h1 * 0.5 + h3 * 0.25 + step.each(x, lead=1, after=0.0)
            step.feed(h1, h)
            step.until(h > limit)
            hs = step.collect(h)
        return hs, step.final(h3), step.final(h1)

    def by_hand(x, history):
        h = Past(history, 8, reverse)
        zero = ag.zeros(())
        for t in h.order:
            value = h.ago(t, 1) * 0.5 + h.ago(t, 3) * 0.25 + (x[t + 1] if t < 7 else zero)
            h.values[t] = value
            if value.value > limit:
                break
        rows = [h.values.get(s, zero) for s in range(8)]
        first = t if reverse else t - 2
        return ag.stack(rows), ag.stack([h.values[first + j] for j in range(3)]), h.values[t]

    x, history = np.linspace(0.3, 0.8, 8), np.array([0.1, 0.2, 0.4])
    nodes = ag.tensor(x), ag.tensor(history)
    assert_all_same(drawn(*nodes), by_hand(*nodes))
    wanted = ag.grad(weighed(by_hand), (0, 1))(x, history)
    assert_all_same(ag.grad(weighed(drawn), (0, 1))(x, history), wanted, 1e-14)


@BOTH_WAYS
@pytest.mark.parametrize("block", [1, 2, 3, 5])
def test_truncated_gradients_stay_in_their_block_at_every_lag(block, reverse):
    def drawn(x, history):
        with LoopNode("truncated", reverse=reverse, truncate=block) as step:
            h1, h4 = step.branch("h", history=history, lags=(1, 4))
            h = ag.sin(h1 + 0.5 * h4 + step.each(x))
            step.feed(h4, h)
            hs = step.collect(h)
        return hs, step.final(h1)

    def by_hand(x, history):
        h = Past(history, 9, reverse)
        for number, t in enumerate(h.order):
            if number and number % block == 0:  # what was computed, or given, becomes constant
                h.values = {s: ag.stop_gradient(value) for s, value in h.values.items()}
            h.values[t] = ag.sin(h.ago(t, 1) + 0.5 * h.ago(t, 4) + x[t])
            outputs[t] = h.values[t]
        return ag.stack([outputs[t] for t in range(9)]), outputs[t]

    outputs = {}
    x, history = np.linspace(-1, 1, 9), np.array([0.1, 0.2, 0.4, -0.3])
    nodes = ag.tensor(x), ag.tensor(history)
    assert_all_same(drawn(*nodes), by_hand(*nodes))
    wanted = ag.grad(weighed(by_hand), (0, 1))(x, history)
    assert_all_same(ag.grad(weighed(drawn), (0, 1))(x, history), wanted, 1e-14)


@BOTH_WAYS
@pytest.mark.parametrize("in_axes", [(0, None, 0, None, None), (None, 0, None, 0, 0)])
def test_vmap_is_a_loop_over_examples(in_axes, reverse):
    rng = np.random.default_rng(2)
    several = [rng.normal(size=(3, *x.shape)) for x in arguments("NARX", 6)]
    args = [x if axis == 0 else x[0] for x, axis in zip(several, in_axes, strict=True)]

    def gradients(*args):
        return ag.grad(weighed(narx, reverse), tuple(range(5)))(*args)

    for fn, tolerance in ((lambda *xs: narx(*xs, reverse), 1e-15), (gradients, 1e-13)):
        found = ag.vmap(fn, in_axes)(*args)
        for i in range(3):
            example = [x[i] if axis == 0 else x for x, axis in zip(args, in_axes, strict=True)]
            single = fn(*map(ag.tensor, example))
            assert_all_same([y[i] for y in found], single, tolerance)


# Faults, planted in the gradient and in the ring.


def gradient_lags(change):
    """Plant a fault: the gradient loop's states of lag k > 1 are `change`d, shapes kept right."""

    def plant(monkeypatch):
        real = gradient.loop

        def loop(*inputs, **attrs):
            lags = attrs.get("lags")
            if not (attrs["body"].name.endswith("_grad") and lags):
                return real(*inputs, **attrs)
            return change(real, list(inputs), attrs)

        monkeypatch.setattr(gradient, "loop", loop)

    return plant


def one_less(real, inputs, attrs):
    """Every lag k > 1 is k - 1: the first row is not read, and comes back as zero."""
    lags, first = attrs["lags"], attrs["shared"]
    for i, lag in enumerate(lags):
        if lag > 1:
            inputs[first + i] = inputs[first + i][1:] if lag > 2 else inputs[first + i][1]
    outputs = list(real(*inputs, **{**attrs, "lags": tuple(max(1, lag - 1) for lag in lags)}))
    for i, lag in enumerate(lags):
        if lag > 1:
            rows = outputs[i] if lag > 2 else outputs[i][None]
            outputs[i] = ag.concat([rows[:1] * 0.0, rows])
    return outputs


def rows_turned(real, inputs, attrs):
    """The rows a delayed gradient starts from are taken in the opposite order."""
    for i, lag in enumerate(attrs["lags"]):
        if lag > 1:
            inputs[attrs["shared"] + i] = ag.flip(inputs[attrs["shared"] + i], 0)
    return real(*inputs, **attrs)


def not_reversed(real, inputs, attrs):
    return real(*inputs, **{**attrs, "reverse": not attrs["reverse"]})


def ring_read_late(monkeypatch):
    real = running.DelayLine.read
    monkeypatch.setattr(running.DelayLine, "read", lambda self, t: real(self, t + 1))


def ring_not_turned(monkeypatch):
    monkeypatch.setattr(running.DelayLine, "final", lambda self, steps: self.ring)


FAULTS = {
    "lag off by one in the gradient": gradient_lags(one_less),
    "rows in the opposite order": gradient_lags(rows_turned),
    "gradient not reversed": gradient_lags(not_reversed),
    "ring read one place further": ring_read_late,
    "last values by place, not by time": ring_not_turned,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(monkeypatch, fault):
    FAULTS[fault](monkeypatch)
    with pytest.raises(AssertionError):
        test_systems_equal_loops_by_hand("NARX", 13, False)


@pytest.mark.parametrize("fault", list(FAULTS)[:3])
def test_planted_faults_are_caught_by_differences(monkeypatch, fault):
    FAULTS[fault](monkeypatch)
    with pytest.raises(ag.GradientError, match="is wrong"):
        ag.check_grad(weighed(narx, False), tuple(arguments("NARX", 13)), order=1)


# Which states carry a gradient is known before anything is drawn.


def chain_of_states(count):
    xs = ag.input("xs", (4, 2))
    with LoopNode("line") as step:
        ports = [step.branch(f"h{i}", np.zeros(2)) for i in range(count)]
        new = ag.tanh(step.each(xs) + ports[-1])
        for port, value in zip(ports, [new, *ports[:-1]], strict=True):
            step.feed(port, value)
        ys = step.collect(new)
    return ag.Graph([xs], {"loss": ag.sum(ys * ys)})


def test_a_chain_of_states_is_differentiated_once(monkeypatch):
    drawn = []
    real = gradient.pull_back
    monkeypatch.setattr(gradient, "pull_back", lambda *args: drawn.append(1) or real(*args))
    graph = chain_of_states(200).grad(wrt=["xs"])
    (node,) = [node for node in graph.nodes if node.name == "line_grad"]
    assert node.attrs["states"] == 200
    assert len(drawn) == 1


def test_states_reached_through_a_loop_inside_are_found_while_drawing():
    def drawn(x, a):
        with LoopNode("outer") as outer:
            p, q = outer.branch("p", a), outer.branch("q", a * 2.0)
            idle = outer.branch("idle", a)
            with LoopNode("inner", length=2) as inner:
                s = inner.branch("s", q)
                inner.feed(s, ag.sin(s) + p)
            outer.feed(p, inner.final(s) * outer.each(x))
            outer.feed(q, p)
            outer.feed(idle, idle * q)
        return outer.final(p)

    x, a = np.linspace(0.5, 1.0, 3), np.array(0.3)
    ag.check_grad(drawn, (x, a), order=2)
    graph = ag.trace(drawn, x, a).grad(wrt=["x", "a"])
    (node,) = [node for node in graph.nodes if node.name == "outer_grad"]
    assert list(node.bodies[0].inputs)[:2] == ["g_p", "g_q"]
    assert not any("idle" in name for name in node.bodies[0].inputs)
