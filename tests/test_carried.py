"""State carried from call to call: the numbers of "Deep Learning from Scratch 2", ch. 5.3."""

from __future__ import annotations

import numpy as np
import pytest

import autograd as ag
from loops import CarriedState, scan
from tests.loop_reference import assert_same, leaf
from tests.oracles import published_numbers as published
from tests.oracles.time_rnn import TimeRNN, reference_block

XS, WX, WH, B = reference_block()
N, T, H = XS.shape[0], XS.shape[1], WH.shape[0]
DECIMALS = {"rtol": 0, "atol": 6e-11}
ZEROS = np.zeros((N, H))


class Block:
    """The chapter's stateful layer: xs (N, T, D) -> hs (N, T, H), one loop a call."""

    def __init__(self):
        self.weights = {"wx": leaf(WX), "wh": leaf(WH), "b": leaf(B)}
        self.state = CarriedState()

    def __call__(self, xs):
        w = self.weights

        def cell(h, x):
            h = ag.tanh(h @ w["wh"] + x @ w["wx"] + w["b"])
            return h, h

        xs = ag.swapaxes(xs, 0, 1)
        last, hs = scan(cell, self.state.start(np.zeros((xs.shape[1], H))), xs)
        self.state.carry(last)
        return ag.swapaxes(hs, 0, 1)

    def gradients(self):
        return {name: w.grad.value for name, w in self.weights.items()}


class TestTheChaptersNumbers:
    def test_values_and_gradients_of_a_block(self):
        block, xs = Block(), leaf(XS)
        hs = block(xs)
        np.testing.assert_allclose(hs.value, published.BLOCK_HS, **DECIMALS)
        hs.backward(np.ones((N, T, H)))
        np.testing.assert_allclose(xs.grad.value, published.BLOCK_DXS, **DECIMALS)
        found = block.gradients()
        np.testing.assert_allclose(found["wx"], published.BLOCK_D_WX, **DECIMALS)
        np.testing.assert_allclose(found["wh"], published.BLOCK_D_WH, **DECIMALS)
        np.testing.assert_allclose(found["b"], published.BLOCK_D_B, **DECIMALS)
        np.testing.assert_allclose(block.state.grad.value, published.BLOCK_DH, **DECIMALS)

    def test_second_call_goes_on_and_reset_begins_again(self):
        block = Block()
        first = block(XS)
        second = block(XS)
        np.testing.assert_allclose(
            second.value[:, -1], published.BLOCK_SECOND_CALL_LAST_H, **DECIMALS
        )
        block.state.reset()
        assert block.state.value is None
        assert_same(block(XS), first)

    def test_set_state(self):
        block = Block()
        block.state.set(np.full((N, H), 0.5))
        np.testing.assert_allclose(
            block(XS).value[:, 0], published.BLOCK_FIRST_H_FROM_HALF, **DECIMALS
        )

    def test_without_carrying_every_call_is_the_same(self):
        block = Block()
        first = block(XS)
        block.state.reset()
        assert_same(block(XS), first)

    def test_truncation_loses_exactly_the_gradient_of_the_state(self):
        both = np.concatenate([XS, XS[::-1]], axis=1)
        whole = TimeRNN(WX, WH, B)
        hs = whole.forward(both)
        whole.backward(np.ones_like(hs))

        def in_two_blocks(pass_on):
            block = Block()
            first, second = block(XS), block(XS[::-1])
            assert_same(ag.concat([first, second], axis=1), hs, 1e-15)
            second.backward(np.ones((N, T, H)))
            upstream = np.ones((N, T, H))
            if pass_on:
                upstream[:, -1] += block.state.grad.value
            first.backward(upstream)
            return block.gradients()

        truncated, full = in_two_blocks(False), in_two_blocks(True)
        for name, wanted in {"wx": whole.d_wx, "wh": whole.d_wh, "b": whole.d_b}.items():
            gap = np.abs(truncated[name] - wanted).max()
            assert gap == pytest.approx(published.BLOCK_TRUNCATION_GAPS[name], abs=5e-5)
            assert_same(full[name], wanted, 1e-14)

    def test_the_gradient_of_a_state_is_the_oracles_in_any_block(self):
        block, oracle = Block(), TimeRNN(WX, WH, B, stateful=True)
        for sign in (1.0, -1.0, 0.5):
            block(sign * XS).backward(np.ones((N, T, H)))
            oracle.forward(sign * XS)
            oracle.backward(np.ones((N, T, H)))
            assert_same(block.state.grad, oracle.dh, 1e-14)


def accumulate(state, xs):
    """Run a block on a carry that is a tree: a mean going on, and how many it is of."""

    def body(carry, x):
        n = carry["n"] + 1
        mean = carry["mean"] * 0.75 + ag.tanh(x) * 0.25
        return {"mean": mean, "n": n}, mean

    start = {"mean": np.zeros(2), "n": np.int64(0)}
    last, means = scan(body, state.start(start), xs)
    state.carry(last)
    return means


class TestState:
    def test_a_tree_with_an_integer(self):
        state = CarriedState()
        xs = XS[0]
        accumulate(state, xs)
        means = accumulate(state, xs)
        assert state.value["n"].item() == 2 * T
        assert_same(means, accumulate(CarriedState(), np.concatenate([xs, xs]))[T:])
        assert state.grad is None
        means.sum().backward()
        assert state.grad["n"] is None
        assert_same(state.grad["mean"], np.full(2, 0.75 + 0.75**2 + 0.75**3), 1e-15)

    def test_values_are_carried_without_history_and_as_copies(self):
        x = leaf(np.ones(2))
        array = np.ones(2)
        state = CarriedState((x * 2.0, array))
        array[0] = 5.0
        assert not state.value[0].tracked
        assert_same(state.value[1], np.ones(2))
        a, b = state.start()
        (a * b).sum().backward()
        assert x.grad is None
        assert_same(state.grad[0], np.ones(2))
        assert_same(state.grad[1], np.full(2, 2.0))

    def test_part_that_the_loss_does_not_depend_on_has_zeros(self):
        state = CarriedState([np.ones(2), np.ones((1, 3))])
        start = state.start()
        (start[0] * 3.0).sum().backward()
        assert_same(state.grad[1], np.zeros((1, 3)))

    def test_the_gradient_accumulates_over_backwards_and_begins_anew_with_a_block(self):
        state = CarriedState(2.0)
        y = state.start() ** 2.0
        y.backward(keep_graph=True)
        y.backward()
        assert state.grad.item() == 8.0
        y = state.start() ** 2.0
        assert state.grad is None
        y.backward()
        assert state.grad.item() == 4.0

    @pytest.mark.parametrize("carry_first", [True, False])
    def test_carrying_before_or_after_the_backward(self, carry_first):
        state = CarriedState(0.5)
        for _ in range(3):
            before = state.value.item()
            y = state.start() ** 2.0
            if carry_first:
                state.carry(y)
            y.backward()
            assert state.grad.item() == 2.0 * before
            if not carry_first:
                state.carry(y)
            assert state.value.item() == before**2

    def test_reset_forgets_the_gradient_too(self):
        state = CarriedState(2.0)
        (state.start() ** 2.0).backward()
        state.reset()
        assert (state.value, state.grad) == (None, None)

    def test_float32_stays(self):
        state = CarriedState(np.ones(2, np.float32))
        (state.start() * 2.0).sum().backward()
        assert state.grad.dtype == np.float32
        state.carry(state.start() * 2.0)
        assert state.value.dtype == np.float32

    def test_a_state_of_nothing(self):
        state = CarriedState(())
        assert state.start(()) == ()
        state.carry(())
        assert (state.value, state.grad) == ((), None)


class TestGraphs:
    def graph(self):
        return ag.trace(
            lambda h, xs: scan(lambda h, x: (ag.tanh(h @ WH + x),) * 2, h, xs),
            (N, H),
            (T, N, H),
            name="block",
        )

    def test_the_state_of_a_graph_is_an_input_and_an_output(self):
        xs = np.random.default_rng(5).uniform(-1, 1, (2, T, N, H))
        graph, state = self.graph(), CarriedState(ZEROS)
        for block in xs:
            found = graph.run(h=state.value, xs=block)
            state.carry(found["output_0"])
        wanted, _ = scan(lambda h, x: (ag.tanh(h @ WH + x), None), ZEROS, xs.reshape(2 * T, N, H))
        assert_same(state.value, wanted)

    def test_a_graph_called_on_the_start_has_the_gradient(self):
        graph, state = self.graph(), CarriedState(ZEROS)
        xs = np.random.default_rng(5).uniform(-1, 1, (T, N, H))
        last, hs = graph(state.start(), xs)
        state.carry(last)
        hs.sum().backward()
        wanted = ag.grad(lambda h: graph(h, xs)[1].sum())(ZEROS)
        assert_same(state.grad, wanted)


def start_while_drawing():
    state = CarriedState(ZEROS)
    ag.trace(lambda x: state.start() + x, (N, H))


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda: CarriedState().start(), r"holds nothing cannot start a block; pass start\(init\)"),
        (
            lambda: CarriedState(ZEROS).carry([ZEROS]),
            r"is value, but the block ends with \[value\]",
        ),
        (
            lambda: CarriedState(ZEROS).carry(np.zeros((N, 4))),
            r"is float64\[2, 3\], but the block ends with float64\[2, 4\]; call reset\(\)",
        ),
        (
            lambda: CarriedState(ZEROS).carry(ZEROS.astype("f")),
            r"float64\[2, 3\], but the block ends with float32\[2, 3\]",
        ),
        (
            lambda: CarriedState((ZEROS, 0)).start((np.zeros((5, H)), 0)),
            r"but this block is to start like float64\[5, 3\]; call reset\(\) .* batch size",
        ),
        (lambda: CarriedState({"h": ZEROS}).start({"c": ZEROS}), r"\{'h': value\}.*\{'c': value\}"),
        (
            lambda: CarriedState().carry(ag.input("h", (2,))),
            r"input 'h' float64\[2\].* cannot be carried .* make the state an input",
        ),
        (start_while_drawing, "would freeze the carried values"),
        (
            lambda: CarriedState().start(ag.parameter("h0", ZEROS)),
            "parameter 'h0' .* has a gradient, which a CarriedState would cut off",
        ),
    ],
)
def test_errors(act, match):
    with pytest.raises(ag.LoopGradError, match=match):
        act()


def test_a_batch_of_another_size_needs_a_reset():
    block = Block()
    block(XS)
    with pytest.raises(ag.ShapeError, match=r"float64\[2, 3\], .*start like float64\[1, 3\]"):
        block(XS[:1])
    block.state.reset()
    assert block(XS[:1]).shape == (1, T, H)


def test_a_trained_initial_state_starts_the_first_block_itself():
    h0, state = leaf(np.full(2, 0.25)), CarriedState()
    for number in range(2):
        start = h0 if number == 0 else state.start()
        last, _ = scan(lambda h, x: (ag.tanh(h + x), None), start, XS[0])
        state.carry(last)
        last.sum().backward()
    once = leaf(np.full(2, 0.25))
    scan(lambda h, x: (ag.tanh(h + x), None), once, XS[0])[0].sum().backward()
    assert_same(h0.grad, once.grad)
