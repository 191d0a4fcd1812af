"""What each elementwise op computes on vectors: one entry an op, with NumPy's meaning.

A rule gets values of one type and returns one. Which type that is, `Kind` says: for most ops it is
that of the result, so that integers given to `exp` become float64 first, as in NumPy; for
comparisons it is the common type of the arguments; for logic it is bool. An op without a rule here
has no native form (see `missing`), and a plan leaves it to NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf, log, pi, sqrt
from typing import Any

from autograd.execute.native.functions import FUNCTIONS, apply
from autograd.execute.native.ir import F32, F64, I1, I64, Type, Value

TYPES: dict[str, Type] = {"float64": F64, "float32": F32, "int64": I64, "bool": I1}
"""The element types native code computes with, by NumPy's names."""


class Kind(Enum):
    """What the arguments of a rule are converted to."""

    RESULT = "the type of the result"
    COMMON = "the type that NumPy would give their sum"
    LOGIC = "bool"
    SELECT = "bool for the first, the type of the result for the others"
    FREE = "nothing"


@dataclass(frozen=True)
class Rule:
    """How to compute one op."""

    compute: Callable[..., Value]
    kind: Kind = Kind.RESULT
    integers: bool = False
    """Whether it is right for integers as well."""


def maximum(a: Value, b: Value) -> Value:
    """The larger one, NaN if either is."""
    larger = (a > b).where(a, b)  # b if either is NaN
    return a.is_nan().where(a, larger) if a.type.is_float else larger


def minimum(a: Value, b: Value) -> Value:
    """The smaller one, NaN if either is."""
    smaller = (a < b).where(a, b)
    return a.is_nan().where(a, smaller) if a.type.is_float else smaller


def _sign(x: Value) -> Value:
    one = x.constant(1)
    negative = (x < 0).where(-one, x)  # zeros and NaN stay what they are
    return (x > 0).where(one, negative)


def _magnitude(x: Value) -> Value:
    if x.type.is_float:
        return x.f.intrinsic("fabs", x)
    return (x < 0).where(-x, x)


def _clip(x: Value, *, low: float | None, high: float | None) -> Value:
    if low is not None:
        x = (x < low).where(x.constant(low), x)
    if high is not None:
        x = (x > high).where(x.constant(high), x)
    return x


def _leaky_relu(x: Value, *, slope: float) -> Value:
    return (x > 0).where(x, x * slope)


def _elu(x: Value, *, alpha: float) -> Value:
    return (x > 0).where(x, apply("expm1", (x > 0).where(x.constant(0), x)) * alpha)


def _gelu(x: Value, *, approximate: bool) -> Value:
    if not approximate:
        return x * 0.5 * apply("erfc", x * -sqrt(0.5))
    a, b = 2 * sqrt(2 / pi), 2 * sqrt(2 / pi) * 0.044715
    bounded = _clip(x, low=-30.0, high=30.0)
    return x * apply("sigmoid", bounded * (bounded * bounded * b + a))


def _log_add_exp(a: Value, b: Value) -> Value:
    apart = apply("log1p", apply("exp", -_magnitude(a - b)))
    return a.equals(b).where(a + log(2), maximum(a, b) + apart)  # inf - inf is NaN: they are equal


def _exp_difference(a: Value, b: Value) -> Value:
    return apply("exp", a - a.equals(-inf).where(a.constant(0), b))


def _power(x: Value, *, exponent: float) -> Value:
    """Return x to one of `_EXPONENTS`."""
    if exponent == 0.5:
        return apply("sqrt", x)
    factors = int(abs(exponent))
    y = x.constant(1)
    if factors:
        y = x * x if factors > 1 else x
        y = y * (y if factors == 4 else x) if factors > 2 else y
    return 1.0 / y if exponent < 0 else y


_EXPONENTS = (-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0)


def _rounding(name: str) -> Rule:
    return Rule(lambda x: x.f.intrinsic(name, x))


def _function(name: str) -> Rule:
    return Rule(lambda x: apply(name, x))


RULES: dict[str, Rule] = {
    "add": Rule(lambda a, b: a + b, integers=True),
    "subtract": Rule(lambda a, b: a - b, integers=True),
    "multiply": Rule(lambda a, b: a * b, integers=True),
    "negative": Rule(lambda x: -x, integers=True),
    "divide": Rule(lambda a, b: a / b),
    "reciprocal": Rule(lambda x: 1.0 / x),
    "square": Rule(lambda x: x * x, integers=True),
    "power": Rule(_power),
    "identity": Rule(lambda x: x, integers=True),
    "stop_gradient": Rule(lambda x: x, integers=True),
    "astype": Rule(lambda x, **_: x, integers=True),
    "equal": Rule(lambda a, b: a.equals(b), Kind.COMMON),
    "not_equal": Rule(lambda a, b: a.differs(b), Kind.COMMON),
    "less": Rule(lambda a, b: a < b, Kind.COMMON),
    "less_equal": Rule(lambda a, b: a <= b, Kind.COMMON),
    "greater": Rule(lambda a, b: a > b, Kind.COMMON),
    "greater_equal": Rule(lambda a, b: a >= b, Kind.COMMON),
    "logical_and": Rule(lambda a, b: a & b, Kind.LOGIC),
    "logical_or": Rule(lambda a, b: a | b, Kind.LOGIC),
    "logical_xor": Rule(lambda a, b: a ^ b, Kind.LOGIC),
    "logical_not": Rule(lambda x: ~x, Kind.LOGIC),
    "isnan": Rule(lambda x: x.is_nan(), Kind.COMMON),
    "isinf": Rule(lambda x: _magnitude(x).equals(inf), Kind.COMMON),
    "isfinite": Rule(lambda x: _magnitude(x) < inf, Kind.COMMON),
    "where": Rule(lambda c, a, b: c.where(a, b), Kind.SELECT, integers=True),
    "abs": Rule(_magnitude, integers=True),
    "sign": Rule(_sign, integers=True),
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "round": _rounding("roundeven"),
    "maximum": Rule(maximum, integers=True),
    "minimum": Rule(minimum, integers=True),
    "clip": Rule(_clip, integers=True),
    "relu": Rule(lambda x: (x < 0).where(x.constant(0), x), integers=True),
    "leaky_relu": Rule(_leaky_relu),
    "elu": Rule(_elu),
    "gelu": Rule(_gelu),
    "logaddexp": Rule(_log_add_exp),
    "exp_difference": Rule(_exp_difference),
    **{name: _function(name) for name in FUNCTIONS},
}

_COARSE = ("erf", "erfc")
_ON_FLOATS = ("isnan", "isinf", "isfinite")


def missing(op: str, arguments: Sequence[str], result: str, attrs: Mapping[str, Any]) -> str:
    """Say why an op has no native form for these element types and attributes, or return ""."""
    rule = RULES.get(op)
    if rule is None:
        return f"op '{op}' has no native rule"
    for dtype in (*arguments, result):
        if dtype not in TYPES:
            return f"op '{op}' has no native rule for {dtype}"
    if op == "power" and attrs.get("exponent") not in _EXPONENTS:
        return "op 'power' has a native rule for a few constant exponents only"
    if result == "float64" and (op in _COARSE or (op == "gelu" and not attrs["approximate"])):
        return f"op '{op}' is off by up to 6 units in the last place in native float64"
    is_float = result.startswith("float")
    if op == "astype":
        casts_down = result != "bool" and arguments[0].startswith("float") and not is_float
        return f"op 'astype' has no native rule from {arguments[0]} to {result}" * casts_down
    if rule.kind in (Kind.RESULT, Kind.SELECT):
        copies = op in ("where", "identity", "stop_gradient")
        if not (is_float or copies or (rule.integers and result == "int64")):
            return f"op '{op}' has no native rule for {result}"
    if op in _ON_FLOATS and not arguments[0].startswith("float"):
        return f"op '{op}' has no native rule for {arguments[0]}"
    if rule.kind is Kind.COMMON and set(arguments) == {"bool"}:
        return f"op '{op}' has no native rule for bool"
    return ""


def compute(op: str, arguments: Sequence[Value], result: Type, attrs: Mapping[str, Any]) -> Value:
    """Return what `op` gives for values that may have different types."""
    rule = RULES[op]
    if rule.kind is Kind.SELECT:
        first, *others = arguments
        return rule.compute(first.to(I1), *(x.to(result) for x in others), **attrs)
    if rule.kind is Kind.LOGIC:
        return rule.compute(*(x.to(I1) for x in arguments), **attrs)
    common = result if rule.kind is Kind.RESULT else _common([x.type.element for x in arguments])
    return rule.compute(*(x.to(common) for x in arguments), **attrs)


def _common(types: Sequence[Type]) -> Type:
    """Return the type NumPy gives the sum of values of these types."""
    present = {t.scalar for t in types}
    if "double" in present or present >= {"float", "i64"}:
        return F64
    return F32 if "float" in present else I64 if "i64" in present else I1
