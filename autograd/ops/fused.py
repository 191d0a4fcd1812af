"""Several elementwise ops as one: a body that an executor may run element by element, in one pass.

The pass `fuse` (autograd/rewrite/fuse.py) draws it for executors that can. To all others it is an
op with a body like any other: run, differentiated, mapped over, drawn, saved and laid out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograd.errors import GraphError, ShapeError
from autograd.grad import pull_back
from autograd.graph import Graph
from autograd.node import Node, draw_input
from autograd.op import Exit, Op, Port, register
from autograd.ops.elementwise import Elementwise
from autograd.ops.shape import full_batch, reshape
from autograd.scope import drawing
from autograd.spec import Spec, spec_of
from autograd.trampoline import Task, trampoline


class Fused(Op):
    """Elementwise ops as one op. `body` has a port for each input; all its outputs have one shape.

    Inputs may be of shapes that broadcast to that of the outputs.
    """

    multiple = True
    overwrites = None

    def forward(self, *arrays: Any, body: Graph) -> Any:
        from autograd.execute.reference import compute

        self.infer(*[spec_of(np.asarray(x)) for x in arrays], body=body)
        return compute(self, arrays, {"body": body})

    def run(self, values: Sequence[Any], attrs: dict[str, Any], watch: Any, path: str) -> Task:
        from autograd.execute.reference import steps

        outputs = yield steps(attrs["body"], values, watch, f"{path or self.name}.")
        return tuple(outputs)

    def infer(self, *specs: Spec, body: Graph) -> tuple[Spec, ...]:
        _check_body(body)
        wanted = [port.spec for port in body.inputs.values()]
        if wanted != list(specs):
            raise ShapeError(
                f"the body '{body.name}' of fused ops takes ({_texts(wanted)}), but gets "
                f"({_texts(specs)}); draw it for these"
            )
        return tuple([node.spec for node in body.outputs.values()])

    def pull(
        self, needs: Sequence[bool], g: Any, y: Any, xs: Sequence[Any], attrs: dict[str, Any]
    ) -> list[Any]:
        from autograd.execute.reference import execute

        wanted = [i for i, need in enumerate(needs) if need]
        given = [i for i, part in enumerate(g) if part is not None]
        gradient, places = _gradient(attrs["body"], tuple(wanted), tuple(given))
        results: list[Any] = [None] * len(needs)
        if gradient is not None:
            inputs = [*xs, *[g[i] for i in given]]
            drawn = any([isinstance(x, Node) for x in inputs])
            found = gradient.inline(inputs) if drawn else execute(gradient, inputs)
            for i, part in zip(places, found, strict=True):
                results[i] = part
        return results

    def lower(self, level: Any, node: Node) -> Any:
        return level.compute(node)

    def batch(self, batched: Sequence[bool], *xs: Any, body: Graph) -> Any:
        """Give each input the batch axis, in front of as many axes as the outputs have."""
        rank = next(iter(body.outputs.values())).ndim
        full = []
        for x in full_batch(batched, xs):
            n, *rest = x.shape
            full.append(reshape(x, (n, *(1,) * (rank - len(rest)), *rest)))
        specs = [Spec(x.shape, x.dtype) for x in full]
        redrawn = trampoline(body.redrawn(dict(zip(body.inputs, specs, strict=True))))
        return self(*full, body=redrawn)

    def fit(self, specs: Sequence[Spec], attrs: dict[str, Any]) -> Task:
        body: Graph = attrs["body"]
        if list(specs) == [port.spec for port in body.inputs.values()]:
            return attrs
        redrawn = yield body.redrawn(dict(zip(body.inputs, specs, strict=True)))
        return {**attrs, "body": redrawn}

    def bodies(self, attrs: dict[str, Any]) -> tuple[Graph, ...]:
        return (attrs["body"],)

    def replaceable(self, attrs: dict[str, Any]) -> tuple[str, ...]:
        """No body may stand for it but one of elementwise ops, which no pass promises."""
        return ()

    def expand(
        self, attrs: dict[str, Any], inputs: Sequence[Node], path: str, factor: int | None
    ) -> list[Node] | None:
        body: Graph = attrs["body"]
        return None if factor is not None else body.inline(inputs, f"{path}.")

    def ports(self, attrs: dict[str, Any]) -> tuple[tuple[Port, ...], tuple[Exit, ...]]:
        body: Graph = attrs["body"]
        entries = [Port("operand", i, i) for i in range(len(body.inputs))]
        return tuple(entries), tuple([Exit("result", i, i) for i in range(len(body.outputs))])

    def output_name(self, attrs: dict[str, Any], index: int) -> str:
        return str(list(attrs["body"].outputs)[index])

    def working(
        self, inputs: Sequence[Spec], outputs: Sequence[Spec], attrs: dict[str, Any]
    ) -> Task:
        from autograd.execute.footprint import peak

        found = yield peak(attrs["body"])
        return found.bytes

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        body: Graph = attrs["body"]
        return sum(
            [
                node.op.flops([x.spec for x in node.inputs], node.spec, node.attrs)
                for node in body.nodes
                if node.inputs
            ]
        )


fused: Fused = register(Fused("fused"))


def fusable(node: Node) -> bool:
    """Whether `node` is computed element by element, from elements at the same place."""
    return isinstance(node.op, Elementwise) or node.op.name == "astype"


def _check_body(body: Any) -> None:
    """Check, once for each body, that it is one of elementwise ops."""
    if not isinstance(body, Graph):
        raise GraphError(f"the body of fused ops must be a graph, but is {type(body).__name__}")
    if body._cache.get("fused"):
        return
    ports = set(body.inputs.values())
    for node in body.nodes:
        constant = node.op.name == "constant" and not node.tracked
        if not (node in ports or constant or fusable(node)):
            raise GraphError(
                f"the body '{body.name}' of fused ops holds '{body.names[node]}' of op "
                f"'{node.op.name}', which is not elementwise; leave it outside"
            )
    shapes = {node.shape for node in body.outputs.values()}
    if len(shapes) > 1:
        raise ShapeError(
            f"outputs of fused ops must have one shape, but those of '{body.name}' have "
            f"{sorted(shapes)}; fuse those of each shape"
        )
    body._cache["fused"] = True


def _texts(specs: Sequence[Spec]) -> str:
    return ", ".join(map(str, specs))


def _gradient(
    body: Graph, wanted: tuple[int, ...], given: tuple[int, ...]
) -> tuple[Graph | None, list[int]]:
    """Return the graph [inputs, gradients of outputs `given`] -> [gradients of inputs `wanted`].

    Only of those that have one: their positions come second, and None if there are none. It is
    kept with the body.
    """
    key = ("gradient", wanted, given)
    if key not in body._cache:
        body._cache[key] = _drawn_gradient(body, wanted, given)
    found: tuple[Graph | None, list[int]] = body._cache[key]
    return found


def _drawn_gradient(
    body: Graph, wanted: tuple[int, ...], given: tuple[int, ...]
) -> tuple[Graph | None, list[int]]:
    ports = body.inputs.items()
    inputs = {f"x_{i}": draw_input(name, x.spec, None) for i, (name, x) in enumerate(ports)}
    xs = list(inputs.values())
    with drawing(None):
        outputs = body.inline(xs)
        for i in given:
            inputs[f"g_{i}"] = draw_input(f"g_{i}", outputs[i].spec, None)
        seeds = [inputs[f"g_{i}"] for i in given]
        heads = [outputs[i] for i in given]
        grads, _ = trampoline(pull_back(heads, seeds, [xs[i] for i in wanted], True))
    found = {i: grad for i, grad in zip(wanted, grads, strict=True) if grad is not None}
    if not found:
        return None, []
    results = {f"grad_{i}": grad for i, grad in found.items()}
    return Graph.of(inputs, results, f"{body.name}_grad"), list(found)
