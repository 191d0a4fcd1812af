"""Module, initial values and Linear."""

import gc

import numpy as np
import pytest

import autograd as ag
import nn
from tests.loop_reference import assert_same
from tests.nn_helpers import RNG, tracked
from tests.oracles import published_numbers as published

# --- Module ---------------------------------------------------------------------------------------


class Adder(nn.Module):
    def __init__(self, rng: int = 0) -> None:
        rng = RNG(rng)
        self.rnn = nn.RNN(2, 3, rng=rng)
        self.heads = [nn.Linear(3, 1, rng=rng), nn.Linear(3, 2, rng=rng)]
        self.scales = {"low": ag.parameter("s", 1.0), "high": ag.parameter("s", 2.0)}
        self.size = 3

    def forward(self, xs):
        hs, _ = self.rnn(xs)
        return self.heads[0](hs) * self.scales["low"]


ADDER_NAMES = [
    *(f"rnn.{name}" for name in published.RNN_NAMES),
    *("heads.0.weight", "heads.0.bias", "heads.1.weight", "heads.1.bias"),
    *("scales.low", "scales.high"),
]


def test_parameters_are_named_by_their_paths():
    adder = Adder()
    assert [name for name, _ in adder.named_parameters()] == ADDER_NAMES
    assert [p.name for p in adder.parameters()] == ADDER_NAMES


def test_names_follow_the_outermost_module_whenever_it_is_built():
    class Outer(nn.Module):
        pass

    outer, inner = Outer(), Outer()
    outer.part = inner
    inner.layer = nn.Linear(2, 2)
    assert inner.layer.weight.name == "part.layer.weight"
    inner.scale = ag.parameter("anything", 1.0)
    assert [name for name, _ in outer.named_parameters()][-1] == "part.scale"
    assert inner.scale.name == "part.scale"


def test_a_parameter_held_twice_counts_once_under_its_first_path():
    class Tied(nn.Module):
        def __init__(self):
            self.first = nn.Linear(2, 2)
            self.second = nn.Linear(2, 2)
            self.second.weight = self.first.weight

    names = [name for name, _ in Tied().named_parameters()]
    assert names == ["first.weight", "first.bias", "second.bias"]
    assert Tied().second.weight.name == "first.weight"


def test_a_module_outlives_the_module_that_held_it():
    outer = Adder()
    inner = outer.rnn
    del outer
    inner.extra = ag.parameter("extra", 1.0)
    assert inner.extra.name == "extra"


def test_modules_make_no_reference_cycles():
    gc.collect()
    gc.disable()
    try:
        adder = Adder()
        adder(np.ones((2, 1, 2))).sum().backward()
        del adder
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_the_same_module_computes_and_draws():
    adder, xs = Adder(), RNG(1).normal(size=(4, 2, 2))
    graph = ag.trace(adder, xs)
    assert set(graph.parameters) < set(ADDER_NAMES)
    assert_same(graph(xs), adder(xs), 1e-14)


def test_zero_grad_forgets_gradients():
    layer = nn.Linear(2, 1)
    layer(np.ones((1, 2))).sum().backward()
    assert layer.weight.grad is not None
    layer.zero_grad()
    assert layer.weight.grad is None


def test_a_module_without_forward_says_so():
    with pytest.raises(ag.LoopGradError, match="Module has no forward"):
        nn.Module()(1.0)


# --- init -----------------------------------------------------------------------------------------


def test_initial_values_have_their_distributions_and_dtypes():
    u = nn.init.uniform((1000,), -2.0, 1.0, rng=0, dtype="float32")
    n = nn.init.normal((10000,), 3.0, 0.5, rng=0)
    assert u.dtype == np.float32
    assert -2.0 <= u.min() < -1.98
    assert 0.98 < u.max() < 1.0
    assert n.dtype == np.float64
    assert abs(n.mean() - 3.0) < 0.02
    assert abs(n.std() - 0.5) < 0.02
    assert not nn.init.zeros((2, 3)).any()


def test_a_seed_repeats_itself_and_a_generator_goes_on():
    same = [nn.Linear(3, 2, rng=7).weight.value for _ in range(2)]
    np.testing.assert_array_equal(*same)
    rng = RNG(7)
    one, other = (nn.Linear(3, 2, rng=rng).weight.value for _ in range(2))
    np.testing.assert_array_equal(one, same[0])
    assert not np.any(one == other)
    assert not np.any(nn.Linear(3, 2).weight.value == nn.Linear(3, 2).weight.value)


# --- Linear ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("leading", [(), (4,), (2, 0), (2, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_x_times_weight_transposed_plus_bias(leading, bias):
    layer = nn.Linear(3, 2, bias=bias, rng=0)
    x = RNG(1).normal(size=(*leading, 3))
    expected = x @ layer.weight.value.T + (layer.bias.value if bias else 0.0)
    np.testing.assert_array_equal(layer(x).value, expected)
    assert layer.weight.shape == (2, 3)
    assert len(layer.parameters()) == 1 + bias


def test_linear_starts_within_one_over_the_root_of_its_inputs():
    layer = nn.Linear(25, 400, rng=0)
    for p in layer.parameters():
        assert 0.19 < np.abs(p.value).max() <= 0.2


def test_linear_has_right_gradients():
    layer, x = nn.Linear(3, 2, rng=0), tracked(RNG(1).normal(size=(4, 3)))
    y = layer(x)
    (0.5 * y * y).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.value, y.value.T @ x.value, rtol=1e-14)
    np.testing.assert_allclose(layer.bias.grad.value, y.value.sum(axis=0), rtol=1e-14)
    np.testing.assert_allclose(x.grad.value, y.value @ layer.weight.value, rtol=1e-14)
    ag.check_grad(lambda x: ag.tanh(layer(x)).sum(), (x.value,))


@pytest.mark.parametrize("layer", [nn.Linear(2, 3), nn.RNNCell(2, 3), nn.RNN(2, 3)])
def test_layers_name_their_weight_when_inputs_do_not_fit(layer):
    wrong = np.ones((4, 1, 5))
    with pytest.raises(ag.ShapeError, match=r"layer of 'weight\w*' takes inputs \(\.\.\., 2\)"):
        layer(wrong)
    with pytest.raises(ag.DTypeError, match=r"computes in float64.*\.astype\('float64'\)"):
        layer(np.ones((4, 1, 2), np.float32))


def test_a_layer_without_inputs_or_outputs_works():
    y = nn.Linear(0, 2)(np.ones((3, 0)))
    assert y.shape == (3, 2)
    assert nn.Linear(2, 0)(np.ones((3, 2))).shape == (3, 0)
