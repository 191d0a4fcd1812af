"""Cross-entropy, negative log-likelihood and divergence: extremes, rows left out, errors."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

import autograd as ag
import nn
from loops import scan
from tests.loop_reference import assert_same
from tests.nn_helpers import RNG

Z = RNG(0).normal(size=(5, 4)) * 3
CLASSES = np.array([0, 3, 1, 1, 2])
WEIGHTS = np.array([0.5, 2.0, 1.0, 0.25])
SHARES = np.exp(Z[::-1]) / np.exp(Z[::-1]).sum(-1, keepdims=True)
LOG_P = Z - np.log(np.exp(Z).sum(-1, keepdims=True))


def slope(fn: Any, *args: Any, **options: Any) -> Any:
    return ag.grad(lambda z: fn(z, *args, **options).sum())


# --- values and gradients -------------------------------------------------------------------------


def test_it_is_minus_the_log_probability_of_the_class():
    each = -LOG_P[np.arange(5), CLASSES]
    assert_same(nn.cross_entropy(Z, CLASSES, "none"), each, 1e-15)
    assert_same(nn.cross_entropy(Z, CLASSES, "sum"), each.sum(), 1e-15)
    assert_same(nn.cross_entropy(Z, CLASSES), each.mean(), 1e-15)
    assert_same(nn.nll(LOG_P, CLASSES, "none"), each, 1e-15)
    assert_same(nn.cross_entropy(Z[0], 2), -LOG_P[0, 2], 1e-15)
    one_hot = np.eye(4)[CLASSES]
    assert_same(nn.cross_entropy(Z, one_hot, "none"), each, 1e-15)


def test_its_gradient_is_softmax_minus_target():
    g = slope(nn.cross_entropy, CLASSES, "sum")(Z)
    np.testing.assert_allclose(g, np.exp(LOG_P) - np.eye(4)[CLASSES], rtol=1e-13, atol=1e-15)


def test_a_weighted_mean_is_divided_by_the_weights_of_the_rows():
    each, w = -LOG_P[np.arange(5), CLASSES], WEIGHTS[CLASSES]
    found = nn.cross_entropy(Z, CLASSES, weight=WEIGHTS)
    assert_same(found, (w * each).sum() / w.sum(), 1e-15)
    by_shares = -(SHARES * WEIGHTS * LOG_P).sum(-1)
    assert_same(nn.cross_entropy(Z, SHARES, weight=WEIGHTS), by_shares.mean(), 1e-14)


def test_smoothing_is_a_target_with_a_share_for_all():
    target = 0.8 * np.eye(4)[CLASSES] + 0.2 / 4
    for weights in (None, WEIGHTS):
        smooth = nn.cross_entropy(Z, CLASSES, "none", weight=weights, label_smoothing=0.2)
        assert_same(smooth, nn.cross_entropy(Z, target, "none", weight=weights).value, 1e-14)


def test_divergence_is_cross_entropy_less_entropy():
    entropy = -(SHARES * np.log(SHARES)).sum(-1)
    found = nn.kl_divergence(LOG_P, SHARES, "none").value
    assert_same(found, nn.cross_entropy(Z, SHARES, "none").value - entropy, 1e-13)
    assert_same(nn.kl_divergence(LOG_P, np.exp(LOG_P)), 0.0, 1e-15)
    assert_same(nn.kl_divergence(LOG_P[0], [0.0, 1.0, 0.0, 0.0]), -LOG_P[0, 1], 1e-15)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight": WEIGHTS},
    {"ignore": 1},
    {"label_smoothing": 0.1},
    {"weight": WEIGHTS, "ignore": 3, "label_smoothing": 0.3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradients_to_second_order(options: dict[str, Any], reduction: str):
    ag.check_grad(lambda z: nn.cross_entropy(z, CLASSES, reduction, **options), (Z,), order=2)
    if "label_smoothing" not in options:
        ag.check_grad(lambda z: nn.nll(z, CLASSES, reduction, **options), (LOG_P,), order=2)
    if "ignore" not in options:
        both = (Z, SHARES)
        ag.check_grad(lambda z, q: nn.cross_entropy(z, q, reduction, **options), both, order=2)


def test_gradients_of_the_divergence_and_of_weights():
    ag.check_grad(nn.kl_divergence, (LOG_P, SHARES), order=2)
    ag.check_grad(lambda w: nn.cross_entropy(Z, CLASSES, weight=w), (WEIGHTS,), order=2)


# --- extremes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e4), (np.float32, 1e3)])
def test_large_logits_have_finite_values_and_gradients(dtype: Any, size: float):
    z = (np.sign(RNG(1).normal(size=(64, 5))) * size).astype(dtype)
    classes = RNG(2).integers(0, 5, 64)
    shares = np.full((64, 5), 0.2, dtype)
    with np.errstate(all="raise"):
        for target in (classes, shares):
            for options in ({}, {"label_smoothing": 0.1}):
                y = nn.cross_entropy(z, target, "none", **options)
                g = slope(nn.cross_entropy, target, "none", **options)(z)
                h = ag.grad(lambda z, t=target: slope(nn.cross_entropy, t)(z)[:, 0].sum())(z)
                for result in (y, g, h):
                    assert result.dtype == dtype
                    assert np.isfinite(result.value).all()


@pytest.mark.parametrize("shift", [1e6, -1e6])
def test_a_common_shift_changes_nothing(shift: float):
    for target in (CLASSES, SHARES):
        for options in ({}, {"weight": WEIGHTS, "label_smoothing": 0.1}):
            near, far = (nn.cross_entropy(z, target, "none", **options) for z in (Z, Z + shift))
            assert np.abs(near.value - far.value).max() < 1e-8


def test_relative_error_against_50_digits():
    """Over gaps from 1e-300 to 700, whether the class is the likely one or not, and off 0."""
    gaps = np.logspace(-300, 2.84, 200)
    gaps = np.concatenate([-gaps[::-1], [0.0], gaps])
    z = np.stack([gaps, np.zeros(401), -np.abs(gaps) - 3], -1)
    worst = 0.0
    for offset in (0.0, 1e8):
        shifted = z + offset
        for c in (0, 1, 2):
            with np.errstate(under="ignore"):
                found = nn.cross_entropy(shifted, np.full(401, c), "none").value
            with mpmath.workdps(50):
                for row, y in zip(shifted, found, strict=True):
                    top, *others = [mpmath.mpf(float(x)) for x in np.roll(row, -c)]
                    exact = mpmath.log1p(mpmath.fsum(mpmath.exp(x - top) for x in others))
                    worst = max(worst, float(abs(mpmath.mpf(float(y)) - exact) / exact))
    assert worst < 1e-14


def test_huge_logits_are_exact():
    """As a difference of logits and logsumexp they would be 0, or NaN."""
    z = np.array([[1e20, 0.0], [1e20, 1e20], [-1e20, 1e20], [1e8, 1e8 + 1]])
    expected = [1e20, np.log(2), 0.0, np.log1p(np.exp(-1.0))]
    np.testing.assert_allclose(nn.cross_entropy(z, [1, 1, 1, 1], "none"), expected, rtol=1e-15)
    z = np.array([[1e8, 1e8 + 8]], np.float32)
    np.testing.assert_allclose(nn.cross_entropy(z, [0]), 8 + np.log1p(np.exp(-8.0)), rtol=1e-6)


def test_classes_with_the_logit_minus_infinity():
    z = np.array([[-np.inf, 0.0]])
    for target in ([1], [[0.0, 1.0]]):  # as if the class were not there; 0 log 0 is 0
        assert nn.cross_entropy(z, target).item() == 0.0
        np.testing.assert_array_equal(slope(nn.cross_entropy, target)(z), [[0.0, 0.0]])
    for target in ([0], [[0.5, 0.5]]):
        assert nn.cross_entropy(z, target).item() == np.inf
    assert nn.cross_entropy(z, [1], label_smoothing=0.1).item() == np.inf
    assert np.isnan(nn.cross_entropy(np.full((1, 2), -np.inf), [0]).item())
    assert nn.kl_divergence([-np.inf, 0.0], [0.0, 1.0]).item() == 0.0
    assert nn.kl_divergence([-np.inf, 0.0], [0.5, 0.5]).item() == np.inf


# --- rows left out --------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [nn.cross_entropy, nn.nll], ids=["cross_entropy", "nll"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
@pytest.mark.parametrize("drawn", [False, True], ids=["", "drawn"])
def test_nothing_left_is_no_loss(loss: Any, weights: Any, drawn: bool):
    """The mean is 0 (PyTorch's is NaN), so that such a batch trains nothing."""
    ignored = np.full(5, -100)
    fn = ag.value_and_grad(lambda z, c: loss(z, c, weight=weights, ignore=-100))
    y, g = (ag.compile(fn) if drawn else fn)(np.full((5, 4), np.nan), ignored)
    assert y.item() == 0.0
    np.testing.assert_array_equal(g, np.zeros((5, 4)))
    assert loss(LOG_P, [0] * 5, weight=np.zeros(4)).item() == 0.0


def test_ignored_rows_are_as_if_they_were_not_there():
    z, classes = np.concatenate([Z, np.full((2, 4), np.nan)]), [*CLASSES, 255, 255]
    for options in ({}, {"weight": WEIGHTS}, {"label_smoothing": 0.2}):
        for reduction in ("mean", "sum"):
            found = nn.cross_entropy(z, classes, reduction, ignore=255, **options)
            assert_same(found, nn.cross_entropy(Z, CLASSES, reduction, **options).value, 1e-15)
            g = slope(nn.cross_entropy, classes, reduction, ignore=255, **options)(z).value
            expected = slope(nn.cross_entropy, CLASSES, reduction, **options)(Z).value
            assert_same(g, np.concatenate([expected, np.zeros((2, 4))]), 1e-15)
    none = nn.cross_entropy(z, classes, "none", ignore=255).value
    np.testing.assert_array_equal(none[5:], [0.0, 0.0])


T, B, C = 4, 3, 5
LENGTHS = np.array([2, 4, 1])
MASK = np.arange(T)[:, None] < LENGTHS


@pytest.mark.parametrize("more", [(), (2,)], ids=["TBC", "TBMC"])
@pytest.mark.parametrize("kind", ["classes", "shares", "divergence", "weights", "ignore"])
def test_sequences_count_their_valid_steps(kind: str, more: tuple[int, ...]):
    rng = RNG(3)
    z = rng.normal(size=(T, B, *more, C))
    classes, shares = rng.integers(0, C, z.shape[:-1]), rng.dirichlet(np.ones(C), z.shape[:-1])
    target = shares if kind in ("shares", "divergence") else classes
    loss = nn.kl_divergence if kind == "divergence" else nn.cross_entropy
    options: dict[str, Any] = {"weights": {"weight": rng.uniform(size=C)}, "ignore": {"ignore": 2}}
    options = options.get(kind, {})
    spoiled, wrong = z.copy(), target.copy()
    spoiled[~MASK] = np.nan
    wrong[~MASK] = np.nan if target.dtype.kind == "f" else -7
    for lengths in (LENGTHS, MASK):
        for reduction in ("mean", "sum"):
            expected = loss(z[MASK], target[MASK], reduction, **options).value
            found = loss(spoiled, wrong, reduction, lengths=lengths, **options)
            assert_same(found, expected, 1e-14)
            g = slope(loss, wrong, reduction, lengths=lengths, **options)(spoiled).value
            assert_same(
                g[MASK], slope(loss, target[MASK], reduction, **options)(z[MASK]).value, 1e-14
            )
            assert not g[~MASK].any()
        none = loss(spoiled, wrong, "none", lengths=lengths, **options).value
        assert none.shape == z.shape[:-1]
        assert_same(none[MASK], loss(z[MASK], target[MASK], "none", **options).value, 1e-14)
        assert not none[~MASK].any()
    assert loss(z, target, lengths=np.zeros(B, int), **options).item() == 0.0


# --- graphs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["reference", "numpy", "auto"])
def test_compiled_gradients_are_those_of_the_reference(backend: str):
    def fn(z: Any, classes: Any, lengths: Any) -> Any:
        return nn.cross_entropy(
            z,
            classes,
            weight=np.arange(1.0, C + 1),
            ignore=2,
            label_smoothing=0.1,
            lengths=lengths,
        )

    z, classes = RNG(4).normal(size=(T, B, C)), RNG(5).integers(0, C, (T, B))
    y, g = ag.value_and_grad(fn)(z, classes, LENGTHS)
    with ag.backend(backend):
        found, gradient = ag.compile(ag.value_and_grad(fn))(z, classes, LENGTHS)
    assert_same(found, y.value, 1e-14)
    assert_same(gradient, g.value, 1e-14)


def test_graphs_follow_other_sizes():
    z, classes = ag.input("z", (T, B, C)), ag.input("classes", (T, B), "int64")
    lengths = ag.input("lengths", (B,), "int64")
    loss = nn.cross_entropy(z, classes, label_smoothing=0.1, lengths=lengths)
    other = nn.cross_entropy(z, ag.softmax(z[::-1]), weight=None, lengths=lengths)
    graph = ag.Graph([z, classes, lengths], {"loss": loss, "other": other})
    graph = graph.resize(z=(7, 2, 6), classes=(7, 2), lengths=(2,))
    xs = RNG(6).normal(size=(7, 2, 6))
    cs, n = RNG(7).integers(0, 6, (7, 2)), np.array([5, 2])
    results = graph.run(z=xs, classes=cs, lengths=n)
    assert_same(
        results["loss"], nn.cross_entropy(xs, cs, label_smoothing=0.1, lengths=n).value, 1e-15
    )
    shares = ag.softmax(xs[::-1])
    assert_same(results["other"], nn.cross_entropy(xs, shares, lengths=n).value, 1e-15)


def test_in_the_body_of_a_loop_the_losses_of_steps_add_up():
    z, classes = RNG(6).normal(size=(T, B, C)), RNG(7).integers(0, C, (T, B))

    def summed(z: Any) -> Any:
        def step(total: Any, x: Any) -> Any:
            loss = nn.cross_entropy(x[0], x[1], "sum", ignore=1, label_smoothing=0.1)
            return total + loss, None

        return scan(step, 0.0, (z, classes))[0]

    def at_once(z: Any) -> Any:
        return nn.cross_entropy(z, classes, "sum", ignore=1, label_smoothing=0.1)

    both = [ag.value_and_grad(fn)(z) for fn in (summed, at_once)]
    for found, expected in zip(*both, strict=True):
        assert_same(found, expected.value, 1e-14)


def test_vmap_over_any_of_the_arguments():
    zs, cs = RNG(8).normal(size=(3, 5, 4)), RNG(9).integers(0, 4, (3, 5))
    for axes, args in {(0, 0): (zs, cs), (0, None): (zs, cs[0]), (None, 0): (zs[0], cs)}.items():
        found = ag.vmap(lambda z, c: nn.cross_entropy(z, c, ignore=1), axes)(*args)
        rows = [
            nn.cross_entropy(*[x if a is None else x[i] for x, a in zip(args, axes, strict=True)],
                             ignore=1).item()
            for i in range(3)
        ]  # fmt: skip
        assert_same(found, np.array(rows), 1e-15)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [-1, 4, 255, -100])
def test_a_class_out_of_range_is_named(wrong: int):
    classes = CLASSES.copy()
    classes[3] = wrong
    match = rf"cross_entropy: the class at 3 is {wrong}, but classes go from 0 to 3.*ignore={wrong}"
    with pytest.raises(ag.ShapeError, match=match):
        nn.cross_entropy(Z, classes)
    with pytest.raises(ag.ShapeError, match=rf"nll: the class at \(1, 0\) is {wrong}"):
        nn.nll(Z[None].repeat(2, 0).reshape(5, 2, 4), [[0, 0], [wrong, 0], [0, 0], [0, 0], [0, 0]])
    with pytest.raises(ag.ShapeError, match=rf"the class is {wrong}, but"):
        nn.cross_entropy(Z[0], wrong)
    assert nn.cross_entropy(Z, classes, ignore=wrong).item() > 0


@pytest.mark.parametrize("backend", ["reference", "numpy", "auto"])
def test_a_class_out_of_range_is_named_each_time_a_graph_runs(backend: str):
    z, classes = ag.input("z", (5, 4)), ag.input("classes", (5,), "int64")
    graph = ag.Graph([z, classes], {"loss": nn.cross_entropy(z, classes)}).grad(wrt=["z"])
    plan = graph.compile(backend=backend)
    plan.run(z=Z, classes=CLASSES)
    with pytest.raises(ag.ShapeError, match="cross_entropy: the class at 2 is 4, but classes"):
        plan.run(z=Z, classes=np.array([0, 1, 4, 2, 3]))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "uint64"])
def test_classes_may_be_of_any_integer_dtype(dtype: str):
    expected = nn.cross_entropy(Z, CLASSES).value
    classes = CLASSES.astype(dtype)
    for ignore in (None, -100, 300, np.int64(77)):
        assert_same(nn.cross_entropy(Z, classes, ignore=ignore), expected, 1e-15)
        drawn = ag.trace(lambda z, c, i=ignore: nn.cross_entropy(z, c, ignore=i), Z, classes)
        assert_same(drawn(Z, classes), expected, 1e-15)


def test_classes_on_axis_1_are_told_how_to_move():
    with pytest.raises(ag.ShapeError, match=r"axis 1, as in PyTorch, .*moveaxis\(scores, 1, -1\)"):
        nn.cross_entropy(np.zeros((4, 3, 2)), np.zeros((4, 2), int))


@pytest.mark.parametrize("drawn", [False, True], ids=["", "drawn"])
def test_shapes_and_dtypes_that_do_not_fit(drawn: bool):
    z = ag.input("z", (5, 4)) if drawn else Z
    both = r"integers of shape \(5,\), the classes, or floats of shape \(5, 4\)"
    for target in (CLASSES[:4], Z.T, CLASSES[:, None], 1, SHARES[0]):
        with pytest.raises(ag.ShapeError, match=rf"{both}.*but is .*\[5, 4\]"):
            nn.cross_entropy(z, target)
    for target in (CLASSES * 1.0, CLASSES > 1, np.eye(4, dtype=int)[CLASSES]):
        with pytest.raises(ag.DTypeError, match=rf"{both}.*astype"):
            nn.cross_entropy(z, target)
    with pytest.raises(ag.DTypeError, match=r"nll: classes must be integers.*use cross_entropy"):
        nn.nll(z, SHARES)
    with pytest.raises(ag.DTypeError, match=r"must be probabilities.*use nll"):
        nn.kl_divergence(z, CLASSES)
    with pytest.raises(ag.ShapeError, match=r"last axis of classes, but are .*float64"):
        nn.cross_entropy(1.0, 0)
    with pytest.raises(ag.DTypeError, match="a loss needs a float logits, but got"):
        nn.cross_entropy(np.ones((5, 4), int), CLASSES)
    for weights in (np.ones(5), np.ones((5, 4)), 1.0, np.ones(4) > 0):
        with pytest.raises(ag.ShapeError, match=r"one number for each of the 4 classes.*but are"):
            nn.cross_entropy(z, CLASSES, weight=weights)
    with pytest.raises(ag.ShapeError, match=r"with lengths, scores are sequences .*\[5, 4\]"):
        nn.cross_entropy(z, CLASSES, lengths=[1])


def test_options_that_do_not_fit():
    for smoothing in (-0.1, 1.5, True, "0.1", np.nan):
        with pytest.raises(ag.LoopGradError, match="label_smoothing must be a number from 0 to 1"):
            nn.cross_entropy(Z, CLASSES, label_smoothing=smoothing)
    for ignore in (1.0, True, "pad"):
        with pytest.raises(ag.LoopGradError, match="nll: ignore must be an integer"):
            nn.nll(Z, CLASSES, ignore=ignore)
    with pytest.raises(ag.LoopGradError, match="ignore=-100 is a class number, but the target is"):
        nn.cross_entropy(Z, SHARES, ignore=-100)
    for loss, target in ((nn.cross_entropy, CLASSES), (nn.kl_divergence, SHARES)):
        with pytest.raises(ag.LoopGradError, match="'mean', 'sum' or 'none', but is 'batchmean'"):
            loss(Z, target, "batchmean")
