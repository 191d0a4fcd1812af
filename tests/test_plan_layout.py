"""Where plans put arrays: places of buffers, views as references, states and stacks of loops."""

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import autograd as ag
from autograd import room
from autograd.execute.lower import Compute, Copy, Lowering, Repeat
from autograd.execute.numpy_plan import NumpyProgram
from autograd.execute.refs import Ref, packed, reshaped, view, whole
from autograd.execute.storage import ALIGNMENT, Need, aligned, arranged
from autograd.node import OPS
from autograd.rewrite.nodes import neutral
from autograd.spec import Spec
from loops import LoopNode
from tests.loop_forms import FORMS

# Memory.

NEEDS = st.builds(
    lambda nbytes, first, length: Need(nbytes, first, first + length),
    st.integers(0, 500),
    st.integers(0, 30),
    st.integers(0, 15),
)


@given(st.lists(NEEDS, max_size=25))
def test_buffers_needed_at_the_same_time_do_not_overlap(needs):
    places, total = arranged(needs)
    taken = [set() for _ in range(50)]
    for need, place in zip(needs, places, strict=True):
        assert place % ALIGNMENT == 0
        assert place + need.nbytes <= total
        bytes_ = set(range(place, place + need.nbytes))
        for position in range(need.first, need.last + 1):
            assert taken[position].isdisjoint(bytes_)
            taken[position] |= bytes_


def test_memory_is_used_again_once_nobody_needs_it():
    needs = [Need(640, t, t + 1) for t in range(100)]
    assert arranged(needs)[1] == 2 * 640


def test_a_block_begins_at_a_multiple_of_the_alignment():
    assert all(aligned(n).ctypes.data % ALIGNMENT == 0 for n in (1, 63, 64, 1000))


# Views.


def seen(ref, buffer):
    """Return the array at a reference."""
    item = buffer.itemsize
    return as_strided(buffer[ref.offset :], ref.shape, [s * item for s in ref.strides])


VIEWS = [
    lambda x, n: ag.expand_dims(x, n % (x.ndim + 1)),
    lambda x, n: x.swapaxes(n % x.ndim, -1),
    lambda x, n: ag.permute_dims(x, tuple(np.roll(np.arange(x.ndim), n).tolist())),
    lambda x, n: ag.flip(x, axis=n % x.ndim),
    lambda x, n: x[n % x.shape[0]],
    lambda x, n: x[..., n % x.shape[-1] :],
    lambda x, n: x[:: 1 + n % 3],
    lambda x, n: x[::-1][: 1 + n % x.shape[0]],
    lambda x, n: ag.broadcast_to(x, (1 + n % 3, *x.shape)),
    lambda x, n: ag.split(x, [1, x.shape[0] - 1])[n % 2] if x.shape[0] > 1 else x,
    lambda x, n: ag.unstack(x)[n % x.shape[0]],
    lambda x, n: x.reshape(-1),
    lambda x, n: x.reshape((x.shape[0], -1)),
    lambda x, n: ag.stop_gradient(x),
    lambda x, n: ag.astype(x, x.dtype),
]
SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@given(SHAPES, st.lists(st.tuples(st.sampled_from(VIEWS), st.integers(0, 11)), max_size=6))
def test_a_view_of_a_reference_is_where_numpy_finds_it(shape, calls):
    port = ag.input("x", shape)
    node = port
    for call, number in calls:
        if node.ndim:
            node = call(node, number)
    graph = neutral(ag.Graph(port, {"y": node}, allow_unused=True))
    buffer = np.arange(1.0, prod(shape) + 1)
    refs = {graph.inputs["x"]: whole(0, port.spec)}
    values = {graph.inputs["x"]: buffer.reshape(shape)}
    for x in graph.nodes[1:]:
        source = x.inputs[0]
        if x.op.name == "item":
            refs[x], values[x] = (table[source][x.attrs["index"]] for table in (refs, values))
        else:
            refs[x] = view(x, refs[source])
            values[x] = x.op.forward(values[source], **x.attrs)
        if refs[x] is None:
            assert x.op.name == "reshape"  # of elements that lie in another order
            return
        if not isinstance(refs[x], tuple):
            assert refs[x].spec == x.spec
            np.testing.assert_array_equal(seen(refs[x], buffer), values[x], strict=True)


@given(st.permutations([2, 1, 3, 4]), st.permutations(range(4)), st.data())
def test_a_reshape_is_a_view_where_numpy_makes_none_either(shape, axes, data):
    buffer = np.arange(24.0)
    array = buffer.reshape(shape).transpose(axes)
    ref = Ref(0, Spec(array.shape, array.dtype), 0, tuple(s // 8 for s in array.strides))
    new = data.draw(st.sampled_from([(24,), (6, 4), (2, 12), (4, 3, 2), (2, 3, 4), (1, 24, 1)]))
    found = reshaped(ref, Spec(new, array.dtype))
    result = array.reshape(new)
    assert (found is not None) == np.shares_memory(result, buffer)
    if found is not None:
        np.testing.assert_array_equal(seen(found, buffer), result, strict=True)


def test_what_has_no_elements_can_have_any_shape():
    empty = whole(0, Spec((3, 0), np.dtype(float)))
    found = reshaped(empty, Spec((0, 5), np.dtype(float)))
    assert (found.shape, found.strides) == ((0, 5), packed((0, 5)))


# Loops.


def lowered(graph):
    return Lowering(neutral(graph))


def all_of(code):
    for instruction in code:
        yield instruction
        if isinstance(instruction, Repeat):
            yield from all_of(instruction.body)


def copies(lowering, inside=True):
    """Return why each copy is made: those of bodies, or those outside of them."""
    outside = [x for x in lowering.code if isinstance(x, Copy)]
    everywhere = [x for x in all_of(lowering.code) if isinstance(x, Copy)]
    return sorted(x.why for x in everywhere if (x not in outside) == inside)


def looped(draw, *, length=4, shape=(2, 3), states=1):
    """Return the graph of a loop; `draw(loop, states, x)` returns next values and what to stack."""
    xs = ag.input("xs", (length, *shape))
    inits = [ag.input(f"h_{i}", shape) for i in range(states)]
    with LoopNode("loop") as loop:
        x = loop.each(xs)
        branches = [loop.branch(f"h_{i}", h) for i, h in enumerate(inits)]
        nexts, stacked = draw(branches, x)
        for branch, after in zip(branches, nexts, strict=True):
            loop.feed(branch, after)
        outs = {f"y_{i}": loop.collect(y) for i, y in enumerate(stacked)}
    outs |= {f"last_{i}": loop.final(branch) for i, branch in enumerate(branches)}
    return ag.Graph([xs, *inits], outs, name="layout")


def test_a_state_that_is_stacked_lives_in_its_stack():
    def draw(states, x):
        after = ag.tanh(states[0] + x)
        return [after], [after]

    lowering = lowered(looped(draw))
    assert copies(lowering) == []
    histories = [b for b in lowering.buffers if b.hint == "history"]
    assert [b.spec.shape for b in histories] == [(5, 2, 3)]
    stacked, last = lowering.outputs
    assert stacked.buffer == last.buffer
    assert (stacked.offset, last.offset) == (6, 4 * 6)


def test_values_before_and_after_a_step_are_rows_of_one_stack():
    def draw(states, x):
        after = ag.tanh(states[0] + x)
        return [after], [states[0], after]

    lowering = lowered(looped(draw))
    assert copies(lowering) == []
    before, after, _ = lowering.outputs
    assert (before.buffer, before.offset, after.offset) == (after.buffer, 0, 6)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_delay_of_a_stacked_state_is_its_history(reverse):
    xs, h = ag.input("xs", (4, 3)), ag.input("h", (3,))
    with LoopNode("loop", reverse=reverse) as loop:
        x, before = loop.each(xs), loop.branch("h", h)
        after = ag.tanh(before + x)
        loop.feed(before, after)
        hs = loop.collect(after)
    side = "after" if reverse else "before"
    (late,) = OPS["delays"](hs, h, lags=(-1 if reverse else 1,), **{side: "fill"})
    graph = ag.Graph([xs, h], {"ys": late * 2.0})
    lowering = lowered(graph)
    names = [x.node.op.name for x in all_of(lowering.code) if isinstance(x, Compute)]
    assert names == ["add", "tanh", "multiply"]
    values = {"xs": np.linspace(-1, 1, 12).reshape(4, 3), "h": np.array([0.1, 0.2, 0.3])}
    found = NumpyProgram(neutral(graph)).execute(list(values.values()))
    np.testing.assert_array_equal(found[0], graph.run(**values)["ys"])


IN_PLACE = {
    "sum": lambda h, x: h + x,
    "sigmoid": lambda h, x: ag.sigmoid(h),
    "tanh": lambda h, x: ag.tanh(h),
    "mask": lambda h, x: ag.where(x > 0, x, h),
    "clip": lambda h, x: ag.clip(h, -1.0, 1.0),
    "one row": lambda h, x: ag.index_set(h, 0, x[0]),
}
APART = {
    "read again": lambda h, x: h * x + ag.flip(h, axis=0),
    "mask of itself": lambda h, x: ag.where(x > 0, h, x),
    "product": lambda h, x: h @ h.swapaxes(0, 1) @ h,
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_state_is_overwritten_by_what_goes_element_by_element(name):
    lowering = lowered(looped(lambda s, x: ([IN_PLACE[name](s[0], x)], [])))
    assert copies(lowering) == []
    assert len([b for b in lowering.buffers if b.hint == "state"]) == 1


@pytest.mark.parametrize("name", APART)
def test_a_state_that_is_still_read_is_not_overwritten_yet(name):
    graph = looped(lambda s, x: ([APART[name](s[0], x)], []), shape=(3, 3))
    assert copies(lowered(graph)) == ["the next value"]
    agrees(graph)


def test_a_state_read_by_another_output_is_not_overwritten_yet():
    graph = looped(lambda s, x: ([ag.tanh(s[0])], [s[0] * x]))
    agrees(graph)
    graph = looped(lambda s, x: ([ag.tanh(s[0]), s[0]], []), states=2)
    agrees(graph)


def agrees(graph):
    """Check a graph's plan without passes against the reference, on its second run."""
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=x.shape) for name, x in graph.inputs.items()}
    program = NumpyProgram(neutral(graph))
    program.execute([*values.values()])
    found = program.execute([*values.values()])
    for y, expected in zip(found, graph.run(**values).values(), strict=True):
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


def test_states_that_change_places_are_all_read_before_any_is_written():
    graph = looped(lambda s, x: ([s[1], s[2], s[0]], [s[0] + x]), states=3)
    why = copies(lowered(graph))
    assert why == ["states change places"] * 3 + ["the next value"] * 3
    agrees(graph)


def test_a_state_that_stays_costs_nothing():
    graph = looped(lambda s, x: ([s[0]], [s[0] * x]))
    assert copies(lowered(graph)) == []
    agrees(graph)


def test_parts_of_a_concat_are_written_where_they_go():
    def draw(states, x):
        both = ag.concat([ag.tanh(states[0] + x), ag.sin(x)], axis=1)
        return [ag.cos(states[0])], [both]

    graph = looped(draw)
    assert copies(lowered(graph)) == []
    agrees(graph)


def test_parts_that_are_elsewhere_are_copied_into_a_concat():
    graph = looped(lambda s, x: ([ag.cos(s[0])], [ag.concat([x, ag.sin(x), x])]))
    assert [why.split()[:2] for why in copies(lowered(graph))] == [["a", "part"]] * 2
    agrees(graph)


def test_slices_and_rows_of_nested_loops_are_places_in_one_array():
    xs, h = ag.input("xs", (3, 4, 2)), ag.input("h", (2,))
    with LoopNode("outer") as outer:
        row, s = outer.each(xs), outer.branch("s", h)
        with LoopNode("inner") as inner:
            x, k = inner.each(row), inner.branch("k", s)
            after = ag.tanh(k + x)
            inner.feed(k, after)
            ks = inner.collect(after * 2.0)
        outer.feed(s, inner.final(k) * 0.5)
        ys = outer.collect(ks)
    graph = ag.Graph([xs, h], {"ys": ys})
    lowering = lowered(graph)
    (ys_ref,) = lowering.outputs
    (write,) = [
        out
        for x in all_of(lowering.code)
        if isinstance(x, Compute)
        for out in x.outs
        if out.buffer == ys_ref.buffer
    ]
    assert [stride for _, stride in write.steps] == [8, 2]  # 4 rows of 2 each, then one
    agrees(graph)


# Factors.


def product_loop(columns, length=4):
    """Return the graph of a loop that multiplies by a transposed input from the right."""
    xs, w = ag.input("xs", (length, 3, columns)), ag.input("w", (columns, columns))
    across = w.swapaxes(0, 1)
    with LoopNode("loop") as loop:
        x, h = loop.each(xs), loop.branch("h", ag.constant(np.zeros((3, columns))))
        loop.feed(h, ag.tanh(x + h @ across))
    return ag.Graph([xs, w], {"h": loop.final(h)})


def test_a_transposed_right_factor_is_laid_out_once_before_the_loop():
    lowering = lowered(product_loop(4))
    assert "in row order for products" in copies(lowering, inside=False)
    assert copies(lowering) == []
    (dot,) = [x for x in all_of(lowering.code) if isinstance(x, Compute) and len(x.ins) == 2][:1]
    assert dot.ins[1].contiguous
    agrees(product_loop(4))


@pytest.mark.parametrize("graph", [product_loop(1), product_loop(4, length=1)], ids=str)
def test_no_factor_is_copied_where_that_saves_nothing(graph):
    assert "in row order for products" not in copies(lowered(graph), inside=False)


def test_a_factor_of_a_loop_in_a_loop_is_laid_out_before_both():
    xs, w = ag.input("xs", (4, 3, 5)), ag.input("w", (5, 5))
    across = w.swapaxes(0, 1)
    with LoopNode("outer") as outer:
        x, s = outer.each(xs), outer.branch("s", ag.constant(np.zeros((3, 5))))
        with LoopNode("inner", length=3) as inner:
            h = inner.branch("h", s)
            inner.feed(h, ag.tanh(x + h @ across))
        outer.feed(s, inner.final(h))
    graph = ag.Graph([xs, w], {"s": outer.final(s)})
    lowering = lowered(graph)
    assert "in row order for products" in copies(lowering, inside=False)
    assert "in row order for products" not in copies(lowering)
    agrees(graph)


# What is fed back.


def swapping():
    """A graph whose inputs a and b take each other's place, and c is added to."""
    a, b, c, x = (ag.input(name, (3,)) for name in "abcx")
    outputs = {"a2": b * 1.0, "b2": a, "c2": c + x, "sum": a + c}
    return ag.Graph([a, b, c, x], outputs, name="fed back")


FED = {"a": "a2", "b": "b2", "c": "c2"}


def test_what_is_fed_back_takes_its_next_value_at_once():
    program = NumpyProgram(neutral(swapping()), FED)
    for i, name in enumerate(FED):
        program.resident[name][...] = i + 1.0
    for run in range(1, 4):
        (total,) = program.execute([np.ones(3)])  # what is fed back is not given out
        now = {name: value[0] for name, value in program.resident.items()}
        a, b = (1.0, 2.0) if run % 2 == 0 else (2.0, 1.0)
        assert now == {"a": a, "b": b, "c": 3.0 + run}
        assert total[0] == b + 2.0 + run


def test_an_error_in_the_middle_leaves_what_is_fed_back_whole():
    a, index = ag.input("a", (3,)), ag.input("index", (2,), "int64")
    b = ag.input("b", (2,))
    outputs = {"a2": a + 1.0, "b2": b + a[index]}
    graph = ag.Graph([a, b, index], outputs, name="fed back")
    program = NumpyProgram(neutral(graph), {"a": "a2", "b": "b2"})
    program.resident["a"][...] = [1.0, 2.0, 3.0]
    program.resident["b"][...] = 0.0
    with pytest.raises(ag.ShapeError, match="index 7 is out of bounds") as caught:
        program.execute([np.array([0, 7])])
    assert "while computing node 'gather_1'" in caught.value.__notes__[0]
    assert program.resident["a"].tolist() == [1.0, 2.0, 3.0]
    assert program.resident["b"].tolist() == [0.0, 0.0]
    program.execute([np.array([0, 2])])
    assert program.resident["a"].tolist() == [2.0, 3.0, 4.0]
    assert program.resident["b"].tolist() == [1.0, 3.0]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_buffer_lies_in_the_workspace(form):
    lowering = lowered(form.graph())
    for b in lowering.buffers:
        if b.kind == "work" and b.events:
            assert b.at + b.size * b.spec.dtype.itemsize <= lowering.workspace


def test_a_plan_there_is_no_room_for_is_refused(monkeypatch):
    monkeypatch.setattr(room, "available", lambda: 100e6)
    x = ag.input("x", (5000, 1))
    graph = ag.Graph(x, {"y": ag.tanh(x @ x.swapaxes(0, 1)).sum()}, name="large")
    with pytest.raises(
        ag.TooLargeError,
        match=r"the plan of graph 'large', most of it for 'matmul' \(float64\[5000, 5000\]\), "
        r"needs .*, but only 100 MB of memory are available; take fewer steps",
    ):
        graph.compile(backend="numpy")
