"""Machine code on disk, so that a second process need not compile.

What is loaded from here is executed, so nobody else may be able to write it: the folder must be a
real folder (no link) that belongs to this user and that no one else may write to, and so must be
each file. Otherwise nothing is read or written, and `reason` says why. A checksum finds files that
were cut off or damaged; they count as absent. Files are written beside their place and renamed, so
a reader sees all of a file or none of it, and two processes that write the same file do no harm.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LARGEST = 256 * 2**20
"""Bytes of files that are kept; beyond that the oldest go."""

_MAGIC = b"LOOPGRAD NATIVE 1\n"
_HEAD = len(_MAGIC) + hashlib.sha256().digest_size


_PLAIN = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _PLAIN
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN


def folder() -> Path:
    """Return where the machine code is kept: `LOOPGRAD_CACHE`, or the platform's usual place."""
    chosen = os.environ.get("LOOPGRAD_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "loopgrad"


class Cache:
    """Bytes by key, in files of one folder that is this user's alone."""

    def __init__(self, path: Path | None = None, largest: int = LARGEST) -> None:
        self.path = path or folder()
        self.largest = largest
        self.reason = self._prepare()
        """Why nothing is kept, or "" if all is well."""

    def read(self, key: str) -> bytes | None:
        """Return what was kept under `key`, or None if there is nothing sound."""
        if self.reason:
            return None
        with (
            contextlib.suppress(OSError),
            self._folder() as inside,
            inside.opened(key, _READ) as file,
        ):
            if not _fault(os.fstat(file), stat.S_ISREG):
                return _checked(key, _all_of(file))
        return None

    def write(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`. A disk that is full or read-only is no error."""
        if self.reason:
            return
        beside = f"{key}.{os.getpid()}.{threading.get_ident()}"
        with contextlib.suppress(OSError), self._folder() as inside:
            try:
                with inside.opened(beside, _CREATE) as file:
                    _write_all(file, _MAGIC + _digest(key, data) + data)
                inside.rename(beside, key)
            except OSError:
                inside.remove(beside)
            inside.evict(self.largest)

    def _prepare(self) -> str:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            fault = _fault(os.lstat(self.path), stat.S_ISDIR)
        except OSError as error:
            fault = f"cannot be used ({error.strerror})"
        return fault and f"compiled code is not kept on disk: {self.path} {fault}"

    @contextlib.contextmanager
    def _folder(self) -> Iterator[_Folder]:
        """Give the folder, looked at again and then held: no other can take its place."""
        if os.open not in os.supports_dir_fd:
            if _fault(os.lstat(self.path), stat.S_ISDIR):
                raise PermissionError
            yield _Folder(self.path, None)
            return
        held = os.open(self.path, _READ | os.O_DIRECTORY)
        try:
            if _fault(os.fstat(held), stat.S_ISDIR):
                raise PermissionError
            yield _Folder(self.path, held)
        finally:
            os.close(held)


@dataclass(frozen=True)
class _Folder:
    """A folder, by its open file where the system has functions that work inside of one."""

    path: Path
    held: int | None

    def _at(self, name: str) -> str:
        return str(self.path / name) if self.held is None else name

    @contextlib.contextmanager
    def opened(self, name: str, flags: int) -> Iterator[int]:
        file = os.open(self._at(name), flags, 0o600, dir_fd=self.held)
        try:
            yield file
        finally:
            os.close(file)

    def rename(self, old: str, new: str) -> None:
        os.replace(self._at(old), self._at(new), src_dir_fd=self.held, dst_dir_fd=self.held)

    def remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._at(name), dir_fd=self.held)

    def evict(self, largest: int) -> None:
        """Remove the oldest files until there are at most `largest` bytes."""
        with os.scandir(self.path if self.held is None else self.held) as entries:
            files = [(e.stat().st_mtime, e.stat().st_size, e.name) for e in entries]
        excess = sum(size for _, size, _ in files) - largest
        for _, size, name in sorted(files):
            if excess <= 0:
                break
            self.remove(name)
            excess -= size


def _fault(status: os.stat_result, is_kind: Callable[[int], bool]) -> str:
    """Say what is wrong with a file or folder from which code would be executed, or return ""."""
    if not is_kind(status.st_mode):
        return "is a link or of another kind; remove it, or set LOOPGRAD_CACHE to another folder"
    if sys.platform == "win32":  # access is governed by lists that the user's profile brings
        return ""
    if status.st_uid != os.getuid():
        return "belongs to another user; set LOOPGRAD_CACHE to a folder of your own"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written by others; `chmod 700` it"
    return ""


def _digest(key: str, data: bytes) -> bytes:
    return hashlib.sha256(key.encode() + data).digest()


def _checked(key: str, content: bytes) -> bytes | None:
    data = content[_HEAD:]
    return data if content[:_HEAD] == _MAGIC + _digest(key, data) else None


def _all_of(file: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as stream:
        return stream.read()


def _write_all(file: int, content: bytes) -> None:
    with os.fdopen(os.dup(file), "wb") as stream:
        stream.write(content)
