"""Initial values of parameters, drawn from a generator the caller chooses.

Everywhere in `nn`, `rng` is a `numpy.random.Generator`, a seed for one, or None for fresh entropy.
Layers that are to differ must be given one generator, not the same seed.

Every initialiser is called `rule(shape, ..., rng=rng, dtype=dtype)` and returns an array; those
that draw nothing take `rng` as well, and do not read it. `apply` gives the parameters of a module
new values by rules on their names. Weights are laid out (out, in), so `fan_in` is the product of
all lengths but the first, and `fan_out` that of all but the second, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from math import ceil, erf, prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from autograd.errors import LoopGradError, ShapeError
from autograd.spec import Array, spec_of

if TYPE_CHECKING:
    from nn.module import Module

Rng = np.random.Generator | int | None
Rule = Callable[..., Array]
"""Called `rule(shape, rng=..., dtype=...)`, returns an array of that shape and dtype."""

LEAST_MASS = 0.01
"""How much of a normal distribution must lie within the limits it is truncated to."""


def generator(rng: Rng = None) -> np.random.Generator:
    """Return `rng` itself if it is a generator, else one seeded with it."""
    return np.random.default_rng(rng)


# Distributions whose parameters are given.


def uniform(
    shape: Sequence[int],
    low: float = 0.0,
    high: float = 1.0,
    rng: Rng = None,
    dtype: npt.DTypeLike = np.float64,
) -> Array:
    """Return an array of `shape`, uniform in [low, high)."""
    return generator(rng).uniform(low, high, shape).astype(dtype)


def normal(
    shape: Sequence[int],
    mean: float = 0.0,
    std: float = 1.0,
    rng: Rng = None,
    dtype: npt.DTypeLike = np.float64,
) -> Array:
    """Return an array of `shape`, normally distributed."""
    return generator(rng).normal(mean, std, shape).astype(dtype)


def truncated_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    std: float = 1.0,
    low: float = -2.0,
    high: float = 2.0,
    rng: Rng = None,
    dtype: npt.DTypeLike = np.float64,
) -> Array:
    """Return an array of `shape`, normal among the numbers from `low` to `high`.

    The limits are not in units of `std`. Numbers outside are drawn again, so at least 1 % of the
    distribution must lie within.
    """
    within = _mass_below((high - mean) / std) - _mass_below((low - mean) / std) if std > 0 else 0.0
    if within < LEAST_MASS:
        raise LoopGradError(
            f"truncated_normal: of a normal distribution of mean {mean} and std {std}, {within:.2%}"
            f" lies between {low} and {high}, but at least {LEAST_MASS:.0%} must; move the limits "
            "or the mean (limits are not in units of std)"
        )
    rng = generator(rng)
    values = np.asarray(rng.normal(mean, std, shape))
    outside = (values < low) | (values > high)
    while outside.any():
        values[outside] = rng.normal(mean, std, np.count_nonzero(outside))
        outside = (values < low) | (values > high)
    return values.astype(dtype)


def _mass_below(z: float) -> float:
    """Return how much of the standard normal distribution lies below `z`."""
    return 0.5 * (1.0 + erf(z / sqrt(2.0)))


def constant(
    shape: Sequence[int], value: float, *, rng: Rng = None, dtype: npt.DTypeLike = np.float64
) -> Array:
    """Return an array of `shape` that is `value` everywhere."""
    return np.full(shape, value, dtype)


def zeros(shape: Sequence[int], *, rng: Rng = None, dtype: npt.DTypeLike = np.float64) -> Array:
    """Return an array of `shape`, all zero."""
    return np.zeros(shape, dtype)


def ones(shape: Sequence[int], *, rng: Rng = None, dtype: npt.DTypeLike = np.float64) -> Array:
    """Return an array of `shape`, all one."""
    return np.ones(shape, dtype)


# Distributions whose scale keeps signals or gradients at one size from layer to layer.


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight (out, in, ...): how many go in and come out."""
    if len(shape) < 2:
        raise ShapeError(
            f"the fan of shape {tuple(shape)} is not defined: it takes a weight (out, in) or one "
            "of more axes; initialise vectors by zeros, constant, uniform or normal"
        )
    field = prod(shape[2:])
    return shape[1] * field, shape[0] * field


def gain(nonlinearity: str, slope: float = 0.01) -> float:
    """Return by what factor to widen weights in front of a nonlinearity, as in PyTorch.

    `slope` is that of leaky_relu for negative numbers.
    """
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": sqrt(2.0),
        "leaky_relu": sqrt(2.0 / (1.0 + slope * slope)),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        raise LoopGradError(
            f"nonlinearity must be one of {', '.join(gains)}, but is {nonlinearity!r}; for "
            "another one scale the weights yourself"
        )
    return gains[nonlinearity]


def bounded_by_fan(
    shape: Sequence[int], fan: int, rng: Rng = None, dtype: npt.DTypeLike = np.float64
) -> Array:
    """Return U(-1/sqrt(fan), 1/sqrt(fan)), PyTorch's choice for linear and recurrent layers."""
    bound = fan**-0.5 if fan else 0.0
    return uniform(shape, -bound, bound, rng, dtype)


def xavier_uniform(
    shape: Sequence[int], gain: float = 1.0, rng: Rng = None, dtype: npt.DTypeLike = np.float64
) -> Array:
    """Return U(-a, a) with a = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = sqrt(3.0) * _xavier_std(shape, gain)
    return uniform(shape, -bound, bound, rng, dtype)


def xavier_normal(
    shape: Sequence[int], gain: float = 1.0, rng: Rng = None, dtype: npt.DTypeLike = np.float64
) -> Array:
    """Return N(0, s^2) with s = gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return normal(shape, 0.0, _xavier_std(shape, gain), rng, dtype)


def kaiming_uniform(
    shape: Sequence[int],
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    slope: float = 0.0,
    rng: Rng = None,
    dtype: npt.DTypeLike = np.float64,
) -> Array:
    """Return U(-a, a) with a = gain sqrt(3 / fan) (He et al. 2015).

    `mode` says which fan: "fan_in" keeps the size of signals, "fan_out" that of gradients.
    """
    bound = sqrt(3.0) * _kaiming_std(shape, mode, nonlinearity, slope)
    return uniform(shape, -bound, bound, rng, dtype)


def kaiming_normal(
    shape: Sequence[int],
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    slope: float = 0.0,
    rng: Rng = None,
    dtype: npt.DTypeLike = np.float64,
) -> Array:
    """Return N(0, s^2) with s = gain / sqrt(fan) (He et al. 2015); see `kaiming_uniform`."""
    return normal(shape, 0.0, _kaiming_std(shape, mode, nonlinearity, slope), rng, dtype)


def _xavier_std(shape: Sequence[int], gain: float) -> float:
    return gain * sqrt(2.0 / max(sum(fans(shape)), 1))


def _kaiming_std(shape: Sequence[int], mode: str, nonlinearity: str, slope: float) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise LoopGradError(f"mode must be 'fan_in' or 'fan_out', but is {mode!r}")
    fan = fans(shape)[mode == "fan_out"]
    return gain(nonlinearity, slope) / sqrt(max(fan, 1))


# Matrices of a certain form.


def orthogonal(
    shape: Sequence[int], gain: float = 1.0, rng: Rng = None, dtype: npt.DTypeLike = np.float64
) -> Array:
    """Return `gain` times a matrix with orthonormal rows or columns, whichever are fewer.

    Saxe et al. 2013: products of such matrices neither grow nor shrink. All axes but the first
    count as one. Uniform among orthogonal matrices: Q of a normal matrix, with signs such that
    the diagonal of R is positive (Mezzadri 2007).
    """
    fans(shape)
    rows, columns = shape[0], prod(shape[1:])
    tall = generator(rng).normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = q * np.where(np.diagonal(r) < 0.0, -1.0, 1.0)
    matrix = q if rows >= columns else q.T
    return (gain * matrix).reshape(shape).astype(dtype)


def identity(
    shape: Sequence[int], gain: float = 1.0, rng: Rng = None, dtype: npt.DTypeLike = np.float64
) -> Array:
    """Return `gain` on the diagonal of a matrix of zeros: an RNN that begins by remembering.

    Le, Jaitly and Hinton, "A Simple Way to Initialize Recurrent Networks of Rectified Linear
    Units", 2015.
    """
    _need_matrix("identity", shape)
    rows, columns = shape
    values: Array = (gain * np.eye(rows, columns)).astype(dtype)
    return values


def sparse(
    shape: Sequence[int],
    sparsity: float,
    std: float = 0.01,
    rng: Rng = None,
    dtype: npt.DTypeLike = np.float64,
) -> Array:
    """Return N(0, std^2) of which in each column the fraction `sparsity`, rounded up, is zero.

    Martens, "Deep learning via Hessian-free optimization", 2010.
    """
    _need_matrix("sparse", shape)
    if not 0.0 <= sparsity <= 1.0:
        raise LoopGradError(f"sparsity is a fraction from 0 to 1, but is {sparsity}")
    rng = generator(rng)
    values = rng.normal(0.0, std, shape)
    order = rng.permuted(np.broadcast_to(np.arange(shape[0])[:, None], shape), axis=0)
    values[order < ceil(sparsity * shape[0])] = 0.0
    return values.astype(dtype)


def _need_matrix(name: str, shape: Sequence[int]) -> None:
    if len(shape) != 2:
        raise ShapeError(f"{name} makes matrices, but shape is {tuple(shape)}")


# Rules for the parameters of modules.


def stacked(*rules: Rule | float) -> Rule:
    """Return the rule that makes equal parts of the first axis, each by one of `rules`.

    Gates lie one above the other in the weights of an LSTM, in the order input, forget, cell,
    output: `stacked(*[orthogonal] * 4)` makes each of their matrices orthogonal, and
    `stacked(0.0, 1.0, 0.0, 0.0)` opens the forget gate.
    """

    def rule(shape: Sequence[int], rng: Rng = None, dtype: npt.DTypeLike = np.float64) -> Array:
        if not shape or not rules or shape[0] % len(rules):
            raise ShapeError(
                f"stacked makes {len(rules)} equal parts of the first axis, but shape is "
                f"{tuple(shape)}"
            )
        part = (shape[0] // len(rules), *shape[1:])
        return np.concatenate([_made(each, part, rng, dtype) for each in rules])

    return rule


def apply(module: Module, rules: Mapping[str, Rule | float], rng: Rng = None) -> None:
    """Give the parameters of `module` new values by rules on their names, all at once.

        nn.init.apply(model, {"*weight_hh*": nn.init.orthogonal, "*bias*": 0.0}, rng)

    A rule is an initialiser, called `rule(shape, rng=rng, dtype=dtype)`, or a number. The first
    pattern that matches a name is taken (`*` is any text, `?` any character, `[ab]` one of
    these); parameters that none matches keep their values. All of it happens or nothing.
    """
    from nn.module import assign

    if not hasattr(module, "named_parameters") or not isinstance(rules, Mapping):
        raise LoopGradError(
            "apply takes a module and a dict of rules by patterns of names, but got "
            f"{type(module).__name__} and {type(rules).__name__}"
        )
    rng = generator(rng)
    rules = {str(pattern): rule for pattern, rule in rules.items()}
    parameters = dict(module.named_parameters())
    chosen = {
        name: next((pattern for pattern in rules if fnmatchcase(name, pattern)), None)
        for name in parameters
    }
    _check_used(module, rules, chosen)
    values = {}
    for name, pattern in chosen.items():
        if pattern is not None:
            parameter = parameters[name]
            value = np.asarray(_made(rules[pattern], parameter.shape, rng, parameter.dtype))
            if spec_of(value) != parameter.spec:
                raise ShapeError(
                    f"the rule for '{pattern}' made {spec_of(value)} for parameter '{name}', "
                    f"which is {parameter.spec}; nothing was changed"
                )
            values[parameter] = value.copy()
    assign(values)


def _made(rule: Rule | float, shape: Sequence[int], rng: Rng, dtype: npt.DTypeLike) -> Array:
    """Return what `rule`, an initialiser or a number, makes."""
    if callable(rule):
        return rule(tuple(shape), rng=rng, dtype=dtype)
    if isinstance(rule, bool) or not isinstance(rule, (int, float, np.number)):
        raise LoopGradError(
            f"a rule is an initialiser, such as nn.init.zeros, or a number, but is "
            f"{type(rule).__name__} {rule!r:.60}"
        )
    return constant(shape, float(rule), rng=rng, dtype=dtype)


def _check_used(module: Module, rules: Mapping[str, Any], chosen: Mapping[str, str | None]) -> None:
    """Raise if a pattern is the first to match for no name."""
    for pattern in rules:
        if pattern not in chosen.values():
            taken = [name for name in chosen if fnmatchcase(name, pattern)]
            why = (
                f"is never taken: earlier patterns match {', '.join(taken)} first; put special "
                "patterns before general ones"
                if taken
                else f"matches no parameter of {type(module).__name__}; they are "
                f"{', '.join(chosen)}"
            )
            raise LoopGradError(f"the pattern '{pattern}' {why}; nothing was changed")
