"""CTC against all alignments one by one, in every way a loop is run. (PyTorch: test_nn_losses.)"""

from __future__ import annotations

from itertools import groupby, product
from typing import Any

import mpmath
import numpy as np
import pytest

import autograd as ag
import nn
from autograd.export.json import dumps, loads
from tests.loop_reference import assert_same
from tests.nn_helpers import RNG

T, B, C, S = 5, 4, 3, 3
Z = RNG(0).normal(size=(T, B, C))
LABELS = np.array([[1, 2, 1], [1, 1, 2], [2, 2, 2], [1, 2, 2]])
LENGTHS = np.array([5, 3, 4, 2])
LABEL_LENGTHS = np.array([3, 2, 2, 0])
RAGGED = (LABELS, LENGTHS, LABEL_LENGTHS)


def one_by_one(z: Any, labels: Any, blank: int = 0) -> float:
    """Return minus the log of the sum over all alignments of one row, by its definition."""
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    total = 0.0
    for path in product(range(z.shape[1]), repeat=len(z)):
        if [k for k, _ in groupby(path) if k != blank] == list(labels):
            total += np.prod([p[t, k] for t, k in enumerate(path)])
    return -np.log(total) if total else np.inf


def spoiled() -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels with nonsense in their padding."""
    z, labels = Z.copy(), LABELS.copy()
    z[np.arange(T)[:, None] >= LENGTHS] = np.nan
    labels[np.arange(S) >= LABEL_LENGTHS[:, None]] = -99
    return z, labels


def assert_close(found: Any, wanted: Any) -> None:
    """As assert_same, for values that may be infinite."""
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


@pytest.mark.parametrize("blank", range(C))
def test_it_is_the_sum_over_all_alignments(blank: int):
    labels = (LABELS + blank) % C
    each = [
        one_by_one(Z[:n, b], labels[b, :s], blank)
        for b, (n, s) in enumerate(zip(LENGTHS, LABEL_LENGTHS, strict=True))
    ]
    found = nn.ctc(Z, labels, LENGTHS, LABEL_LENGTHS, blank, "none")
    assert_same(found, np.array(each), 1e-14)
    whole = [one_by_one(Z[:, b], labels[b], blank) for b in range(B)]
    assert_same(nn.ctc(Z, labels, blank=blank, reduction="none"), np.array(whole), 1e-14)
    assert np.isfinite(whole).all()


def test_the_probabilities_of_all_label_sequences_sum_to_1():
    every = [labels for s in range(4) for labels in product((1, 2), repeat=s)]
    padded = np.array([[*labels, *[0] * (3 - len(labels))] for labels in every])
    z = np.repeat(Z[:3, :1], len(every), axis=1)
    loss = nn.ctc(z, padded, label_lengths=[len(x) for x in every], reduction="none")
    assert_same(ag.exp(-loss).sum(), 1.0, 1e-14)


def test_the_mean_is_over_rows_of_the_loss_a_label():
    each = nn.ctc(Z, *RAGGED, reduction="none").value
    assert_same(nn.ctc(Z, *RAGGED), (each / [3, 2, 2, 1]).mean(), 1e-15)
    assert_same(nn.ctc(Z, *RAGGED, reduction="sum"), each.sum(), 1e-15)


def test_log_probabilities_are_logits():
    log_p = Z - np.log(np.exp(Z).sum(-1, keepdims=True))
    fn = ag.value_and_grad(lambda z: nn.ctc(z, *RAGGED))
    for found, expected in zip(fn(log_p), fn(Z), strict=True):
        assert_same(found, expected.value, 1e-14)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradients_to_second_order(reduction: str):
    ag.check_grad(lambda z: nn.ctc(z, *RAGGED, reduction=reduction), (Z,), order=2)
    ag.check_grad(lambda z: nn.ctc(z, LABELS, reduction=reduction), (Z,), order=2)


def test_padding_reaches_nothing():
    z, labels = spoiled()
    for reduction in ("mean", "sum", "none"):
        rest = (LENGTHS, LABEL_LENGTHS, 0, reduction)
        assert_same(nn.ctc(z, labels, *rest), nn.ctc(Z, LABELS, *rest).value, 1e-15)
        y, pull = ag.vjp(lambda z, rest=rest: nn.ctc(z, labels, *rest), z)
        (g,) = pull(np.ones(y.shape))
        assert np.isfinite(g.value).all()
        assert not g.value[np.isnan(z)].any()


# --- what cannot be -------------------------------------------------------------------------------

IMPOSSIBLE = [
    ([[1, 1, 2]], [3]),  # a repeat needs a blank between
    ([[1, 2, 1]], [2]),
    ([[1, 2, 1]], [0]),
]


@pytest.mark.parametrize(("labels", "steps"), IMPOSSIBLE)
def test_without_room_the_loss_is_infinite_and_the_gradient_0(labels: Any, steps: Any):
    z = Z[:, :1]
    for zero, expected in ((False, np.inf), (True, 0.0)):
        fn = ag.value_and_grad(lambda z, zero=zero: nn.ctc(z, labels, steps, zero_infinity=zero))
        y, g = fn(z)
        assert y.item() == expected
        np.testing.assert_array_equal(g, np.zeros(z.shape))
        h = ag.hvp(lambda z, zero=zero: nn.ctc(z, labels, steps, zero_infinity=zero), [z], [z])
        np.testing.assert_array_equal(h[0], np.zeros(z.shape))


def test_a_row_without_room_leaves_the_others_their_gradients():
    lengths = np.array([5, 2, 4, 5])
    g = ag.grad(lambda z: nn.ctc(z, LABELS, lengths, zero_infinity=True, reduction="sum"))(Z)
    rows = [0, 3]
    alone = ag.grad(lambda z: nn.ctc(z, LABELS[rows], reduction="sum"))(Z[:, rows])
    assert_same(g.value[:, rows], alone.value, 1e-14)
    assert not g.value[:, [1, 2]].any()


@pytest.mark.parametrize("shape", [(0, 2, 3, 0), (0, 2, 3, 2), (4, 2, 3, 0), (4, 0, 3, 2)])
def test_without_steps_labels_or_rows(shape: tuple[int, ...]):
    steps, rows, classes, most = shape
    labels = np.full((rows, most), 1)
    fn = ag.value_and_grad(lambda z: nn.ctc(z, labels, reduction="sum"))
    y, g = fn(np.zeros((steps, rows, classes)))
    expected = steps * rows * np.log(3) if not most or steps else np.inf
    assert y.item() == pytest.approx(expected)
    assert np.isfinite(g.value).all()


def test_classes_with_the_logit_minus_infinity_cannot_be():
    z = Z.copy()
    z[:, 0, 2] = -np.inf  # row 0 has a label 2, so that no alignment is left
    z[1:, 3, 0] = -np.inf  # row 3 may begin with a blank only
    y, pull = ag.vjp(lambda z: nn.ctc(z, LABELS, label_lengths=[3, 3, 3, 2], reduction="none"), z)
    (g,) = pull(np.ones(B))
    assert y[0].item() == np.inf
    assert y[3].item() == pytest.approx(one_by_one(z[:, 3], LABELS[3, :2]))
    assert np.isfinite(g.value).all()


@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e4), (np.float32, 1e3)])
def test_large_logits_have_finite_values_and_gradients(dtype: Any, size: float):
    z = (np.sign(Z) * size).astype(dtype)
    with np.errstate(under="ignore", over="raise", invalid="raise", divide="raise"):
        y, g = ag.value_and_grad(lambda z: nn.ctc(z, LABELS))(z)
        shifted = nn.ctc(z + dtype(size), LABELS)
    for x in (y, g):
        assert x.dtype == dtype
        assert np.isfinite(x.value).all()
    assert_same(shifted, y.value, 1e-6)


def test_a_long_sequence_keeps_its_digits():
    """1000 steps: p is about 1e-1000, far below the smallest number; 50 digits as reference."""
    steps = 1000
    z = RNG(1).normal(size=(steps, 1, 4)) * 3
    labels = RNG(2).integers(1, 4, (1, 40))
    with mpmath.workdps(50):
        extended = [0, *[x for label in labels[0].tolist() for x in (label, 0)]]
        alpha = [mpmath.mpf(1)] + [mpmath.mpf(0)] * (len(extended) - 1)
        for row in z[:, 0]:
            e = [mpmath.exp(mpmath.mpf(float(x))) for x in row]
            total = mpmath.fsum(e)
            alpha = [
                (alpha[s] + (alpha[s - 1] if s else 0)
                 + (alpha[s - 2] if s > 1 and c not in (0, extended[s - 2]) else 0)) * e[c] / total
                for s, c in enumerate(extended)
            ]  # fmt: skip
        exact = float(-mpmath.log(alpha[-1] + alpha[-2]))
    assert exact > 800
    assert nn.ctc(z, labels, reduction="sum").item() == pytest.approx(exact, rel=1e-14)


# --- every way of running -------------------------------------------------------------------------


def fn(z: Any, labels: Any, lengths: Any, label_lengths: Any) -> Any:
    return nn.ctc(z, labels, lengths, label_lengths, reduction="none")


@pytest.mark.parametrize("backend", ["reference", "numpy", "auto"])
def test_compiled_it_has_its_values_and_gradients(backend: str):
    def loss(z: Any, *args: Any) -> Any:
        return nn.ctc(z, *args, reduction="sum", zero_infinity=True)

    lengths = np.array([5, 3, 1, 2])  # row 2 has no room
    args = (Z, LABELS, lengths, LABEL_LENGTHS)
    y, g = ag.value_and_grad(loss)(*args)
    with ag.backend(backend):
        found, gradient = ag.compile(ag.value_and_grad(loss))(*args)
        each = ag.compile(fn)(*args)
    assert_same(found, y.value, 1e-14)
    assert_same(gradient, g.value, 1e-13)
    assert_close(each, fn(*args))
    assert each[2].item() == np.inf


def test_it_is_one_loop_which_unrolls_resizes_and_is_written_to_files():
    args = (Z, LABELS, LENGTHS, LABEL_LENGTHS)
    graph = ag.trace(fn, *args)
    assert len(graph.find(op="loop")) == 1
    unrolled = graph.unroll()
    assert not unrolled.find(op="loop")
    expected = fn(*args)
    assert_close(unrolled(*args), expected)
    assert_close(loads(dumps(graph))(*args), expected)
    names = list(graph.inputs)
    rng = RNG(3)
    others = (rng.normal(size=(9, 2, 5)), rng.integers(1, 5, (2, 4)), np.array([9, 7]), [4, 3])
    others = [np.asarray(x) for x in others]
    wide = graph.resize(**dict(zip(names, [x.shape for x in others], strict=True)))
    assert_close(wide(*others), fn(*others))


def test_vmap_over_all_arguments():
    args = [np.stack([x, x[::-1] if i > 1 else x]) for i, x in enumerate((Z, LABELS, LENGTHS))]
    found = ag.vmap(lambda z, c, n: nn.ctc(z, c, n, reduction="none"))(*args)
    rows = [nn.ctc(*[x[i] for x in args], reduction="none").value for i in range(2)]
    assert_close(found, np.stack(rows))


def test_a_net_learns_labels_in_compiled_steps():
    xs, labels = RNG(4).normal(size=(8, 3, 6)), np.array([[1, 2, 2], [3, 0, 0], [2, 3, 1]])
    layer = nn.Linear(6, 4, rng=0)
    step = nn.TrainingStep(
        lambda xs, labels, n: nn.ctc(layer(xs), labels, label_lengths=n),
        nn.Adam(layer.parameters(), lr=0.1),
    )
    losses = step.many(steps=200, same={"xs": xs, "labels": labels, "n": np.array([3, 1, 3])})[
        "loss"
    ]
    assert losses[-1] < 0.1 < 0.5 < losses[0]


def test_check_finite_takes_minus_infinity_for_what_it_is():
    with ag.check_finite():
        y, g = ag.value_and_grad(lambda z: nn.ctc(z, *RAGGED))(Z)
    assert_same(y, nn.ctc(Z, *RAGGED).value, 1e-15)
    assert np.isfinite(g.value).all()


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", [False, True], ids=["", "drawn"])
def test_what_does_not_fit_is_told(drawn: bool):
    z = ag.input("z", Z.shape) if drawn else Z
    shapes = r"logits \(steps, rows, classes\) and labels \(rows, labels\).*{}"
    with pytest.raises(ag.ShapeError, match=shapes.format(r"float64\[5, 4, 3\].*int64\[3, 3\]")):
        nn.ctc(z, LABELS[:3])
    with pytest.raises(ag.ShapeError, match=shapes.format(r"int64\[4\]")):
        nn.ctc(z, LABELS[:, 0])
    with pytest.raises(ag.ShapeError, match=shapes.format(r"float64\[4, 3\]")):
        nn.ctc(z[0], LABELS)
    with pytest.raises(ag.DTypeError, match=r"ctc: labels must be integers, but are .*float64"):
        nn.ctc(z, LABELS * 1.0)
    with pytest.raises(ag.DTypeError, match="a loss needs a float logits"):
        nn.ctc(Z.astype(int), LABELS)
    for blank in (3, -1, 1.0, True):
        with pytest.raises(ag.LoopGradError, match=r"blank must be one of the 3 classes.*0 to 2"):
            nn.ctc(z, LABELS, blank=blank)
    with pytest.raises(ag.ShapeError, match=r"ctc: lengths must have shape \(4,\)"):
        nn.ctc(z, LABELS, [1, 2, 3])
    with pytest.raises(
        ag.ShapeError, match=r"label_lengths of ctc: lengths must have shape \(4,\)"
    ):
        nn.ctc(z, LABELS, label_lengths=[1, 2, 3])
    with pytest.raises(ag.LoopGradError, match="'mean', 'sum' or 'none', but is 'max'"):
        nn.ctc(z, LABELS, reduction="max")


def test_numbers_out_of_range_are_told():
    with pytest.raises(ag.ShapeError, match="ctc: row 1 has length 6, but lengths go from 0 to 5"):
        nn.ctc(Z, LABELS, [5, 6, 5, 5])
    with pytest.raises(ag.ShapeError, match="label_lengths of ctc: row 0 has length 4"):
        nn.ctc(Z, LABELS, label_lengths=[4, 1, 1, 1])
    for wrong, match in ((3, "is 3, but classes go from 0 to 2"), (0, "is 0, which is the blank")):
        labels = LABELS.copy()
        labels[2, 1] = wrong
        with pytest.raises(ag.ShapeError, match=rf"ctc: the \w+ at \(2, 1\) {match}.*"):
            nn.ctc(Z, labels)
        nn.ctc(Z, labels, label_lengths=[3, 3, 1, 3])  # there it is padding
        with pytest.raises(ag.ShapeError, match=match):
            ag.trace(fn, Z, *RAGGED)(Z, labels, LENGTHS, [3, 3, 3, 3])
