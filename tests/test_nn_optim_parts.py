"""Groups, clipping, averages and the state of optimizers as data."""

import copy

import numpy as np
import pytest

import autograd as ag
import nn
from nn import schedules
from tests.optim_helpers import (
    GRADIENTS,
    TORCH,
    assert_alike,
    batch,
    given_gradients,
    parameters,
    stacked,
)


@pytest.fixture(autouse=True)
def reference():
    """What is compared bit for bit runs one way, whatever `pytest --backend` says."""
    with ag.backend("reference"):
        yield


# --- groups ---------------------------------------------------------------------------------------


def grouped(**options):
    ps = parameters()
    groups = [{"parameters": ps[:2], "weight_decay": 0.1}, {"parameters": ps[2:], "lr": 0.03}]
    return ps, nn.AdamW(groups, lr=0.01, **options)


def test_groups_have_their_own_numbers_and_share_the_others():
    ps, optimizer = grouped()
    first, second = optimizer.groups
    assert dict(first) == {
        "lr": 0.01,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.1,
    }
    assert (second["lr"], second["weight_decay"]) == (0.03, 0.01)
    assert first.own == {"weight_decay": 0.1}
    assert [p.name for p in first.parameters] == ["p0", "p1"]
    assert second.parameters[0] is ps[2]
    optimizer.lr = 0.5
    assert (first["lr"], second["lr"]) == (0.5, 0.03)
    del second["lr"]
    assert second["lr"] == 0.5
    assert repr(second).startswith("<group of 1 parameters: lr=0.5, beta1=0.9")


def test_optimizers_say_what_they_are():
    ps, optimizer = grouped()
    optimizer.step(GRADIENTS[0])
    said = "<AdamW of 3 parameters in 2 groups after 1 updates: lr=0.01, beta1=0.9, beta2=0.999"
    assert repr(optimizer).startswith(said)
    assert repr(nn.Average(optimizer)) == f"<Average of {optimizer!r}, at 1 updates>"
    said = "<SGD of 3 parameters after 0 updates: lr=constant(value=0.1), momentum=0.0"
    assert repr(nn.SGD(ps, lr=schedules.constant(0.1))).startswith(said)


def test_numbers_of_groups_may_change_and_be_schedules():
    """The same as two optimizers."""
    ps, one = grouped()
    qs = parameters()
    two = [nn.AdamW(qs[:2], lr=0.01, weight_decay=0.1), nn.AdamW(qs[2:], lr=0.03)]
    step = nn.TrainingStep(given_gradients(ps), one)
    graphs = set()
    for i in range(8):
        if i == 2:
            one.groups[1]["lr"] = two[1].lr = 0.2
        if i == 4:
            one.groups[0]["lr"] = two[0].lr = schedules.exponential(0.1, 0.5)
        if i == 5:
            one.groups[1]["weight_decay"] = two[1].weight_decay = 0.5
        if i < 3:
            one.step(GRADIENTS[i])
        elif i < 6:
            step.run(**batch(i))
            graphs.add(step.graph(**batch(i)))
        elif i == 6:
            step.many(**{key: x[6:8] for key, x in stacked().items()})
        two[0].step(GRADIENTS[i][:2])
        two[1].step(GRADIENTS[i][2:])
    assert len(graphs) == 1
    for p, q in zip(ps, qs, strict=True):
        np.testing.assert_array_equal(p.value, q.value)


def test_an_optimizer_of_a_list_has_one_group_with_its_numbers():
    ps = parameters()
    for optimizer in (nn.SGD(ps, lr=0.1), nn.SGD([{"parameters": ps, "lr": 0.1}], lr=0.7)):
        (group,) = optimizer.groups
        group["lr"] *= 0.5
        assert (optimizer.lr, group.own) == (0.05, {})
        assert len(group) == 4
        assert group.parameters == ps
    assert nn.SGD(ps, lr=0.1).numbers(0) == {"lr": 0.1}


def test_a_user_defined_optimizer_has_groups_and_clipping():
    class Signs(nn.Optimizer):
        hyper = ("lr", "beta")
        state_names = ("velocity",)

        def init(self, parameter):
            return (np.zeros(parameter.shape, parameter.dtype),)

        def update(self, parameter, gradient, state, lr, beta):
            velocity = beta * state[0] + (1 - beta) * gradient
            return parameter - lr * velocity, (velocity,)

    ps = parameters()
    groups = [{"parameters": ps[:1]}, {"parameters": ps[1:], "beta": 0.5}]
    optimizer = Signs(groups, lr=0.1, beta=0.0, clip_value=0.25)
    before = [p.value for p in ps]
    nn.TrainingStep(given_gradients(ps), optimizer).run(**batch(0))
    for p, x, g, beta in zip(ps, before, GRADIENTS[0], (0.0, 0.5, 0.5), strict=True):
        expected = x - 0.1 * (1 - beta) * np.clip(g, -0.25, 0.25)
        np.testing.assert_allclose(p.value, expected, rtol=1e-15)


def test_copies_have_groups_of_their_own():
    for copied in (copy.copy, copy.deepcopy):
        _, one = grouped()
        two = copied(one)
        one.groups[1]["lr"] = 0.5
        assert two.groups[1]["lr"] == 0.03


GROUP_ERRORS = {
    "unknown": (
        lambda ps: nn.SGD([{"parameters": ps, "rate": 0.1}], lr=0.1),
        r"group 0 of SGD has no number 'rate'; a group may have its own lr, momentum, dampening",
    ),
    "a switch": (
        lambda ps: nn.Adam([{"parameters": ps, "amsgrad": True}]),
        "group 0 of Adam has no number 'amsgrad'; .* all else is the optimizer's",
    ),
    "a limit": (
        lambda ps: nn.Adam([{"parameters": ps, "clip_norm": 1.0}]),
        "group 0 of Adam has no number 'clip_norm'",
    ),
    "negative": (
        lambda ps: nn.SGD([{"parameters": ps, "lr": -0.1}], lr=0.1),
        r"lr must be a number >= 0, but is -0\.1",
    ),
    "beta": (lambda ps: nn.Adam([{"parameters": ps, "beta1": 1.0}]), "beta1 of Adam must be"),
    "torch's": (
        lambda ps: nn.SGD([{"params": ps}], lr=0.1),
        'group 0 of SGD needs its list of parameters under "parameters", but has params',
    ),
    "empty": (lambda ps: nn.SGD([{"parameters": []}], lr=0.1), "group 0 of SGD has no parameters"),
    "twice": (
        lambda ps: nn.SGD([{"parameters": ps}, {"parameters": ps[:1]}], lr=0.1),
        "got 4 with 3 different ones",
    ),
    "both": (
        lambda ps: nn.SGD([{"parameters": ps[:1]}, ps[1]], lr=0.1),
        "takes either parameters or groups, but got both: item 1 is Parameter",
    ),
    "no list": (
        lambda ps: nn.SGD([{"parameters": ps[0]}], lr=0.1),
        "parameters of group 0 of SGD must be a list, but are Parameter",
    ),
    "one dict": (lambda ps: nn.SGD({"parameters": ps}, lr=0.1), "list of parameters, but got dict"),
    "later": (
        lambda ps: nn.SGD([{"parameters": [p]} for p in ps], lr=0.1).groups[1].update(momentum=0.9),
        r"momentum was 0 in all groups when SGD was made.*become 0\.9; make",
    ),
    "no such": (
        lambda ps: nn.SGD(ps, lr=0.1).groups[0]["rate"],
        "group 0 of SGD has no number 'rate'",
    ),
    "not own": (
        lambda ps: nn.SGD(ps, lr=0.1).groups[0].pop("lr"),
        "group 0 has no 'lr' of its own to give up",
    ),
}


@pytest.mark.parametrize("name", GROUP_ERRORS)
def test_groups_say_what_they_cannot_take(name):
    call, message = GROUP_ERRORS[name]
    with pytest.raises(ag.LoopGradError, match=message):
        call(parameters())


# --- clipping -------------------------------------------------------------------------------------


def test_clip_by_norm_scales_all_gradients_together():
    tree = {"w": np.array([[3.0, 0.0], [0.0, 4.0]]), "rest": [np.array(12.0), None]}
    clipped, norm = nn.clip_by_norm(tree, 6.5)
    assert norm == 13.0
    factor = 6.5 / (13.0 + 1e-6)
    np.testing.assert_allclose(clipped["w"], tree["w"] * factor, rtol=1e-15)
    assert clipped["rest"][0] == pytest.approx(12 * factor, rel=1e-15)
    assert clipped["rest"][1] is None
    assert tree["w"][0, 0] == 3.0
    small, norm = nn.clip_by_norm(np.array([0.1, 0.2]), 1.0)
    np.testing.assert_array_equal(small, [0.1, 0.2])
    assert norm == pytest.approx(np.sqrt(0.05))


def test_clip_by_value_limits_each_element():
    clipped = nn.clip_by_value([np.array([-2.0, 0.3, np.nan]), (None, np.float32([7]))], 0.5)
    np.testing.assert_array_equal(clipped[0], [-0.5, 0.3, np.nan])
    assert clipped[1][0] is None
    assert clipped[1][1].dtype == np.float32
    np.testing.assert_array_equal(clipped[1][1], [0.5])


def test_clipping_can_be_drawn_and_differentiated():
    x = ag.input("x", (3,))
    clipped, norm = nn.clip_by_norm([x], 1.0)
    graph = ag.Graph([x], {"x": clipped[0], "norm": norm, "v": nn.clip_by_value(x, 1.5)})
    results = graph.run(x=[2.0, -1.0, 2.0])
    assert results["norm"] == 3.0
    np.testing.assert_allclose(results["x"], np.array([2, -1, 2]) / (3 + 1e-6))
    np.testing.assert_array_equal(results["v"], [1.5, -1, 1.5])
    ag.check_grad(lambda x: nn.clip_by_norm(x, 1.0)[0], (np.array([2.0, -1.0, 2.0]),), order=2)


def test_norms_that_overflow_when_squared_do_not():
    clipped, norm = nn.clip_by_norm([np.array([3e200]), np.array([4e200])], 1.0)
    assert norm == pytest.approx(5e200)
    np.testing.assert_allclose(clipped, [[0.6], [0.8]])
    clipped, norm = nn.clip_by_norm(np.float32([3e30, 4e30]), 1.0)
    assert clipped.dtype == norm.dtype == np.float32
    np.testing.assert_allclose(clipped, [0.6, 0.8], rtol=1e-6)


@np.errstate(invalid="ignore")
def test_gradients_that_are_not_finite():
    clipped, norm = nn.clip_by_norm([np.array([np.inf, 1.0]), np.ones(1)], 1.0)
    assert norm == np.inf
    np.testing.assert_array_equal(clipped[0], [np.nan, 0.0])
    np.testing.assert_array_equal(clipped[1], [0.0])
    clipped, norm = nn.clip_by_norm([np.array([np.nan, 1.0]), np.ones(1)], 1.0)
    assert np.isnan(norm)
    assert np.isnan(np.concatenate(clipped)).all()


def test_gradients_that_are_zero_or_have_no_elements():
    clipped, norm = nn.clip_by_norm([np.zeros(3), np.zeros((0, 2))], 1.0)
    assert norm == 0.0
    np.testing.assert_array_equal(clipped[0], np.zeros(3))
    assert clipped[1].shape == (0, 2)
    assert nn.clip_by_norm(np.zeros((0, 2)), 1.0)[1] == 0.0


def test_a_clipped_step_with_groups_and_averages_is_a_graph_for_pictures_and_files(tmp_path):
    ps, optimizer = grouped(clip_norm=0.5, clip_value=1.0, amsgrad=True)
    graph = nn.TrainingStep(given_gradients(ps), nn.Average(optimizer)).graph(**batch(0))
    assert {"p0.largest", "p2.average", "groups.1.lr", "clip_norm", "average.decay"} <= set(
        graph.inputs
    )
    assert "groups.1.lr" in str(graph)
    graph.draw(tmp_path / "step.dot")
    assert "clip_norm" in (tmp_path / "step.dot").read_text()
    graph.save(tmp_path / "step.json")
    again = ag.Graph.load(tmp_path / "step.json")
    values = {name: np.full(x.shape, 0.25) for name, x in graph.inputs.items()}
    for one, other in zip(graph.run(**values).values(), again.run(**values).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_mixed_dtypes_keep_theirs():
    clipped, norm = nn.clip_by_norm([np.float32([3]), np.array([4.0])], 1.0)
    assert (clipped[0].dtype, clipped[1].dtype, norm.dtype) == ("float32", "float64", "float64")


def test_limits_may_change_and_be_schedules_and_nothing_may_be_clipped():
    ps, qs = parameters(), parameters()
    one = nn.SGD(ps, lr=0.1, clip_norm=lambda steps: 1.0 / (1 + steps))
    two = nn.SGD(qs, lr=0.1, clip_norm=1.0)
    step = nn.TrainingStep(given_gradients(ps), one)
    for i in range(4):
        two.clip_norm = 1.0 / (1 + i)
        two.step(GRADIENTS[i])
    step.run(**batch(0))
    step.many(**{key: x[1:4] for key, x in stacked().items()})
    assert_alike(one, two)
    two.step([None, None, None])
    assert two.steps == 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.clip_by_norm([], 1.0), "clip_by_norm needs gradients, but got none"),
        (lambda: nn.clip_by_norm([np.ones(2)], -1), "limit of clip_by_norm must be a number >= 0"),
        (lambda: nn.clip_by_value(np.ones(2), "1"), "limit of clip_by_value must be a number >= 0"),
        (lambda: nn.clip_by_value([1.5, "a"], 1.0), r"takes gradients .* but got float 1\.5"),
    ],
)
def test_clipping_says_what_it_cannot_take(call, message):
    with pytest.raises(ag.LoopGradError, match=message):
        call()


# --- averages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("i", range(len(TORCH["averages"])))
def test_averages_are_those_of_torch_through_every_door(i):
    row = TORCH["averages"][i]
    ps, qs = parameters(), parameters()
    eager = nn.Average(nn.SGD(ps, lr=0.1, momentum=0.9), row["decay"])
    drawn = nn.Average(nn.SGD(qs, lr=0.1, momentum=0.9), row["decay"])
    wanted = iter(row["averages"])
    for k, gradients in enumerate(GRADIENTS, 1):
        eager.step(gradients)
        if k in TORCH["kept"]:
            for average, value in zip(eager.averages, next(wanted), strict=True):
                np.testing.assert_allclose(average, value, rtol=1e-12, atol=1e-15)
    step = nn.TrainingStep(given_gradients(qs), drawn)
    for k in range(4):
        step.run(**batch(k))
    step.many(**{key: x[4:] for key, x in stacked().items()})
    assert_alike(eager, drawn)
    assert list(step.graph(**batch(0)).inputs)[3:5] == ["p0.velocity", "p0.average"]


def test_a_corrected_average_weighs_by_powers_of_its_decay():
    ps = parameters()
    averaged = nn.Average(nn.Adam(ps, lr=0.1), decay=0.8, corrected=True)
    seen = []
    for gradients in GRADIENTS[:9]:
        averaged.step(gradients)
        seen.append(ps[0].value)
    weights = 0.8 ** np.arange(9)[::-1]
    expected = np.tensordot(weights / weights.sum(), np.array(seen), 1)
    np.testing.assert_allclose(averaged.averages[0], expected, rtol=1e-13)


def test_the_decay_of_an_average_may_be_a_schedule():
    def decay(steps):
        return min(0.9, (1 + steps) / (10 + steps))

    ps = parameters()
    averaged = nn.Average(nn.SGD(ps, lr=0.1, clip_norm=1.0), decay=decay)
    average = [p.value for p in ps]
    step = nn.TrainingStep(given_gradients(ps), averaged)
    for i in range(6):
        step.many(**{key: x[i : i + 1] for key, x in stacked().items()})
        keep = 0.0 if i == 0 else decay(i)
        average = [keep * x + (1 - keep) * p.value for x, p in zip(average, ps, strict=True)]
    for x, y in zip(averaged.averages, average, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-13)
    assert "average.decay" not in averaged.state_dict()


def test_averages_may_begin_late_and_in_the_middle_of_training():
    for begin in (4, None):
        ps = parameters()
        optimizer = nn.Adam(ps, lr=0.1)
        if begin is None:
            for gradients in GRADIENTS[:4]:
                optimizer.step(gradients)
        averaged = nn.Average(optimizer, decay=None, begin=begin)
        seen = []
        for gradients in GRADIENTS[0 if begin else 4 : 10]:
            averaged.step(gradients)
            seen.append(ps[0].value)
            if begin and averaged.steps <= begin:
                np.testing.assert_array_equal(averaged.averages[0], ps[0].value)
        np.testing.assert_allclose(averaged.averages[0], np.mean(seen[-6:], axis=0), rtol=1e-13)
        plain = parameters()
        alone = nn.Adam(plain, lr=0.1)
        for gradients in GRADIENTS[:10]:
            alone.step(gradients)
        np.testing.assert_array_equal(plain[0].value, ps[0].value)


@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_swapped_parameters_come_back_and_training_goes_on(backend):
    results = []
    for swaps in (False, True):
        ps = parameters()
        averaged = nn.Average(nn.SGD(ps, lr=0.1, momentum=0.9), decay=0.5)
        step = nn.TrainingStep(given_gradients(ps), averaged, backend=backend)
        step.run(**batch(0))
        step.run(**batch(1))
        if swaps:
            before, averages = [p.value for p in ps], averaged.averages
            with averaged.swapped():
                for p, x, y in zip(ps, averages, before, strict=True):
                    np.testing.assert_array_equal(p.value, x)
                    assert (p.value != y).all()
            for p, x in zip(ps, before, strict=True):
                np.testing.assert_array_equal(p.value, x)
            with pytest.raises(ZeroDivisionError), averaged.swapped():
                raise ZeroDivisionError
            for p, x in zip(ps, before, strict=True):
                np.testing.assert_array_equal(p.value, x)
        step.run(**batch(2))
        results.append([*[p.value for p in ps], *averaged.averages])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_is_trained_while_parameters_are_swapped():
    ps = parameters()
    averaged = nn.Average(nn.SGD(ps, lr=0.1))
    step = nn.TrainingStep(given_gradients(ps), averaged)
    step.run(**batch(0))
    before = [p.value for p in ps]
    with averaged.swapped():
        for call in (
            lambda: averaged.step(GRADIENTS[1]),
            lambda: step.run(**batch(1)),
            lambda: step.many(**{key: x[:2] for key, x in stacked().items()}),
        ):
            with pytest.raises(
                ag.LoopGradError, match=r"averages inside swapped\(\), and must not"
            ):
                call()
        with pytest.raises(ag.LoopGradError, match="are their averages already"):
            averaged.swapped().__enter__()
    for p, x in zip(ps, before, strict=True):
        np.testing.assert_array_equal(p.value, x)
    assert averaged.steps == 1


def test_numbers_of_an_average_are_those_of_its_optimizer():
    ps, optimizer = grouped()
    averaged = nn.Average(optimizer, decay=0.9)
    averaged.lr = 0.5
    averaged.groups[1]["lr"] = 0.25
    assert (optimizer.lr, averaged.lr, optimizer.groups[1]["lr"]) == (0.5, 0.5, 0.25)
    averaged.step(GRADIENTS[0])
    qs = parameters()
    alone = nn.AdamW(
        [{"parameters": qs[:2], "weight_decay": 0.1}, {"parameters": qs[2:], "lr": 0.25}], lr=0.5
    )
    alone.step(GRADIENTS[0])
    for p, q in zip(ps, qs, strict=True):
        np.testing.assert_array_equal(p.value, q.value)
    averaged.beta1 = 0.5
    with pytest.raises(ag.LoopGradError, match=r"set it there: averaged\.optimizer\.beta1 = 0\.5"):
        averaged.step(GRADIENTS[0])


def test_an_average_of_float32_is_float32_and_copies_go_their_own_way():
    ps = parameters("float32")
    averaged = nn.Average(nn.Adam(ps, lr=0.1, clip_norm=1.0), decay=0.9)
    averaged.step([g.astype("float32") for g in GRADIENTS[0]])
    assert {x.dtype for state in averaged.state for x in state} == {np.dtype("float32")}
    twin = copy.copy(averaged)
    twin.optimizer.lr = 0.7
    averaged.step([g.astype("float32") for g in GRADIENTS[1]])
    assert (averaged.lr, twin.steps, averaged.steps) == (0.1, 1, 2)
    with averaged.swapped():
        deep = copy.deepcopy(averaged)
    np.testing.assert_array_equal(deep.parameters[0].value, averaged.averages[0])
    deep.step([g.astype("float32") for g in GRADIENTS[2]])
    assert deep.optimizer.parameters[0] is deep.parameters[0]
    assert deep.parameters[0] is not ps[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: nn.Average(o.parameters), r"Average takes an optimizer .* but got list"),
        (lambda o: nn.Average(nn.Average(o)), "and no other Average"),
        (lambda o: nn.Average(o, 1.0), "decay of Average must be a number below 1"),
        (lambda o: nn.Average(o, None, corrected=True), "needs no correction"),
        (lambda o: nn.Average(o, begin=-1), "begin must be a number >= 0"),
    ],
)
def test_averages_say_what_they_cannot_take(make, message):
    with pytest.raises(ag.LoopGradError, match=message):
        make(nn.SGD(parameters(), lr=0.1))


# --- state as data --------------------------------------------------------------------------------

MAKERS = {
    "momentum": lambda ps: nn.SGD(ps, lr=0.1, momentum=0.9, dampening=0.1),
    "amsgrad": lambda ps: nn.Adam(ps, lr=0.1, amsgrad=True, clip_norm=1.0),
    "nadam": lambda ps: nn.NAdam(ps, lr=0.1),
    "article": lambda ps: nn.ArticleAdadelta(ps),
    "schedule": lambda ps: nn.RAdam(ps, lr=schedules.cosine(0.1, 9)),
    "average": lambda ps: nn.Average(nn.RMSprop(ps, centered=True), decay=0.9, corrected=True),
    "groups": lambda ps: nn.AdamW([{"parameters": [p]} for p in ps], lr=0.1),
}


def taken(door, ps, optimizer, first, last, backend):
    """Take steps `first` to `last` through one of the doors."""
    step = nn.TrainingStep(given_gradients(ps), optimizer, backend=backend)
    if door == "many":
        step.many(**{key: x[first:last] for key, x in stacked().items()})
        return
    for i in range(first, last):
        if door == "step":
            optimizer.step(GRADIENTS[i])
        else:
            step.run(**batch(i))


@pytest.mark.parametrize("door", ["step", "run", "many"])
@pytest.mark.parametrize("name", MAKERS)
def test_training_goes_on_bit_for_bit_from_its_state(name, door):
    backend = "numpy" if door == "run" else "reference"
    ps, qs = parameters(), parameters()
    whole, first = MAKERS[name](ps), MAKERS[name](qs)
    taken(door, ps, whole, 0, 10, backend)
    taken(door, qs, first, 0, 4, backend)
    first.lr = 0.123 if name == "momentum" else first.lr
    state = first.state_dict()
    rs = [ag.parameter(q.name, q.value) for q in qs]
    second = MAKERS[name](rs)
    taken("step", rs, second, 0, 1, backend)  # whatever there was is replaced
    for r, q in zip(rs, qs, strict=True):
        r.value = q.value
    second.load_state_dict(state)
    assert second.steps == 4
    if name == "momentum":
        assert second.lr == 0.123
        second.lr = 0.1
    taken(door, rs, second, 4, 10, backend)
    assert_alike(whole, second)


def test_a_state_is_named_by_parameters_and_is_a_copy():
    layer = nn.Linear(2, 1, rng=0)
    optimizer = nn.Adam(layer.parameters(), lr=0.1)
    optimizer.step([np.ones((1, 2)), np.ones(1)])
    state = optimizer.state_dict()
    assert list(state) == [
        "steps",
        "lr",
        "beta1",
        "beta2",
        "eps",
        "weight.mean",
        "weight.square",
        "bias.mean",
        "bias.square",
    ]
    assert (state["steps"], state["lr"], state["beta2"]) == (1, 0.1, 0.999)
    kept = {name: np.array(x) for name, x in state.items()}
    state["weight.mean"][...] = 7.0
    assert not (optimizer.state[0][0] == 7.0).any()
    optimizer.load_state_dict(kept)
    kept["weight.mean"][...] = 7.0
    assert not (optimizer.state[0][0] == 7.0).any()


def test_groups_and_averages_in_a_state():
    _, optimizer = grouped()
    averaged = nn.Average(optimizer, decay=0.9)
    averaged.groups[0]["lr"] = 0.125
    state = averaged.state_dict()
    assert state["groups.0.lr"] == 0.125
    assert state["average.decay"] == 0.9
    assert "groups.0.eps" not in state
    assert state["p2.average"] == averaged.parameters[2].value
    _, other = grouped()
    twin = nn.Average(other, decay=0.5)
    twin.load_state_dict(state)
    assert (other.groups[0]["lr"], other.groups[1]["lr"], twin.decay) == (0.125, 0.03, 0.9)


def test_parameters_of_one_name_are_told_apart():
    ps = [ag.parameter("p", np.full(2, float(i))) for i in range(3)]
    optimizer = nn.SGD(ps, lr=0.1, momentum=0.5)
    optimizer.step([np.full(2, i + 1.0) for i in range(3)])
    state = optimizer.state_dict()
    assert [name for name in state if "velocity" in name] == [
        "p.velocity",
        "p_2.velocity",
        "p_3.velocity",
    ]
    assert state["p_3.velocity"][0] == 3.0


def changed(state, **changes):
    found = {**state, **changes}
    return {name: x for name, x in found.items() if x is not None}


LOADS = {
    "missing": ({"p1.mean": None, "lr": None}, {}, r"missing: lr, p1\.mean$"),
    "extra": ({"p9.mean": np.zeros(2), "rate": 0.1}, {}, r"not known here: p9\.mean, rate$"),
    "shape": (
        {"p1.mean": np.zeros(3)},
        {},
        r"another shape or dtype: p1\.mean is float64\[3\], but float64\[4\] here$",
    ),
    "dtype": ({"p1.mean": np.zeros(4, "float32")}, {"strict": False}, r"is float32\[4\], but"),
    "all": (
        {"p1.mean": np.zeros(3), "p0.mean": None, "rate": 0.1},
        {},
        r"Adam made as this one was \(nothing was changed\); of another .*; missing: p0\.mean; not "
        r"known here: rate$",
    ),
    "steps": ({"steps": -1}, {}, "steps, how many updates .* must be a whole number >= 0"),
    "half a step": ({"steps": 1.5}, {}, r"whole number >= 0, but is 1\.5"),
    "number": ({"beta1": 1.5}, {}, "beta1 of Adam must be a number below 1"),
    "text": ({"lr": "fast"}, {}, "lr must be a number >= 0, but is 'fast'"),
}


@pytest.mark.parametrize("name", LOADS)
def test_a_state_that_does_not_fit_changes_nothing(name):
    changes, options, message = LOADS[name]
    optimizer, twin = nn.Adam(parameters()), nn.Adam(parameters())
    for o in (optimizer, twin):
        o.step(GRADIENTS[0])
    other = nn.Adam(parameters(), lr=0.5)
    other.step(GRADIENTS[1])
    with pytest.raises(ag.LoopGradError, match=message):
        optimizer.load_state_dict(changed(other.state_dict(), **changes), **options)
    assert_alike(optimizer, twin)
    assert optimizer.lr == 1e-3


def test_a_state_that_is_none():
    with pytest.raises(
        ag.LoopGradError, match="takes a dict as state_dict returns it, but got int"
    ):
        nn.SGD(parameters(), lr=0.1).load_state_dict(3)


def test_what_fits_can_be_taken_alone():
    optimizer, other = nn.Adam(parameters()), nn.Adam(parameters(), lr=0.5)
    other.step(GRADIENTS[0])
    state = changed(other.state_dict(), rate=0.1, steps=None, **{"p0.mean": None})
    optimizer.load_state_dict(state, strict=False)
    assert (optimizer.lr, optimizer.steps) == (0.5, 0)
    assert not optimizer.state[0][0].any()
    np.testing.assert_array_equal(optimizer.state[1][0], other.state[1][0])


def test_a_schedule_stays_what_it_is():
    plain = nn.SGD(parameters(), lr=0.3)
    scheduled = nn.SGD(parameters(), lr=schedules.constant(0.1))
    with pytest.raises(ag.LoopGradError, match=r"not known here: lr$"):
        scheduled.load_state_dict(plain.state_dict())
    scheduled.load_state_dict(plain.state_dict(), strict=False)
    assert scheduled.lr == schedules.constant(0.1)
    with pytest.raises(ag.LoopGradError, match=r"missing: lr$"):
        plain.load_state_dict(scheduled.state_dict())
