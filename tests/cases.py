"""The table of op cases: one row an op and way of calling it. `tests/test_ops.py` walks it.

A row gives the function to call, NumPy's equivalent, and samples: functions from a random
generator to the arrays to call it on. Float inputs are the ones differentiated. Samples of
functions with kinks, ties or edges stay at least 1e-3 away from them, because differences across
a kink check nothing; `tests/test_conventions.py` tests the kinks themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import autograd as ag
from autograd.errors import DTypeError, GraphError, ShapeError
from autograd.ops.explog import exp_difference
from autograd.ops.reduce import _count

Sample = Callable[[np.random.Generator], tuple[Any, ...]]


@dataclass(frozen=True)
class Case:
    """One row: `fn` on tensors, virtual nodes or arrays must equal `like` on arrays."""

    op: str
    """The name in OPS of the op that this row is about; `fn` must apply it."""
    fn: Callable[..., Any]
    """Takes the sample's arrays (or nodes of them) only, so attrs are inside: `lambda x: ...`."""
    like: Callable[..., Any]
    """What NumPy computes. Returns a tuple where `fn` does."""
    samples: tuple[Sample, ...]
    differentiable: bool = True
    """False where no input has a gradient, or it is zero everywhere it exists."""
    order: int = 2
    """Up to which derivative the row is checked."""
    forward_tolerance: float = 1e-12
    """Relative to the largest element of the result, float64."""
    tolerance: float = 1e-6
    """Of the derivatives, relative, against central differences."""
    label: str = ""
    """Tells rows of one op apart."""

    def __str__(self) -> str:
        return f"{self.op}-{self.label}" if self.label else self.op


@dataclass(frozen=True)
class Wrong:
    """One row of misuse: `fn` on the arrays of `sample`, eager and drawn, raises `error`."""

    op: str
    fn: Callable[..., Any]
    sample: Sample
    error: type[Exception]
    match: str

    def __str__(self) -> str:
        return f"{self.op}-{self.match[:40]}"


Shape = tuple[int, ...]


def floats(
    *shapes: Shape, low: float = -2.0, high: float = 2.0, away: tuple[float, ...] = ()
) -> Sample:
    """Return a sample of float64 arrays in [low, high), no element within 0.01 of `away`."""

    def sample(rng: np.random.Generator) -> tuple[Any, ...]:
        arrays = []
        for shape in shapes:
            x = np.asarray(rng.uniform(low, high, shape))
            for kink in away:
                x = np.where(abs(x - kink) < 0.01, kink + 0.02, x)
            arrays.append(x)
        return tuple(arrays)

    return sample


def distinct(*shapes: Shape, low: float = -2.0, high: float = 2.0) -> Sample:
    """Return a sample of float64 arrays whose elements, over all arrays, are far from equal."""

    def sample(rng: np.random.Generator) -> tuple[Any, ...]:
        sizes = [int(np.prod(shape)) for shape in shapes]
        values = rng.permutation(np.linspace(low, high, sum(sizes)))
        parts = np.split(values, np.cumsum(sizes)[:-1])
        return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))

    return sample


def integers(*shapes: Shape, low: int = -5, high: int = 6) -> Sample:
    """Return a sample of int64 arrays in [low, high)."""
    return lambda rng: tuple(np.asarray(rng.integers(low, high, shape)) for shape in shapes)


def bools(*shapes: Shape) -> Sample:
    """Return a sample of bool arrays."""
    return lambda rng: tuple(np.asarray(rng.integers(0, 2, shape) == 1) for shape in shapes)


def exactly(*values: Any) -> Sample:
    """Return a sample of copies of these arrays."""
    return lambda rng: tuple(np.array(value) for value in values)


def beside(*samples: Sample) -> Sample:
    """Return the sample of all arrays of several samples, in order."""
    return lambda rng: tuple(x for sample in samples for x in sample(rng))


# The shapes every elementwise op must take: 0-d, a row, empty, several axes.
SHAPES: tuple[Shape, ...] = ((), (1, 4), (0, 3), (2, 3, 2))
# And pairs that broadcast: equal, both ways, leading ones, a scalar, empty.
PAIRS: tuple[tuple[Shape, Shape], ...] = (
    ((), ()),
    ((1, 4), (1, 4)),
    ((3, 1), (1, 4)),
    ((2, 3), (3,)),
    ((), (2, 2)),
    ((0, 3), (1, 3)),
)

CASES: list[Case] = []
WRONG: list[Wrong] = []


def unary(
    op: str,
    fn: Callable[..., Any],
    like: Callable[..., Any],
    *,
    low: float = -2.0,
    high: float = 2.0,
    away: tuple[float, ...] = (),
    **fields: Any,
) -> None:
    """Add a row for an elementwise function of one argument, in all SHAPES."""
    samples = tuple(floats(shape, low=low, high=high, away=away) for shape in SHAPES)
    CASES.append(Case(op, fn, like, samples, **fields))


def binary(
    op: str,
    fn: Callable[..., Any],
    like: Callable[..., Any],
    *,
    sample: Callable[..., Sample] = floats,
    low: float = -2.0,
    high: float = 2.0,
    **fields: Any,
) -> None:
    """Add a row for an elementwise function of two arguments, in all PAIRS of shapes."""
    samples = tuple(sample(*pair, low=low, high=high) for pair in PAIRS)
    CASES.append(Case(op, fn, like, samples, **fields))


def each(function: Callable[[float], float]) -> Callable[[Any], Any]:
    """Return a function of a number as one of float64 arrays."""
    return lambda x: np.reshape([function(v) for v in np.ravel(x).tolist()], x.shape) + 0.0


# Arithmetic.

binary("add", ag.add, np.add)
binary("subtract", ag.subtract, np.subtract)
binary("multiply", ag.multiply, np.multiply)
binary("divide", ag.divide, np.divide, low=0.5)
binary("floor_divide", ag.floor_divide, np.floor_divide, low=0.5, differentiable=False)
CASES.append(
    Case(
        "remainder",
        ag.remainder,
        np.remainder,
        tuple(beside(floats(a, low=3.1, high=3.9), floats(b, low=1.1, high=1.4)) for a, b in PAIRS),
    )
)
unary("negative", ag.negative, np.negative)
unary("reciprocal", ag.reciprocal, lambda x: 1 / x, low=0.5)
unary("square", ag.square, np.square)
unary("sqrt", ag.sqrt, np.sqrt, low=0.3)
binary("power", ag.power, np.power, low=0.3)
for exponent in (0, 1, 2, 3, 0.5, -1.5):
    unary(
        "power",
        lambda x, e=exponent: x**e,
        lambda x, e=exponent: x**e,
        low=0.3,
        label=f"to the {exponent}",
        differentiable=exponent != 0,
    )
unary("power", lambda x: 3.0**x, lambda x: 3.0**x, label="of a number")
unary("identity", ag.identity, lambda x: x)
unary("stop_gradient", ag.stop_gradient, lambda x: x, differentiable=False)

# Exponentials and logarithms.

unary("exp", ag.exp, np.exp)
unary("exp2", ag.exp2, np.exp2)
unary("expm1", ag.expm1, np.expm1)
unary("log", ag.log, np.log, low=0.3)
unary("log2", ag.log2, np.log2, low=0.3)
unary("log10", ag.log10, np.log10, low=0.3)
unary("log1p", ag.log1p, np.log1p, low=-0.7)
binary("logaddexp", ag.logaddexp, np.logaddexp)
binary("exp_difference", exp_difference, lambda a, b: np.exp(a - b))

# Trigonometric and hyperbolic functions.

unary("sin", ag.sin, np.sin)
unary("cos", ag.cos, np.cos)
unary("tan", ag.tan, np.tan, low=-1.2, high=1.2)
unary("arcsin", ag.arcsin, np.arcsin, low=-0.7, high=0.7)
unary("arccos", ag.arccos, np.arccos, low=-0.7, high=0.7)
unary("arctan", ag.arctan, np.arctan)
binary("arctan2", ag.arctan2, np.arctan2, low=0.5)
binary("hypot", ag.hypot, np.hypot, low=0.5)
unary("sinh", ag.sinh, np.sinh)
unary("cosh", ag.cosh, np.cosh)
unary("tanh", ag.tanh, np.tanh)
unary("arcsinh", ag.arcsinh, np.arcsinh)
unary("arccosh", ag.arccosh, np.arccosh, low=1.5, high=3.0)
unary("arctanh", ag.arctanh, np.arctanh, low=-0.7, high=0.7)

# Activations.

unary("sigmoid", ag.sigmoid, lambda x: 1 / (1 + np.exp(-x)))
unary("softplus", ag.softplus, lambda x: np.log(1 + np.exp(x)))
unary("softplus", ag.log_sigmoid, lambda x: -np.log(1 + np.exp(-x)), label="log_sigmoid")
unary("relu", ag.relu, lambda x: np.maximum(x, 0), low=-0.9, high=1.1, away=(0.0,))
unary(
    "leaky_relu",
    lambda x: ag.leaky_relu(x, 0.1),
    lambda x: np.where(x > 0, x, 0.1 * x),
    away=(0.0,),
)
unary(
    "elu",
    lambda x: ag.elu(x, 1.5),
    lambda x: np.where(x > 0, x, 1.5 * (np.exp(x) - 1)),
    away=(0.0,),
)
unary("sigmoid", ag.silu, lambda x: x / (1 + np.exp(-x)), label="silu")
unary("erf", ag.erf, each(math.erf))
unary("erfc", ag.erfc, each(math.erfc))
unary("gelu", ag.gelu, lambda x: x * (1 + each(math.erf)(x / 2**0.5)) / 2)
unary(
    "gelu",
    lambda x: ag.gelu(x, "tanh"),
    lambda x: x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2,
    label="tanh",
)

# Piecewise functions.

unary("abs", ag.abs, np.abs, away=(0.0,))
unary("sign", ag.sign, np.sign, differentiable=False)
unary("floor", ag.floor, np.floor, differentiable=False)
unary("ceil", ag.ceil, np.ceil, differentiable=False)
unary("round", ag.round, np.round, differentiable=False)
binary("maximum", ag.maximum, np.maximum, sample=distinct)
binary("minimum", ag.minimum, np.minimum, sample=distinct)
edges = (-1.0, 0.5)
unary("clip", lambda x: ag.clip(x, *edges), lambda x: np.clip(x, *edges), away=edges)
unary("clip", lambda x: ag.clip(x, 0.5), lambda x: np.maximum(x, 0.5), away=edges, label="low")
unary(
    "clip", lambda x: ag.clip(x, high=0.5), lambda x: np.minimum(x, 0.5), away=edges, label="high"
)
CASES.append(
    Case(
        "maximum",
        lambda x, low, high: ag.clip(x, low, high + 2),
        lambda x, low, high: np.clip(x, low, high + 2),
        (distinct((2, 3), (3,), (3,), low=-1.0, high=1.2),),
        label="clip to tensors",
    )
)

# Comparisons, logic and tests.

for compare in (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal):
    name = compare.__name__
    halves = tuple(integers(*pair, low=-1, high=2) for pair in PAIRS)
    CASES.append(Case(name, getattr(ag, name), compare, halves, differentiable=False))
    binary(name, getattr(ag, name), compare, differentiable=False, label="floats")
for combine in (np.logical_and, np.logical_or, np.logical_xor):
    name = combine.__name__
    truths = tuple(bools(*pair) for pair in PAIRS)
    CASES.append(Case(name, getattr(ag, name), combine, truths, differentiable=False))
CASES.append(
    Case("logical_not", ag.logical_not, np.logical_not, (bools((2, 3)),), differentiable=False)
)
odd = [[np.nan, 1.0], [np.inf, -np.inf]]
for is_it in (np.isnan, np.isinf, np.isfinite):
    name = is_it.__name__
    CASES.append(Case(name, getattr(ag, name), is_it, (exactly(odd),), differentiable=False))
CASES.append(
    Case(
        "where",
        ag.where,
        np.where,
        (
            beside(bools(()), floats((), ())),
            beside(bools((3, 1)), floats((1, 4), ())),
            beside(bools((4,)), floats((), (2, 4))),
            beside(bools((1, 3)), floats((0, 3), (3,))),
        ),
    )
)

# Reductions. Shapes and axes: all, one, several, one counted from the end, kept.

AXES: tuple[tuple[Shape, Any, bool], ...] = (
    ((), None, False),
    ((4,), 0, False),
    ((1, 4), None, True),
    ((2, 3, 2), (0, 2), False),
    ((2, 3, 2), 1, True),
    ((2, 3, 2), -1, False),
)
EMPTY: tuple[tuple[Shape, Any, bool], ...] = (((0, 3), 0, False), ((0, 3), 1, False))


def reduction(
    op: str,
    fn: Callable[..., Any],
    like: Callable[..., Any],
    *,
    sample: Callable[..., Sample] = floats,
    empty: bool = True,
    **fields: Any,
) -> None:
    """Add a row for each shape and axis of AXES, and the EMPTY ones for ops that take them."""
    label = fields.pop("label", "")
    for shape, axis, keepdims in (*AXES, *(EMPTY if empty else ())):
        kept = {"axis": axis, "keepdims": keepdims}
        CASES.append(
            Case(
                op,
                lambda x, kept=kept: fn(x, **kept),
                lambda x, kept=kept: like(x, **kept),
                (sample(shape),),
                label=f"{label} {shape} over {axis}{' kept' if keepdims else ''}".strip(),
                **fields,
            )
        )


def all_axes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return NumPy's `function` of one axis for any `axis`, by putting the axes into one."""

    def reduced(x: Any, axis: Any, keepdims: bool) -> Any:
        axes = range(x.ndim) if axis is None else np.atleast_1d(axis) % max(x.ndim, 1)
        kept = [i for i in range(x.ndim) if i not in axes]
        together = math.prod(x.shape[i] for i in axes)
        lengths = [*[x.shape[i] for i in kept], together]
        flat = np.moveaxis(x, kept, range(len(kept))).reshape(lengths)
        shape = [1 if i in axes else n for i, n in enumerate(x.shape)]
        y = function(flat)
        return np.reshape(y, shape) if keepdims else y

    return reduced


def log_sum_exp(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


reduction("sum", ag.sum, np.sum)
reduction("mean", ag.mean, np.mean, empty=False)
reduction("count", ag.var, np.var, empty=False, label="var")
reduction("prod", ag.prod, np.prod)
reduction("max", ag.max, np.max, sample=distinct, empty=False)
reduction("min", ag.min, np.min, sample=distinct, empty=False)
reduction("norm", ag.norm, all_axes(lambda x: np.sqrt(np.sum(x * x, -1))))
reduction("logsumexp", ag.logsumexp, log_sum_exp, empty=False)
reduction("any", ag.any, np.any, sample=bools, differentiable=False)
reduction("all", ag.all, np.all, sample=bools, differentiable=False)
for shape, axis, keepdims in (((3, 4), 0, False), ((2, 3, 2), (0, 1), True)):
    CASES.append(
        Case(
            "norm",
            lambda x, a=axis, k=keepdims: ag.std(x, a, k, correction=1),
            lambda x, a=axis, k=keepdims: np.std(x, axis=a, keepdims=k, ddof=1),
            (floats(shape),),
            label=f"std over {axis}",
        )
    )
CASES += [
    Case("count", lambda x: _count(x, axis=(0, 2)), lambda x: np.asarray(6.0, x.dtype),
         (floats((2, 5, 3)),), differentiable=False),
    Case("abs", lambda x: ag.norm(x, 0, ord=1), lambda x: np.abs(x).sum(0),
         (floats((3, 2), away=(0.0,)),), label="norm of order 1"),
    Case("max", lambda x: ag.norm(x, 1, ord=np.inf), lambda x: np.abs(x).max(1),
         (distinct((3, 2), low=0.5),), label="norm of order inf"),
    Case("prod", lambda x: ag.prod(x, 0), lambda x: x.prod(0),
         (exactly([[6.0, 0.0], [0.0, 1.0], [2.0, 3.0]]),), label="with zeros"),
    Case("sum", ag.sum, np.sum, (integers((2, 3)), bools((3,))), differentiable=False,
         label="integers"),
]  # fmt: skip
for name in ("argmax", "argmin"):
    for shape, axis, keepdims in (
        ((), None, False),
        ((4,), 0, False),
        ((2, 3), None, True),
        ((2, 3), None, False),
        ((2, 3), -1, True),
    ):
        CASES.append(
            Case(
                name,
                lambda x, n=name, a=axis, k=keepdims: getattr(ag, n)(x, a, k),
                lambda x, n=name, a=axis, k=keepdims: getattr(np, n)(x, axis=a, keepdims=k),
                (distinct(shape),),
                differentiable=False,
                label=f"{shape} over {axis}{' kept' if keepdims else ''}",
            )
        )
for name in ("cumsum", "cumprod"):
    for shape, axis in (((5,), 0), ((2, 3), None), ((2, 3, 2), 1), ((0, 3), 0), ((3, 0), -1)):
        CASES.append(
            Case(
                name,
                lambda x, n=name, a=axis: getattr(ag, n)(x, a),
                lambda x, n=name, a=axis: getattr(np, n)(x, axis=a),
                (floats(shape),),
                label=f"{shape} over {axis}",
            )
        )
    CASES.append(
        Case(
            name,
            lambda x, n=name: getattr(ag, n)(x, 0, reverse=True),
            lambda x, n=name: getattr(np, n)(x[::-1], axis=0)[::-1],
            (floats((5, 2)), exactly([1.0, 0.0, 2.0, 0.0, 3.0])),
            label="reversed",
        )
    )

# Softmax.


def soft_max(x: Any, axis: Any) -> Any:
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


for shape, axis in (((), None), ((4,), -1), ((2, 3), 0), ((2, 3, 2), (0, 2)), ((0, 3), 1)):
    CASES += [
        Case("softmax", lambda x, a=axis: ag.softmax(x, a), lambda x, a=axis: soft_max(x, a),
             (floats(shape),), label=f"{shape} over {axis}", differentiable=shape != ()),
        Case("log_softmax", lambda x, a=axis: ag.log_softmax(x, a),
             lambda x, a=axis: np.log(soft_max(x, a)), (floats(shape),),
             label=f"{shape} over {axis}", differentiable=shape != ()),
    ]  # fmt: skip


# Random numbers: the equivalent asks NumPy's Philox for the bits, one key at a time.


def philox(key: Any, count: int, number: int = 0, use: int = 0) -> Any:
    counter = [0, int(number), 0, use]
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def per_key(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def of_keys(keys: Any) -> Any:
        rows = [function(k) for k in keys.reshape(-1, 2)]
        return np.reshape(rows, keys.shape[:-1] + np.shape(rows[0]))

    return of_keys


def box_muller(key: Any) -> Any:
    unit = (philox(key, 6) >> 11) / 2**53
    radius, angle = np.sqrt(-2 * np.log(1 - unit[:3])), 2 * np.pi * unit[3:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:5]


def keys(*shape: int) -> Sample:
    return lambda rng: (rng.integers(0, 2**64, (*shape, 2), np.uint64),)


def folded(key: Any, number: Any) -> Any:
    lead = np.broadcast_shapes(key.shape[:-1], number.shape)
    pairs = np.broadcast_to(key, (*lead, 2)).reshape(-1, 2)
    numbers = np.broadcast_to(number, lead).ravel()
    rows = [philox(k, 2, i, 2) for k, i in zip(pairs, numbers, strict=True)]
    return np.reshape(rows, (*lead, 2))


KEYS = (keys(), keys(3), keys(2, 1))
CASES += [
    Case("random_split", lambda k: ag.random.split(k, 3),
         per_key(lambda k: [philox(k, 2, i, 1) for i in range(3)]), KEYS, differentiable=False),
    Case("random_fold_in", ag.random.fold_in, folded,
         (beside(keys(), integers((), low=0)), beside(keys(2), integers((3, 1), low=0)),
          beside(keys(2, 3), integers((3,), low=0))), differentiable=False),
    Case("random_uniform", lambda k: ag.random.uniform(k, (2, 3)),
         per_key(lambda k: (philox(k, 6) >> 11).reshape(2, 3) / 2**53), KEYS,
         differentiable=False),
    Case("random_normal", lambda k: ag.random.normal(k, 5), per_key(box_muller), KEYS,
         differentiable=False),
]  # fmt: skip

# Misuse.

WRONG += [
    Wrong("add", ag.add, floats((2, 3), (4,)), ShapeError, "do not broadcast"),
    Wrong("where", ag.where, floats((2,), (3,), ()), ShapeError, "do not broadcast"),
    Wrong("negative", ag.negative, bools((2,)), DTypeError, "op 'negative' does not work on bool"),
    Wrong("sum", lambda x: ag.sum(x, 2), floats((2, 3)), ShapeError, "axis 2 does not exist"),
    Wrong("sum", lambda x: ag.sum(x, (0, -2)), floats((2, 3)), ShapeError, "one axis twice"),
    Wrong("max", ag.max, floats((0, 3)), ShapeError, "nothing has no max"),
    Wrong("min", lambda x: ag.min(x, 0), floats((0, 3)), ShapeError, "nothing has no min"),
    Wrong("argmax", lambda x: ag.argmax(x, 0), floats((0, 3)), ShapeError, "no argmax"),
    Wrong("cumsum", lambda x: ag.cumsum(x, 1), floats((3,)), ShapeError, "axis 1 does not exist"),
    Wrong("softmax", lambda x: ag.softmax(x, 1), floats((3,)), ShapeError, "axis 1 does not"),
    Wrong("norm", lambda x: ag.norm(x, ord=3), floats((3,)), GraphError, "ord must be 1, 2 or inf"),
    Wrong("square", lambda x: ag.var(x, 0, correction=1), floats((1, 3)), ShapeError,
          "var over 1 elements with correction 1 would divide by 0"),
    Wrong("norm", lambda x: ag.std(x, 0), floats((0, 3)), ShapeError, "std over 0 elements"),
    Wrong("clip", ag.clip, floats((3,)), GraphError, "got neither"),
    Wrong("gelu", lambda x: ag.gelu(x, "erf"), floats((3,)), GraphError, "'none' or 'tanh'"),
    Wrong("random_uniform", ag.random.uniform, integers((2,)), DTypeError, "takes a random key"),
    Wrong("random_normal", ag.random.normal, floats((3,)), DTypeError, "takes a random key"),
    Wrong("random_normal", lambda k: ag.random.normal(k, (), "int64"), keys(), DTypeError,
          "normal draws floats, but dtype is int64"),
    Wrong("random_split", ag.random.split, floats((2,)), DTypeError, "split takes a random key"),
    Wrong("random_split", lambda k: ag.random.split(k, -1), keys(), ShapeError, "count is -1"),
    Wrong("random_fold_in", ag.random.fold_in, beside(keys(), floats(())), DTypeError,
          "takes a whole number"),
    Wrong("random_fold_in", ag.random.fold_in, beside(keys(2), integers((3,))), ShapeError,
          "do not broadcast"),
]  # fmt: skip
