"""Ragged sequences: masks, reductions over valid steps, reversal, padding; losses of them."""

import numpy as np
import pytest

import autograd as ag
import nn
from loops import (
    fill_padding,
    last_valid,
    masked_mean,
    masked_sum,
    pad_sequence,
    reverse_valid,
    scan,
    unpad_sequence,
    valid_mask,
)
from tests.loop_reference import assert_same, leaf

T, B, D = 4, 5, 2
XS = np.random.default_rng(7).normal(size=(T, B, D))
LENGTHS = np.array([3, 0, 4, 1, 4])
MASK = np.arange(T)[:, None] < LENGTHS
INITIAL = np.random.default_rng(8).normal(size=(B, D))


def spoiled(xs, lengths, *values):
    """Return a copy of `xs` with `values` in turn in the padding of its rows."""
    xs = xs.copy()
    for b, n in enumerate(lengths):
        xs[n:, b] = (values or (np.nan, np.inf, -np.inf))[b % len(values or (0, 0, 0))]
    return xs


BAD = spoiled(XS, LENGTHS)


def rows_by_hand(fn, xs=XS, lengths=LENGTHS):
    """Return `fn` of each row's valid part (n, D), rows side by side."""
    return np.stack([fn(xs[:n, b]) for b, n in enumerate(lengths)])


def reversed_by_hand(xs, lengths):
    out = np.zeros_like(xs)
    for b, n in enumerate(lengths):
        out[:n, b] = xs[:n, b][::-1]
    return out


def last_by_hand(hs, lengths, initial):
    return np.stack([hs[n - 1, b] if n else initial[b] for b, n in enumerate(lengths)])


FUNCTIONS = {
    "fill_padding": (fill_padding, np.where(MASK[..., None], XS, 0.0)),
    "fill_padding with 7": (
        lambda xs, n: fill_padding(xs, n, 7),
        np.where(MASK[..., None], XS, 7.0),
    ),
    "masked_sum": (masked_sum, XS[MASK].sum()),
    "masked_sum of rows": (
        lambda xs, n: masked_sum(xs, n, axis=0),
        rows_by_hand(lambda row: row.sum(0)),
    ),
    "masked_mean": (masked_mean, XS[MASK].mean()),
    "masked_mean of rows": (
        lambda xs, n: masked_mean(xs, n, axis=0),
        rows_by_hand(lambda row: row.mean(0) if len(row) else np.zeros(D)),
    ),
    "reverse_valid": (reverse_valid, reversed_by_hand(XS, LENGTHS)),
    "last_valid": (
        lambda xs, n: last_valid(xs, n, INITIAL),
        last_by_hand(XS, LENGTHS, INITIAL),
    ),
}
each_function = pytest.mark.parametrize(
    ("fn", "expected"), FUNCTIONS.values(), ids=FUNCTIONS.keys()
)


class TestMask:
    def test_it_is_true_where_steps_are_valid(self):
        assert_same(valid_mask(XS, LENGTHS), MASK)
        assert_same(valid_mask(T, LENGTHS.tolist()), MASK)
        assert_same(valid_mask(np.int64(T), LENGTHS.astype("uint8")), MASK)
        assert_same(valid_mask(0, [0, 0]), np.zeros((0, 2), bool))
        assert_same(valid_mask(3, []), np.zeros((3, 0), bool))

    def test_a_mask_in_place_of_lengths_may_have_gaps(self):
        gaps = np.random.default_rng(1).integers(0, 2, (T, B)) == 1
        assert_same(valid_mask(XS, gaps), gaps)
        assert_same(masked_mean(XS, gaps), XS[gaps].mean(), 1e-15)
        assert_same(masked_sum(XS, ag.tensor(gaps)), XS[gaps].sum(), 1e-15)
        with pytest.raises(ag.ShapeError, match=r"masked_sum: a mask has the shape \(steps, rows"):
            masked_sum(XS, gaps.T)


class TestValuesAndGradients:
    @each_function
    def test_values_are_those_of_the_valid_parts_whatever_the_padding(self, fn, expected):
        for xs in (XS, BAD):
            assert_same(fn(xs, LENGTHS), expected, 1e-15)

    @each_function
    def test_gradients_are_right_and_zero_in_the_padding(self, fn, expected):
        ag.check_grad(lambda xs: ag.sin(fn(xs, LENGTHS)).sum(), (XS,), order=2)
        xs = leaf(BAD)
        ag.sin(fn(xs, LENGTHS)).sum().backward()
        assert np.isfinite(xs.grad.value).all()
        assert_same(xs.grad.value[~MASK], np.zeros(((~MASK).sum(), D)))
        tangent = np.ones_like(BAD)
        y, dy = ag.jvp(lambda xs: fn(xs, LENGTHS), (BAD,), (tangent,))
        assert np.isfinite(dy.value).all()
        assert_same(y, expected, 1e-15)

    @each_function
    def test_float32_stays(self, fn, expected):
        if fn is FUNCTIONS["last_valid"][0]:
            y = last_valid(BAD.astype("f4"), LENGTHS, INITIAL.astype("f4"))
        else:
            y = fn(BAD.astype("f4"), LENGTHS)
        assert_same(y, expected.astype("f4"), 1e-6)

    @each_function
    def test_one_graph_serves_all_lengths_and_other_sizes(self, fn, expected):
        if fn is FUNCTIONS["last_valid"][0]:

            def fn(xs, n):
                return last_valid(xs, n, xs[0] * 0.0)

            expected = last_by_hand(XS, LENGTHS, 0 * INITIAL)
        n = ag.Spec((3,), np.dtype("int64"))
        graph = ag.trace(lambda xs, n: fn(xs, n), (2, 3, D), n)
        graph = graph.resize(xs=(T, B, D), n=(B,))
        assert_same(graph(XS, LENGTHS), expected, 1e-15)
        full = np.full(B, T)
        assert_same(graph(XS, full), fn(XS, full), 1e-15)
        with pytest.raises(ag.ShapeError, match=r"row 2 has length 5, but lengths go from 0 to 4"):
            graph(XS, np.array([0, 0, T + 1, 0, 0]))

    @each_function
    def test_under_vmap_each_example_has_its_own_lengths(self, fn, expected):
        lengths = np.stack([LENGTHS, LENGTHS[::-1], np.zeros(B, int)])
        xs = np.stack([spoiled(XS, n) for n in lengths])
        ys = ag.vmap(fn)(xs, lengths)
        shared = ag.vmap(fn, (None, 0))(XS, lengths)
        one = ag.vmap(fn, (0, None))(np.stack([BAD, BAD]), LENGTHS)
        for i, n in enumerate(lengths):
            assert_same(ys[i], fn(XS, n), 1e-15)
            assert_same(shared[i], fn(XS, n), 1e-15)
        assert_same(one[1], expected, 1e-15)

    def test_no_valid_step_gives_zero_and_no_gradient(self):
        for shape in ((T, B, D), (0, B, D), (T, 0, D), (T, B)):
            xs = leaf(np.full(shape, np.nan))
            none = np.zeros(shape[1], int)
            total = masked_mean(xs, none) + masked_sum(xs, none)
            total = total + masked_mean(xs, none, axis=0).sum()
            assert total.item() == 0.0
            total.backward()
            assert_same(xs.grad, np.zeros(shape))

    def test_integers_are_summed_reversed_and_picked(self):
        counts = np.arange(T * B).reshape(T, B)
        assert masked_sum(counts, LENGTHS).item() == counts[MASK].sum()
        assert masked_mean(counts, LENGTHS).item() == counts[MASK].mean()
        assert_same(reverse_valid(counts, LENGTHS), reversed_by_hand(counts, LENGTHS))
        first = np.full(B, -1)
        assert_same(last_valid(counts, LENGTHS, first), last_by_hand(counts, LENGTHS, first))
        with pytest.raises(ag.DTypeError, match=r"fill_padding: 0\.5 is not a value of dtype int"):
            fill_padding(counts, LENGTHS, 0.5)

    def test_reversing_twice_gives_the_valid_parts_back(self):
        twice = reverse_valid(reverse_valid(BAD, LENGTHS), LENGTHS)
        assert_same(twice, np.where(MASK[..., None], XS, 0.0))

    def test_rows_that_end_before_the_first_step_have_their_initial_value_and_its_gradient(self):
        hs, initial = leaf(BAD), leaf(INITIAL)
        last_valid(hs, LENGTHS, initial).sum().backward()
        assert_same(initial.grad, np.repeat((LENGTHS == 0)[:, None], D, 1).astype(float))
        none = last_valid(np.zeros((0, B, D)), np.zeros(B, int), INITIAL)
        assert_same(none, INITIAL)


class TestPadding:
    def test_sequences_are_padded_and_come_back(self):
        rows = [XS[:n, b] for b, n in enumerate(LENGTHS)]
        xs, lengths = pad_sequence(rows, value=np.nan)
        assert_same(lengths, LENGTHS)
        assert isinstance(xs, np.ndarray)
        assert_same(fill_padding(xs, lengths), np.where(MASK[..., None], XS, 0.0))
        assert np.isnan(xs[~MASK]).all()
        for row, back in zip(rows, unpad_sequence(xs, lengths), strict=True):
            assert_same(back, row)

    def test_plain_lists_of_numbers_have_no_more_axes(self):
        xs, lengths = pad_sequence([[1, 2, 3], [4]])
        assert_same(xs, np.array([[1, 4], [2, 0], [3, 0]]))
        assert_same(lengths, np.array([3, 1]))

    def test_gradients_go_through(self):
        rows = [XS[:3, 0], XS[:1, 1], XS[:0, 2]]

        def loss(rows):
            xs, lengths = pad_sequence(rows, value=np.inf)
            return masked_sum(ag.sin(fill_padding(xs, lengths)), lengths)

        ag.check_grad(loss, (rows[:2],), order=2)
        assert_same(ag.grad(loss)(rows)[0], np.cos(rows[0]), 1e-15)

        xs = leaf(XS)
        sum(ag.sin(row).sum() for row in unpad_sequence(xs, LENGTHS)).backward()
        assert_same(xs.grad, np.where(MASK[..., None], np.cos(XS), 0.0), 1e-15)

    def test_what_cannot_be_padded_or_unpadded(self):
        with pytest.raises(ag.ShapeError, match="no sequences came"):
            pad_sequence([])
        with pytest.raises(ag.ShapeError, match=r"sequence 0 is .*\[4, 2\] and sequence 1 .*\[4\]"):
            pad_sequence([XS[:, 0], XS[:, 0, 0]])
        with pytest.raises(ag.ShapeError, match=r"differ in their number of steps only"):
            pad_sequence([XS[:, 0], XS[:, 0].astype("f4")])
        with pytest.raises(ag.GraphError, match=r"'n'.* is virtual, so how many steps each row"):
            unpad_sequence(ag.input("xs", (T, B)), ag.input("n", (B,), "int64"))


class TestMisuse:
    @pytest.mark.parametrize(
        "fn",
        [fill_padding, masked_sum, masked_mean, reverse_valid, valid_mask, unpad_sequence],
        ids=lambda fn: fn.__name__,
    )
    def test_wrong_lengths_are_refused_by_name(self, fn):
        name = fn.__name__ if fn is not unpad_sequence else "unpad_sequence"
        with pytest.raises(ag.ShapeError, match=rf"{name}: row 1 has length -2, but lengths go"):
            fn(XS, [0, -2, 1, 1, 1])
        with pytest.raises(ag.ShapeError, match=rf"{name}: row 4 has length 9, but .* 0 to 4"):
            fn(XS, [0, 1, 1, 1, 9])
        with pytest.raises(ag.ShapeError, match=rf"{name}: lengths must have shape \(5,\)"):
            fn(XS, [1, 2])
        with pytest.raises(ag.DTypeError, match=rf"{name}: lengths must be integers"):
            fn(XS, [1.0, 2.0, 3.0, 4.0, 4.0])
        with pytest.raises(ag.ShapeError, match=rf"{name}: ragged sequences have the shape"):
            fn(XS[:, 0, 0], [1])

    def test_shapes_and_dtypes_are_checked_when_the_graph_is_drawn(self):
        xs = ag.input("xs", (T, B, D))
        with pytest.raises(ag.ShapeError, match=r"masked_mean: lengths .*input 'xs'.*input 'n'"):
            masked_mean(xs, ag.input("n", (B + 1,), "int64"))
        with pytest.raises(ag.DTypeError, match=r"masked_mean: lengths must be integers.*'n'"):
            masked_mean(xs, ag.input("n", (B,), "float32"))

    def test_under_vmap_the_row_is_named_by_example_and_place(self):
        lengths = np.array([[1, 1], [1, 7]])
        with pytest.raises(ag.GraphError, match=r"row \(1, 1\) has length 7"):
            ag.vmap(lambda n: masked_sum(XS[:, :2], n))(lengths)

    def test_axis_steps_and_initial_value(self):
        with pytest.raises(ag.ShapeError, match=r"masked_mean: axis must be 0 .* is 1"):
            masked_mean(XS, LENGTHS, axis=1)
        with pytest.raises(ag.ShapeError, match="number of steps >= 0 and lengths of shape"):
            valid_mask(-1, [0])
        with pytest.raises(ag.ShapeError, match=r"initial must be float64\[5, 2\]"):
            last_valid(XS, LENGTHS, INITIAL[:1])


LOSSES = [
    (nn.squared_error, XS, XS[::-1]),
    (nn.half_squared_error, XS, XS[::-1]),
    (nn.binary_cross_entropy_with_logits, XS, (XS[::-1] > 0) * 1.0),
    (nn.binary_cross_entropy, 1 / (1 + np.exp(-XS)), (XS[::-1] > 0) * 1.0),
]


@pytest.mark.parametrize(
    ("loss", "prediction", "target"), LOSSES, ids=lambda x: getattr(x, "__name__", "")
)
class TestLosses:
    def test_they_are_reduced_over_valid_steps(self, loss, prediction, target):
        each = loss(prediction, target, "none").value
        for mask in (LENGTHS, MASK):
            args = (spoiled(prediction, LENGTHS), spoiled(target, LENGTHS))
            none = loss(*args, "none", lengths=mask)
            assert_same(none, np.where(MASK[..., None], each, 0.0), 1e-15)
            assert_same(loss(*args, "sum", lengths=mask), each[MASK].sum(), 1e-15)
            assert_same(loss(*args, lengths=mask), each[MASK].mean(), 1e-15)

    def test_one_unreduced_is_combined_by_masked_mean(self, loss, prediction, target):
        each = loss(prediction, target, "none", lengths=LENGTHS)
        rows = [
            loss(prediction[:n, b], target[:n, b]).item() if n else 0.0
            for b, n in enumerate(LENGTHS)
        ]
        assert_same(masked_mean(each, LENGTHS, axis=0).mean(-1), np.array(rows), 1e-14)

    def test_gradients_are_right_and_see_no_padding(self, loss, prediction, target):
        def fn(p, t, reduction="mean"):
            return loss(p, t, reduction, lengths=LENGTHS)

        ag.check_grad(lambda p: fn(p, target), (prediction,), order=2)
        p = leaf(spoiled(prediction, LENGTHS))
        for reduction in ("mean", "sum", "none"):
            p.grad = None
            fn(p, spoiled(target, LENGTHS), reduction).sum().backward()
            assert np.isfinite(p.grad.value).all()
            assert_same(p.grad.value[~MASK], np.zeros(((~MASK).sum(), D)))

    def test_no_valid_step_is_no_loss(self, loss, prediction, target):
        p = leaf(prediction)
        total = loss(p, target, lengths=np.zeros(B, int))
        total.backward()
        assert total.item() == 0.0
        assert_same(p.grad, np.zeros_like(prediction))


def test_a_masked_loop_may_start_from_what_was_computed_of_parameters():
    """Only the shape of the state is looked at, so nothing of it is frozen in the graph."""
    h0 = ag.parameter("h0", np.ones((3, 4)))
    xs, lengths = ag.input("xs", (5, 3, 4)), ag.input("lengths", (3,), "int64")
    last, _ = scan(
        lambda h, x: (ag.tanh(h + x), None), 2.0 * h0, xs, lengths=lengths, ragged="mask"
    )
    graph = ag.Graph([xs, lengths], {"last": last})
    given = {"xs": np.zeros((5, 3, 4)), "lengths": np.array([0, 1, 2])}
    assert graph.run(**given)["last"][0, 0] == 2.0
    h0.value = np.zeros((3, 4))
    assert not graph.run(**given)["last"].any()
