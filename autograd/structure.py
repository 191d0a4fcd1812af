"""What makes two graphs the same: drawn twice by the same lines, they need not be kept twice."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from autograd.graph import Graph
from autograd.node import OPS, Node
from autograd.recent import Recent
from autograd.trampoline import Task, trampoline

LARGEST = 1 << 16
"""A graph that holds constants of more bytes than this is like no other: they are not compared."""

_IN_USE: WeakValueDictionary[bytes, Graph] = WeakValueDictionary()
_KEPT = Recent(64)
_NONE = b""


def structure(graph: Graph) -> bytes | None:
    """Return a digest that two graphs share if nothing but their identity tells them apart.

    That is: same ops on the same nodes with the same attrs and bodies, same names, same lines in
    the user's code, constants of the same values, and the very same parameters and functions of
    the user's. None for a graph with large constants. Cost: about one microsecond a node.
    """
    digest: bytes = trampoline(_structure(graph))
    return digest or None


def interned(graph: Graph, keep: bool = False) -> Graph:
    """Return a graph of this structure that is in use somewhere, with all that is kept with it.

    `graph` itself if there is none, or if it has large constants. With `keep` it stays known though
    nobody uses it: the last 64 do.
    """
    digest = structure(graph)
    if digest is None:
        return graph
    known: Graph = _IN_USE.setdefault(digest, graph)
    if keep:
        _KEPT.put(digest, known)
    return known


def _structure(graph: Graph) -> Task:
    digest = graph._cache.get("structure")
    if digest is None:
        digest = graph._cache["structure"] = yield _digest(graph)
    return digest


def _digest(graph: Graph) -> Task:
    from hashlib import blake2b

    numbers: dict[Node, int] = {}
    parts: list[Any] = [graph.name, *graph.inputs, *graph.outputs, repr(graph.structure)]
    for node in graph.inputs.values():
        numbers[node] = len(numbers)
        parts.append((str(node.spec), node.name, node.line, node.tracked))
    large = 0
    for node in graph.nodes:
        if node in numbers:
            continue
        numbers[node] = len(numbers)
        if node.inputs or node.bodies:
            values = []
            for key, value in node.attrs.items():
                if isinstance(value, Graph):
                    inner = yield _structure(value)
                    if inner == _NONE:
                        return _NONE
                    values.append((key, inner))
                else:
                    values.append((key, _plain(value)))
            op = node.op.name if OPS.get(node.op.name) is node.op else id(node.op)
            parts.append((op, [numbers[x] for x in node.inputs], values))
        elif node.tracked or node.op.name != "constant":
            parts.append(id(node))
        else:
            value = node.value
            large += value.nbytes
            if large > LARGEST:
                return _NONE
            parts.append((value.dtype.str, value.shape, value.tobytes()))
        parts.append((node.name, node.line, node.tracked, node.pulled))
    parts += [numbers[node] for node in graph.outputs.values()]
    return blake2b(repr(parts).encode(), digest_size=20).digest()


def _plain(value: Any) -> Any:
    """Return an attr as something whose `repr` says all of it."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, slice)):
        return value
    if isinstance(value, (tuple, list)):
        return type(value).__name__, [_plain(x) for x in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return type(value).__name__, id(value)
