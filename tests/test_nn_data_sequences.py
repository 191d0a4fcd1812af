"""Ragged sequences, texts and series in batches: padding, how few shapes, what comes next."""

import numpy as np
import pytest

import loops
import nn
from autograd.errors import DTypeError, LoopGradError, ShapeError
from tests.nn_helpers import RNG, gradients

LENGTHS = RNG(3).integers(0, 31, 45)
SEQUENCES = [RNG(i).normal(size=(n, 2)) for i, n in enumerate(LENGTHS)]
LABELS = np.arange(45)


def ragged(**options) -> nn.RaggedBatches:
    return nn.RaggedBatches(**{"batch_size": 4, "xs": SEQUENCES, "labels": LABELS, **options})


# --- ragged sequences -----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"window": 1}, {"multiple": 4}])
def test_an_epoch_has_every_sequence_once_padded_behind_its_end(options):
    seen = []
    for batch in ragged(**options):
        xs, lengths, labels = batch["xs"], batch["lengths"], batch["labels"]
        assert xs.shape[1:] == (len(labels), 2)
        np.testing.assert_array_equal(lengths, LENGTHS[labels])
        for b, i in enumerate(labels):
            np.testing.assert_array_equal(xs[: lengths[b], b], SEQUENCES[i])
            assert not xs[lengths[b] :, b].any()
        seen += labels.tolist()
    assert sorted(seen) == LABELS.tolist()


def test_a_batch_is_what_pad_sequence_makes_and_zeros():
    for batch in ragged():
        padded, lengths = loops.pad_sequence([SEQUENCES[i] for i in batch["labels"]])
        np.testing.assert_array_equal(batch["lengths"], lengths)
        np.testing.assert_array_equal(batch["xs"][: len(padded)], padded)
        assert not batch["xs"][len(padded) :].any()


def test_there_are_at_most_as_many_kinds_as_a_training_step_keeps():
    source = ragged()
    kinds = {batch["xs"].shape for epoch in range(30) for batch in source.of_epoch(epoch)}
    assert len(kinds) <= 8
    assert {shape[0] % source.multiple for shape in kinds} == {0}
    assert len([shape for shape in kinds if shape[1] < 4]) == 1


def test_few_lengths_waste_little():
    real = LENGTHS.sum()
    bucketed = sum(batch["xs"].shape[0] * batch["xs"].shape[1] for batch in ragged())
    plain = sum(batch["xs"].shape[0] * batch["xs"].shape[1] for batch in ragged(window=1))
    assert real < bucketed < 0.8 * plain


def test_multiples_are_those_asked_for():
    assert {len(batch["xs"]) % 8 for batch in ragged(multiple=8)} == {0}
    exact = [
        len(batch["xs"]) - max(1, batch["lengths"].max())
        for batch in ragged(multiple=1, drop_last=True)
    ]
    assert exact == [0] * 11


def test_ragged_orders_and_states_are_those_of_a_seed():
    def labels(source, epoch):
        return [batch["labels"].tolist() for batch in source.of_epoch(epoch)]

    assert labels(ragged(seed=1), 2) == labels(ragged(seed=1), 2)
    assert labels(ragged(seed=1), 2) != labels(ragged(seed=2), 2)
    assert labels(ragged(seed=1), 2) != labels(ragged(seed=1), 3)
    assert labels(ragged(shuffle=False), 0) == labels(ragged(shuffle=False), 5)
    source = ragged(seed=1)
    every = labels(source, 0)
    for number, _ in enumerate(source, start=1):
        if number == 5:
            break
    other = ragged()
    other.load_state_dict(source.state_dict())
    assert [batch["labels"].tolist() for batch in other] == every[5:]
    with pytest.raises(LoopGradError, match=r"with multiple = 5, but here it is 7"):
        ragged(multiple=7).load_state_dict(source.state_dict())


def test_padding_changes_no_loss_and_no_gradient():
    net, out = nn.RNN(2, 3, rng=RNG(0)), nn.Linear(3, 1, rng=RNG(1))
    model = nn.Sequential(net, out)
    rows = [x for x in SEQUENCES if len(x)][:10]
    source = nn.RaggedBatches(
        4, xs=rows, ys=[x[:, :1] for x in rows], padding={"xs": np.nan, "ys": np.nan}, multiple=9
    )

    def loss(xs, ys, lengths):
        hs, _ = net(xs, lengths=lengths)
        return nn.squared_error(out(hs), ys, "sum", lengths=lengths)

    for batch in source:
        assert np.isnan(batch["xs"]).any()
        model.zero_grad()
        padded = loss(**batch)
        padded.backward()
        with_padding = gradients(model)
        model.zero_grad()
        alone = 0.0
        for b, n in enumerate(batch["lengths"]):
            hs, _ = net(batch["xs"][:n, b : b + 1])
            one = nn.squared_error(out(hs), batch["ys"][:n, b : b + 1], "sum")
            one.backward()
            alone += one.item()
        assert padded.item() == pytest.approx(alone, rel=1e-12)
        for name, gradient in gradients(model).items():
            np.testing.assert_allclose(with_padding[name], gradient, rtol=1e-10, atol=1e-12)


def test_lengths_can_be_of_several_kinds():
    targets = [np.arange(n // 2) for n in LENGTHS]
    source = ragged(
        targets=targets, lengths={"lengths": "xs", "target_lengths": ["targets"]}, padding=0
    )
    for batch in source:
        np.testing.assert_array_equal(batch["target_lengths"], batch["lengths"] // 2)
        for b, n in enumerate(batch["target_lengths"]):
            np.testing.assert_array_equal(batch["targets"][:n, b], np.arange(n))
    kinds = {(b["xs"].shape, b["targets"].shape) for e in range(20) for b in source.of_epoch(e)}
    assert len(kinds) <= 8


def test_lists_of_numbers_are_rows_and_arrays_of_objects_are_sequences():
    objects = np.empty(3, object)
    objects[:] = [[1.0], [2.0, 3.0], []]
    (batch,) = nn.RaggedBatches(3, shuffle=False, xs=objects, ys=[7, 8, 9], dtype="float32")
    assert batch["ys"].tolist() == [9, 7, 8]
    assert batch["xs"].dtype == np.float32
    assert batch["xs"].T.tolist() == [[0.0, 0.0], [1.0, 0.0], [2.0, 3.0]]


RAGGED_REFUSED = {
    "no sequences": (
        lambda: nn.RaggedBatches(2, xs=np.ones((3, 2))),
        LoopGradError,
        r"needs a list of arrays",
    ),
    "other lengths": (
        lambda: ragged(ys=[x[:1] for x in SEQUENCES]),
        ShapeError,
        r"sequence \d+ of 'xs' has \d+ steps and of 'ys' \d.*lengths=\{'lengths': \['xs'\], 'ys_l",
    ),
    "other counts": (lambda: ragged(labels=LABELS[1:]), ShapeError, r"'labels' has 44"),
    "other shapes": (
        lambda: nn.RaggedBatches(2, xs=[np.ones((3, 2)), np.ones((3, 4))]),
        ShapeError,
        r"sequence 1 of 'xs' is float64\[3, 4\], but others are float64\[\?, 2\]",
    ),
    "other dtypes": (
        lambda: nn.RaggedBatches(2, xs=[np.ones(3), np.ones(3, int)]),
        ShapeError,
        r"sequence 1 of 'xs' is int64\[3\]",
    ),
    "texts": (
        lambda: nn.RaggedBatches(2, xs=[np.array(["a"])]),
        DTypeError,
        r"'xs\[0\]' must be numbers",
    ),
    "unnamed": (
        lambda: ragged(lengths={"lengths": []}),
        LoopGradError,
        r"lengths must name each of the sequences xs once, but names none",
    ),
    "taken": (lambda: ragged(lengths="labels"), LoopGradError, r"a name that no data have"),
    "multiple": (lambda: ragged(multiple=0), LoopGradError, r"multiple must be a whole number"),
    "window": (lambda: ragged(window=0), LoopGradError, r"window must be a whole number >= 1"),
    "too few": (
        lambda: ragged(batch_size=46, drop_last=True),
        ShapeError,
        r"45 examples make no whole batch of 46",
    ),
}


@pytest.mark.parametrize("case", RAGGED_REFUSED)
def test_ragged_data_that_do_not_fit_are_refused(case):
    make, error, match = RAGGED_REFUSED[case]
    with pytest.raises(error, match=match):
        make()


# --- texts ----------------------------------------------------------------------------------------


def book_batches(corpus, batch_size, time_size):
    """The loop of "Deep Learning from Scratch 2", ch. 5.5, of one epoch."""
    xs, ts = corpus[:-1], corpus[1:]
    data_size = len(xs)
    max_iters = data_size // (batch_size * time_size)
    jump = (len(corpus) - 1) // batch_size
    offsets = [i * jump for i in range(batch_size)]
    time_idx = 0
    for _ in range(max_iters):
        batch_x = np.empty((batch_size, time_size), dtype="i")
        batch_t = np.empty((batch_size, time_size), dtype="i")
        for t in range(time_size):
            for i, offset in enumerate(offsets):
                batch_x[i, t] = xs[(offset + time_idx) % data_size]
                batch_t[i, t] = ts[(offset + time_idx) % data_size]
            time_idx += 1
        yield batch_x, batch_t


@pytest.mark.parametrize(("count", "streams", "length"), [(1000, 10, 5), (101, 3, 7), (30, 29, 1)])
def test_blocks_of_a_text_are_those_of_the_book(count, streams, length):
    corpus = RNG(0).integers(0, 50, count)
    blocks = nn.TokenBlocks(corpus, streams, length)
    expected = list(book_batches(corpus, streams, length))
    assert len(blocks) == len(expected)
    for batch, (xs, ts) in zip(blocks, expected, strict=True):
        np.testing.assert_array_equal(batch["xs"], xs.T)
        np.testing.assert_array_equal(batch["ys"], ts.T)
    assert blocks.epoch == 1


def test_the_rest_of_the_streams_can_be_a_smaller_block():
    blocks = nn.TokenBlocks(range(24), 2, 4, drop_last=False, names=("tokens", "following"))
    found = list(blocks)
    assert [len(batch["tokens"]) for batch in found] == [4, 4, 3]
    joined = np.concatenate([batch["tokens"] for batch in found])
    assert joined.T.tolist() == [list(range(11)), list(range(11, 22))]
    following = np.concatenate([batch["following"] for batch in found])
    np.testing.assert_array_equal(following, joined + 1)


def test_a_text_goes_on_in_the_middle():
    blocks = nn.TokenBlocks(np.arange(100), 3, 4)
    every = [batch["xs"].tolist() for batch in blocks.of_epoch(0)]
    for _ in blocks:
        if blocks.position == 3:
            break
    other = nn.TokenBlocks(np.arange(100), 3, 4)
    other.load_state_dict(blocks.state_dict())
    assert [batch["xs"].tolist() for batch in other] == every[3:]
    with pytest.raises(LoopGradError, match=r"with length = 4, but here it is 5"):
        nn.TokenBlocks(np.arange(100), 3, 5).load_state_dict(blocks.state_dict())


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (("abc", 1, 1), DTypeError, r"must be numbers, but NumPy makes <U3"),
        (([0.5, 1.0], 1, 1), DTypeError, r"tokens must be whole numbers of shape \(n,\)"),
        (([[1, 2]], 1, 1), DTypeError, r"tokens must be whole numbers of shape \(n,\)"),
        ((range(10), 0, 1), LoopGradError, r"batch_size must be a whole number >= 1"),
        ((range(10), 1, 0), LoopGradError, r"length must be a whole number >= 1"),
        ((range(10), 5, 2), ShapeError, r"10 tokens make 5 streams of 1, shorter than a block"),
        (([], 1, 1), DTypeError, r"tokens must be whole numbers"),
    ],
)
def test_texts_that_make_no_blocks_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        nn.TokenBlocks(*arguments)


# --- series ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(20,), (20, 3)])
@pytest.mark.parametrize("stride", [1, 4])
def test_windows_are_parts_of_the_series(shape, stride):
    series = RNG(0).normal(size=shape)
    xs, ys = nn.windows(series, 6, 2, stride=stride)
    count = (20 - 8) // stride + 1
    assert xs.shape == (6, count, *shape[1:])
    assert ys.shape == (2, count, *shape[1:])
    for i in range(count):
        start = i * stride
        np.testing.assert_array_equal(xs[:, i], series[start : start + 6])
        np.testing.assert_array_equal(ys[:, i], series[start + 6 : start + 8])


def test_windows_without_a_horizon_are_all_that_fit_and_take_no_memory():
    series = np.arange(10.0)
    whole = nn.windows(series, 4)
    assert whole.shape == (4, 7)
    assert whole[:, -1].tolist() == [6, 7, 8, 9]
    assert np.shares_memory(whole, series)
    with pytest.raises(ValueError, match="read-only"):
        whole[0, 0] = 1
    (batch,) = nn.Batches(7, xs=whole[:-1], ys=whole[1:], axis=1)
    np.testing.assert_array_equal(batch["xs"] + 1, batch["ys"])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((np.ones(5), 4, 2), r"a window takes 6 steps, but the series is float64\[5\]"),
        ((1.0, 1), r"a window takes 1 steps, but the series is float64\[\]"),
        ((np.ones(5), 0), r"length must be a whole number >= 1"),
        ((np.ones(5), 2, 0), r"horizon must be a whole number >= 1"),
    ],
)
def test_windows_that_do_not_fit_are_refused(arguments, match):
    with pytest.raises(LoopGradError, match=match):
        nn.windows(*arguments)
