"""Compiled functions, backends, and what is kept of graphs that are drawn again."""

import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import autograd as ag
import nn
from autograd.recent import Recent, forget
from autograd.structure import LARGEST, interned, structure
from loops import scan, while_loop

RNG = np.random.default_rng
X = RNG(0).normal(size=(3, 4))
W = RNG(1).normal(size=(4, 4)) / 2


class Counted:
    """A function that counts how often it is called."""

    def __init__(self, fn):
        self.fn = fn
        self.calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.fn(*args, **kwargs)


def layer(x, w=W, n=1):
    for _ in range(n):
        x = ag.tanh(x @ w)
    return x


# --- what is drawn, and when ----------------------------------------------------------------------


def test_it_is_drawn_once_for_each_kind_of_arguments():
    fn = Counted(layer)
    compiled = ag.compile(fn)
    for seed in range(3):
        x = RNG(seed).normal(size=(3, 4))
        np.testing.assert_allclose(compiled(x, W).value, layer(ag.tensor(x)).value, rtol=1e-12)
    assert fn.calls == 1
    assert compiled(X[:2], W).shape == (2, 4)
    assert compiled(X.astype("float32"), W.astype("float32")).dtype == np.float32
    assert fn.calls == 3
    twice = compiled(X, W, n=2)
    np.testing.assert_allclose(twice.value, layer(ag.tensor(X), n=2).value, rtol=1e-12)
    assert fn.calls == 4


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (1, 1.0), (0.0, -0.0), ("a", "b"), (None, 0), (np.int64(1), 1)]
)
def test_values_that_python_calls_equal_are_told_apart(one, other):
    fn = Counted(lambda x, flag: x * 1.0)
    compiled = ag.compile(fn)
    for flag in (one, other, one, other):
        compiled(X, flag)
    assert fn.calls == 2


def test_nan_is_the_same_value_twice():
    fn = Counted(lambda x, fill: x + fill)
    compiled = ag.compile(fn)
    compiled(X, float("nan"))
    compiled(X, np.nan * 2)
    assert fn.calls == 1


def test_trees_go_in_and_come_out():
    @ag.compile
    def swap(pair, *, more):
        return {"b": pair[0] + more["c"], "a": (pair[1], None, 3, "text")}

    result = swap((X, 2 * X), more={"c": np.ones(4)})
    np.testing.assert_array_equal(result["b"].value, X + 1)
    np.testing.assert_array_equal(result["a"][0].value, 2 * X)
    assert result["a"][1:] == (None, 3, "text")
    graph = swap.graph((X, X), more={"c": np.ones(4)})
    assert list(graph.inputs) == ["pair.0", "pair.1", "more.c"]


def test_results_are_no_views_of_what_came_in():
    x = X.copy()
    result = ag.compile(lambda x: (x, x[0], x.T))(x)
    before = [y.value.copy() for y in result]
    x[:] = 0.0
    for y, value in zip(result, before, strict=True):
        np.testing.assert_array_equal(y.value, value)


def test_the_kinds_used_last_are_kept():
    fn = Counted(lambda x: x * 2.0)
    compiled = ag.compile(most=3)(fn)
    for size in (1, 2, 3, 1, 4, 1):  # 4 drives out 2
        compiled(np.ones(size))
    assert fn.calls == 4
    compiled(np.ones(2))
    assert fn.calls == 5
    assert len(compiled._known) == 3


def test_what_is_read_besides_arguments_is_frozen_but_parameters_live():
    scale = [2.0, np.ones(4)]
    p = ag.parameter("p", np.ones(4))
    compiled = ag.compile(lambda x: x * scale[0] + scale[1] + p)
    first = compiled(X).value
    scale[0], scale[1][0] = 5.0, 7.0
    np.testing.assert_array_equal(compiled(X).value, first)
    p.value = np.zeros(4)
    np.testing.assert_allclose(compiled(X).value, first - 1)


def test_methods_and_modules():
    class Model(nn.Module):
        def __init__(self, seed):
            self.out = nn.Linear(4, 2, rng=seed)

        @ag.compile(backend="reference")
        def forward(self, x):
            """Return the outputs."""
            return self.out(x)

    one, other = Model(0), Model(1)
    for model in (one, other):
        np.testing.assert_array_equal(model(X).value, model.out(X).value)
    assert Model.forward.__doc__ == "Return the outputs."
    assert repr(Model.forward) == "<compiled forward>"
    layer = nn.Linear(4, 2, rng=0)
    compiled = ag.compile(layer)
    np.testing.assert_allclose(compiled(X).value, layer(X).value, rtol=1e-14)
    assert list(compiled.graph(X).inputs) == ["x0", "weight", "bias"]


def test_data_dependent_control_flow_gives_the_usual_error():
    @ag.compile
    def sign(x):
        return x if x.sum() > 0 else -x

    with pytest.raises(ag.GraphError, match=r"truth value of .* choose with autograd\.where"):
        sign(X)


ERRORS = {
    "no function": (lambda: ag.compile(3), "compile takes a function, but got int 3"),
    "no size": (lambda: ag.compile(layer, most=0), "must be >= 1, but is 0"),
    "no backend": (
        lambda: ag.compile(layer, backend="cuda"),
        "a backend is one of auto, reference, numpy, native, but is 'cuda'",
    ),
    "no key": (lambda: ag.compile(lambda x, s: x)(X, {1}), r"is set \{1\}, which is neither"),
    "no node": (
        lambda: ag.compile(lambda x: 3)(X),
        "returned int 3, in which there is no node",
    ),
    "no dtype": (lambda: ag.compile(layer)(np.array(["a"])), "LoopGrad carries float, integer"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_compile_says_what_is_wrong(name):
    call, message = ERRORS[name]
    with pytest.raises(ag.LoopGradError, match=message):
        call()


# --- derivatives ----------------------------------------------------------------------------------


def loss(p, x):
    return ag.square(ag.tanh(x @ p["w"]) + p["b"]).sum()


P = {"w": W, "b": np.ones(4)}


def assert_trees_close(found, wanted):
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key].value, value.value, rtol=1e-12)


def test_gradients_are_compiled_as_a_whole():
    fn = Counted(ag.value_and_grad(loss))
    step = ag.compile(fn)
    for _ in range(2):
        value, grads = step(P, X)
    expected, wanted = ag.value_and_grad(loss)(P, X)
    assert value.item() == pytest.approx(expected.item())
    assert_trees_close(grads, wanted)
    assert fn.calls == 1


def test_a_compiled_function_can_be_differentiated():
    compiled = ag.compile(loss)
    assert_trees_close(ag.grad(compiled)(P, X), ag.grad(loss)(P, X))
    ag.check_grad(lambda w: compiled({"w": w, "b": P["b"]}, X), (W,), order=2)

    def of(fn):
        return lambda w: fn({"w": w, "b": P["b"]}, X)

    for transform in (ag.hvp, ag.jvp):
        found, wanted = (transform(of(f), (W,), (W,)) for f in (compiled, loss))
        for x, y in zip(found, wanted, strict=True):
            np.testing.assert_allclose(x.value, y.value, rtol=1e-12)


def test_backward_goes_through_to_parameters_and_captured_tensors():
    p, q = ag.parameter("p", W), ag.tensor(np.ones(4), requires_grad=True)

    def plain(x):
        y = ag.tanh(x @ p) * q
        return {"y": y, "sum": y.sum(), "positive": ag.sum(y > 0)}

    compiled = ag.compile(plain)
    gradients = []
    for fn in (plain, compiled):
        p.grad = q.grad = None
        result = fn(ag.tensor(X))
        (result["sum"] * 2 + result["y"][0].sum()).backward()
        gradients.append((p.grad.value, q.grad.value))
        assert not result["positive"].tracked
    for x, y in zip(*gradients, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)
    with ag.no_grad():
        assert not compiled(X)["sum"].tracked


def test_on_virtual_nodes_it_draws_what_is_in_it():
    compiled = ag.compile(layer)
    graph = ag.trace(lambda x: compiled(x, W) + 1.0, (3, 4))
    assert [node.op.name for node in graph.nodes if node.inputs] == ["matmul", "tanh", "add"]
    final, _ = scan(lambda h, x: (compiled(h, W), None), X, length=3)
    np.testing.assert_allclose(final.value, layer(ag.tensor(X), n=3).value, rtol=1e-14)
    np.testing.assert_allclose(ag.vmap(lambda x: compiled(x, W))(X).value, compiled(X, W).value)


def test_check_finite_sees_what_is_in_it():
    compiled = ag.compile(lambda x: ag.log(x) * 2.0)
    assert np.isfinite(compiled(np.ones(2)).value).all()
    with ag.check_finite(), pytest.raises(ag.NonFiniteError, match="log"):
        compiled(np.array([1.0, 0.0]))
    recorded = ag.compile(lambda x: ag.sqrt(x).sum())(ag.tensor([1.0, 0.0], requires_grad=True))
    with ag.check_finite(), pytest.raises(ag.NonFiniteError):
        recorded.backward()


def test_a_recorded_call_is_a_node_with_a_body():
    p = ag.parameter("p", W)
    y = ag.compile(lambda x: ag.tanh(x @ p))(X)
    graph = ag.Graph([], {"y": y})
    assert "call_1.tanh_1" in {path for path, _, _ in graph.walk()}
    seen = []
    graph.run(watch=lambda path, value: seen.append(path))
    assert "call_1.matmul_1" in seen
    assert "operand x: float64[3, 4]" in str(graph)
    p.value = np.zeros_like(W)
    np.testing.assert_array_equal(graph.run()["y"], np.zeros((3, 4)))


# --- threads and memory ---------------------------------------------------------------------------


def test_threads_share_a_compiled_function():
    fn = Counted(ag.value_and_grad(loss))
    step = ag.compile(fn)
    inputs = [RNG(i).normal(size=(3, 4)) for i in range(8)]
    wanted = [ag.value_and_grad(loss)(P, x)[0].item() for x in inputs]
    found = [[] for _ in inputs]

    def work(i):
        for _ in range(20):
            found[i].append(step(P, inputs[i])[0].item())

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for values, value in zip(found, wanted, strict=True):
        np.testing.assert_allclose(values, value, rtol=1e-13)
    assert fn.calls == 1


def test_calls_leave_no_memory_behind_without_the_garbage_collector():
    p = ag.parameter("p", W)
    compiled = ag.compile(lambda x: ag.tanh(x @ p).sum(), backend="reference")

    def work(count):
        for _ in range(count):
            p.grad = None
            compiled(X).backward()
            scan(lambda h, x: (ag.tanh(h + x @ p), None), np.zeros(4), X)[0].sum().backward()

    work(20)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        work(20)
        before = tracemalloc.get_traced_memory()[0]
        work(200)
        assert gc.collect() == 0  # no cycles; and Python's lists of free objects are empty again
        assert tracemalloc.get_traced_memory()[0] - before < 5000
    finally:
        tracemalloc.stop()
        gc.enable()


def test_a_compiled_function_that_is_gone_keeps_no_parameter_alive():
    p = ag.parameter("p", W)
    compiled = ag.compile(lambda x: x @ p)
    compiled(X)
    alive = weakref.ref(p)
    p = compiled = None
    gc.collect()
    assert alive() is None


# --- graphs of the same structure -----------------------------------------------------------------


def drawn(op=ag.tanh, name="x", constant=2.0, shape=(3,)):
    x = ag.input(name, shape)
    return ag.Graph([x], {"y": op(x) * constant})


def test_graphs_drawn_by_the_same_lines_are_the_same():
    graphs = [drawn() for _ in range(2)]
    assert structure(graphs[0]) == structure(graphs[1])
    assert interned(graphs[0]) is graphs[0]
    assert interned(graphs[1]) is graphs[0]


def test_what_nobody_uses_is_known_only_if_it_is_to_be_kept():
    forget()
    for keep in (False, True):
        first = interned(drawn(), keep)
        alive = weakref.ref(first)
        del first
        gc.collect()
        assert (alive() is not None) is keep
    forget()
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    "other",
    [
        {"op": ag.sin},
        {"name": "z"},
        {"constant": 3.0},
        {"constant": np.array([2.0, 2.0, 2.0])},
        {"shape": (4,)},
        {"op": lambda x: ag.sum(x, axis=0)},
        {"op": lambda x: x[::-1]},
        {"op": lambda x: x[0:3]},
        {"op": lambda x: scan(lambda h, x: (h + x, h), 0.0, x)[1]},
        {"op": lambda x: scan(lambda h, x: (h - x, h), 0.0, x)[1]},
        {"op": lambda x: scan(lambda h, x: (h - x, h), 0.0, x, reverse=True)[1]},
    ],
)
def test_graphs_that_differ_are_told_apart(other):
    assert structure(drawn()) != structure(drawn(**other))
    assert structure(drawn(**other)) is not None


def test_parameters_and_users_functions_are_told_apart_by_identity():
    def graph(p, f):
        return ag.Graph([], {"y": f(p * 2.0)})

    p, q = ag.parameter("p", np.ones(2)), ag.parameter("p", np.ones(2))
    f, g = (ag.custom_vjp(lambda x: x + 1.0) for _ in range(2))
    same, other_p, other_f = (structure(graph(*pair)) for pair in ((p, f), (q, f), (p, g)))
    assert same == structure(graph(p, f))
    assert len({same, other_p, other_f}) == 3


def test_graphs_with_large_constants_are_not_compared():
    large = np.ones(LARGEST // 8 + 1)
    graph = drawn(constant=large, shape=large.shape)
    assert structure(graph) is None
    assert interned(graph) is graph
    outer = ag.trace(lambda x: scan(lambda h, _: (h + large, None), x, length=2)[0], large.shape)
    assert structure(outer) is None


def test_loops_on_tensors_reuse_the_body_drawn_before():
    bodies = []
    for _ in range(2):
        ys = scan(lambda h, x: (h * x, h), ag.tensor(W[0], requires_grad=True), X)[1]
        bodies.append(ys.inputs[0].body)
        ys.sum().backward()
    assert bodies[0] is bodies[1]
    assert [key for key in bodies[0]._cache if key[0] == "gradient"]


def test_deep_nests_are_compared_without_recursion():
    def nest(depth):
        def step(h, _):
            for _ in range(depth):
                h = h * 2.0
            return h, None

        body = ag.trace(lambda h: step(h, None)[0], ())
        for _ in range(depth):
            h = ag.input("h")
            body = ag.Graph([h], ag.stack([repeat_once(body, h)])[0])
        return body

    assert structure(nest(300)) == structure(nest(300))


def repeat_once(body, h):
    from loops import repeat

    return repeat(body, init=[h], length=1)[0][0]


def test_what_is_recent_is_bounded():
    recent = Recent(2)
    assert [recent.put(i, str(i)) for i in (1, 2)] == ["1", "2"]
    assert recent.get(1) == "1"
    assert recent.put(1, "other") == "1"
    recent.put(3, "3")
    assert (recent.get(2), recent.get(3), len(recent)) == (None, "3", 2)


def test_what_is_recent_is_bounded_by_weight_but_for_the_last_few():
    recent = Recent(10, weight=lambda x: x, limit=7, least=2)
    for key, weight in enumerate([5, 9, 9, 1, 1, 1, 1, 1]):
        recent.put(key, weight)
        if key == 2:
            assert len(recent) == 2, "the last two stay, whatever they weigh"
    assert [recent.get(key) for key in range(8)] == [None, None, None, 1, 1, 1, 1, 1]


def test_plans_of_many_lengths_keep_little_memory():
    from autograd.execute.eager import _PLANS

    rnn = nn.RNN(4, 64, rng=0)
    for steps in range(1, 40):
        rnn(np.zeros((steps, 100, 4)))
    plans = [plan for plan in _PLANS._entries.values() if plan]
    assert max(plan.held for plan in plans) >= 38 * 100 * 64 * 8
    light = Recent(64, _PLANS.weight, limit=1 << 20, least=4)
    for i, plan in enumerate(plans):
        light.put(i, plan)
    assert len(light) == 4


# --- backends -------------------------------------------------------------------------------------


def test_a_backend_is_chosen_for_a_block():
    graph = drawn()
    with ag.backend("reference"):
        assert graph.compile().backend == "reference"
        with ag.backend("numpy"):
            assert graph.compile().backend == "numpy"
            assert graph.compile("reference").backend == "reference"
        assert graph.compile().backend == "reference"


def test_graphs_and_loops_on_tensors_run_by_the_chosen_backend(monkeypatch):
    from autograd.execute import plan

    made = []
    own = plan.MAKERS["numpy"]

    def making(graph, *rest):
        made.append(graph)
        return own(graph, *rest)

    monkeypatch.setitem(plan.MAKERS, "numpy", making)
    graph = drawn()
    with ag.backend("reference"):
        expected = graph.run(x=X[0, :3])["y"]
        wanted = scan(lambda h, x: (ag.tanh(h + x), h), np.zeros(4), X)[1].value
        nn.RNN(4, 3)(X[:, None])
    assert made == []
    forget()
    with ag.backend("numpy"):
        for _ in range(2):
            np.testing.assert_allclose(graph.run(x=X[0, :3])["y"], expected, rtol=1e-15)
            found = scan(lambda h, x: (ag.tanh(h + x), h), np.zeros(4), X)[1]
            np.testing.assert_allclose(found.value, wanted, rtol=1e-15)
    assert [each.name for each in made] == ["graph", "loop"]


@pytest.mark.parametrize("name", ["numpy", "native"])
def test_what_a_loop_hands_through_is_no_memory_of_the_plan(name):
    """A loop that takes no step returns what it was given, which a plan may write to later."""
    if name == "native":
        pytest.importorskip("llvmlite")

    def program(a):
        return while_loop(lambda x: x > 1e6, lambda x: x * a, a * a)[0]

    graph = ag.trace(program, ()).grad(wrt=["a"])
    results = graph.compile(name).run(a=1.5)
    assert {key: x.item() for key, x in results.items()} == {"output": 2.25, "grad_a": 3.0}


def test_the_environment_says_the_backend_of_a_process(run_python):
    code = "import autograd as ag; x = ag.input('x'); print(ag.Graph([x], x * 2).compile().backend)"
    assert run_python("-c", code, LOOPGRAD_BACKEND="reference").stdout == "reference\n"
    wrong = run_python("-c", code, LOOPGRAD_BACKEND="cuda")
    assert "the environment variable LOOPGRAD_BACKEND is one of auto, reference" in wrong.stderr


def test_backends_say_what_there_is():
    with pytest.raises(ag.GraphError, match=r"a backend is one of auto, .* but is 'cuda'"):
        drawn().compile("cuda")
    with pytest.raises(ag.GraphError, match="but is 'cuda'"), ag.backend("cuda"):
        pass


def test_threads_choose_backends_of_their_own():
    seen = []

    def work():
        seen.append(drawn().compile("reference").backend)
        with ag.backend("reference"):
            seen.append(drawn().compile().backend)

    with ag.backend("numpy"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert drawn().compile().backend == "numpy"
    assert seen == ["reference", "reference"]
