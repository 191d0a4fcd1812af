"""Loops that their data stop: equal to Python's `while` over eager ops, in value and gradient.

The reference is always the same loop written by hand, in Python, on tensors: every step is then
recorded, and the gradient is that of the steps laid out.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd as ag
from autograd import DTypeError, Graph, GraphError, ShapeError
from autograd.backend import for_running
from loops import LoopNode, scan, while_loop
from tests.loop_reference import assert_same, leaf
from tests.while_programs import by_hand, every_program, newton

HERE = __file__


@every_program
def test_values_have_the_bits_of_a_python_while(program, at):
    found, wanted = program(while_loop, ag.tensor(at)), program(by_hand, ag.tensor(at))
    for got, want in zip(found, wanted, strict=True):
        assert_same(got, want)


@every_program
def test_the_drawn_graph_computes_the_same(program, at, tmp_path):
    graph = ag.trace(lambda a: program(while_loop, a), ())
    value, steps = program(by_hand, ag.tensor(at))
    gradient = graph.grad(of="output_0", wrt=["a"])
    gradient.save(tmp_path / "graph.json")
    for same in (
        graph,
        graph.copy(),
        graph.resize(),
        gradient,
        Graph.load(tmp_path / "graph.json"),
    ):
        results = same.run(a=at)
        assert_same(results["output_0"], value)
        assert_same(results["output_1"], steps)
    a = leaf(at)
    program(by_hand, a)[0].backward()
    assert_same(gradient.run(a=at)["grad_a"], a.grad, 1e-12)
    assert_same(Graph.load(tmp_path / "graph.json").run(a=at)["grad_a"], a.grad, 1e-12)
    assert str(Graph.load(tmp_path / "graph.json")) == str(gradient)


@every_program
def test_backward_equals_that_of_a_python_while(program, at):
    a, b = leaf(at), leaf(at)
    program(while_loop, a)[0].backward()
    program(by_hand, b)[0].backward()
    assert_same(a.grad, b.grad, 1e-13)


@every_program
def test_second_order_equals_that_of_a_python_while(program, at):
    def value(loop):
        return lambda a: program(loop, a)[0]

    for order in (ag.hvp, ag.jvp):
        for got, want in zip(
            order(value(while_loop), (at,), (0.7,)),
            order(value(by_hand), (at,), (0.7,)),
            strict=True,
        ):
            assert_same(got, want, 1e-11)


@every_program
def test_gradients_equal_finite_differences_away_from_jumps(program, at):
    """Central differences so small that no step more or less is taken on either side."""

    def value(a):
        return float(program(by_hand, ag.tensor(a))[0])

    h = 1e-5
    steps = {int(program(by_hand, ag.tensor(at + d))[1]) for d in (-2 * h, -h, 0.0, h, 2 * h)}
    assert len(steps) == 1
    slope = (8 * (value(at + h) - value(at - h)) - value(at + 2 * h) + value(at - 2 * h)) / (12 * h)
    found = ag.grad(lambda a: program(while_loop, a)[0])(at)
    np.testing.assert_allclose(found.value, slope, rtol=1e-6, atol=1e-8)


def test_hessian_and_jacobian_pass_through():
    def roots(a):
        return newton_of_each(a)

    def newton_of_each(a):
        def body(x):
            return 0.5 * (x + a / x)

        return while_loop(lambda x: ag.any(ag.abs(x * x - a) > 1e-9), body, ag.ones(2))[0]

    at = np.array([2.0, 5.0])
    np.testing.assert_allclose(ag.jacobian(roots)(at).value, np.diag(0.5 / np.sqrt(at)), rtol=1e-6)
    hessian = ag.hessian(lambda a: roots(a).sum())(at).value
    np.testing.assert_allclose(hessian, np.diag(-0.25 * at**-1.5), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3,)])
def test_what_is_promised_of_no_step_holds_whatever_is_carried(shape):
    """P7: the gradient of init is the one that comes in; of what is shared, zeros."""
    h, w = leaf(np.full(shape, 0.5)), leaf(np.full(shape, 2.0))
    final, steps = while_loop(lambda h: h.sum() > 1e9, lambda h: ag.tanh(h * w), h)
    assert int(steps) == 0
    (final * 3.0).sum().backward()
    assert_same(h.grad, np.full(shape, 3.0))
    assert_same(w.grad, np.zeros(shape))


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("batch", [0, 1, 2])
@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_no_step_and_empty_sizes_forward_and_backward(steps, batch, hidden):
    """P7 for until: T, batch and hidden from 0; a counter stops, as empty states cannot."""
    rng = np.random.default_rng(0)
    h0, w = rng.normal(size=(batch, hidden)), rng.normal(size=(hidden, hidden))

    def run(loop, h0, w):
        (h, _), taken = loop(
            lambda c: c[1] < steps,
            lambda c: (ag.tanh(c[0] @ w) + c[0], c[1] + 1),
            (h0, np.int64(0)),
        )
        return h, taken

    found, wanted = [(leaf(h0), leaf(w)) for _ in range(2)]
    got, taken = run(while_loop, *found)
    want, _ = run(lambda cond, body, c: by_hand(cond, body, (c[0], ag.tensor(c[1]))), *wanted)
    assert_same(got, want)
    assert int(taken) == steps
    got.sum().backward()
    want.sum().backward()
    assert_same(found[0].grad, wanted[0].grad, 1e-13)
    grad_w = np.zeros_like(w) if wanted[1].grad is None else wanted[1].grad
    assert_same(found[1].grad, grad_w, 1e-13)


def test_float32_stays_float32():
    def root(a):
        return while_loop(
            lambda x: ag.abs(x * x - a) > 1e-3, lambda x: 0.5 * (x + a / x), ag.ones((), "float32")
        )[0]

    graph = ag.trace(root, ag.Spec((), np.dtype("float32"))).grad(wrt=["a"])
    assert {v.dtype.name for v in graph.run(a=np.float32(2.0)).values()} == {"float32"}
    floats = {n.dtype.name for _, _, n in graph.walk() if not n.op.multiple and n.dtype.kind == "f"}
    assert floats == {"float32"}
    a = leaf(2.0, "float32")
    root(a).backward()
    assert a.grad.dtype == np.float32


def test_the_number_of_steps_alone_has_no_gradient():
    def taken(a):
        return ag.astype(newton(while_loop, a)[1], "float64")

    assert float(taken(ag.tensor(7.3))) > 3
    assert float(ag.grad(taken)(7.3)) == 0.0
    both = ag.grad(lambda a: newton(while_loop, a)[0] * taken(a))(7.3)
    by = ag.grad(lambda a: newton(by_hand, a)[0] * int(newton(by_hand, a)[1]))(7.3)
    assert_same(both, by, 1e-13)


def test_unused_results_are_not_needed():
    def one(a):
        (x, _), _ = while_loop(
            lambda c: c[1] < 5.0, lambda c: (c[0] * a, c[1] + ag.exp(a)), (a, 0.0 * a)
        )
        return x

    def other(a):
        return while_loop(
            lambda c: c[1] < 5.0, lambda c: (c[0] * a, c[1] + ag.exp(a)), (a, 0.0 * a)
        )[0][1]

    ag.check_grad(lambda b: one(b * 1e-3 + 0.5), (0.3,), order=2)
    ag.check_grad(lambda b: other(b * 1e-3 + 0.5), (0.3,), order=2)


# How often the body runs.


def counting():
    """Return a function that is the identity, and how often it ran forward and backward."""
    calls = {"forward": 0, "backward": 0}

    def counted(key):
        @ag.custom_vjp
        def identity(x):
            calls[key] += 1
            return x

        return identity

    there, back = counted("forward"), counted("backward")
    there.defvjp(lambda g, y, x: back(g))
    return there, calls


def test_no_step_is_computed_after_the_stop():
    seen, calls = counting()

    def run(a):
        return while_loop(lambda x: x < 100.0, lambda x: seen(x * a), a, bound=50)

    graph = ag.trace(run, ())
    gradient = graph.grad(of="output_0", wrt=["a"]).select("grad_a")
    for at in (2.0, 1.5, 200.0):
        steps = int(graph.run(a=at)["output_1"])
        calls.update(forward=0, backward=0)
        graph.run(a=at)
        assert calls == {"forward": steps, "backward": 0}
        calls.update(forward=0, backward=0)
        gradient.run(a=at)
        assert calls == {"forward": steps, "backward": steps}
    assert int(graph.run(a=200.0)["output_1"]) == 0


def test_an_early_exit_computes_no_later_step():
    seen, calls = counting()
    xs = np.arange(1.0, 10.0)

    def run(xs):
        return scan(
            lambda h, x: (seen(h + x), h * x), 0.0, xs, until=lambda h, y: h > 9.0, name="sum"
        )

    graph = ag.trace(lambda xs: run(xs)[0], (9,))
    gradient = graph.grad(wrt=["xs"]).select("grad_xs")
    calls.update(forward=0, backward=0)
    assert gradient.run(xs=xs)["grad_xs"].tolist() == [1.0] * 4 + [0.0] * 5
    assert calls == {"forward": 4, "backward": 4}


def doubled(h, bound):
    """Grow 16 numbers, about ten times, in a loop that may run `bound` times."""
    return while_loop(lambda h: ag.sum(h) < 50.0, lambda h: ag.tanh(h) + h, h, bound=bound)[0]


@pytest.mark.reference_only("plans have room for all steps of the bound")
def test_memory_of_a_gradient_grows_with_steps_taken_not_with_the_bound(run_python):
    """All rows would be 512 MB; the probe allows 16 MB."""
    done = run_python("-m", "tests.scale_probes", "bounded_while", "4000000")
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_loop_keeps_no_empty_rows_of_a_bounded_loop_inside():
    """What the inner loop needs is computed again, from its initial state, at each outer step."""

    def run(h):
        ys = scan(lambda h, x: (doubled(h * x, 100_000), None), h, np.full(30, 0.01))[0]
        return ys.sum()

    gradient = ag.trace(run, (16,)).grad(wrt=["h"])
    saved = [n for n in gradient.nodes if n.op.name == "item" and 100_000 in n.shape]
    assert saved == []
    unbounded = ag.trace(lambda h: run_unbounded(h), (16,)).grad(wrt=["h"])
    at = np.linspace(0.1, 1.0, 16)
    assert_same(gradient.run(h=at)["grad_h"], unbounded.run(h=at)["grad_h"])


def run_unbounded(h):
    return scan(lambda h, x: (doubled(h * x, None), None), h, np.full(30, 0.01))[0].sum()


# Early exits of scans.


def early(xs, h, w, reverse=False, limit=1.0, by_hand=False):
    """Return final state, rows and steps of a scan that stops when the state is large."""

    def step(h, x):
        h = ag.tanh(x + h @ w) + h
        return h, {"h": h * x, "t": h.sum()}

    def stop(h, y):
        return (ag.sum(h) > limit) & (y["t"] > 0.0)

    if not by_hand:
        return scan(step, h, xs, reverse=reverse, until=stop)
    length = len(xs)
    rows = {t: (ag.zeros(h.shape), ag.tensor(0.0)) for t in range(length)}
    steps = 0
    for t in reversed(range(length)) if reverse else range(length):
        h, y = step(h, xs[t])
        rows[t] = (y["h"], y["t"])
        steps += 1
        if bool(stop(h, y)):
            break
    ys = {
        "h": ag.stack([rows[t][0] for t in range(length)]),
        "t": ag.stack([rows[t][1] for t in range(length)]),
    }
    return h, ys, ag.tensor(np.int64(steps))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [-9.0, 1.0, 1e9])
def test_early_exit_equals_a_break(reverse, limit):
    rng = np.random.default_rng(5)
    xs, h, w = (
        rng.normal(size=(6, 3)) * 0.5 + 0.3,
        rng.normal(size=3),
        rng.normal(size=(3, 3)) * 0.4,
    )

    def loss(hand):
        def value(xs, h, w):
            h, ys, _ = early(xs, h, w, reverse, limit, hand)
            weights = np.cos(np.arange(18.0)).reshape(6, 3)
            return (h * h).sum() + (ys["h"] * weights).sum() + (ys["t"] ** 2).sum()

        return value

    args = tuple(map(ag.tensor, (xs, h, w)))
    found, wanted = early(*args, reverse, limit), early(*args, reverse, limit, True)
    assert_same(found[0], wanted[0])
    assert_same(found[1]["h"], wanted[1]["h"])
    assert_same(found[1]["t"], wanted[1]["t"])
    assert_same(found[2], wanted[2])
    assert (int(found[2]) == 6) == (limit == 1e9)
    for got, want in zip(
        ag.grad(loss(False), (0, 1, 2))(xs, h, w),
        ag.grad(loss(True), (0, 1, 2))(xs, h, w),
        strict=True,
    ):
        assert_same(got, want, 1e-13)
    vs = tuple(np.cos(x) for x in (xs, h, w))
    for got, want in zip(
        ag.hvp(loss(False), (xs, h, w), vs), ag.hvp(loss(True), (xs, h, w), vs), strict=True
    ):
        assert_same(got, want, 1e-11)


def test_scan_without_until_returns_a_pair():
    assert len(scan(lambda h, x: (h + x, None), 0.0, np.ones(3))) == 2
    h, ys, steps = scan(lambda h, x: (h + 1.0, None), 0.0, length=9, until=lambda h, y: h > 3.5)
    assert (float(h), ys, int(steps)) == (4.0, None, 4)


# The bound.


@pytest.mark.parametrize("bound", [5, 6, 100])
def test_a_bound_that_is_kept_changes_nothing(bound):
    def run(a, **bound):
        return while_loop(lambda x: x < 30.0, lambda x: x * a, a, **bound)

    for got, want in zip(run(ag.tensor(2.0), bound=bound), run(ag.tensor(2.0)), strict=True):
        assert_same(got, want)
    assert int(run(ag.tensor(2.0))[1]) == 4
    exact = run(ag.tensor(2.0), bound=4)
    assert int(exact[1]) == 4
    assert_same(ag.grad(lambda a: run(a, bound=4)[0])(2.0), ag.grad(lambda a: run(a)[0])(2.0))


def test_a_bound_of_nothing_allows_no_step():
    final, steps = while_loop(lambda x: x < 0.0, lambda x: x, ag.tensor(1.0), bound=0)
    assert (float(final), int(steps)) == (1.0, 0)
    with pytest.raises(
        GraphError, match="loop 'while' still goes on after step -1: its bound is 0"
    ):
        while_loop(lambda x: x > 0.0, lambda x: x, ag.tensor(1.0), bound=0)


def nested(a):
    with LoopNode("outer", length=6) as outer:
        h = outer.branch("h", a)
        x, _ = while_loop(lambda x: x < 9.0, lambda x: x * 2.0, h, bound=3, name="inner")
        outer.feed(h, x * 0.09)
    return outer.final(h)


def test_exceeding_the_bound_names_the_loop_by_path_and_the_step():
    path = "outer.inner" if for_running() else r"outer\[2\].inner"  # plans name no steps
    message = f"loop '{path}' still goes on after step 2: its bound is 3 steps; give a larg"
    for run in (lambda: nested(ag.tensor(2.0)), lambda: ag.trace(nested, ()).run(a=2.0)):
        with pytest.raises(GraphError, match=message) as caught:
            run()
        condition = f"{__file__}:{nested.__code__.co_firstlineno + 3}"
        assert str(caught.value).endswith(f"why its stop condition ({condition}) never holds")
        assert f"{HERE}:" in str(caught.value)
    with pytest.raises(
        GraphError, match=r"^\S+: vmap of loop 'while' .*: loop 'while' still goes on"
    ):
        ag.vmap(lambda x: while_loop(lambda x: x > 0.0, lambda x: x + 1.0, x, bound=3)[0])(
            np.ones(2)
        )


def test_length_is_known_where_something_says_it():
    a = ag.input("a")

    def loop(**limits):
        with LoopNode("loop", **limits) as node:
            h = node.branch("h", a)
            node.feed(h, h * 2.0)
            node.until(h > 1.0)
        return node

    assert loop().length is None
    assert loop(bound=7).length == 7
    assert loop(length=5).length == 5


# Random programs.


OPERATIONS = [
    lambda x, y, a: x * a + y * 0.1,
    lambda x, y, a: ag.sin(x) + y * a,
    lambda x, y, a: ag.tanh(x * y) + 0.3,
    lambda x, y, a: ag.where(x > y, x * 0.5, y + a),
    lambda x, y, a: ag.exp(-x * x) * a + 0.2 * y,
]


@st.composite
def programs(draw):
    """A while loop over two floats and a counter; each float is fed by a chain of operations."""
    chains = [
        draw(st.lists(st.sampled_from(range(len(OPERATIONS))), min_size=1, max_size=3))
        for _ in "xy"
    ]
    limit, most = draw(st.floats(0.1, 3.0)), draw(st.integers(0, 6))
    inner = draw(st.booleans())

    def program(loop, a):
        def body(c):
            x, y, n = c
            after = []
            for chain, value in zip(chains, (x, y), strict=True):
                for k in chain:
                    value = OPERATIONS[k](value, y, a)
                after.append(value)
            if inner:
                deep, _ = loop(
                    lambda d: (d[0] < x + 0.5) & (d[1] < 3),
                    lambda d: (d[0] + a * a, d[1] + 1),
                    (y, n * 0),
                )
                after[1] = after[1] + 0.1 * deep[0]
            return after[0], after[1], n + 1

        def going(c):
            return (c[2] < most) & (ag.abs(c[0]) < limit)

        (x, y, _), steps = loop(going, body, (a * 0.7, a + 0.1, ag.tensor(np.int64(0))))
        return x * y + x, steps

    return program


@settings(max_examples=25, deadline=None)
@given(programs(), st.floats(0.2, 1.4))
def test_random_programs_equal_a_python_while(program, at):
    a, b = leaf(at), leaf(at)
    found, wanted = program(while_loop, a), program(by_hand, b)
    assert_same(found[0], wanted[0])
    assert_same(found[1], wanted[1])
    found[0].backward()
    wanted[0].backward()
    assert_same(a.grad, b.grad, 1e-11)
    batch = at + np.array([0.0, 0.1, 0.3])
    steps = ag.vmap(lambda a: program(while_loop, a)[1])(batch)
    assert steps.value.tolist() == [int(program(by_hand, ag.tensor(x))[1]) for x in batch]
    slopes = ag.vmap(ag.grad(lambda a: program(while_loop, a)[0]))(batch)
    alone = [float(ag.grad(lambda a: program(by_hand, a)[0])(x)) for x in batch]
    np.testing.assert_allclose(slopes.value, alone, rtol=1e-9, atol=1e-11)


# Errors that only a loop that is run, or its caller, can make.


def test_a_condition_must_be_a_bool_scalar():
    def run(cond):
        return while_loop(cond, lambda x: x, ag.input("x", (2,)), name="w")

    said = "cond of while_loop 'w' must return a bool scalar, but returned "
    with pytest.raises(DTypeError, match=said + "sum float64"):
        run(lambda x: x.sum())
    with pytest.raises(DTypeError, match=said + r"greater bool\[2\].*autograd.all or autograd.any"):
        run(lambda x: x > 0.0)
    with pytest.raises(DTypeError, match=said + "NoneType"):
        run(lambda x: None)
    with pytest.raises(DTypeError, match=said + "tuple"):
        run(lambda x: (True, True))


def test_a_carry_keeps_its_structure_and_specs():
    x = ag.input("x", (2,))
    with pytest.raises(GraphError, match=r"carry of loop 'while' starts with the struct.* \{'h'"):
        while_loop(lambda c: c["h"].sum() > 0, lambda c: c["h"], {"h": x})
    said = r"carry\['h'\]\[1\] of loop 'while' .*: state 'h' .*float64\[2\], but is int64\[2\]"
    with pytest.raises(ShapeError, match=said):
        while_loop(
            lambda c: c["h"][0].sum() > 0,
            lambda c: {"h": [c["h"][0], ag.astype(c["h"][1], "int64")]},
            {"h": [x * 1.0, x * 2.0]},
        )
    with pytest.raises(GraphError, match=r"carry\[1\] of loop 'while' .* returned None there"):
        while_loop(lambda c: c[0].sum() > 0, lambda c: (c[0], None), (x, x))


# Corners: blocks, delays, pictures, files.


def test_truncate_cuts_the_gradient_of_a_loop_that_stops():
    def run(a):
        with LoopNode("blocks", truncate=2) as node:
            h = node.branch("h", a)
            node.feed(h, h * a + h)
            node.until(h * a + h > 30.0)
            steps = node.steps
        return node.final(h), steps

    def hand(a):
        h, steps = a, 0
        while not steps or float(h) <= 30.0:
            h = ag.stop_gradient(h) if steps % 2 == 0 and steps else h
            h, steps = h * a + h, steps + 1
        return h

    for at in (0.9, 0.5):
        assert_same(run(ag.tensor(at))[0], hand(ag.tensor(at)))
        assert_same(ag.grad(lambda a: run(a)[0])(at), ag.grad(hand)(at), 1e-14)


def test_delayed_states_in_a_loop_that_stops():
    def run(a, most=12):
        with LoopNode("delayed", bound=most) as loop:
            h = loop.branch("h", a, lag=2)
            after = ag.tanh(h * a) + h
            loop.feed(h, after)
            loop.until(after > 3.0)
            rows, steps = loop.collect(after), loop.steps
        return rows, steps

    def hand(a):
        values, steps = [a, a], 0
        while True:
            values.append(ag.tanh(values[-2] * a) + values[-2])
            steps += 1
            if float(values[-1]) > 3.0:
                break
        return ag.stack(values[2:] + [a * 0.0] * (12 - steps)), steps

    rows, steps = run(ag.tensor(0.5))
    wanted, count = hand(ag.tensor(0.5))
    assert_same(rows, wanted)
    assert int(steps) == count == 9
    slopes = [ag.grad(lambda a, f=f: (f(a)[0] ** 2).sum())(0.5) for f in (run, hand)]
    assert_same(*slopes, 1e-13)


def test_pictures_say_what_a_loop_goes_on_by():
    graph = ag.trace(lambda a: newton(lambda *args: while_loop(*args, bound=50), a)[0], ())
    source = graph.grad(wrt=["a"]).draw()
    for words in ("while going · ≤ 50 steps", "reverse · counted", "count", "going"):
        assert words in str(source)
    without = str(ag.trace(lambda a: newton(while_loop, a)[0], ()).grad(wrt=["a"]).draw())
    assert "while going" in without
    assert "steps ·" not in without


def changed(**attrs):
    """Draw the loop of `newton` again with other attrs, as a hostile file might."""
    graph = ag.trace(lambda a: newton(while_loop, a)[0], ())
    node = graph.find(op="loop")[0]
    return ag.node.apply(node.op, node.inputs, {**node.attrs, **attrs})


@pytest.mark.parametrize(
    ("attrs", "match"),
    [
        ({"until": 1}, "must be bools"),
        ({"reverse": True}, "runs forward, all rows together"),
        ({"counted": True}, "runs forward, all rows together"),
        ({"bounded": True}, "a bound is for a loop without per-step inputs"),
        ({"until": False}, "needs a length"),
        ({"until": False, "counted": True}, "first shared input of a counted loop must be the int"),
        ({"lags": (1,)}, "needs one lag >= 1 for each of its states"),
        ({"until": False, "length": 3, "rows": (0,)}, "a ragged loop is counted"),
        ({"shared": 2, "states": 3}, "first states of a loop that is stopped by its data"),
    ],
)
def test_the_op_checks_what_a_file_says_of_its_steps(attrs, match):
    with pytest.raises(GraphError, match=match):
        changed(**attrs)


def test_a_count_beyond_the_rows_is_refused_where_it_runs():
    """No graph of ours has one; a file may."""
    graph = ag.trace(lambda a: newton(lambda *args: while_loop(*args, bound=9), a)[0], ())
    gradient = graph.grad(wrt=["a"])
    node = next(n for n in gradient.nodes if n.op.name == "loop" and n.attrs.get("counted"))
    for count in (-1, 10):
        values = [np.zeros(x.shape, x.dtype) for x in node.inputs]
        values[0] = np.array(count)
        with pytest.raises(
            GraphError, match=f"was told to run {count} steps, but it can run at mo"
        ):
            node.op.forward(*values, **node.attrs)
