"""What is kept with a body for one size: only that for the last few sizes that were asked for.

Most of what is derived of a body is kept with it for good: there are as many gradients of it as
there are ways to ask for one. But batches have any number of examples, and budgets any number of
bytes.
"""

from __future__ import annotations

from collections.abc import Hashable
from threading import Lock
from typing import Any

from autograd.budget import allowance
from autograd.graph import Graph

MOST = 8
"""How many sizes of a kind are kept with a body."""
_LOCK = Lock()


def recent(body: Graph, kind: str, size: Hashable) -> dict[Any, Any]:
    """Return the dict of what is kept with `body` for a size; that of the oldest use goes.

    Threads may share a body: what another thread drops stays whole for those who hold it.
    """
    with _LOCK:
        sizes: dict[Hashable, dict[Any, Any]] = body._cache.setdefault(("recent", kind), {})
        kept = sizes.pop(size, None)
        if kept is None:
            kept = {}
            if len(sizes) >= MOST:
                del sizes[next(iter(sizes))]
        sizes[size] = kept  # a dict is in order: last used, last
    return kept


def for_batch(body: Graph, size: int) -> dict[Any, Any]:
    """Return where bodies for a batch of `size` examples are kept."""
    return recent(body, "batch", size)


def for_gradients(body: Graph) -> dict[Any, Any]:
    """Return where gradients of `body` are kept: those of loops inside go by the allowance."""
    allowed = None if body.flat else allowance()
    return body._cache if allowed is None else recent(body, "allowance", allowed)
