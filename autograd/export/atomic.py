"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from pathlib import Path

_LEFT_OVER = re.compile(r"\.(.*)\.[0-9a-f]{12}\.tmp", re.ASCII)


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Write `parts` to `path`: beside it, flushed to the disk, then renamed onto it.

    A crash at any moment leaves the old file or the new one, and perhaps one beside it that was
    being written (see `left_over`). A link at `path` is replaced, not followed. Raises OSError.
    """
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
    handle = os.open(
        beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666
    )
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    _flush_folder(path.parent)


def left_over(name: str) -> str | None:
    """Return what was being written (its name, the first 100 characters) where `name` was left.

    None if it is not the name of a file that `write_whole` leaves behind when it is killed.
    """
    match = _LEFT_OVER.fullmatch(name)
    return match[1] if match else None


def _flush_folder(folder: Path) -> None:
    """Make the renaming itself survive a power failure, where folders can be flushed."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
