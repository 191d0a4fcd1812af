"""vmap of loops that their data stop: each example gets what it would get alone."""

import numpy as np
import pytest

import autograd as ag
from autograd import Graph, GraphError
from loops import LoopNode, scan, while_loop
from tests.loop_reference import assert_same
from tests.while_programs import every_program, newton


@every_program
@pytest.mark.parametrize("spread", [0.0, 0.04, 0.4])
def test_vmap_equals_a_loop_over_examples(program, at, spread):
    """Values, gradients and the gradient of the sum, with no warning on the way."""
    batch = at * (1.0 + spread * np.linspace(-1.0, 1.0, 5))

    def value(a):
        return program(while_loop, a)[0]

    values, steps = ag.vmap(lambda a: program(while_loop, a))(batch)
    alone = [program(while_loop, ag.tensor(a)) for a in batch]
    np.testing.assert_allclose(values.value, [float(v) for v, _ in alone], rtol=1e-13)
    assert steps.value.tolist() == [int(n) for _, n in alone]
    slopes = [float(ag.grad(value)(a)) for a in batch]
    for got in (ag.vmap(ag.grad(value))(batch), ag.grad(lambda a: ag.vmap(value)(a).sum())(batch)):
        np.testing.assert_allclose(got.value, slopes, rtol=1e-11, atol=1e-13)
    second = [float(ag.grad(ag.grad(value))(a)) for a in batch]
    got = ag.vmap(ag.grad(ag.grad(value)))(batch)
    np.testing.assert_allclose(got.value, second, rtol=1e-9, atol=1e-11)


def test_vmap_computes_only_what_some_example_computes_alone():
    """Beyond its own last step, sqrt(x - 1) of an example is NaN, and so would be its gradient."""

    def value(x):
        return while_loop(lambda x: x > 1.0, lambda x: ag.sqrt(x - 1.0) * 1.5, x)[0]

    batch = np.array([5.0, 0.3, -2.0, 1.5, 3.0])
    with np.errstate(all="raise"):
        for order in (value, ag.grad(value), ag.grad(ag.grad(value))):
            got = ag.vmap(order)(batch).value
            np.testing.assert_allclose(got, [float(order(ag.tensor(x))) for x in batch], rtol=1e-12)
        hessian = ag.hessian(lambda x: ag.vmap(value)(x).sum())(batch).value
        assert np.isfinite(hessian).all()


def test_vmap_of_an_early_exit_does_not_look_at_later_slices():
    """Slices after an example's stop are zeros, and the body divides by them."""

    def stopping(row, w):
        return scan(
            lambda c, x: ((c[0] + w / x, x), c[0] / x),
            (w, w),
            row,
            until=lambda c, y: ag.stop_gradient(c[1]) != 1.0,
        )

    def value(row, w):
        (h, _), ys, _ = stopping(row, w)
        return h * h + (ys * ys).sum()

    batch = np.array([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0], [1.0, 1.0, 0.25]])
    with np.errstate(all="raise"):
        for fn in (value, ag.grad(value), ag.grad(ag.grad(value, 1), 1)):
            for axes in ((0, None), (0, 0), (None, 0)):
                rows = batch if axes[0] == 0 else batch[2]
                ws = np.array([0.7, 1.1, -0.4]) if axes[1] == 0 else 0.7
                got = ag.vmap(fn, axes)(rows, ws).value
                for i in range(3):
                    row = rows[i] if axes[0] == 0 else rows
                    w = ws[i] if axes[1] == 0 else ws
                    np.testing.assert_allclose(got[i], fn(row, w).value, rtol=1e-12, atol=1e-14)
    taken = ag.vmap(lambda row: stopping(row, 1.0)[2])(batch)
    assert taken.value.tolist() == [2, 1, 3]


def test_vmap_in_vmap_and_of_nothing():
    def value(a):
        return newton(while_loop, a)

    at = np.array([[2.0, 7.0, 1.0], [0.3, 4.0, 90.0]])
    values, steps = ag.vmap(ag.vmap(value))(at)
    flat, counts = ag.vmap(value)(at.reshape(-1))
    assert_same(values, flat.value.reshape(2, 3), 1e-14)
    assert_same(steps, counts.value.reshape(2, 3))
    for fn in (lambda a: value(a)[0], ag.grad(lambda a: value(a)[0])):
        assert ag.vmap(fn)(np.zeros(0)).shape == (0,)


def test_vmap_of_a_drawn_gradient_is_a_graph_that_can_be_saved(tmp_path):
    graph = ag.trace(lambda a: ag.vmap(ag.grad(lambda a: newton(while_loop, a)[0]))(a), (3,))
    graph.save(tmp_path / "graph.json")
    at = np.array([2.0, 9.0, 40.0])
    for same in (graph, Graph.load(tmp_path / "graph.json")):
        np.testing.assert_allclose(same.run(a=at)["output"], 0.5 / np.sqrt(at), rtol=1e-7)


def test_vmap_of_a_common_stop_condition_keeps_one():
    def run(a, n):
        return while_loop(lambda c: c[1] < n, lambda c: (c[0] * a, c[1] + 1), (a, np.int64(0)))

    graph = ag.trace(
        lambda a, n: ag.vmap(run, (0, None))(a, n)[0][0], (3,), ag.Spec((), np.dtype("int64"))
    )
    assert graph.run(a=np.array([1.0, 2.0, 3.0]), n=np.int64(2))["output"].tolist() == [
        1.0,
        8.0,
        27.0,
    ]
    loop = graph.find(op="loop")[0]
    assert loop.attrs["states"] == 4


def test_vmap_of_a_ragged_loop():
    lengths = np.array([2, 0, 3])

    def run(xs, w):
        with LoopNode("ragged", lengths=lengths) as loop:
            x = loop.each(xs)
            h = loop.branch("h", ag.zeros((3, 2)))
            after = ag.tanh(x + h @ w)
            loop.feed(h, after)
            hs = loop.collect(after * x)
        return loop.final(h).sum() + (hs * hs).sum()

    rng = np.random.default_rng(3)
    xs, w = rng.normal(size=(4, 3, 3, 2)), rng.normal(size=(4, 2, 2))
    for fn in (run, lambda xs, w: ag.grad(run, 1)(xs, w), lambda xs, w: ag.grad(run)(xs, w)):
        got = ag.vmap(fn)(xs, w)
        for i in range(4):
            assert_same(got.value[i], fn(xs[i], w[i]), 1e-13)
    got = ag.grad(lambda w: ag.vmap(run, (0, None))(xs, w).sum())(w[0])
    assert_same(got, sum(ag.grad(run, 1)(x, w[0]).value for x in xs), 1e-12)


def test_vmap_of_other_lengths_for_each_example_is_refused():
    def run(xs, lengths):
        return scan(lambda h, x: (h + x, None), ag.zeros(3), xs, lengths=lengths)[0]

    with pytest.raises(GraphError, match=r"ragged loop 'scan' has other lengths .*ragged=\"mask\""):
        ag.vmap(run)(np.ones((2, 4, 3)), np.array([[1, 2, 3], [4, 0, 1]]))


@pytest.mark.parametrize(("batch", "steps"), [(2, 0), (0, 3), (0, 0), (2, 1)])
def test_early_exits_of_no_steps_and_no_examples(batch, steps):
    def run(xs, h):
        return scan(lambda h, x: (ag.tanh(h + x), h * x), h, xs, until=lambda h, y: h.sum() > 1.0)

    def loss(xs, h):
        h, ys, _ = run(xs, h)
        return h.sum() + ys.sum()

    xs, hs = np.full((batch, steps, 3), 0.5), np.ones((batch, 3))
    finals, rows, taken = ag.vmap(run)(xs, hs)
    assert (finals.shape, rows.shape, taken.shape) == ((batch, 3), (batch, steps, 3), (batch,))
    slopes = ag.vmap(ag.grad(loss, (0, 1)))(xs, hs)
    assert [g.shape for g in slopes] == [(batch, steps, 3), (batch, 3)]
    if steps == 0:
        assert_same(slopes[1], np.ones((batch, 3)))
    for i in range(batch):
        for got, want in zip(slopes, ag.grad(loss, (0, 1))(xs[i], hs[i]), strict=True):
            assert_same(got.value[i], want)


def test_vmap_of_a_reversed_early_exit():
    def run(xs):
        return scan(
            lambda h, x: (h + x * h, h * x), 1.0, xs, reverse=True, until=lambda h, y: h > 2.0
        )

    xs = np.random.default_rng(0).uniform(size=(4, 6))
    mapped = ag.vmap(run)(xs)
    assert len(set(mapped[2].value.tolist())) > 1
    for i, row in enumerate(xs):
        for got, want in zip(mapped, run(row), strict=True):
            assert_same(got.value[i], want, 1e-15)


def test_vmap_of_an_early_exit_over_no_step_whose_start_is_not_known_yet():
    def run(h, xs):
        with LoopNode("loop") as loop:
            before = loop.branch("h", h)
            loop.feed(before, before * loop.each(xs))
            loop.until(ag.sum(before) < 0.5, unless=ag.sum(h) < 0.0)
        return loop.final(before)

    graph = ag.trace(ag.vmap(run), (2, 3), (2, 0, 3))
    hs = np.arange(6.0).reshape(2, 3)
    assert_same(
        graph.run(**dict(zip(graph.inputs, (hs, np.ones((2, 0, 3))), strict=True)))["output"], hs
    )


def delayed(xs, a, reverse=False):
    """Draw a loop of three lags, of which one is the newest, that stops after so much `xs`.

    Return its final states (the last k values where the lag is k), all rows and the steps taken.
    """
    with LoopNode("delayed", reverse=reverse) as loop:
        x = loop.each(xs)
        h1, h2, h4 = loop.branch("h", ag.stack([a, a * 0.5]), lags=(1, 2, 4))
        far = loop.branch("far", ag.sin(a), lag=3)
        total = loop.branch("total", 0.0 * a)
        after = ag.tanh(h1 * x + h2 * far - h4 * a)
        loop.feed(h1, after)
        loop.feed(far, ag.sum(after) * far + x)
        loop.feed(total, total + ag.abs(x))
        loop.until(total + ag.abs(x) > 2.0, unless=a < 0.0)
        rows = loop.collect(after * far)
    finals = [loop.final(state) for state in (h1, h2, h4, far)]
    return (*finals, rows, loop.steps)


def delayed_by_hand(xs, a):
    """Do the same on plain arrays, keeping every value there has been."""
    hs, fars, rows, total = [np.array([a, a * 0.5])] * 4, [np.sin(a)] * 3, np.zeros((len(xs), 2)), 0
    steps = 0
    while steps < len(xs) and not (total > 2.0 if steps else a < 0.0):
        x, far = xs[steps], fars[-3]
        hs.append(np.tanh(hs[-1] * x + hs[-2] * far - hs[-4] * a))
        rows[steps] = hs[-1] * far
        fars.append(hs[-1].sum() * far + x)
        total += abs(x)
        steps += 1
    return hs[-1], np.stack(hs[-2:]), np.stack(hs[-4:]), np.stack(fars[-3:]), rows, steps


def loss_of_delayed(xs, a, reverse=False):
    *outputs, _ = delayed(xs, a, reverse)
    return sum([ag.sum(ag.sin(y) * (i + 1.0)) for i, y in enumerate(outputs)])


# Examples that stop after 0, 1, 2, 4 and 7 (all) steps: fewer than a lag, as many, and more.
DELAYED_XS = np.array([[0.7], [2.5], [1.3], [0.6], [0.2]]) * [1.0, -1.0, 0.9, 1.1, -0.7, 0.8, 1.2]
DELAYED_AS = np.array([-0.4, 0.3, 0.8, 0.5, 0.6])


def test_vmap_of_delayed_states_where_each_example_stops():
    mapped = ag.vmap(delayed)(DELAYED_XS, DELAYED_AS)
    assert mapped[-1].value.tolist() == [0, 1, 2, 4, 7]
    turned = ag.vmap(lambda xs, a: delayed(xs, a, reverse=True))(DELAYED_XS[:, ::-1], DELAYED_AS)
    for i, (xs, a) in enumerate(zip(DELAYED_XS, DELAYED_AS, strict=True)):
        hand = delayed_by_hand(xs, a)
        for got, want in zip(mapped, hand, strict=True):
            assert_same(got.value[i], np.asarray(want), 1e-14)
        alone = delayed(xs[::-1], ag.tensor(a), reverse=True)
        for got, want in zip(turned, alone, strict=True):
            assert_same(got.value[i], want, 1e-14)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_delayed_states_where_each_example_stops(reverse):
    def value(xs, a):
        return loss_of_delayed(xs, a, reverse)

    def slope(xs, a):
        return ag.grad(value, (0, 1))(xs, a)

    def curve(xs, a):
        return ag.hvp(value, (xs, a), (xs * 0.5, a))

    def along(xs, a):
        return ag.jvp(value, (xs, a), (xs * 0.5, a))[1]

    sums = ag.grad(lambda xs, a: ag.vmap(value)(xs, a).sum(), (0, 1))(DELAYED_XS, DELAYED_AS)
    slopes = ag.vmap(slope)(DELAYED_XS, DELAYED_AS)
    curves = ag.vmap(curve)(DELAYED_XS, DELAYED_AS)
    tangents = ag.vmap(along)(DELAYED_XS, DELAYED_AS)
    for i, (xs, a) in enumerate(zip(DELAYED_XS, DELAYED_AS, strict=True)):
        alone = slope(ag.tensor(xs), ag.tensor(a))
        for got, total, want in zip(slopes, sums, alone, strict=True):
            assert_same(got.value[i], want, 1e-13)
            assert_same(total.value[i], want, 1e-13)
        for got, want in zip(curves, curve(ag.tensor(xs), ag.tensor(a)), strict=True):
            assert_same(got.value[i], want, 1e-12)
        assert_same(tangents.value[i], along(ag.tensor(xs), ag.tensor(a)), 1e-13)


def test_finite_differences_of_delayed_states_where_each_example_stops():
    """Where a batch is differentiated, loops that count are mapped over, and mapped over again."""

    def total(a):
        return ag.vmap(loss_of_delayed)(DELAYED_XS, a).sum()

    ag.check_grad(total, DELAYED_AS, order=2)
    second = ag.vmap(ag.grad(ag.grad(loss_of_delayed, 1), 1))
    nested = ag.vmap(second, (None, 0))(DELAYED_XS, np.stack([DELAYED_AS, DELAYED_AS[::-1]]))
    assert_same(nested.value[0], second(DELAYED_XS, DELAYED_AS), 1e-13)
    assert_same(nested.value[1], second(DELAYED_XS, DELAYED_AS[::-1].copy()), 1e-13)


def test_float32_and_drawn_graphs_of_delayed_states_where_each_example_stops():
    xs, a = DELAYED_XS.astype("float32"), DELAYED_AS.astype("float32")
    slope = ag.vmap(ag.grad(loss_of_delayed, 1))
    small = slope(xs, a)
    assert_same(small, slope(DELAYED_XS, DELAYED_AS).value.astype("float32"), 1e-5)
    graph = ag.trace(slope, xs.shape, a.shape)
    given = dict(zip(graph.inputs, (DELAYED_XS, DELAYED_AS), strict=True))
    for same in (graph, graph.unroll(), graph.unroll(factor=2)):
        assert_same(same.run(**given)["output"], slope(DELAYED_XS, DELAYED_AS), 1e-13)


def test_vmap_of_delayed_states_that_only_a_bound_or_nothing_limits():
    """Beyond an example's own stop sqrt(3 - h) is NaN, which must reach neither it nor others."""

    def run(a, bound):
        with LoopNode("delayed", bound=bound) as loop:
            h = loop.branch("h", a, lag=2)
            after = h + a * ag.sqrt(3.0 - h)
            loop.feed(h, after)
            loop.until(after > 3.0)
        return ag.sum(loop.final(h) ** 2), loop.steps

    batch = np.array([1.9, 0.6, 2.7, 0.9])
    with np.errstate(all="raise"):
        for bound in (12, None):
            values, steps = ag.vmap(lambda a, most=bound: run(a, most))(batch)
            assert len(set(steps.value.tolist())) > 1
            for order in (0, 1, 2):

                def wanted(a, most=bound):
                    return run(a, most)[0]

                for _ in range(order):
                    wanted = ag.grad(wanted)
                mapped = ag.vmap(wanted)(batch)
                assert_same(mapped, np.array([float(wanted(ag.tensor(a))) for a in batch]), 1e-12)
            assert_same(values, ag.vmap(lambda a, most=bound: run(a, most)[0])(batch))
