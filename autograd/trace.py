"""Graphs from functions: a function is called once, on virtual nodes."""

from __future__ import annotations

from collections.abc import Callable
from inspect import ismethod
from typing import Any

import numpy as np

from autograd.describe import user_line
from autograd.errors import GraphError
from autograd.graph import Graph
from autograd.node import Node, draw_input
from autograd.scope import drawing
from autograd.spec import Spec, make_spec
from autograd.tree import flatten, unflatten


def trace(fn: Callable[..., Any], *specs: Any, name: str | None = None) -> Graph:
    """Return the graph of `fn`, called once on virtual nodes.

    A spec is a Spec, a shape (float64), an array or node to be like, or a tree of these.
    Inputs are named after the function's arguments.
    """
    inputs: dict[str, Node] = {}
    args = []
    for number, tree in enumerate(specs):
        wanted, structure = _spec_leaves(tree)
        nodes = []
        for i, spec in enumerate(wanted):
            key = _argument_name(fn, number) + ("" if len(wanted) == 1 else f"_{i}")
            node = draw_input(key, spec, None)
            node.line = user_line()
            inputs[key] = node
            nodes.append(node)
        args.append(nodes[0] if structure is None else unflatten(structure, nodes))
    with drawing(None):
        result = fn(*args)
    leaves, structure = flatten(result)
    for leaf in leaves:
        if not isinstance(leaf, Node):
            raise GraphError(
                f"a traced function must return nodes, but returned {type(leaf).__name__} "
                f"{leaf!r}; wrap constants in autograd.constant"
            )
    names = ["output"] if len(leaves) == 1 else [f"output_{i}" for i in range(len(leaves))]
    if isinstance(result, dict):
        names = []
        for key, value in result.items():
            count = len(flatten(value)[0])
            names += [f"{key}_{i}" if count > 1 else str(key) for i in range(count)]
    title = name or getattr(fn, "__name__", "graph").strip("<>")
    graph = Graph(inputs, dict(zip(names, leaves, strict=True)), name=title, allow_unused=True)
    graph.structure = (structure,)
    return graph


def _spec_leaves(tree: Any) -> tuple[list[Spec], Any]:
    if isinstance(tree, Spec):
        return [make_spec(tree.shape, tree.dtype)], None  # one made by hand may say "float32"
    if isinstance(tree, tuple) and all(isinstance(n, int) for n in tree):
        return [make_spec(tree)], None
    if isinstance(tree, (Node, np.ndarray)):
        return [Spec(tree.shape, tree.dtype)], None
    if isinstance(tree, (dict, list, tuple)):
        leaves, structure = flatten(_map_specs(tree))
        return leaves, structure
    raise GraphError(
        f"trace needs a spec for each argument: a Spec, a shape such as (8, 2), an array or a "
        f"tree of these, but got {tree!r}"
    )


def _map_specs(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _map_specs(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)) and not all(isinstance(n, int) for n in tree):
        return type(tree)([_map_specs(value) for value in tree])
    return _spec_leaves(tree)[0][0]


def _argument_name(fn: Callable[..., Any], number: int) -> str:
    code = getattr(fn, "__code__", None)
    place = number + ismethod(fn)  # after self
    if code is not None and place < code.co_argcount:
        return str(code.co_varnames[place])
    return f"x{number}"
