"""BranchNode: one of several graphs, chosen by a value. The others are not run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from autograd.describe import describe, settle
from autograd.errors import DTypeError, GraphError, ShapeError
from autograd.execute.footprint import peak
from autograd.execute.reference import compute, steps
from autograd.grad import or_zeros, pull_back
from autograd.graph import Graph, unique_name
from autograd.node import Node, draw_input, seen_from, tensor
from autograd.op import Exit, Op, Port, Trips, register
from autograd.scope import Scope, current_state, drawing
from autograd.spec import Spec
from autograd.trampoline import Task
from autograd.tree import flatten, shown, unflatten
from loops.recent import for_gradients


class Branch(Op):
    """The op of BranchNode. Inputs: the index, then what every body gets. Attrs: the bodies."""

    multiple = True

    def forward(self, *arrays: Any, **attrs: Any) -> Any:
        return compute(self, arrays, attrs)

    def run(self, values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Task:
        bodies = self.bodies(attrs)
        index = int(values[0])
        if not 0 <= index < len(bodies):
            raise GraphError(
                f"branch '{path or 'branch'}' has {len(bodies)} bodies, numbered from 0, but its "
                f"index is {index}"
            )
        outputs = yield steps(bodies[index], values[1:], watch, f"{path}.{index}.")
        return tuple(outputs)

    def infer(self, *specs: Spec, **attrs: Any) -> tuple[Spec, ...]:
        bodies = self.bodies(attrs)
        if not bodies or not all(isinstance(body, Graph) for body in attrs.values()):
            raise GraphError("a branch holds one graph for each value of its index")
        if not specs or specs[0].shape != () or specs[0].floating:
            raise DTypeError(
                "the index of a branch must be a bool or integer scalar, but is "
                f"{specs[0] if specs else 'missing'}; compare first, for example x.sum() > 0"
            )
        results = [tuple(node.spec for node in body.outputs.values()) for body in bodies]
        for number, body in enumerate(bodies):
            wanted = [node.spec for node in body.inputs.values()]
            if wanted != list(specs[1:]):
                raise ShapeError(
                    f"body {number} of the branch takes ({_texts(wanted)}), but gets "
                    f"({_texts(specs[1:])})"
                )
            if results[number] != results[0]:
                raise ShapeError(
                    f"all bodies of a branch must return the same specs, but body 0 returns "
                    f"({_texts(results[0])}) and body {number} ({_texts(results[number])})"
                )
        return results[0]

    def fit(self, specs: Sequence[Spec], attrs: dict[str, Any]) -> Task:
        wanted = list(specs[1:])
        fitted = dict(attrs)
        for key, body in attrs.items():
            if wanted != [node.spec for node in body.inputs.values()]:
                fitted[key] = yield body.redrawn(dict(zip(body.inputs, wanted, strict=True)))
        return fitted

    def pull(
        self, needs: Sequence[bool], g: Any, y: Any, xs: Sequence[Any], attrs: dict[str, Any]
    ) -> Any:
        return _branch_gradient(needs, g, xs, attrs)

    def batch(self, batched: Sequence[bool], *xs: Any, **attrs: Any) -> Any:
        from loops.batch import batched_branch

        return batched_branch(batched, xs, self.bodies(attrs))

    def bodies(self, attrs: dict[str, Any]) -> tuple[Graph, ...]:
        return tuple(attrs.values())

    def ports(self, attrs: dict[str, Any]) -> tuple[tuple[Port, ...], tuple[Exit, ...]]:
        entries = []
        exits = []
        for number, body in enumerate(self.bodies(attrs)):
            entries += [Port("operand", i + 1, i, number) for i in range(len(body.inputs))]
            exits += [Exit("result", i, i, number) for i in range(len(body.outputs))]
        return tuple(entries), tuple(exits)

    def trips(self, specs: Sequence[Spec], attrs: dict[str, Any]) -> Trips:
        return Trips(1, one_of=True)

    def working(
        self, inputs: Sequence[Spec], outputs: Sequence[Spec], attrs: dict[str, Any]
    ) -> Task:
        most = 0.0
        for body in self.bodies(attrs):
            most = max(most, (yield peak(body)).bytes)
        return most

    def label(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {}


class BranchNode(Node):
    """One of several graphs, chosen by a value; drawn by `cond` and `switch`."""

    __slots__ = ()


branch = register(Branch("branch"))
Branch.node_type = BranchNode


def _texts(specs: Sequence[Spec]) -> str:
    return ", ".join(map(str, specs))


def _attrs(bodies: Sequence[Graph]) -> dict[str, Any]:
    return {f"body_{number}": body for number, body in enumerate(bodies)}


def _branch_gradient(
    needs: Sequence[bool], g: Sequence[Any], xs: Sequence[Any], attrs: dict[str, Any]
) -> Task:
    """Return the gradients of a branch: a branch between the gradients of its bodies.

    Each body computes what its gradient needs again; so nothing of a body not taken is computed.
    """
    given = tuple(i for i, part in enumerate(g) if part is not None)
    wanted = tuple(i for i, need in enumerate(needs[1:]) if need)
    bodies = []
    for body in branch.bodies(attrs):
        kept = for_gradients(body)
        key = ("gradient", wanted, given)
        if key not in kept:
            kept[key] = yield _body_gradient(body, wanted, given)
        bodies.append(kept[key])
    outputs = branch(xs[0], *xs[1:], *[g[i] for i in given], **_attrs(bodies))
    results: list[Any] = [None] * len(needs)
    for i, output in zip(wanted, outputs, strict=True):
        results[i + 1] = output
    return results


def _body_gradient(body: Graph, wanted: Sequence[int], given: Sequence[int]) -> Task:
    scope = Scope(f"{body.name}_grad", None, "branch")
    with drawing(scope):
        inputs = [draw_input(name, x.spec, scope) for name, x in body.inputs.items()]
        outputs = body.inline(inputs)
        heads = [outputs[i] for i in given]
        seeds = [
            draw_input(f"g_{i}", head.spec, scope) for i, head in zip(given, heads, strict=True)
        ]
        wrt = [inputs[i] for i in wanted]
        grads, _ = yield pull_back(heads, seeds, wrt, True)
        full = [or_zeros(grad, x) for x, grad in zip(wrt, grads, strict=True)]
    names = dict(zip(body.inputs, inputs, strict=True))
    taken = dict.fromkeys(names, 2)
    names |= {unique_name(f"g_{i}", taken): seed for i, seed in zip(given, seeds, strict=True)}
    results = {f"grad_{i}": grad for i, grad in zip(wanted, full, strict=True)}
    graph = Graph.of(names, results, scope.name)
    settle(graph.nodes, Graph.of(names, dict(zip(body.outputs, outputs, strict=True)), "").names)
    return graph


def cond(
    predicate: Any, if_true: Callable[..., Any], if_false: Callable[..., Any], *operands: Any
) -> Any:
    """Return `if_true(*operands)` where `predicate` holds, else `if_false(*operands)`.

    Both must return the same structure of the same specs. Drawn as a BranchNode; on a tensor
    predicate outside any loop, the chosen function is just called.
    """
    return _chosen(predicate, {"if_false": if_false, "if_true": if_true}, operands, "cond")


def switch(
    index: Any, functions: Sequence[Callable[..., Any]], *operands: Any, name: str = "switch"
) -> Any:
    """Return `functions[index](*operands)`; only that function is run."""
    named = {str(number): function for number, function in enumerate(functions)}
    return _chosen(index, named, operands, name)


def _chosen(
    index: Any, functions: dict[str, Callable[..., Any]], operands: Sequence[Any], name: str
) -> Any:
    """Call, or draw a branch of, the functions; they are numbered in order, and have names."""
    node = tensor(index)
    if node.shape != () or node.dtype.kind == "f":
        raise DTypeError(
            f"{name} chooses by a bool or integer scalar, but got {describe(node)}; compare first, "
            "for example x.sum() > 0"
        )
    if not functions:
        raise GraphError(f"{name} got no functions to choose from; pass at least one")
    outer = current_state().scope
    if not node.virtual and outer is None:
        number = int(node)
        if not 0 <= number < len(functions):
            raise GraphError(
                f"{name} has {len(functions)} functions, numbered from 0, but the index is {number}"
            )
        return list(functions.values())[number](*operands)
    return _drawn(node, functions, operands, name, outer)


def _drawn(
    index: Node,
    functions: dict[str, Callable[..., Any]],
    operands: Sequence[Any],
    name: str,
    outer: Scope | None,
) -> Any:
    leaves, structure = flatten(tuple(operands))
    given = [seen_from(outer, tensor(x)) for x in leaves]
    scopes = [Scope(f"{name}.{key}", outer, "branch") for key in functions]
    try:
        bodies, captured, shape = _bodies([*functions.values()], structure, given, scopes, name)
    finally:
        for scope in scopes:
            scope.captured = {}  # its ports know their scope: that would be a cycle
    made = branch(seen_from(outer, index), *given, *captured, **_attrs(bodies))
    made[0].inputs[0].named(name)
    return unflatten(shape, list(made))


def _bodies(
    functions: Sequence[Callable[..., Any]],
    structure: Any,
    given: Sequence[Node],
    scopes: Sequence[Scope],
    name: str,
) -> tuple[list[Graph], list[Node], Any]:
    """Return the body of each function, what all of them take besides `given`, and their result."""
    ports, results, structures = [], [], []
    for function, scope in zip(functions, scopes, strict=True):
        with drawing(scope):
            own = [draw_input(x.name, x.spec, scope, x.tracked) for x in given]
            result, shape = flatten(function(*unflatten(structure, own)))
            if not result or any(y is None for y in result):
                raise GraphError(
                    f"{_said(scope)} of {name} must return a value, or a tree "
                    f"of values, but returned {unflatten(shape, result)!r}"
                )
            outputs = [seen_from(scope, tensor(y)) for y in result]
        ports.append(own)
        results.append(outputs)
        structures.append(shape)
    _check_alike(name, [_said(scope) for scope in scopes], structures, results)
    captured = list(dict.fromkeys(x for scope in scopes for x in scope.captured))
    bodies = []
    for scope, own, outputs in zip(scopes, ports, results, strict=True):
        inner = [
            scope.captured[x]
            if x in scope.captured
            else draw_input(x.name, x.spec, scope, x.tracked)
            for x in captured
        ]
        entries = {f"operand_{i}": port for i, port in enumerate(own)}
        entries |= {f"captured_{i}": port for i, port in enumerate(inner)}
        exits = {f"result_{i}": y for i, y in enumerate(outputs)}
        bodies.append(Graph.of(entries, exits, scope.name))
    return bodies, captured, structures[0]


def _said(scope: Scope) -> str:
    """Return what errors call the function a scope is the body of."""
    key = scope.name.rpartition(".")[2]
    return f"function {key}" if key.isdigit() else key


def _check_alike(
    name: str,
    functions: Sequence[str],
    structures: Sequence[Any],
    results: Sequence[Sequence[Node]],
) -> None:
    for function, structure, outputs in zip(functions, structures, results, strict=True):
        if structure != structures[0]:
            raise GraphError(
                f"{name}: {functions[0]} returns {shown(structures[0])}, but {function} "
                f"returns {shown(structure)}; all must return the same structure"
            )
        for first, other in zip(results[0], outputs, strict=True):
            if first.spec != other.spec:
                raise ShapeError(
                    f"{name}: {functions[0]} returns {describe(first)}, but {function} returns "
                    f"{describe(other)}; all must return the same shape and dtype"
                )
