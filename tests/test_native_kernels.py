"""Kernels of native code against NumPy: elementwise expressions, and reductions of them."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import autograd as ag
from autograd.execute.native import reductions, rules, softmax
from autograd.execute.native.elementwise import Expression, Step
from tests.native_kernels import WIDTHS, expression, mapped, of_rows, reduced

FLOATS = (np.float32, np.float64)
SHAPES = [(1,), (7,), (0,), (64,), (3, 5), (0, 4), (4, 33), (2, 3, 17), (5, 1), (1, 65)]
RTOL = {np.float32: 1e-5, np.float64: 1e-13}
rng = np.random.default_rng(11)


def normal(shape, dtype=np.float64):
    return rng.normal(size=shape).astype(dtype)


def one_op(op, arrays, dtype, **attrs):
    """Return what one op gives for arrays of one shape."""
    result = np.empty(np.broadcast_shapes(*(x.shape for x in arrays)), dtype)
    mapped(expression(arrays, (op, range(len(arrays)), dtype, attrs)), arrays, [result])
    return result


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_an_expression_with_several_results(dtype, shape, width):
    name = np.dtype(dtype).name
    x, bias = normal(shape, dtype), normal(shape[-1:], dtype)
    y, larger = np.empty(shape, dtype), np.empty(shape, bool)
    steps = [
        ("add", (0, 1), name),
        ("tanh", (2,), name),
        ("greater", (3, 1), "bool"),
        ("where", (4, 3, 1), name),
    ]
    mapped(expression([x, bias], *steps, results=(5, 4)), [x, bias], [y, larger], width)
    hidden = np.tanh(x + bias)
    np.testing.assert_array_equal(larger, hidden > bias)
    np.testing.assert_allclose(y, np.maximum(hidden, bias), rtol=RTOL[dtype])


@pytest.mark.parametrize("shape", [s for s in SHAPES if 0 not in s])
@pytest.mark.parametrize("dtype", FLOATS)
def test_arrays_with_any_strides(dtype, shape):
    name = np.dtype(dtype).name
    backwards = normal((*shape, 3), dtype)[..., 1][..., ::-1]
    column = normal((*shape[:-1], 1), dtype)
    turned = normal(shape[::-1], dtype).T
    wide = np.zeros((*shape, 2), dtype)
    e = expression([backwards, column, turned], ("subtract", (0, 1), name), ("add", (3, 2), name))
    mapped(e, [backwards, column, turned], [wide[..., 1]])
    np.testing.assert_array_equal(wide[..., 1], backwards - column + turned)
    assert not wide[..., 0].any()


def test_nothing_beside_a_result_is_touched():
    for n in range(1, 40):
        guarded = np.full(n + 20, 7.0, np.float32)
        x = normal(n, np.float32)
        mapped(expression([x], ("negative", (0,), "float32")), [x], [guarded[10:-10]])
        np.testing.assert_array_equal(guarded[10:-10], -x)
        assert np.all(guarded[[*range(10), *range(-10, 0)]] == 7)


def test_a_result_may_be_an_operand():
    x = normal((5, 37))
    before = x.copy()
    mapped(expression([x, x], ("multiply", (0, 1), "float64")), [x, x], [x])
    np.testing.assert_array_equal(x, before * before)


# Every op, against the library's own forward, with what is special among the numbers.

SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 0.5, np.inf, -np.inf, np.nan, 1e-3, 30.0, -30.0]
ATTRS = {
    "clip": {"low": -1.0, "high": 0.75},
    "leaky_relu": {"slope": 0.1},
    "elu": {"alpha": 1.5},
}
UNARY = [
    *["negative", "reciprocal", "square", "identity", "stop_gradient", "abs", "sign", "floor"],
    *["ceil", "round", "relu", "leaky_relu", "elu", "clip", "isnan", "isinf", "isfinite"],
    *["logical_not", *rules.FUNCTIONS],
]
BINARY = [
    *["add", "subtract", "multiply", "divide", "maximum", "minimum", "logaddexp"],
    *["exp_difference", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"],
    *["logical_and", "logical_or", "logical_xor"],
]


def test_every_rule_is_tested():
    assert {*UNARY, *BINARY, "where", "power", "gelu", "astype"} == set(rules.RULES)


def forward(op, *arrays, **attrs):
    with np.errstate(all="ignore"):
        return ag.op.OPS[op].forward(*arrays, **attrs)


def compare(op, arrays, **attrs):
    wanted = np.asarray(forward(op, *arrays, **attrs))
    got = one_op(op, arrays, str(wanted.dtype), **attrs)
    tolerance = 2e-6 if wanted.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(got, wanted, rtol=tolerance, err_msg=op)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", UNARY)
def test_unary_ops(op, dtype):
    x = np.concatenate([np.array(SPECIAL, dtype), 3 * normal(50, dtype)])
    compare(op, [x], **ATTRS.get(op, {}))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", BINARY)
def test_binary_ops(op, dtype):
    special = np.array(SPECIAL, dtype)
    a, b = (m.ravel() for m in np.meshgrid(special, special))
    compare(op, [a, b])


@pytest.mark.parametrize("approximate", [True, False])
def test_gelu(approximate):
    compare(
        "gelu", [np.concatenate([normal(50) * 4, [0.0, -0.0, np.nan]])], approximate=approximate
    )


@pytest.mark.parametrize("exponent", [-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0])
def test_powers(exponent):
    x = np.concatenate([SPECIAL, normal(20)])
    x = x[x != -np.inf]  # whose root is inf in some versions of NumPy, and NaN in others
    with np.errstate(all="ignore"):
        wanted = np.power(x, exponent)
    got = one_op("power", [x], "float64", exponent=exponent)
    np.testing.assert_allclose(got, wanted, rtol=1e-15)


def test_where_takes_numbers_as_true():
    c, a, b = np.array([0.0, 2.0, np.nan, -1.0]), normal(4), normal(4)
    np.testing.assert_array_equal(one_op("where", [c, a, b], "float64"), np.where(c, a, b))


@pytest.mark.parametrize("op", ["add", "subtract", "multiply", "maximum", "minimum", "less"])
def test_integers(op):
    a, b = rng.integers(-9, 9, 30), rng.integers(-9, 9, 30)
    compare(op, [a, b])


def test_dtypes_mix_as_in_numpy():
    bools, integers = rng.integers(0, 2, 20).astype(bool), rng.integers(-5, 5, 20)
    single, double = normal(20, np.float32), normal(20)
    for arrays in ([bools, double], [integers, single], [single, double], [bools, single]):
        compare("multiply", arrays)
    compare("exp", [integers])
    compare("divide", [integers, integers * 2 + 1])
    compare("less", [integers, single])


@pytest.mark.parametrize("source", ["bool", "int64", "float32", "float64"])
@pytest.mark.parametrize("target", ["bool", "float32", "float64"])
def test_casts(source, target):
    x = np.array([0, 1, 3, 0, 2]).astype(source)
    np.testing.assert_array_equal(one_op("astype", [x], target), x.astype(target))


@pytest.mark.parametrize(
    ("op", "arguments", "result", "attrs", "reason"),
    [
        ("arcsinh", ["float64"], "float64", {}, "op 'arcsinh' has no native rule"),
        ("add", ["float16", "float16"], "float16", {}, "op 'add' has no native rule for float16"),
        ("power", ["float64"], "float64", {"exponent": 2.7}, "a few constant exponents"),
        ("power", ["float64", "float64"], "float64", {}, "a few constant exponents"),
        ("astype", ["float64"], "int64", {}, "from float64 to int64"),
        ("add", ["bool", "bool"], "bool", {}, "no native rule for bool"),
        ("isnan", ["int64"], "bool", {}, "no native rule for int64"),
        ("less", ["bool", "bool"], "bool", {}, "no native rule for bool"),
        ("less", ["bool", "float64"], "bool", {}, ""),
        ("floor", ["int64"], "int64", {}, "no native rule for int64"),
        ("where", ["bool", "bool", "bool"], "bool", {}, ""),
        ("square", ["int64"], "int64", {}, ""),
    ],
)
def test_what_has_no_rule_says_so(op, arguments, result, attrs, reason):
    missing = rules.missing(op, arguments, result, attrs)
    assert reason in missing
    assert bool(reason) == bool(missing)
    steps = (Step(op, tuple(range(len(arguments))), result, attrs),)
    assert Expression(tuple(arguments), steps, (len(arguments),)).missing() == missing


# Reductions.


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("op", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_reductions_of_squares(dtype, op, width):
    for shape in [(1,), (7,), (130,), (3, 5), (4, 33), (2, 3, 17), (5, 1), (3, 700)]:
        x = normal(shape, dtype)
        squares = expression([x], ("square", (0,), np.dtype(dtype).name))
        function = getattr(np, op)
        for count in range(1, x.ndim + 1):
            inner = tuple(range(x.ndim - count, x.ndim))
            got = reduced(op, squares, [x], count, "inner", width)
            np.testing.assert_allclose(got, function(x * x, axis=inner), rtol=RTOL[dtype])
        for count in range(1, x.ndim):
            got = reduced(op, squares, [x], count, "outer", width)
            wanted = function(x * x, axis=tuple(range(count)))
            np.testing.assert_allclose(got, wanted, rtol=RTOL[dtype])


@pytest.mark.parametrize("over", ["inner", "outer"])
@pytest.mark.parametrize(
    "values", [[np.nan, 1.0], [np.inf, 1.0], [np.inf, -np.inf], [-np.inf, 2.0], [-0.0, -1.0]]
)
def test_reductions_of_special_numbers(values, over):
    x = np.tile(np.array(values), 50)
    x = x[:, None] if over == "outer" else x
    for op in ("sum", "max", "min"):
        same = expression([x], results=(0,))
        with np.errstate(invalid="ignore"):
            wanted = getattr(np, op)(x, axis=0)
        np.testing.assert_array_equal(reduced(op, same, [x], 1, over), wanted)


def test_the_sum_of_nothing_is_zero():
    x = np.empty((3, 0))
    same = expression([x], results=(0,))
    np.testing.assert_array_equal(reduced("sum", same, [x], 1, "inner"), np.zeros(3))


@pytest.mark.parametrize("n", [1000, 1_000_003])
def test_long_sums_are_as_exact_as_numpys(n):
    x = rng.uniform(size=n).astype(np.float32)
    exact = np.sum(x, dtype=np.float64)
    error = abs(reduced("sum", expression([x], results=(0,)), [x], 1, "inner") - exact)
    assert error <= max(abs(np.sum(x) - exact), np.spacing(np.float32(exact)))


def test_reductions_of_strided_and_spread_operands():
    x, column = normal((40, 6)).T, normal((6, 1))
    product = expression([x, column], ("multiply", (0, 1), "float64"))
    for over, axis in (("inner", 1), ("outer", 0)):
        got = reduced("sum", product, [x, column], 1, over)
        np.testing.assert_allclose(got, np.sum(x * column, axis=axis), rtol=1e-12)


def test_reductions_without_a_rule():
    assert reductions.missing("prod", "float64") == "op 'prod' has no native rule"
    assert reductions.missing("sum", "int64") == "op 'sum' has no native rule for int64"
    assert reductions.missing("sum", "float32") == ""


# softmax and its like.


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("op", softmax.OPS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_of_rows(dtype, op, width):
    attrs = {"keepdims": False} if op == "logsumexp" else {}
    for shape in [(1,), (7,), (3, 5), (4, 33), (2, 3, 17), (5, 1), (2, 700), (0, 4)]:
        for x in (10 * normal(shape, dtype), normal((*shape, 2), dtype)[..., ::-1, 0]):
            wanted = forward(op, x, axis=(x.ndim - 1,), **attrs)
            got = of_rows(op, x, width)
            np.testing.assert_allclose(got, wanted, rtol=20 * RTOL[dtype], atol=RTOL[dtype])


@pytest.mark.parametrize("op", softmax.OPS)
def test_softmax_of_special_numbers(op):
    inf, nan = np.inf, np.nan
    x = np.array([[0, -40, -inf], [-inf] * 3, [inf, 0, 1], [nan, 0, 1], [inf, inf, 0], [7, 7, 7]])
    attrs = {"keepdims": False} if op == "logsumexp" else {}
    np.testing.assert_allclose(of_rows(op, x), forward(op, x, axis=(1,), **attrs), rtol=1e-14)


def test_softmax_without_a_rule():
    assert softmax.missing("softmax", ["float64", "float64"]) == ""
    reason = "op 'softmax' has no native rule for int64, float64"
    assert softmax.missing("softmax", ["int64", "float64"]) == reason
