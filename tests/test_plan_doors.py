"""What users do with plans, and do wrong: other sizes, other backends, wrong arguments."""

import numpy as np
import pytest

import autograd as ag
import nn
from autograd.execute.plan import MOST_SIZES
from loops import cond, scan

RNG = np.random.default_rng(5)


def model(steps=6, batch=3):
    """A recurrent loss and its gradient, for xs (steps, batch, 2) and h0 (batch, 4)."""
    u = ag.parameter("u", RNG.normal(size=(2, 4)))
    w = ag.parameter("w", RNG.normal(size=(4, 4)) * 0.3)

    def step(h, x):
        h = ag.tanh(x @ u + h @ w)
        return h, h

    xs, h0 = ag.input("xs", (steps, batch, 2)), ag.input("h0", (batch, 4))
    _, hs = scan(step, h0, xs)
    return ag.Graph([xs, h0], {"loss": ag.square(hs).mean()}, name="model").grad()


def values(steps=6, batch=3):
    return {"xs": RNG.normal(size=(steps, batch, 2)), "h0": RNG.normal(size=(batch, 4))}


# --- other sizes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_a_plan_is_resized_to_other_steps_and_batches(backend):
    if backend == "native":
        pytest.importorskip("llvmlite")
    graph = model()
    plan = graph.compile(backend)
    for given in (values(9), values(1), values(9, 5)):
        sizes = {name: x.shape for name, x in given.items()}
        found = plan.resize(**sizes).run(**given)
        expected = graph.resize(**sizes).run(**given)
        for name, y in expected.items():
            np.testing.assert_allclose(found[name], y, rtol=1e-11, atol=1e-13)
    again = plan.resize(xs=(9, 3, 2))
    assert (again.backend, again.reason) == (backend, plan.reason)
    found, expected = plan.run(**(given := values())), graph.run(**given)
    np.testing.assert_allclose(found["grad_w"], expected["grad_w"], rtol=1e-11, atol=1e-13)


def test_sizes_that_are_not_named_stay_and_the_first_graph_keeps_all():
    plan = model().compile("numpy")
    other = plan.resize(xs=(9, 5, 2), h0=(5, 4))
    longer = other.resize(xs=(7, 5, 2))
    assert longer.graph.inputs["h0"].shape == (5, 4)
    assert longer.resize(xs=(9, 5, 2)).graph is other.graph
    for steps in range(1, MOST_SIZES + 1):
        longer = longer.resize(xs=[steps, 5, 2])
    assert len(plan.graph._cache["sizes"]) == MOST_SIZES
    assert "sizes" not in longer.graph._cache
    assert plan.resize(xs=(9, 5, 2), h0=(5, 4)).graph is not other.graph


def test_native_code_for_other_sizes_is_the_same_code(monkeypatch, tmp_path):
    pytest.importorskip("llvmlite")
    from autograd.execute import native_plan
    from autograd.execute.native.cache import Cache

    own, made = native_plan.compiled, []

    def compiling(module):
        made.append(own(module, Cache(tmp_path / "code")))
        return made[-1]

    monkeypatch.setattr(native_plan, "compiled", compiling)
    plan = model(40, 3).compile("native")
    plan.resize(xs=(50, 3, 2))
    assert [each.from_disk for each in made] == [False, True]


def test_an_automatic_plan_stays_what_it_is_when_it_is_resized():
    plan = model().compile("auto")
    other = plan.resize(xs=(7, 3, 2))
    assert (other.backend, other.reason) == (plan.backend, plan.reason)


def test_a_plan_says_which_parts_others_run():
    x = y = ag.input("x", (3,))
    for i in range(5):
        y = cond(y.sum() > i, lambda x: ag.tanh(x), lambda x: x * 2.0, y)
        if i == 0:
            plan = ag.Graph(x, {"y": y}, name="choice").compile("numpy")
            assert list(plan.fallbacks) == ["cond"]
            assert repr(plan).endswith("for numpy: it was asked for; fallbacks: cond>")
            assert f"# cond: by the reference executor, {plan.fallbacks['cond']}" in plan.source
    plan = ag.Graph(x, {"y": y}, name="choices").compile("numpy")
    assert repr(plan).endswith("; fallbacks: cond, cond_2, cond_3 and 2 more>")
    assert repr(model().compile("numpy")) == "<Plan of graph 'model' for numpy: it was asked for>"


# --- mistakes -------------------------------------------------------------------------------------

XS, H0 = np.ones((6, 3, 2)), np.ones((3, 4))

PLAN_ERRORS = {
    "longer": (
        lambda p: p.run(xs=np.ones((9, 3, 2)), h0=H0),
        r"float64\[6, 3, 2\], but float64\[9, 3, 2\] came; .* plan\.resize\(xs=\(9, 3, 2\)\)",
    ),
    "float32": (lambda p: p.run(xs=XS.astype("f4"), h0=H0), r"convert it with \.astype\('float64'"),
    "missing": (lambda p: p.run(xs=XS), r"input 'h0' of graph 'model' is missing; call run\(h0="),
    "unknown": (lambda p: p.run(xs=XS, h=H0), "has no input 'h'; its inputs are xs, h0"),
    "a text": (
        lambda p: p.run(xs="ab", h0=H0),
        r"'model' is float64\[6, 3, 2\], but str 'ab' came",
    ),
    "None": (lambda p: p.run(xs=None, h0=H0), "but NoneType None came; pass an array, a number"),
    "no such size": (lambda p: p.resize(ys=(3,)), "has no input 'ys' to resize"),
    "an array": (
        lambda p: p.resize(xs=XS),
        r"but an array of shape \(6, 3, 2\) was given; write x",
    ),
    "less than nothing": (lambda p: p.resize(xs=(-1, 3, 2)), r"but \(-1, 3, 2\) was given"),
    "features": (lambda p: p.resize(xs=(6, 3, 5)), r"matmul: \(3, 5\) @ \(2, 4\)"),
    "one batch only": (lambda p: p.resize(xs=(6, 5, 2)), r"shapes \(5, 4\) and \(3, 4\) do not"),
}


@pytest.mark.parametrize("name", PLAN_ERRORS)
def test_plans_say_what_is_wrong(name):
    call, message = PLAN_ERRORS[name]
    plan = model().compile("numpy")
    with pytest.raises(ag.LoopGradError, match=message):
        call(plan)


def test_a_plan_that_keeps_inputs_is_for_one_size():
    from autograd.execute.plan import compiled

    x = ag.input("x", (3,))
    plan = compiled(ag.Graph(x, {"y": x * 2.0}), "numpy", {"x": "y"})
    with pytest.raises(ag.GraphError, match="keeps inputs is for one size"):
        plan.resize(x=(4,))


GRAPH_ERRORS = {
    "off is a text": (lambda g: g.optimize(off="chain"), r"takes a list .* but got 'chain'; write"),
    "off is None": (lambda g: g.optimize(off=None), "a list of names of passes, but got None"),
    "off is wrong": (lambda g: g.optimize(off=["chian"]), "there is no pass 'chian' to leave out"),
    "a list of targets": (lambda g: g.optimize(target=["numpy"]), r"no target \['numpy'\]"),
    "outputs is a text": (
        lambda g: g.run(outputs="loss", xs=XS, h0=H0),
        r"outputs takes a list of names, but got 'loss'; write outputs=\['loss'\]",
    ),
    "outputs is a number": (lambda g: g.run(outputs=1, xs=XS, h0=H0), "of names, but got 1"),
    "backend": (lambda g: g.compile("nunpy"), "is one of auto, .* but is 'nunpy'"),
    "a block's backend": (lambda g: ag.backend("Numpy"), "is one of auto, .* but is 'Numpy'"),
    "a decorator's backend": (lambda g: ag.compile(backend="jit"), "of auto, .* but is 'jit'"),
    "a decorator's size": (lambda g: ag.compile(most=0), "must be >= 1, but is 0"),
}


@pytest.mark.parametrize("name", GRAPH_ERRORS)
def test_graphs_and_functions_say_what_is_wrong_before_anything_runs(name):
    call, message = GRAPH_ERRORS[name]
    with pytest.raises(ag.GraphError, match=message):
        call(model())


HIDDEN = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("llvmlite", "tqdm"):
            raise ImportError(name)
sys.meta_path.insert(0, Hide())
import numpy as np, autograd as ag, nn
x = ag.input("x", (3,))
graph = ag.Graph(x, {"y": x * 2.0})
"""


def test_without_llvmlite_native_is_refused_at_once_and_auto_says_why(run_python):
    code = """
net = nn.RNN(2, 3)
sgd = nn.SGD(net.parameters(), 0.1)
for ask in (
    lambda: graph.compile("native"),
    lambda: ag.backend("native"),
    lambda: ag.compile(backend="native"),
    lambda: nn.TrainingStep(lambda xs: net(xs)[0].sum(), sgd, backend="native"),
):
    try:
        ask()
    except ag.GraphError as error:
        print(error)
print(graph.compile("auto"))
"""
    done = run_python("-c", HIDDEN + code, LOOPGRAD_BACKEND="")
    *errors, plan = done.stdout.splitlines()
    assert len(errors) == 4, done.stderr
    for error in errors:
        assert "backend 'native' cannot be used: llvmlite is not installed (pip install" in error
        assert error.endswith("choose 'numpy' or 'auto' to do without it")
    assert plan.startswith("<Plan of graph 'graph' for numpy: llvmlite is not installed")
    done = run_python("-c", HIDDEN + "graph.compile()", LOOPGRAD_BACKEND="native")
    assert "'native', which the environment variable LOOPGRAD_BACKEND asks for, can" in done.stderr


def test_without_tqdm_progress_is_a_line(run_python):
    code = """
p = ag.parameter("p", np.ones(2))
step = nn.TrainingStep(lambda xs: ag.square(p * xs).sum(), nn.SGD([p], 0.1))
step.many(xs=np.ones((1500, 2)), progress=True)
"""
    done = run_python("-c", HIDDEN + code, LOOPGRAD_BACKEND="")
    assert done.returncode == 0, done.stderr
    last = done.stderr.rstrip("\n").rpartition("\n")[2]
    assert last.startswith("1,500 of 1,500 steps, loss ")


# --- training steps -------------------------------------------------------------------------------


def trained(**options):
    net = nn.RNN(2, 4, rng=1)
    optimizer = nn.SGD(net.parameters(), lr=0.1)

    def loss(xs, ys):
        return ag.square(net(xs)[0] - ys).mean()

    return net, optimizer, nn.TrainingStep(loss, optimizer, **options)


MANY, TARGETS = np.ones((5, 6, 3, 2)), np.ones((5, 6, 3, 4))

STEP_ERRORS = {
    "backend": (lambda s: trained(backend="jit"), "is one of auto, .* but is 'jit'"),
    "memory": (lambda s: trained(memory="much"), "memory='much' is no amount of memory"),
    "a result": (
        lambda s: nn.TrainingStep(ag.tensor(1.0), s.optimizer),
        "with the function itself and not its result",
    ),
    "steps is a text": (lambda s: s.many("5"), "steps, how many there are, .* but is '5'"),
    "no name": (lambda s: s.many(MANY), r"an array of shape \(5, 6, 3, 2\) came; .* by name"),
    "steps below 0": (lambda s: s.many(-1), "must be >= 0, but is -1"),
    "half a step": (lambda s: s.many(2.5), r"must be >= 0, but is 2\.5"),
    "same": (lambda s: s.many(2, same=[XS]), r"same takes a dict .* but got list; write for"),
    "twice": (
        lambda s: s.many(xs=MANY, ys=TARGETS, same={"ys": TARGETS[0]}),
        "'ys' is given twice, for each step and in same=",
    ),
    "axis is a text": (
        lambda s: s.many(xs=XS, ys=XS, indices=[[0]], axis="1"),
        "axis, that of the examples, must be a number, but is '1'",
    ),
    "axis without indices": (
        lambda s: s.many(xs=MANY, ys=TARGETS, axis=1),
        r"along which axis `indices` choose rows, but there are none; .* np\.moveaxis",
    ),
    "outputs is a text": (
        lambda s: s.many(xs=MANY, ys=TARGETS, outputs="loss"),
        r"outputs takes a list of names, but got 'loss'; write outputs=\['loss'\]",
    ),
    "progress is a text": (
        lambda s: s.many(xs=MANY, ys=TARGETS, progress="bar"),
        r"progress is True or a function of \(steps done, .* but is str 'bar'",
    ),
    "progress takes one": (
        lambda s: s.many(xs=MANY, ys=TARGETS, progress=lambda done: None),
        r"progress is called with \(steps done, .* takes \(done\): too many",
    ),
    "seconds": (lambda s: s.many(xs=MANY, ys=TARGETS, seconds=-1), ">= 0, but is -1"),
    "seconds is a text": (lambda s: s.many(xs=MANY, ys=TARGETS, seconds="1"), ">= 0, but is '1'"),
    "no parameter": (
        lambda s: nn.TrainingStep(lambda xs: xs.sum(), s.optimizer).run(xs=XS),
        "give the optimizer the parameters of the model that the loss calls",
    ),
    "no scalar": (
        lambda s: nn.TrainingStep(lambda xs: xs * 2.0, s.optimizer).run(xs=XS),
        r"is a scalar, but is not a scalar here: .* take its mean or sum: loss\.mean\(\)",
    ),
}


@pytest.mark.parametrize("name", STEP_ERRORS)
def test_training_steps_say_what_is_wrong_before_anything_runs(name):
    call, message = STEP_ERRORS[name]
    net, _, step = trained()
    with pytest.raises(ag.LoopGradError, match=message):
        call(step)
    for p, q in zip(net.parameters(), trained()[0].parameters(), strict=True):
        np.testing.assert_array_equal(p.value, q.value)


def test_a_training_step_shows_what_runs():
    _, optimizer, step = trained(backend="numpy")
    assert step.plan is None
    assert repr(step) == "<TrainingStep of 'loss' by SGD, not run yet>"
    step.run(xs=MANY[0], ys=TARGETS[0])
    assert "# rnn_l0." in step.plan.source
    assert repr(step) == "<TrainingStep of 'loss' by SGD for numpy: it was asked for>"
    with ag.check_finite():
        step.run(xs=MANY[0], ys=TARGETS[0])
    by_reference = nn.TrainingStep(step.loss, optimizer, backend="reference")
    by_reference.run(xs=MANY[0], ys=TARGETS[0])
    assert by_reference.plan.backend == "reference"


def test_a_batch_given_for_many_is_told_of_with_what_each_step_gets():
    _, _, step = trained()
    with pytest.raises(ag.ShapeError, match=r"RNN takes \(steps, batch, features\)") as caught:
        step.many(xs=MANY[0][:, 0], ys=TARGETS[0])
    (note,) = [x for x in caught.value.__notes__ if x.startswith("each step")]
    assert note.startswith("each step of many() is given 'xs' float64[2], of float64[6, 2]; ")


OPTIMIZER_ERRORS = {
    "a module": (lambda: nn.SGD(nn.RNN(2, 3), 0.1), r"a list of parameters, but got RNN"),
    "a method": (lambda: nn.SGD(nn.RNN(2, 3).parameters, 0.1), r"pass module\.parameters\(\)"),
    "a parameter": (
        lambda: nn.SGD(ag.parameter("p", np.ones(2)), 0.1),
        r"\[parameter\], or a list of groups",
    ),
    "below 0": (lambda: nn.SGD([ag.parameter("p", 1.0)], -0.1), r"lr must be .* but is -0\.1"),
    "a text": (lambda: nn.SGD([ag.parameter("p", 1.0)], "0.1"), r"lr must be .* but is '0\.1'"),
    "several": (lambda: nn.SGD([ag.parameter("p", 1.0)], [0.1]), r"lr must be .* but is \[0\.1\]"),
}


@pytest.mark.parametrize("name", OPTIMIZER_ERRORS)
def test_optimizers_say_what_they_take(name):
    call, message = OPTIMIZER_ERRORS[name]
    with pytest.raises(ag.LoopGradError, match=message):
        call()


def test_a_rate_in_an_array_may_be_written_into():
    p = ag.parameter("p", np.zeros(1))
    optimizer = nn.SGD([p], lr=0.5)
    step = nn.TrainingStep(lambda: p.sum(), optimizer)
    optimizer.lr = rate = np.array(0.25)
    step.run()
    rate *= 4
    step.run()
    np.testing.assert_array_equal(p.value, [-1.25])


def test_a_rate_that_is_no_number_is_told_at_the_step():
    p = ag.parameter("p", np.zeros(1))
    optimizer = nn.SGD([p], lr=0.5)
    step = nn.TrainingStep(lambda: p.sum(), optimizer)
    for wrong in ("0.1", None, np.ones(3)):
        optimizer.lr = wrong
        with pytest.raises(ag.LoopGradError, match="lr must be a number >= 0, but is"):
            step.run()
    np.testing.assert_array_equal(p.value, [0.0])
