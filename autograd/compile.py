"""compile: functions that are drawn once for each kind of arguments, and then run as plans."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from inspect import signature
from threading import RLock
from types import MethodType
from typing import Any, ClassVar, overload

import numpy as np

from autograd.arrays import apart, copied
from autograd.backend import checked, chosen
from autograd.describe import user_line
from autograd.errors import GraphError
from autograd.execute.plan import compiled
from autograd.execute.reference import compute, steps
from autograd.grad import make_constant, or_zeros, pull_back
from autograd.graph import Graph, unique_name
from autograd.node import Node, apply, draw_input, items, tensor
from autograd.op import Exit, Op, Port
from autograd.recent import Recent
from autograd.scope import current_state, drawing
from autograd.spec import Array, Spec, make_spec
from autograd.structure import interned
from autograd.trampoline import Task
from autograd.tree import flatten, unflatten

MOST = 32
"""For how many kinds of arguments a compiled function keeps what was drawn, if it is not told."""


@overload
def compile(fn: Callable[..., Any], *, backend: str | None = ..., most: int = ...) -> Compiled: ...


@overload
def compile(
    fn: None = ..., *, backend: str | None = ..., most: int = ...
) -> Callable[[Callable[..., Any]], Compiled]: ...


def compile(
    fn: Callable[..., Any] | None = None, *, backend: str | None = None, most: int = MOST
) -> Any:
    """Make `fn` run as a plan: a decorator, `@compile` or `@compile(backend="numpy")`.

    The function is called on virtual nodes, once for each kind of arguments; the graph it draws is
    then run. Arrays and tensors, in trees of dicts, lists and tuples, are told apart by shape and
    dtype only. All else (numbers, texts, None, functions, modules) is told apart by its value, and
    is what it is for the function: a number that changes from call to call should be an array, or
    each call draws anew. The graphs of the `most` kinds used last are kept.

    What the function reads otherwise is frozen as it was when it was drawn: numbers and arrays in
    closures and globals. Parameters are read at every call. A result is a tensor, and can be
    differentiated: by `backward()`, or in `grad`. The fastest is to compile all of it:

        step = ag.compile(ag.value_and_grad(loss))

    Called on virtual nodes, or under `check_finite`, it is the function itself. Threads may call it
    at the same time.
    """
    if backend is not None:
        checked(backend)
    if type(most) is not int or most < 1:
        raise GraphError(f"most, the kinds of arguments kept, must be >= 1, but is {most!r}")
    if fn is None:
        return lambda fn: Compiled(fn, backend, most)
    return Compiled(fn, backend, most)


class Compiled:
    """A function made by `compile`."""

    def __init__(self, fn: Callable[..., Any], backend: str | None, most: int) -> None:
        if not callable(fn):
            raise GraphError(
                f"compile takes a function, but got {type(fn).__name__} {fn!r:.60}; a graph is "
                "compiled by graph.compile()"
            )
        update_wrapper(self, fn, updated=())
        self._fn = fn
        self._backend = backend
        self._known = Recent(most)
        self._lock = RLock()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the method of `instance`, if the function is one of a class."""
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<compiled {getattr(self._fn, '__name__', type(self._fn).__name__)}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, form = flatten((args, kwargs))
        state = current_state()
        if state.check is not None:
            leaves = [tensor(x) if isinstance(x, np.ndarray) else x for x in leaves]
            args, kwargs = unflatten(form, leaves)
        if state.drawing or state.scope is not None or state.check is not None:
            return self._fn(*args, **kwargs)
        kinds: list[Hashable] = []
        given: list[Any] = []
        for leaf in leaves:
            if isinstance(leaf, Node):
                if leaf._value is None:
                    return self._fn(*args, **kwargs)
                kinds.append((leaf.shape, leaf.dtype))
                given.append(leaf)
            elif isinstance(leaf, np.ndarray):
                array = leaf if leaf.dtype.isnative and type(leaf) is np.ndarray else copied(leaf)
                kinds.append((array.shape, array.dtype))
                given.append(array)
            else:
                kinds.append(_kind(leaf))
        return self._traced(leaves, form, kinds).run(given, self._backend or chosen())

    def graph(self, *args: Any, **kwargs: Any) -> Graph:
        """Return the graph that is run for such arguments; what it reads besides is its inputs."""
        leaves, form = flatten((args, kwargs))
        arrays = [leaf if _dynamic(leaf) else None for leaf in leaves]
        kinds = [
            _kind(leaf) if x is None else (x.shape, x.dtype)
            for leaf, x in zip(leaves, arrays, strict=True)
        ]
        graph: Graph = self._traced(leaves, form, kinds).body
        return graph

    def _traced(self, leaves: Sequence[Any], form: Any, kinds: Sequence[Hashable]) -> Traced:
        key = (form, *kinds)
        traced: Traced | None = self._known.get(key)
        if traced is None:
            with self._lock:
                traced = self._known.get(key) or self._known.put(key, self._trace(leaves, form))
        return traced

    def _trace(self, leaves: Sequence[Any], form: Any) -> Traced:
        """Call the function on virtual nodes in place of arrays."""
        name = getattr(self._fn, "__name__", type(self._fn).__name__).strip("<>")
        inputs: dict[str, Node] = {}
        arguments = list(leaves)
        taken: dict[str, int] = {}
        for i, (leaf, path) in enumerate(zip(leaves, _paths(self._fn, form), strict=True)):
            if _dynamic(leaf):
                key = unique_name(path, taken)
                spec = make_spec(leaf.shape, leaf.dtype)
                arguments[i] = inputs[key] = draw_input(key, spec, None)
                inputs[key].line = user_line()
        args, kwargs = unflatten(form, arguments)
        with drawing(None):
            result = self._fn(*args, **kwargs)
        results, structure = flatten(result)
        drawn = {f"output_{i}": y for i, y in enumerate(results) if isinstance(y, Node)}
        if not drawn:
            raise GraphError(
                f"compiled function '{name}' returned {type(result).__name__} {result!r:.60}, in "
                "which there is no node; return what autograd's functions make of its arguments"
            )
        graph = Graph(inputs, drawn, name=name, allow_unused=True)
        leaving = [None if isinstance(y, Node) else y for y in results]
        places = [i for i, y in enumerate(results) if isinstance(y, Node)]
        return Traced(*_pure(graph), structure, leaving, places)


@dataclass(frozen=True)
class Traced:
    """What was drawn for one kind of arguments."""

    body: Graph
    """Its inputs are the arguments that are arrays, and then `lifted`."""
    lifted: tuple[Node, ...]
    """Parameters and tracked tensors that the function uses without being given them."""
    structure: Any
    results: list[Any]
    """What the function returned, None in place of nodes."""
    places: list[int]
    """Where these are."""

    def run(self, given: Sequence[Any], backend: str) -> Any:
        """Return the function's result for its arrays and tensors, in order."""
        inputs = (*given, *self.lifted)
        tracked = any([isinstance(x, Node) and x.tracked for x in inputs])
        outputs: Sequence[Any]
        if tracked and current_state().recording:
            nodes = [x if isinstance(x, Node) else tensor(x) for x in inputs]
            outputs = items(apply(CALL, nodes, {"body": self.body, "backend": backend}))
        else:
            values = [x._value if isinstance(x, Node) else x for x in inputs]
            found = compiled(self.body, backend).execute(values)
            outputs = [make_constant(apart(y, values)) for y in found]
        results = list(self.results)
        for i, y in zip(self.places, outputs, strict=True):
            results[i] = y
        return unflatten(self.structure, results)


class Call(Op):
    """A graph as one node: it runs as a plan, and so does its gradient.

    The gradient computes what it needs of the forward again. (Only recorded tensors are of this op:
    where a graph is drawn, compiled functions draw what is in them.)
    """

    multiple = True
    portable: ClassVar[bool] = False

    def forward(self, *arrays: Array, **attrs: Any) -> Any:
        if current_state().check is not None:
            return compute(self, arrays, attrs)
        return tuple([apart(y, arrays) for y in self._plan(attrs).execute(arrays)])

    def _plan(self, attrs: dict[str, Any]) -> Any:
        return compiled(attrs["body"], attrs["backend"])

    def run(self, values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Task:
        body: Graph = attrs["body"]
        outputs = yield steps(body, values, watch, f"{path or body.name}.")
        return tuple(outputs)

    def infer(self, *specs: Spec, body: Graph, backend: str) -> tuple[Spec, ...]:
        return tuple([node.spec for node in body.outputs.values()])

    def pull(
        self, needs: Sequence[bool], g: Any, y: Any, xs: Sequence[Any], attrs: dict[str, Any]
    ) -> Task:
        wanted = tuple([i for i, need in enumerate(needs) if need])
        given = tuple([i for i, part in enumerate(g) if part is not None])
        body: Graph = attrs["body"]
        key = ("call gradient", wanted, given)
        if key not in body._cache:
            body._cache[key] = yield _gradient(body, wanted, given)
        found = self(*xs, *[g[i] for i in given], **{**attrs, "body": body._cache[key]})
        grads: list[Any] = [None] * len(xs)
        for i, gx in zip(wanted, found, strict=True):
            grads[i] = gx
        return grads

    def bodies(self, attrs: dict[str, Any]) -> tuple[Graph, ...]:
        return (attrs["body"],)

    def ports(self, attrs: dict[str, Any]) -> tuple[tuple[Port, ...], tuple[Exit, ...]]:
        body: Graph = attrs["body"]
        entries = [Port("operand", i, i) for i in range(len(body.inputs))]
        exits = [Exit("result", i, i) for i in range(len(body.outputs))]
        return tuple(entries), tuple(exits)


CALL = Call("call")


def _gradient(body: Graph, wanted: Sequence[int], given: Sequence[int]) -> Task:
    """Return the graph from inputs and gradients of some outputs to those of some inputs."""
    with drawing(None):
        inputs = body.fresh_inputs()
        nodes = list(inputs.values())
        outputs = body.inline(nodes)
        taken = dict.fromkeys(inputs, 2)
        seeds = {
            unique_name(f"g_{i}", taken): draw_input(f"g_{i}", outputs[i].spec, None) for i in given
        }
        wrt = [nodes[i] for i in wanted]
        heads = [outputs[i] for i in given]
        grads, _ = yield pull_back(heads, list(seeds.values()), wrt, True)
        found = {
            f"grad_{i}": or_zeros(grad, x) for i, x, grad in zip(wanted, wrt, grads, strict=True)
        }
    return Graph.of({**inputs, **seeds}, found, f"{body.name}_grad")


def _pure(graph: Graph) -> tuple[Graph, tuple[Node, ...]]:
    """Return the graph with what it reads besides its inputs as further inputs, and what that is.

    If one of the same structure is known, it is that one.
    """
    own = set(graph.inputs.values())
    read = [x for x in graph.nodes if x.tracked and not (x.inputs or x.bodies or x in own)]
    taken = dict.fromkeys(graph.inputs, 2)
    lifted = {unique_name(x.name or x.op.name, taken): x for x in read}
    cut = Graph.of({**graph.inputs, **lifted}, graph.outputs, graph.name)
    ports = {key: draw_input(key, x.spec, None, x.tracked) for key, x in cut.inputs.items()}
    with drawing(None):
        outputs = cut.inline(list(ports.values()))
    body = Graph.of(ports, dict(zip(graph.outputs, outputs, strict=True)), graph.name)
    return interned(body), tuple(lifted.values())


def _paths(fn: Callable[..., Any], form: Any) -> list[str]:
    """Return what each leaf of (args, kwargs) is called: its argument, and its place in that."""
    (_, positional), (_, named) = (child for child in form[1])
    try:
        known = signature(fn).parameters.values()
        names = [p.name for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):  # written in C
        names = []
    names += [f"x{i}" for i in range(len(names), len(positional))]
    stack = [*zip(names, positional, strict=False), *named]
    paths = []
    stack.reverse()
    while stack:
        path, part = stack.pop()
        if part is None:
            paths.append(path)
            continue
        kind, children = part
        pairs = children if kind is dict else enumerate(children)
        stack += [(f"{path}.{key}", child) for key, child in reversed([*pairs])]
    return paths


def _dynamic(leaf: Any) -> bool:
    return isinstance(leaf, (Node, np.ndarray))


def _kind(leaf: Any) -> Hashable:
    """Return what tells an argument that is no array apart from others."""
    try:
        hash(leaf)
    except TypeError:
        raise GraphError(
            f"an argument of a compiled function is {type(leaf).__name__} {leaf!r:.60}, which is "
            "neither an array nor something that can be compared with that of the next call (it "
            "is not hashable); pass an array, a tuple or a dict of arrays"
        ) from None
    # 1 == 1.0 == True, 0.0 == -0.0 and nan != nan, but the function can tell them apart
    return (type(leaf), repr(leaf)) if isinstance(leaf, (float, np.generic)) else (type(leaf), leaf)
