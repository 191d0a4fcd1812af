"""Wrong loops are refused while they are drawn, before there is any data: see `tests/wrong.py`."""

import numpy as np
import pytest

import autograd as ag
from autograd import DTypeError, Graph, GraphError, ShapeError
from loops import LoopNode, scan, while_loop
from tests.wrong import Wrong, assert_drawing_goes_on, assert_refused

wrong = Wrong()


# Loops.


@wrong(
    ShapeError,
    "state 'h' enters the loop as float64\\[2\\], but is float64\\[3\\] after one",
    "loop 'rnn'",
    "keeps its shape and dtype",
)
def state_that_changes_shape():
    w = ag.input("w", (2, 3))
    with LoopNode("rnn", length=2) as loop:
        h = loop.branch("h", np.zeros(2))
        loop.feed(h, h @ w)


@wrong(
    ShapeError, "state 'h' enters the loop as float32\\[2\\], but is float64\\[2\\]", "loop 'rnn'"
)
def state_that_changes_dtype():
    x = ag.input("x", (2,))
    with LoopNode("rnn", length=2) as loop:
        h = loop.branch("h", np.zeros(2, "float32"))
        loop.feed(h, h + x)


@wrong(ShapeError, "state 'n' enters the loop as int64\\[\\], but is float64\\[\\]", "loop 'rnn'")
def counter_that_becomes_a_float():
    with LoopNode("rnn", length=2) as loop:
        n = loop.branch("n", np.int64(0))
        loop.feed(n, n / 2)


@wrong(GraphError, "state 'h' of loop 'rnn' is never fed", r"feed\(branch, value\)")
def state_never_fed():
    x = ag.input("x", (2,))
    with LoopNode("rnn", length=2) as loop:
        loop.branch("h", x)


@wrong(GraphError, "state 'h' of loop 'rnn' is fed twice")
def state_fed_twice():
    with LoopNode("rnn", length=2) as loop:
        h = loop.branch("h", np.zeros(2))
        loop.feed(h, h)
        loop.feed(h, h)


@wrong(GraphError, "loop 'rnn' has no such state", r"what its branch\(\) returned")
def feed_of_what_is_no_state():
    xs = ag.input("xs", (3, 2))
    with LoopNode("rnn") as loop:
        x = loop.each(xs)
        loop.feed(x, x)


@wrong(GraphError, "loop 'rnn' has no such state")
def final_of_what_is_no_state():
    xs = ag.input("xs", (3, 2))
    with LoopNode("rnn") as loop:
        loop.collect(loop.each(xs))
    loop.final(xs)


@wrong(ShapeError, "'ys'", "'xs'|3", "loop 'rnn' has 4 steps", "must be equal")
def sequences_of_other_lengths():
    xs, ys = ag.input("xs", (3, 2)), ag.input("ys", (4, 2))
    with LoopNode("rnn") as loop:
        loop.each(xs)
        loop.each(ys)


@wrong(ShapeError, "input 'xs'", "has 3 steps, but the loop's length is 5")
def sequence_of_another_length_than_the_loop():
    xs = ag.input("xs", (3, 2))
    with LoopNode("rnn", length=5) as loop:
        loop.each(xs)


@wrong(GraphError, "loop 'rnn' has neither a per-step input nor a length", "length=8")
def no_length():
    x = ag.input("x")
    with LoopNode("rnn") as loop:
        h = loop.branch("h", x)
        loop.feed(h, h * 2.0)


@wrong(GraphError, "length of loop 'rnn' must be a whole number", "-1")
def negative_number_of_steps():
    LoopNode("rnn", length=-1)


@wrong(GraphError, "length of loop 'rnn' must be a whole number", "2.5")
def fractional_number_of_steps():
    LoopNode("rnn", length=2.5)


@wrong(ShapeError, "input 's'", "cannot be a per-step input of loop 'rnn'", "no axis to step along")
def each_of_a_scalar():
    s = ag.input("s")
    with LoopNode("rnn") as loop:
        loop.each(s)


@wrong(GraphError, "'x'", "belongs to the body of loop 'rnn'", r"collect\(\)")
def node_of_a_body_used_outside():
    xs = ag.input("xs", (3, 2))
    with LoopNode("rnn") as loop:
        x = loop.each(xs, "x")
        loop.collect(x)
    x + 1.0


@wrong(GraphError, "'x'", "belongs to the body of loop 'first'", "cannot be used in 'second'")
def node_of_another_body():
    xs = ag.input("xs", (3, 2))
    with LoopNode("first") as first:
        x = first.each(xs, "x")
        first.collect(x)
    with LoopNode("second") as second:
        y = second.each(xs)
        second.collect(x + y)


@wrong(GraphError, "'h'", "belongs to the body of loop 'rnn.inner'", "cannot be used in 'rnn'")
def node_of_an_inner_body_in_the_outer():
    xs = ag.input("xs", (3, 2))
    with LoopNode("rnn") as loop:
        x = loop.each(xs)
        with LoopNode("inner", length=2) as inner:
            h = inner.branch("h", x)
            inner.feed(h, h * x)
        loop.collect(h)


@wrong(GraphError, "'x'", "belongs to the body of loop 'rnn'", "hand it out")
def graph_whose_output_is_in_a_body():
    xs = ag.input("xs", (3, 2))
    with LoopNode("rnn") as loop:
        x = loop.each(xs, "x")
        y = x * 2.0
        loop.collect(y)
    Graph(xs, {"y": y})


@wrong(GraphError, "'ys' collected by loop 'rnn' .* is known only once", "use it after the block")
def output_used_before_the_block_ends():
    xs = ag.input("xs", (3, 2))
    with LoopNode("rnn") as loop:
        ys = loop.collect(loop.each(xs), "ys")
        loop.collect(ys * 2.0)


@wrong(GraphError, "initial value of state 'h' of loop 'rnn' depends on", "'x'", "before the loop")
def initial_value_that_depends_on_a_step():
    xs = ag.input("xs", (3, 2))
    with LoopNode("rnn") as loop:
        x = loop.each(xs, "x")
        loop.branch("h", x * 2.0)


@wrong(GraphError, "a per-step input of loop 'rnn' depends on", "'h'")
def per_step_input_that_depends_on_a_state():
    with LoopNode("rnn", length=2) as loop:
        h = loop.branch("h", np.zeros(2))
        loop.each(h * 2.0)


@wrong(GraphError, "input 'x' is made in the body of loop 'rnn'", "before the block")
def input_made_inside_a_body():
    with LoopNode("rnn", length=2) as loop:
        loop.collect(ag.input("x"))


@wrong(GraphError, r"each\(\) of loop 'rnn' is for use inside its `with` block")
def port_after_the_block():
    xs = ag.input("xs", (3, 2))
    with LoopNode("rnn") as loop:
        loop.collect(loop.each(xs))
    loop.each(xs)


@wrong(GraphError, r"collect\(\) of loop 'rnn' is for use inside its `with` block")
def collect_without_a_block():
    LoopNode("rnn", length=2).collect(ag.input("x"))


@wrong(GraphError, "loop 'rnn' is already drawn", "make a new LoopNode")
def block_opened_twice():
    xs = ag.input("xs", (3, 2))
    with LoopNode("rnn") as loop:
        loop.collect(loop.each(xs))
    with loop:
        pass


@wrong(GraphError, "loop 'inner' was made in another body", "in one line")
def loop_made_elsewhere():
    inner = LoopNode("inner", length=2)
    with LoopNode("outer", length=2), inner:
        pass


@wrong(ShapeError, "matmul in the body of 'outer.inner'", "'h'", "parameter 'w'")
def wrong_shape_two_levels_deep():
    x, w = ag.input("x", (2,)), ag.parameter("w", np.ones((3, 3)))
    with LoopNode("outer", length=2) as outer:
        g = outer.branch("g", x)
        with LoopNode("inner", length=2) as inner:
            h = inner.branch("h", g)
            inner.feed(h, h @ w)


@wrong(GraphError, r"function of scan 'scan' must return \(carry, y\)", "Node", r"\(carry, None\)")
def scan_that_returns_no_pair():
    scan(lambda h, x: h + x, ag.input("h"), ag.input("xs", (3,)))


@wrong(GraphError, "carry of loop .scan. starts with the structure", "both must be the same")
def scan_whose_carry_changes_structure():
    scan(lambda h, x: ((h[0], h[1], x), None), (ag.input("a"), ag.input("b")), ag.input("xs", (3,)))


@wrong(ShapeError, r"state 'h' enters the loop as float64\[\], but is float64\[2\]", "loop 'scan'")
def scan_whose_carry_changes_shape():
    scan(lambda h, x: (h + x, None), ag.input("h"), ag.input("xs", (3, 2)))


@wrong(GraphError, "loop 'scan' has neither a per-step input nor a length")
def scan_without_a_length():
    scan(lambda h, x: (h, None), ag.input("h"))


# Loops that their data stop, and carries that change.


@wrong(
    ShapeError,
    r"state 'h' enters the loop as float64\[1, 4\], but is float64\[1, 5\] after one step",
    r"starts with input 'h0' float64\[1, 4\] \(.*\.py:\d+\)",
    r"fed with matmul float64\[1, 5\] \(.*\.py:\d+\)",
    "loop 'rnn'",
)
def state_that_grows():
    h0 = ag.input("h0", (1, 4))
    with LoopNode("rnn", length=3) as loop:
        h = loop.branch("h", h0)
        loop.feed(h, h @ np.ones((4, 5)))


@wrong(
    ShapeError, r"state 'n' enters the loop as int64\[\], but is float64\[\]", "fed with multiply"
)
def integer_state_that_becomes_a_float():
    start = ag.input("start", (), "int64")
    with LoopNode("rnn", length=3) as loop:
        n = loop.branch("n", start)
        loop.feed(n, n * 0.5)


@wrong(ShapeError, "'h'", r"float64\[\], but is float64\[2\] after one step", "fed with constant")
def state_fed_with_an_array():
    h0 = ag.input("h0")
    with LoopNode("rnn", length=3) as loop:
        h = loop.branch("h", h0)
        loop.feed(h, [1.0, 2.0])


@wrong(
    ShapeError,
    r"carry\['v'\]\[1\] of loop 'descent'",
    "input 'x' float32",
    "is fed with astype float64",
)
def while_whose_carry_changes_dtype():
    x = ag.input("x", (2,), "float32")

    def body(c):
        return {"v": [c["v"][0], ag.astype(c["v"][1], "float64")]}

    while_loop(lambda c: c["v"][0].sum() > 0, body, {"v": [x, x]}, name="descent")


@wrong(
    ShapeError, r"carry of loop 'while' must stay", r"float64\[2\], but is float64\[4\]", "concat"
)
def while_whose_carry_grows():
    while_loop(lambda x: x.sum() < 9, lambda x: ag.concat([x, x]), ag.input("x", (2,)))


@wrong(
    GraphError, "carry of loop 'while' starts with the structure", "body returned", "be the same"
)
def while_whose_carry_changes_structure():
    while_loop(lambda c: c[0] < 9, lambda c: c[0] + 1, (ag.input("x"), 1.0))


@wrong(GraphError, r"carry\[0\] of loop 'while' starts as float64\[\]", "body returned None there")
def while_that_forgets_to_return():
    while_loop(lambda c: c[0] < 9, lambda c: [None], [ag.input("x")])


@wrong(
    DTypeError, "cond of while_loop 'w' must return a bool scalar", "sum float64", "autograd.all"
)
def while_on_a_float():
    while_loop(lambda x: x.sum(), lambda x: x * 0.5, ag.input("x", (3,)), name="w")


@wrong(DTypeError, "cond of while_loop 'w' must return a bool scalar", r"greater bool\[3\]")
def while_on_an_array():
    while_loop(lambda x: x > 0, lambda x: x * 0.5, ag.input("x", (3,)), name="w")


@wrong(DTypeError, "cond of while_loop 'w'", "returned NoneType")
def while_on_nothing():
    while_loop(lambda x: None, lambda x: x * 0.5, ag.input("x", (3,)), name="w")


@wrong(GraphError, "truth value of greater", "is virtual", "where or loops.cond")
def while_on_python_logic():
    while_loop(lambda x: x > 0 and x < 9, lambda x: x * 0.5, ag.input("x"))


@wrong(DTypeError, "until of scan 'sum' must return a bool scalar", "add float64")
def scan_until_a_float():
    xs = ag.input("xs", (3,))
    scan(lambda h, x: (h + x, None), 0.0, xs, until=lambda h, y: h, name="sum")


@wrong(GraphError, "until of scan|until", "lengths")
def scan_with_lengths_and_until():
    xs = ag.input("xs", (3, 2))
    scan(
        lambda h, x: (h + x, None),
        ag.zeros(2),
        xs,
        lengths=[1, 2],
        until=lambda h, y: h.sum() > 1.0,
    )


@wrong(DTypeError, r"until\(\) of loop 'double' must be a bool scalar", "input 'h' float64")
def until_a_float():
    x = ag.input("x")
    with LoopNode("double") as loop:
        h = loop.branch("h", x)
        loop.feed(h, h * 2.0)
        loop.until(h)


@wrong(
    DTypeError, r"until\(\) of loop 'double' must be a bool scalar", r"bool\[3\]", "autograd.any"
)
def until_an_array():
    x = ag.input("x")
    with LoopNode("double") as loop:
        h = loop.branch("h", x)
        loop.feed(h, h * 2.0)
        loop.until(ag.stack([h, h, h]) > 0.0)


@wrong(DTypeError, r"`unless` of until\(\) of loop 'double'", "input 'skip' float64")
def unless_a_float():
    x, skip = ag.input("x"), ag.input("skip")
    with LoopNode("double") as loop:
        h = loop.branch("h", x)
        loop.feed(h, h * 2.0)
        loop.until(h > 1.0, unless=skip)


@wrong(GraphError, r"`unless` of until\(\) of loop 'double' depends on", "'h'", "before the loop")
def unless_that_depends_on_a_step():
    x = ag.input("x")
    with LoopNode("double") as loop:
        h = loop.branch("h", x)
        loop.feed(h, h * 2.0)
        loop.until(h > 1.0, unless=h > 0.0)


@wrong(GraphError, r"until\(\) of loop 'double' is called twice", r"until\(a \| b\)")
def until_twice():
    x = ag.input("x")
    with LoopNode("double") as loop:
        h = loop.branch("h", x)
        loop.feed(h, h * 2.0)
        loop.until(h > 1.0)
        loop.until(h < -1.0)


@wrong(GraphError, r"until\(\) of loop 'double' is for use inside its `with` block")
def until_after_the_block():
    x = ag.input("x")
    with LoopNode("double", bound=5) as loop:
        h = loop.branch("h", x)
        loop.feed(h, h * 2.0)
        loop.until(h > 1.0)
    loop.until(ag.input("p", (), "bool"))


@wrong(GraphError, "loop 'double' has a bound", "and a length", "at the bound it is")
def bound_and_length():
    LoopNode("double", bound=5, length=5)


@wrong(GraphError, "loop 'double' has a bound", "per-step input input 'xs'", "leave the bound out")
def bound_and_per_step_input():
    xs = ag.input("xs", (3,))
    with LoopNode("double", bound=5) as loop:
        loop.each(xs)


@wrong(GraphError, "loop 'double' has a bound", "nothing stops it", r"until\(stop\)")
def bound_without_until():
    x = ag.input("x")
    with LoopNode("double", bound=5) as loop:
        h = loop.branch("h", x)
        loop.feed(h, h * 2.0)


@wrong(GraphError, "the bound of loop 'double' must be a whole number", "-1")
def negative_bound():
    LoopNode("double", bound=-1)


@wrong(GraphError, "loop 'rnn' has a bound", "and lengths", "give one of them")
def lengths_and_bound():
    LoopNode("rnn", bound=3, lengths=ag.input("n", (2,), "int64"))


@wrong(GraphError, "loop 'rnn' has lengths and", r"until\(\)", "use one of them")
def lengths_and_until():
    xs = ag.input("xs", (3, 2))
    with LoopNode("rnn", lengths=ag.input("n", (2,), "int64")) as loop:
        x = loop.each(xs)
        loop.until(x.sum() > 0.0)


@wrong(GraphError, r"collect\(\) of loop 'double'", "nobody knows how many rows", "bound=1000")
def collect_without_a_bound():
    x = ag.input("x")
    with LoopNode("double") as loop:
        h = loop.branch("h", x)
        loop.feed(h, h * 2.0)
        loop.collect(h)
        loop.until(h > 1.0)


@wrong(GraphError, "loop 'double' did not count its steps", "inside its block")
def steps_that_were_not_counted():
    x = ag.input("x")
    with LoopNode("double", length=3) as loop:
        h = loop.branch("h", x)
        loop.feed(h, h * 2.0)
    str(loop.steps)


@wrong(GraphError, "state 'h' of loop 'double' is never fed", r"feed\(branch, value\)")
def state_never_fed_in_a_loop_that_stops():
    x = ag.input("x")
    with LoopNode("double") as loop:
        h = loop.branch("h", x)
        loop.until(h > 1.0)


@wrong(ShapeError, "per-step input input 'ys'", "has 4 steps, but input 'xs'", "has 3")
def per_step_input_of_another_length_in_scan():
    xs, ys = ag.input("xs", (3, 2)), ag.input("ys", (4, 2))
    scan(lambda h, x: (h + x[0], x[1]), ag.zeros(2), (xs, ys), until=lambda h, y: h.sum() > 1)


@wrong(GraphError, "'y'", "belongs to the body of loop 'inner'", "cannot be used", "final")
def node_of_the_body_of_a_while_used_outside():
    kept = []

    def body(x):
        kept.append((x * 2.0).named("y"))
        return kept[0]

    while_loop(lambda x: x < 1.0, body, ag.input("x"), name="inner")
    kept[0] + 1.0


@wrong(GraphError, "'y'", "belongs to the body of loop 'rnn.inner'", "cannot be used in 'rnn'")
def node_of_an_inner_while_in_the_outer_loop():
    kept = []

    def body(x):
        kept.append((x * 2.0).named("y"))
        return kept[0]

    def step(h, x):
        after, _ = while_loop(lambda x: x < 1.0, body, h, name="inner")
        return after + kept[0] * x, None

    scan(step, 0.0, ag.input("xs", (3,)), name="rnn")


@wrong(ShapeError, "matmul in the body of 'rnn.while'", "'h'", "input 'w'")
def wrong_shape_in_a_while_in_a_scan():
    w = ag.input("w", (4, 5))

    def step(h, x):
        return while_loop(lambda h: ag.sum(h) < 1.0, lambda h: h @ w, h)[0] + x, None

    scan(step, ag.input("h", (1, 5)), ag.input("xs", (3, 1, 5)), name="rnn")


def test_there_are_sixty_of_them():
    assert len(wrong) >= 60


@pytest.mark.parametrize(("draw", "error", "said"), wrong)
def test_refused_while_drawn(draw, error, said):
    assert_refused(draw, error, said)


@pytest.mark.parametrize(("draw", "error", "said"), wrong)
def test_drawing_goes_on_after_an_error(draw, error, said):
    assert_drawing_goes_on(draw)
