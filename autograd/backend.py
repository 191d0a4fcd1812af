"""Which backend runs graphs, where nobody says it: for a `with` block, or for the process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from autograd.errors import GraphError

BACKENDS = ("auto", "reference", "numpy", "native")
VARIABLE = "LOOPGRAD_BACKEND"
"""The environment variable that holds the default of a process, read at the first use."""

_CHOSEN: ContextVar[str | None] = ContextVar("loopgrad_backend", default=None)
_default: str | None = None


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Run the graphs of the `with` block by `name`: "auto", "reference", "numpy" or "native".

    It is what `graph.compile` and `autograd.compile` take if they are told nothing, and
    `graph.run` and loops on tensors go the same way. (Under "auto", which is the default, these two
    go by the reference executor.) The environment variable LOOPGRAD_BACKEND says it for a process.
    """
    token = _CHOSEN.set(checked(name))
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def checked(name: str, what: str = "a backend") -> str:
    """Return `name` if it is that of a backend."""
    if name not in BACKENDS:
        raise GraphError(f"{what} is one of {', '.join(BACKENDS)}, but is {name!r}")
    return name


def chosen() -> str:
    """Return the backend of this `with` block, or of the process."""
    return _CHOSEN.get() or _default or _read_default()


def _read_default() -> str:
    global _default
    name = os.environ.get(VARIABLE) or "auto"
    _default = checked(name, f"the environment variable {VARIABLE}")
    return _default


def for_running() -> str | None:
    """Return the backend `graph.run` and loops on tensors go by; None: the reference executor."""
    name = chosen()
    return None if name in ("auto", "reference") else name


def automatic() -> bool:
    """Whether nobody chose a backend: then what pays may go another way than the reference."""
    return chosen() == "auto"
