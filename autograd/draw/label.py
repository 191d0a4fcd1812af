"""How names, numbers and attributes are written, in text and in pictures alike."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from autograd.node import Node
from autograd.spec import Array, Spec

_PLAIN = re.compile(r"[^\W\d][\w.:\[\]-]*\Z")
_INLINE = 8
"""Constants of up to this many elements are written out."""


def quoted(name: str) -> str:
    """Return `name` as it is if it reads as one word, else in quotes; always on one line."""
    return name if _PLAIN.match(name) else '"' + visible(name).replace('"', '\\"') + '"'


def visible(name: str) -> str:
    """Return `name` with what cannot be seen, or breaks a line, written as `\\x0a` or `\\u200f`."""
    return name if name.isprintable() and "\\" not in name else "".join(map(_printable, name))


def _printable(char: str) -> str:
    if char == "\\":
        return "\\\\"
    if char.isprintable():
        return char
    code = ord(char)
    if code < 256:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def number(value: Any) -> str:
    """Return the shortest text that gives the number back in its dtype, such as `0.1`."""
    return str(np.asarray(value)[()])


def attribute(value: Any) -> str:
    """Return an attr as text: numbers, names, tuples, and slices as `1:3`."""
    if isinstance(value, str):
        return quoted(value)
    if not isinstance(value, (tuple, list)):
        return str(value)
    if len(value) == 4 and value[0] == "slice":
        start, stop, step = ("" if part is None else str(part) for part in value[1:])
        return f"{start}:{stop}" + (f":{step}" if step else "")
    comma = "," if len(value) == 1 else ""
    return f"({', '.join(map(attribute, value))}{comma})"


def attributes(node: Node) -> list[str]:
    """Return the attrs of `node` worth showing, each as `name=value`."""
    return [f"{key}={attribute(value)}" for key, value in node.op.label(node.attrs).items()]


def is_scalar(node: Node) -> bool:
    """True for an unnamed constant of no axes: it is written where it is used."""
    return node.op.name == "constant" and node.name is None and node.shape == ()


def is_item(node: Node) -> bool:
    """True for a node that only picks one output of a node with several."""
    return node.op.name == "item"


def constant_text(value: Array) -> str:
    """Return a constant in brief: its elements, the one they all are, or some and a digest."""
    flat = value.reshape(-1)
    if value.ndim == 0:
        return number(value)
    if flat.size > 1 and is_uniform(value):
        return f"all {number(flat[0])}"
    if flat.size <= _INLINE:
        return f"[{', '.join(map(number, flat))}]"
    little = flat.astype(flat.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(little.tobytes()).hexdigest()[:12]
    return f"[{', '.join(map(number, flat[:3]))}, ...] sha256={digest}"


def is_uniform(value: Array) -> bool:
    """True where all elements are the same, to the bit, and there is one."""
    flat = value.reshape(-1)
    return flat.size > 0 and flat.tobytes() == flat[:1].tobytes() * flat.size


def specs_of(node: Node) -> tuple[Spec, ...]:
    """Return the specs of the outputs of `node`, one or several."""
    spec: Any = node.spec
    return spec if isinstance(spec, tuple) else (spec,)


@lru_cache(maxsize=10_000)
def spec_text(spec: Spec) -> str:
    """Return `str(spec)`, made once for all nodes of that spec: NumPy is slow to name a dtype."""
    return str(spec)


def specs_text(specs: Sequence[Spec]) -> str:
    """Return the specs of a node: one, or several in parentheses."""
    return spec_text(specs[0]) if len(specs) == 1 else f"({', '.join(map(spec_text, specs))})"
