"""Schedules against torch's, where they end, what they refuse; and the plateau."""

import copy

import numpy as np
import pytest

import autograd as ag
import nn
from nn import schedules
from tests.optim_helpers import TORCH

LR = 0.1  # of all of torch's


def multi_step(milestones, gamma):
    values = [LR * gamma**i for i in range(len(milestones) + 1)]
    return schedules.piecewise(milestones, values)


def one_cycle(max_lr, total_steps, pct_start=0.3, div_factor=25.0, final_div_factor=1e4):
    return schedules.one_cycle(max_lr, total_steps, pct_start, div_factor, final_div_factor)


OURS = {
    "ConstantLR": lambda factor, total_iters: schedules.piecewise([total_iters], [LR * factor, LR]),
    "StepLR": lambda step_size, gamma: schedules.step(LR, step_size, gamma),
    "MultiStepLR": multi_step,
    "ExponentialLR": lambda gamma: schedules.exponential(LR, gamma),
    "LinearLR": lambda start_factor, end_factor, total_iters: schedules.linear(
        LR * start_factor, LR * end_factor, total_iters
    ),
    "PolynomialLR": lambda total_iters, power: schedules.polynomial(LR, total_iters, power),
    "CosineAnnealingLR": lambda T_max, eta_min: schedules.cosine(LR, T_max, eta_min),
    "CosineAnnealingWarmRestarts": lambda T_0, eta_min, T_mult=1: schedules.cosine_restarts(
        LR, T_0, T_mult, eta_min
    ),
    "OneCycleLR": one_cycle,
    "warmup": lambda: schedules.warmup(8, schedules.cosine(LR, 32, 0.001), start=0.1),
    "chained": lambda: schedules.chained(
        [
            schedules.exponential(LR, 0.8),
            schedules.step(LR, 3, 0.5),
            schedules.polynomial(LR, 10),
        ],
        [5, 20],
    ),
    "transformer": lambda: schedules.inverse_square_root(LR, 10),
}


@pytest.mark.parametrize("i", range(len(TORCH["schedules"])))
def test_schedules_are_torchs(i):
    row = TORCH["schedules"][i]
    schedule = OURS[row["kind"]](**row["options"])
    rates = [schedule(steps) for steps in range(len(row["rates"]))]
    np.testing.assert_allclose(rates, row["rates"], rtol=1e-12, atol=1e-17)


def test_every_schedule_has_a_row():
    assert {row["kind"] for row in TORCH["schedules"]} == set(OURS)


@pytest.mark.parametrize(
    ("schedule", "end"),
    [
        (schedules.constant(0.3), 0.3),
        (schedules.linear(0.1, 0.2, 5), 0.2),
        (schedules.polynomial(0.1, 5, 3.0, final=0.05), 0.05),
        (schedules.cosine(0.1, 5, final=0.01), 0.01),
        (schedules.one_cycle(1.0, 10), 1 / 25e4),
        (schedules.warmup(3, 0.2), 0.2),
        (schedules.chained([0.1, 0.2], [4]), 0.2),
        (schedules.piecewise([1, 2], [1.0, 2.0, 3.0]), 3.0),
    ],
)
def test_schedules_stay_where_they_end(schedule, end):
    assert schedule(10**6) == pytest.approx(end, rel=1e-14)
    assert schedule(10**9) == schedule(10**6)


def test_a_warmup_from_nothing_goes_up_in_equal_steps():
    schedule = schedules.warmup(4, schedules.exponential(0.8, 0.5))
    np.testing.assert_allclose([schedule(i) for i in range(6)], [0, 0.2, 0.4, 0.6, 0.8, 0.4])


def test_restarts_grow():
    schedule = schedules.cosine_restarts(1.0, 3, longer=3)
    tops = [i for i in range(60) if schedule(i) == 1.0]
    assert tops == [0, 3, 12, 39]


def test_schedules_can_be_compared_printed_and_copied():
    schedule = schedules.warmup(10, schedules.cosine(0.1, 100))
    assert schedule == schedules.warmup(10, schedules.cosine(0.1, 100)) == copy.deepcopy(schedule)
    assert schedule != schedules.warmup(10, schedules.cosine(0.1, 101))
    assert "cosine(initial=0.1, updates=100, final=0.0)" in repr(schedule)


def quadratic(p):
    return lambda: ag.square(p).sum()


def test_training_that_is_taken_up_again_goes_on_in_its_schedule():
    schedule = schedules.one_cycle(0.1, 20)
    p, q = ag.parameter("p", [3.0, -1.0]), ag.parameter("p", [3.0, -1.0])
    whole = nn.SGD([p], lr=schedule, momentum=0.5)
    nn.TrainingStep(quadratic(p), whole).many(steps=20)
    first = nn.SGD([q], lr=schedule, momentum=0.5)
    nn.TrainingStep(quadratic(q), first).many(steps=7)
    state = first.state_dict()
    assert "lr" not in state
    second = nn.SGD([q], lr=schedule, momentum=0.5)
    second.load_state_dict(state)
    step = nn.TrainingStep(quadratic(q), second)
    for _ in range(3):
        step.run()
    step.many(steps=10)
    np.testing.assert_array_equal(p.value, q.value)


# --- plateau --------------------------------------------------------------------------------------


def plateau(mode="min", threshold_mode="rel", min_lr=0.0, **options):
    return schedules.Plateau(
        LR, largest=mode == "max", relative=threshold_mode == "rel", least=min_lr, **options
    )


@pytest.mark.parametrize("i", range(len(TORCH["plateau"])))
def test_the_plateau_is_torchs_and_can_be_taken_up_again(i):
    row = TORCH["plateau"][i]
    one = plateau(**row["options"])
    rates = []
    for measure in row["told"]:
        again = plateau(**row["options"])
        again.load_state_dict(one.state_dict())
        rates.append(one.report(measure))
        assert again.report(measure) == rates[-1] == one(123)
        assert again.state_dict() == one.state_dict()
    np.testing.assert_allclose(rates, row["rates"], rtol=1e-13)
    assert len(set(rates)) > 2


def test_a_plateau_is_the_rate_of_training_steps():
    p = ag.parameter("p", [1.0])
    slow = schedules.Plateau(0.5, factor=0.1, patience=0)
    optimizer = nn.SGD([p], lr=slow)
    step = nn.TrainingStep(lambda: p.sum(), optimizer)
    results = step.run()
    slow.report(results["loss"])
    slow.report(ag.tensor(2.0))
    step.many(steps=2)
    np.testing.assert_allclose(p.value, [1 - 0.5 - 2 * 0.05])
    assert "Plateau at 0.05, best 1" in repr(slow)


def test_the_state_of_an_optimizer_has_that_of_its_plateau():
    def made():
        p = ag.parameter("p", [1.0])
        return nn.SGD([p], lr=schedules.Plateau(0.5, factor=0.1, patience=1), momentum=0.9)

    one, two = made(), made()
    for measure in (3.0, 2.0, 2.0):
        one.lr.report(measure)
    state = one.state_dict()
    assert (state["lr.value"], state["lr.best"], state["lr.bad"]) == (0.5, 2.0, 1)
    with pytest.raises(ag.LoopGradError, match="'bad' of Plateau must be a whole number"):
        two.load_state_dict({**state, "lr.bad": -1})
    with pytest.raises(ag.LoopGradError, match=r"missing: lr\.best$"):
        two.load_state_dict({name: x for name, x in state.items() if name != "lr.best"})
    assert two.lr.best == float("inf")
    two.load_state_dict({name: np.array(x) for name, x in state.items()})
    assert one.lr.report(2.0) == two.lr.report(2.0) == pytest.approx(0.05)
    two.load_state_dict({"lr.value": 0.7}, strict=False)  # not all of it: left out
    assert two.lr.value == one.lr.value


def test_nan_is_never_better():
    slow = schedules.Plateau(1.0, factor=0.5, patience=0)
    slow.report(1.0)
    assert slow.report(float("nan")) == 0.5
    assert slow.best == 1.0


# --- errors ---------------------------------------------------------------------------------------

ERRORS = {
    "negative": (lambda: schedules.constant(-1), "value of constant must be a number >= 0"),
    "text": (lambda: schedules.exponential(0.1, "0.9"), "gamma of exponential must be a number"),
    "no updates": (lambda: schedules.cosine(0.1, 0), "updates of cosine must be a whole number >="),
    "half an update": (lambda: schedules.step(0.1, 1.5), r"every of step must be .*but is 1\.5"),
    "values": (lambda: schedules.piecewise([1, 2], [0.1]), "2 boundaries, so it needs 3 values"),
    "a value": (lambda: schedules.piecewise([1], [0.1, -0.1]), "a value of piecewise must be"),
    "falling": (lambda: schedules.piecewise([2, 1], [1, 2, 3]), r"must rise, but are \[2, 1\]"),
    "schedules": (lambda: schedules.chained([0.1], [3]), "1 schedules, so it needs 0 boundaries"),
    "a part": (lambda: schedules.chained(["0.1"], []), "a part of chained must be a number"),
    "then": (lambda: schedules.warmup(3, None), "a part of warmup must be a number"),
    "no way up": (lambda: schedules.one_cycle(0.1, 10, rise=0.05), "more than one update up"),
    "divisor": (lambda: schedules.one_cycle(0.1, 10, 0.3, 0), "divisors of one_cycle must not"),
    "factor": (lambda: schedules.Plateau(0.1, factor=1.0), "factor of Plateau must be below 1"),
    "patience": (
        lambda: schedules.Plateau(0.1, patience=-1),
        "patience of Plateau must be a whole",
    ),
    "measures": (
        lambda: schedules.Plateau(0.1).report([1, 2]),
        r"report takes a number, but .*2\]",
    ),
    "no state": (
        lambda: schedules.Plateau(0.1).load_state_dict({"value": 1}),
        "best, bad, cooling",
    ),
    "no dict": (lambda: schedules.Plateau(0.1).load_state_dict(3), "value, best.* but 3 came"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_schedules_say_what_they_cannot_take(name):
    make, message = ERRORS[name]
    with pytest.raises(ag.LoopGradError, match=message):
        make()
