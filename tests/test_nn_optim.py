"""Optimizers against PyTorch's (frozen values), through every door; Lion and the article's."""

import numpy as np
import pytest

import autograd as ag
import nn
from demos import article
from tests.nn_helpers import ancestors
from tests.optim_helpers import (
    GRADIENTS,
    TORCH,
    assert_alike,
    batch,
    given_gradients,
    parameters,
    stacked,
)

ROWS = {
    f"{i}-{row['kind']}-{'-'.join([*row['options'], *(row['clip'] or {})])}": row
    for i, row in enumerate(TORCH["optimizers"])
}
OUR_NAMES = {"initial_accumulator_value": "initial_accumulator"}
SCHEDULES = {
    "StepLR": lambda lr, step_size, gamma: nn.schedules.step(lr, step_size, gamma),
    "CosineAnnealingLR": lambda lr, T_max, eta_min: nn.schedules.cosine(lr, T_max, eta_min),
    "ExponentialLR": lambda lr, gamma: nn.schedules.exponential(lr, gamma),
}


@pytest.fixture(autouse=True)
def reference():
    """What is compared bit for bit runs one way, whatever `pytest --backend` says."""
    with ag.backend("reference"):
        yield


def made(row, dtype="float64"):
    """The parameters of a row, and our optimizer of them."""
    ps = parameters(dtype)
    options = {OUR_NAMES.get(name, name): x for name, x in row["options"].items()}
    if row["schedule"]:
        kind, numbers = row["schedule"]
        options["lr"] = SCHEDULES[kind](options["lr"], **numbers)
    given = ps
    if row["groups"]:
        first, second = row["groups"]
        given = [{"parameters": ps[:2], **first}, {"parameters": ps[2:], **second}]
    return ps, getattr(nn, row["kind"])(given, **options, **(row["clip"] or {}))


@pytest.mark.parametrize("name", ROWS)
def test_optimizers_do_what_torch_does_through_every_door(name):
    row = ROWS[name]
    ps, eager = made(row)
    wanted = iter(row["parameters"])
    for i, gradients in enumerate(GRADIENTS, 1):
        eager.step(gradients)
        if i in TORCH["kept"]:
            for p, value in zip(ps, next(wanted), strict=True):
                np.testing.assert_allclose(p.value, value, rtol=1e-12, atol=1e-14)
    assert next(wanted, None) is None
    ps, single = made(row)
    step = nn.TrainingStep(given_gradients(ps), single)
    for i in range(5):
        step.run(**batch(i))
    step.many(**{key: x[5:] for key, x in stacked().items()})
    assert_alike(eager, single)


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name]["options"].get("lr")])
def test_plans_agree(name):
    results = []
    for backend in ("reference", "numpy"):
        ps, optimizer = made(ROWS[name])
        step = nn.TrainingStep(given_gradients(ps), optimizer, backend=backend)
        for i in range(6):
            step.run(**batch(i))
        results.append([p.value for p in ps])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)


@pytest.mark.parametrize("name", ROWS)
def test_float32_parameters_have_float32_states_and_graphs(name):
    """All of it but the numbers of the step, which are float64 scalars."""
    ps, optimizer = made(ROWS[name], "float32")
    step = nn.TrainingStep(given_gradients(ps), optimizer)
    graph = step.graph(**batch(0, "float32"))
    numbers = {graph.inputs[key] for key in (*optimizer.number_names, "step")}
    for x in graph.nodes:
        if x.dtype == np.float64:  # a number, or computed from numbers only
            assert x.shape == ()
            leaves = {node for node in ancestors(x) if not node.inputs}
            assert {leaf for leaf in leaves if leaf.virtual} <= numbers
    for i in range(3):
        step.run(**batch(i, "float32"))
    optimizer.step([g.astype("float32") for g in GRADIENTS[3]])
    assert {p.dtype for p in ps} == {np.dtype("float32")}
    assert {x.dtype for state in optimizer.state for x in state} <= {np.dtype("float32")}
    twins, twin = made(ROWS[name])
    for gradients in GRADIENTS[:4]:
        twin.step(gradients)
    for p, q in zip(ps, twins, strict=True):
        np.testing.assert_allclose(p.value, q.value, rtol=2e-4, atol=1e-5)


def test_a_drawn_step_names_its_states_and_numbers():
    row = next(r for r in TORCH["optimizers"] if r["options"].get("momentum_decay") == 0.1)
    ps, optimizer = made(row)
    graph = nn.TrainingStep(given_gradients(ps), optimizer).graph(**batch(0))
    names = list(graph.inputs)
    assert names[3:6] == ["p0.mean", "p0.square", "p0.product"]
    assert names[12:-4] == ["lr", "beta1", "beta2", "eps", "weight_decay", "momentum_decay"]


# --- those torch does not have --------------------------------------------------------------------


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_lion_is_the_papers(weight_decay):
    """Chen et al. 2023, algorithm 2."""
    ps = parameters()
    optimizer = nn.Lion(ps, lr=0.01, betas=(0.8, 0.95), weight_decay=weight_decay)
    thetas = [p.value.copy() for p in ps]
    means = [np.zeros(p.shape) for p in ps]
    for gradients in GRADIENTS:
        optimizer.step(gradients)
        for i, g in enumerate(gradients):
            c = 0.8 * means[i] + (1 - 0.8) * g
            thetas[i] = thetas[i] - 0.01 * (np.sign(c) + weight_decay * thetas[i])
            means[i] = 0.95 * means[i] + (1 - 0.95) * g
            np.testing.assert_allclose(ps[i].value, thetas[i], rtol=1e-13)
            np.testing.assert_allclose(optimizer.state[i][0], means[i], rtol=1e-13)


def test_the_articles_adadelta_is_the_demos_where_a_parameter_is_used_once():
    ps = parameters()
    optimizer = nn.ArticleAdadelta(ps)
    demo = article.Adadelta(0.2)
    values, accs = [p.value for p in ps], [None] * 3
    for gradients in GRADIENTS:
        optimizer.step(gradients)
        for i, g in enumerate(gradients):
            values[i], accs[i] = demo.update(values[i], g[None], accs[i])
            np.testing.assert_allclose(ps[i].value, values[i], rtol=1e-13)
            np.testing.assert_allclose(optimizer.state[i][0], accs[i][0], rtol=1e-13)


def test_a_centered_rmsprop_has_no_root_of_what_rounding_makes_negative():
    """square - mean^2 of gradients that are all alike goes to 0, where torch's is NaN."""
    p = ag.parameter("p", np.ones(64))
    optimizer = nn.RMSprop([p], lr=1e-12, alpha=0.1, centered=True)
    gradient = np.random.default_rng(0).normal(size=64)
    below = False
    for _ in range(60):
        optimizer.step([gradient])
        square, mean = optimizer.state[0]
        below = below or bool((square - mean * mean < 0).any())
    assert below
    assert np.isfinite(p.value).all()


def test_a_nan_in_a_gradient_becomes_one_in_its_parameter():
    for optimizer in (nn.SGD, nn.Adam, nn.Lion):
        p, q = ag.parameter("p", np.ones(2)), ag.parameter("q", np.ones(1))
        optimizer([p, q], lr=0.1).step([np.array([np.nan, 1.0]), np.ones(1)])
        np.testing.assert_array_equal(np.isnan(p.value), [True, False])
        assert np.isfinite(q.value).all()


# --- numbers that change --------------------------------------------------------------------------


def test_every_number_may_change_between_steps_without_a_new_graph():
    options = {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.05, "dampening": 0.5}
    row = next(row for row in TORCH["optimizers"] if row["options"] == options)
    (_, eager), (ps, single) = made(row), made(row)
    step = nn.TrainingStep(given_gradients(ps), single)
    graphs = set()
    for i, name in enumerate(("lr", "momentum", "dampening", "weight_decay", "lr")):
        for optimizer in (eager, single):
            setattr(optimizer, name, 0.3 / (i + 1))
        given = batch(i)
        eager.step(GRADIENTS[i])
        step.run(**given)
        graphs.add(step.graph(**given))
        assert_alike(eager, single)
    assert len(graphs) == 1


def test_numbers_may_be_schedules_of_any_kind():
    def beta(steps):
        return 0.9 - 0.5 / (1 + steps)

    ps = parameters()
    scheduled, plain = nn.Adam(ps, betas=(beta, 0.99)), nn.Adam(parameters(), betas=(0.1, 0.99))
    step = nn.TrainingStep(given_gradients(ps), scheduled)
    for i, gradients in enumerate(GRADIENTS[:6]):
        plain.beta1 = beta(i)
        plain.step(gradients)
    step.many(**{key: x[:6] for key, x in stacked().items()})
    assert_alike(plain, scheduled)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda ps: nn.SGD(ps, lr=0.1), "momentum"),
        (lambda ps: nn.SGD(ps, lr=0.1, momentum=0.9), "weight_decay"),
        (lambda ps: nn.SGD(ps, lr=0.1, momentum=0.9, nesterov=True), "dampening"),
        (lambda ps: nn.RMSprop(ps), "momentum"),
        (lambda ps: nn.Adam(ps), "weight_decay"),
        (lambda ps: nn.Adam(ps), "clip_norm"),
        (lambda ps: nn.Lion(ps), "clip_value"),
    ],
)
def test_what_was_left_out_cannot_come_later(make, name):
    """There is no state for it, and no graph with it: silence would be worse."""
    ps = parameters()
    optimizer = make(ps)
    step = nn.TrainingStep(given_gradients(ps), optimizer)
    given = batch(0)
    step.run(**given)
    before = [p.value for p in ps]
    setattr(optimizer, name, 0.5)
    message = rf"{name} was (0|None) when {type(optimizer).__name__} was made.*become 0\.5; make"
    for take in (lambda: step.run(**given), lambda: optimizer.step(GRADIENTS[0])):
        with pytest.raises(ag.LoopGradError, match=message):
            take()
    setattr(optimizer, name, 0 if name not in ("clip_norm", "clip_value") else None)
    for p, value in zip(ps, before, strict=True):
        np.testing.assert_array_equal(p.value, value)
    step.run(**given)
    assert optimizer.steps == 2


# --- errors ---------------------------------------------------------------------------------------

ERRORS = {
    "betas": (lambda ps: nn.Adam(ps, betas=0.9), r"betas of Adam must be two numbers .*is 0\.9"),
    "three betas": (lambda ps: nn.Lion(ps, betas=(0.9, 0.9, 0.9)), "betas of Lion must be two"),
    "a beta of 1": (lambda ps: nn.NAdam(ps, betas=(1.0, 0.9)), "beta1 of NAdam must be .*below 1"),
    "text": (lambda ps: nn.Adamax(ps, betas=("0.9", 0.9)), "beta1 must be a number >= 0"),
    "alpha": (lambda ps: nn.RMSprop(ps, alpha=1.5), "alpha of RMSprop must be a number below 1"),
    "rho": (lambda ps: nn.Adadelta(ps, rho=-0.1), "rho must be a number >= 0, but is -0.1"),
    "decay": (lambda ps: nn.AdamW(ps, weight_decay=-1), "weight_decay must be a number >= 0"),
    "eps": (lambda ps: nn.RAdam(ps, eps=float("nan")), "eps must be a number >= 0"),
    "accumulator": (lambda ps: nn.Adagrad(ps, initial_accumulator=-1), "initial_accumulator must"),
    "clip": (lambda ps: nn.SGD(ps, lr=0.1, clip_norm=-1), "clip_norm must be a number >= 0"),
    "misspelt": (
        lambda ps: nn.SGD(ps, lr=0.1, momentun=0.9),
        "SGD has no number 'momentun'; it has lr, momentum, dampening, weight_decay, clip_value",
    ),
    "not given": (lambda ps: nn.Optimizer(ps), "Optimizer needs the number 'lr'"),
    "nesterov": (
        lambda ps: nn.SGD(ps, lr=0.1, nesterov=True),
        r"Nesterov's momentum needs momentum and no dampening, but momentum is 0\.0",
    ),
    "nesterov dampened": (
        lambda ps: nn.SGD(ps, lr=0.1, momentum=0.9, dampening=0.1, nesterov=True),
        r"dampening is 0\.1",
    ),
    "nothing": (lambda ps: nn.Adam([]), "Adam needs parameters, each of them once, but got 0"),
    "a parameter": (lambda ps: nn.Adam(ps[0]), r"takes a list of parameters, but got Parameter"),
    "a module": (
        lambda ps: nn.Adam(nn.Linear(1, 1, rng=0)),
        "but got Linear (.|\\n)*module.parameters",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_optimizers_say_what_they_cannot_take(name):
    make, message = ERRORS[name]
    with pytest.raises(ag.LoopGradError, match=message):
        make(parameters())
