"""Initial values: distributions by formula, forms of matrices, and rules on names."""

import json
from functools import partial
from math import erf, sqrt
from pathlib import Path

import numpy as np
import pytest

import autograd as ag
import nn
from tests.loop_reference import assert_same

STORED = json.loads((Path(__file__).parent / "fixtures" / "torch_layers.json").read_text())
WIDE = (60, 80)
"""fan_in is 80, fan_out 60."""


def flat(low: float, high: float):
    """The distribution function of U(low, high)."""
    return lambda x: np.clip((x - low) / (high - low), 0.0, 1.0)


def bell(mean: float, std: float):
    """The distribution function of N(mean, std^2)."""
    return lambda x: 0.5 * (1.0 + np.vectorize(erf)((x - mean) / (std * sqrt(2.0))))


def cut(mean: float, std: float, low: float, high: float):
    """That of the numbers from low to high of N(mean, std^2)."""
    below = bell(mean, std)
    least, most = below(low), below(high)
    return lambda x: np.clip((below(x) - least) / (most - least), 0.0, 1.0)


def distance(values: np.ndarray, below) -> float:
    """Kolmogorov and Smirnov's distance times sqrt(n): over 1.95 once in a thousand samples."""
    x = np.sort(values.ravel())
    expected, n = below(x), x.size
    gaps = np.arange(1, n + 1) / n - expected, expected - np.arange(n) / n
    return float(np.max(gaps) * np.sqrt(n))


A = sqrt(6.0 / 140.0)
DISTRIBUTIONS = [
    (nn.init.uniform, {"low": -2.0, "high": 1.0}, flat(-2.0, 1.0)),
    (nn.init.uniform, {}, flat(0.0, 1.0)),
    (nn.init.normal, {"mean": 3.0, "std": 0.5}, bell(3.0, 0.5)),
    (nn.init.truncated_normal, {}, cut(0.0, 1.0, -2.0, 2.0)),
    (
        nn.init.truncated_normal,
        {"mean": 1.0, "std": 2.0, "low": 3.0, "high": 4.0},
        cut(1.0, 2.0, 3.0, 4.0),
    ),
    (nn.init.bounded_by_fan, {"fan": 80}, flat(-(80**-0.5), 80**-0.5)),
    (nn.init.xavier_uniform, {}, flat(-A, A)),
    (nn.init.xavier_uniform, {"gain": 2.0}, flat(-2.0 * A, 2.0 * A)),
    (nn.init.xavier_normal, {}, bell(0.0, sqrt(2.0 / 140.0))),
    (nn.init.kaiming_uniform, {}, flat(-sqrt(6.0 / 80.0), sqrt(6.0 / 80.0))),
    (
        nn.init.kaiming_uniform,
        {"mode": "fan_out", "nonlinearity": "linear"},
        flat(-sqrt(3.0 / 60.0), sqrt(3.0 / 60.0)),
    ),
    (nn.init.kaiming_normal, {"nonlinearity": "relu"}, bell(0.0, sqrt(2.0 / 80.0))),
    (nn.init.kaiming_normal, {"slope": 1.0}, bell(0.0, sqrt(1.0 / 80.0))),
]


@pytest.mark.parametrize(
    ("make", "options", "below"),
    DISTRIBUTIONS,
    ids=[f"{m.__name__}-{'-'.join(o)}" for m, o, _ in DISTRIBUTIONS],
)
def test_distributions_are_those_of_the_formulas(make, options, below):
    values = make(WIDE, rng=0, **options)
    assert values.shape == WIDE
    assert distance(values, below) < 1.95
    assert_same(make(WIDE, rng=0, **options), values)
    assert (make(WIDE, rng=1, **options) != values).any()
    single = make(WIDE, rng=0, dtype="float32", **options)
    assert_same(single, values.astype("float32"))


def test_the_distance_notices_another_distribution():
    values = nn.init.normal(WIDE, rng=0)
    assert distance(1.1 * values, bell(0.0, 1.0)) > 1.95
    assert distance(values + 0.1, bell(0.0, 1.0)) > 1.95


def test_truncated_normal_numbers_keep_within_the_limits():
    values = nn.init.truncated_normal((1000,), std=10.0, low=-0.5, high=1.0, rng=0)
    assert values.min() >= -0.5
    assert values.max() <= 1.0
    assert nn.init.truncated_normal((), rng=0).shape == ()
    for limits in ({"low": 3.0, "high": 9.0}, {"low": 1.0, "high": -1.0}, {"std": 0.0}):
        with pytest.raises(ag.LoopGradError, match=r"% lies between .* but at least 1% must"):
            nn.init.truncated_normal((2,), **limits)


@pytest.mark.parametrize("value", [0.0, 1.0, -2.5])
def test_constants(value: float):
    for dtype in ("float64", "float32"):
        wanted = np.full((2, 3), value, dtype)
        assert_same(nn.init.constant((2, 3), value, dtype=dtype), wanted)
    assert_same(nn.init.zeros((2,), dtype="float32"), np.zeros(2, np.float32))
    assert_same(nn.init.ones((2,), rng=0), np.ones(2))


@pytest.mark.parametrize("shape", [(5, 5), (8, 3), (3, 8), (4, 3, 2), (1, 1), (0, 3)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape):
    values = nn.init.orthogonal(shape, gain=2.0, rng=0)
    assert values.shape == shape
    m = values.reshape(shape[0], int(np.prod(shape[1:]))) / 2.0
    products = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(products, np.eye(len(products)), atol=1e-12)
    assert nn.init.orthogonal(shape, dtype="float32").dtype == np.float32


def test_orthogonal_matrices_prefer_no_sign():
    rng = np.random.default_rng(0)
    corners = np.array([np.diagonal(nn.init.orthogonal((3, 3), rng=rng)) for _ in range(500)])
    # of a sphere's uniform points each coordinate is uniform (Archimedes)
    for column in corners.T:
        assert distance(column, flat(-1.0, 1.0)) < 1.95


def test_identity_and_sparse():
    assert_same(nn.init.identity((2, 3), gain=0.5, dtype="float32"), 0.5 * np.eye(2, 3, dtype="f4"))
    values = nn.init.sparse((50, 40), 0.31, std=2.0, rng=0)
    assert ((values == 0.0).sum(0) == 16).all()  # 15.5, rounded up
    assert (values != nn.init.sparse((50, 40), 0.31, std=2.0, rng=1)).any()
    assert len({tuple(column) for column in (values == 0.0).T}) > 1
    assert distance(values[values != 0.0], bell(0.0, 2.0)) < 1.95


@pytest.mark.parametrize(("shape", "wanted"), STORED["fans"])
def test_fans_are_torchs(shape, wanted):
    assert nn.init.fans(shape) == tuple(wanted)


@pytest.mark.parametrize(("name", "slope", "wanted"), STORED["gains"])
def test_gains_are_torchs(name, slope, wanted):
    found = nn.init.gain(name) if slope is None else nn.init.gain(name, slope)
    assert found == pytest.approx(wanted, rel=1e-15)


def test_what_cannot_be_made_is_refused():
    for make in (nn.init.xavier_uniform, nn.init.kaiming_normal, nn.init.orthogonal):
        with pytest.raises(ag.ShapeError, match=r"the fan of shape \(3,\) is not defined"):
            make((3,))
    with pytest.raises(ag.LoopGradError, match=r"one of linear, sigmoid, .*'swish'"):
        nn.init.kaiming_normal((2, 2), nonlinearity="swish")
    with pytest.raises(ag.LoopGradError, match="'fan_in' or 'fan_out', but is 'fan_avg'"):
        nn.init.kaiming_normal((2, 2), mode="fan_avg")
    for make in (nn.init.identity, partial(nn.init.sparse, sparsity=0.5)):
        with pytest.raises(ag.ShapeError, match=r"makes matrices, but shape is \(2, 2, 2\)"):
            make((2, 2, 2))
    with pytest.raises(ag.LoopGradError, match=r"a fraction from 0 to 1, but is 1\.5"):
        nn.init.sparse((2, 2), 1.5)


# --- rules on names -------------------------------------------------------------------------------


def model(dtype: str = "float64") -> nn.Sequential:
    return nn.Sequential(
        {"lstm": nn.LSTM(2, 3, rng=0, dtype=dtype), "out": nn.Linear(3, 1, rng=0, dtype=dtype)}
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rules_give_parameters_new_values_by_their_names(dtype: str):
    net = model(dtype)
    before = net.state_dict()
    gates = nn.init.stacked(*[nn.init.orthogonal] * 4)
    nn.init.apply(
        net,
        {
            "*weight_hh*": gates,
            "lstm.bias_ih_l[01]": nn.init.stacked(0.0, nn.init.ones, 0.0, 0.0),
            "*bias*": nn.init.zeros,
            "out.weigh?": partial(nn.init.xavier_normal, gain=2.0),
        },
        rng=0,
    )
    after = net.state_dict()
    assert all(x.dtype == dtype for x in after.values())
    assert_same(after["lstm.weight_ih_l0"], before["lstm.weight_ih_l0"])
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    for gate in after["lstm.weight_hh_l0"].reshape(4, 3, 3):
        np.testing.assert_allclose(gate @ gate.T, np.eye(3), atol=tolerance)
    assert_same(after["lstm.bias_ih_l0"], np.repeat([0, 1, 0, 0], 3).astype(dtype))
    assert not after["lstm.bias_hh_l0"].any()
    assert not after["out.bias"].any()
    assert (after["out.weight"] != before["out.weight"]).all()


def test_one_generator_makes_all_values_and_repeats_them():
    first, second = model(), model()
    for net in (first, second):
        nn.init.apply(net, {"*": nn.init.normal}, rng=3)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert_same(a, b)
    assert (first.lstm.bias_ih_l0.value != first.lstm.bias_hh_l0.value).all()


def test_graphs_and_training_steps_read_the_new_values():
    net = nn.Linear(2, 1)
    graph = ag.trace(net, (2,))
    step = nn.TrainingStep(lambda x: net(x).sum(), nn.SGD(net.parameters(), lr=0.1))
    step(x=np.ones(2))
    nn.init.apply(net, {"*": 1.0})
    assert_same(graph.run(x0=np.ones(2))["output"], np.full(1, 3.0))
    assert step(x=np.ones(2))["loss"] == 3.0
    assert_same(net.bias, np.array([0.9]))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"*bias*": 0.0, "*wieght*": 1.0},
            r"'\*wieght\*' matches no parameter of Sequential; they",
        ),
        (
            {"*": 0.0, "out.bias": 1.0},
            r"'out\.bias' is never taken: earlier patterns match out\.bias",
        ),
        ({"*": "zeros"}, "an initialiser, such as nn.init.zeros, or a number, but is str 'zeros'"),
        ({"*": True}, "is an initialiser.* but is bool True"),
        ({"*": lambda shape, rng, dtype: np.zeros(3, dtype)}, r"made float64\[3\] for parameter"),
        ({"*": lambda shape, rng, dtype: np.zeros(shape, "f4")}, r"made float32.*which is float64"),
        ({"*bias*": 0.0, "*weight*": nn.init.stacked(0.0, 0.0)}, "2 equal parts of the first axis"),
        ({"*": nn.init.stacked()}, "0 equal parts"),
    ],
)
def test_wrong_rules_change_nothing(rules, message):
    net = model()
    before = net.state_dict()
    with pytest.raises(ag.LoopGradError, match=message):
        nn.init.apply(net, rules, rng=0)
    for name, x in net.state_dict().items():
        assert_same(x, before[name])
