"""Misuse is an error that says what to do; an exception leaves everything as it was."""

import numpy as np
import pytest

import autograd as ag
from autograd import DTypeError, GradientError, GraphError, LoopGradError, ShapeError
from autograd.node import RELEASED
from autograd.op import Op
from autograd.scope import current_state

V = np.array([1.0, 2.0, 3.0])


def leaf(value=V):
    return ag.tensor(value, requires_grad=True)


def used_up():
    y = ag.sum(leaf() * 2.0)
    y.backward()
    return y


def part_used_up():
    shared = leaf() * 2.0
    ag.sum(shared * shared).backward()
    return ag.sum(shared * 3.0)


def virtual():
    return ag.input("x", (3,))


def branch_on_virtual():
    x = virtual()
    return 1 if ag.sum(x) else 2


def changed_parameter():
    w = ag.parameter("w", V)
    loss = ag.sum(w * w)
    w.value = V * 2
    loss.backward()


def set_gradient(g):
    leaf().grad = g


def set_parameter(value):
    ag.parameter("w", V).value = value


def item_assignment():
    leaf()[0] = 1.0


def graph():
    x = ag.input("x", (3,))
    return ag.Graph([x], {"y": ag.tanh(x), "s": ag.sum(x)})


BACKWARD = {
    "twice": (GradientError, lambda: used_up().backward(), r"used up by an earlier backward\(\)"),
    "of a part used up": (GradientError, lambda: part_used_up().backward(), "keep_graph=True"),
    "grad after it": (
        GradientError,
        lambda: ag.grad(part_used_up(), leaf()),
        "compute the loss again",
    ),
    "of no scalar": (GradientError, lambda: (leaf() * 2.0).backward(), r"not a scalar.*seed=ones"),
    "of a constant": (
        GradientError,
        lambda: ag.tensor(1.0).backward(),
        "does not depend on any parameter or requires_grad tensor",
    ),
    "of what no_grad computed": (
        GradientError,
        lambda: ag.no_grad()(lambda: leaf() * 2.0)().backward(),
        "computed under no_grad",
    ),
    "of a virtual node": (
        GradientError,
        lambda: ag.sum(virtual()).backward(),
        r"it is virtual; draw its gradient with autograd.grad\(loss, parameters\)",
    ),
    "seed of another shape": (
        GradientError,
        lambda: (leaf() * 2.0).backward(np.ones(4)),
        r"the seed has shape \(4,\), but multiply float64\[3\] has shape \(3,\)",
    ),
    "seed that would broadcast": (
        GradientError,
        lambda: (leaf() * 2.0).backward(1.0),
        r"the seed has shape \(\)",
    ),
    "after a new value": (GradientError, changed_parameter, "'w' was given a new value after"),
    "gradient of another dtype": (
        ShapeError,
        lambda: set_gradient(ag.tensor(V, "float32")),
        r"the gradient of .* must be float64\[3\], but is float32\[3\]",
    ),
}

FUNCTIONS = {
    "grad of no scalar": (
        GradientError,
        lambda: ag.grad(ag.tanh)(V),
        r"the function must return a scalar, but returned tanh.*use vjp or jacobian",
    ),
    "grad of integers": (
        GradientError,
        lambda: ag.grad(ag.sum)(np.arange(3)),
        r"cannot differentiate with respect to an argument of dtype int64.*astype\('float64'\)",
    ),
    "grad of a bool": (GradientError, lambda: ag.grad(ag.sum)(True), "an argument of dtype bool"),
    "grad of a virtual integer": (
        GradientError,
        lambda: ag.grad(lambda n: ag.sum(n * 1.5))(ag.input("n", (3,), "int64")),
        "cannot differentiate with respect to an argument of dtype int64",
    ),
    "integer result": (
        GradientError,
        lambda: ag.grad(lambda x: ag.sum(x).astype("int64"))(V),
        r"not of a float dtype.*differentiate a float loss",
    ),
    "grad of no such argument": (
        GradientError,
        lambda: ag.grad(ag.sum, 1)(V),
        "argnums names argument 1, but the function was called with 1 positional arguments",
    ),
    "grad of a node by a constant": (
        GradientError,
        lambda: ag.grad(ag.sum(leaf()), ag.tensor(V)),
        r"constant float64\[3\] is constant or of no float dtype",
    ),
    "grad of a node by an array": (
        GradientError,
        lambda: ag.grad(ag.sum(leaf()), V),
        r"grad\(node, wrt\) takes the nodes",
    ),
    "grad of a node of no scalar": (
        GradientError,
        lambda: ag.grad((x := leaf()) * 2.0, x),
        "needs a seed of the same shape",
    ),
    "cotangent of another structure": (
        GradientError,
        lambda: ag.vjp(lambda x: (x, x), V)[1](V),
        "the cotangent has the structure value, but the function's result has",
    ),
    "cotangent of another shape": (
        GradientError,
        lambda: ag.vjp(ag.tanh, V)[1](np.ones(2)),
        r"the seed has shape \(2,\)",
    ),
    "tangents too few": (
        GradientError,
        lambda: ag.jvp(lambda x, y: x * y, (V, V), (V,)),
        "jvp needs one tangent an argument: 2 expected, 1 came",
    ),
    "tangent of another shape": (
        GradientError,
        lambda: ag.jvp(ag.tanh, (V,), (np.ones(2),)),
        r"the seed has shape \(2,\)",
    ),
    "vectors too few": (
        GradientError,
        lambda: ag.hvp(lambda x, y: ag.sum(x * y), (V, V), (V,)),
        "hvp needs one vector an argument: 2 expected, 1 came",
    ),
    "jacobian of a tree": (
        GradientError,
        lambda: ag.jacobian(lambda d: d["a"] * d["b"])({"a": V, "b": V}),
        "jacobian takes a function of one array that returns one array",
    ),
}

VIRTUAL = {
    "if": (
        GraphError,
        branch_on_virtual,
        r"truth value of sum.*choose with autograd.where or loops",
    ),
    "float()": (GraphError, lambda: float(ag.sum(virtual())), r"float\(\) of sum .* is virtual"),
    "int()": (GraphError, lambda: int(ag.sum(virtual())), r"int\(\) of sum .* is virtual"),
    "as an index": (
        GraphError,
        lambda: [1, 2][ag.input("n", (), "int64")],
        r"an index of input 'n' .* is virtual",
    ),
    "value": (GraphError, lambda: virtual().value, "has no value until its graph is run"),
    "item": (GraphError, lambda: ag.sum(virtual()).item(), "has no value until its graph is run"),
    "as an array": (GraphError, lambda: np.array(virtual()), "has no value until its graph is run"),
    "in": (
        GraphError,
        lambda: 1.0 in virtual(),
        r"`in` on input 'x'.*autograd.sum\(x == item\) > 0",
    ),
    "missing input": (GraphError, lambda: graph().run(), r"input 'x' .* is missing; call run\(x="),
    "unknown input": (GraphError, lambda: graph().run(x=V, z=V), "no input 'z'; its inputs are x"),
    "input of another shape": (
        ShapeError,
        lambda: graph().run(x=np.ones(4)),
        r"is float64\[3\], but float64\[4\] came.*graph.resize\(x=\(4,\)\)",
    ),
    "input of another dtype": (
        DTypeError,
        lambda: graph().run(x=V.astype("float32")),
        r"but float32\[3\] came; convert it with .astype\('float64'\)",
    ),
    "unknown output": (
        GraphError,
        lambda: graph().run(outputs=["z"], x=V),
        "no output 'z'; its outputs are y, s",
    ),
    "gradient of one of several outputs": (
        GraphError,
        lambda: graph().grad(),
        r"has outputs y, s; name the one to differentiate: graph.grad\(of=...\)",
    ),
    "gradient by no such name": (
        GraphError,
        lambda: graph().grad("s", ["w"]),
        "no parameter or input 'w'; it has x",
    ),
    "number of arguments": (GraphError, lambda: graph()(V, V), "takes 1 inputs .*but 2 came"),
}

TENSORS = {
    "item assignment": (
        LoopGradError,
        item_assignment,
        r"cannot be written in place; use `x = autograd.index_set\(x, key, value\)`",
    ),
    "if of several elements": (
        ShapeError,
        lambda: bool(leaf()),
        r"the truth value of .* only a value of one element",
    ),
    "float of several elements": (ShapeError, lambda: float(leaf()), r"float\(\) of .* reduce it"),
    "float as an index": (DTypeError, lambda: [1, 2][leaf(1.0)], "is not an integer and cannot be"),
    "len of a number": (ShapeError, lambda: len(leaf(1.0)), r"a value of shape \(\) has no length"),
    "iteration over a number": (
        ShapeError,
        lambda: list(leaf(1.0)),
        r"constant float64\[\] cannot be iterated over",
    ),
    "integer parameter": (
        DTypeError,
        lambda: ag.parameter("w", np.arange(3)),
        r"parameter 'w' must be of a float dtype to be trained, but is int64\[3\]",
    ),
    "bool parameter": (
        DTypeError,
        lambda: ag.parameter("m", True),
        r"parameter 'm' .* is bool\[\]",
    ),
    "integer leaf": (
        DTypeError,
        lambda: ag.tensor(np.arange(3), requires_grad=True),
        r"only float tensors have gradients, but this one is int64\[3\]",
    ),
    "complex": (DTypeError, lambda: ag.tensor(1j), "the dtype is complex128; convert the data"),
    "text": (DTypeError, lambda: ag.tensor("text"), "LoopGrad carries float, integer and bool"),
    "object": (DTypeError, lambda: ag.tensor([None]), "the dtype is object"),
    "ragged list": (ShapeError, lambda: ag.tensor([[1.0], [1.0, 2.0]]), "cannot make an array"),
    "unknown dtype": (DTypeError, lambda: ag.tensor(1.0, "float31"), "'float31' is not a dtype"),
    "operand of a strange type": (
        DTypeError,
        lambda: leaf() + object(),
        "op 'add' cannot take a object; it works on tensors",
    ),
    "complex number beside a tensor": (
        DTypeError,
        lambda: leaf() + np.complex128(1j),
        "op 'add' cannot take 1j; use numbers or bools",
    ),
    "shapes that do not broadcast": (
        ShapeError,
        lambda: leaf() + np.ones(4),
        r"add: shapes \(3,\) and \(4,\) do not broadcast",
    ),
    "matrix product": (
        ShapeError,
        lambda: ag.matmul(leaf(), np.ones((4, 2))),
        r"matmul: \(3,\) @ \(4, 2\): the last axis of the first \(3\)",
    ),
    "parameter of another shape": (
        ShapeError,
        lambda: set_parameter(np.ones(4)),
        r"parameter 'w' is float64\[3\], but its new value is float64\[4\]",
    ),
    "parameter of another dtype": (
        ShapeError,
        lambda: set_parameter(V.astype("float32")),
        "a parameter keeps its shape and dtype",
    ),
    "silent conversion of a tracked tensor": (
        GradientError,
        lambda: np.asarray(leaf()),
        r"would drop its gradient silently.*`x.value` if you mean the value",
    ),
}

TABLE = [
    pytest.param(*row, id=f"{group}: {name}")
    for group, rows in {
        "backward": BACKWARD,
        "calculus": FUNCTIONS,
        "virtual": VIRTUAL,
        "tensor": TENSORS,
    }.items()
    for name, row in rows.items()
]


@pytest.mark.parametrize(("error", "misuse", "match"), TABLE)
def test_misuse_has_its_own_message(error, misuse, match):
    with pytest.raises(error, match=match) as caught:
        misuse()
    assert type(caught.value) is error
    assert current_state().recording
    assert current_state().scope is None


def test_numpy_errors_are_also_what_numpy_users_catch():
    assert issubclass(ShapeError, ValueError)
    assert issubclass(DTypeError, TypeError)


# Exceptions that come from inside.


class Failing(Op):
    """The identity, which raises `error` at a call of its forward, its gradient rule or both."""

    def __init__(self, name, where, error):
        super().__init__(name)
        self.where = where
        self.error = error
        self.vjps = (self.rule,)

    def forward(self, x):
        if self.where == "forward":
            raise self.error
        return x * 1

    def infer(self, x):
        if self.where == "infer":
            raise self.error
        return x

    def rule(self, g, y, x):
        if self.where == "backward":
            raise self.error
        return g


ERRORS = [
    ZeroDivisionError("mine"),
    KeyboardInterrupt(),
    MemoryError(),
    RecursionError(),
    SystemExit(),
]


@pytest.fixture
def parameters():
    """Two parameters, one with a gradient already."""
    a, b = ag.parameter("a", V), ag.parameter("b", V * 2)
    ag.sum(a * 3.0).backward()
    return a, b


def state_of(parameters):
    state = current_state()
    grads = [None if p.grad is None else p.grad.value.tobytes() for p in parameters]
    return state.recording, state.scope, [p.value.tobytes() for p in parameters], grads


def train(parameters, op, place):
    """Forward and backward, with `op` at one of several places."""
    a, b = parameters
    at = [op if i == place else ag.identity for i in range(4)]
    y = ag.tanh(at[0](a) * at[1](b))
    return ag.sum(at[2](y) * at[3](a))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
class TestExceptionsLeaveEverythingAsItWas:
    def check(self, parameters, error, work):
        before = state_of(parameters)
        with pytest.raises(type(error)) as caught:
            work()
        assert caught.value is error
        assert state_of(parameters) == before
        loss = train(parameters, None, None)  # the next call works, and is right
        loss.backward()
        expected = ag.grad(lambda a, b: train((a, b), None, None), (0, 1))(V, V * 2)
        np.testing.assert_array_equal(parameters[0].grad.value, expected[0].value + 3.0)
        np.testing.assert_array_equal(parameters[1].grad.value, expected[1].value)

    @pytest.mark.parametrize("place", range(4))
    def test_in_forward(self, parameters, error, place):
        op = Failing("failing", "forward", error)
        self.check(parameters, error, lambda: train(parameters, op, place))

    @pytest.mark.parametrize("place", range(4))
    def test_in_backward(self, parameters, error, place):
        op = Failing("failing", "backward", error)
        self.check(parameters, error, lambda: train(parameters, op, place).backward())

    def test_in_grad_and_under_no_grad(self, parameters, error):
        op = Failing("failing", "forward", error)

        def work():
            with ag.no_grad():
                ag.grad(lambda a: ag.grad(lambda b: train((a, b), op, 2))(V) * a)(V)

        self.check(parameters, error, work)

    def test_while_a_loop_is_drawn(self, parameters, error):
        from loops import LoopNode

        op = Failing("failing", "infer", error)

        def work():
            with LoopNode("loop", length=3) as loop:
                h = loop.branch("h", parameters[0])
                loop.feed(h, op(h))

        self.check(parameters, error, work)

    def test_while_a_graph_is_traced(self, parameters, error):
        op = Failing("failing", "infer", error)
        self.check(parameters, error, lambda: ag.trace(lambda x: ag.vmap(op)(x * 2.0), (2, 3)))

    def test_in_a_step_of_a_loop_that_runs(self, parameters, error):
        from loops import LoopNode

        op = Failing("failing", "forward", error)
        x = ag.input("x", (3,))
        with LoopNode("loop", length=3) as loop:
            h = loop.branch("h", x * parameters[0])
            loop.feed(h, op(h))
        graph = ag.Graph([x], {"h": loop.final(h)})
        self.check(parameters, error, lambda: graph.run(x=V))

    def test_in_a_custom_function(self, parameters, error):
        @ag.custom_vjp
        def failing(x):
            raise error

        self.check(parameters, error, lambda: train(parameters, failing, 1))

    def test_in_a_custom_rule(self, parameters, error):
        f = ag.custom_vjp(np.copy)

        @f.defvjp
        def _(g, y, x):
            raise error

        self.check(parameters, error, lambda: train(parameters, f, 1).backward())

    def test_in_the_users_function(self, parameters, error):
        def fn(x):
            raise error

        for calculus in (ag.grad, ag.value_and_grad, ag.jacobian, ag.hessian, ag.vmap):
            self.check(parameters, error, lambda calculus=calculus: calculus(fn)(V))
            for p in parameters:
                p.grad = None
            ag.sum(parameters[0] * 3.0).backward()


def test_a_backward_that_raised_can_be_repeated_or_says_why_not():
    x = leaf()
    op = Failing("failing", "backward", ZeroDivisionError("mine"))
    loss = ag.sum(op(x) * x)
    with pytest.raises(ZeroDivisionError):
        loss.backward()
    with pytest.raises(GradientError, match="used up by an earlier backward"):
        loss.backward()
    assert x.grad is None


def test_a_backward_that_raised_can_be_repeated_if_the_graph_was_kept():
    x = leaf()
    op = Failing("failing", "backward", ZeroDivisionError("mine"))
    loss = ag.sum(op(x) * x)
    with pytest.raises(ZeroDivisionError):
        loss.backward(keep_graph=True)
    op.where = "nowhere"
    loss.backward()
    assert np.array_equal(x.grad.value, 2 * V)
    assert loss.inputs is RELEASED


@pytest.mark.parametrize(
    "operation", [lambda x: x & 1, lambda x: x | 1, lambda x: x ^ 1, lambda x: ~x]
)
def test_bitwise_operators_on_integers_are_refused(operation):
    with pytest.raises(DTypeError, match=r"work on bool values, but got constant int64\[\]"):
        operation(ag.tensor(3))
