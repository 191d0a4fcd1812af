"""Wrong graphs are refused while they are drawn, before there is any data.

Each row draws something wrong on virtual nodes. The error must be of the right class, name the
user's own nodes, say what to do, and point to the line in this file.
"""

import numpy as np
import pytest

import autograd as ag
from autograd import DTypeError, GradientError, Graph, GraphError, ShapeError
from autograd.trace import trace
from loops import cond, switch
from tests.wrong import Wrong, assert_drawing_goes_on, assert_refused

wrong = Wrong()


# Shapes.


@wrong(ShapeError, "input 'x'", "parameter 'w'", r"\(2, 3\) @ \(4, 5\)", "transpose one")
def matmul_inner_dimension():
    ag.input("x", (2, 3)) @ ag.parameter("w", np.ones((4, 5)))


@wrong(ShapeError, "input 's'", r"use \* for a product with a scalar")
def matmul_of_a_scalar():
    ag.input("s") @ ag.input("x", (2,))


@wrong(ShapeError, "input 'x'", "input 'y'", "leading axes .* do not broadcast")
def matmul_stacks_that_differ():
    ag.input("x", (2, 3, 3)) @ ag.input("y", (4, 3, 3))


@wrong(ShapeError, "input 'x'", "input 'bias'", "do not broadcast", "reshape or transpose")
def addition_that_does_not_broadcast():
    ag.input("x", (2, 3)) + ag.input("bias", (2,))


@wrong(ShapeError, "input 'x'", "input 'y'", "'where|where")
def where_that_does_not_broadcast():
    ag.where(ag.input("p", (4,), "bool"), ag.input("x", (3,)), ag.input("y", (3,)))


@wrong(ShapeError, "input 'x'", "input 'y'", "concat")
def concat_of_other_lengths():
    ag.concat([ag.input("x", (2, 3)), ag.input("y", (2, 4))], axis=0)


@wrong(ShapeError, "input 'x'", "input 'y'", "stack joins values of one shape")
def stack_of_other_shapes():
    ag.stack([ag.input("x", (2,)), ag.input("y", (3,))])


@wrong(ShapeError, "input 'x'", r"cannot reshape \(2, 3\) \(6 elements\) to \(4, 2\)")
def reshape_to_another_size():
    ag.input("x", (2, 3)).reshape(4, 2)


@wrong(ShapeError, "input 'x'", r"\(2, 3\) does not broadcast to \(3, 2\)")
def broadcast_to_a_shape_that_does_not_fit():
    ag.broadcast_to(ag.input("x", (2, 3)), (3, 2))


@wrong(ShapeError, "axis 2 does not exist", "choose one from -2 to 1", "input 'x'")
def sum_over_a_missing_axis():
    ag.input("x", (2, 3)).sum(axis=2)


@wrong(ShapeError, r"axes \(0, -2\) name one axis twice", "input 'x'")
def sum_over_one_axis_twice():
    ag.input("x", (2, 3)).sum(axis=(0, -2))


@wrong(ShapeError, "input 'x'", "axis 3 does not exist")
def swap_of_a_missing_axis():
    ag.swapaxes(ag.input("x", (2, 3)), 0, 3)


@wrong(ShapeError, "axis 1 does not exist", "input 'x'")
def softmax_over_a_missing_axis():
    ag.softmax(ag.input("x", (2,)), axis=1)


@wrong(ShapeError, "input 'x'", "index")
def index_beyond_the_end():
    ag.input("x", (3,))[5]


@wrong(ShapeError, r"index \[0, 0\] has 2 indices, but shape \(3,\)", "leave some out", "'x'")
def too_many_indices():
    ag.input("x", (3,))[0, 0]


@wrong(ShapeError, "input 'x'", "input 'y'", "einsum")
def einsum_with_two_lengths_for_one_letter():
    ag.einsum("ij,jk->ik", ag.input("x", (2, 3)), ag.input("y", (4, 5)))


@wrong(ShapeError, "input 'x'", "einsum")
def einsum_with_too_few_letters():
    ag.einsum("i->i", ag.input("x", (2, 3)))


@wrong(ShapeError, "input 'x'", "has no length")
def length_of_a_scalar():
    len(ag.input("x"))


@wrong(ShapeError, r"input 'x' float64\[\] .* cannot be iterated over")
def iteration_over_a_scalar():
    list(ag.input("x"))


@wrong(ShapeError, "input 'x'", r"whole numbers >= 0")
def negative_length():
    ag.input("x", (2, -1))


@wrong(ShapeError, "input 'x'", r"whole numbers >= 0, but Spec\(.* was given")
def spec_as_shape():
    ag.input("x", ag.Spec((2,), np.dtype("float64")))  # type: ignore[arg-type]


# Dtypes.


@wrong(DTypeError, "input 'x'", "complex128", "convert the data first")
def complex_input():
    ag.input("x", (2,), "complex128")


@wrong(DTypeError, "input 'x'", "'float63' is not a dtype")
def unknown_dtype():
    ag.input("x", (2,), "float63")


@wrong(DTypeError, "parameter 'n'", "must be of a float dtype to be trained", "autograd.constant")
def integer_parameter():
    ag.parameter("n", np.arange(3))


@wrong(DTypeError, "dtype is <U1", "float, integer and bool")
def parameter_of_text():
    ag.parameter("names", np.array(["a", "b"]))


@wrong(DTypeError, "input 'flag'", "op 'negative' does not work on bool", "astype")
def minus_a_bool():
    -ag.input("flag", (2,), "bool")


@wrong(DTypeError, "op 'add' cannot take a object|op 'add' cannot take a str")
def addition_of_text():
    ag.input("x", (2,)) + "one"


# Values that are not there yet.


@wrong(GraphError, "the truth value of greater 'positive'", "autograd.where or loops.cond")
def python_if_on_a_virtual_node():
    positive = (ag.input("x") > 0).named("positive")
    if positive:
        pass


@wrong(GraphError, "input 'x'", r"float\(\)", "virtual", "graph.run")
def float_of_a_virtual_node():
    float(ag.input("x"))


@wrong(GraphError, "input 'x'", "is virtual", r"Graph\(inputs, outputs\).run")
def value_of_a_virtual_node():
    ag.input("x").value  # noqa: B018


@wrong(GradientError, "input 'x'", "virtual", "autograd.grad")
def backward_of_a_virtual_node():
    ag.input("x").backward()


@wrong(GradientError, "input 'x'", "not a scalar", "sum it first")
def gradient_of_an_array():
    x = ag.input("x", (3,))
    ag.grad(x, [x])


@wrong(GradientError, "input 'n'", "constant or of no float dtype")
def gradient_with_respect_to_integers():
    n = ag.input("n", (3,), "int64")
    ag.grad((n * 2.0).sum(), [n])


# Graphs.


@wrong(GraphError, "input 'y'", r"not among the graph's inputs", r"inputs=\[\.\.\., y\]")
def missing_input():
    x, y = ag.input("x"), ag.input("y")
    Graph(x, {"z": x + y})


@wrong(GraphError, "input 'y'", "not used by any output", "leave it out")
def unused_input():
    x, y = ag.input("x"), ag.input("y")
    Graph([x, y], {"z": x + 1.0})


@wrong(GraphError, "input 'w' of the graph must be made by autograd.input", "parameter 'w'")
def parameter_as_an_input():
    w = ag.parameter("w", 1.0)
    Graph([w], {"z": w * 2.0})


@wrong(GraphError, "output 'z' of a graph must be a node", "ndarray")
def output_that_is_no_node():
    Graph(ag.input("x"), {"z": np.ones(3)})


@wrong(GraphError, "input 'x' of a graph must be a node", "tuple")
def input_that_is_no_node():
    Graph({"x": (2, 3)}, {"z": ag.input("y")})


@wrong(GraphError, "two inputs of a graph are called 'x'", "names must differ")
def two_inputs_of_one_name():
    x, other = ag.input("x"), ag.input("x")
    Graph([x, other], {"z": x + other})


@wrong(GraphError, "two outputs of a graph are called 'y'")
def two_outputs_of_one_name():
    x = ag.input("x")
    Graph(x, [(x + 1.0).named("y"), (x + 2.0).named("y")])


@wrong(GraphError, "two leaves are called 'w'", "a name of its own")
def two_parameters_of_one_name():
    x = ag.input("x")
    Graph(x, {"y": x * ag.parameter("w", 1.0) + ag.parameter("w", 2.0)})


@wrong(GraphError, "needs at least one output")
def no_output():
    Graph(ag.input("x"), {})


@wrong(GraphError, "graph 'net' has no output 'loss'", "its outputs are y")
def selection_of_an_unknown_output():
    x = ag.input("x")
    Graph(x, {"y": x * 2.0}, name="net").select("loss")


@wrong(GraphError, "graph 'net' has outputs a, b", "name the one")
def gradient_of_one_of_several_outputs():
    x = ag.input("x")
    Graph(x, {"a": x * 2.0, "b": x * 3.0}, name="net").grad()


@wrong(GraphError, "graph 'net' has no parameter or input 'w'", "it has x")
def gradient_with_respect_to_an_unknown_name():
    x = ag.input("x")
    Graph(x, {"a": x * 2.0}, name="net").grad(wrt=["w"])


@wrong(GraphError, "graph 'net' has no input 'xs' to resize", "its inputs are x")
def resize_of_an_unknown_input():
    x = ag.input("x", (3,))
    Graph(x, {"a": x * 2.0}, name="net").resize(xs=(4,))


@wrong(ShapeError, "input 'x'", "parameter 'w'", r"\(2, 4\) @ \(3, 5\)")
def resize_that_does_not_fit_a_parameter():
    x = ag.input("x", (2, 3))
    Graph(x, {"a": x @ ag.parameter("w", np.ones((3, 5)))}).resize(x=(2, 4))


@wrong(GraphError, "graph 'net' takes 1 inputs", "but 2 came")
def call_with_too_many_arguments():
    x = ag.input("x")
    Graph(x, {"a": x * 2.0}, name="net")(ag.input("a"), ag.input("b"))


@wrong(GraphError, "graph 'net' has no node 'hidden'", "print the graph")
def query_of_an_unknown_name():
    x = ag.input("x")
    Graph(x, {"a": x * 2.0}, name="net")["hidden"]


@wrong(GraphError, "traced function must return nodes", "int", "autograd.constant")
def traced_function_that_returns_a_number():
    trace(lambda x: 3, (2,))


@wrong(GraphError, "trace needs a spec for each argument", "'two'")
def trace_with_a_word_for_a_spec():
    trace(lambda x: x, "two")


# Branches.


@wrong(DTypeError, "cond chooses by a bool or integer scalar", "input 'p' float64", "compare first")
def cond_on_a_float():
    cond(ag.input("p"), lambda x: x, lambda x: -x, ag.input("x"))


@wrong(DTypeError, "cond chooses by a bool or integer scalar", r"input 'p' bool\[3\]")
def cond_on_an_array():
    cond(ag.input("p", (3,), "bool"), lambda x: x, lambda x: -x, ag.input("x", (3,)))


@wrong(ShapeError, "cond: if_false returns", "if_true returns", "same shape and dtype", "'x'")
def cond_whose_branches_differ_in_shape():
    cond(ag.input("p", (), "bool"), lambda x: x.sum(), lambda x: x, ag.input("x", (3,)))


@wrong(ShapeError, "if_false returns .*float64", "if_true returns .*float32")
def cond_whose_branches_differ_in_dtype():
    cond(
        ag.input("p", (), "bool"),
        lambda x: x.astype("float32"),
        lambda x: x * 1.0,
        ag.input("x", (3,)),
    )


@wrong(
    GraphError,
    "cond: if_false returns value, but if_true returns .value, value.",
    "if_true returns",
)
def cond_whose_branches_differ_in_structure():
    cond(ag.input("p", (), "bool"), lambda x: (x, x), lambda x: x, ag.input("x", (3,)))


@wrong(GraphError, "if_true of cond must return a value", "returned None")
def cond_that_returns_nothing():
    cond(ag.input("p", (), "bool"), lambda x: None, lambda x: x, ag.input("x", (3,)))


@wrong(GraphError, "switch got no functions to choose from")
def switch_without_functions():
    switch(ag.input("k", (), "int64"), [])


@wrong(GraphError, "belongs to the body of branch 'cond.if_false'", "cannot be used outside")
def node_of_a_branch_used_outside():
    kept = []

    def keep(x):
        kept.append(x * 2.0)
        return x

    cond(ag.input("p", (), "bool"), lambda x: x, keep, ag.input("x", (3,)))
    kept[0] + 1.0


@wrong(
    ShapeError,
    "multiply in the body of 'cond.if_true'|add in the body of 'cond.if_true'",
    "input 'x'",
)
def wrong_shape_inside_a_branch():
    y = ag.input("y", (4,))
    cond(ag.input("p", (), "bool"), lambda x: x + y, lambda x: x, ag.input("x", (3,)))


def test_there_are_sixty_of_them():
    assert len(wrong) >= 60


@pytest.mark.parametrize(("draw", "error", "said"), wrong)
def test_refused_while_drawn(draw, error, said):
    assert_refused(draw, error, said)


@pytest.mark.parametrize(("draw", "error", "said"), wrong)
def test_drawing_goes_on_after_an_error(draw, error, said):
    assert_drawing_goes_on(draw)
