"""Requests for more memory than there is: refused before they hurt, in words that say for what.

NumPy raises a MemoryError where the system refuses. But a system that hands out memory it does not
have lets a request pass, and ends the process when it is used: large requests are compared with
what is available first.
"""

from __future__ import annotations

import os
from math import inf, prod
from typing import Any

from autograd.errors import TooLargeError

LARGE = 1 << 26
"""Requests of fewer bytes are made without asking what is available."""
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def check_room(size: float, what: str, advice: str) -> None:
    """Raise a TooLargeError if `size` bytes for `what` are more than there are."""
    if size <= LARGE:
        return
    room = available()
    if size > room:
        raise TooLargeError(
            f"{what} needs {shown(size)}, but only {shown(room)} of memory are available; {advice}"
        )


def available() -> float:
    """Return the bytes this process can still get, as far as the system says (else infinity)."""
    return min(_free(), _unlimited(), *[_number(a) - _number(b, 0) for a, b in _LIMITS])


def _free() -> float:
    """Return what Linux can give without swapping."""
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return inf


def _unlimited() -> float:
    """Return what is left of the address space that this process may have."""
    try:
        import resource
    except ImportError:  # a system without limits on processes
        return inf
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = "".join(_lines("/proc/self/statm")).split()
    if limit == resource.RLIM_INFINITY or not pages:
        return inf
    return float(limit - int(pages[0]) * os.sysconf("SC_PAGE_SIZE"))


def _number(path: str, default: float = inf) -> float:
    text = "".join(_lines(path)).strip()
    return float(text) if text.isdigit() else default


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.readlines()
    except OSError:
        return []


def refuse(error: Exception, what: str) -> None:
    """Raise a TooLargeError in place of NumPy's MemoryError that arose in `what`, if it is one."""
    shape: Any = getattr(error, "shape", None)
    if not isinstance(error, MemoryError) or shape is None:
        return
    dtype: Any = error.dtype  # type: ignore[attr-defined]
    text = f"{dtype.name}[{', '.join(map(str, shape))}]"
    raise TooLargeError(
        f"{what} needs {shown(prod(shape) * dtype.itemsize)} for an array {text}, which the system "
        "does not give; make it smaller, or leave more memory to this process"
    ) from error


def shown(size: float) -> str:
    """Return a number of bytes as people write it: `1.5 MB`."""
    if size == inf:
        return "more memory than can be told before"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
