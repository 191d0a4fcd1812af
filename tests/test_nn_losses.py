"""Losses of a prediction and a target of one shape; and laws of every loss, against PyTorch.

The numbers of PyTorch are in tests/fixtures/torch_losses.json, written by make_torch_losses.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograd as ag
import nn
from tests.loop_reference import assert_same
from tests.nn_helpers import RNG

FILE = Path(__file__).parent / "fixtures" / "torch_losses.json"
ROWS = json.loads(FILE.read_text(encoding="utf-8"))["rows"]


def named(row: Any) -> str:
    options = [k if isinstance(x, list) else f"{k}={x}" for k, x in row["options"].items()]
    return f"{row['loss']}-{len(row['arrays'])}-{'-'.join(options)}"


def call(row: Any, **arrays: Any) -> Any:
    """Return the loss of `row`, taken of `arrays` in place of its own."""
    given = {k: np.array(x) for k, x in row["arrays"].items()} | arrays
    options = {k: np.array(x) if isinstance(x, list) else x for k, x in row["options"].items()}
    return getattr(nn, row["loss"])(*given.values(), **options)


def differentiated(row: Any) -> dict[str, Any]:
    return {k: np.array(row["arrays"][k]) for k in row["gradients"] or ()}


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_values_and_gradients_are_those_of_torch(row: Any):
    expected = np.array(row["value"], float)
    assert_close(call(row), expected, 1e-12)
    for name, x in differentiated(row).items():
        y, pull = ag.vjp(lambda x, name=name: call(row, **{name: x}), x)
        assert_close(y, expected, 1e-12)
        (gradient,) = pull(np.array(row["cotangent"]))
        assert_close(gradient, row["gradients"][name], 1e-10)


def assert_close(found: Any, wanted: Any, tolerance: float) -> None:
    np.testing.assert_allclose(found.value, wanted, rtol=tolerance, atol=tolerance)


def kind(row: Any) -> Any:
    """What tells rows apart that take other ways through the code."""
    shapes = [(np.ndim(x), np.array(x).dtype.kind) for x in row["arrays"].values()]
    return row["loss"], *sorted(row["options"]), *shapes


KINDS = list({(kind(row), row["options"]["reduction"]): row for row in ROWS}.values())
MEANS = [row for row in KINDS if row["options"]["reduction"] == "mean"]


@pytest.mark.parametrize("row", KINDS, ids=named)
def test_drawn_they_compute_what_they_compute_on_tensors(row: Any):
    arrays = {k: np.array(x) for k, x in row["arrays"].items()}
    inputs = {k: ag.input(k, x.shape, x.dtype) for k, x in arrays.items()}
    graph = ag.Graph(list(inputs.values()), {"loss": call(row, **inputs)})
    np.testing.assert_allclose(graph.run(**arrays)["loss"], call(row).value, rtol=1e-14)


def in_float32(row: Any) -> dict[str, np.ndarray]:
    arrays = {k: np.array(x) for k, x in row["arrays"].items()}
    return {k: x.astype(np.float32) if x.dtype.kind == "f" else x for k, x in arrays.items()}


@pytest.mark.parametrize("row", MEANS, ids=named)
def test_float32_stays_float32(row: Any):
    """Weights are float64 arrays here, and do not win."""
    arrays = in_float32(row)
    assert call(row, **arrays).dtype == np.float32
    names = [k for k, x in arrays.items() if x.dtype.kind == "f"]
    inputs = {k: ag.input(k, x.shape, x.dtype) for k, x in arrays.items()}
    graph = ag.Graph(list(inputs.values()), {"loss": call(row, **inputs)}).grad(wrt=names)
    computed = [(path, x) for path, _, x in graph.walk() if x.inputs and not x.bodies]
    assert not [path for path, x in computed if "float64" in str(x.spec)]
    results = graph.run(**arrays)
    for name, y in results.items():
        assert y.dtype == np.float32, name
    np.testing.assert_allclose(results["loss"], row["value"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("row", MEANS, ids=named)
def test_a_training_step_is_the_eager_step(row: Any):
    name = next(iter(row["gradients"]))
    value = np.array(row["arrays"][name])
    rest = {k: np.array(x) for k, x in row["arrays"].items() if k != name}
    after = []
    for whole in (True, False):
        p = ag.parameter("p", value)
        optimizer = nn.SGD([p], lr=0.01)

        def loss(p: Any = p, **rest: Any) -> Any:
            return call(row, **{name: p, **rest})

        if whole:
            nn.TrainingStep(lambda loss=loss, **rest: loss(**rest), optimizer).run(**rest)
        else:
            loss(**rest).backward()
            optimizer.step()
        after.append(p.value)
    assert np.any(after[0] != value) == np.any(row["gradients"][name])
    assert_same(after[0], after[1], 1e-14)


# Pointwise losses: gradients against differences, kinks, extremes, weights.

X, Y = RNG(0).normal(size=(2, 3, 4)) * 2
POINTWISE = {
    "absolute_error": nn.absolute_error,
    "huber": lambda p, t, *args, **options: nn.huber(p, t, *args, delta=0.7, **options),
    "weighted": lambda z, t, *args, **options: nn.binary_cross_entropy_with_logits(
        z, t, *args, weight=[1.0, 2.0, 3.0, 0.5], pos_weight=np.ones((3, 1)) * 4, **options
    ),
}


@pytest.mark.parametrize("loss", POINTWISE.values(), ids=POINTWISE)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradients_to_second_order(loss: Any, reduction: str):
    ag.check_grad(lambda x, y: loss(x, y, reduction), (X, Y), order=2)


@pytest.mark.parametrize("loss", [nn.binary_cross_entropy, nn.binary_cross_entropy_with_logits])
def test_gradients_with_respect_to_weights(loss: Any):
    p = RNG(1).uniform(0.1, 0.9, (3, 4))
    ag.check_grad(lambda p, w: loss(p, p[::-1], weight=w), (p, p[0] + 1), order=2)


def test_absolute_error_has_no_gradient_where_it_is_right():
    g = ag.grad(lambda p: nn.absolute_error(p, np.zeros(3), "sum"))(np.array([-2.0, 0.0, 3.0]))
    np.testing.assert_array_equal(g, [-1.0, 0.0, 1.0])


@pytest.mark.parametrize("delta", [0.5, 1, 3.0])
def test_huber_is_smooth_at_its_seams(delta: float):
    x = np.array([-1e200, -2 * delta, -delta, 0.0, delta, 1e200])

    def slope(x: Any) -> Any:
        return ag.grad(lambda x: nn.huber(x, np.zeros(6), "sum", delta=delta))(x)

    np.testing.assert_array_equal(slope(x), np.clip(x, -delta, delta))
    np.testing.assert_array_equal(ag.grad(lambda x: slope(x).sum())(x), [0, 0, 1, 1, 1, 0])
    assert nn.huber(x, np.zeros(6), "none", delta=delta)[-1] == delta * 1e200


def test_huber_of_delta_by_delta_is_smooth_l1():
    d, beta = np.abs(X - Y), 0.3
    smooth_l1 = np.where(d < beta, d * d / (2 * beta), d - beta / 2)
    assert_same(nn.huber(X, Y, "none", delta=beta) / beta, smooth_l1, 1e-15)


def test_weights_of_binary_cross_entropy_follow_their_formula():
    p, t, w, c = RNG(2).uniform(0.1, 0.9, (4, 3, 5))
    z = np.log(p / (1 - p))
    each = -w * (c * t * np.log(p) + (1 - t) * np.log(1 - p))
    found = nn.binary_cross_entropy_with_logits(z, t, "none", weight=w, pos_weight=c)
    assert_same(found, each, 1e-14)
    assert_same(
        nn.binary_cross_entropy_with_logits(z, t, weight=w, pos_weight=c), each.mean(), 1e-14
    )
    assert_same(nn.binary_cross_entropy(0.5, 1, weight=2), 2 * np.log(2), 1e-15)


@pytest.mark.parametrize("sign", [-1, 1])
def test_binary_cross_entropy_of_huge_and_infinite_logits(sign: int):
    """An infinite logit on the side of its target is NaN, 0 times inf; on the other it is inf."""
    loss = nn.binary_cross_entropy_with_logits
    with np.errstate(under="ignore"):
        np.testing.assert_array_equal(loss(np.full(2, sign * 1e20), [0.0, 1.0], "none"),
                                      [1e20, 0.0][::sign])  # fmt: skip
        g = ag.grad(lambda z: loss(z, [0.0, 1.0], "sum"))(np.full(2, sign * 1e20))
    np.testing.assert_array_equal(g, [1.0, 0.0] if sign > 0 else [0.0, -1.0])
    with np.errstate(invalid="ignore"):
        found = loss(np.full(3, sign * np.inf), [0.5, 0.0, 1.0], "none").value
    np.testing.assert_array_equal(found, [np.inf, *[np.inf, np.nan][::sign]])


MASK_LENGTHS = np.array([2, 0, 3])


@pytest.mark.parametrize("loss", POINTWISE.values(), ids=POINTWISE)
def test_lengths_leave_out_the_padding_of_every_argument(loss: Any):
    steps, rows = 4, 3
    p, t = RNG(3).normal(size=(2, steps, rows, 4))
    mask = np.arange(steps)[:, None] < MASK_LENGTHS
    each = np.stack([loss(p[s], t[s], "none").value for s in range(steps)])
    bad_p, bad_t = p.copy(), t.copy()
    bad_p[~mask] = bad_t[~mask] = np.nan
    for reduction, expected in {
        "none": np.where(mask[..., None], each, 0.0),
        "sum": each[mask].sum(),
        "mean": each[mask].mean(),
    }.items():
        assert_same(loss(bad_p, bad_t, reduction, lengths=MASK_LENGTHS), expected, 1e-14)
        y, pull = ag.vjp(lambda p, how=reduction: loss(p, bad_t, how, lengths=MASK_LENGTHS), bad_p)
        (g,) = pull(np.ones(y.shape))
        assert np.isfinite(g.value).all()
        assert not g.value[~mask].any()
    assert loss(p, t, lengths=np.zeros(3, int)) == 0.0


def test_weights_in_the_padding_reach_nothing():
    weight = np.where(np.arange(4)[:, None] < MASK_LENGTHS, 2.0, np.nan)[..., None]
    p = RNG(4).uniform(0.1, 0.9, (4, 3, 2))
    for loss in (nn.binary_cross_entropy, nn.binary_cross_entropy_with_logits):

        def total(p: Any, w: Any, loss: Any = loss) -> Any:
            return loss(p, np.ones(p.shape), "sum", weight=w, lengths=MASK_LENGTHS)

        assert_same(total(p, weight), 2 * total(p, 1.0).value, 1e-15)
        for g in (ag.grad(total)(p, weight), ag.grad(lambda w: total(p, w))(weight)):
            assert np.isfinite(g.value).all()


@pytest.mark.parametrize("drawn", [False, True])
def test_errors_name_what_does_not_fit(drawn: bool):
    p = ag.input("p", (3, 4)) if drawn else X
    for loss in (nn.absolute_error, nn.huber):
        with pytest.raises(ag.ShapeError, match=r"one shape.*\[3, 4\].*\[4\]"):
            loss(p, np.zeros(4))
    for name in ("weight", "pos_weight"):
        with pytest.raises(
            ag.ShapeError, match=rf"{name} of a loss must broadcast.*\[3\].*\[3, 4\]"
        ):
            nn.binary_cross_entropy_with_logits(p, X, **{name: np.ones(3)})
    with pytest.raises(ag.ShapeError, match=r"weight of a loss must broadcast"):
        nn.binary_cross_entropy(ag.sigmoid(p), X, weight=np.ones((2, 3, 4)))
    for delta in (0, -1.0, np.nan, True, "1"):
        with pytest.raises(ag.LoopGradError, match="huber: delta must be a number > 0, but is"):
            nn.huber(p, X, delta=delta)
