"""A dict that keeps what was used last: how caches stay bounded."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any
from weakref import WeakSet

_ALL: WeakSet[Recent] = WeakSet()


def forget() -> None:
    """Empty all caches of this kind: what was in them is made again when it is asked for."""
    for each in list(_ALL):
        each.clear()


class Recent:
    """At most `most` entries; the one that was not used for longest goes first.

    With `weight`, entries beyond the last `least` go while all weigh more than `limit` together.
    Threads may share it. What one thread drops stays whole for another that holds it.
    """

    def __init__(
        self,
        most: int,
        weight: Callable[[Any], int] | None = None,
        limit: int = 0,
        least: int = 0,
    ) -> None:
        self.most = most
        self.weight = weight
        self.limit = limit
        self.least = least
        self._entries: dict[Hashable, Any] = {}
        self._lock = Lock()
        _ALL.add(self)

    def get(self, key: Hashable) -> Any:
        """Return what is kept for `key`, or None."""
        with self._lock:
            found = self._entries.pop(key, None)
            if found is not None:
                self._entries[key] = found  # a dict is in order: last used, last
            return found

    def put(self, key: Hashable, value: Any) -> Any:
        """Keep `value` (not None) for `key`, and return it; or what is kept for it already."""
        with self._lock:
            known = self._entries.pop(key, value)
            self._entries[key] = known
            while len(self._entries) > self.most or self._too_heavy():
                del self._entries[next(iter(self._entries))]
            return known

    def _too_heavy(self) -> bool:
        if self.weight is None or len(self._entries) <= self.least:
            return False
        return sum(map(self.weight, self._entries.values())) > self.limit

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
