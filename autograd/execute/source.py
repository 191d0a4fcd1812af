"""Generated source becomes code: the only place that compiles any.

Plans write Python from a fixed set of words, identifiers they number themselves and NumPy functions
they bind; nothing a graph or a file says gets into it but as a comment, cleaned by `remark`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from types import CodeType
from typing import Any

FILE = "<loopgrad plan>"
"""What tracebacks call the file."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_.,:\[\]() -]")


def remark(text: str) -> str:
    """Return `text` as it may stand in a comment: on one line, plain characters, not too long."""
    return _UNSAFE.sub("?", text)[:120]


@lru_cache(maxsize=256)
def _compiled(source: str) -> CodeType:
    return compile(source, FILE, "exec")


def defined(source: str, name: str, namespace: dict[str, Any]) -> Any:
    """Return the function `name` that `source` defines over the values in `namespace`.

    The same source is compiled once, whatever arrays it is bound to.
    """
    exec(_compiled(source), namespace)
    return namespace.pop(name)  # or function and namespace would keep each other alive
