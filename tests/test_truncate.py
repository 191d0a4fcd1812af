"""Truncated backpropagation: loops by hand with `stop_gradient` where a block of steps begins."""

from __future__ import annotations

import numpy as np
import pytest

import autograd as ag
from autograd.tree import flatten
from loops import LoopNode, bidirectional, scan, stacked
from tests.loop_reference import assert_same
from tests.oracles import published_numbers as published
from tests.oracles.time_rnn import TimeRNN, reference_block

RNG = np.random.default_rng(8)
T = 7
XS = RNG.uniform(-1, 1, (T, 2, 3))
H0 = RNG.uniform(-1, 1, (2, 3))
W = RNG.uniform(-1, 1, (3, 3))
OUT = RNG.uniform(-1, 1, (T, 2, 3))
"""What each output counts in the loss."""


def cell(w):
    def body(h, x):
        h = ag.tanh(h @ w + x)
        return h, h

    return body


def run(xs, h0, w, truncate, reverse=False):
    return scan(cell(w), h0, xs, reverse=reverse, name="rnn", truncate=truncate)


def by_hand(xs, h0, w, truncate, reverse=False):
    """Return (last, hs), step by step; every `truncate` steps the state becomes a constant."""
    order = list(range(xs.shape[0]))
    h, rows = h0, {}
    for number, t in enumerate(reversed(order) if reverse else order):
        if number and number % truncate == 0:
            h = ag.stop_gradient(h)
        h, rows[t] = cell(w)(h, xs[t])
    return h, ag.stack([rows[t] for t in order])


def loss_of(form, **options):
    def loss(xs, h0, w):
        last, hs = form(xs, h0, w, **options)
        return (hs * OUT[: xs.shape[0]]).sum() + (last * last).sum()

    return loss


def gradients(loss, *args):
    return flatten(ag.grad(loss, tuple(range(len(args))))(*args))[0]


def in_blocks(xs, h0, w, truncate, reverse):
    """Return the gradients of the same loss, each block a problem of its own with a fixed start."""
    steps = list(range(T))[::-1] if reverse else list(range(T))
    blocks = [sorted(steps[i : i + truncate]) for i in range(0, T, truncate)]
    dxs, dh0, dw, start = np.zeros_like(xs), None, np.zeros_like(w), h0
    for block in blocks:

        def loss(xs, h, w, block=block, end=block is blocks[-1]):
            last, hs = scan(cell(w), h, xs, reverse=reverse)
            total = (hs * OUT[block]).sum()
            return total + (last * last).sum() if end else total

        dx, dh, d_w = gradients(loss, xs[block], start, w)
        dxs[block] = dx.value
        dw += d_w.value
        dh0 = dh if dh0 is None else dh0
        start = scan(cell(w), start, xs[block], reverse=reverse)[0].value
    return dxs, dh0, dw


class TestLoops:
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("truncate", [1, 2, 3, 6, 7, 100])
    def test_values_stay_and_gradients_are_those_of_the_blocks(self, truncate, reverse):
        for x, y in zip(
            run(XS, H0, W, truncate, reverse), run(XS, H0, W, None, reverse), strict=True
        ):
            assert_same(x, y)
        dxs, dh0, dw = gradients(loss_of(run, truncate=truncate, reverse=reverse), XS, H0, W)
        block_dxs, block_dh0, block_dw = in_blocks(XS, H0, W, truncate, reverse)
        assert_same(dxs, block_dxs)
        assert_same(dh0, block_dh0)
        assert_same(dw, block_dw, 1e-14)

    @pytest.mark.parametrize("truncate", [T, T + 1, 2**31 - 1])
    def test_blocks_as_long_as_the_loop_change_no_bit(self, truncate):
        found = gradients(loss_of(run, truncate=truncate), XS, H0, W)
        for x, y in zip(found, gradients(loss_of(run, truncate=None), XS, H0, W), strict=True):
            assert_same(x, y)

    def test_what_matters_only_through_an_earlier_block_has_gradient_zero(self):
        def loss(xs, h0):
            return run(xs, h0, W, 3)[0].sum()

        dxs, dh0 = gradients(loss, XS, H0)
        assert_same(dxs[:6], np.zeros((6, 2, 3)))
        assert np.abs(dxs.value[6]).min() > 0
        assert_same(dh0, np.zeros_like(H0))

    def test_an_infinite_gradient_does_not_leave_its_block(self):
        def loss(x, truncate):
            with LoopNode("loop", length=2, truncate=truncate) as loop:
                h = loop.branch("h", x)
                loop.feed(h, ag.where(loop.index == 0, h * 0.0, ag.sqrt(h)))
            return loop.final(h)

        with np.errstate(divide="ignore", invalid="ignore"):
            assert np.isnan(ag.grad(loss)(2.0, None).item())
            assert ag.grad(loss)(2.0, 1).item() == 0.0

    @pytest.mark.parametrize("steps", [0, 1])
    def test_no_step_and_one_step(self, steps):
        loss = loss_of(run, truncate=1)
        wanted = gradients(loss_of(run, truncate=None), XS[:steps], H0, W)
        for x, y in zip(gradients(loss, XS[:steps], H0, W), wanted, strict=True):
            assert_same(x, y)

    def test_order_two_and_both_modes_equal_the_loop_by_hand(self):
        args, along = (XS, H0, W), tuple(RNG.normal(size=x.shape) for x in (XS, H0, W))
        for transform in (ag.hvp, ag.jvp):
            for reverse in (False, True):
                found = transform(loss_of(run, truncate=3, reverse=reverse), args, along)
                wanted = transform(loss_of(by_hand, truncate=3, reverse=reverse), args, along)
                for x, y in zip(flatten(found)[0], flatten(wanted)[0], strict=True):
                    assert_same(x, y, 1e-13)

    def test_forward_mode_is_the_transpose_of_reverse_mode(self):
        along = RNG.normal(size=W.shape)
        _, forward = ag.jvp(lambda w: loss_of(run, truncate=2)(XS, H0, w), (W,), (along,))
        (reverse,) = gradients(lambda w: loss_of(run, truncate=2)(XS, H0, w), W)
        assert forward.item() == pytest.approx((reverse.value * along).sum(), rel=1e-13)

    def test_integers_and_other_states_of_a_tree(self):
        def form(truncating):
            def loss(h0, c0):
                def body(carry, x):
                    h, (c, n) = carry
                    if truncating == "by hand":
                        cut = ag.logical_and(n > 0, n % 2 == 0)
                        h, c = (ag.where(cut, ag.stop_gradient(s), s) for s in (h, c))
                    h = ag.tanh(h @ W + x * c)
                    return (h, (c + h[0] * 0.1, n + 1)), h * n

                truncate = 2 if truncating is True else None
                init = (h0, (c0, np.int64(0)))
                (h, (c, n)), hs = scan(body, init, XS, truncate=truncate)
                return (hs * OUT).sum() + (h * c).sum() * n

            return loss

        assert_same(form(True)(H0, H0[0]), form(False)(H0, H0[0]))
        found, wanted, full = (gradients(form(how), H0, H0[0]) for how in (True, "by hand", False))
        for x, y, z in zip(found, wanted, full, strict=True):
            assert_same(x, y, 1e-15)
            assert np.abs(x.value - z.value).max() > 1e-3

    def test_an_integer_state_is_read_as_it_is(self):
        with LoopNode("count", length=3, truncate=1) as loop:
            n = loop.branch("n", np.int64(0))
            loop.feed(n, n + 2)
        x = ag.input("x")
        with LoopNode("count", length=3, truncate=1) as drawn:
            m = drawn.branch("m", np.int64(0))
            drawn.feed(m, m + 2)
            y = drawn.collect(x * m)
        assert loop.final(n).item() == 6
        assert "where" not in str(ag.Graph(x, {"y": y}))

    @pytest.mark.parametrize("truncated", ["inner", "outer", "both"])
    def test_nested_loops(self, truncated):
        inner_k = None if truncated == "outer" else 2
        outer_k = None if truncated == "inner" else 2
        inputs = RNG.uniform(-1, 1, (4, 5, 2, 3))

        def rolled(h0, w):
            def row(h, xs):
                h, hs = scan(cell(w), h, xs, truncate=inner_k)
                return h, hs.sum()

            h, sums = scan(row, h0, inputs, truncate=outer_k)
            return (h * h).sum() + (sums * np.arange(4.0)).sum()

        def hand(h0, w):
            h, total = h0, 0.0
            for i, xs in enumerate(inputs):
                if outer_k and i and i % outer_k == 0:
                    h = ag.stop_gradient(h)
                h, hs = by_hand(ag.tensor(xs), h, w, inner_k or 100)
                total = total + hs.sum() * float(i)
            return (h * h).sum() + total

        for x, y in zip(gradients(rolled, H0, W), gradients(hand, H0, W), strict=True):
            assert_same(x, y, 1e-14)

    def test_truncated_states_have_what_other_states_have(self):
        with LoopNode("loop", truncate=2) as loop:
            x = loop.each(XS[:, 0, 0])
            h = loop.branch("h", 0.5)
            loop.feed(h, h * 0.5 + x)
            seen = loop.collect(h)
            inside = loop.final(h)
            count = loop.steps
        assert count.item() == T
        assert_same(loop.final(h), inside)
        assert_same(seen[1:], np.array(seen.value[:-1] * 0.5 + XS[:-1, 0, 0]))

    def test_loop_that_stops(self):
        def loss(x, truncate):
            with LoopNode("loop", bound=20, truncate=truncate) as loop:
                h = loop.branch("h", x)
                after = h * 1.5
                loop.feed(h, after)
                loop.until(after > 10.0)
            return loop.final(h)

        assert loss(1.0, 4).item() == 1.5**6
        assert ag.grad(loss)(1.0, 100).item() == 1.5**6
        assert ag.grad(loss)(1.0, 4).item() == 0.0
        assert ag.grad(loss)(3.0, 4).item() == 1.5**3

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("truncate", [1, 2, 3, 5])
    @pytest.mark.parametrize("lags", [(1, 3), (2,), (2, 5)])
    def test_states_from_further_back(self, lags, truncate, reverse):
        """What a block finds is constant, be it a state of an earlier block or an initial one."""

        def rolled(xs, h0, w):
            with LoopNode("rnn", reverse=reverse, truncate=truncate) as loop:
                x = loop.each(xs)
                before = loop.branch("h", h0, lags=lags)
                h = ag.tanh(x + sum(past @ w for past in before))
                loop.feed(before[0], h)
                hs = loop.collect(h)
            return (hs * OUT).sum()

        def hand(xs, h0, w):
            total, known = 0.0, [h0] * max(lags)
            for number, t in enumerate(range(T)[::-1] if reverse else range(T)):
                if number and number % truncate == 0:
                    known = [ag.stop_gradient(h) for h in known]
                known.append(ag.tanh(xs[t] + sum(known[-lag] @ w for lag in lags)))
                total = total + (known[-1] * OUT[t]).sum()
            return total

        args = (XS, H0, W)
        for x, y in zip(gradients(rolled, *args), gradients(hand, *args), strict=True):
            assert_same(x, y, 1e-14)

    @pytest.mark.parametrize("ragged", ["shrink", "mask"])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_rows_of_different_lengths_are_as_each_alone(self, reverse, ragged):
        lengths = np.array([7, 4])

        def together(xs, h0):
            options = {"truncate": 3, "lengths": lengths, "reverse": reverse, "ragged": ragged}
            last, hs = scan(cell(W), h0, xs, **options)
            return (hs * OUT).sum() + (last * last).sum()

        def alone(xs, h0, row):
            n, b = lengths[row], slice(row, row + 1)
            last, hs = scan(cell(W), h0[b], xs[:n, b], truncate=3, reverse=reverse)
            return (hs * OUT[:n, b]).sum() + (last * last).sum()

        wanted = gradients(lambda xs, h0: alone(xs, h0, 0) + alone(xs, h0, 1), XS, H0)
        for x, y in zip(gradients(together, XS, H0), wanted, strict=True):
            assert_same(x, y, 1e-14)

    def test_every_sequence_of_a_batch_by_vmap(self):
        def gradient(xs, h0):
            return ag.grad(lambda x, h: run(x, h, W, 2)[1].sum(), (0, 1))(xs, h0)

        batch = RNG.uniform(-1, 1, (3, T, 3))
        starts = RNG.uniform(-1, 1, (3, 3))
        dxs, dhs = ag.vmap(gradient)(batch, starts)
        for i in range(3):
            dx, dh = gradient(batch[i], starts[i])
            assert_same(dxs[i], dx, 1e-14)
            assert_same(dhs[i], dh, 1e-14)


class TestGraphs:
    def graph(self, reverse=False):
        options = {"truncate": 3, "reverse": reverse}
        return ag.trace(
            lambda xs, h0, w: (run(xs, h0, w, **options)[1] ** 2.0).sum(), XS, H0, W, name="net"
        )

    @pytest.mark.parametrize("reverse", [False, True])
    def test_gradient_graphs_unroll_resize_and_go_through_a_file(self, reverse, tmp_path):
        graph = self.graph(reverse).grad(wrt=["xs", "h0", "w"])
        for steps in (T, 2, 10):
            xs = np.resize(XS, (steps, 2, 3))
            wanted = gradients(
                lambda *a: (by_hand(*a, 3, reverse)[1] ** 2.0).sum(), ag.tensor(xs), H0, W
            )
            resized = self.graph(reverse).resize(xs=xs.shape).grad(wrt=["xs", "h0", "w"])
            resized.save(tmp_path / "net.json")
            for form in (resized, resized.unroll(), ag.Graph.load(tmp_path / "net.json")):
                found = form.run(xs=xs, h0=H0, w=W)
                for name, y in zip(("xs", "h0", "w"), wanted, strict=True):
                    assert_same(found[f"grad_{name}"], y, 1e-14)
        assert not graph.unroll().find(op="loop")

    def test_the_text_shows_what_was_cut(self):
        text = str(self.graph())
        assert "state steps: int64[] <-" in text
        assert "block_start = logical_and(" in text
        assert "h0_2 = where(block_start, stop_gradient_1, h0)" in text

    def test_combined_loops_hand_it_on(self):
        layers = stacked([bidirectional(cell(W), merge="sum"), cell(W)])

        def combined(h0):
            finals, ys = layers(((h0, h0), h0), XS, truncate=3)
            return (ys * OUT).sum() + sum(f.sum() for f in flatten(finals)[0])

        def hand(h0):
            f, hs = by_hand(XS, h0, W, 3)
            b, gs = by_hand(XS, h0, W, 3, reverse=True)
            last, ys = by_hand(hs + gs, h0, W, 3)
            return (ys * OUT).sum() + f.sum() + b.sum() + last.sum()

        assert_same(ag.grad(combined)(H0), ag.grad(hand)(H0), 1e-14)


def test_two_blocks_in_one_loop_have_the_gradients_of_two_calls():
    """The numbers of "Deep Learning from Scratch 2", ch. 5.3: six steps in blocks of three."""
    xs, wx, wh, b = reference_block()
    both = np.concatenate([xs, xs[::-1]], axis=1)
    whole = TimeRNN(wx, wh, b)
    whole.forward(both)
    whole.backward(np.ones((2, 6, 3)))

    def loss(wx, wh, b):
        def step(h, x):
            h = ag.tanh(h @ wh + x @ wx + b)
            return h, h

        return scan(step, np.zeros((2, 3)), np.swapaxes(both, 0, 1), truncate=3)[1].sum()

    first, second = (TimeRNN(wx, wh, b, stateful=True) for _ in range(2))
    first.forward(xs)
    second.h = first.h
    second.forward(xs[::-1])
    for block in (first, second):
        block.backward(np.ones((2, 3, 3)))
    found = gradients(loss, wx, wh, b)
    for name, key, g in zip(("d_wx", "d_wh", "d_b"), ("wx", "wh", "b"), found, strict=True):
        assert_same(g, getattr(first, name) + getattr(second, name), 1e-14)
        gap = np.abs(g.value - getattr(whole, name)).max()
        assert gap == pytest.approx(published.BLOCK_TRUNCATION_GAPS[key], abs=5e-5)


@pytest.mark.parametrize("truncate", [0, -1, 2.0, True, "3", np.float64(3.0), 2**31])
def test_blocks_are_a_whole_number_of_steps(truncate):
    message = r"truncate of loop 'rnn' must be a whole number of steps from 1 to \d+, but is "
    with pytest.raises(ag.GraphError, match=message):
        run(XS, H0, W, truncate)


def feed_what_is_no_state():
    with LoopNode("rnn", length=2, truncate=1) as loop:
        h = loop.branch("h", 1.0)
        loop.feed(h * 1.0, h)


def test_the_port_is_what_branch_returned():
    with pytest.raises(ag.GraphError, match="'rnn' has no such state; pass what its branch"):
        feed_what_is_no_state()
