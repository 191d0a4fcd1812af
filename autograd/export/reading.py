"""From the text of a file to a graph. Everything a file says is checked before it is believed."""

from __future__ import annotations

import base64
import binascii
import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from autograd.draw.label import spec_text, visible
from autograd.errors import FormatError, LoopGradError
from autograd.export.parsing import parse
from autograd.export.writing import FORMAT, LONGEST_NAME, SURROGATE, VERSION
from autograd.graph import Graph
from autograd.node import (
    NO_ATTRS,
    OPS,
    Node,
    apply,
    constant,
    draw_input,
    tensor,
)
from autograd.op import Op
from autograd.parameter import parameter
from autograd.scope import Scope, drawing
from autograd.spec import Array, Spec

DEEPEST_NEST = 5_000
MOST_NODES = 20_000_000
"""Nodes of a graph with all bodies, each counted as often as it is held."""
_SPEC = re.compile(
    r"(bool|u?int(?:8|16|32|64)|float(?:16|32|64))\[((?:\d{1,18}(?:, \d{1,18}){0,31})?)\]", re.ASCII
)
_NUMBERED = re.compile(r"(.*)_[0-9]+\Z", re.DOTALL)
_LEAVES = frozenset({"parameter", "constant"})


def read(data: bytes) -> Graph:
    """Return the graph of a file whose digest has been checked."""
    content = parse(data)
    _need(content, {"format", "version", "graphs", "sha256"}, set(), "the file")
    if content["format"] != FORMAT:
        raise FormatError(f"its format is {_brief(content['format'])}, not '{FORMAT}'")
    if type(content["version"]) is not int or content["version"] != VERSION:
        raise FormatError(
            f"its version is {_brief(content['version'])}, but this LoopGrad reads version "
            f"{VERSION}; update LoopGrad, or save the graph again with this one"
        )
    tables = content["graphs"]
    if type(tables) is not list or not tables:
        raise FormatError("it holds no list of graphs")
    _check_nest(tables)
    graphs: list[Graph] = []
    for i, table in enumerate(tables):
        tables[i] = None
        where = _where(table, i)
        try:
            graphs.append(_Reader(table, graphs, where).graph)
        except FormatError as error:
            raise FormatError(f"{where}{error.args[0]}") from None
        except LoopGradError as error:
            raise FormatError(f"{where}{error.args[0]}") from error
    graph = graphs[-1]
    for node in [*graph.inputs.values(), *graph.nodes]:
        node.scope = None
    return graph


def _where(table: Any, number: int) -> str:
    name = table.get("name")
    return f"graph {number} '{visible(name[:80])}': " if type(name) is str else f"graph {number}: "


def _check_nest(tables: list[Any]) -> None:
    """Check that bodies come first, and that neither depth nor size multiplies out of hand."""
    depths: list[int] = []
    sizes: list[int] = []
    for i, table in enumerate(tables):
        _need(table, {"name", "inputs", "nodes", "outputs"}, {"structure"}, f"graph {i}")
        for key in ("inputs", "nodes", "outputs"):
            if type(table[key]) is not list:
                raise FormatError(f"the {key} of graph {i} are no list")
        depth, size = 0, len(table["inputs"]) + len(table["nodes"])
        for node in table["nodes"]:
            if type(node) is not dict:
                raise FormatError(f"graph {i} has a node that is no table but {_brief(node)}")
            attrs = node.get("attrs")
            for value in attrs.values() if type(attrs) is dict else ():
                for body in _graphs_in(value):
                    if type(body) is not int or not 0 <= body < i:
                        raise FormatError(
                            f"graph {i} holds graph {_brief(body)}; a graph can hold only those "
                            "that come before it"
                        )
                    depth = max(depth, depths[body] + 1)
                    size += sizes[body]
        if depth > DEEPEST_NEST or size > MOST_NODES:
            raise FormatError(
                f"graph {i} nests {depth} deep and has {size} nodes in all; the most are "
                f"{DEEPEST_NEST} and {MOST_NODES}"
            )
        depths.append(depth)
        sizes.append(size)


def _graphs_in(value: Any) -> list[Any]:
    if type(value) is dict:
        return [value["graph"]] if "graph" in value else []
    return [g for part in value for g in _graphs_in(part)] if type(value) is list else []


class _Reader:
    """Draws one graph. Its nodes are of a scope of their own while they are drawn.

    So `apply` never computes, whatever has a value, and captures nothing.
    """

    def __init__(self, table: dict[str, Any], graphs: list[Graph], where: str) -> None:
        self.graphs = graphs
        name = _name(table["name"], "its name")
        body = Scope(name, None)
        self.scope = body
        self.nodes: dict[str, Node] = {}
        inputs = {}
        for entry in table["inputs"]:
            key, node = self._input(entry)
            inputs[key] = self._add(key, node)
        with drawing(body):
            entries = table["nodes"]
            for i, entry in enumerate(entries):
                entries[i] = None  # a million nodes are not kept twice
                self._add(*self._node(entry))
        outputs = {}
        for pair in table["outputs"]:
            key, node = self._output(pair)
            if key in outputs:
                raise FormatError(f"two outputs are called '{visible(key)}'")
            outputs[key] = node
        if not outputs:
            raise FormatError("it has no outputs")
        self.graph = Graph.of(inputs, outputs, name)
        self._check_all_used(outputs)
        if "structure" in table:
            self.graph.structure = (_structure(table["structure"], len(outputs)),)
        self._keep_names()

    def _add(self, name: str, node: Node) -> Node:
        if name in self.nodes:
            raise FormatError(f"two nodes are called '{visible(name)}'")
        self.nodes[name] = node
        return node

    # Nodes.

    def _input(self, entry: Any) -> tuple[str, Node]:
        _need(entry, {"name", "spec"}, {"label", "tracked"}, "an input")
        name = _name(entry["name"], "an input's name")
        label = entry.get("label", name)
        if label is not None:
            _name(label, f"the label of input '{visible(name)}'")
        spec = _spec(entry["spec"], name)
        tracked = _flag(entry, "tracked", False, name)
        return name, draw_input(label, spec, self.scope, tracked is None)

    def _node(self, entry: Any) -> tuple[str, Node]:
        if type(entry.get("op")) is not str:
            raise FormatError(f"a node names no op: {_brief(entry)}")
        leaf = entry["op"] in _LEAVES
        required = {"name", "op", "spec", "value"} if leaf else {"name", "op", "inputs", "spec"}
        _need(entry, required, {"pulled", "tracked" if leaf else "attrs"}, "a node")
        name = _name(entry["name"], "a node's name")
        node = self._leaf(entry, name) if leaf else self._application(entry, name)
        if _flag(entry, "pulled", True, name):
            node._pulled = True
        if node.name is None and not _is_ours(name, entry["op"]):
            node.name = name
        return name, node

    def _leaf(self, entry: dict[str, Any], name: str) -> Node:
        value = _array(entry["value"], _spec(entry["spec"], name), name)
        tracked = _flag(entry, "tracked", True, name)
        node: Node
        if entry["op"] == "parameter":
            if tracked:
                raise FormatError(f"parameter '{visible(name)}' has a key it cannot have: tracked")
            node = parameter(name, value)
        elif tracked:
            node = tensor(value, requires_grad=True)
        else:
            return constant(value)  # of no scope: the bodies' gradients use it too
        node.scope = self.scope
        return node

    def _application(self, entry: dict[str, Any], name: str) -> Node:
        op = OPS.get(entry["op"])
        if op is None or op.name == "input":
            raise FormatError(
                f"node '{visible(name)}' is of op '{visible(entry['op'][:80])}', which is not in "
                "the table of ops; a graph with loops needs `import loops` before it is loaded, "
                "and one that a newer LoopGrad has written needs that LoopGrad"
            )
        xs = entry["inputs"]
        if type(xs) is not list or not (xs or type(op).bodies is not Op.bodies):
            raise FormatError(f"the inputs of node '{visible(name)}' are no list of names")
        inputs = []
        for x in xs:
            if type(x) is not str or x not in self.nodes:
                raise FormatError(
                    f"node '{visible(name)}' has the input {_brief(x)}, which is no node before it"
                )
            inputs.append(self.nodes[x])
        attrs = self._attrs(op, entry.get("attrs", {}), name)
        if op.name == "item":
            _check_item(inputs, attrs, name)
        try:
            node = apply(op, inputs, attrs or NO_ATTRS)
        except LoopGradError as error:
            raise FormatError(f"node '{visible(name)}' cannot be: {error.args[0]}") from error
        except Exception as error:  # an op was given attributes or inputs it was not made for
            raise FormatError(
                f"node '{visible(name)}' of op '{op.name}' does not fit its inputs or attributes: "
                f"{type(error).__name__}: {_brief(str(error))}"
            ) from error
        self._check_spec(node, entry["spec"], name)
        node.line = None
        return node

    def _check_spec(self, node: Node, said: Any, name: str) -> None:
        made: Any = node.spec
        text: Any = [*map(spec_text, made)] if node.op.multiple else spec_text(made)
        if text != said:
            raise FormatError(
                f"node '{visible(name)}' is said to be {_brief(said)}, but its op makes "
                f"{_brief(text)} of its inputs"
            )

    def _attrs(self, op: Op, table: Any, name: str) -> dict[str, Any]:
        if type(table) is not dict:
            raise FormatError(f"the attributes of node '{visible(name)}' are no table")
        kinds = _attr_kinds(op)
        if kinds is not None and not _fits(table, kinds):
            raise FormatError(
                f"node '{visible(name)}' of op '{op.name}' has the attributes "
                f"{_brief(sorted(table))}, but the op takes "
                f"{sorted(key for key, (_, required) in kinds.items() if required)}"
            )
        attrs = {key: self._attr(value, name) for key, value in table.items()}
        for key, (kind, _) in (kinds or {}).items():
            if key in attrs and not _is_of_kind(attrs[key], kind):
                raise FormatError(
                    f"node '{visible(name)}' of op '{op.name}' has {key}={_brief(table[key])}, "
                    f"but it must be of type {kind}"
                )
        return attrs

    def _attr(self, value: Any, name: str) -> Any:
        if type(value) is list:
            return tuple([self._attr(part, name) for part in value])
        if type(value) is not dict:
            return value
        if set(value) == {"graph"}:  # its number was checked with the nest
            return self.graphs[value["graph"]]
        if set(value) == {"float"} and value["float"] in ("inf", "-inf", "nan"):
            return float(value["float"])
        raise FormatError(f"node '{visible(name)}' has the attribute {_brief(value)}")

    # The whole.

    def _output(self, pair: Any) -> tuple[str, Node]:
        if type(pair) is not list or len(pair) != 2:
            raise FormatError(f"an output is no pair of names, but {_brief(pair)}")
        key = _name(pair[0], "an output's name")
        node = self.nodes.get(pair[1]) if type(pair[1]) is str else None
        if node is None or not isinstance(node.spec, Spec):
            raise FormatError(f"output '{visible(key)}' is {_brief(pair[1])}, which is no value")
        return key, node

    def _check_all_used(self, outputs: dict[str, Node]) -> None:
        known = {*self.graph.nodes, *self.graph.inputs.values()}
        for name, node in self.nodes.items():
            if node not in known:
                raise FormatError(f"node '{visible(name)}' is needed by no output")

    def _keep_names(self) -> None:
        """Let every node be called what the file calls it.

        Numbered names of ours come about by themselves; if one would not, all names are given.
        """
        names = self.graph.names
        if any(names[node] != name for name, node in self.nodes.items()):
            for name, node in self.nodes.items():
                if node.op.name != "input":
                    node.name = name
            self.graph._names = None


def _is_ours(name: str, op: str) -> bool:
    """True for a name like those that unnamed nodes get: `add_3`, `step:1`."""
    if op == "item":
        return ":" in name
    numbered = _NUMBERED.match(name)
    return numbered is not None and numbered[1] == op


def _check_item(inputs: list[Node], attrs: dict[str, Any], name: str) -> None:
    specs: Any = inputs[0].spec
    index = attrs["index"]
    if type(specs) is not tuple or type(index) is not int or not 0 <= index < len(specs):
        raise FormatError(f"node '{visible(name)}' picks an output that its input does not have")


@cache
def _attr_kinds(op: Op) -> dict[str, tuple[str, bool]] | None:
    """Return the attributes `op` takes, how they are annotated and which must be there.

    They are those of `infer`, or else of `forward`.

    None where neither lists them: the op's `infer` then checks them itself.
    """
    for rule in (op.infer, op.forward):
        if not (inspect.isfunction(rule) or inspect.ismethod(rule)):
            return {}  # NumPy's own function, which is given nothing but arrays
        parameters = inspect.signature(rule).parameters.values()
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return {
                p.name: (str(p.annotation), p.default is p.empty)
                for p in parameters
                if p.kind is p.KEYWORD_ONLY
            }
    return None


def _fits(table: dict[str, Any], kinds: dict[str, tuple[str, bool]]) -> bool:
    required = {key for key, (_, needed) in kinds.items() if needed}
    return required <= set(table) <= set(kinds)


def _is_int(value: Any) -> bool:
    return type(value) is int and abs(value) < 1 << 62


def _are_ints(value: Any) -> bool:
    return type(value) is tuple and all(map(_is_int, value))


_KINDS: dict[str, Callable[[Any], bool]] = {
    "bool": lambda value: type(value) is bool,
    "int": _is_int,
    "float": lambda value: type(value) in (int, float),
    "str": lambda value: type(value) is str,
    "Axes": _are_ints,
    "Shape": _are_ints,
    "tuple[int, ...]": _are_ints,
    "tuple[int, int]": _are_ints,
    "None": lambda value: value is None,
}
"""What an attribute may be, by its annotation. Others (a key of an index, say) the op checks."""


def _is_of_kind(value: Any, annotation: str) -> bool:
    parts = annotation.split(" | ")
    return any(part not in _KINDS or _KINDS[part](value) for part in parts)


# Parts of a file.


def _need(table: Any, required: set[str], optional: set[str], what: str) -> None:
    """Check that `table` is a table with these keys and no other."""
    if type(table) is not dict:
        raise FormatError(f"{what} is no table, but {_brief(table)}")
    keys = set(table)
    if not required <= keys:
        raise FormatError(f"{what} lacks the keys {', '.join(sorted(required - keys))}")
    if not keys <= required | optional:
        unknown = sorted(keys - required - optional)
        raise FormatError(f"{what} has unknown keys: {_brief(unknown)}")


def _name(name: Any, what: str) -> str:
    if type(name) is not str:
        raise FormatError(f"{what} is no text, but {_brief(name)}")
    if len(name) > LONGEST_NAME or SURROGATE.search(name):
        raise FormatError(
            f"{what} is {_brief(name)} ({len(name)} characters); a name is text of up to "
            f"{LONGEST_NAME} characters, without lone surrogates"
        )
    return name


def _flag(table: dict[str, Any], key: str, value: bool, name: str) -> bool | None:
    """Return what `table` says of `key`: `value`, the only thing it may say, or None."""
    if key in table and table[key] is not value:
        raise FormatError(f"node '{visible(name)}' has {key} {_brief(table[key])}")
    return table.get(key)


def _spec(text: Any, name: str) -> Spec:
    match = _SPEC.fullmatch(text) if type(text) is str else None
    if match is None:
        raise FormatError(
            f"node '{visible(name)}' has the spec {_brief(text)}; write it like 'float64[8, 2]'"
        )
    shape = tuple(map(int, match[2].split(", "))) if match[2] else ()
    return Spec(shape, np.dtype(match[1]))


def _array(text: Any, spec: Spec, name: str) -> Array:
    """Return the array that `text` holds, checked to be of `spec` before it is made."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (AttributeError, UnicodeEncodeError, binascii.Error):
        raise FormatError(f"the value of node '{visible(name)}' is no base64") from None
    if len(data) != spec.nbytes:
        raise FormatError(
            f"the value of node '{visible(name)}' has {len(data)} bytes, but {spec} has "
            f"{spec.nbytes}"
        )
    if spec.dtype.kind == "b" and data.translate(None, b"\0\1"):
        raise FormatError(f"the value of node '{visible(name)}' is not of bools")
    try:
        return np.frombuffer(data, spec.dtype.newbyteorder("<")).reshape(spec.shape)
    except ValueError as error:
        raise FormatError(f"the value of node '{visible(name)}' cannot be: {error}") from None


def _structure(table: Any, leaves: int) -> Any:
    """Return what a traced function returned, with exactly as many leaves as outputs."""
    result, count = _branch_of(table)
    if count != leaves:
        raise FormatError(f"its structure has {count} leaves for {leaves} outputs")
    return result


def _branch_of(table: Any) -> tuple[Any, int]:
    if table is None:
        return None, 1
    forms = {"dict": dict, "list": list, "tuple": tuple}
    form = next(iter(table)) if type(table) is dict and len(table) == 1 else None
    children = table[form] if form in forms else None
    if form is None or type(children) is not list:
        raise FormatError(f"its structure holds {_brief(table)}")
    if form != "dict":
        parts = [_branch_of(child) for child in children]
        return (forms[form], tuple(part for part, _ in parts)), sum(n for _, n in parts)
    pairs = []
    count = 0
    for pair in children:
        if type(pair) is not list or len(pair) != 2 or type(pair[0]) not in (str, int):
            raise FormatError(f"its structure holds {_brief(pair)}")
        part, n = _branch_of(pair[1])
        pairs.append((pair[0], part))
        count += n
    return (dict, tuple(pairs)), count


def _brief(value: Any) -> str:
    """Return some of a value that a file holds, safe to print."""
    if type(value) is str:
        return f"'{visible(value[:80])}'" + ("..." if len(value) > 80 else "")
    if type(value) is list:
        return "[" + ", ".join(map(_brief, value[:4])) + (", ...]" if len(value) > 4 else "]")
    if type(value) is dict:
        parts = [f"{_brief(key)}: {_brief(value[key])}" for key in list(value)[:4]]
        return "{" + ", ".join(parts) + (", ...}" if len(value) > 4 else "}")
    return str(value)
