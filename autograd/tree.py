"""Nested arguments: dicts, lists and tuples of leaves, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Structure = Any
"""`None` for a leaf; else a pair (container kind, children), hashable and printable."""


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Return the leaves of `tree` from left to right (dicts in the order of their keys)."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Structure:
    if isinstance(tree, dict):
        return dict, tuple((key, _flatten(value, leaves)) for key, value in tree.items())
    if isinstance(tree, (list, tuple)):
        kind = type(tree)
        return kind, tuple(_flatten(value, leaves) for value in tree)
    leaves.append(tree)
    return None


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """Return the tree of `structure` with `leaves` in place."""
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: Structure, leaves: Any) -> Any:
    if structure is None:
        return next(leaves)
    kind, children = structure
    if kind is dict:
        return {key: _unflatten(child, leaves) for key, child in children}
    values = [_unflatten(child, leaves) for child in children]
    return kind(*values) if hasattr(kind, "_fields") else kind(values)


class _Value:
    def __repr__(self) -> str:
        return "value"


def shown(structure: Structure) -> str:
    """Return how errors write a structure: `{'a': value, 'b': (value, value)}`."""
    return repr(unflatten(structure, [_Value()] * count_leaves(structure)))


def count_leaves(structure: Structure) -> int:
    """Return how many leaves a tree of this structure has."""
    if structure is None:
        return 1
    kind, children = structure
    return sum(count_leaves(child[1] if kind is dict else child) for child in children)
