"""Parameters as one vector, and losses as functions of it, for SciPy's optimizers."""

import numpy as np
import pytest

import autograd as ag
import nn
from nn import flat
from tests.nn_helpers import RNG

XS, YS = RNG(0).normal(size=(5, 6, 2)), RNG(1).normal(size=(5, 6, 1))


class Net(nn.Module):
    def __init__(self, dtype="float64"):
        rng = RNG(2)
        self.rnn = nn.RNN(2, 3, rng=rng, dtype=dtype)
        self.out = nn.Linear(3, 1, rng=rng, dtype=dtype)

    def loss(self, xs, ys):
        return nn.squared_error(self.out(self.rnn(xs)[0]), ys)


def test_vectors_hold_parameters_one_after_another_in_float64():
    p = ag.parameter("p", np.arange(6.0).reshape(2, 3))
    q, r = ag.parameter("q", np.float32(7)), ag.parameter("r", np.zeros((0, 2)))
    vector = flat.get([p, q, r])
    assert vector.dtype == np.float64
    np.testing.assert_array_equal(vector, [0, 1, 2, 3, 4, 5, 7])
    flat.set([p, q, r], -vector)
    np.testing.assert_array_equal(p.value, [[-0.0, -1, -2], [-3, -4, -5]])
    assert q.value == -7
    assert q.value.dtype == np.float32
    assert r.shape == (0, 2)


def test_there_and_back_changes_no_bit():
    for dtype in ("float64", "float32"):
        net = Net(dtype)
        before = [p.value for p in net.parameters()]
        vector = flat.get(net)
        flat.set(net, np.zeros_like(vector))
        assert not any(p.value.any() for p in net.parameters())
        flat.set(net, ag.tensor(vector))
        for p, value in zip(net.parameters(), before, strict=True):
            np.testing.assert_array_equal(p.value, value)
            assert p.dtype == dtype


def test_parameters_in_the_memory_of_a_training_step_are_read_and_replaced():
    net = Net()
    step = nn.TrainingStep(net.loss, nn.SGD(net.parameters(), lr=0.1), backend="numpy")
    step.run(xs=XS, ys=YS)
    vector = flat.get(net)
    first = step.run(xs=XS, ys=YS)["loss"]
    flat.set(net, vector)
    assert step.run(xs=XS, ys=YS)["loss"] == first


def test_an_objective_is_loss_and_gradient_at_a_vector_and_touches_no_parameter():
    net = Net()
    objective = flat.Objective(net.loss, net, xs=XS, ys=YS)
    start = objective.start
    value, gradient = objective(start + 0.1)
    np.testing.assert_array_equal(flat.get(net), start)
    flat.set(net, start + 0.1)
    loss = net.loss(XS, YS)
    loss.backward()
    assert isinstance(value, float)
    assert value == pytest.approx(loss.item(), rel=1e-13)
    expected = np.concatenate([p.grad.value.ravel() for p in net.parameters()])
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-14)
    assert objective.value(start) == objective(start)[0]
    np.testing.assert_array_equal(objective.gradient(start), objective(start)[1])


def test_gradients_and_hessians_are_those_of_finite_differences():
    net = Net()
    objective = flat.Objective(net.loss, net, xs=XS, ys=YS)
    x, d = objective.start, RNG(3).normal(size=objective.start.shape)
    h = 1e-5
    slope = (objective.value(x + h * d) - objective.value(x - h * d)) / (2 * h)
    assert objective.gradient(x) @ d == pytest.approx(slope, rel=1e-7)
    bend = (objective.gradient(x + h * d) - objective.gradient(x - h * d)) / (2 * h)
    np.testing.assert_allclose(objective.hessp(x, d), bend, rtol=1e-6, atol=1e-8)


def test_float32_models_compute_in_float32_and_answer_in_float64():
    net, twin = Net("float32"), Net()
    flat.set(twin, flat.get(net))
    xs, ys = XS.astype("float32"), YS.astype("float32")
    objective, exact = flat.Objective(net.loss, net, xs=xs, ys=ys), None
    exact = flat.Objective(twin.loss, twin, xs=XS, ys=YS)
    x = objective.start
    for node in objective.graph.nodes:
        assert node.bodies or node.dtype != np.float64
    assert objective(x)[1].dtype == objective.hessp(x, x).dtype == np.float64
    np.testing.assert_allclose(objective(x)[1], exact(x)[1], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(objective.hessp(x, x), exact.hessp(x, x), rtol=1e-3, atol=1e-4)


def test_part_of_a_model_may_be_the_vector_and_the_rest_is_read_at_every_call():
    net = Net()
    objective = flat.Objective(net.loss, net.out, xs=XS, ys=YS)
    assert objective.start.shape == (4,)
    before = objective.value(objective.start)
    net.rnn.weight_ih_l0.value = net.rnn.weight_ih_l0.value + 1.0
    assert objective.value(objective.start) == pytest.approx(net.loss(XS, YS).item(), rel=1e-13)
    assert objective.value(objective.start) != before


def test_what_the_loss_does_not_use_has_gradient_zero():
    p, q = ag.parameter("p", [1.0, 2.0]), ag.parameter("p", [3.0])
    objective = flat.Objective(lambda: ag.square(p).sum(), [p, q])
    value, gradient = objective([1.0, 2.0, 3.0])
    assert value == 5.0
    np.testing.assert_array_equal(gradient, [2, 4, 0])
    np.testing.assert_array_equal(objective.hessp([1, 2, 3], [1, 0, 1]), [2, 0, 0])
    linear = flat.Objective(lambda x: (p * x).sum(), [p], x=np.ones(2))
    np.testing.assert_array_equal(linear.hessp([1.0, 2.0], [1.0, 1.0]), [0, 0])


def test_errors_leave_the_parameters_alone():
    """Also those in the middle of computing."""

    @ag.custom_vjp
    def moody(x):
        if x.sum() > 10:
            raise ValueError("too much")
        return x

    @moody.defvjp
    def _(g, y, x):
        return g

    p = ag.parameter("p", [1.0, 2.0])
    objective = flat.Objective(lambda: moody(p).sum(), [p])
    with pytest.raises(ValueError, match="too much"):
        objective([10.0, 2.0])
    np.testing.assert_array_equal(p.value, [1.0, 2.0])
    with pytest.raises(ag.ShapeError, match=r"a vector of 2 numbers, but float64\[3\] came"):
        flat.set([p], np.zeros(3))
    np.testing.assert_array_equal(p.value, [1.0, 2.0])


def rosenbrock(p):
    return lambda: 100 * ag.square(p[1:] - ag.square(p[:-1])).sum() + ag.square(1 - p[:-1]).sum()


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG", "Newton-CG", "trust-ncg"])
def test_scipy_finds_the_minimum(method):
    optimize = pytest.importorskip("scipy.optimize")
    p = ag.parameter("p", [-1.2, 1.0, -0.5])
    objective = flat.Objective(rosenbrock(p), [p])
    second = {"hessp": objective.hessp} if method in ("Newton-CG", "trust-ncg") else {}
    result = optimize.minimize(
        objective, objective.start, jac=True, method=method, tol=1e-8, **second
    )
    flat.set([p], result.x)
    np.testing.assert_allclose(p.value, np.ones(3), rtol=1e-5)


def test_scipy_trains_a_net():
    optimize = pytest.importorskip("scipy.optimize")
    net = Net()
    objective = flat.Objective(net.loss, net, xs=XS, ys=np.tanh(XS.sum(axis=2, keepdims=True)))
    result = optimize.minimize(objective, objective.start, jac=True, options={"maxiter": 40})
    assert result.fun < 0.02 < objective.value(objective.start)


def test_random_layers_draw_the_same_at_every_call():
    layer, drop = nn.Linear(3, 1, rng=0), nn.Dropout(0.5)

    def loss(xs):
        return ag.square(layer(drop(xs))).mean()

    objectives = [flat.Objective(loss, layer, seed=seed, xs=np.ones((9, 3))) for seed in (0, 0, 1)]
    x = objectives[0].start
    same, twin, other = (objective.value(x) for objective in objectives)
    assert same == twin == objectives[0].value(x)
    assert same != other


ERRORS = {
    "no function": (lambda p: flat.Objective(p, [p]), r"needs a loss function, but got Parameter"),
    "no scalar": (lambda p: flat.Objective(lambda: p * 2.0, [p]), "must be a scalar, but is"),
    "a number": (lambda p: flat.Objective(lambda: 3.0, [p]), r"but is float 3\.0"),
    "nothing": (lambda p: flat.get([]), "flat.get needs parameters"),
    "twice": (lambda p: flat.get([p, p]), "got 2 with 1 different ones"),
    "arrays": (lambda p: flat.set([np.ones(2)], np.ones(2)), "flat.set takes .* got ndarray"),
    "one": (lambda p: flat.get(3), "flat.get takes a module or a list .* got int 3"),
    "texts": (lambda p: flat.set([p], ["a", "b"]), "a vector of 2 numbers, but <U1 came"),
    "direction": (
        lambda p: flat.Objective(lambda: p.sum(), [p]).hessp([1.0, 2.0], [1.0]),
        r"of 2 numbers, but float64\[1\] came",
    ),
    "another": (
        lambda p: flat.Objective(lambda: p.sum(), [ag.parameter("q", [1.0])]),
        "depends on none of its parameters; it depends on p",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_flat_says_what_it_cannot_take(name):
    call, message = ERRORS[name]
    with pytest.raises(ag.LoopGradError, match=message):
        call(ag.parameter("p", [1.0, 2.0]))
