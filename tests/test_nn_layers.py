"""Dropout, Embedding, norms and Sequential: what the comparison with PyTorch does not reach."""

import numpy as np
import pytest

import autograd as ag
import nn
from loops import LoopNode
from nn.dropout import dropped
from nn.norm import normalized
from tests.loop_reference import assert_same
from tests.nn_helpers import RNG, tracked

KEY = np.array([7, 11], np.uint64)
KEY_SPEC = ag.Spec((2,), np.dtype(np.uint64))
BACKENDS = ["reference", "numpy", "native"]


def run(graph: ag.Graph, backend: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    if backend == "native":
        pytest.importorskip("llvmlite")
    with ag.backend(backend):
        return graph.run(**inputs)


# --- dropout --------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_as_many_as_it_says(p: float):
    x = np.full(40_000, 3.0)
    y = nn.Dropout(p, rng=0)(x).value
    kept = y != 0.0
    error = 5.0 * np.sqrt(p * (1.0 - p) / x.size)  # five standard deviations of a mean
    assert abs(kept.mean() - (1.0 - p)) < error
    np.testing.assert_allclose(y[kept], 3.0 / (1.0 - p), rtol=1e-15)
    assert abs(y.mean() - 3.0) < 3.0 * error / (1.0 - p)


def test_the_gradient_of_dropout_is_its_mask():
    x = tracked(RNG(0).normal(size=(30, 4)))
    y = nn.Dropout(0.25, rng=0)(x)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.value * x.value, y.value, rtol=1e-15)
    assert set(np.unique(x.grad.value)) == {0.0, 1.0 / 0.75}


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_without_training_dropout_is_the_identity(p: float):
    x = ag.tensor(np.ones(3))
    assert nn.Dropout(p).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x


def test_dropping_all_gives_zeros_and_a_zero_gradient_whatever_was_there():
    x = tracked(np.array([np.inf, -2.0, np.nan], np.float32))
    y = nn.Dropout(1.0, rng=0)(x)
    y.sum().backward()
    assert_same(y, np.zeros(3, np.float32))
    assert_same(x.grad, np.zeros(3, np.float32))


def test_calls_and_layers_draw_differently_and_seeds_repeat_it():
    x = np.ones(200)

    def calls(layer: nn.Dropout) -> list[bytes]:
        return [layer(x).value.tobytes() for _ in range(3)]

    rng = RNG(5)
    first, second, again = nn.Dropout(rng=rng), nn.Dropout(rng=rng), nn.Dropout(rng=RNG(5))
    drawn = calls(first)
    assert len({*drawn, *calls(second)}) == 6
    assert calls(again) == drawn


def test_one_key_gives_one_mask_whatever_the_dtype():
    layers = [nn.Dropout(rng=0), nn.Dropout(rng=1)]

    def masks(key: int, dtype: str) -> list[np.ndarray]:
        with nn.randomness(key):
            return [layer(np.ones(200, dtype)) for layer in layers]

    ours, again, single, other = (
        masks(3, "float64"), masks(3, "float64"), masks(3, "float32"), masks(4, "float64")
    )  # fmt: skip
    for a, b, c, d in zip(ours, again, single, other, strict=True):
        assert_same(a, b.value)
        assert_same(c, a.value.astype("float32"))
        assert (a.value != d.value).any()
    assert (ours[0].value != ours[1].value).any()


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_variational_dropout_has_one_mask_for_all_steps(axis: int):
    x = np.ones((5, 6, 40))
    y = nn.Dropout(0.5, variational=True, axis=axis, rng=0)(x).value
    steps = np.moveaxis(y, axis, 0)
    assert (steps == steps[0]).all()
    assert 0.2 < (steps[0] == 0.0).mean() < 0.8
    assert (steps[0][0] != steps[0][1]).any()  # rows have masks of their own


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("variational", [False, True])
def test_drawn_dropout_is_that_on_tensors(backend: str, variational: bool):
    layer = nn.Dropout(0.25, variational=variational)
    x = RNG(0).normal(size=(6, 3, 5)).astype(np.float32)

    def loss(x, key):
        with nn.randomness(key):
            return {"y": layer(x), "loss": layer(x).sum()}

    graph = ag.trace(loss, ag.Spec(x.shape, x.dtype), KEY_SPEC).grad("loss", ["x"])
    found = run(graph, backend, x=x, key=KEY)
    leaf = tracked(x)
    wanted = loss(leaf, KEY)
    wanted["loss"].backward()
    assert_same(found["y"], wanted["y"].value)
    assert_same(found["grad_x"], leaf.grad.value)
    assert found["grad_x"].dtype == np.float32
    other = run(graph, backend, x=x, key=KEY + np.uint64(1))
    assert (other["y"] != found["y"]).any()


def test_drawn_dropout_needs_a_key():
    layer = nn.Dropout()
    with pytest.raises(ag.GraphError, match=r"Dropout is drawn into a graph.*model\.eval\(\)"):
        ag.trace(layer, (3,))
    layer.eval()
    assert_same(ag.trace(layer, (3,)).run(x0=np.ones(3))["output"], np.ones(3))


def test_in_the_body_of_a_loop_each_step_needs_a_key_of_its_own():
    layer = nn.Dropout()

    def model(xs, key, own: bool):
        with nn.randomness(key), LoopNode("steps") as loop:
            x = loop.each(xs)
            if own:
                with nn.randomness(ag.random.fold_in(key, loop.index)):
                    ys = loop.collect(layer(x))
            else:
                ys = loop.collect(layer(x))
        return ys

    xs, key = ag.input("xs", (4, 100)), ag.input("key", (2,), np.uint64)
    with pytest.raises(ag.GraphError, match=r"body of a loop.*all steps would draw the same"):
        model(xs, key, own=False)
    graph = ag.Graph([xs, key], {"ys": model(xs, key, own=True)})
    for backend in BACKENDS:
        ys = run(graph, backend, xs=np.ones((4, 100)), key=KEY)["ys"]
        assert len({row.tobytes() for row in ys}) == 4
        for t, row in enumerate(ys):
            with nn.randomness(ag.random.fold_in(KEY, t)):
                assert_same(row, layer(np.ones(100)).value)


def test_each_example_of_a_vmap_may_have_its_own_key():
    layer = nn.Dropout(0.5)

    def masked(x, key):
        with nn.randomness(key):
            return layer(x)

    keys = ag.random.split(ag.random.key(1), 3)
    x = np.ones((3, 50))
    together = ag.vmap(masked)(x, keys)
    for row, x_row, key in zip(together.value, x, keys.value, strict=True):
        assert_same(row, masked(x_row, key).value)
    shared = ag.vmap(lambda x: masked(x, KEY))(x).value
    assert_same(shared, np.broadcast_to(shared[0], (3, 50)))


def test_dropout_differentiates_twice():
    ag.check_grad(lambda x: dropped(x, KEY, 0.3) ** 3, (RNG(0).normal(size=(4, 3)),), order=2)
    ag.check_grad(
        lambda x: dropped(ag.exp(x), KEY, 0.3, (4, 1)), (RNG(0).normal(size=(4, 3)),), order=2
    )


def test_training_steps_give_dropout_a_mask_a_step_and_repeat_it_by_seed():
    def losses(seed: int) -> np.ndarray:
        scale = ag.parameter("scale", 1.0)
        layer = nn.Dropout(0.5)
        step = nn.TrainingStep(
            lambda x: (layer(x) * scale).mean(), nn.SGD([scale], lr=0.0), seed=seed
        )
        return np.array([step(x=np.ones(501))["loss"] for _ in range(4)])

    assert len({*losses(0)}) > 1
    assert_same(losses(0), losses(0))
    assert (losses(0) != losses(1)).any()


@pytest.mark.parametrize("p", [-0.1, 1.5, "0.5", True, np.nan, None])
def test_p_is_a_probability(p):
    with pytest.raises(ag.LoopGradError, match=r"p is the probability.*from 0 to 1, but is"):
        nn.Dropout(p)


def test_dropout_refuses_what_it_cannot_drop():
    with pytest.raises(ag.DTypeError, match=r"Dropout scales floats, but got .*int64\[3\]"):
        nn.Dropout()(np.arange(3))
    with pytest.raises(ag.ShapeError, match=r"along axis 2, which .* does not have"):
        nn.Dropout(variational=True, axis=2)(np.ones((2, 3)))
    for shape in [(2, 2, 3), (2,), (3, 3)]:
        with pytest.raises(ag.ShapeError, match=r"mask of shape .* does not broadcast against"):
            dropped(np.ones((2, 3)), KEY, 0.5, shape)


# --- embedding ------------------------------------------------------------------------------------


def test_the_padding_row_is_zero_and_stays_it():
    table = nn.Embedding(5, 3, padding_index=-5, rng=0)
    assert table.padding_index == 0
    y = table(np.array([[0, 2], [0, 0]]))
    assert_same(y[1], np.zeros((2, 3)))
    y.sum().backward()
    assert_same(table.weight.grad, np.eye(5)[:, 2:3] * np.ones(3))


def test_no_indices_give_no_rows():
    assert nn.Embedding(5, 3)(np.zeros((0, 2), int)).shape == (0, 2, 3)


@pytest.mark.parametrize("wrong", [5, -1])
def test_known_indices_are_checked(wrong: int):
    table = nn.Embedding(5, 3)
    with pytest.raises(
        ag.ShapeError, match=rf"'weight' has 5 rows.*at \(1, 0\) of .*int64\[2, 2\].* is {wrong};"
    ):
        table(np.array([[0, 4], [wrong, 0]]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_a_graph_indices_beyond_the_table_are_errors_and_negative_ones_count_from_its_end(
    backend: str,
):
    table = nn.Embedding(5, 3, rng=0)
    graph = ag.trace(table, ag.Spec((2,), np.dtype(np.int64)))
    found = run(graph, backend, x0=np.array([4, -5]))["output"]
    assert_same(found, table.weight.value[[4, 0]])
    for wrong in (5, -6):
        with pytest.raises(ag.ShapeError, match=r"does not fit shape \(5, 3\)"):
            run(graph, backend, x0=np.array([0, wrong]))


def test_embedding_refuses_what_are_no_indices():
    with pytest.raises(ag.DTypeError, match=r"takes integers, but got .*float64\[2\].*int64"):
        nn.Embedding(5, 3)(np.ones(2))
    for index in (5, -6):
        with pytest.raises(ag.ShapeError, match=f"padding_index is {index}.*from 0 to 4"):
            nn.Embedding(5, 3, index)


class Language(nn.Module):
    """Scores of the next token by the table the tokens are looked up in (Press and Wolf 2017)."""

    def __init__(self) -> None:
        rng = RNG(0)
        self.table = nn.Embedding(6, 4, rng=rng)
        self.inner = nn.Linear(4, 4, rng=rng)
        self.out = nn.Linear(4, 6, bias=False, rng=rng)
        self.out.weight = self.table.weight

    def forward(self, tokens):
        return self.out(ag.tanh(self.inner(self.table(tokens))))


def test_tied_weights_are_one_parameter_whose_gradient_is_the_sum_of_both_uses():
    model = Language()
    assert list(model.state_dict()) == ["table.weight", "inner.weight", "inner.bias"]
    tokens = np.array([[1, 2], [5, 1]])
    (model(tokens) ** 2).sum().backward()
    tied = model.table.weight.grad.value

    def loss(lookup, scores):
        hidden = ag.tanh(ag.take(lookup, tokens, 0) @ model.inner.weight.T + model.inner.bias)
        return ((hidden @ scores.T) ** 2).sum()

    weight = model.table.weight.value
    lookup, scores = ag.grad(loss, (0, 1))(weight, weight)
    np.testing.assert_allclose(tied, lookup.value + scores.value, rtol=1e-12)


def test_tied_weights_stay_tied_in_training():
    model = Language()
    before = model.table.weight.value
    step = nn.TrainingStep(
        lambda tokens: (model(tokens) ** 2).mean(), nn.SGD(model.parameters(), lr=0.1)
    )
    losses = [step(tokens=np.array([0, 3]))["loss"] for _ in range(5)]
    assert losses == sorted(losses, reverse=True)
    assert model.out.weight is model.table.weight
    assert (model.table.weight.value != before).all()  # rows not looked up, by their scores


def test_embedding_under_vmap_and_after_resize():
    table = nn.Embedding(5, 3, padding_index=1, rng=0)
    indices = RNG(0).integers(0, 5, (4, 2))
    assert_same(ag.vmap(table)(indices), table(indices).value)
    graph = ag.trace(table, ag.Spec((2,), np.dtype(np.int64))).resize(x0=(8,))
    assert_same(graph.run(x0=indices.ravel())["output"], table(indices.ravel()).value)


# --- norms ----------------------------------------------------------------------------------------


def test_normalized_vectors_have_mean_0_and_variance_1():
    x = RNG(0).normal(3.0, 5.0, (4, 3, 50))
    y = normalized(x, eps=0.0).value
    np.testing.assert_allclose(y.mean(-1), 0.0, atol=1e-14)
    np.testing.assert_allclose(y.var(-1), 1.0, rtol=1e-14)
    whole = normalized(x, eps=0.0, axes=2).value
    np.testing.assert_allclose(whole.var((1, 2)), 1.0, rtol=1e-14)


def test_equal_elements_become_zeros_with_a_finite_gradient():
    x = tracked(np.full((2, 5), 7.0, np.float32))
    y = nn.LayerNorm(5, dtype="float32")(x)
    (y**2).sum().backward()
    assert_same(y, np.zeros((2, 5), np.float32))
    assert np.isfinite(x.grad.value).all()


@pytest.mark.parametrize("layer", [nn.LayerNorm((2, 3)), nn.RMSNorm(3, eps=1e-3)])
def test_norms_differentiate_twice_batch_and_resize(layer: nn.Module):
    x = RNG(0).normal(size=(4, 2, 3))
    ag.check_grad(layer, (x,), order=2)
    ag.check_grad(ag.trace(layer, x.shape), (x,), order=2)
    assert_same(ag.vmap(layer)(x), layer(x).value, 1e-15)
    assert_same(ag.trace(layer, (1, 2, 3)).resize(x0=x.shape).run(x0=x)["output"], layer(x).value)


def test_norms_refuse_other_features_and_dtypes():
    for layer in (nn.LayerNorm((2, 3)), nn.RMSNorm((2, 3))):
        for shape in [(3, 2), (3,), (), (2, 4)]:
            with pytest.raises(ag.ShapeError, match=r"Norm takes inputs \(\.\.\., 2, 3\), but got"):
                layer(np.ones(shape))
        with pytest.raises(ag.DTypeError, match=r"computes in float64.*\.astype\('float64'\)"):
            layer(np.ones((2, 3), np.float32))
    with pytest.raises(ag.DTypeError, match=r"LayerNorm computes in float64, but got .*int64"):
        nn.LayerNorm(3, elementwise_affine=False)(np.arange(3))
    for shape in [(), 0, (2, -1)]:
        with pytest.raises(ag.ShapeError, match="takes the number of features, or the shape"):
            nn.LayerNorm(shape)


# --- Sequential -----------------------------------------------------------------------------------


def small() -> nn.Sequential:
    rng = RNG(0)
    return nn.Sequential(nn.Linear(2, 4, rng=rng), ag.tanh, nn.Linear(4, 1, rng=rng))


def test_layers_are_called_one_after_the_other():
    model, x = small(), RNG(1).normal(size=(5, 2))
    assert_same(model(x), model[2](ag.tanh(model[0](x))).value)
    assert_same(nn.Sequential()(x), x)


def test_parameters_are_named_as_torchs():
    assert list(small().state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    named = nn.Sequential({"inside": nn.Linear(2, 4), "tanh": ag.tanh, "out": nn.Linear(4, 1)})
    assert list(named.state_dict()) == ["inside.weight", "inside.bias", "out.weight", "out.bias"]
    assert named["out"] is named.out is named[-1]


def test_sequential_is_a_sequence():
    model = small()
    assert len(model) == 3
    assert list(model) == [model[0], ag.tanh, model[-1]]
    assert [name for name, _ in model.items()] == ["0", "1", "2"]
    assert model.append(nn.Linear(1, 1)) is model
    assert model[3].weight.name == "3.weight"
    for wrong, error in [(4, IndexError), (-5, IndexError), ("4", KeyError), (1.0, KeyError)]:
        with pytest.raises(error, match=r"no layer .*; it has 0, 1, 2, 3"):
            model[wrong]


def test_slices_share_layers_and_names():
    model = small().eval()
    outer = nn.Sequential({"net": model})
    assert [layer.weight.name for layer in outer["net"][::2]] == ["net.0.weight", "net.2.weight"]
    del outer
    model = small().eval()
    part = model[1:]
    assert list(part) == list(model)[1:]
    assert list(part.state_dict()) == ["2.weight", "2.bias"]
    assert part[1].weight.name == "2.weight"
    assert not part.training
    del part
    model.append(ag.tanh)
    assert model[2].weight.name == "2.weight"
    assert [name for name, _ in model[2:].append(ag.relu).items()] == ["2", "3", "4"]


def test_outputs_of_recurrent_layers_are_passed_on_and_states_are_not():
    rnn, out = nn.RNN(2, 3, rng=0), nn.Linear(3, 1, rng=0)
    xs = RNG(0).normal(size=(4, 5, 2))
    hs, last = rnn(xs)
    assert_same(nn.Sequential(rnn, out)(xs), out(hs).value)
    assert_same(nn.Sequential(rnn)(xs), hs.value)
    rnn.passes_on = 1
    assert_same(nn.Sequential(rnn, out)(xs), out(last).value)
    rnn.passes_on = None
    assert_same(nn.Sequential(rnn, lambda both: both[0] + both[1])(xs), (hs + last).value)
    rnn.passes_on = 2
    with pytest.raises(ag.LoopGradError, match="passes_on is 2, but 2 values were returned"):
        nn.Sequential(rnn)(xs)


def test_modes_and_training_reach_what_is_inside():
    model = nn.Sequential(nn.Linear(2, 8, rng=0), nn.Dropout(0.5, rng=0), nn.Linear(8, 1, rng=0))
    x = RNG(0).normal(size=(20, 2))
    assert (model(x).value != model(x).value).any()
    model.eval()
    assert_same(model(x), model(x).value)
    step = nn.TrainingStep(
        lambda x, y: nn.squared_error(model(x), y), nn.SGD(model.parameters(), lr=0.1)
    )
    losses = [step(x=x, y=x[:, :1])["loss"] for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]


def test_errors_in_a_layer_say_in_which():
    model = nn.Sequential(nn.Linear(2, 4), ag.tanh, nn.Linear(3, 1))
    with pytest.raises(ag.ShapeError, match=r"takes inputs \(\.\.\., 3\)") as raised:
        model(np.ones((5, 2)))
    assert raised.value.__notes__ == ["in layer '2' of a Sequential: Linear"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("tanh",), r"layer '0' .* must be a module or a function, but is str 'tanh'"),
        ((ag.tanh, nn.Linear), r"layer '1' .* but is type .*; give Linear\(\.\.\.\)"),
        (({"a.b": ag.tanh},), "cannot be called 'a.b'"),
        (({"": ag.tanh},), "cannot be called ''"),
        (({"forward": ag.tanh},), "cannot be called 'forward'"),
        (({3: ag.tanh},), "cannot be called 3"),
    ],
)
def test_wrong_layers_and_names_are_refused(layers, message):
    with pytest.raises(ag.LoopGradError, match=message):
        nn.Sequential(*layers)


def test_a_model_of_layers_reads_in_pictures():
    model = nn.Sequential(nn.Embedding(5, 4, rng=0), nn.LayerNorm(4), nn.Linear(4, 2, rng=0))
    text = str(ag.trace(model, ag.Spec((3,), np.dtype(np.int64))))
    for name in ("0.weight", "1.weight", "1.bias", "2.weight", "2.bias"):
        assert f'parameter "{name}": float64' in text
    assert "normalized = divide" in text


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda n: nn.Linear(n, 2), "in_features"),
        (lambda n: nn.Linear(2, n), "out_features"),
        (lambda n: nn.Embedding(n, 2), "num_embeddings"),
        (lambda n: nn.Embedding(2, n), "embedding_dim"),
        (lambda n: nn.MultiHeadAttention(n, 2), "embed_dim"),
        (lambda n: nn.MultiHeadAttention(2, n), "num_heads"),
    ],
)
@pytest.mark.parametrize("size", [-1, 2.0, "2", True])
def test_sizes_are_whole_numbers(make, name: str, size):
    with pytest.raises(ag.LoopGradError, match=f"{name} must be a whole number >= 0, but is"):
        make(size)
