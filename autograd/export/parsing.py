"""JSON, strictly: no duplicate keys, no NaN, no endless numbers, no towers of brackets."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

import numpy as np

from autograd.errors import FormatError

DEEPEST_BRACKETS = 100
LONGEST_INTEGER = 20
MOST_GRAPHS = 20_000
_BLOCK = 1 << 20


def parse(data: bytes) -> Any:
    """Return what the JSON text of a graph file says. FormatError if it is not such a text."""
    if data.count(b'"nodes"') > MOST_GRAPHS:
        raise FormatError(f"it holds more than {MOST_GRAPHS} graphs")
    return parse_json(data, "ASCII")


def parse_json(data: bytes, encoding: str) -> Any:
    """Return what the JSON text `data` says. FormatError if it is not JSON, or more than that."""
    _check_brackets(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise FormatError(f"it is not {encoding} text at byte {error.start}") from None
    try:
        return json.loads(
            text,
            object_pairs_hook=_table,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_no_number,
        )
    except json.JSONDecodeError as error:
        raise FormatError(f"it is not JSON: {error}") from None


def _check_brackets(data: bytes) -> None:
    """Check how deep brackets nest before a recursive parser sees them."""
    plain = data.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
    depth = quotes = 0
    for start in range(0, len(plain), _BLOCK):
        block = np.frombuffer(plain, np.uint8, min(_BLOCK, len(plain) - start), start)
        marks = np.cumsum(block == ord('"'), dtype=np.int32) + quotes
        outside = (marks & 1) == 0
        opened = (block == ord("[")) | (block == ord("{"))
        closed = (block == ord("]")) | (block == ord("}"))
        steps = (opened & outside).astype(np.int8) - (closed & outside).astype(np.int8)
        depths = np.cumsum(steps, dtype=np.int32) + depth
        if depths.max() > DEEPEST_BRACKETS:
            raise FormatError(f"its brackets nest more than {DEEPEST_BRACKETS} deep")
        depth, quotes = int(depths[-1]), int(marks[-1]) & 1


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise FormatError(f"it gives a key twice: {twice[:80]!a}")
    return table


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER:
        raise FormatError(f"it holds a whole number of {len(digits)} digits")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise FormatError(f"it holds a number too large for a float: {digits[:40]}")
    return value


def _no_number(name: str) -> NoReturn:
    raise FormatError(f"it holds {name}, which is no JSON number")
