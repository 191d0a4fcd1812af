"""What the header of a safetensors file says, checked before it is believed.

A file is the length of its header (8 bytes, little-endian), the header and the data. The header is
a JSON table: `{"name": {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 48]}, ...}`, offsets
counted from the first byte of the data, and texts by name under `__metadata__`. Source:
https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from autograd.draw.label import visible
from autograd.errors import FormatError
from autograd.export.parsing import parse_json
from autograd.export.writing import SURROGATE
from autograd.spec import Spec

LENGTH_BYTES = 8
MOST_HEADER_BYTES = 10_000_000
MOST_ENTRIES = 50_000
MOST_VALUES = 500_000
"""Counted by their commas, those in texts included."""
LONGEST_NAME = 1_000
MOST_AXES = 64
MOST_DATA_BYTES = 1 << 62
DTYPES = {
    "BOOL": "bool",
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
"""The element types that a file and an array both can have."""
_DTYPES = {code: np.dtype(name) for code, name in DTYPES.items()}
_METADATA = "__metadata__"
_KEYS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True)
class Entry:
    """An array of a file: what it is, and which bytes of the data it has."""

    spec: Spec
    begin: int
    end: int


def header_length(start: bytes, size: int) -> int:
    """Return how long the header of a file of `size` bytes is, which begins with `start`."""
    if len(start) < LENGTH_BYTES:
        raise FormatError(f"it has {size} bytes: it is cut off, or no safetensors file")
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if start.startswith(b"PK\x03\x04"):
        raise FormatError(
            "it is a zip archive, as torch.save, numpy.savez and Keras write, and no safetensors "
            "file; write the weights by safetensors.torch.save_file(model.state_dict(), path), or "
            "give load_state_dict what numpy.load returns"
        )
    if length > MOST_HEADER_BYTES:
        raise FormatError(
            f"its header would have {length} bytes, more than {MOST_HEADER_BYTES}; it is damaged, "
            "or no safetensors file"
        )
    if length > size - LENGTH_BYTES:
        raise FormatError(f"its header has {length} bytes, but the file {size}: it is cut off")
    return length


def read_header(header: bytes, size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """Return the arrays of a file whose data have `size` bytes, and its metadata."""
    if header.count(b"{") > MOST_ENTRIES or header.count(b",") > MOST_VALUES:
        raise FormatError(
            f"its header has more than {MOST_ENTRIES} entries, or {MOST_VALUES} values in all"
        )
    table = parse_json(header, "UTF-8")
    if type(table) is not dict:
        raise FormatError("its header is no table")
    metadata = _texts(table.pop(_METADATA, {}))
    entries = {check_name(name): _entry(name, table[name]) for name in table}
    _check_cover(entries, size)
    return entries, metadata


def check_name(name: Any) -> str:
    """Return the name of an array or a text, if it is one that a file can have."""
    if type(name) is not str:
        raise FormatError(f"a name is text, but {type(name).__name__} {name!r:.60} came")
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or name == _METADATA:
        raise FormatError(
            f"'{visible(name[:60])}' is no name that a file can have: 1 to {LONGEST_NAME} "
            f"characters that can be printed, and not '{_METADATA}'"
        )
    return name


def _texts(table: Any) -> dict[str, str]:
    if type(table) is not dict:
        raise FormatError(f"its {_METADATA} is no table")
    for name, text in table.items():
        check_name(name)
        if type(text) is not str or SURROGATE.search(text):
            raise FormatError(f"'{name}' in its {_METADATA} is no text")
    return table


def _entry(name: str, table: Any) -> Entry:
    if type(table) is not dict or set(table) != _KEYS:
        raise FormatError(f"'{name}' must have {', '.join(sorted(_KEYS))} and nothing else")
    code = table["dtype"]
    if type(code) is not str or code not in DTYPES:
        raise FormatError(
            f"'{name}' is of type {str(code)[:20]!a}, which NumPy does not have or LoopGrad does "
            f"not carry; known are {', '.join(DTYPES)}. Convert it before it is written, "
            "BF16 for example to F32"
        )
    spec = Spec(tuple(_numbers(name, "shape", table["shape"])), _DTYPES[code])
    if spec.ndim > MOST_AXES or prod(n or 1 for n in spec.shape) > MOST_DATA_BYTES // 8:
        raise FormatError(f"'{name}' has a shape that no array can have")
    offsets = _numbers(name, "data_offsets", table["data_offsets"])
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FormatError(f"the data_offsets of '{name}' are no begin and end")
    begin, end = offsets
    if end - begin != spec.nbytes:
        raise FormatError(f"'{name}' is {spec}, of {spec.nbytes} bytes, but has {end - begin}")
    return Entry(spec, begin, end)


def _numbers(name: str, key: str, values: Any) -> list[int]:
    if type(values) is not list or not all(type(x) is int and x >= 0 for x in values):
        raise FormatError(f"the {key} of '{name}' are no list of whole numbers >= 0")
    return values


def _check_cover(entries: Mapping[str, Entry], size: int) -> None:
    """Check that the arrays lie one behind the other, from the first byte to the last."""
    names = sorted(entries, key=lambda name: (entries[name].begin, entries[name].end))
    for before, after in pairwise(names):
        end, begin = entries[before].end, entries[after].begin
        if end != begin:
            what = "overlap" if begin < end else f"have {begin - end} bytes between them"
            raise FormatError(f"'{before}' and '{after}' {what}")
    first = entries[names[0]].begin if names else 0
    last = entries[names[-1]].end if names else 0
    if first != 0 or last != size:
        raise FormatError(
            f"its arrays take bytes {first} to {last} of the data, but there are {size}: it is "
            "cut off, or has something behind its end"
        )
