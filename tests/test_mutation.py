"""Changing an array a backward still needs: refused or without effect, never a wrong gradient.

PyTorch and HIPS autograd return a wrong gradient, silently, where they share memory with NumPy.
"""

import numpy as np
import pytest

import autograd as ag
from autograd import GradientError, LoopGradError, ShapeError

START = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
REFUSED = (ValueError, TypeError, AttributeError, LoopGradError)
"""What NumPy and we raise: read-only arrays, and operations that do not exist."""


class Work:
    """A forward pass whose backward needs x, w, the input array and what lies between."""

    def __init__(self):
        self.array = START.copy()  # the caller's own array
        self.x = ag.tensor(self.array, requires_grad=True)
        self.w = ag.parameter("w", self.array)
        self.inner = ag.tanh(self.x * self.w)
        self.plain = self.inner * self.array
        self.loss = ag.sum(self.plain * self.inner)

    def gradients(self):
        self.loss.backward()
        return self.x.grad.value.copy(), self.w.grad.value.copy()


EXPECTED = Work().gradients()


def writable(array):
    array.setflags(write=True)
    return array


def assign(work):
    work.w.value = work.w.value - 0.1


def step(work):
    """An optimiser's step between forward and backward."""
    g = ag.grad(work.loss, work.w)
    work.w.value = work.w.value - 0.1 * g.value


def augmented(work):
    value = work.x.value
    value *= 2


def item_of_tensor(work):
    work.x[0] = 0.0


def item_in_place(work):
    work.x[0] += 1.0


def memory(work):
    memoryview(work.x.value)[0, 0] = 0.0


def raw_buffer(work):
    np.frombuffer(work.x.value, np.uint8)[:] = 0


def interface(work):
    class Alias:
        __array_interface__ = work.x.value.__array_interface__

    np.asarray(Alias())[:] = 0


def iterator(work):
    with np.nditer(work.x.value, op_flags=["readwrite"]) as it:
        for item in it:
            item[...] = 0


def base_of(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array if array.base is None else array.base


def base_made_writable(work):
    base = base_of(work.x.value)
    base.setflags(write=True)
    base[:] = 0


def base_of_a_view(work):
    base_of(work.x.value.T[1:])[...] = 0


WAYS = {
    # the caller's own array, which is copied when it enters
    "the caller's array": lambda w: w.array.fill(0),
    "a view of the caller's array": lambda w: w.array[:1].fill(0),
    "a view of a view of the caller's array": lambda w: w.array.T[1:][::-1].fill(0),
    "the caller's array as out=": lambda w: np.exp(w.array, out=w.array),
    "the caller's array by its buffer": lambda w: np.frombuffer(w.array, "u1").fill(0),
    # values that leave, which are read-only
    "a value": lambda w: w.x.value.fill(0),
    "a value by index": lambda w: w.x.value.__setitem__(..., 0),
    "a value by augmented assignment": augmented,
    "a parameter's value": lambda w: w.w.value.fill(0),
    "an inner value": lambda w: w.inner.value.fill(0),
    "a loss": lambda w: w.loss.value.__setitem__((), 0),
    "a view of a value": lambda w: w.x.value[0].fill(0),
    "a view of a view of a value": lambda w: w.inner.value.T[1:].fill(0),
    "a value seen as another dtype": lambda w: w.x.value.view("int64").fill(0),
    "a value raveled": lambda w: w.x.value.ravel().__setitem__(0, 0),
    "a value reshaped in place": lambda w: setattr(w.x.value, "shape", (3, 2)),
    "out= a value": lambda w: np.exp(w.x.value, out=w.x.value),
    "out= a tensor": lambda w: np.exp(np.zeros((2, 3)), out=w.x),
    "copyto": lambda w: np.copyto(w.inner.value, 0),
    "put": lambda w: np.put(w.inner.value, [0], 0),
    "ufunc.at": lambda w: np.add.at(w.inner.value, 0, 1),
    "sort": lambda w: w.x.value.sort(),
    "a value made writable": lambda w: writable(w.x.value).fill(0),
    "a view of a value made writable": lambda w: writable(w.x.value[:1]).fill(0),
    "the base of a value": lambda w: base_of(w.x.value).__setitem__(..., 0),
    "the base of a value made writable": base_made_writable,
    "the base of a view": base_of_a_view,
    "a conversion to an array": lambda w: np.asarray(w.plain).fill(0),
    "a memoryview": memory,
    "a raw buffer": raw_buffer,
    "the array interface": interface,
    "an iterator": iterator,
    "an item of a tensor": item_of_tensor,
    "an item of a tensor in place": item_in_place,
    # parameters, which know when they got a new value
    "assignment to a parameter": assign,
    "an optimiser's step": step,
    # results of ours
    "a gradient": lambda w: ag.grad(w.loss, w.x).value.fill(0),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_never_a_wrong_gradient(way):
    work = Work()
    try:
        way(work)
        found = work.gradients()
    except REFUSED:
        return
    for g, expected in zip(found, EXPECTED, strict=True):
        np.testing.assert_array_equal(g, expected)


@pytest.mark.parametrize("way", [assign, step])
def test_parameter_error_says_what_to_do(way):
    work = Work()
    way(work)
    match = r"'w' was given a new value after multiply float64\[2, 3\].*call backward\(\) before"
    with pytest.raises(GradientError, match=match):
        work.loss.backward()


def test_values_keep_their_meaning_while_read_only():
    x = ag.tensor(START.T[::-1])
    for array in (x.value, x.value[0], ag.tensor(1.5).value, ag.tensor(np.zeros((0, 3))).value):
        assert not array.flags.writeable
        assert array.copy().flags.writeable
    assert np.array_equal(x.value, START.T[::-1])
    assert (x.value.dtype, x.value.strides) == (x._value.dtype, x._value.strides)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint64", "bool"])
def test_values_of_every_dtype(dtype):
    array = np.array([[0, 1], [1, 0]], dtype)
    value = ag.tensor(array).value
    assert value.dtype == array.dtype
    assert np.array_equal(value, array)
    with pytest.raises(ValueError, match="read-only"):
        value[0, 0] = 1


class TestEntering:
    """What enters is copied, so the caller may go on using his array."""

    def test_caller_keeps_a_writable_array(self):
        work = Work()
        work.array[0, 0] = 7.0
        ag.Graph([n := ag.input("n", (2, 3))], {"y": n * 2.0}).run(n=work.array)
        work.array[0, 0] = 8.0

    def test_operand_that_is_an_array(self):
        array = START.copy()
        x = ag.tensor(START, requires_grad=True)
        loss = ag.sum(ag.matmul(x, array.T) * 2.0)
        expected = np.tile(2 * array.sum(0), (2, 1))
        array[:] = 0
        loss.backward()
        np.testing.assert_allclose(x.grad.value, expected)

    def test_seed(self):
        x = ag.tensor(START, requires_grad=True)
        seed = np.ones((2, 3))
        ag.identity(x).backward(seed)
        seed[:] = 7
        assert np.array_equal(x.grad.value, np.ones((2, 3)))

    def test_seed_of_a_leaf_itself(self):
        x = ag.tensor(START, requires_grad=True)
        seed = np.ones((2, 3))
        x.backward(seed)
        seed[:] = 7
        assert np.array_equal(x.grad.value, np.ones((2, 3)))

    def test_cotangent_and_tangent(self):
        seed = np.ones((2, 3))
        _, pullback = ag.vjp(ag.tanh, START)
        (g,) = pullback(seed)
        _, t = ag.jvp(lambda x: x * 1.0, (START,), (seed,))
        seed[:] = 7
        assert np.allclose(g.value, 1 - np.tanh(START) ** 2)
        assert np.array_equal(t.value, np.ones((2, 3)))

    def test_argument_of_grad(self):
        array = START.copy()
        _, pullback = ag.vjp(ag.tanh, array)
        array[:] = 0
        assert np.allclose(pullback(np.ones((2, 3)))[0].value, 1 - np.tanh(START) ** 2)

    def test_new_value_of_a_parameter(self):
        w = ag.parameter("w", np.zeros((2, 3)))
        array = START.copy()
        w.value = array
        array[:] = 0
        assert np.array_equal(w.value, START)

    def test_constant_in_a_graph(self):
        array = START.copy()
        x = ag.input("x", (2, 3))
        graph = ag.Graph([x], {"y": x + array})
        array[:] = 0
        assert np.array_equal(graph.run(x=np.zeros((2, 3)))["y"], START)


class TestGradientsDoNotShareMemory:
    def test_two_leaves(self):
        x, z = (ag.tensor(START, requires_grad=True) for _ in range(2))
        ag.sum(x + z).backward()
        ag.sum(x * 2.0).backward()
        assert np.array_equal(x.grad.value, np.full((2, 3), 3.0))
        assert np.array_equal(z.grad.value, np.full((2, 3), 1.0))

    def test_gradient_is_read_only(self):
        work = Work()
        work.gradients()
        with pytest.raises(ValueError, match="read-only"):
            work.x.grad.value[:] = 0

    def test_gradient_of_another_shape_cannot_be_set(self):
        x = ag.tensor(START, requires_grad=True)
        with pytest.raises(ShapeError, match=r"must be float64\[2, 3\], but is float64\[2\]"):
            x.grad = ag.tensor([1.0, 2.0])


class TestRuns:
    def test_outputs_are_read_only(self):
        w = ag.parameter("w", START)
        x = ag.input("x", (2, 3))
        outputs = {"w": ag.identity(w), "raw": w, "x": x, "y": x * w}
        result = ag.Graph([x], outputs).run(x=START)
        for array in result.values():
            with pytest.raises(ValueError, match="read-only"):
                array[:] = 0
        assert np.array_equal(w.value, START)

    def test_output_that_is_the_input_is_a_copy(self):
        x = ag.input("x", (2, 3))
        array = START.copy()
        result = ag.Graph([x], {"x": ag.swapaxes(x, 0, 1)}).run(x=array)
        array[:] = 0
        assert np.array_equal(result["x"], START.T)

    def test_watcher_cannot_change_what_is_watched(self):
        x = ag.input("x", (2, 3))
        graph = ag.Graph([x], {"y": ag.tanh(x) * 2.0})

        def watch(path, value):
            with pytest.raises(ValueError, match="read-only"):
                value[...] = 0

        array = START.copy()
        result = graph.run(x=array, watch=watch)
        assert np.array_equal(result["y"], np.tanh(START) * 2)
        array[0, 0] = 1.0  # the caller's array is as writable as before
