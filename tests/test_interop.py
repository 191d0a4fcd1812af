"""NumPy's own functions on tensors: right and differentiable, or refused; never a plain array."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

import autograd as ag
from autograd import interop
from autograd.errors import DTypeError, GradientError, GraphError, ShapeError
from autograd.interop import _FUNCTIONS, _PLAIN
from autograd.tree import flatten

RNG = np.random.default_rng(0)
SQUARE = RNG.uniform(0.5, 2.5, (3, 3)) + 3 * np.eye(3)
WIDE = RNG.uniform(0.5, 2.5, (2, 3))
ROW = RNG.uniform(0.5, 2.5, 3)
STACK = RNG.uniform(0.5, 2.5, (2, 2, 2))

# Every function that has a rule: how it is called. `x` is an array, or a tensor of it.
CALLS: dict[Any, list[tuple[Any, Any]]] = {
    np.sum: [
        (lambda x: np.sum(x), WIDE),
        (lambda x: np.sum(x, 0, None, None, True), WIDE),
        (lambda x: np.sum(x, axis=(0, 1), dtype="float64"), WIDE),
    ],
    np.mean: [(lambda x: np.mean(x, axis=-1, keepdims=True), WIDE)],
    np.prod: [(lambda x: np.prod(x, 0), WIDE)],
    np.max: [(lambda x: np.max(x, axis=1), WIDE)],
    np.amax: [(lambda x: np.amax(x), WIDE)],
    np.min: [(lambda x: np.min(x, axis=1, keepdims=True), WIDE)],
    np.amin: [(lambda x: np.amin(x), WIDE)],
    np.var: [(lambda x: np.var(x, 1, ddof=1), WIDE), (lambda x: np.var(x, correction=1), WIDE)],
    np.std: [(lambda x: np.std(x, axis=0), WIDE)],
    np.cumsum: [(lambda x: np.cumsum(x), WIDE), (lambda x: np.cumsum(x, axis=1), WIDE)],
    np.cumprod: [(lambda x: np.cumprod(x, 0), WIDE)],
    np.ptp: [(lambda x: np.ptp(x, 1), WIDE)],
    np.diff: [(lambda x: np.diff(x), ROW), (lambda x: np.diff(x, 2, axis=0), SQUARE)],
    np.clip: [
        (lambda x: np.clip(x, 1.0, 2.0), WIDE),
        (lambda x: np.clip(x, None, 2.0), WIDE),
    ],
    np.where: [(lambda x: np.where(WIDE > 1, x, 0.0), WIDE)],
    np.real: [(lambda x: np.real(x), WIDE)],
    np.copy: [(lambda x: np.copy(x), WIDE)],
    np.astype: [(lambda x: np.astype(x, np.float64), WIDE)],
    np.reshape: [(lambda x: np.reshape(x, (3, -1)), WIDE)],
    np.ravel: [(lambda x: np.ravel(x), WIDE)],
    np.transpose: [(lambda x: np.transpose(x), STACK), (lambda x: np.transpose(x, (1, 0)), WIDE)],
    np.permute_dims: [(lambda x: np.permute_dims(x, (1, 2, 0)), STACK)],
    np.matrix_transpose: [(lambda x: np.matrix_transpose(x), STACK)],
    np.moveaxis: [(lambda x: np.moveaxis(x, 0, -1), STACK)],
    np.swapaxes: [(lambda x: np.swapaxes(x, 0, 1), WIDE)],
    np.expand_dims: [(lambda x: np.expand_dims(x, 1), WIDE)],
    np.squeeze: [(lambda x: np.squeeze(x[:, :1]), WIDE)],
    np.broadcast_to: [(lambda x: np.broadcast_to(x, (2, 3)), ROW)],
    np.broadcast_arrays: [(lambda x: np.broadcast_arrays(x, ROW)[0], WIDE)],
    np.atleast_1d: [(lambda x: np.atleast_1d(x[0]), ROW)],
    np.atleast_2d: [(lambda x: np.atleast_2d(x), ROW)],
    np.atleast_3d: [
        (lambda x: np.atleast_3d(x), ROW),
        (lambda x: np.atleast_3d(x), WIDE),
        (lambda x: np.atleast_3d(x[0]), ROW),
    ],
    np.flip: [(lambda x: np.flip(x, 1), WIDE)],
    np.flipud: [(lambda x: np.flipud(x), WIDE)],
    np.fliplr: [(lambda x: np.fliplr(x), WIDE)],
    np.roll: [(lambda x: np.roll(x, 2, axis=1), WIDE)],
    np.tile: [(lambda x: np.tile(x, (2, 2)), ROW)],
    np.repeat: [(lambda x: np.repeat(x, [1, 0, 2], axis=1), WIDE)],
    np.pad: [(lambda x: np.pad(x, 1), ROW), (lambda x: np.pad(x, 1, constant_values=2), WIDE)],
    np.diag: [(lambda x: np.diag(x), ROW), (lambda x: np.diag(x, k=1), SQUARE)],
    np.diagonal: [(lambda x: np.diagonal(x, 1), WIDE)],
    np.trace: [(lambda x: np.trace(x), SQUARE)],
    np.tril: [(lambda x: np.tril(x, -1), SQUARE)],
    np.triu: [(lambda x: np.triu(x), SQUARE)],
    np.concatenate: [
        (lambda x: np.concatenate([x, WIDE], axis=1), WIDE),
        (lambda x: np.concatenate((WIDE, x), None), WIDE),
        (lambda x: np.concat([x, x]), WIDE),
    ],
    np.stack: [(lambda x: np.stack([x, ROW], axis=-1), ROW)],
    np.hstack: [(lambda x: np.hstack([x, ROW]), ROW), (lambda x: np.hstack([x, x]), WIDE)],
    np.vstack: [(lambda x: np.vstack([x, ROW]), WIDE), (lambda x: np.vstack([x, ROW]), ROW)],
    np.dstack: [(lambda x: np.dstack([x, ROW]), ROW)],
    np.column_stack: [(lambda x: np.column_stack([x, SQUARE]), ROW)],
    np.append: [(lambda x: np.append(x, 2.0), ROW), (lambda x: np.append(x, WIDE, 0), WIDE)],
    np.split: [(lambda x: np.split(x, 3, axis=1), WIDE)],
    np.array_split: [
        (lambda x: np.array_split(x, 2, axis=1), WIDE),
        (lambda x: np.array_split(x, [1]), WIDE),
    ],
    np.vsplit: [(lambda x: np.vsplit(x, 2), WIDE)],
    np.hsplit: [(lambda x: np.hsplit(x, [1]), WIDE), (lambda x: np.hsplit(x, 3), ROW)],
    np.take: [(lambda x: np.take(x, [2, 0, 2], axis=1), WIDE), (lambda x: np.take(x, 4), WIDE)],
    np.take_along_axis: [(lambda x: np.take_along_axis(x, np.array([[2], [0]]), 1), WIDE)],
    np.dot: [(lambda x: np.dot(x, [1.0, 2.0, 3.0]), WIDE)],
    np.vdot: [(lambda x: np.vdot(x, WIDE), WIDE)],
    np.inner: [(lambda x: np.inner(WIDE, x), SQUARE)],
    np.outer: [(lambda x: np.outer(x, [1.0, 2.0]), ROW)],
    np.tensordot: [(lambda x: np.tensordot(x, STACK, axes=([2], [0])), STACK)],
    np.einsum: [
        (lambda x: np.einsum("ij,kj->ik", x, SQUARE), WIDE),
        (lambda x: np.einsum(x, [0, 0], [0], optimize=True), SQUARE),
    ],
    np.linalg.solve: [(lambda x: np.linalg.solve(x, ROW), SQUARE)],
    np.linalg.inv: [(lambda x: np.linalg.inv(x), SQUARE)],
    np.linalg.det: [(lambda x: np.linalg.det(x), SQUARE)],
    np.linalg.slogdet: [(lambda x: np.linalg.slogdet(x)[1], SQUARE)],
    np.linalg.cholesky: [(lambda x: np.linalg.cholesky(x @ SQUARE.T), SQUARE)],
    np.linalg.norm: [
        (lambda x: np.linalg.norm(x), STACK),
        (lambda x: np.linalg.norm(x, ord="fro"), WIDE),
        (lambda x: np.linalg.norm(x, 1, axis=1, keepdims=True), WIDE),
        (lambda x: np.linalg.norm(x, np.inf), ROW),
    ],
    np.linalg.vector_norm: [(lambda x: np.linalg.vector_norm(x, axis=1), WIDE)],
    np.linalg.matrix_norm: [(lambda x: np.linalg.matrix_norm(x), STACK)],
    np.linalg.multi_dot: [(lambda x: np.linalg.multi_dot([x, SQUARE, ROW]), WIDE)],
    np.linalg.matmul: [(lambda x: np.linalg.matmul(x, SQUARE), WIDE)],
    np.linalg.outer: [(lambda x: np.linalg.outer(x, ROW), ROW)],
    np.linalg.vecdot: [(lambda x: np.linalg.vecdot(x, ROW), WIDE)],
    np.linalg.tensordot: [(lambda x: np.linalg.tensordot(x, SQUARE, axes=1), WIDE)],
    np.linalg.matrix_transpose: [(lambda x: np.linalg.matrix_transpose(x), STACK)],
    np.linalg.diagonal: [(lambda x: np.linalg.diagonal(x), STACK)],
    np.linalg.trace: [(lambda x: np.linalg.trace(x), STACK)],
}
if hasattr(np, "unstack"):  # NumPy 2.1
    CALLS[np.clip].append((lambda x: np.clip(x, min=1.0), WIDE))
    CALLS[np.unstack] = [(lambda x: np.unstack(x), WIDE)]
# Functions that give whole numbers, truth values, or constants.
WITHOUT_GRADIENT: dict[Any, Any] = {
    np.all: lambda x: np.all(x > 1, axis=0),
    np.any: lambda x: np.any(x > 1),
    np.argmax: lambda x: np.argmax(x, axis=1),
    np.argmin: lambda x: np.argmin(x),
    np.round: lambda x: np.round(x),
    np.around: lambda x: np.around(x),
    np.shape: lambda x: np.shape(x),
    np.ndim: lambda x: np.ndim(x),
    np.size: lambda x: (np.size(x), np.size(x, 1)),
    np.zeros_like: lambda x: np.zeros_like(x),
    np.empty_like: lambda x: np.empty_like(x).shape,
    np.ones_like: lambda x: np.ones_like(x, dtype=np.float32),
    np.full_like: lambda x: np.full_like(x, 2.5),
    np.iscomplexobj: lambda x: np.iscomplexobj(x),
    np.isrealobj: lambda x: np.isrealobj(x),
    np.result_type: lambda x: np.result_type(x, np.float32),
    np.can_cast: lambda x: np.can_cast(np.float64, np.float32),
    np.allclose: lambda x: np.allclose(x, WIDE),
    np.array_equal: lambda x: np.array_equal(WIDE, x),
    np.array_equiv: lambda x: np.array_equiv(WIDE, x),
    np.array2string: lambda x: np.array2string(x, precision=2),
    np.array_repr: lambda x: np.array_repr(x),
    np.array_str: lambda x: np.array_str(x),
}


def values(result: Any) -> list[Any]:
    leaves, _ = flatten(result)
    return [y.value if isinstance(y, ag.Node) else y for y in leaves]


def nodes_only(result: Any) -> bool:
    leaves, _ = flatten(result)
    return all(isinstance(y, ag.Node) for y in leaves)


def test_calls_cover_the_tables():
    assert set(CALLS) | set(WITHOUT_GRADIENT) == set(_FUNCTIONS) | set(_PLAIN)


FLAT = [
    pytest.param(fn, x, id=f"{func.__name__}-{i}")
    for func, calls in CALLS.items()
    for i, (fn, x) in enumerate(calls)
]


@pytest.mark.parametrize(("fn", "x"), FLAT)
def test_function_equals_numpy_and_has_the_right_gradient(fn: Any, x: Any):
    found = fn(ag.tensor(x, requires_grad=True))
    assert nodes_only(found)
    assert all(y.tracked for y in flatten(found)[0])
    for y, z in zip(values(found), values(fn(x)), strict=True):
        assert y.dtype == np.asarray(z).dtype
        np.testing.assert_allclose(y, z, rtol=1e-13)
    ag.check_grad(fn, (x,), order=1)


@pytest.mark.parametrize(("fn", "x"), FLAT)
def test_function_draws_on_virtual_nodes(fn: Any, x: Any):
    drawn = flatten(fn(ag.input("x", x.shape)))[0]
    assert [y.shape for y in drawn] == [np.shape(y) for y in values(fn(x))]
    assert all(y.virtual for y in drawn)


@pytest.mark.parametrize("func", WITHOUT_GRADIENT, ids=lambda func: func.__name__)
def test_functions_without_gradient(func: Any):
    fn = WITHOUT_GRADIENT[func]
    for y, z in zip(values(fn(ag.tensor(WIDE))), values(fn(WIDE)), strict=True):
        np.testing.assert_array_equal(y, z)


# Universal functions.

KINKED = {"floor", "ceil", "rint", "sign", "floor_divide", "trunc"}
UFUNCS = sorted({f.__name__: f for f in vars(np).values() if isinstance(f, np.ufunc)}.items())


@pytest.mark.parametrize(("name", "ufunc"), UFUNCS)
def test_ufunc_is_right_or_refused(name: str, ufunc: np.ufunc):
    low = 1.1 if name == "arccosh" else 0.1
    xs = [RNG.uniform(low, low + 0.8, (3, 3)) for _ in range(ufunc.nin)]
    tensors = [ag.tensor(x, requires_grad=True) for x in xs]
    try:
        found = ufunc(*tensors)
    except DTypeError as error:
        assert "no differentiable rule for numpy" in str(error)  # noqa: PT017 - either will do
        return
    assert nodes_only(found)
    for y, z in zip(values(found), values(ufunc(*xs)), strict=True):
        assert y.dtype == z.dtype
        np.testing.assert_allclose(y, z, rtol=1e-13)
    if flatten(found)[0][0].dtype.kind == "f" and name not in KINKED | {"divmod"}:
        ag.check_grad(lambda *args: ufunc(*args), tuple(xs), order=1)


def test_most_ufuncs_have_a_rule():
    """So that the test above cannot pass by refusing everything."""
    refused = []
    for name, ufunc in UFUNCS:
        x = np.full((3, 3), 1.5 if name == "arccosh" else 0.5)
        try:
            ufunc(*[ag.tensor(x)] * ufunc.nin)
        except DTypeError:
            refused.append(name)
    assert refused == [
        *("bitwise_and", "bitwise_count", "bitwise_or", "bitwise_xor", "cbrt", "copysign"),
        *("float_power", "fmax", "fmin", "fmod", "frexp", "gcd", "heaviside", "invert", "isnat"),
        *("lcm", "ldexp", "left_shift", "logaddexp2", "modf", "nextafter", "right_shift"),
        *("signbit", "spacing", "trunc"),
    ]


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: np.add.reduce(x),
        lambda x: np.add.reduce(x, axis=1, keepdims=True),
        lambda x: np.multiply.reduce(x, axis=None),
        lambda x: np.maximum.reduce(x, 1),
        lambda x: np.minimum.reduce(x),
        lambda x: np.add.accumulate(x),
        lambda x: np.multiply.accumulate(x, axis=1),
        lambda x: np.multiply.outer(x, ROW),
        lambda x: np.subtract.outer([1.0, 2.0], x),
        lambda x: np.add(x, 1, dtype=np.float64),
        lambda x: np.tanh(x, casting="same_kind", subok=True, where=True, out=None),
    ],
)
def test_methods_of_ufuncs(fn: Any):
    np.testing.assert_allclose(fn(ag.tensor(WIDE)).value, fn(WIDE), rtol=1e-14)
    ag.check_grad(fn, (WIDE,), order=1)


def test_truth_values_combine_with_bitwise_ufuncs():
    a, b = np.array([True, True, False]), np.array([True, False, False])
    for ufunc in (np.bitwise_and, np.bitwise_or, np.bitwise_xor):
        np.testing.assert_array_equal(ufunc(ag.tensor(a), b).value, ufunc(a, b))
    np.testing.assert_array_equal(np.invert(ag.tensor(a)).value, ~a)


# Operators between arrays, lists, NumPy scalars and tensors.


@pytest.mark.parametrize(
    "fn",
    [
        lambda t: WIDE + t,
        lambda t: WIDE @ t.T,
        lambda t: [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]] - t,
        lambda t: t * [1.0, 2.0, 3.0],
        lambda t: np.float64(2) ** t,
        lambda t: (WIDE, WIDE)[0] / t,
    ],
)
def test_mixed_operators_give_tensors(fn: Any):
    result = fn(ag.tensor(WIDE, requires_grad=True))
    assert isinstance(result, ag.Node)
    assert result.tracked
    np.testing.assert_allclose(result.value, fn(WIDE))


def test_comparison_with_an_array_is_elementwise():
    assert isinstance(ag.tensor(WIDE) == WIDE, ag.Node)
    assert (ag.tensor(WIDE) == WIDE).value.all()


@pytest.mark.parametrize(
    "fn",
    [
        lambda t: np.float64(2) * t,
        lambda t: t + np.float64(2),
        lambda t: np.add(t, 0.5),
        lambda t: np.sum(t),
        lambda t: np.linalg.norm(t),
        lambda t: np.clip(t, 0.0, 1.0),
        lambda t: np.var(t),
        lambda t: np.radians(t),
        lambda t: np.where(WIDE > 1, t, 0.0),
        lambda t: np.concatenate([t, t]),
        lambda t: np.einsum("ij,ij->i", t, t),
    ],
)
def test_float32_stays(fn: Any):
    x = WIDE.astype(np.float32)
    assert fn(ag.tensor(x)).dtype == np.float32
    assert ag.grad(lambda t: fn(t).sum())(x).dtype == np.float32


# Refusals.


def every_function() -> list[Any]:
    found = []
    for module in (np, np.linalg, np.fft):
        for name, function in sorted(vars(module).items()):
            if not name.startswith("_") and hasattr(function, "_implementation"):
                found.append(pytest.param(function, id=f"{module.__name__}.{name}"))
    return found


def called(function: Any, t: ag.Node) -> Any:
    """Return the function of as many tensors as it must be given."""
    for count in (1, 2, 3, 4):
        try:
            return function(*[t] * count)
        except TypeError as error:
            if "missing" not in str(error) or count == 4:
                raise


@pytest.mark.parametrize("function", every_function())
def test_no_function_silently_drops_the_gradient(function: Any):
    t = ag.tensor(SQUARE @ SQUARE.T, requires_grad=True)
    try:
        result = called(function, t)
    except DTypeError as error:
        if function not in _FUNCTIONS:
            assert "no differentiable rule for numpy." in str(error)  # noqa: PT017
    except (ag.LoopGradError, TypeError):  # called in a way that makes no sense
        assert function in _FUNCTIONS or "savez" in function.__name__
    else:
        assert function in _PLAIN or function in WITHOUT_GRADIENT or nodes_only(result)


REFUSED = [
    (lambda t: np.sort(t), r"no differentiable rule for numpy.sort; use .* or x.value if you want"),
    (lambda t: np.linalg.svd(t), "no differentiable rule for numpy.linalg.svd"),
    (lambda t: np.fft.fft(t), "no differentiable rule for numpy.fft.fft"),
    (lambda t: np.sum(t, where=t > 1), "numpy.sum with the argument where"),
    (lambda t: np.sum(t, initial=1.0), "numpy.sum with the argument initial"),
    (lambda t: np.add.reduce(t, initial=1.0), "numpy.add.reduce with the argument initial"),
    (lambda t: np.subtract.reduce(t), "no differentiable rule for numpy.subtract.reduce"),
    (lambda t: np.add.reduceat(t, [0]), "no differentiable rule for numpy.add.reduceat"),
    (lambda t: np.add(t, 1, where=WIDE > 1), "numpy.add with the argument where"),
    (lambda t: np.cbrt(t), "no differentiable rule for numpy.cbrt"),
    (lambda t: np.bitwise_and(t, 1), "no differentiable rule for numpy.bitwise_and"),
    (lambda t: np.round(t, 2), "numpy.round with the argument decimals"),
    (lambda t: np.where(t > 1), "numpy.where with one argument"),
    (lambda t: np.pad(t, 1, mode="edge"), "numpy.pad; use mode='constant'"),
    (lambda t: np.linalg.norm(t, 2), "numpy.linalg.norm with ord=2"),
    (lambda t: np.linalg.matrix_norm(t, ord=2), "numpy.linalg.matrix_norm with ord=2"),
    (lambda t: np.reshape(t, (3, 2), order="F"), "numpy.reshape with the argument order"),
    (lambda t: np.einsum("ij->", t, dtype="float32"), "numpy.einsum with the argument dtype"),
    (lambda t: np.tanh(t, out=np.zeros((2, 3))), "cannot write a tensor .* `array = array"),
    (lambda t: np.sum(t, out=np.zeros(())), "cannot write a tensor"),
    (lambda t: np.add.at(np.zeros(3), [0], t[0, 0]), "cannot write a tensor"),
    (lambda t: np.copyto(np.zeros((2, 3)), t), "no differentiable rule for numpy.copyto"),
]


@pytest.mark.parametrize(("fn", "match"), REFUSED)
@pytest.mark.parametrize("make", [ag.tensor, lambda x: ag.input("x", x.shape)])
def test_refusal_says_what_to_do(fn: Any, match: str, make: Any):
    with pytest.raises(DTypeError, match=match) as caught:
        fn(make(WIDE))
    assert isinstance(caught.value, TypeError)


def test_writing_into_an_array_is_refused():
    array = WIDE.copy()
    t = ag.tensor(WIDE, requires_grad=True)
    with pytest.raises(DTypeError, match="operator like `array -= tensor`"):
        array -= t
    with pytest.raises(GradientError, match="would drop its gradient silently"):
        array[:] = t
    with pytest.raises(GradientError, match="would drop its gradient silently"):
        array[0, :1] = t[0, 0]  # (array[0, 0] = t[0, 0] asks for a Python float: no refusal)
    np.testing.assert_array_equal(array, WIDE)


@pytest.mark.parametrize(
    "fn",
    [
        lambda t: np.asarray(t),
        lambda t: np.array([t, t]),
        lambda t: np.array([t[0, 0], t[0, 1]]),
        lambda t: WIDE.dot(t.T),
        lambda t: np.ascontiguousarray(t),
    ],
)
def test_conversion_of_a_tracked_tensor_is_refused(fn: Any):
    with pytest.raises(GradientError, match="would drop its gradient silently"):
        fn(ag.tensor(WIDE, requires_grad=True))


def test_conversion_of_a_constant_works():
    np.testing.assert_array_equal(np.asarray(ag.tensor(WIDE)), WIDE)
    with pytest.raises(GraphError, match="virtual"):
        np.asarray(ag.input("x", (2,)))


def test_functions_in_c_that_do_not_tell_their_signature(monkeypatch: pytest.MonkeyPatch):
    """As NumPy's before 2.4: the arguments are then those of the rule."""
    monkeypatch.setattr(interop, "_signature", lambda function, rule: inspect.signature(rule))
    t = ag.tensor(WIDE, requires_grad=True)
    np.testing.assert_array_equal(np.where(WIDE > 1, t, 0.0).value, np.where(WIDE > 1, WIDE, 0.0))
    np.testing.assert_array_equal(np.concatenate([t, t], axis=1).shape, (2, 6))


# Methods.


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("max", (1,)),
        ("min", ()),
        ("prod", (0,)),
        ("var", ()),
        ("std", (1,)),
        ("cumsum", (0,)),
        ("cumprod", ()),
        ("clip", (1.0, 2.0)),
        ("dot", (SQUARE,)),
        ("transpose", ()),
        ("transpose", (1, 0)),
        ("transpose", ((1, 0),)),
        ("swapaxes", (0, 1)),
        ("ravel", ()),
        ("flatten", ()),
        ("squeeze", ()),
        ("repeat", (2, 1)),
        ("take", ([0, 1], 1)),
        ("diagonal", (1,)),
        ("trace", ()),
    ],
)
def test_methods_are_those_of_arrays(method: str, args: Any):
    fn = lambda x: getattr(x, method)(*args)  # noqa: E731
    np.testing.assert_allclose(fn(ag.tensor(WIDE)).value, fn(WIDE), rtol=1e-14)
    assert fn(ag.input("x", WIDE.shape)).shape == fn(WIDE).shape
    ag.check_grad(fn, (WIDE,), order=1)


def test_methods_without_gradient():
    t = ag.tensor(WIDE)
    assert t.argmax().item() == WIDE.argmax()
    assert t.argmin(0).tolist() == WIDE.argmin(0).tolist()
    assert (t > 0).all().item()
    assert not (t < 0).any().item()
    assert t.round().tolist() == WIDE.round().tolist()
    assert math.isclose(float(t.sum()), WIDE.sum())


def test_a_number_is_formatted_as_one():
    assert f"{ag.tensor(2.5, requires_grad=True) * 2.0:.3f}" == "5.000"
    assert f"{ag.tensor([3])[0]:>4d}" == "   3"
    t = ag.tensor([1.0, 2.0])
    assert f"{t}" == str(t)
    with pytest.raises(ShapeError, match=r"the format '\.3f' of .* reduce it"):
        format(t, ".3f")
    with pytest.raises(GraphError, match=r"the format '\.3f' of input 'x' .* is virtual"):
        format(ag.input("x"), ".3f")


# Constants.


@pytest.mark.parametrize("like", [WIDE.astype(np.float32), np.arange(3)])
def test_constants(like: Any):
    x = ag.input("x", like.shape, like.dtype)
    for ours, theirs in ((ag.zeros_like, np.zeros_like), (ag.ones_like, np.ones_like)):
        for given in (like, x, ag.tensor(like)):
            assert ours(given).spec == x.spec
            np.testing.assert_array_equal(ours(given).value, theirs(like))
    np.testing.assert_array_equal(ag.full_like(like, 2).value, np.full_like(like, 2))
    assert ag.full_like(like, 2, "float64").dtype == np.float64


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("zeros", ((2, 3),)),
        ("ones", (4,)),
        ("ones", ((), "float32")),
        ("full", ((2,), 7)),
        ("full", ((2,), 0.5)),
        ("eye", (3,)),
        ("eye", (2, 3, 1)),
        ("arange", (4,)),
        ("arange", (1, 2, 0.25)),
        ("arange", (5.0, 1, -2)),
        ("linspace", (0, 1, 5)),
        ("linspace", (0, 1, 4, False)),
    ],
)
def test_constants_equal_those_of_numpy(name: str, args: Any):
    found, expected = getattr(ag, name)(*args), getattr(np, name)(*args)
    np.testing.assert_array_equal(found.value, expected)
    assert found.dtype == expected.dtype
    assert not found.tracked


def test_wrong_shapes_and_dtypes_of_constants():
    with pytest.raises(ShapeError, match="whole numbers >= 0"):
        ag.zeros((2, -1))
    with pytest.raises(DTypeError, match="is not a dtype"):
        ag.eye(2, dtype="nonsense")
    assert ag.arange(3, dtype="float32").dtype == np.float32
