"""The check of gradients: directional derivatives against central differences, to any order.

    reverse mode   <J^T u, v>        one vjp with a random cotangent u
    forward mode   <u, J v>          one jvp along a random direction v
    numerically    d/dt <u, f(x + t v)>

The numerical value comes with an estimate of its own error (Ridders 1982: Richardson's
extrapolation of central differences, the error read off the tableau), and the tolerance is that
estimate. For the next order the same is done to the function x -> J(x)^T u.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograd.errors import GradientError, LoopGradError
from autograd.grad import jvp, make_constant, or_zeros, pull_back, vjp
from autograd.graph import Graph
from autograd.node import Node, draw_input, tensor
from autograd.scope import drawing, no_grad
from autograd.spec import Array
from autograd.trampoline import trampoline
from autograd.tree import Structure, flatten, unflatten

LEVELS = 14
"""How often the step of the differences is halved at most."""
SAFETY = 20.0
"""How many error estimates (and rounding errors) a derivative may be off."""


@dataclass(frozen=True)
class Derivative:
    """One directional derivative, computed in both ways."""

    order: int
    mode: str
    """`vjp` (reverse mode) or `jvp` (forward mode)."""
    argument: str
    computed: float
    numerical: float
    tolerance: float
    scale: float
    """The size of the terms that were added up, to which the error is put in relation."""
    reason: str = ""
    """Why it is wrong; empty where it is right."""

    @property
    def error(self) -> float:
        """The relative error reached."""
        return abs(self.computed - self.numerical) / self.scale

    def __str__(self) -> str:
        verdict = f"  <- {self.reason}" if self.reason else ""
        return (
            f"order {self.order}  {self.mode}  {self.argument:<16} {self.computed:+.12e}  "
            f"differences {self.numerical:+.12e}  relative error {self.error:.1e}  "
            f"tolerance {self.tolerance / self.scale:.1e}{verdict}"
        )


@dataclass(frozen=True)
class GradientReport:
    """What `check_grad` found: every derivative, and the worst."""

    derivatives: tuple[Derivative, ...]

    @property
    def worst(self) -> Derivative:
        """The derivative with the largest relative error."""
        return max(self.derivatives, key=_error)

    @property
    def error(self) -> float:
        """The largest relative error reached."""
        return self.worst.error

    def errors(self) -> dict[tuple[int, str], float]:
        """Return the largest relative error of each (order, argument)."""
        worst: dict[tuple[int, str], float] = {}
        for d in self.derivatives:
            key = d.order, d.argument
            worst[key] = max(worst.get(key, 0.0), d.error)
        return worst

    def __str__(self) -> str:
        return "\n".join([f"worst relative error {self.error:.1e}", *map(str, self.derivatives)])


def _error(derivative: Derivative) -> float:
    return derivative.error if np.isfinite(derivative.error) else np.inf


@drawing(None)  # in a body too, it computes
def check_grad(
    fn: Callable[..., Any] | Graph,
    args: Any,
    order: int = 2,
    *,
    modes: Sequence[str] = ("vjp", "jvp"),
    step: float = 0.05,
    seed: int = 0,
) -> GradientReport:
    """Check all derivatives of `fn` at `args` up to `order`; return what was reached.

    `args` is a tuple of arrays, or of trees of arrays; those of no float dtype are held fixed.
    `fn` returns an array or a tree of arrays. Of a Graph, the drawn gradient is run, `args` are
    its inputs in order, and its parameters are checked as well at the values they have.
    Every argument gets a random direction of its own, the result a random cotangent; `seed` makes
    both repeatable. `step` is the first and largest step of the differences, in units of the
    argument's root mean square. A GradientError lists the derivatives and says which argument is
    wrong, or that the differences do not settle (at a kink, say), so that nothing can be said.

    Orders from 2 on take derivatives of the gradient x -> J(x)^T u. Forward mode is what checks
    the dependence on u.
    """
    subject = _graph_subject(fn, args) if isinstance(fn, Graph) else _eager_subject(fn, args)
    random = np.random.default_rng(seed)
    found: list[Derivative] = []
    for number in range(1, order + 1):
        cotangents = [_normal(random, y) for y in subject.call(subject.xs)]
        directions = [_normal(random, x) * x.dtype.type(_rms(x)) for x in subject.xs]
        fresh = _derivatives(subject, cotangents, directions, number, modes, step)
        found += fresh
        wrong = [d for d in fresh if d.reason]
        if wrong:
            raise GradientError(_story(subject, cotangents, directions, wrong, found, step))
        if number < order:
            subject = subject.differentiated(cotangents)
    return GradientReport(tuple(found))


def _normal(random: np.random.Generator, like: Array) -> Array:
    return np.asarray(random.standard_normal(like.shape)).astype(like.dtype)


def _rms(x: Array) -> float:
    mean_square = float(np.mean(np.square(x, dtype=np.float64))) if x.size else 0.0
    return float(np.sqrt(mean_square)) or 1.0


# What is checked: a function of a list of arrays that returns a list of arrays.


class _Subject:
    """A function with values `xs` of its arguments, and names for these and its results."""

    def __init__(self, xs: list[Array], arguments: list[str], results: list[str]) -> None:
        self.xs = xs
        self.arguments = arguments
        self.results = results

    def call(self, xs: Sequence[Array]) -> list[Array]:
        raise NotImplementedError

    def pulled(self, cotangents: Sequence[Array], which: Sequence[int]) -> list[Array]:
        """Return the gradients of the arguments numbered `which`."""
        raise NotImplementedError

    def pushed(self, i: int, direction: Array) -> list[Array]:
        """Return the derivatives of the results along `direction` of argument `i`."""
        raise NotImplementedError

    def differentiated(self, cotangents: list[Array]) -> _Subject:
        """Return the function that returns the gradients."""
        raise NotImplementedError


class _Eager(_Subject):
    """A Python function, run on tensors."""

    def __init__(self, fn: Any, xs: list[Array], arguments: list[str], results: list[str]) -> None:
        super().__init__(xs, arguments, results)
        self.fn = fn

    def call(self, xs: Sequence[Array]) -> list[Array]:
        with no_grad():
            return [y._value for y in self.fn(*map(make_constant, xs))]

    def _of(self, which: Sequence[int]) -> Callable[..., Any]:
        """Return the function of some of the arguments, the others held fixed."""

        def part(*some: Any) -> Any:
            full: list[Any] = [make_constant(x) for x in self.xs]
            for i, x in zip(which, some, strict=True):
                full[i] = x
            return self.fn(*full)

        return part

    def pulled(self, cotangents: Sequence[Array], which: Sequence[int]) -> list[Array]:
        _, pullback = vjp(self._of(which), *[self.xs[i] for i in which])
        return [g._value for g in pullback(list(cotangents))]

    def pushed(self, i: int, direction: Array) -> list[Array]:
        _, tangents = jvp(self._of([i]), (self.xs[i],), (direction,))
        return [t._value for t in tangents]

    def differentiated(self, cotangents: list[Array]) -> _Subject:
        def gradients(*xs: Any) -> list[Any]:
            _, pullback = vjp(self.fn, *xs)
            return list(pullback(cotangents))

        return _Eager(gradients, self.xs, self.arguments, _gradient_names(self))


class _Drawn(_Subject):
    """A graph. Its gradients are drawn on virtual nodes, then run."""

    def __init__(
        self, graph: Graph, xs: list[Array], arguments: list[str], results: list[str]
    ) -> None:
        super().__init__(xs, arguments, results)
        self.graph = graph
        self.nodes = list(graph.inputs.values())
        self.outputs = list(graph.outputs.values())

    def call(self, xs: Sequence[Array]) -> list[Array]:
        return self._run(self.outputs, self.nodes, xs)

    def _run(
        self, outputs: Sequence[Node], inputs: Sequence[Node], values: Sequence[Array]
    ) -> list[Array]:
        from autograd.execute.reference import execute

        return execute(_cut(inputs, outputs), values)

    def _gradients(self, which: Sequence[int], seeds: Sequence[Any]) -> list[Node]:
        wrt = [self.nodes[i] for i in which]
        found, _ = trampoline(pull_back(self.outputs, seeds, wrt, record=True))
        return [or_zeros(g, x) for g, x in zip(found, wrt, strict=True)]

    def pulled(self, cotangents: Sequence[Array], which: Sequence[int]) -> list[Array]:
        with drawing(None):
            gradients = self._gradients(which, cotangents)
        return self._run(gradients, self.nodes, self.xs)

    def pushed(self, i: int, direction: Array) -> list[Array]:
        with drawing(None):
            seeds = [draw_input(None, y.spec, None) for y in self.outputs]
            (g,) = self._gradients([i], seeds)
            found, _ = trampoline(pull_back([g], [direction], seeds, record=True))
        zeros = [np.zeros(y.shape, y.dtype) for y in self.outputs]
        known = [(j, t) for j, t in enumerate(found) if t is not None]
        values = self._run([t for _, t in known], self.nodes + seeds, self.xs + zeros)
        for (j, _), value in zip(known, values, strict=True):
            zeros[j] = value
        return zeros

    def differentiated(self, cotangents: list[Array]) -> _Subject:
        with drawing(None):
            gradients = self._gradients(range(len(self.nodes)), cotangents)
        graph = _cut(self.nodes, gradients)
        return _Drawn(graph, self.xs, self.arguments, _gradient_names(self))


def _cut(inputs: Sequence[Node], outputs: Sequence[Node]) -> Graph:
    return Graph.of(
        {f"input_{i}": node for i, node in enumerate(inputs)},
        {f"output_{i}": node for i, node in enumerate(outputs)},
        "gradient",
    )


def _gradient_names(subject: _Subject) -> list[str]:
    return [f"the gradient by {name}" for name in subject.arguments]


def _eager_subject(fn: Callable[..., Any], args: Any) -> _Subject:
    leaves, structure = flatten(tuple(args) if isinstance(args, (tuple, list)) else (args,))
    values = [tensor(x)._value for x in leaves]
    names = ["args" + path for path in _paths(structure)]
    chosen = [i for i, x in enumerate(values) if x.dtype.kind == "f"]
    if not chosen:
        raise GradientError(
            "check_grad has nothing to differentiate: no argument is of a float dtype; pass "
            "float arrays in a tuple, check_grad(fn, (x, y))"
        )

    def results(*xs: Any) -> tuple[list[Node], Structure]:
        full: list[Any] = [make_constant(x) for x in values]
        for i, x in zip(chosen, xs, strict=True):
            full[i] = x
        found, shape = flatten(fn(*unflatten(structure, full)))
        return [tensor(y) for y in found], shape

    def flat(*xs: Any) -> list[Node]:
        return [y for y in results(*xs)[0] if y.dtype.kind == "f"]

    with no_grad():
        ys, shape = results(*[make_constant(values[i]) for i in chosen])
    paths = zip(ys, _paths(shape), strict=True)
    titles = ["the result" + path for y, path in paths if y.dtype.kind == "f"]
    _need_results(titles)
    return _Eager(flat, [values[i] for i in chosen], [names[i] for i in chosen], titles)


def _graph_subject(graph: Graph, args: Any) -> _Subject:
    values = list(args) if isinstance(args, (tuple, list)) else [args]
    if len(values) != len(graph.inputs):
        raise GradientError(
            f"graph '{graph.name}' takes {len(graph.inputs)} inputs "
            f"({', '.join(graph.inputs)}), but check_grad was given {len(values)}"
        )
    given = dict(zip(graph.inputs, values, strict=True))
    inputs: dict[str, Node] = {}
    fixed: dict[str, Node] = {}
    xs = []
    for name, node in graph.inputs.items():
        value = graph._checked(name, node, given)
        if node.dtype.kind == "f":
            inputs[name] = node
            xs.append(value)
        else:
            fixed[name] = tensor(value)
    outputs = {name: y for name, y in graph.outputs.items() if y.dtype.kind == "f"}
    _need_results(list(outputs))
    for name, parameter in graph.parameters.items():
        inputs[name] = parameter
        xs.append(parameter.value)
    if not inputs:
        raise GradientError(f"graph '{graph.name}' has no float input and no parameter to check")
    fresh = [draw_input(name, node.spec, None) for name, node in inputs.items()]
    cut = Graph.of({**inputs, **{n: graph.inputs[n] for n in fixed}}, outputs, graph.name)
    with drawing(None):
        drawn = cut.inline([*fresh, *fixed.values()])
    names = [f"'{name}'" for name in inputs]
    return _Drawn(_cut(fresh, drawn), xs, names, [f"output '{name}'" for name in outputs])


def _need_results(names: Sequence[str]) -> None:
    if not names:
        raise GradientError(
            "check_grad has nothing to differentiate: the function returned no float array"
        )


def _paths(structure: Structure) -> list[str]:
    """Return how a reader would write each leaf: `[0]['w'][1]`."""
    if structure is None:
        return [""]
    kind, children = structure
    pairs = children if kind is dict else enumerate(children)
    return [f"[{key!r}]{path}" for key, child in pairs for path in _paths(child)]


# The comparison.


def _derivatives(
    subject: _Subject,
    cotangents: list[Array],
    directions: list[Array],
    order: int,
    modes: Sequence[str],
    step: float,
) -> list[Derivative]:
    """Return the derivatives of one order, in each mode and by each argument."""
    for mode in modes:
        if mode not in ("vjp", "jvp"):
            raise GradientError(f"check_grad knows the modes 'vjp' and 'jvp', but not {mode!r}")
    found = []
    gradients = _all_gradients(subject, cotangents)
    for i, (name, direction) in enumerate(zip(subject.arguments, directions, strict=True)):
        slope = _slope(subject, cotangents, i, direction, step)
        for mode in modes:
            if mode == "vjp":
                terms = _products([gradients[i]], [direction])
            else:
                tangents = _named(subject, i, "jvp", subject.pushed, i, direction)
                terms = _products(tangents, cotangents)
            found.append(_compared(order, mode, name, terms, slope, direction.dtype))
    return found


def _all_gradients(subject: _Subject, cotangents: list[Array]) -> list[Array]:
    everything = range(len(subject.xs))
    try:
        return subject.pulled(cotangents, everything)
    except LoopGradError:
        for i in everything:  # which of them is it?
            _named(subject, i, "gradient", subject.pulled, cotangents, [i])
        raise


def _named(subject: _Subject, i: int, what: str, fn: Callable[..., Any], *args: Any) -> Any:
    """Return `fn(*args)`, or say for which argument it failed."""
    try:
        return fn(*args)
    except LoopGradError as error:
        name = subject.arguments[i]
        raise GradientError(f"the {what} by {name} failed: {error.args[0]}") from error


@np.errstate(all="ignore")
def _products(xs: Sequence[Array], ys: Sequence[Array]) -> list[Array]:
    return [np.multiply(x, y, dtype=np.float64) for x, y in zip(xs, ys, strict=True)]


@np.errstate(all="ignore")
def _total(terms: Sequence[Array]) -> float:
    return sum(float(np.sum(term)) for term in terms)


def _size(terms: Sequence[Array]) -> float:
    return sum(float(np.sum(np.abs(term))) for term in terms)


def _compared(
    order: int, mode: str, name: str, terms: list[Array], slope: _Slope, dtype: np.dtype[Any]
) -> Derivative:
    computed = _total(terms)
    scale = max(_size(terms), slope.size, abs(slope.value), float(np.finfo(np.float64).tiny))
    eps = float(np.finfo(dtype).eps)
    tolerance = SAFETY * (slope.estimate + eps * scale)
    reason = ""
    if not np.isfinite(computed):
        reason = "it is not finite"
    elif not slope.estimate <= eps ** (1 / 3) * scale:
        reason = (
            "the differences do not settle: a kink, a jump or the end of the domain is near; move "
            "the arguments, or pass a smaller step"
        )
    elif abs(computed - slope.value) > tolerance:
        reason = "wrong"
    return Derivative(order, mode, name, computed, slope.value, tolerance, scale, reason)


@dataclass(frozen=True)
class _Slope:
    """A numerical derivative, the estimate of its error, and the size of the function's values."""

    value: float
    estimate: float
    size: float


def _slope(
    subject: _Subject, cotangents: list[Array], i: int, direction: Array, step: float
) -> _Slope:
    """Return d/dt <cotangents, f(x + t direction)> by Ridders' method."""
    xs = list(subject.xs)

    def at(t: float) -> list[Array]:
        moved = xs.copy()
        moved[i] = np.asarray(xs[i] + xs[i].dtype.type(t) * direction)
        return subject.call(moved)

    with np.errstate(all="ignore"):
        size = _size(_products(subject.call(xs), cotangents))
        eps = float(np.finfo(direction.dtype).eps)
        best = _Slope(np.nan, np.inf, size)
        above: list[float] = []
        for level in range(LEVELS):
            h = step / 2**level
            rise = [np.subtract(b, a, dtype=np.float64) for a, b in zip(at(-h), at(h), strict=True)]
            row = [_total(_products(rise, cotangents)) / (2 * h)]
            if not np.isfinite(row[0]):
                above = []
                continue
            for j, before in enumerate(above):
                row.append(row[j] + (row[j] - before) / (4 ** (j + 1) - 1))
                error = max(abs(row[j + 1] - row[j]), abs(row[j + 1] - before))
                error += eps * size / h  # what rounding alone does to a difference
                if error <= best.estimate:
                    best = _Slope(row[j + 1], error, size)
            if best.estimate <= eps ** (2 / 3) * max(abs(best.value), size) and level >= 3:
                break
            above = row
    return best


def _story(
    subject: _Subject,
    cotangents: list[Array],
    directions: list[Array],
    wrong: list[Derivative],
    found: list[Derivative],
    step: float,
) -> str:
    """Say which argument and which result are wrong, and list everything that was compared."""
    order = wrong[0].order
    names = list(dict.fromkeys(d.argument for d in wrong))
    lines = [f"check_grad: the derivative of order {order} by {', '.join(names)} is wrong"]
    if all(d.reason != "wrong" for d in wrong):
        lines = [f"check_grad: the derivative of order {order} by {', '.join(names)} fails"]
    for name in names:
        i = subject.arguments.index(name)
        guilty = [
            result
            for j, result in enumerate(subject.results)
            if _alone(subject, cotangents, directions, i, j, step).reason
        ]
        if guilty:
            lines.append(f"by {name}, of {', '.join(guilty)}")
    return "\n".join([*lines, *map(str, found)])


def _alone(
    subject: _Subject,
    cotangents: list[Array],
    directions: list[Array],
    i: int,
    j: int,
    step: float,
) -> Derivative:
    """Return the derivative of result `j` alone by argument `i`."""
    only = [u if k == j else np.zeros_like(u) for k, u in enumerate(cotangents)]
    (g,) = subject.pulled(only, [i])
    slope = _slope(subject, only, i, directions[i], step)
    terms = _products([g], [directions[i]])
    return _compared(0, "vjp", subject.arguments[i], terms, slope, directions[i].dtype)
