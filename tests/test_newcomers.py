"""Mistakes of the first hour with loops: the message says what came and what to write."""

import subprocess
import sys

import numpy as np
import pytest

import autograd as ag
from autograd import DTypeError, GraphError, ShapeError
from loops import LoopNode, chained, memory_plan, repeat, scan, stacked, while_loop
from tests.wrong import Wrong, assert_refused

wrong = Wrong()
XS = np.ones((5, 3))
ZEROS = np.zeros(3)


@wrong(GraphError, "'rnn' has no such state", "this is tanh .*its states are 'h'")
def final_of_what_was_fed():
    with LoopNode("rnn") as rnn:
        h = rnn.branch("h", ZEROS)
        after = ag.tanh(h + rnn.each(XS))
        rnn.feed(h, after)
    rnn.final(after)


@wrong(GraphError, "'rnn' has no such state", "this is str 'h'")
def feed_by_name():
    with LoopNode("rnn") as rnn:
        h = rnn.branch("h", ZEROS)
        rnn.feed("h", h + rnn.each(XS))


@wrong(GraphError, "'rnn' has no such state", "a tuple of 2", "any one of them will do")
def feed_of_all_lags_at_once():
    with LoopNode("rnn") as rnn:
        both = rnn.branch("h", ZEROS, lags=(1, 5))
        rnn.feed(both, rnn.each(XS))


@wrong(
    GraphError,
    r"the final value of state 'h' of loop 'rnn' \(\S+\) is known only once the `with` block has",
    "use it after the block, and inside the block the state that branch.. returned, or what is fed",
)
def final_value_used_inside_the_block():
    with LoopNode("rnn") as rnn:
        h = rnn.branch("h", ZEROS)
        rnn.feed(h, ag.tanh(h + rnn.each(XS)))
        ag.sum(rnn.final(h))


@wrong(GraphError, "'tanh' collected by loop 'rnn'", "inside the block the value that is collected")
def collected_rows_used_inside_the_block():
    with LoopNode("rnn") as rnn:
        rows = rnn.collect(ag.tanh(rnn.each(XS)).named("tanh"))
        rows[0] + 1.0


@wrong(GraphError, "the final value of state 'h' of loop 'rnn'", "use it after the block")
def final_value_read_inside_the_block():
    with LoopNode("rnn") as rnn:
        h = rnn.branch("h", ZEROS)
        rnn.feed(h, ag.tanh(h + rnn.each(XS)))
        print(rnn.final(h).value)


@wrong(GraphError, "the final value of state 'h' of loop 'rnn'", "use it after the block")
def graph_of_a_final_value_made_inside_the_block():
    with LoopNode("rnn") as rnn:
        h = rnn.branch("h", ZEROS)
        rnn.feed(h, ag.tanh(h + rnn.each(XS)))
        ag.Graph([], {"h": rnn.final(h)})


@wrong(GraphError, "the number of steps that loop 'rnn' takes", "inside the block `index`")
def number_of_steps_read_inside_the_block():
    with LoopNode("rnn") as rnn:
        h = rnn.branch("h", ZEROS)
        rnn.feed(h, ag.tanh(h + rnn.each(XS)))
        float(rnn.steps)


@wrong(
    GraphError, "loop 'rnn' .* is not drawn yet", r"use what its final\(\) and collect\(\) return"
)
def loop_itself_used_inside_its_block():
    with LoopNode("rnn") as rnn:
        h = rnn.branch("h", ZEROS)
        rnn.feed(h, ag.tanh(h + rnn.each(XS)))
        ag.sum(rnn)


@wrong(GraphError, "a state of loop 'rnn' must have a text as its name", "is ndarray")
def branch_without_a_name():
    with LoopNode("rnn") as rnn:
        rnn.branch(ZEROS, "h")


@wrong(GraphError, "until of scan 'rnn'", r"is called with \(carry, y\), but takes \(h\)")
def until_of_the_carry_only():
    scan(lambda h, x: (h + x, None), ZEROS, XS, until=lambda h: h.sum() > 1.0, name="rnn")


@wrong(GraphError, "cond of while_loop 'count'", "one argument, a tuple or dict")
def while_with_two_arguments():
    while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x), (0, 1.0), name="count")


@wrong(GraphError, "body of while_loop 'count'", r"called with \(carry\), but takes \(i, x\)")
def body_with_two_arguments():
    while_loop(lambda c: c[0] < 3, lambda i, x: (i + 1, x), (0, 1.0), name="count")


@wrong(GraphError, "the function of scan 'rnn'", r"called with \(carry, x\), but takes \(h\)")
def step_without_input():
    scan(lambda h: (h, None), ZEROS, XS, name="rnn")


@wrong(GraphError, "the function of scan 'rnn'", "but returned Node")
def step_without_output():
    scan(lambda h, x: h + x, ZEROS, XS, name="rnn")


@wrong(ShapeError, r"float64\[4, 6, 3\] of ragged loop 'rnn'", "time comes before the rows")
def batch_before_time():
    lengths = [6, 2, 3, 1]
    scan(lambda h, x: (h + x, h), np.zeros((4, 3)), np.ones((4, 6, 3)), lengths=lengths, name="rnn")


@wrong(ShapeError, "given to repeat must have 7 steps")
def repeat_for_another_length():
    body = ag.trace(lambda s, x: s + x, (3,), (3,))
    repeat(body, init=[ZEROS], each=[XS], length=7)


@wrong(GraphError, r"stacked takes a list of bodies or layers; write stacked\(\[cell\]\)")
def stack_of_a_function():
    stacked(lambda h, x: (h, x))


@wrong(GraphError, r"chained takes a list of bodies or layers; write chained\(\[cell\]\)")
def chain_of_a_function():
    chained(lambda h, x: (h, x))


@wrong(GraphError, "the bound of loop 'count' must be a whole number")
def negative_bound():
    while_loop(lambda n: n < 3, lambda n: n + 1, 0, bound=-1, name="count")


@wrong(GraphError, "a loop's name must be a text, but is int 5", r"LoopNode\('rnn', length=8\)")
def length_in_the_place_of_the_name():
    LoopNode(5)


@wrong(GraphError, "reverse of loop 'scan' must be True or False, but is 'no'")
def reverse_as_text():
    scan(lambda h, x: (h, None), 0.0, np.zeros(3), reverse="no")


@wrong(GraphError, "the function of scan 'scan' must be a function, but is NoneType")
def scan_of_nothing():
    scan(None, 0.0, np.zeros(3))


@wrong(GraphError, "loop 'rnn' is to be ragged", "has no lengths", "pass lengths=")
def ragged_without_lengths():
    LoopNode("rnn", ragged="mask")


@wrong(GraphError, "ragged of loop 'rnn'", "but is 'pack'")
def ragged_by_another_name():
    LoopNode("rnn", lengths=[1, 2], ragged="pack")


@wrong(GraphError, "repeat takes a body that is a Graph, but got function", "to scan")
def repeat_of_a_function():
    repeat(lambda s: s * 2.0, init=[1.0], length=3)


@wrong(GraphError, "memory_plan is for a graph", "but got function", "autograd.trace")
def plan_of_a_function():
    memory_plan(lambda x: x)


@wrong(GraphError, "carry_0", "in the body of 'rnn'", "autograd.stack")
def carry_that_is_a_list_of_numbers():
    scan(lambda h, x: (h + x, None), [0.0, 0.0, 0.0], XS, name="rnn")


@wrong(DTypeError, r"the dtype is object \(None, or rows of different lengths\)")
def output_with_none_in_it():
    scan(lambda h, x: (h + x, (h, None)), ZEROS, XS)


@pytest.mark.parametrize(("draw", "error", "said"), wrong)
def test_first_mistakes_are_answered(draw, error, said):
    assert_refused(draw, error, said)


def test_a_loop_that_never_stops_says_where_its_condition_is():
    x = ag.input("x")
    last, _ = while_loop(lambda x: x > 0.0, lambda x: x * 0.5 + 1.0, x, bound=5)
    graph = ag.Graph(x, {"last": last})
    condition = f"{__file__}:{last.line[1]}"
    for one in (graph, graph.grad(wrt=["x"]), graph.grad(wrt=["x"], checkpoints=2)):
        with pytest.raises(GraphError, match=rf"its stop condition \({condition}\) never holds"):
            one.run(x=1.0)


def test_errors_of_options_name_the_line_of_a_program_given_to_python():
    program = "from loops import LoopNode\n\nLoopNode('rnn', length=-1)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "<string>:3: the length of loop 'rnn'" in run.stderr


def test_a_type_error_inside_the_function_stays_one():
    with pytest.raises(TypeError, match="has no len"):
        scan(lambda h, x: (len(3), None), ZEROS, XS)


def test_functions_whose_arguments_python_cannot_tell_are_called():
    class Body:
        __signature__ = "not a signature"

        def __call__(self, h, x):
            return h + x, None

    last, _ = scan(Body(), ZEROS, XS)
    assert last.tolist() == [5.0, 5.0, 5.0]


def test_numbers_of_numpy_are_numbers_of_steps():
    lengths = np.array([2, 4])
    with LoopNode("count", length=lengths.max(), truncate=lengths.min()) as count:
        n = count.branch("n", 0.0, lag=lengths[0])
        count.feed(n, n + 1.0)
    assert count.final(n).tolist() == [2.0, 2.0]
    last, steps = while_loop(lambda n: n < 3, lambda n: n + 1, 0, bound=lengths.max())
    assert (int(last), int(steps)) == (3, 3)
    (last,), _ = repeat(ag.trace(lambda s: s * 2.0, ()), init=[1.0], length=lengths[1])
    assert float(last) == 16.0


def test_shapes_are_made_of_whole_numbers():
    with pytest.raises(ShapeError, match=r"a shape is made of whole numbers, but is 0\.7"):
        ag.random.bernoulli(ag.random.key(0), (3,), 0.7)
