"""Which backend runs graphs, where nobody says it: for a `with` block, or for the process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from autograd.errors import GraphError

BACKENDS = ("auto", "reference", "numpy", "native")
VARIABLE = "LOOPGRAD_BACKEND"
"""The environment variable that holds the default of a process, read at the first use."""

_CHOSEN: ContextVar[str | None] = ContextVar("loopgrad_backend", default=None)
_default: str | None = None


def backend(name: str) -> AbstractContextManager[None]:
    """Run the graphs of the `with` block by `name`: "auto", "reference", "numpy" or "native".

    It is what `graph.compile` and `autograd.compile` take if they are told nothing, and
    `graph.run` and loops on tensors go the same way. (Under "auto", which is the default, these two
    go by the reference executor.) The environment variable LOOPGRAD_BACKEND says it for a process.
    """
    return _choosing(checked(name))


@contextmanager
def _choosing(name: str) -> Iterator[None]:
    token = _CHOSEN.set(name)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def checked(name: str, what: str = "a backend") -> str:
    """Return `name` if it is that of a backend that can be used here."""
    if name not in BACKENDS:
        raise GraphError(f"{what} is one of {', '.join(BACKENDS)}, but is {name!r}")
    if name == "native":
        from autograd.execute.plan import native_missing

        if native_missing():
            by = "" if what == "a backend" else f", which {what} asks for,"
            raise GraphError(
                f"backend 'native'{by} cannot be used: {native_missing()}; choose 'numpy' or "
                "'auto' to do without it"
            )
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
