"""Batches: whole epochs, orders that are functions of a seed, states, and what is refused."""

import numpy as np
import pytest

import nn
from autograd.errors import DTypeError, LoopGradError, ShapeError
from tests.nn_helpers import RNG

XS = RNG(0).normal(size=(23, 3))
YS = np.arange(23)


def batches(**options) -> nn.Batches:
    return nn.Batches(**{"batch_size": 5, "xs": XS, "ys": YS, **options})


def rows(source, epoch: int) -> list[int]:
    """The examples of an epoch, in order."""
    return np.concatenate([batch["ys"] for batch in source.of_epoch(epoch)]).tolist()


def assert_same(one, other) -> None:
    one, other = list(one), list(other)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert list(a) == list(b)
        for name in a:
            assert a[name].dtype == b[name].dtype
            np.testing.assert_array_equal(a[name], b[name])


# --- arrays ---------------------------------------------------------------------------------------


def test_each_epoch_has_every_example_once_and_rows_stay_together():
    source = batches()
    for epoch in range(3):
        found = list(source.of_epoch(epoch))
        assert [len(batch["xs"]) for batch in found] == [5, 5, 5, 5, 3]
        assert sorted(rows(source, epoch)) == list(range(23))
        for batch in found:
            np.testing.assert_array_equal(batch["xs"], XS[batch["ys"]])


def test_the_last_batch_can_be_left_out():
    source = batches(drop_last=True)
    assert len(source) == 4
    assert [len(batch["ys"]) for batch in source] == [5] * 4
    assert len(batches(batch_size=23, drop_last=True)) == 1
    assert len(batches(batch_size=100)) == 1


def test_orders_are_functions_of_seed_and_epoch():
    assert rows(batches(seed=1), 4) == rows(batches(seed=1), 4)
    orders = [tuple(rows(batches(seed=seed), epoch)) for seed in range(4) for epoch in range(4)]
    assert len(set(orders)) == 16
    assert rows(batches(shuffle=False), 7) == list(range(23))


def test_the_order_of_a_seed_is_the_same_for_ever():
    # by hand: the examples sorted by the bits of Philox with the key (seed, epoch)
    bits = np.random.Philox(key=np.array([5, 2], np.uint64)).random_raw(8)
    order = sorted(range(8), key=lambda i: int(bits[i]))
    source = nn.Batches(3, ys=np.arange(8), seed=5)
    assert rows(source, 2) == order == [3, 5, 2, 7, 1, 0, 6, 4]


def test_every_place_is_as_likely_for_every_example():
    source = nn.Batches(4, ys=np.arange(4))
    counts = np.zeros((4, 4))
    for epoch in range(2000):
        counts[np.arange(4), rows(source, epoch)] += 1
    # 2000 draws: a count is 500 +- 19 (one standard deviation)
    assert np.abs(counts - 500).max() < 5 * 19.4


def test_a_for_is_an_epoch_and_the_next_one_another():
    source = batches()
    first, second = list(source), list(source)
    assert_same(first, batches().of_epoch(0))
    assert_same(second, batches().of_epoch(1))
    assert (source.epoch, source.position) == (2, 0)


def test_an_epoch_that_was_left_begins_again():
    source = batches()
    for _ in source:
        break
    assert source.position == 1
    assert_same(source, batches().of_epoch(0))


def test_asking_for_an_epoch_changes_nothing():
    source = batches()
    list(source.of_epoch(3))
    assert (source.epoch, source.position) == (0, 0)
    assert_same(source.of_epoch(3, start=2), list(source.of_epoch(3))[2:])


@pytest.mark.parametrize("given", range(11))
def test_a_state_goes_on_with_the_next_batch(given):
    source = batches(seed=3)
    every = [batch for epoch in range(3) for batch in source.of_epoch(epoch)]
    taken, state = [], source.state_dict()
    while len(taken) < given:
        for batch in source:
            taken.append(batch)
            state = source.state_dict()
            if len(taken) == given:
                break
    resumed = batches(seed=99)
    resumed.load_state_dict(state)
    rest = []
    while resumed.epoch < 3:
        rest += list(resumed)
    assert_same([*taken, *rest], every)


def test_a_loaded_state_is_copied_and_of_plain_numbers():
    state = batches(seed=2).state_dict()
    assert {type(x) for x in state.values()} == {int}
    source = batches()
    source.load_state_dict({name: np.int64(x) for name, x in state.items()})
    assert source.state_dict() == state


def test_examples_may_lie_along_other_axes():
    xs = RNG(1).normal(size=(7, 23, 2))
    for axis in ({"xs": 1}, {"xs": -2, "ys": 0}):
        source = batches(xs=xs, axis=axis)
        for batch in source:
            np.testing.assert_array_equal(batch["xs"], xs[:, batch["ys"]])
    together = nn.Batches(5, xs=xs, zs=xs[..., 0], axis=1)
    for batch in together:
        assert batch["xs"].shape[:2] == batch["zs"].shape
        np.testing.assert_array_equal(batch["xs"][..., 0], batch["zs"])


@pytest.mark.parametrize("most", [1, 2, 3, 9])
@pytest.mark.parametrize("options", [{}, {"drop_last": True}, {"batch_size": 23}])
def test_batches_in_groups_are_the_same_batches(most, options):
    xs = RNG(1).normal(size=(7, 23, 2))
    source = batches(xs=xs, axis={"xs": -2}, **options)
    for start in range(0, len(source) + 1):
        expected = list(source.sized(4, start))
        # of the base class (any kind of batches), and their own (one look into the arrays)
        for grouped in (nn.data.Epochs.grouped, nn.Batches.grouped):
            found = list(grouped(source, 4, start, most))
            assert [size for sizes, _ in found for size in sizes] == [size for size, _ in expected]
            assert max([len(sizes) for sizes, _ in found], default=0) <= most
            apart = [
                {name: x[i] for name, x in group.items()}
                for sizes, group in found
                for i in range(len(sizes))
            ]
            assert_same(apart, [batch for _, batch in expected])
            if most == 3 and start == 0 and not options:
                assert [len(sizes) for sizes, _ in found] == [3, 1, 1]


def test_batches_are_copies_and_data_are_not():
    xs = XS.copy()
    source = nn.Batches(23, shuffle=False, xs=xs)
    (batch,) = source
    batch["xs"][:] = 0
    np.testing.assert_array_equal(xs, XS)
    xs[0] = 7
    assert next(iter(source))["xs"][0].tolist() == [7, 7, 7]


def test_dtypes_stay_unless_they_are_asked_for():
    data = {"xs": XS.astype("float32"), "ys": YS.astype("int16"), "zs": YS > 3, "ws": XS}
    kept = next(iter(nn.Batches(4, **data)))
    assert [str(x.dtype) for x in kept.values()] == ["float32", "int16", "bool", "float64"]
    asked = next(iter(nn.Batches(4, dtype="float32", **data)))
    assert [str(x.dtype) for x in asked.values()] == ["float32", "int16", "bool", "float32"]
    named = next(iter(nn.Batches(4, dtype={"ys": "int64"}, **data)))
    assert [str(x.dtype) for x in named.values()] == ["float32", "int64", "bool", "float64"]
    # a dtype of integers is for what already is one, unless a float array is named
    named = next(iter(nn.Batches(4, dtype={"xs": "int8"}, xs=[0.0, 3.0, 2.0, 1.0])))
    assert named["xs"].dtype == np.int8


def test_lists_are_arrays():
    batch = next(iter(nn.Batches(2, shuffle=False, xs=[[1.0, 2.0], [3.0, 4.0]], ys=[True, False])))
    np.testing.assert_array_equal(batch["xs"], [[1.0, 2.0], [3.0, 4.0]])
    assert batch["ys"].dtype == bool


def test_tables_of_pandas_are_arrays():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0], "c": ["x", "y", "z"]})
    index = pd.Index([10, 11, 12])
    source = nn.Batches(2, shuffle=False, xs=table[["a", "b"]], ys=table["b"], zs=index)
    first = next(iter(source))
    np.testing.assert_array_equal(first["xs"], [[1.0, 4.0], [2.0, 5.0]])
    np.testing.assert_array_equal(first["ys"], [4.0, 5.0])
    np.testing.assert_array_equal(first["zs"], [10, 11])
    with pytest.raises(DTypeError, match=r"'xs' must be numbers, but NumPy makes (object|str)"):
        nn.Batches(2, xs=table)


def test_batches_train_a_step():
    layer = nn.Linear(3, 1, rng=RNG(0))

    def loss(xs, ys):
        return nn.squared_error(layer(xs)[:, 0], ys)

    step = nn.TrainingStep(loss, nn.SGD(layer.parameters(), lr=0.01))
    for batch in batches(ys=YS * 1.0):
        before = loss(**batch).item()
        assert step.run(**batch)["loss"] == pytest.approx(before, rel=1e-12)
    assert step.optimizer.steps == 5


# --- what is refused ------------------------------------------------------------------------------

REFUSED = {
    "no data": (lambda: nn.Batches(5), LoopGradError, r"needs arrays, by the names"),
    "data for a size": (
        lambda: nn.Batches(XS, ys=YS),
        LoopGradError,
        r"batch_size must be a whole",
    ),
    "size 0": (lambda: batches(batch_size=0), LoopGradError, r"batch_size must be .* >= 1.*int 0"),
    "size True": (lambda: batches(batch_size=True), LoopGradError, r"batch_size must be a whole"),
    "size 2.0": (lambda: batches(batch_size=2.0), LoopGradError, r"float 2\.0"),
    "lengths": (lambda: batches(ys=YS[1:]), ShapeError, r"'xs' has 23, 'ys' has 22"),
    "another axis": (lambda: batches(xs=XS.T), ShapeError, r"another axis.*say so by axis="),
    "empty": (
        lambda: nn.Batches(2, xs=XS[:0]),
        ShapeError,
        r"there are no examples: 'xs' is empty",
    ),
    "a number": (lambda: batches(zs=1.0), ShapeError, r"'zs' is float64\[\], so it has no axis 0"),
    "no such axis": (lambda: batches(axis=1), ShapeError, r"'ys' .* has no axis 1"),
    "axis 0.5": (lambda: batches(axis=0.5), LoopGradError, r"axis must be a whole number"),
    "axis of nothing": (
        lambda: batches(axis={"z": 1}),
        LoopGradError,
        r"axis names 'z', but .* xs",
    ),
    "texts": (
        lambda: nn.Batches(2, xs=["a", "b"]),
        DTypeError,
        r"must be numbers, but NumPy makes",
    ),
    "ragged": (lambda: nn.Batches(2, xs=[[1], [1, 2]]), ShapeError, r"go into nn\.RaggedBatches"),
    "too few": (lambda: batches(batch_size=24, drop_last=True), ShapeError, r"23 examples make no"),
    "seed -1": (lambda: batches(seed=-1), LoopGradError, r"seed must be a whole number from 0"),
    "seed 2^64": (lambda: batches(seed=2**64), LoopGradError, r"seed must be .* 2\^64 - 1"),
    "shuffle 1": (lambda: batches(shuffle=1), LoopGradError, r"shuffle must be True or False"),
    "drop_last": (lambda: batches(drop_last="no"), LoopGradError, r"drop_last must be True or"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_at_once(case):
    make, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"examples": 24}, r"with examples = 24, but here it is 23"),
        ({"batch_size": 4}, r"with batch_size = 4, but here it is 5"),
        ({"shuffle": 0}, r"with shuffle = 0, but here it is 1"),
        ({"position": -1}, r"'position' in a state must be a whole number >= 0"),
        ({"epoch": 1.5}, r"'epoch' in a state must be a whole number"),
        ({"more": 1}, r"the state of Batches is seed, epoch, .*more came"),
    ],
)
def test_a_state_of_other_batches_is_refused_and_changes_nothing(change, match):
    source = batches()
    with pytest.raises(LoopGradError, match=match):
        source.load_state_dict({**source.state_dict(), "position": 2, "seed": 5, **change})
    assert source.state_dict() == batches().state_dict()


def test_a_state_is_a_dict():
    with pytest.raises(LoopGradError, match=r"the state of Batches is seed.*but \[1\] came"):
        batches().load_state_dict([1])


def test_a_class_of_ones_own_says_what_it_lacks():
    with pytest.raises(LoopGradError, match=r"Epochs has no _parts"):
        list(nn.data.Epochs())


# --- splits ---------------------------------------------------------------------------------------


def test_a_split_has_every_example_once_and_keeps_rows_together():
    a, b, c, d = nn.train_test_split(XS, YS, test_size=0.3, seed=1)
    assert (len(a), len(b)) == (16, 7)  # 23 * 0.3 = 6.9, rounded up
    np.testing.assert_array_equal(a, XS[c])
    np.testing.assert_array_equal(b, XS[d])
    assert sorted([*c, *d]) == list(range(23))
    again = nn.train_test_split(YS, test_size=7, seed=1)
    np.testing.assert_array_equal(again[1], d)
    assert not np.array_equal(nn.train_test_split(YS, test_size=7, seed=2)[1], d)


def test_a_split_in_time_takes_the_end():
    train, test = nn.train_test_split(YS, test_size=4, shuffle=False)
    assert (train.tolist(), test.tolist()) == (list(range(19)), [19, 20, 21, 22])


def test_a_split_takes_other_axes_and_lists_of_sequences():
    xs = RNG(0).normal(size=(2, 23))
    sequences = [np.full(i, i) for i in range(23)]
    a, b, c, d = nn.train_test_split(xs, sequences, axis=1, test_size=0.5)
    assert (a.shape, b.shape) == ((2, 11), (2, 12))
    assert isinstance(c, list)
    np.testing.assert_array_equal(b, xs[:, [len(x) for x in d]])
    assert sorted(len(x) for x in [*c, *d]) == list(range(23))


def test_the_split_is_not_the_order_of_an_epoch():
    split = np.concatenate(nn.train_test_split(YS, seed=4)).tolist()
    assert split != rows(batches(seed=4), 0)


@pytest.mark.parametrize(
    ("size", "match"),
    [
        (0.0, r"test_size must be a part of all, between 0 and 1.*0\.0"),
        (1.0, r"test_size must be a part"),
        ("half", r"test_size must be a part"),
        (True, r"test_size must be a part"),
        (23, r"of 23 examples is 23 for testing; both parts must have"),
        (0, r"is 0 for testing"),
    ],
)
def test_a_split_into_nothing_is_refused(size, match):
    with pytest.raises(LoopGradError, match=match):
        nn.train_test_split(XS, test_size=size)


def test_a_split_of_nothing_or_of_unlike_data_is_refused():
    with pytest.raises(LoopGradError, match=r"needs arrays"):
        nn.train_test_split()
    with pytest.raises(ShapeError, match=r"array 1 has 22"):
        nn.train_test_split(XS, YS[1:])
