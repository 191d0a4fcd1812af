"""Arrays, numbers and texts in a safetensors file: data only, sealed by a digest.

What safetensors has no place for is one text of the metadata, `loopgrad`, a JSON table:

    {"sha256": "<digest>", "version": 1, "values": {...}, "metadata": {...}}

The digest is of the whole file, header included, with 64 zeros in its own place. Files of other
programs have none; they are read as they are.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from json import JSONEncoder
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Self

import numpy as np

from autograd import Node
from autograd.draw.label import visible
from autograd.errors import FormatError, LoopGradError
from autograd.export.atomic import write_whole
from autograd.export.parsing import parse_json
from autograd.export.writing import SURROGATE
from autograd.spec import Array, spec_of
from nn.checkpoint.header import (
    LENGTH_BYTES,
    Entry,
    check_name,
    header_length,
    read_header,
)
from nn.checkpoint.values import decoded, encoded

VERSION = 1
_OURS = "loopgrad"
_BLANK = "0" * 64
_SEAL = b'"' + _OURS.encode() + rb'":"{\"sha256\":\"'
"""What stands before the digest. Quotes inside texts have a backslash, so no text can hold it."""
_text = JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


class State(dict[str, Any]):
    """What a file holds, by name: arrays, and numbers and texts as they were saved."""

    def __init__(self, items: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        super().__init__(items)
        self.metadata = dict(metadata)
        """What `nn.save` was given as such; of files of other programs, their texts."""

    def part(self, name: str) -> Self:
        """Return what begins with `name.`, without that: the state of one part of many."""
        prefix = f"{name}."
        items = {key[len(prefix) :]: x for key, x in self.items() if key.startswith(prefix)}
        if not items:
            parts = dict.fromkeys(key.partition(".")[0] for key in self)
            raise FormatError(
                f"there is nothing of '{visible(name)}'; the parts are {', '.join(parts) or 'none'}"
            )
        return type(self)(items, self.metadata)


def save(
    path: str | os.PathLike[str], state: Any, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write `state` to `path` as a safetensors file, whole or not at all.

    `state` is a dict of arrays (or tensors), numbers and texts by name, or what has a `state_dict`
    that returns one: a module, an optimizer. `metadata` are numbers, texts, and lists and dicts of
    these, by name. All of it comes back from `nn.load` with the same types and bits.

    FormatError names what a file cannot hold, or why it could not be written.
    """
    _check_path("save", path)
    try:
        write_whole(Path(path), *_packed(_items(state), metadata or {}))
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot write '{_shown(path)}': {_reason(error)}") from error


def load(path: str | os.PathLike[str]) -> State:
    """Return what the safetensors file at `path` holds; its arrays are the caller's own.

    Nothing else is opened, and nothing in it is executed. FormatError names the file and what is
    wrong with it: damaged, cut off, or of a kind that arrays cannot have.
    """
    _check_path("load", path)
    try:
        with _opened(path) as file:
            return read(file, os.fstat(file.fileno()).st_size)
    except FormatError as error:
        raise FormatError(f"cannot load '{_shown(path)}': {error.args[0]}") from error.__cause__


# Writing.


def _items(state: Any) -> Mapping[str, Any]:
    items = state.state_dict() if hasattr(state, "state_dict") else state
    if not isinstance(items, Mapping):
        raise FormatError(
            f"nn.save takes a dict of arrays by name, or what has a state_dict, but got "
            f"{type(state).__name__}"
        )
    return items


def _packed(items: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[memoryview | bytes]:
    """Return the file in parts, the digest in its place."""
    arrays, values = {}, {}
    for name, x in items.items():
        check_name(name)
        if isinstance(x, (np.ndarray, np.generic, Node)):
            arrays[name] = _array(name, x)
        else:
            values[name] = encoded(name, x)
    texts, rest = {}, {}
    for name, x in metadata.items():
        if check_name(name).startswith(_OURS):
            raise FormatError(f"the name '{name}' in metadata is LoopGrad's own; take another")
        if type(x) is str and not SURROGATE.search(x):
            texts[name] = x  # for other programs to read
        else:
            rest[name] = encoded(name, x)
    table = {"sha256": _BLANK, "version": VERSION, "values": values, "metadata": rest}
    data = memoryview(_library().save(arrays, {**texts, _OURS: _text(table)}))
    length = LENGTH_BYTES + header_length(bytes(data[:LENGTH_BYTES]), len(data))
    header = bytes(data[:length])
    read_header(header[LENGTH_BYTES:], len(data) - length)  # what is written can be read
    place = header.index(_SEAL) + len(_SEAL)
    digest = hashlib.sha256(data).hexdigest()
    return [data[:place], digest.encode(), data[place + len(_BLANK) :]]


def _array(name: str, value: Any) -> Array:
    """Return a value as the library takes it: in C order, in this machine's order of bytes."""
    array = np.asarray(value.value if isinstance(value, Node) else value)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise FormatError(
            f"'{name}' is {spec_of(array)}, which a file cannot hold; it holds bools, integers and "
            "floats of up to 64 bits"
        )
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


# Reading.


def read(file: BinaryIO, size: int) -> State:
    """Return what a file of `size` bytes holds; the header is checked before the rest is read."""
    start = file.read(LENGTH_BYTES)
    length = header_length(start, size)
    header = file.read(length)
    entries, metadata = read_header(header, size - LENGTH_BYTES - len(header))
    ours = _check_marks(metadata)
    data = _whole(file, size)
    if len(data) != size or not data.startswith(start + header):
        raise FormatError("it changed while it was read; read it again")
    if ours is not None:
        _check_digest(data, LENGTH_BYTES + length)
    items: dict[str, Any] = _arrays(data, entries)
    if ours is None:
        return State(items, metadata)
    table = _table(ours)
    values = {check_name(name): decoded(name, x) for name, x in table["values"].items()}
    both = [name for name in values if name in items]
    if both:
        raise FormatError(f"'{both[0]}' is an array and a value")
    rest = {check_name(name): decoded(name, x) for name, x in table["metadata"].items()}
    return State({**items, **values}, {**metadata, **rest})


def _whole(file: BinaryIO, size: int) -> bytes:
    """Return the file from its first byte on, to one byte behind where it should end."""
    try:
        file.seek(0)
        return file.read(size + 1)
    except MemoryError as error:
        raise FormatError(f"there is not the memory for its {size} bytes") from error


def _check_marks(metadata: dict[str, str]) -> str | None:
    """Take LoopGrad's own text out of the metadata; None if another program wrote the file."""
    ours = metadata.pop(_OURS, None)
    # one damaged letter must not make a file of ours one of another program, which has no digest
    for name, text in metadata.items():
        if name.startswith(_OURS) or text.startswith('{"sha256":'):
            raise FormatError(f"'{name}' in its metadata is not known; it was damaged or edited")
    return ours


def _check_digest(data: bytes, length: int) -> None:
    place = data.find(_SEAL, 0, length) + len(_SEAL)
    stop = place + len(_BLANK)
    if place < len(_SEAL):
        raise FormatError("its sha256 is not in its place: it was damaged or edited")
    digest = hashlib.sha256(memoryview(data)[:place])
    digest.update(_BLANK.encode())
    digest.update(memoryview(data)[stop:])
    if data[place:stop] != digest.hexdigest().encode():
        raise FormatError(
            "its sha256 does not fit: it was damaged, or written again by another program (which "
            f"must leave '{_OURS}' out of the metadata)"
        )


def _table(text: str) -> dict[str, Any]:
    """Return what LoopGrad's own text says."""
    table = parse_json(text.encode("utf-8"), "ASCII")
    if type(table) is not dict or "version" not in table:
        raise FormatError(f"the text '{_OURS}' in its metadata is no table with a version")
    version = table["version"]
    if type(version) is not int or version != VERSION:
        raise FormatError(
            f"its version is {str(version)[:20]!a}, but this LoopGrad reads version {VERSION}; "
            "update LoopGrad"
        )
    if set(table) != {"sha256", "version", "values", "metadata"}:
        raise FormatError(f"the text '{_OURS}' in its metadata has other keys than it must have")
    for key in ("values", "metadata"):
        if type(table[key]) is not dict:
            raise FormatError(f"the {key} in its text '{_OURS}' are no table")
    return table


def _arrays(data: bytes, entries: Mapping[str, Entry]) -> dict[str, Array]:
    """Return the arrays, in the order of the header."""
    library = _library()
    try:
        arrays: dict[str, Array] = library.load(data)
    except Exception as error:  # its own class, in some versions ValueError or KeyError
        raise FormatError(f"the library safetensors refuses it: {error}") from error
    for name, entry in entries.items():
        array = arrays.get(name)
        if array is None or spec_of(array) != entry.spec:
            raise FormatError(f"the library safetensors reads '{name}' as something else")
        if array.dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
            raise FormatError(f"'{name}' is not of bools")
    return {name: arrays[name] for name in entries}


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open an ordinary file (a link to one is followed); never wait for a pipe or a device."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        _check_ordinary(os.stat(path))  # opening a device could already do something
        handle = os.open(path, flags)
        with os.fdopen(handle, "rb") as file:
            _check_ordinary(os.fstat(handle))  # it may be another one by now
            yield file
    except (OSError, ValueError) as error:
        if isinstance(error, LoopGradError):
            raise
        raise FormatError(f"it cannot be read: {_reason(error)}") from error


def _check_ordinary(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FormatError("it is no ordinary file")


# Both.


def _check_path(function: str, path: Any) -> None:
    if not isinstance(path, (str, os.PathLike)):
        then = ", model" if function == "save" else ""
        raise FormatError(
            f"nn.{function} takes a path{' first' if then else ''}, but got "
            f"{type(path).__name__}; write nn.{function}('model.safetensors'{then})"
        )


def _library() -> ModuleType:
    """Return the library that knows the format."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise LoopGradError(
            "files of weights are safetensors files, whose library is not installed; install it "
            "with: python -m pip install 'loopgrad[files]'"
        ) from error
    return safetensors.numpy


def _shown(path: str | os.PathLike[str]) -> str:
    return visible(str(os.fspath(path)))


def _reason(error: Exception) -> str:
    system = error.strerror if isinstance(error, OSError) else None
    return str(system or error.args[0])
