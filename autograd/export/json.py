"""Graphs as JSON files: data only. Reading one executes nothing and opens nothing else.

A file is a flat list of graphs, bodies before the graphs whose nodes hold them, one node a line:

    {"format": "loopgrad graph", "version": 1, "graphs": [
    {"name": "adder", "inputs": [...], "nodes": [
    {"name": "u", "op": "parameter", "spec": "float64[2, 16]", "value": "<base64>"},
    {"name": "matmul_1", "op": "matmul", "inputs": ["xs", "u"], "spec": "float64[8, 16]"}
    ], "outputs": [["ys", "matmul_1"]]}
    ],
    "sha256": "<digest of all bytes before this line>"}

Ops are looked up in the fixed table; a body is `{"graph": 0}`, its position in the list; arrays are
base64 of their little-endian bytes. On loading, every node is drawn again by its op's own `infer`
and compared with what the file says.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from autograd.draw.label import visible
from autograd.errors import FormatError
from autograd.export.atomic import write_whole
from autograd.export.reading import read
from autograd.export.writing import write

if TYPE_CHECKING:
    from autograd.graph import Graph

MOST_BYTES = 1 << 31
"""Files longer than this are refused before they are read."""
_SEAL = b'"sha256": "'
_SEAL_LENGTH = len(_SEAL) + 64 + len(b'"}\n')


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write `graph`, with its bodies and the values of its parameters, whole or not at all.

    Raises FormatError if it holds what a file cannot (an op of your own), or cannot be written.
    """
    data = dumps(graph).encode("ascii")
    try:
        write_whole(Path(path), data)
    except OSError as error:
        raise FormatError(f"cannot write '{_shown(path)}': {error.strerror}") from error


def load(path: str | os.PathLike[str]) -> Graph:
    """Return the graph that `save` wrote to `path`. FormatError names file, node and fault."""
    try:
        return loads(_bytes_of(Path(path)))
    except FormatError as error:
        raise FormatError(f"cannot load '{_shown(path)}': {error.args[0]}") from None


def dumps(graph: Graph) -> str:
    """Return `graph` as the text of a file: ASCII, ended by a digest of itself."""
    text = write(graph)
    digest = hashlib.sha256(text.encode("ascii")).hexdigest()
    return f'{text}{_SEAL.decode()}{digest}"}}\n'


def loads(data: str | bytes) -> Graph:
    """Return the graph that `dumps` made a text of. FormatError names node and fault."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    seal = data[-_SEAL_LENGTH:]
    if not (seal.startswith(_SEAL) and seal.endswith(b'"}\n')):
        raise FormatError(
            'it does not end with the line "sha256": the file is cut off, or of another kind'
        )
    text = data[:-_SEAL_LENGTH]
    if seal[len(_SEAL) : -3] != hashlib.sha256(text).hexdigest().encode():
        raise FormatError("its sha256 does not fit: it was damaged or edited; save the graph again")
    return read(data)


def _bytes_of(path: Path) -> bytes:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise FormatError("it is no ordinary file")
        if status.st_size > MOST_BYTES:
            raise FormatError(f"it has {status.st_size} bytes, more than {MOST_BYTES}")
        with open(path, "rb") as file:
            return file.read(status.st_size + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise FormatError(f"it cannot be read: {reason}") from error


def _shown(path: str | os.PathLike[str]) -> str:
    return visible(os.fspath(path))
