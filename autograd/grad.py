"""The one walk that computes gradients (on tensors) and draws them (on virtual nodes).

    x --- op --- y          forward, in the order nodes were made
    gx <- vjp -- gy         backward, in the opposite order

Every op's rule is written in ops. Called on arrays, the rules are just NumPy and record nothing
(`backward()`, the outermost `grad`); called on nodes, they draw a gradient graph that can be
differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import GeneratorType
from typing import Any

import numpy as np

from autograd.arrays import copied
from autograd.describe import describe
from autograd.errors import GradientError
from autograd.node import OPS, RELEASED, Leaf, Node, apply, items, make_leaf, tensor
from autograd.parameter import Parameter
from autograd.scope import State, current_state, enable_grad, pulling
from autograd.trampoline import Task, trampoline
from autograd.tree import flatten, shown, unflatten


class Placed:
    """Gradients of slices of one array, not yet added up.

    Adding n slices one by one would make n arrays of full size; `total` makes one.
    """

    __slots__ = ("dense", "keys", "parts", "shape")

    def __init__(self, part: Any, key: Any, shape: tuple[int, ...]) -> None:
        self.parts = [part]
        self.keys = [key]
        self.shape = shape
        self.dense: Any = None

    @property
    def dtype(self) -> Any:
        return self.parts[0].dtype

    def merge(self, other: Any) -> Placed:
        if isinstance(other, Placed):
            self.parts += other.parts
            self.keys += other.keys
            other = other.dense
        if other is not None:
            self.dense = other if self.dense is None else self.dense + other
        return self

    def total(self) -> Any:
        summed = OPS["place"](*self.parts, keys=tuple(self.keys), shape=self.shape)
        return summed if self.dense is None else self.dense + summed


def _add(a: Any, b: Any) -> Any:
    if a is None:
        return b
    if isinstance(a, Placed):
        return a.merge(b)
    return b.merge(a) if isinstance(b, Placed) else a + b


def _ancestors(outputs: Iterable[Node], stop: set[Node]) -> tuple[list[Node], bool]:
    """Return the tracked ancestors of `outputs` in the order they were made, not passing `stop`.

    The second result tells whether something tracked lies beyond `stop` that could ask for the
    gradient of this gradient.
    """
    seen = {node for node in outputs if node.tracked}
    stack = list(seen)
    foreign = False
    computed = not any(node.virtual for node in seen)  # a virtual graph is run with what holds then
    while stack:
        node = stack.pop()
        if node in stop:
            foreign = foreign or bool(node.inputs)
            continue
        if not node.inputs:
            if node.inputs is RELEASED:
                raise GradientError(
                    f"the graph of {describe(node)} was used up by an earlier backward(); "
                    "compute the loss again, or call the earlier backward(keep_graph=True)"
                )
            foreign = True
            continue
        for x in node.inputs:
            if x.tracked and x not in seen:
                seen.add(x)
                stack.append(x)
            if computed and type(x) is Parameter and x.assigned > node.serial:
                raise GradientError(
                    f"parameter '{x.name}' was given a new value after {describe(node)} was "
                    "computed from the old one, so its gradient would be wrong; call backward() "
                    "before the update, or compute the loss again"
                )
    return sorted(seen, key=_serial), foreign


def _serial(node: Node) -> int:
    return node.serial


def _active(nodes: list[Node], wrt: set[Node]) -> tuple[list[Node], set[Node]]:
    """Return those of `nodes` that depend on `wrt`, in order and as a set."""
    active = set(wrt)
    for node in nodes:
        if node not in active and any(x in active for x in node.inputs):
            active.add(node)
    return [node for node in nodes if node in active], active


class Cotangents(dict[Node, Any]):
    """The cotangents of a walk that draws: says whose rule draws, see `Node.origin`."""

    __slots__ = ("state",)

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state

    def pop(self, node: Node, default: Any = None) -> Any:
        self.state.pulling = node
        return super().pop(node, default)


@contextmanager
def _walking(record: bool) -> Iterator[dict[Node, Any]]:
    """Yield where a walk keeps its cotangents: a dict, that of somebody who wants to know them."""
    with pulling() as state:
        if state.check is None:
            yield Cotangents(state) if record else {}
            return
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            yield state.check.cotangents(state)


def walk(
    nodes: list[Node],
    active: set[Node] | None,
    cotangents: dict[Node, Any],
    wrt: set[Node],
    record: bool,
    release: bool = False,
) -> Task:
    """Carry `cotangents` back over `nodes` (oldest first; used up) and return those of `wrt`.

    `active` are the nodes that depend on `wrt`; None stands for all tracked ones. With `record`
    the rules are given nodes, else arrays. With `release` each node lets go of its inputs.
    """
    found: dict[Node, Any] = {}
    item = OPS["item"]
    while nodes:
        node = nodes.pop()
        g = cotangents.pop(node, None)
        if g is None:
            continue
        if type(g) is Placed:
            g = g.total()
        if node in wrt:
            found[node] = g
        inputs = node.inputs
        if not inputs:
            continue
        op = node.op
        if op is item:
            _add_part(cotangents, inputs[0], node.attrs["index"], g)
        else:
            attrs = node.attrs
            xs: Any = inputs if record else [x._value for x in inputs]
            y: Any = node if record else node._value
            vjps = op.vjps
            if len(vjps) == len(inputs):
                for x, ax, rule in zip(inputs, xs, vjps, strict=True):
                    if rule is not None and (x.tracked if active is None else x in active):
                        gx = rule(g, y, *xs, **attrs)
                        if gx.shape != ax.shape or gx.dtype != ax.dtype:
                            gx = _fit(gx, ax, op)
                        known = cotangents.get(x)
                        cotangents[x] = gx if known is None else _add(known, gx)
            else:
                if op.multiple:
                    g = [part.total() if type(part) is Placed else part for part in g]
                    y = items(node) if record else y
                needs = [x.tracked if active is None else x in active for x in inputs]
                grads = op.pull(needs, g, y, xs, attrs)
                if type(grads) is GeneratorType:
                    grads = yield grads
                for x, ax, gx in zip(inputs, xs, grads, strict=True):
                    if gx is not None:
                        if gx.shape != ax.shape or gx.dtype != ax.dtype:
                            gx = _fit(gx, ax, op)
                        cotangents[x] = _add(cotangents.get(x), gx)
        if release:
            node.inputs = RELEASED
    return found


def _add_part(cotangents: dict[Node, Any], source: Node, index: int, g: Any) -> None:
    """Add `g` to the gradient of output `index` of `source`, a node with several outputs."""
    parts = cotangents.get(source)
    if parts is None:
        width = len(source._spec if source._value is None else source._value)
        parts = cotangents[source] = [None] * width
    parts[index] = _add(parts[index], g)


def _fit(g: Any, like: Any, op: Any) -> Any:
    """Un-broadcast `g` and give it the dtype of `like`, or say that the rule of `op` is wrong."""
    if g.shape != like.shape:
        if not op.broadcasts:
            raise GradientError(
                f"the gradient rule of op '{op.name}' returned shape {g.shape} for an input of "
                f"shape {like.shape}; a rule returns the shape of its input (set broadcasts=True "
                "for ops whose inputs broadcast)"
            )
        g = OPS["sum_to"](g, shape=like.shape)
    return g if g.dtype == like.dtype else OPS["astype"](g, dtype=like.dtype.name)


def pull_back(
    outputs: Sequence[Node], seeds: Sequence[Any], wrt: Sequence[Node], record: bool | None = None
) -> Task:
    """Return the gradients of `outputs`, weighted by `seeds`, with respect to `wrt`.

    None where an output does not depend on it. The second result tells whether the gradients are
    recorded. `record` None: `wrt` are fresh nodes, and the gradients are recorded if anything
    tracked besides them could ask for the gradients' own gradients.
    """
    targets = set(wrt)
    nodes, foreign = _ancestors(outputs, targets if record is None else set())
    if record is None:
        record = current_state().recording and foreign
    record = record or any(node._value is None for node in nodes) or _any_node(seeds)
    nodes, active = _active(nodes, targets)
    with _walking(record) as given:
        for node, seed in zip(outputs, seeds, strict=True):
            if seed is not None and node in active:
                if record and not isinstance(seed, Node):
                    seed = tensor(seed)
                elif not record and isinstance(seed, Node):
                    seed = seed._value
                given[node] = _add(given.get(node), seed)
        found = yield walk(nodes, active, given, targets, record)
    return [found.get(node) for node in wrt], record


def _any_node(seeds: Sequence[Any]) -> bool:
    return any(isinstance(seed, Node) and (seed.tracked or seed.virtual) for seed in seeds)


def seed_of(output: Node, seed: Any = None) -> Any:
    """Return the checked cotangent of `output`: ones for a scalar if none is given."""
    if output.dtype.kind != "f":
        raise GradientError(
            f"{describe(output)} is not of a float dtype, so it has no gradient; differentiate a "
            "float loss"
        )
    if seed is None:
        if output.shape != ():
            raise GradientError(
                f"{describe(output)} is not a scalar, so its gradient needs a seed of the same "
                "shape; sum it first, or pass seed=ones"
            )
        return np.ones((), output.dtype)
    node = tensor(seed)
    if node.shape != output.shape:
        raise GradientError(
            f"the seed has shape {node.shape}, but {describe(output)} has shape {output.shape}; "
            "give one number for each element of the output"
        )
    return node if node.dtype == output.dtype else node.astype(output.dtype)


# Eager habit.


def backward(
    output: Node,
    seed: Any = None,
    *,
    keep_graph: bool = False,
    memory: int | str | None = None,
    checkpoints: int | None = None,
) -> None:
    """Accumulate the gradient of `output` into `.grad` of the tracked leaves it depends on.

    The recorded graph is used up, so that a loss that is kept does not keep its whole history;
    `keep_graph=True` keeps it for a second backward. `memory` and `checkpoints` are as for `grad`.
    """
    wanted = _requested(memory, checkpoints)
    if output.virtual:
        raise GradientError(
            f"backward() on {describe(output)}: it is virtual; draw its gradient with "
            "autograd.grad(loss, parameters), or run its graph"
        )
    if not output.tracked:
        raise GradientError(
            f"backward() on {describe(output)}: it does not depend on any parameter or "
            "requires_grad tensor (or was computed under no_grad), so it has no gradient"
        )
    if isinstance(seed, Node):
        seed = seed._value
    g = seed_of(output, seed)
    g = g._value if isinstance(g, Node) else g
    nodes, _ = _ancestors([output], set())
    leaves = {node for node in nodes if not node.inputs}
    release = not keep_graph
    if wanted is not None:
        found = _within(wanted, nodes, [output], [g], list(leaves))
        for node in nodes:
            if release and node.inputs:
                node.inputs = RELEASED
    elif current_state().check is None:
        found = trampoline(walk(nodes, None, {output: g}, leaves, record=False, release=release))
    else:
        with _walking(record=False) as cotangents:
            cotangents[output] = g
            found = trampoline(walk(nodes, None, cotangents, leaves, False, release))
    for leaf, g in found.items():
        if isinstance(leaf, Leaf):
            known = leaf._grad
            total = g if known is None else known._value + g
            leaf._grad = make_leaf(Node, "constant", np.asarray(total), None, False, None)


def _requested(memory: Any, checkpoints: Any) -> Any:
    """Return what a gradient may take, by the two keyword arguments; None for no limit."""
    if memory is None and checkpoints is None:
        return None
    from autograd.budget import requested

    return requested(memory, checkpoints)


def _within(
    wanted: Any, nodes: Sequence[Node], outputs: Any, seeds: Any, wrt: Sequence[Node]
) -> dict[Node, Any]:
    """Return the gradients there are (arrays) of tensors, computed within what is `wanted`.

    `nodes` are those that depend on `wrt`; an output that is not among them has no gradient.
    """
    from autograd.budget import pulled

    reached = set(nodes)
    pairs = [(y, seed) for y, seed in zip(outputs, seeds, strict=True) if y in reached]
    grads = pulled(nodes, [y for y, _ in pairs], [seed for _, seed in pairs], wrt, wanted)
    return {x: g for x, g in zip(wrt, grads, strict=True) if g is not None}


# Functions of functions.


def _fresh(x: Any) -> Node:
    """Return a node to differentiate with respect to: a new leaf, or a link to an outer node."""
    if not isinstance(x, Node):
        x = make_constant(copied(x))
    if x.dtype.kind != "f":
        raise GradientError(
            f"cannot differentiate with respect to an argument of dtype {x.dtype}; pass floats, "
            "for example x.astype('float64'), or leave it out of argnums"
        )
    state = current_state()
    if x.virtual or state.scope is not None or (x.tracked and state.recording):
        link = apply(OPS["identity"], (x,))
        link.tracked = True  # also where x is not: a constant used in a body, an integer as float
        return link
    node: Node = make_leaf(Leaf, "constant", x._value, None, True, None)
    return node


def _pulled_back(
    outputs: Sequence[Node], seeds: Sequence[Any], wrt: Sequence[Node], wanted: Any
) -> tuple[Sequence[Any], bool]:
    """Return the gradients, and whether they are recorded, within what is `wanted`.

    Recorded ones are computed as they are drawn, so each loop is held to what is wanted by itself.
    """
    if wanted is None:
        grads, recorded = trampoline(pull_back(outputs, seeds, wrt))
        return grads, recorded
    from autograd.budget import allowing

    nodes, foreign = _ancestors(outputs, set(wrt))
    virtual = any(node._value is None for node in nodes)
    if virtual or _any_node(seeds) or (foreign and current_state().recording):
        with allowing(replace(wanted, strict=True)):
            grads, recorded = trampoline(pull_back(outputs, seeds, wrt))
        return grads, recorded
    found = _within(wanted, _active(nodes, set(wrt))[0], outputs, seeds, wrt)
    return [found.get(x) for x in wrt], False


class _Call:
    """One call of a user's function with fresh nodes in place of its differentiated arguments."""

    def __init__(
        self, fn: Callable[..., Any], argnums: int | Sequence[int], args: Any, kwargs: Any
    ) -> None:
        self.single = isinstance(argnums, int)
        numbers = [argnums] if isinstance(argnums, int) else list(argnums)
        for number in numbers:
            if not -len(args) <= number < len(args):
                raise GradientError(
                    f"argnums names argument {number}, but the function was called with "
                    f"{len(args)} positional arguments"
                )
        self.args = list(args)
        self.fresh: list[Node] = []
        self.recorded = False
        self.structures = []
        for number in numbers:
            leaves, structure = flatten(args[number])
            nodes = [_fresh(leaf) for leaf in leaves]
            self.args[number] = unflatten(structure, nodes)
            self.structures.append((structure, len(nodes)))
            self.fresh += nodes
        with enable_grad():
            self.result = fn(*self.args, **kwargs)

    def gradients(self, outputs: Sequence[Node], seeds: Sequence[Any], wanted: Any = None) -> Any:
        """Return the gradients in the structure of the differentiated arguments."""
        grads, self.recorded = _pulled_back(outputs, seeds, self.fresh, wanted)
        full = [or_zeros(g, x) for g, x in zip(grads, self.fresh, strict=True)]
        trees = []
        for structure, count in self.structures:
            trees.append(unflatten(structure, full[:count]))
            full = full[count:]
        return trees[0] if self.single else tuple(trees)


def or_zeros(g: Any, like: Node) -> Node:
    """Return the gradient `g` as a node; where there is none, zeros with the spec of `like`."""
    if g is None:
        g = np.zeros(like.shape, like.dtype)
    return g if isinstance(g, Node) else make_constant(g)


def make_constant(value: Any) -> Node:
    """Return a constant tensor that takes over `value`, an array nobody else writes to."""
    node: Node = make_leaf(Node, "constant", np.asarray(value), None, False, None)
    return node


def _scalar_output(result: Any, name: str) -> Node:
    if not isinstance(result, Node):
        result = tensor(result)
    if result.shape != ():
        raise GradientError(
            f"{name}: the function must return a scalar, but returned {describe(result)}; reduce "
            "it with sum() or mean(), or use vjp or jacobian"
        )
    scalar: Node = result
    return scalar


def value_and_grad(
    fn: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    memory: int | str | None = None,
    checkpoints: int | None = None,
) -> Callable[..., Any]:
    """Return a function of the same arguments that returns `(fn's value, gradient)`.

    The gradient has the structure (dict, list, tuple) of argument `argnums`, or is a tuple of such
    for a sequence of numbers. With `has_aux`, fn returns `(value, extra)`, and so does this.
    `memory` and `checkpoints` are as for `grad`.
    """
    wanted = _requested(memory, checkpoints)

    def value_and_grad_of(*args: Any, **kwargs: Any) -> Any:
        call = _Call(fn, argnums, args, kwargs)
        result, aux = call.result if has_aux else (call.result, None)
        y = _scalar_output(result, "grad")
        grads = call.gradients([y], [seed_of(y)], wanted)
        value = y if call.recorded else _detached(y)
        return ((value, aux) if has_aux else value), grads

    return value_and_grad_of


def _detached(y: Node) -> Node:
    """Return `y` without its history, so that keeping a loss does not keep its graph."""
    return make_constant(y._value) if y.tracked else y


def _untied(results: Sequence[Any], fresh: Sequence[Node]) -> Sequence[Any]:
    """Return `results` without their history, if only `fresh`, which no one else has, is in it."""
    nodes = [y for y in results if isinstance(y, Node)]
    if any(y.virtual for y in nodes) or _ancestors(nodes, set(fresh))[1]:
        return results
    return [_detached(y) if isinstance(y, Node) else y for y in results]


def grad(
    fn: Any,
    argnums: Any = 0,
    has_aux: bool = False,
    *,
    seed: Any = None,
    memory: int | str | None = None,
    checkpoints: int | None = None,
) -> Any:
    """Return the gradient function of `fn`; or, given a node, its gradients as nodes.

    `grad(fn, argnums)(*args)` is the gradient of a scalar function at `args`.
    `grad(loss, wrt)` with nodes returns the gradient nodes of `loss` in the structure of `wrt`:
    drawn, if they are virtual, else computed and recorded.

    `memory` (bytes, or a text such as "64MB") is how much computing the gradient may allocate
    beyond what exists before; loops then keep fewer states and run steps again, which changes no
    gradient. If that cannot be, a BudgetError says the least. `checkpoints` is how many states
    each loop keeps. See docs/memory.md.
    """
    if isinstance(fn, Node):
        return _grad_of_node(fn, argnums, seed, _requested(memory, checkpoints))
    both = value_and_grad(fn, argnums, has_aux, memory=memory, checkpoints=checkpoints)

    def grad_of(*args: Any, **kwargs: Any) -> Any:
        value, grads = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return grad_of


def _grad_of_node(output: Node, wrt: Any, seed: Any, wanted: Any = None) -> Any:
    leaves, structure = flatten(wrt)
    for leaf in leaves:
        if not isinstance(leaf, Node):
            raise GradientError(
                "grad(node, wrt) takes the nodes to differentiate with respect to, but got "
                f"{leaf!r}; for functions write grad(fn, argnums)(*args)"
            )
        if not leaf.tracked:
            raise GradientError(
                f"{describe(leaf)} is constant or of no float dtype, so nothing has a gradient "
                "with respect to it; use a parameter, an input or tensor(..., requires_grad=True)"
            )
        if leaf.scope is not output.scope:  # in a body, ports stand for what depends on the leaf
            raise GradientError(
                f"{describe(output)} and {describe(leaf)} do not belong to the same body, so the "
                "one cannot be differentiated with respect to the other; write the loss as a "
                "function and use grad(fn)(x) inside the body, or differentiate outside the loop"
            )
    g = seed_of(output, seed)
    if wanted is not None:
        from autograd.budget import drawn_within

        grads = drawn_within(wanted, output, g, leaves)
    else:
        grads, _ = trampoline(pull_back([output], [g], leaves, record=True))
    return unflatten(structure, [or_zeros(g, x) for g, x in zip(grads, leaves, strict=True)])


def vjp(
    fn: Callable[..., Any],
    *args: Any,
    memory: int | str | None = None,
    checkpoints: int | None = None,
) -> tuple[Any, Callable[..., Any]]:
    """Return `fn(*args)` and its pullback: from a cotangent of the result to those of `args`.

    The pullback takes a cotangent of the structure of the result and returns a tuple with one
    gradient an argument. It may be called any number of times. `memory` and `checkpoints` are as
    for `grad`.
    """
    wanted = _requested(memory, checkpoints)
    call = _Call(fn, tuple(range(len(args))), args, {})
    leaves, structure = flatten(call.result)
    outputs = [tensor(y) for y in leaves]

    def pullback(cotangent: Any) -> Any:
        seeds, given = flatten(cotangent)
        if given != structure:
            raise GradientError(
                f"the cotangent has the structure {shown(given)}, but the function's "
                f"result has {shown(structure)}"
            )
        checked = [seed_of(y, seed) for y, seed in zip(outputs, seeds, strict=True)]
        return call.gradients(outputs, checked, wanted)

    return unflatten(structure, _untied(leaves, call.fresh)), pullback


def jvp(fn: Callable[..., Any], args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Return `fn(*args)` and its derivative along `tangents` (same structure as `args`).

    Forward mode is the vjp of the vjp: the pullback u -> J^T u is linear in u, so its own
    pullback is J, whatever u is (zeros here).
    """
    call = _Call(fn, tuple(range(len(args))), tuple(args), {})
    leaves, structure = flatten(call.result)
    outputs = [tensor(y) for y in leaves]
    directions, _ = flatten(tuple(tangents))
    if len(directions) != len(call.fresh):
        raise GradientError(
            f"jvp needs one tangent an argument: {len(call.fresh)} expected, {len(directions)} came"
        )
    checked = [seed_of(x, v) for x, v in zip(call.fresh, directions, strict=True)]
    with enable_grad():
        dummies = [_fresh(or_zeros(None, y)) for y in outputs]
        grads, _ = trampoline(pull_back(outputs, dummies, call.fresh, record=True))
    known = [(g, v) for g, v in zip(grads, checked, strict=True) if g is not None]
    pulled, _ = trampoline(pull_back([g for g, _ in known], [v for _, v in known], dummies))
    along = [or_zeros(g, y) for g, y in zip(pulled, outputs, strict=True)]
    results = _untied([*leaves, *along], [*call.fresh, *dummies])
    return unflatten(structure, results[: len(along)]), unflatten(structure, results[len(along) :])


def jacobian(fn: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """Return a function that returns d fn / d argument: shape `result.shape + argument.shape`."""

    def jacobian_of(*args: Any, **kwargs: Any) -> Node:
        call = _Call(fn, argnum, args, kwargs)
        y = call.result if isinstance(call.result, Node) else tensor(call.result)
        if len(call.fresh) != 1 or not isinstance(y, Node):
            raise GradientError("jacobian takes a function of one array that returns one array")
        rows = []
        for i in range(y.size):
            basis = np.zeros(y.size, y.dtype)
            basis[i] = 1
            rows.append(call.gradients([y], [basis.reshape(y.shape)]))
        shape = y.shape + call.fresh[0].shape
        if not rows:
            return make_constant(np.zeros(shape, y.dtype))
        stacked: Node = OPS["reshape"](OPS["stack"](*rows, axis=0), shape=shape)
        return stacked

    return jacobian_of


def hessian(fn: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """Return a function that returns the matrix of second derivatives of a scalar function."""
    return jacobian(grad(fn, argnum), argnum)


def hvp(fn: Callable[..., Any], args: Sequence[Any], vectors: Sequence[Any]) -> Any:
    """Return the Hessian of the scalar `fn` at `args` times `vectors`, one result an argument.

    Costs about two gradients, whatever the size: the gradient of <grad fn, v>.
    """
    numbers = tuple(range(len(args)))

    def directional(*inner: Any) -> Any:
        grads, _ = flatten(grad(fn, numbers)(*inner))
        directions, _ = flatten(tuple(vectors))
        if len(directions) != len(grads):
            raise GradientError(
                f"hvp needs one vector an argument: {len(grads)} expected, {len(directions)} came"
            )
        total: Any = 0.0
        for g, v in zip(grads, directions, strict=True):
            total = (g * v).sum() + total
        return total

    return grad(directional, numbers)(*args)


def stop_gradient(x: Any) -> Any:
    """Return `x` as a value through which no gradient flows."""
    return OPS["stop_gradient"](x)
