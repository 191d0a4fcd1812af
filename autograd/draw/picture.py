"""What a picture of a graph consists of: boxes, arrows between them, and frames around them.

`picture_of` decides what is shown and what is left out; `dot` decides how it looks. Bodies are
entered through `node.bodies` and `op.ports`, whatever op holds them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autograd.draw.label import (
    attribute,
    constant_text,
    is_item,
    is_uniform,
    spec_text,
    specs_of,
    visible,
)
from autograd.errors import DrawError
from autograd.graph import item_name
from autograd.node import Node
from autograd.spec import UNKNOWN, Spec
from autograd.trampoline import Task, trampoline

if TYPE_CHECKING:
    from autograd.graph import Graph
    from autograd.op import Port

_SYMBOLS = {
    "add": "+",
    "subtract": "−",
    "multiply": "×",
    "divide": "÷",
    "negative": "−",
    "matmul": "@",
    "less": "<",
    "less_equal": "≤",
    "greater": ">",
    "greater_equal": "≥",
    "equal": "=",
    "not_equal": "≠",
}
_EITHER_WAY = {"add", "multiply", "equal", "not_equal"}
_STEP = re.compile(r"(.+?\[\d{1,9}\])\.")
_MOST_STEP_LEVELS = 8
_LONGEST_NAME = 64


@dataclass(slots=True)
class Box:
    """A node of the picture. `kind` gives its shape and colour, `backward` another shade."""

    kind: str
    """input, parameter, constant, op, output, each, state, control, merge or folded."""
    title: str
    """The user's name for it, or empty."""
    detail: list[str]
    frame: int | None
    """Position in `Picture.frames` of the innermost frame around it."""
    backward: bool = False
    key: str = ""
    """What boxes that stand for the same node of different steps have in common."""
    about: str = ""
    """One line for those who point at it, or listen."""


@dataclass(slots=True)
class Arrow:
    """An edge: `kind` is data, each, initial, back, stacked, final, steer or step."""

    tail: int
    head: int
    kind: str
    spec: Spec | None
    name: str = ""
    backward: bool = False
    says: str = ""
    """How many steps late or early it is."""


@dataclass(slots=True)
class Frame:
    """A box around boxes: a body (`kind` "body") or one step of an unrolled loop ("step")."""

    kind: str
    title: str
    detail: str
    parent: int | None
    backward: bool = False


@dataclass
class Picture:
    """Boxes, arrows and frames, in the order of the graph."""

    title: str
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    dtypes: Counter[Any] = field(default_factory=Counter)

    @property
    def dtype(self) -> str | None:
        """The most frequent dtype: specs do not repeat it."""
        return str(self.dtypes.most_common(1)[0][0]) if self.dtypes else None


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the arrows of a value start, and how it left the body it was made in."""

    box: int
    kind: str = "data"
    name: str = ""
    says: str = ""
    """How many steps late or early what arrives is, and what stands in where there is nothing."""
    beside: tuple[Tail, ...] = ()
    """What else arrives with it: rows that stand in."""


Tails = dict[Node, Tail]


@dataclass(slots=True)
class Level:
    """A graph being put into the picture: how its nodes are found, and what is around it."""

    graph: Graph
    frame: int | None
    depth: int
    backward: bool
    tails: Tails = field(default_factory=dict)
    exits: dict[Node, dict[int, Tail]] = field(default_factory=dict)


def picture_of(graph: Graph, depth: int | None = None, limit: int | None = None) -> Picture:
    """Return the picture of `graph` with bodies down to `depth` open and deeper ones folded.

    Raises DrawError as soon as there are more than `limit` boxes.
    """
    if depth is not None and depth < 0:
        raise DrawError(f"depth must be at least 0, but is {depth}; 0 folds all bodies")
    return _Painter(graph, depth, limit).picture


class _Painter:
    def __init__(self, graph: Graph, depth: int | None, limit: int | None) -> None:
        self.picture = Picture(graph.name)
        self.depth = depth
        self.limit = limit
        self.steps: dict[tuple[int | None, tuple[str, ...]], int] = {}
        trampoline(self._outermost(graph))

    # Levels.

    def _outermost(self, graph: Graph) -> Task:
        level = Level(graph, None, 0, False)
        for name, node in graph.inputs.items():
            about = f"input {visible(name)}: {spec_text(node.spec)}"
            level.tails[node] = Tail(self._box(level, Box("input", name, [], None, about=about)))
        yield self._nodes(level)
        for name, node in graph.outputs.items():
            backward = node.pulled or name.startswith("grad_")
            about = f"output {visible(name)}: {spec_text(node.spec)}"
            box = self._box(level, Box("output", name, [], None, backward, about=about))
            self._arrow(level, node, box, shown=name)

    def _nodes(self, level: Level) -> Task:
        inputs = set(level.graph.inputs.values())
        for node in level.graph.nodes:
            if node in inputs or is_inlined(node):
                continue
            if is_item(node):
                self._item(level, node)
            elif self._is_moved(level, node):
                continue  # its outputs are arrows that say so
            elif node.bodies and (self.depth is None or level.depth < self.depth):
                yield self._open(level, node)
            else:
                level.tails[node] = Tail(self._node(level, node))

    def _is_moved(self, level: Level, node: Node) -> bool:
        """True for the first input at other steps, unless that is such a thing itself."""
        if not node.op.shifts(node.attrs) or is_inlined(node.inputs[0]):
            return False
        return not self._tail(level, node.inputs[0]).says

    def _moved(self, level: Level, owner: Node, shift: int, name: str) -> Tail:
        """Return where a value of other steps comes from: where that of the same step does."""
        side, words = ("before", "ago") if shift > 0 else ("after", "ahead")
        steps = abs(shift)
        says = f"{steps} step{'s'[: steps > 1]} {words}"
        rule = owner.attrs.get(side, "")
        beside: tuple[Tail, ...] = ()
        if rule == "fill":
            rows = owner.inputs[2 if side == "after" and owner.attrs.get("before") == rule else 1]
            if is_inlined(rows):
                says += f", {side}: {_brief(rows)}"
            else:
                tail = self._tail(level, rows)
                beside = (Tail(tail.box, tail.kind, side, tail.says),)
        else:
            says += f", {side}: {rule}"
        tail = self._tail(level, owner.inputs[0])
        return Tail(tail.box, tail.kind, name, says, beside)

    def _item(self, level: Level, node: Node) -> None:
        owner, index = node.inputs[0], node.attrs["index"]
        if owner not in level.exits and owner not in level.tails:
            name = level.graph.names[node]
            own = "" if name == item_name(level.graph.names[owner], node) else name
            shift = owner.op.shifts(owner.attrs)[index]
            level.tails[node] = self._moved(level, owner, shift, own)
            return
        tail = level.exits[owner][index] if owner in level.exits else level.tails[owner]
        name = level.graph.names[node]
        own = "" if name == item_name(level.graph.names[owner], node) else name
        level.tails[node] = Tail(tail.box, tail.kind, own)

    def _open(self, level: Level, node: Node) -> Task:
        """Put a node with bodies into the picture as a frame with the bodies inside."""
        ports, exits = node.op.ports(node.attrs)
        backward = node.pulled
        title = self._title(level, node) or node.op.name
        around, _ = self._frame_of(level, node)
        outer = self._frame(Frame("body", title, self._says(node, ports), around, backward))
        reached = {port.outer for port in ports}
        for i, x in enumerate(node.inputs):
            if i not in reached:
                about = f"chooses what is run in {visible(title)}"
                self._control(level, x, Box("control", "", ["choose"], outer, backward, "", about))
        found: dict[int, list[Tail]] = {}
        bodies = node.bodies
        for i, body in enumerate(bodies):
            frame = outer
            if len(bodies) > 1:
                frame = self._frame(Frame("body", body.name, "", outer, backward))
            inner = Level(body, frame, level.depth + 1, backward)
            own = [port for port in ports if port.body == i]
            self._enter(level, node, inner, own)
            yield self._nodes(inner)
            results = list(body.outputs.values())
            for port in own:
                state = inner.graph.inputs[list(inner.graph.inputs)[port.inner]]
                if port.fed_by is not None and state in inner.tails:
                    name = inner.graph.names[state]
                    head = inner.tails[state].box
                    later = f"{port.lag} steps later" if port.lag > 1 else ""
                    self._arrow(inner, results[port.fed_by], head, "back", name, says=later)
            for out in exits:
                if out.body == i:
                    tail = self._tail(inner, results[out.inner])
                    found.setdefault(out.outer, []).append(Tail(tail.box, out.kind))
        level.exits[node] = {
            i: tails[0] if len(tails) == 1 else self._merged(level, node, i, tails, outer)
            for i, tails in found.items()
        }
        if not node.op.multiple:
            level.tails[node] = level.exits[node][0]

    def _enter(self, level: Level, node: Node, inner: Level, ports: list[Port]) -> None:
        """Give the inputs of a body their places: a box at the door, or what lies outside.

        What a port hands on unchanged needs no door: its arrows come straight from outside.
        """
        used = {x for n in inner.graph.nodes for x in n.inputs}
        used.update(inner.graph.outputs.values())
        inputs = list(inner.graph.inputs.values())
        for port in ports:
            x, door = node.inputs[port.outer], inputs[port.inner]
            if port.steers and port.fed_by is None:
                about = f"how many steps of {visible(level.graph.names[node])} run"
                said = inner.graph.names[door]
                box = Box("control", "", [said], inner.frame, inner.backward, "", about)
                self._control(level, x, box)
            elif port.steers:
                used.add(door)
            if door not in used:
                continue
            again = port.kind == "replayed"
            if port.fed_by is None and x.spec == door.spec and not again:
                if not is_inlined(x):
                    inner.tails[door] = self._tail(level, x)
                else:
                    inner.tails[door] = Tail(self._constant(inner, x))
                continue
            name = inner.graph.names[door]
            kind = "each" if port.fed_by is None and not again else "state"
            about = f"{port.kind} {visible(name)}: {spec_text(door.spec)}"
            box = Box(kind, name, [], inner.frame, inner.backward, about=about)
            start = kind == "state" and is_inlined(x) and not again
            box.detail = [f"state of {port.lag} steps ago"] if port.lag > 1 else []
            box.detail += [f"starts at {_brief(x)}"] if start else []
            box.detail += ["computed again"] if again else []
            inner.tails[door] = Tail(self._box(inner, box))
            if not start and not (again and is_inlined(x)):
                arrow = "initial" if kind == "state" else "each"
                self._arrow(level, x, inner.tails[door].box, arrow)

    def _control(self, level: Level, node: Node, box: Box) -> None:
        """Show that the value of `node` says which body runs, or how often."""
        self._arrow(level, node, self._box(level, box), "steer")

    def _merged(self, level: Level, node: Node, index: int, tails: list[Tail], frame: int) -> Tail:
        """Return the box where what several bodies return comes together."""
        backward = node.pulled
        spec = specs_of(node)[index]
        box = self._box(level, Box("merge", "", [], frame, backward, about=f"result: {spec}"))
        for tail in tails:
            self.picture.arrows.append(Arrow(tail.box, box, tail.kind, spec, "", backward))
        return Tail(box)

    # Boxes, arrows and frames.

    def _box(self, level: Level, box: Box) -> int:
        if self.limit is not None and len(self.picture.boxes) >= self.limit:
            raise DrawError(
                f"the picture of graph '{visible(self.picture.title)}' would have more than "
                f"{self.limit} boxes; fold bodies with depth=0 or depth=1, draw a part with "
                "graph.select(...), raise limit=..., or write the DOT source with draw('x.dot')"
            )
        self.picture.boxes.append(box)
        return len(self.picture.boxes) - 1

    def _node(self, level: Level, node: Node) -> int:
        frame, key = self._frame_of(level, node)
        name = visible(level.graph.names[node])
        specs = ", ".join(map(spec_text, specs_of(node)))
        self.picture.dtypes.update(spec.dtype for spec in specs_of(node))
        kind = node.op.name if node.op.name in ("parameter", "constant") else "op"
        if kind == "constant":
            return self._constant(level, node)
        title = self._title(level, node)
        if kind == "parameter":
            return self._box(
                level, Box(kind, title or name, [], frame, about=f"parameter {name}: {specs}")
            )
        if node.bodies:
            ports, _ = node.op.ports(node.attrs)
            kind, detail = "folded", [self._says(node, ports)]
        else:
            detail = _operation(node)
        backward = node.pulled
        about = f"{name}: {node.op.name} {specs}"
        box = self._box(level, Box(kind, title, detail, frame, backward, key, about))
        for x in node.inputs:
            if not is_inlined(x):
                self._arrow(level, x, box)
        return box

    def _constant(self, level: Level, node: Node) -> int:
        frame, _ = self._frame_of(level, node) if node in level.graph.names else (level.frame, "")
        text = constant_text(node.value).split(" sha256")[0]
        about = f"constant {text}: {spec_text(node.spec)}"
        return self._box(level, Box("constant", node.name or "", [text], frame, about=about))

    def _tail(self, level: Level, node: Node) -> Tail:
        if node not in level.tails:  # an inlined constant that is needed as a box after all
            level.tails[node] = Tail(self._constant(level, node))
        return level.tails[node]

    def _arrow(
        self,
        level: Level,
        node: Node,
        head: int,
        kind: str = "",
        name: str = "",
        shown: str = "",
        says: str = "",
    ) -> None:
        tail = self._tail(level, node)
        boxes = self.picture.boxes
        if not kind:
            kind = tail.kind
            a, b = boxes[tail.box].frame, boxes[head].frame
            if kind == "data" and a != b and self._are_steps(a, b):
                kind = "step"
        if not name and tail.name != shown:
            name = tail.name
        multiple = node.op.multiple
        spec = None if multiple else node.spec
        backward = boxes[head].backward
        says = says or tail.says
        self.picture.arrows.append(Arrow(tail.box, head, kind, spec, name, backward, says))
        for other in tail.beside:
            arrow = Arrow(other.box, head, other.kind, None, other.name, backward, other.says)
            self.picture.arrows.append(arrow)

    def _are_steps(self, a: int | None, b: int | None) -> bool:
        """True if `a` and `b` are different steps of one loop (or lie in such)."""
        tail, head = self._step_path(a), self._step_path(b)
        for x, y in zip(tail, head, strict=False):
            if x != y:
                names = [self.picture.frames[i].title.rpartition("[")[0] for i in (x, y)]
                return names[0] == names[1]
        return False

    def _step_path(self, frame: int | None) -> list[int]:
        path = []
        while frame is not None and self.picture.frames[frame].kind == "step":
            path.append(frame)
            frame = self.picture.frames[frame].parent
        path.reverse()
        return path

    def _frame(self, frame: Frame) -> int:
        self.picture.frames.append(frame)
        return len(self.picture.frames) - 1

    def _frame_of(self, level: Level, node: Node) -> tuple[int | None, str]:
        """Return the innermost frame around `node`, and its name without the steps it is in.

        Nodes of an unrolled loop are called `loop[3].h`: each step is a frame.
        """
        name = level.graph.names[node]
        steps = _STEP.match(name) and _STEP.findall(name)[:_MOST_STEP_LEVELS]
        if not steps:
            return level.frame, name
        frame = level.frame
        for i, step in enumerate(steps):
            key = (level.frame, tuple(steps[: i + 1]))
            if key not in self.steps:
                backward = node.pulled
                self.steps[key] = self._frame(Frame("step", step, "", frame, backward))
            frame = self.steps[key]
        return frame, name[sum(map(len, steps)) + len(steps) :]

    # Words.

    def _title(self, level: Level, node: Node) -> str:
        """Return the name a user gave, without the steps; empty for numbered names of ours."""
        if node.name is None:
            return ""
        _, name = self._frame_of(level, node)
        stem, _, digits = name.rpartition("_")
        return "" if stem == node.op.name and digits.isdigit() else name

    def _says(self, node: Node, ports: tuple[Port, ...]) -> str:
        """Return what a frame says besides its name: the op, how many steps, its attrs."""
        label = dict(node.op.label(node.attrs))
        words = [node.op.name]
        lengths = [node.inputs[p.outer].shape[0] for p in ports if p.kind == "each"]
        steps = label.pop("length", label.pop("bound", None))
        steps = lengths[0] if lengths else steps
        if label.pop("until", False):
            words.append("while going")
        if steps is not None and steps is not UNKNOWN:
            fewer = any(port.steers for port in ports)
            words.append(f"{'≤ ' if fewer else ''}{attribute(steps)} steps")
        return " · ".join([*words, *_worth_saying(label)])


def is_inlined(node: Node) -> bool:
    """True for an unnamed constant of one value: the op that uses it says it."""
    return (
        node.op.name == "constant"
        and node.name is None
        and (node.shape == () or is_uniform(node.value))
    )


def short(name: str) -> str:
    """Return `name` as a picture shows it: visible, and not too long."""
    name = name if len(name) <= 4 * _LONGEST_NAME else name[: 4 * _LONGEST_NAME]
    shown = visible(name)
    if len(shown) <= _LONGEST_NAME:
        return shown
    return shown[: _LONGEST_NAME - 1] + "…"


def _brief(node: Node) -> str:
    """Return the one value of an inlined constant in few digits."""
    value = node.value.reshape(-1)[0].item()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _operation(node: Node) -> list[str]:
    """Return the lines that say what an op does: its name or sign, and attrs worth saying."""
    name = node.op.name
    words = [_brief(x) if is_inlined(x) else "·" for x in node.inputs]
    symbol = _SYMBOLS.get(name)
    if all(word == "·" for word in words):
        line = symbol or name
    elif symbol is None or len(words) != 2 or words.count("·") != 1:
        line = f"{name}({', '.join(words)})"
    elif words[0] == "·" or name in _EITHER_WAY:
        line = f"{symbol} {words[0] if words[1] == '·' else words[1]}"
    else:
        line = f"{words[0]} {symbol}"
    label = node.op.label(node.attrs)
    if name == "swapaxes" and set(label.values()) == {-1, -2}:
        return ["transpose"]
    if name == "slice":
        return [f"[{attribute(label['key']).strip('(),')}]"]
    shape = None if node.op.multiple else node.shape
    said = _worth_saying({key: value for key, value in label.items() if value != shape})
    return [line, ", ".join(said)] if said else [line]


def _worth_saying(label: dict[str, Any]) -> list[str]:
    return [
        key if value is True else f"{key}={attribute(value)}"
        for key, value in label.items()
        if value is not False and value is not None
    ]
