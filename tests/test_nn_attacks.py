"""What was found by trying to break nn: each of these was once wrong, silent, or a hang."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import autograd as ag
import nn
from tests.nn_helpers import RNG


class Masks(nn.Cell):
    """Its output is the mask of a dropout: zeros and twos."""

    def __init__(self, size: int = 16) -> None:
        self.state_size = size
        self.dropout = nn.Dropout(0.5, rng=7)

    def forward(self, x, h):
        return self.dropout(ag.ones_like(h) + 0.0 * x)


class Noisy(nn.Cell):
    """tanh of a dropped input, and of the state."""

    def __init__(self) -> None:
        self.state_size = {"keys": 4}
        self.inside = nn.Linear(3, 4, rng=0)
        self.dropout = nn.Dropout(0.5, rng=0)

    def step(self, x, state):
        h = ag.tanh(self.dropout(self.inside(x)) + state["keys"])
        return h, {"keys": h}


# Random layers in cells, over ragged batches.


def masks(lengths: list[int], steps: int, bidirectional: bool = False) -> np.ndarray:
    cell: Any = (Masks(), Masks()) if bidirectional else Masks()
    layer = nn.Recurrent(cell, bidirectional=bidirectional)
    with nn.randomness(3):
        return layer(np.ones((steps, len(lengths), 16)), lengths=lengths)[0].value


def test_dropout_in_a_cell_draws_anew_in_each_step_of_each_row_of_a_ragged_batch():
    """`loop.index` is a vector there, so masks once had an axis too many."""
    lengths = [9, 9, 5, 0]
    found = masks(lengths, 9)
    rows = [found[t, b].tobytes() for b, n in enumerate(lengths) for t in range(n)]
    assert len(set(rows)) == len(rows) == 23
    assert set(np.unique(found[:, :2])) == {0.0, 2.0}
    forward, backward = np.split(masks(lengths, 9, bidirectional=True), 2, axis=-1)
    assert not np.array_equal(forward, backward)


def test_what_a_row_draws_does_not_depend_on_how_long_others_are():
    short, long = masks([9, 9, 5, 0], 9), masks([12, 9, 5, 1], 12)
    np.testing.assert_array_equal(short[:9, 1], long[:9, 1])
    np.testing.assert_array_equal(short[:5, 2], long[:5, 2])


def ragged_loss(layer: nn.Recurrent) -> Any:
    def loss(xs, lengths):
        with nn.randomness(5):
            return ag.square(layer(xs, lengths=lengths)[0]).sum()

    return loss


def test_dropout_over_a_ragged_batch_is_the_same_drawn_unrolled_and_resized():
    layer = nn.Recurrent(Noisy())
    loss = ragged_loss(layer)
    xs, lengths = RNG(0).normal(size=(5, 3, 3)), np.array([5, 3, 0])
    inputs = ag.input("xs", (5, 3, 3)), ag.input("lengths", (3,), "int64")
    graph = ag.Graph(list(inputs), {"loss": loss(*inputs)})
    want = loss(xs, lengths).value
    for one in (graph, graph.unroll(), graph.compile("numpy")):
        np.testing.assert_allclose(one.run(xs=xs, lengths=lengths)["loss"], want, rtol=1e-12)
    more, ns = RNG(1).normal(size=(7, 5, 3)), np.array([7, 0, 3, 2, 5])
    resized = graph.resize(xs=more.shape, lengths=ns.shape)
    np.testing.assert_allclose(
        resized.run(xs=more, lengths=ns)["loss"], loss(more, ns).value, rtol=1e-12
    )
    assert ag.check_grad(lambda xs: loss(xs, lengths), (xs,), order=2)


def test_training_over_a_ragged_batch_with_dropout_in_the_cell():
    xs, lengths = RNG(0).normal(size=(5, 3, 3)), np.array([5, 3, 0])

    def losses(many: bool) -> list[float]:
        layer = nn.Recurrent(Noisy())

        def loss(xs, lengths):
            return ag.square(layer(xs, lengths=lengths)[0]).sum()

        step = nn.TrainingStep(loss, nn.SGD(layer.parameters(), lr=0.1), backend="numpy")
        batch = {"xs": xs, "lengths": lengths}
        if many:
            return step.many(same=batch, steps=4)["loss"].tolist()
        return [float(step.run(**batch)["loss"]) for _ in range(4)]

    np.testing.assert_allclose(losses(many=True), losses(many=False), rtol=1e-12)


def test_a_mask_without_a_row_for_each_sequence_is_refused_in_a_ragged_loop():
    class Dropped(Noisy):
        def step(self, x, state):
            h = state["keys"] + x @ self.dropout(self.inside.weight).T
            return h, {"keys": h}

    layer = nn.Recurrent(Dropped())
    assert layer(np.ones((5, 2, 3)))[0].shape == (5, 2, 4)
    with pytest.raises(ag.ShapeError, match="a key for each of the 2 rows"):
        layer(np.ones((5, 2, 3)), lengths=[5, 2])


# Cells.


def test_a_step_that_is_kept_is_drawn_anew_when_a_cell_is_given_another_method():
    cell: Any = nn.RNNCell(2, 3, rng=0)
    layer, xs = nn.Recurrent(cell), np.ones((4, 1, 2))
    assert layer(xs)[0].value.any()
    cell.after = lambda x, h: h
    assert not layer(xs)[0].value.any()


@pytest.mark.parametrize("fixed", [False, True])
def test_cells_may_return_arrays_and_say_what_else_they_return(fixed):
    def layer(returned: Any) -> nn.Recurrent:
        class Returning(nn.Cell):
            state_size = 3

            def step(self, x, state):
                return returned(x, state)

        Returning.fixed = fixed
        cell = Returning()
        cell.state_size = 3
        return nn.Recurrent(cell)

    xs = np.ones((4, 2, 3))
    assert layer(lambda x, h: (np.ones((2, 3)), np.zeros((2, 3))))(xs)[0].value.all()
    with pytest.raises(ag.GraphError, match=r"returns a pair .* but returned value; what returns"):
        layer(lambda x, h: h)(xs)
    with pytest.raises(ag.GraphError, match="one array a step, but"):
        layer(lambda x, h: ((h, h), h))(xs)
    with pytest.raises(ag.DTypeError, match="convert the data"):
        layer(lambda x, h: (h, None))(xs)


def test_a_cell_whose_forward_returns_nothing_says_so():
    class Nothing(nn.Cell):
        def __init__(self) -> None:
            self.state_size = 3

        def forward(self, x, h):
            return ()

    with pytest.raises(ag.GraphError, match="returned no array"):
        nn.Recurrent(Nothing())(np.ones((4, 2, 3)))


def test_a_call_that_failed_leaves_the_state_as_it_was():
    layer = nn.GRU(3, 4, stateful=True, rng=0)
    two, one = np.ones((5, 2, 3)), np.ones((5, 1, 3))
    with pytest.raises(ag.ShapeError, match="row 0 has length 9"):
        layer(two, lengths=[9, 1])
    assert layer.state is None
    layer(one)
    before = layer.state.value
    for wrong in ({"watch": "nothing"}, {"lengths": [9]}):
        with pytest.raises(ag.LoopGradError):
            layer(one, **wrong)
    np.testing.assert_array_equal(layer.state.value, before)


# Trees of modules.


@pytest.mark.parametrize("owner_first", [False, True])
def test_a_child_may_know_its_owner(owner_first):
    """This was a hang: the root of the tree was looked for in a circle."""
    outer: Any = nn.Module()
    inner: Any = nn.Module()
    if owner_first:
        inner.owner, outer.child = outer, inner
    else:
        outer.child, inner.owner = inner, outer
    inner.linear = nn.Linear(2, 2)
    outer.itself = outer
    assert [name for name, _ in outer.named_parameters()] == [
        "child.linear.weight",
        "child.linear.bias",
    ]
    items: list[Any] = [nn.Linear(2, 1)]
    items.append(items)
    outer.items = items
    assert len(outer.parameters()) == 4


def test_a_deep_copy_is_a_tree_of_its_own():
    model: Any = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.LSTM(2, 3))
    other = copy.deepcopy(model)
    assert not {*model.parameters()} & {*other.parameters()}
    names = [name for name, _ in model.named_parameters()]
    assert [p.name for p in other.parameters()] == names
    other[0].append(nn.Linear(2, 2))
    other[1].cells[0][0].extra = ag.parameter("extra", np.ones(2))
    assert [p.name for p in other[0].parameters()][2:] == ["0.1.weight", "0.1.bias"]
    assert other[1].cells[0][0].extra.name == "1.extra_l0"
    assert [p.name for p in model.parameters()] == names
    del model
    np.testing.assert_array_equal(other[0][0](np.zeros((1, 2))).value[0], other[0][0].bias.value)


class Stack(nn.Module):
    """Layers that are put into a list after it was assigned."""

    def __init__(self) -> None:
        self.layers: list[Any] = []
        self.more: dict[str, Any] = {}
        for i in range(3):
            self.layers.append(nn.Linear(2, 2, rng=i))
        self.more["last"] = nn.Linear(2, 2, rng=3)

    def forward(self, x):
        for layer in self.layers:
            x = ag.tanh(layer(x))
        return self.more["last"](x)


def test_what_is_appended_to_a_list_is_named_by_its_place():
    """All were called 'weight', which no graph takes."""
    model = Stack()
    names = [p.name for p in model.parameters()]
    assert names == [name for name, _ in model.named_parameters()]
    assert names[-4:] == ["layers.2.weight", "layers.2.bias", "more.last.weight", "more.last.bias"]
    step = nn.TrainingStep(lambda x: model(x).sum(), nn.SGD(model.parameters(), lr=0.1))
    assert step.run(x=np.ones((1, 2)))["loss"].shape == ()
    outer: Any = nn.Module()
    outer.stacks = []
    outer.stacks.append(model)
    assert outer.parameters()[0].name == "stacks.0.layers.0.weight"


@pytest.mark.parametrize("keys", [(1, "1"), ("a.weight", "a")])
def test_two_parameters_with_one_path_are_refused(keys):
    """One of them was lost in state dicts, and so in files."""
    module: Any = nn.Module()
    with pytest.raises(ag.LoopGradError, match=r"two parameters called 'parts\.(1|a)\.?(weight)?'"):
        module.parts = {
            keys[0]: ag.parameter("x", np.ones(1)),
            keys[1]: nn.Linear(1, 1) if keys[1] == "a" else ag.parameter("y", np.ones(1)),
        }


# What is refused.


def test_states_that_are_no_arrays_are_refused_and_change_nothing():
    linear = nn.Linear(2, 1, rng=0)
    before, optimizer = linear.state_dict(), nn.Adam(linear.parameters())
    rows = [[1.0, 2.0], [3.0]]
    with pytest.raises(ag.ShapeError, match="'weight' in a state must be an array"):
        linear.load_state_dict({"weight": rows, "bias": [0.0]})
    with pytest.raises(ag.ShapeError, match=r"'weight\.mean' in a state must be an array"):
        optimizer.load_state_dict({**optimizer.state_dict(), "weight.mean": rows})
    np.testing.assert_array_equal(linear.weight.value, before["weight"])


@pytest.mark.parametrize("index", [1.5, "a", True])
def test_a_padding_index_is_a_whole_number(index):
    with pytest.raises(ag.ShapeError, match="no such row"):
        nn.Embedding(3, 2, padding_index=index)


@pytest.mark.parametrize("shape", [1.5, "ab", (2, None), (), True, np.ones(2)])
def test_norms_are_over_whole_numbers_of_features(shape):
    with pytest.raises(ag.ShapeError, match="takes the number of features"):
        nn.LayerNorm(shape)


@pytest.mark.parametrize("key", [None, "a", 1.5, True])
def test_keys_are_seeds_or_keys(key):
    with (
        pytest.raises(ag.GraphError, match="randomness takes a seed, or a key"),
        nn.randomness(key),
    ):
        nn.Dropout(0.5)(np.ones(3))


def test_rules_are_a_dict_for_a_module():
    for module, rules in ((nn.Linear(2, 1), [("*", 0.0)]), (5, {"*": 0.0})):
        with pytest.raises(ag.LoopGradError, match="apply takes a module and a dict of rules"):
            nn.init.apply(module, rules)
    with pytest.raises(ag.LoopGradError, match="the pattern '1' matches no parameter"):
        nn.init.apply(nn.Linear(2, 1), {1: 0.0})


# Data.


def test_a_dtype_that_is_given_by_name_converts_integers_too():
    numbers = np.arange(4)
    batch = next(iter(nn.Batches(2, xs=numbers, ys=numbers, dtype={"xs": "float32"})))
    assert [str(batch[name].dtype) for name in ("xs", "ys")] == ["float32", "int64"]
    batch = next(iter(nn.Batches(2, xs=numbers, ys=numbers * 1.5, dtype="float32")))
    assert [str(batch[name].dtype) for name in ("xs", "ys")] == ["int64", "float32"]
    ragged: Any = {"xs": [numbers, numbers[:2]], "ys": [1, 0]}
    (batch,) = nn.RaggedBatches(2, dtype={"xs": "float32", "ys": "float64"}, **ragged)
    assert [str(batch[name].dtype) for name in ("xs", "ys")] == ["float32", "float64"]


@pytest.mark.parametrize("name", ["seed", "epoch", "position"])
def test_numbers_in_a_state_of_batches_have_64_bits(name):
    batches = nn.Batches(2, xs=np.arange(4))
    state = batches.state_dict()
    with pytest.raises(ag.LoopGradError, match=f"'{name}' in a state must be a whole number"):
        batches.load_state_dict({**state, name: 2**70})
    assert batches.state_dict() == state


# Steps in the memory of a plan.


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_numbers_and_parameters_that_are_not_trained_are_read_at_every_step(backend):
    p, kept = ag.parameter("p", np.ones(2)), ag.parameter("kept", np.ones(2))
    optimizer = nn.SGD([p], lr=0.1)
    step = nn.TrainingStep(lambda: (p * kept).sum(), optimizer, backend=backend)
    step.run()
    optimizer.lr = 0.5
    step.run()
    kept.value = kept.value * 3.0
    step.run()
    np.testing.assert_allclose(p.value, 1.0 - 0.1 - 0.5 - 1.5)


# What tests did not notice.


def masks_of_steps(step: nn.TrainingStep) -> list[bytes]:
    return [step.run()["mask"].tobytes() for _ in range(4)]


def test_every_step_draws_another_mask():
    """Told by the masks: losses differ anyway, since parameters do."""
    p, dropout = ag.parameter("p", np.ones(1)), nn.Dropout(0.5)

    def loss():
        return {"loss": p.sum(), "mask": dropout(ag.ones(64)), "other": dropout(ag.ones(64))}

    step = nn.TrainingStep(loss, nn.SGD([p], lr=0.0))
    seen = masks_of_steps(step)
    many = step.many(steps=4)
    seen += [row.tobytes() for name in ("mask", "other") for row in many[name]]
    assert len(set(seen)) == 12


def dropped_between(variational: bool) -> tuple[np.ndarray, np.ndarray]:
    """What the first and the second layer are given."""

    class Input(nn.Cell):
        def __init__(self) -> None:
            self.state_size = 32

        def forward(self, x, h):
            return (x + 0.0 * h).named("seen")

    layer = nn.Recurrent([Input(), Input()], dropout=0.5, variational=variational, rng=0)
    *_, seen = layer(np.ones((6, 2, 32)), watch="seen")
    return seen["0.seen"].value, seen["1.seen"].value


def test_dropout_is_between_layers_and_not_before_the_first():
    first, second = dropped_between(variational=False)
    np.testing.assert_array_equal(first, 1.0)
    assert set(np.unique(second)) == {0.0, 2.0}
    assert len({step.tobytes() for step in second}) == 6


def test_a_variational_layer_drops_the_same_at_all_steps():
    _, second = dropped_between(variational=True)
    assert set(np.unique(second)) == {0.0, 2.0}
    np.testing.assert_array_equal(second, np.broadcast_to(second[:1], second.shape))
    assert not np.array_equal(second[0, 0], second[0, 1])


def test_wrong_shapes_are_refused_without_strict_too():
    linear = nn.Linear(2, 1, rng=0)
    before = linear.state_dict()
    with pytest.raises(ag.ShapeError, match="of another shape or kind: 'weight'"):
        linear.load_state_dict({"weight": np.ones((3, 3)), "bias": np.ones(1)}, strict=False)
    for name, value in linear.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_average_weights_of_attention_are_means_over_heads():
    layer, xs = nn.MultiHeadAttention(6, 3, rng=0), RNG(0).normal(size=(4, 2, 6))
    _, each = layer(xs, average=False)
    _, mean = layer(xs)
    assert each.shape == (2, 3, 4, 4)
    np.testing.assert_allclose(mean.value, each.value.mean(1))
    assert not np.allclose(mean.value, each.value[:, 0])
