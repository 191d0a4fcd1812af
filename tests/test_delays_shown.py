"""Delays as readers meet them: in pictures, and in errors."""

import numpy as np
import pytest

import autograd as ag
from autograd.draw.picture import picture_of
from autograd.errors import DTypeError, GraphError, ShapeError
from loops import LoopNode
from tests.samples import narx as narx_sample
from tests.test_delays import moved

# Pictures.


def test_delays_are_arrows_that_say_so():
    picture = picture_of(narx_sample())
    titles = [box.title for box in picture.boxes]
    assert "delays" not in [line for box in picture.boxes for line in box.detail]
    said = {
        (titles[arrow.tail], titles[arrow.head]): (arrow.kind, arrow.says)
        for arrow in picture.arrows
        if arrow.says
    }
    assert said == {
        ("x", "x_lag_2"): ("each", "2 steps ago"),
        ("x", "x_lead_1"): ("each", "1 step ahead, after: edge"),
        ("", "y_lag_5"): ("back", "5 steps later"),
    }
    (before,) = [arrow for arrow in picture.arrows if titles[arrow.tail] == "past"]
    assert (titles[before.head], before.name) == ("x_lag_2", "before")
    (state,) = [box for box in picture.boxes if box.title == "y_lag_5"]
    assert state.detail == ["state of 5 steps ago"]
    folded = picture_of(narx_sample(), 0)
    assert "2 steps ago" in [arrow.says for arrow in folded.arrows]


def test_what_is_delayed_twice_is_a_box_in_between():
    x = ag.input("x", (5,))
    with LoopNode("outer", length=2) as outer:
        once = outer.each(ag.stack([x, x]), lag=1, before=0.0)
        outer.collect(once)
    delays = ag.node.OPS["delays"]
    (first,) = delays(x, 0.0, lags=(1,), before="fill")
    (second,) = delays(first, lags=(2,), before="wrap")
    picture = picture_of(ag.Graph([x], {"y": second}))
    assert [arrow.says for arrow in picture.arrows] == ["1 step ago, before: 0", ""]
    assert [box.detail for box in picture.boxes if box.kind == "op"] == [
        ["delays", "lags=(2,), before=wrap"]
    ]


# Misuse: said when it is drawn.


def branched(**how):
    with LoopNode("rnn", length=4) as step:
        step.feed(step.branch("h", **how), np.zeros(2))


@pytest.mark.parametrize("lag", [0, -1, True, 2.0, "2", np.float64(2.0)])
def test_lags_are_whole_numbers_from_one_up(lag):
    number = r"must be a whole number of steps from 1 to \d+, but is "
    with pytest.raises(GraphError, match=f"lag of state 'h' of loop 'rnn' {number}"):
        branched(init=np.zeros(2), lag=lag)
    with pytest.raises(GraphError, match=f"lags of state 'h' of loop 'rnn': each {number}"):
        branched(init=np.zeros(2), lags=(1, lag))
    with pytest.raises(GraphError, match=f"lag of per-step input input 'x' .* {number}"):
        moved(ag.input("x", (3,)), lag=lag, before=0.0)
    with pytest.raises(GraphError, match=f"lead of per-step input input 'x' .* {number}"):
        moved(ag.input("x", (3,)), lead=lag, after=0.0)


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        (
            {"init": np.zeros(2), "lags": ()},
            GraphError,
            r"must be a tuple .* \(1, 5\), but is \(\)",
        ),
        ({"init": np.zeros(2), "lags": 5}, GraphError, "but is 5; give lag=5 for a single one"),
        ({"init": np.zeros(2), "lag": 2, "lags": (2,)}, GraphError, "has a lag and lags"),
        ({"lag": 2}, GraphError, "needs one rule for what lies before the start"),
        ({"init": np.zeros(2), "history": np.zeros((1, 2))}, GraphError, "needs one rule"),
        (
            {"history": np.zeros((3, 2)), "lags": (1, 5)},
            ShapeError,
            "has 3 rows, but must have 5: one for each of the 5 steps before the start that lag 5",
        ),
        ({"history": np.zeros((6, 2)), "lag": 5}, ShapeError, "has 6 rows, but must have 5"),
        ({"history": np.zeros(()), "lag": 5}, ShapeError, "has no rows, but must have 5"),
        (
            {"init": np.zeros((5, 2)), "lag": 5},
            ShapeError,
            r"if its init is one row for each of 5 steps, give it as history=",
        ),
    ],
)
def test_states_that_cannot_start_say_why(how, error, match):
    with pytest.raises(error, match=match):
        branched(**how)


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ({"lag": 2}, GraphError, r"with lag=2 needs a rule for the 2 steps that lie before it"),
        ({"lead": 1}, GraphError, r"with lead=1 needs a rule .* after='edge' \(its last step"),
        ({"before": 0.0}, GraphError, "has before= or after=, but neither lag= nor lead="),
        ({"lag": 1, "lead": 1, "before": 0.0}, GraphError, "has a lag and a lead"),
        ({"lag": 1, "after": 0.0}, GraphError, "reads nothing after; give before="),
        ({"lead": 1, "before": 0.0}, GraphError, "reads nothing before; give after="),
        ({"lag": 1, "before": "mean"}, GraphError, "before='mean' of .* is no rule"),
        (
            {"lag": 3, "before": np.zeros((2, 2))},
            ShapeError,
            r"stands for 3 rows of float64\[2\], .* give 3 rows or more",
        ),
        ({"lag": 3, "before": np.zeros(3)}, ShapeError, "stands for 3 rows"),
        ({"lag": 1, "before": np.zeros((1, 1, 2))}, ShapeError, "stands for 1 rows"),
    ],
)
def test_inputs_without_a_rule_say_what_is_missing(how, error, match):
    with pytest.raises(error, match=match):
        moved(ag.input("x", (4, 2)), **how)


def test_what_lies_outside_has_the_dtype_of_the_sequence():
    with pytest.raises(DTypeError, match=r"`before` of .* must be int64 as input 'n' .* is, but"):
        moved(ag.input("n", (4,), int), lag=1, before=0.5)


def test_what_lies_outside_is_known_before_the_loop():
    x = ag.input("x", (4, 2))
    with LoopNode("rnn") as step:
        now = step.each(x)
        with pytest.raises(GraphError, match=r"what lies outside of .* changes from step to step"):
            step.each(x, lag=1, before=now)


def test_a_state_is_fed_once_for_all_its_lags():
    with LoopNode("rnn", length=4) as step:
        h1, h2 = step.branch("h", np.zeros(2), lags=(1, 2))
        step.feed(h1, h2)
        with pytest.raises(GraphError, match="fed twice; feed it once, which feeds all its lags"):
            step.feed(h2, h1)


def test_a_delayed_state_that_is_not_fed_is_named():
    never = pytest.raises(GraphError, match="state 'h' of loop 'rnn' is never fed")
    with never, LoopNode("rnn", length=4) as step:
        step.branch("h", np.zeros(2), lags=(1, 2))


@pytest.mark.parametrize(
    ("attrs", "match"),
    [
        ({"lags": ()}, r"take lags that are whole numbers other than 0, .* but got \(\)"),
        ({"lags": (0,)}, "whole numbers other than 0"),
        ({"lags": (True,)}, "whole numbers other than 0"),
        ({"lags": (1,), "before": "mean"}, "but got .*'mean'"),
        ({"lags": (1,), "ragged": 1}, "whole numbers other than 0"),
        ({"lags": (1, -2), "before": "edge"}, r"lags \(1, -2\) need a rule for what lies after"),
        ({"lags": (1,), "before": "fill"}, "take 2 inputs, but 1 are given"),
        ({"lags": (1,), "before": "edge", "ragged": True}, "take 2 inputs, but 1 are given"),
    ],
)
def test_the_op_checks_what_a_file_may_say(attrs, match):
    with pytest.raises(GraphError, match=match):
        ag.node.OPS["delays"](ag.input("x", (4, 2)), **attrs)
    with pytest.raises(GraphError, match=match if "inputs" not in match else "inputs|counts"):
        ag.node.OPS["delays_adjoint"](ag.input("g", (4, 2)), **attrs, counts=(0, 0))


def test_the_adjoint_checks_what_it_is_given():
    adjoint, g = ag.node.OPS["delays_adjoint"], ag.input("g", (4, 2))
    with pytest.raises(GraphError, match=r"read \[2, 0\] rows before and after, but .* \(1, 0\)"):
        adjoint(g, lags=(2,), before="fill", counts=(1, 0))
    with pytest.raises(ShapeError, match="gradients of the lags of one sequence are alike"):
        adjoint(g, ag.input("h", (3, 2)), lags=(1, 2), before="edge", counts=(0, 0))
    with pytest.raises(ShapeError, match=r"lengths of the rows of .* cannot be float64\[2\]"):
        adjoint(g, ag.input("n", (2,)), lags=(1,), before="edge", ragged=True, counts=(0, 0))
