"""Numbers, texts and what holds them, as JSON that gives back exactly what came.

Plain JSON where that is exact; a float that is not finite, a whole number of over 63 bits, a tuple
and a dict are tables of one key: `{"float": "inf"}`, `{"int": "0x8000000000000000"}`,
`{"tuple": [...]}`, `{"dict": {...}}`.
"""

from __future__ import annotations

import math
import re
from typing import Any

from autograd.errors import FormatError

DEEPEST = 20
_LARGE = 1 << 63
_HEXADECIMAL = re.compile(r"-?0x[0-9a-f]{16,10000}", re.ASCII)
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encoded(name: str, value: Any, depth: int = 0) -> Any:
    """Return `value` as JSON can hold it. FormatError names it if a file cannot."""
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if abs(value) < _LARGE else {"int": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"float": str(value)}
    if kind not in (list, tuple, dict) or depth == DEEPEST:
        raise FormatError(
            f"'{name}' holds {kind.__name__} {value!r:.60}, which a file cannot: it holds arrays, "
            "numbers, texts, None, and lists, tuples and dicts (with texts as keys) of these, "
            f"{DEEPEST} deep at most; arrays stand in the outermost dict only"
        )
    if kind is dict:
        if not all(type(key) is str for key in value):
            raise FormatError(f"'{name}' holds a dict with keys that are no texts")
        return {"dict": {key: encoded(name, x, depth + 1) for key, x in value.items()}}
    parts = [encoded(name, x, depth + 1) for x in value]
    return parts if kind is list else {"tuple": parts}


def decoded(name: str, value: Any) -> Any:
    """Return what `encoded` made `value` of."""
    if type(value) is list:
        return [decoded(name, x) for x in value]
    if type(value) is not dict:
        return value
    form, content = next(iter(value.items())) if len(value) == 1 else ("", None)
    if form == "float" and type(content) is str and content in _FLOATS:
        return _FLOATS[content]
    if form == "int" and type(content) is str and _HEXADECIMAL.fullmatch(content):
        return int(content, 16)
    if form == "tuple" and type(content) is list:
        return tuple([decoded(name, x) for x in content])
    if form == "dict" and type(content) is dict:
        return {key: decoded(name, x) for key, x in content.items()}
    raise FormatError(f"the value of '{name}' is not one that LoopGrad has written")
