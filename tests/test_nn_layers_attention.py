"""Attention: who sees whom, one step at a time, in loops, and what is refused."""

import numpy as np
import pytest

import autograd as ag
import nn
from loops import LoopNode, valid_mask
from tests.loop_reference import assert_same
from tests.nn_helpers import RNG, tracked

T, B, D = 5, 3, 4
LENGTHS = np.array([5, 2, 0])


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return RNG([seed, *shape]).normal(size=shape)


def by_hand(query, keys, values, seen) -> tuple[np.ndarray, np.ndarray]:
    """Attention query by query: (contexts (Tq, B, Dv), weights (B, Tq, Tk))."""
    contexts = np.zeros((*query.shape[:-1], values.shape[-1]))
    weights = np.zeros((query.shape[1], query.shape[0], keys.shape[0]))
    for b in range(query.shape[1]):
        for i, q in enumerate(query[:, b]):
            visible = np.flatnonzero(seen[b, i])
            e = np.exp(keys[visible, b] @ q / np.sqrt(len(q)))
            weights[b, i, visible] = e / e.sum()
            contexts[i, b] = weights[b, i, visible] @ values[visible, b]
    return contexts, weights


def modules() -> list[nn.Module]:
    return [nn.AdditiveAttention(D, D, 6, rng=0), nn.MultiHeadAttention(D, 2, rng=0)]


def test_lengths_masks_and_causality_combine():
    query, keys, values = normal(T, B, D), normal(T, B, D, seed=1), normal(T, B, 2)
    mask = RNG(0).random((B, T, T)) < 0.7
    seen = (np.arange(T) < LENGTHS[:, None])[:, None] & mask & np.tri(T, dtype=bool)
    found = nn.attention(query, keys, values, lengths=LENGTHS, mask=mask, causal=True)
    assert_same(found, by_hand(query, keys, values, seen)[0], 1e-14)


def test_weights_of_heads_are_those_of_attention_in_parts():
    layer = nn.MultiHeadAttention(D, 1, rng=0)
    x = normal(T, B, D)
    q, k, v = np.split(x @ layer.in_proj_weight.value.T, 3, -1)
    seen = (np.arange(T) < LENGTHS[:, None])[:, None].repeat(T, 1)
    contexts, weights = by_hand(q, k, v, seen)
    outputs, found = layer(x, lengths=LENGTHS)
    assert_same(found, weights, 1e-14)
    assert_same(outputs, contexts @ layer.out_proj.weight.value.T, 1e-14)
    assert_same(layer(x, lengths=LENGTHS, average=False)[1], weights[:, None], 1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_query_that_sees_nothing_gets_zeros_and_sends_back_zeros(dtype: str):
    query, keys = [tracked(normal(T, B, D).astype(dtype)) for _ in range(2)]
    y = nn.attention(query, keys, lengths=[T, 2, 0], mask=np.arange(T)[:, None] > 0)
    y.sum().backward()
    assert_same(y[:, 2], np.zeros((T, D), dtype))
    assert_same(y[0], np.zeros((B, D), dtype))
    for x in (query, keys):
        assert x.grad.dtype == dtype
        assert np.isfinite(x.grad.value).all()
        assert_same(x.grad[:, 2], np.zeros((T, D), dtype))
    assert_same(query.grad[0], np.zeros((B, D), dtype))
    assert query.grad.value[1:, :2].any()


@pytest.mark.parametrize("k", [0, 1])
def test_modules_give_zeros_where_nothing_is_seen(k: int):
    layer = modules()[k]
    outputs, weights = layer(normal(T, B, D), normal(T, B, D), lengths=LENGTHS)
    assert_same(weights[2], np.zeros((T, T)))
    assert_same(outputs[:, 2], np.zeros((T, D)))  # and the bias of out_proj starts as zeros


def test_causal_attention_does_not_see_what_is_late():
    layer = nn.MultiHeadAttention(D, 2, rng=0)
    x = normal(T, B, D)
    changed = np.concatenate([x[:3], 100.0 * x[3:]])
    before, after = layer(x, causal=True)[0].value, layer(changed, causal=True)[0].value
    assert_same(after[:3], before[:3], 1e-15)
    assert (after[3:] != before[3:]).all()
    jacobian = ag.jacobian(lambda x: nn.attention(x, x, causal=True))(normal(3, D)).value
    assert all(not jacobian[i, :, j].any() for i in range(3) for j in range(i + 1, 3))


def test_padding_reaches_nothing():
    keys = normal(T, B, D)
    keys[2:, 1] = np.nan
    keys[:, 2] = np.inf
    for layer in (nn.attention, *modules()):
        query, leaf = tracked(normal(2, B, D)), tracked(keys)
        result = layer(query, leaf, lengths=LENGTHS)
        y = result[0] if isinstance(result, tuple) else result
        (y**2).sum().backward()
        assert np.isfinite(y.value).all()
        assert np.isfinite(query.grad.value).all()
        assert not leaf.grad.value[2:, 1].any()
        assert not leaf.grad.value[:, 2].any()
        parameters = [] if layer is nn.attention else layer.parameters()
        assert all(np.isfinite(p.grad.value).all() for p in parameters)


def test_a_mask_of_valid_keys_stands_for_lengths():
    query, keys = normal(2, B, D), normal(T, B, D)
    wanted = nn.attention(query, keys, lengths=LENGTHS)
    assert_same(nn.attention(query, keys, lengths=valid_mask(T, LENGTHS)), wanted.value)


@pytest.mark.parametrize("options", [{}, {"lengths": LENGTHS}, {"mask": True}])
def test_a_query_of_one_step_is_that_of_one_step_of_many(options):
    query, keys = normal(2, B, D), normal(T, B, D)
    if "mask" in options:
        options = {"mask": RNG(0).random((B, T)) < 0.6}
        several = {"mask": options["mask"][:, None]}
    else:
        several = options
    contexts = nn.attention(query, keys, **several).value
    assert_same(nn.attention(query[1], keys, **options), contexts[1], 1e-14)
    layer = modules()[0]
    context, weights = layer(query[1], keys, **options)
    contexts, all_weights = layer(query, keys, **several)
    assert_same(context, contexts[1].value, 1e-14)
    assert_same(weights, all_weights[:, 1].value, 1e-14)


class Decoder(nn.Module):
    """A decoder that attends in the body of its loop, Bahdanau's."""

    def __init__(self) -> None:
        rng = RNG(0)
        self.attention = nn.AdditiveAttention(D, D, 6, rng=rng)
        self.cell = nn.GRUCell(D, D, rng=rng)

    def step(self, h, keys, lengths):
        context, weights = self.attention(h, keys, lengths=lengths)
        return self.cell(context, h), weights

    def forward(self, steps, h0, keys, lengths):
        with LoopNode("decoder") as loop:
            loop.each(steps)
            h = loop.branch("h", h0)
            after, weights = self.step(h, keys, lengths)
            loop.feed(h, after)
            hs, alignment = loop.collect(after), loop.collect(weights)
        return hs, alignment


def test_a_decoder_attends_in_its_loop():
    model = Decoder()
    steps, h0, keys, lengths = np.zeros(4), normal(B, D), normal(T, B, D), LENGTHS
    hs, alignment = model(steps, h0, tracked(keys), lengths)
    (hs**2).sum().backward()
    found = [p.grad.value for p in model.parameters()]
    for p in model.parameters():
        p.grad = None
    h, by_steps, aligned = ag.tensor(h0), [], []
    for _ in steps:
        h, weights = model.step(h, keys, lengths)
        by_steps.append(h)
        aligned.append(weights)
    (ag.stack(by_steps) ** 2).sum().backward()
    assert_same(hs, ag.stack(by_steps).value, 1e-13)
    assert_same(alignment, ag.stack(aligned).value, 1e-13)
    for ours, p in zip(found, model.parameters(), strict=True):
        np.testing.assert_allclose(ours, p.grad.value, rtol=1e-10, atol=1e-13)


def test_what_attention_makes_of_the_keys_leaves_the_loop_of_a_decoder():
    model = Decoder()
    inputs = [ag.input(n, s) for n, s in [("steps", (4,)), ("h0", (B, D)), ("keys", (T, B, D))]]
    hs, _ = model(*inputs, ag.constant(LENGTHS))
    graph = ag.Graph(inputs, {"hs": hs})

    def reads_it(graph: ag.Graph) -> bool:
        (loop,) = graph.find(op="loop")
        near = {x.name for port in loop.inputs for x in (port, *port.inputs)}
        assert "attention.query.weight" in near
        return "attention.key.weight" in near

    assert reads_it(graph)
    assert not reads_it(graph.optimize())
    arrays = {"steps": np.zeros(4), "h0": normal(B, D), "keys": normal(T, B, D)}
    for backend in ("reference", "numpy"):
        with ag.backend(backend):
            assert_same(graph.run(**arrays)["hs"], model(*arrays.values(), LENGTHS)[0].value, 1e-13)


@pytest.mark.parametrize("options", [{}, {"lengths": [2, 3]}, {"causal": True}])
def test_attention_differentiates_twice(options):
    x = normal(3, 2, 2), normal(3, 2, 2, seed=1), normal(3, 2, 3)
    ag.check_grad(lambda *x: nn.attention(*x, **options), x, order=2)
    layer = nn.MultiHeadAttention(2, 2, rng=0)
    graph = ag.trace(lambda q, k: layer(q, k, **options)[0], *[a.shape for a in x[:2]])
    ag.check_grad(graph, x[:2], order=2)


def test_additive_attention_differentiates_twice():
    layer = nn.AdditiveAttention(2, 3, 2, rng=0)
    graph = ag.trace(lambda q, k: layer(q, k, lengths=[1, 3])[0], (2, 2), (3, 2, 3))
    ag.check_grad(graph, (normal(2, 2), normal(3, 2, 3)), order=2)


def test_attention_under_vmap():
    query, keys, lengths = normal(6, 2, B, D), normal(6, T, B, D), RNG(0).integers(0, T + 1, (6, B))
    together = ag.vmap(lambda q, k, n: nn.attention(q, k, lengths=n))(query, keys, lengths)
    for row, q, k, n in zip(together, query, keys, lengths, strict=True):
        assert_same(row, nn.attention(q, k, lengths=n).value, 1e-14)
    layer = nn.MultiHeadAttention(D, 2, rng=0)
    together = ag.vmap(lambda k: layer(k, causal=True)[0])(keys)
    for row, k in zip(together, keys, strict=True):
        assert_same(row, layer(k, causal=True)[0].value, 1e-14)


def test_graphs_of_attention_serve_other_numbers_of_steps():
    layer = nn.MultiHeadAttention(D, 2, rng=0)
    long = normal(T + 3, B, D)
    for call in (
        lambda x: layer(x, causal=True)[0],
        lambda x: nn.attention(x, x, lengths=LENGTHS, causal=True),
        lambda x: modules()[0](x, x, lengths=LENGTHS)[0],
    ):
        graph = ag.trace(call, (T, B, D)).resize(x=long.shape)
        assert_same(graph.run(x=long)["output"], call(long).value, 1e-14)


def test_no_steps_and_no_rows():
    layer = nn.MultiHeadAttention(D, 2, rng=0)
    assert layer(np.zeros((0, B, D)))[0].shape == (0, B, D)
    assert layer(np.zeros((T, 0, D)))[0].shape == (T, 0, D)
    outputs, weights = layer(np.ones((2, B, D)), np.zeros((0, B, D)))
    assert_same(outputs, np.zeros((2, B, D)))
    assert weights.shape == (B, 2, 0)


def test_dropout_of_weights_while_training():
    layer = nn.MultiHeadAttention(D, 2, dropout=0.5, rng=0)
    x = normal(T, B, D)
    _, weights = layer(x, average=False)
    layer.eval()
    _, all_weights = layer(x, average=False)
    kept = weights.value != 0.0
    assert 0.2 < kept.mean() < 0.8
    np.testing.assert_allclose(weights.value[kept], 2.0 * all_weights.value[kept], rtol=1e-14)


def test_nodes_of_attention_have_names():
    text = str(ag.trace(lambda x: nn.attention(x, x), (T, B, D)))
    for name in ("scores = matmul", "weights = softmax", "context = permute_dims"):
        assert name in text


@pytest.mark.parametrize(
    ("shapes", "options", "error", "message"),
    [
        (((T, B, D), (T, B, 3)), {}, ag.ShapeError, r"same number of features.*nn\.Linear"),
        (((T, D), (T, B, D, D)), {}, ag.ShapeError, r"keys \(Tk, \.\.\., D\) and a query"),
        (((D,), (D,)), {}, ag.ShapeError, r"keys \(Tk, \.\.\., D\) and a query"),
        (((T, 2, D), (T, B, D)), {}, ag.ShapeError, r"the same rows in all.*\[5, 2, 4\]"),
        (((2, D), (T, B, D)), {}, ag.ShapeError, r"the same rows in all.*\[2, 4\]"),
        (((T, B, D), (T, B, D), (4, B, D)), {}, ag.ShapeError, r"same steps.*values .*\[4, 3, 4\]"),
        (((T, D), (T, D)), {"lengths": [1]}, ag.ShapeError, r"keys .* have no rows"),
        (((T, B, D),) * 2, {"lengths": [1, 2]}, ag.ShapeError, r"lengths must have shape \(3,\)"),
        (((T, B, D),) * 2, {"lengths": [1, 2, 6]}, ag.ShapeError, r"row 2 has length 6"),
        (((T, B, D),) * 2, {"mask": np.ones((T, 4), bool)}, ag.ShapeError, r"scores \(3, 5, 5\)"),
        (((B, D), (T, B, D)), {"mask": np.ones((2, 1, 5), bool)}, ag.ShapeError, r"\(3, 5\)"),
        (((T, B, D),) * 2, {"mask": np.ones((T, T))}, ag.DTypeError, r"of bools.*mask > 0"),
        (((B, D), (T, B, D)), {"causal": True}, ag.LoopGradError, r"query is that of one step"),
    ],
)
def test_what_does_not_fit_is_refused(shapes, options, error, message):
    with pytest.raises(error, match=message):
        nn.attention(*[np.ones(shape) for shape in shapes], **options)


def test_modules_refuse_what_does_not_fit():
    x = np.ones((T, B, D))
    with pytest.raises(ag.DTypeError, match=r"one float dtype, but got .*float32"):
        nn.attention(x, x.astype("float32"))
    with pytest.raises(ag.DTypeError, match=r"one float dtype, but got .*int64"):
        nn.attention(x.astype(int), x.astype(int))
    with pytest.raises(ag.ShapeError, match="embed_dim 4 is no multiple of num_heads 3"):
        nn.MultiHeadAttention(4, 3)
    layer = nn.MultiHeadAttention(D, 2)
    with pytest.raises(ag.ShapeError, match=r"'in_proj_weight' takes inputs \(\.\.\., 4\)"):
        layer(np.ones((T, B, 3)))
    with pytest.raises(ag.ShapeError, match=r"keys \(steps, rows, features\).*length 1"):
        layer(np.ones((T, D)))
    other = nn.MultiHeadAttention(D, 2, kdim=3)
    for keys, name in [(x, "k_proj_weight"), (np.ones((T, B, 3)), "v_proj_weight")]:
        with pytest.raises(ag.ShapeError, match=f"'{name}' takes inputs"):
            other(x, keys)
    with pytest.raises(ag.ShapeError, match=r"'key\.weight' takes inputs \(\.\.\., 4\)"):
        nn.AdditiveAttention(D, D, 2)(x, np.ones((T, B, 3)))
