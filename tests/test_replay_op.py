"""The op `replay` as others see it: text, pictures, checks, other sizes; what predictions go by.

What it computes is tested in `test_memory_budget.py`.
"""

import tracemalloc

import numpy as np
import pytest

import autograd as ag
from autograd.execute.footprint import LEAN, MAYBE_VIEWS, OTHERS, VIEWS, predicted, scratch
from autograd.node import OPS
from autograd.spec import Spec
from autograd.trampoline import trampoline
from loops import LoopNode, memory_plan, scan
from tests.loop_reference import assert_same, leaf
from tests.test_ops import ROWS, draws


def product(h, xs):
    """A loop of one op, with one state and one sequence."""
    return scan(lambda h, x: (h * x, None), h, xs, name="product")[0].sum()


def drawn(steps=5, **limits):
    limits = limits or {"checkpoints": 2}
    graph = ag.trace(product, (3,), (steps, 3))
    return graph.grad(wrt=["h", "xs"], **limits)


def replay_of(graph):
    (node,) = [node for node in graph.nodes if node.op.name == "replay"]
    return node


TEXT = """
  product_grad = replay(h, constant_1, xs) checkpoints=2 reverse=True -> (float64[3], float64[5, 3]):
    body 0 product:
      state h: float64[3] <- h, then multiply_1
      each xs: float64[3] <- xs
      multiply_1 = multiply(h, xs): float64[3]
    body 1 product_grad:
      state g_h: float64[3] <- constant_1, then multiply_1
      replayed h: float64[3] <- h
      each xs: float64[3] <- xs
      multiply_1 = multiply(g_h, xs): float64[3]
      multiply_2 = multiply(g_h, h): float64[3]
      final product_grad:g_h <- multiply_1
      stacked product_grad:each_g_xs <- multiply_2
"""  # noqa: E501


def test_text():
    assert TEXT.strip("\n") in str(drawn())


def test_it_is_drawn(tmp_path):
    path = tmp_path / "graph.dot"
    drawn().draw(path)
    source = path.read_text(encoding="utf-8")
    assert "product_grad" in source
    assert source.count("computed again") == 1


def test_watched_paths_name_body_and_step():
    seen = []
    graph = drawn().select("grad_xs")
    graph.run(h=np.ones(3), xs=np.ones((5, 3)), watch=lambda path, value: seen.append(path))
    assert "product_grad[0].0.multiply_1" in seen
    assert "product_grad[4].1.multiply_2" in seen


def test_trips_are_at_most_those_of_the_schedule():
    node = replay_of(drawn(steps=10, checkpoints=3))
    trips = node.op.trips([x.spec for x in node.inputs], node.attrs)
    assert (trips.count, trips.exact) == (15, False)
    assert "product" in str(drawn().explain())


def test_bodies_are_redrawn_for_other_sizes():
    node = replay_of(drawn())
    specs = [Spec((*x.shape[:-1], 7), x.dtype) for x in node.inputs]
    fitted = trampoline(node.op.fit(specs, node.attrs))
    for key in ("step", "backward"):
        assert {x.shape for x in fitted[key].inputs.values()} == {(7,)}
    values = [np.full(s.shape, 0.5 + i) for i, s in enumerate(specs)]
    assert [y.shape for y in node.op(*values, **fitted)] == [(7,), (5, 7)]
    same = node.op.fit([x.spec for x in node.inputs], node.attrs)
    assert trampoline(same) == node.attrs


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"states": -1}, "counts its inputs in whole numbers >= 0 that add up"),
        ({"each": 2}, "counts its inputs in whole numbers >= 0 that add up"),
        ({"checkpoints": 0}, "keeps at least 1 checkpoint, but is to keep 0"),
        ({"checkpoints": "many"}, "keeps at least 1 checkpoint"),
        ({"step": 3}, "holds two graphs"),
        ({"backward": None}, "holds two graphs"),
        ({"reverse": 1}, "its reverse is a bool"),
        ({"states": 0, "carried": 2}, "does not fit a body"),
        ({"until": True}, "does not fit a body|must be a bool that says"),
        ({"counted": True}, "must be the integer number of its steps"),
    ],
)
def test_the_op_checks_its_attrs(changed, match):
    """As reading a file would find them."""
    node = replay_of(drawn())
    inputs = [ag.input(f"x{i}", x.shape, x.dtype) for i, x in enumerate(node.inputs)]
    node.op(*inputs, **node.attrs)
    with pytest.raises(ag.GraphError, match=match):
        node.op(*inputs, **{**node.attrs, **changed})


def stopped(h, w):
    with LoopNode("growing") as node:
        before = node.branch("h", h)
        after = before * w
        node.feed(before, after)
        node.until(after.sum() > 30.0)
    return (node.final(before) ** 2).sum()


@pytest.mark.parametrize("limits", [{"checkpoints": 2}, {"memory": "1MB"}, {"memory": 160_000}])
def test_tensors_through_a_loop_that_its_data_stop(limits):
    h, w = leaf(np.ones(2)), leaf(np.full(2, 1.3))
    stopped(h, w).backward()
    wanted = [x.grad for x in (h, w)]
    h.grad = w.grad = None
    stopped(h, w).backward(**limits)
    for x, g in zip((h, w), wanted, strict=True):
        assert_same(x.grad, g)
    ws = np.stack([w.value, w.value + 0.4])
    found = ag.vmap(ag.grad(stopped, 1, checkpoints=2), (None, 0))(h.value, ws)
    for g, one in zip(found, ws, strict=True):
        assert_same(g, ag.grad(stopped, 1)(h.value, one), 1e-14)


def test_two_loops_may_each_take_the_whole_budget():
    """They are differentiated one after the other: the peak is that of one."""

    def one(w):
        return scan(lambda h, _: (ag.tanh(h * w), None), np.ones(500), length=60, name="a")[0].sum()

    def two(w):
        h = scan(lambda h, _: (ag.sin(h * w), None), np.ones(500), length=60, name="b")[0].sum()
        return one(w) + h

    plans = []
    for loss in (one, two):
        graph = ag.trace(loss, (500,))
        plans.append(memory_plan(graph.grad(wrt=["w"], memory="200kB")))
        assert plans[-1].peak <= 200_000
    single, double = ([p.checkpoints for p in plan.loops] for plan in plans)
    assert len(double) == 2
    assert all(c > 0.5 * single[0] for c in double)


# What predictions take for granted of ops.


def test_only_ops_known_for_it_look_at_their_inputs():
    """An op that returns a view and is not known to would be predicted to take too little."""
    found = set()
    for case in ROWS:
        op = OPS[case.op]
        for xs in draws(case):
            nodes = [leaf(x) if x.dtype.kind == "f" else ag.tensor(x) for x in xs]
            y = case.fn(*nodes)
            for part in y if isinstance(y, tuple | list) else (y,):
                if part.op is op and part.size:
                    seen = [np.may_share_memory(part.value, x.value) for x in part.inputs]
                    found |= {case.op} if any(seen) else set()
    assert found <= VIEWS | MAYBE_VIEWS
    assert len(found) > 8


SQUARE = np.random.default_rng(0).uniform(0.1, 0.9, (200, 200))
ATTRS = (
    {},
    {"axis": (0,), "keepdims": False},
    {"axis": 0},
    {"shape": (40_000,)},
    {"shape": (1, 200)},
    {"axis1": 0, "axis2": 1},
    {"dtype": "float32"},
)


def working(op):
    """How many bytes a forward takes for a while beside its result (the first call that works)."""
    for xs in ((SQUARE, SQUARE.T.copy()), (SQUARE,), (SQUARE > 0.5, SQUARE, SQUARE)):
        for attrs in ATTRS:
            try:
                op.forward(*xs, **attrs)
            except Exception:  # not a call it takes
                continue
            tracemalloc.start()
            try:
                y = op.forward(*xs, **attrs)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            parts = y if type(y) is tuple else (y,)
            own = sum(p.nbytes for p in parts if not any(np.may_share_memory(p, x) for x in xs))
            return peak - own
    return None


def test_ops_take_no_more_for_a_while_than_predictions_say():
    measured = {}
    with np.errstate(all="ignore"):
        for name, op in OPS.items():
            if name not in VIEWS and type(op).bodies is ag.op.Op.bodies:
                measured[name] = working(op)
    known = {name: size for name, size in measured.items() if size is not None}
    assert len(known) > 60
    spec = Spec(SQUARE.shape, SQUARE.dtype)
    slack = 10_000  # what NumPy and Python need for themselves
    for name, size in known.items():
        assert size <= scratch(name, [spec, spec], [spec]) + slack, name
    assert set(known) >= LEAN - VIEWS
    assert set(OTHERS) <= set(known)


@pytest.mark.reference_only("its memory is foretold")
def test_views_keep_what_they_look_at():
    """A small part of a large value, read late: the large one is held as long."""

    def late(x):
        large = x * 2.0
        small = large[:1]
        return small + ag.sum(x * 3.0)

    graph = ag.trace(late, (100_000,))
    assert predicted(graph).bytes > 2 * 800_000
    x = np.ones(100_000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        graph.run(x=x)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert 2 * 800_000 < peak <= predicted(graph).bytes
