"""exp, tanh, log and their like on whole vectors, without branches.

Errors, over dense samples of all numbers (tests/test_native_functions.py): at most 2 units in the
last place for float64 (erf 4, erfc 6) and 3 for float32, subnormal results included; NaN stays NaN,
infinities, overflow and signed zeros are as in C99. Nothing here depends on fused multiply-add:
where a product must be exact, one factor is a power of two or has few digits.

Argument reduction and the logarithm's series are those of fdlibm (Sun Microsystems 1993, e_exp.c,
e_log.c); polynomials interpolate at Chebyshev's nodes, computed with 60 digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, log, log2, nan

from autograd.execute.native.ir import F64, Type, Value
from autograd.ops import erf as _erf


@dataclass(frozen=True)
class Format:
    """What the functions need to know of a floating-point format."""

    mantissa: int
    """Bits behind the point."""
    bias: int
    overflow: float
    """exp of this and more is infinite."""
    underflow: float
    """exp of this and less is 0."""
    saturated: float
    """tanh of this and more is 1, and so is sigmoid of twice this."""
    tiny: float
    """The smallest normal number."""
    ln2: tuple[float, float]
    """log(2) as a number with few digits, so that small multiples are exact, and the rest."""
    log10_2: tuple[float, float]
    """log10(2) likewise."""
    exp: Sequence[float]
    """q with exp(r) = 1 + r + r*r*q(r) for |r| <= log(2)/2."""

    @property
    def round(self) -> float:
        """Adding this number rounds to whole numbers, which then are the lowest bits of the sum."""
        return 1.5 * 2.0**self.mantissa

    @property
    def root_half(self) -> int:
        """The bits of sqrt(1/2), where the range of a logarithm's mantissa begins."""
        return 0x3FE6A09E667F3BCD if self.mantissa == 52 else 0x3F3504F3


_FORMATS = {
    "double": Format(
        mantissa=52,
        bias=1023,
        overflow=710.0,
        underflow=-746.0,
        saturated=20.0,
        tiny=2.0**-1022,
        ln2=(0.6931471805592082, 7.371002565167799e-13),
        log10_2=(0.301029995663157, 8.241712586023572e-13),
        exp=(
            *(0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326136),
            *(0.0013888888888883748, 0.00019841269874820627, 2.4801587325547743e-05),
            *(2.7557255400206422e-06, 2.75572736431103e-07, 2.5105217004720745e-08),
            2.0914686968086876e-09,
        ),
    ),
    "float": Format(
        mantissa=23,
        bias=127,
        overflow=89.0,
        underflow=-104.0,
        saturated=10.0,
        tiny=2.0**-126,
        ln2=(0.693145751953125, 1.428606765330187e-06),
        log10_2=(0.301025390625, 4.605039066518657e-06),
        exp=(
            *(0.5, 0.1666666716337204, 0.04166646674275398, 0.00833331048488617),
            *(0.0013933649752289057, 0.00019890991097781807),
        ),
    ),
}

# log(1 + f) = f - f*f/2 + s * (f*f/2 + z*R(z)), where s = f / (2 + f), z = s*s  (float64)
_LOG_64 = (
    *(0.6666666666666666, 0.4000000000000088, 0.28571428570803614, 0.22222222391713917),
    *(0.18181795640132906, 0.15386239702814658, 0.13268773138656886, 0.13086626147840102),
)
# log(1 + f) = f - f*f/2 + f*f*f * P(f)  (float32)
_LOG_32 = (
    *(0.3333333134651184, -0.2499999701976776, 0.20000715553760529, -0.1666780263185501),
    *(0.14249058067798615, -0.12425687164068222, 0.11685419827699661),
    *(-0.11479733884334564, 0.06971611827611923),
)

# tanh(x) = x + x*z*P(z)/Q(z), where z = x*x, for |x| <= 5/8  (float64)
_TANH_P = (-1614.6876844170845, -99.28772310019186, -0.9643991794250523)
_TANH_Q = (4844.063053251255, 2235.4883906010045, 112.81167849163293, 1.0)


def polynomial(coefficients: Sequence[float], x: Value) -> Value:
    """Return c[0] + c[1]*x + ..., in the order of Estrin (1960), which waits least for results."""
    f = x.f
    terms = [x.constant(c) for c in coefficients]
    power = x
    while len(terms) > 1:
        pairs = [f.muladd(b, power, a) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
        power = power * power
    return terms[0]


def _at_most(x: Value, limit: float) -> Value:
    return (x > limit).where(x.constant(limit), x)  # a comparison with NaN is false: x stays NaN


def _at_least(x: Value, limit: float) -> Value:
    return (x < limit).where(x.constant(limit), x)


def _reduced(x: Value, by: float = 1.0) -> tuple[Value, Value]:
    """Return n and p with exp(by * x) = 2**n * (1 + p): n as bits of an exponent, p in +-0.42."""
    f, form = x.f, _FORMATS[x.type.scalar]
    shifted = f.muladd(x, by * 1.4426950408889634, form.round)
    n = shifted - form.round
    r = f.muladd(n, -form.ln2[0], x * by)  # exact
    rest = n * -form.ln2[1]
    p = _expm1_near_zero(r, rest)
    return shifted.bits() << form.mantissa, p


def _expm1_near_zero(r: Value, rest: Value) -> Value:
    """Return exp(r + rest) - 1 for |r| <= log(2)/2 and a tiny `rest`."""
    sum = r + rest
    q = polynomial(_FORMATS[r.type.scalar].exp, sum)
    return r + r.f.muladd(sum * sum, q, rest)


def _power_of_two(n: Value, type: Type, plus: Value | int = 0) -> Value:
    """Return 2 ** (n + plus) for `n` from `_reduced`."""
    form = _FORMATS[type.scalar]
    if isinstance(plus, int):
        plus = n.constant((form.bias + plus) << form.mantissa)
    return (n + plus).as_type(type)


def exp(x: Value) -> Value:
    """e to the power of x."""
    f, form = x.f, _FORMATS[x.type.scalar]
    n, p = _reduced(_at_least(_at_most(x, form.overflow), form.underflow))
    # The scale 2**n may be no normal number; so scale by 2**(n - 1) and 2, or 2**(n + 64) and
    # 2**-64.
    small = x < 0
    offsets = [n.constant((form.bias + plus) << form.mantissa) for plus in (64, -1)]
    scale = _power_of_two(n, x.type, small.where(*offsets))
    return f.muladd(p, scale, scale) * small.where(x.constant(2.0**-64), 2.0)


def exp2(x: Value) -> Value:
    """2 to the power of x."""
    f, form = x.f, _FORMATS[x.type.scalar]
    bounded = _at_least(_at_most(x, form.bias + 1.0), -form.bias - form.mantissa - 2.0)
    shifted = bounded + form.round
    r = (bounded - (shifted - form.round)) * log(2)
    p = f.muladd(r * r, polynomial(form.exp, r), r)
    n = shifted.bits() << form.mantissa
    small = x < 0
    offsets = [n.constant((form.bias + plus) << form.mantissa) for plus in (64, -1)]
    scale = _power_of_two(n, x.type, small.where(*offsets))
    return f.muladd(p, scale, scale) * small.where(x.constant(2.0**-64), 2.0)


def expm1(x: Value) -> Value:
    """exp(x) - 1, exact for small x too."""
    f, form = x.f, _FORMATS[x.type.scalar]
    # Below -2.2 * saturated it is -1 to the last digit.
    n, p = _reduced(_at_least(_at_most(x, form.overflow), -2.2 * form.saturated))
    half_scale = _power_of_two(n, x.type, -1)
    y = f.muladd(half_scale, p, half_scale - 0.5) * 2.0
    small = f.intrinsic("fabs", x) < 2.0 ** (-form.mantissa - 2)
    return small.where(x, y)


def sigmoid(x: Value) -> Value:
    """1 / (1 + exp(-x)), as exp(x) / (exp(x) + 1), which is exact in the lower tail too."""
    f, form = x.f, _FORMATS[x.type.scalar]
    n, p = _reduced(_at_least(_at_most(x, 2 * form.saturated), form.underflow))
    scale = _power_of_two(n, x.type, 64)
    e = f.muladd(p, scale, scale)
    small_e = e * 2.0**-64
    below = small_e + 1.0
    y = small_e / below
    if x.type.scalar == "float":
        return y
    # What rounding took from e and from 1 + e comes back; 1 / (1 + e) is 1 - y.
    lost = f.muladd(p, scale, scale - e) * 2.0**-64
    lost_below = (x < 0).where(small_e - (below - 1.0), 0.0)
    return f.muladd(lost - y * (lost + lost_below), 1.0 - y, y)


def tanh(x: Value) -> Value:
    """1 - 2 / (exp(2 |x|) + 1) beyond 5/8, with the sign of x.

    Nearer to 0 it is (e - 1) / (e + 1) in float32; in float64 x + x*z*P(z)/Q(z) with z = x*x, which
    is more exact (Cephes, Moshier 1989).
    """
    f, form = x.f, _FORMATS[x.type.scalar]
    magnitude = _at_most(f.intrinsic("fabs", x), form.saturated)
    n, p = _reduced(magnitude, by=2.0)
    scale = _power_of_two(n, x.type)
    base, above = x.constant(0), f.muladd(scale, p, scale - 1.0)
    below = f.muladd(scale, p, scale + 1.0)
    far = magnitude > 0.625
    if x.type.scalar == "double":
        z = magnitude * magnitude
        base, near_below = magnitude, polynomial(_TANH_Q, z)
        above = magnitude * z * polynomial(_TANH_P, z)
        below = far.where(below, near_below)
    y = far.where(x.constant(1), base) + far.where(x.constant(-2), above) / below
    return f.intrinsic("copysign", y, x)


def _split(x: Value) -> tuple[Value, Value]:
    """Return n as integers, and m as floats in [sqrt(1/2), sqrt(2)), with x = 2**n * m."""
    form = _FORMATS[x.type.scalar]
    bits = x.bits() - form.root_half
    fraction = (bits & ((1 << form.mantissa) - 1)) + form.root_half
    return bits >> form.mantissa, fraction.as_type(x.type)


def _whole(n: Value, type: Type) -> Value:
    """Return small integers as floats (not all machines can convert vectors of 64-bit integers)."""
    form = _FORMATS[type.scalar]
    exponent = form.bias + form.mantissa
    bits = (exponent << form.mantissa) + (1 << (form.mantissa - 1))  # those of `form.round`
    return (n + bits).as_type(type) - form.round


def _log_near_one(d: Value) -> Value:
    """Return log(1 + d) - d for 1 + d in [sqrt(1/2), sqrt(2))."""
    f = d.f
    half_square = d * d * 0.5
    if d.type.scalar == "float":
        return f.muladd(d * d * d, polynomial(_LOG_32, d), -half_square)
    s = d / (d + 2.0)
    z = s * s
    return f.muladd(s, f.muladd(z, polynomial(_LOG_64, z), half_square), -half_square)


def _log_edges(x: Value, inside: Value) -> Value:
    """Return `inside` for x in (0, inf), and a logarithm's values at and beyond the edges."""
    below = x.equals(0).where(x.constant(-inf), nan)
    return (x > 0).where((x < inf).where(inside, x), below)


def _log_parts(x: Value) -> tuple[Value, Value, Value]:
    """Return n, d and c with log(x) = n * log(2) + d + c, for x > 0."""
    form = _FORMATS[x.type.scalar]
    subnormal = x < form.tiny
    digits = form.mantissa + 2
    n, m = _split(subnormal.where(x * 2.0**digits, x))
    n = n - subnormal.where(n.constant(digits), 0)
    d = m - 1.0
    return _whole(n, x.type), d, _log_near_one(d)


def log_(x: Value) -> Value:
    """The natural logarithm."""
    f, form = x.f, _FORMATS[x.type.scalar]
    n, d, c = _log_parts(x)
    y = f.muladd(n, form.ln2[0], d + f.muladd(n, form.ln2[1], c))
    return _log_edges(x, y)


def log2_(x: Value) -> Value:
    """The logarithm to base 2; exact for powers of two."""
    f = x.f
    n, d, c = _log_parts(x)
    return _log_edges(x, f.muladd(d + c, log2(2.718281828459045), n))


def log10_(x: Value) -> Value:
    """The logarithm to base 10."""
    f, form = x.f, _FORMATS[x.type.scalar]
    n, d, c = _log_parts(x)
    y = f.muladd(d + c, 0.4342944819032518, n * form.log10_2[1])
    return _log_edges(x, f.muladd(n, form.log10_2[0], y))


def log1p(x: Value) -> Value:
    """log(1 + x), exact for small x too."""
    f, form = x.f, _FORMATS[x.type.scalar]
    n, m = _split(x + 1.0)
    # 1 + x is rounded; x / 2**n - (1 - 1 / 2**n) is what its mantissa had to be, minus one.
    scale = ((form.bias - n) << form.mantissa).as_type(x.type)
    d = (n < form.mantissa + 8).where(f.muladd(x, scale, scale - 1.0), m - 1.0)
    n = _whole(n, x.type)
    y = f.muladd(n, form.ln2[0], d + f.muladd(n, form.ln2[1], _log_near_one(d)))
    return x.equals(0).where(x, _log_edges(x + 1.0, y))


def softplus(x: Value) -> Value:
    """log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|))."""
    positive = (x < 0).where(x.constant(0), x)
    return positive + log1p(exp(-x.f.intrinsic("fabs", x)))


def erf(x: Value) -> Value:
    """The error function (see `autograd.ops.erf`), computed in float64."""
    double = x.to(F64)
    magnitude = x.f.intrinsic("fabs", double)
    far = x.f.intrinsic("copysign", 1.0 - _erfc_far(magnitude), double)
    return (magnitude < 0.5).where(_erf_near(double), far).to(x.type)


def erfc(x: Value) -> Value:
    """1 - erf(x), exact for large x too, computed in float64."""
    double = x.to(F64)
    magnitude = x.f.intrinsic("fabs", double)
    far = _erfc_far(magnitude)
    tail = (double < 0).where(2.0 - far, far)
    return (magnitude < 0.5).where(1.0 - _erf_near(double), tail).to(x.type)


def _erf_near(x: Value) -> Value:
    return x * polynomial(_erf.SERIES, x * x)


def _erfc_far(x: Value) -> Value:
    """Return erfc(x) for x >= 1/2 (NaN for NaN)."""
    f = x.f
    x = _at_most(x, 28.0)
    w = 1.0 / (x + 3.0)
    # The square is rounded, which exp would magnify: split x so that one part's square is exact.
    coarse = f.intrinsic("floor", x * 16.0) * 0.0625
    decay = exp(-coarse * coarse) * exp((coarse - x) * (coarse + x))
    return w * polynomial(_erf.TAIL, w * (434.0 / 55.0) - 69.0 / 55.0) * decay


def square_root(x: Value) -> Value:
    """The square root, rounded correctly."""
    return x.f.intrinsic("sqrt", x)


FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    "exp": exp,
    "exp2": exp2,
    "expm1": expm1,
    "log": log_,
    "log2": log2_,
    "log10": log10_,
    "log1p": log1p,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softplus": softplus,
    "erf": erf,
    "erfc": erfc,
    "sqrt": square_root,
}


def apply(name: str, x: Value) -> Value:
    """Return a function of `x`, written once a module and inlined wherever it is used."""
    module = x.f.module
    own = f"{name}.{x.type.mangled}"
    if not module.has(own):
        f = module.function(own, x.type, [x.type], inlined=True)
        f.give(FUNCTIONS[name](f.arguments[0]))
    return x.f.call(x.type, own, x)
