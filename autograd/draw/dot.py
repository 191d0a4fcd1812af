"""A picture in DOT, the language of Graphviz.

Everything is written by us: node names are `n17`, texts are HTML-like labels in which every
character that means something is a numeric entity, and no attribute that could hold a link, a file
or a script is ever used. So no name can be more than a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from autograd.draw.picture import Arrow, Box, Frame, Picture, picture_of, short
from autograd.draw.style import (
    ARROW_MEANINGS,
    ARROWS,
    BACKWARD,
    BACKWARD_FRAMES,
    BOXES,
    DOORS,
    FONT,
    FRAMES,
    LATE,
    MEANINGS,
    PALE,
    TEXT,
)
from autograd.errors import DrawError

if TYPE_CHECKING:
    from autograd.graph import Graph
    from autograd.spec import Spec

_HOLDS = 16
"""Lines from a mark of the ruler to its step: a few are outweighed by other arrows."""
_DIRECTIONS = {"down": "TB", "up": "BT", "right": "LR", "left": "RL"}


def to_dot(
    graph: Graph,
    *,
    depth: int | None = None,
    direction: str = "down",
    legend: bool = False,
    limit: int | None = None,
) -> str:
    """Return `graph` as DOT source. See `autograd.draw.draw` for the options."""
    return source_of(picture_of(graph, depth, limit), direction, legend).text


@dataclass(frozen=True)
class Source:
    """DOT source in two parts: what is laid out first, and arrows then drawn where there is room.

    The late arrows run against the order of the layout (to an earlier rank, to the next step).
    Graphviz leads such arrows around everything else when it lays them out with the rest.
    """

    first: str
    late: tuple[tuple[int, int, str], ...]
    """Tail, head and attributes of each late arrow."""

    @property
    def text(self) -> str:
        """The whole source."""
        return _with_statements(self.first, [_late(*arrow) for arrow in self.late])

    def continued(self, laid_out: str) -> str:
        """Return `laid_out`, which is `first` with positions, and the late arrows in it.

        Each leaves and arrives at the side that faces the other end, clear of the arrows that
        run down between the same boxes.
        """
        across = {int(m[1]): float(m[2]) for m in _POSITION.finditer(laid_out)}
        sideways = re.search(r'rankdir="?[LR]', laid_out) is not None
        lines = []
        for tail, head, attrs in self.late:
            away = across.get(head, 0.0) - across.get(tail, 0.0)
            back = "n" if sideways else "w" if away <= 0 else "e"
            sides = ("e", "w") if 'class="step"' in attrs and not sideways else (back, back)
            lines.append(_late(tail, head, f"{attrs}, tailport={sides[0]}, headport={sides[1]}"))
        return _with_statements(laid_out, lines)


_POSITION = re.compile(r"^\s*n(\d+)\s*\[[^\]]*?pos=\"([-\d.]+),", re.MULTILINE)


def _late(tail: int, head: int, attrs: str) -> str:
    return f"  n{tail} -> n{head} [{attrs}];\n"


def _with_statements(text: str, lines: Iterable[str]) -> str:
    return f"{text[: text.rindex('}')]}{''.join(lines)}}}\n"


def source_of(picture: Picture, direction: str = "down", legend: bool = False) -> Source:
    """Return the DOT source of a picture."""
    if direction not in _DIRECTIONS:
        raise DrawError(
            f"a picture runs {', '.join(_DIRECTIONS)}, but direction={direction!r} was asked for"
        )
    first = [*_head(picture, _DIRECTIONS[direction]), *_nested(picture), *_columns(picture)]
    late = []
    for number, arrow in enumerate(picture.arrows):
        attrs = _arrow(arrow, number, picture)
        if arrow.kind in LATE:
            late.append((arrow.tail, arrow.head, attrs))
        else:
            first.append(f"  n{arrow.tail} -> n{arrow.head} [{attrs}];")
    if legend:
        first += _legend(picture)
    return Source("\n".join([*first, "}\n"]), tuple(late))


def _head(picture: Picture, rankdir: str) -> Iterator[str]:
    yield "digraph loopgrad {"
    dtype = f" · {picture.dtype} unless said otherwise" if picture.dtype else ""
    yield _attrs(
        "  graph",
        rankdir=rankdir,
        splines="spline",
        fontname=FONT,
        fontcolor=TEXT,
        nodesep="0.28",
        ranksep="0.34",
        pad="0.2",
        bgcolor="white",
        labelloc="t",
        labeljust="l",
        label=_bold(picture.title, 12) + _small(dtype),
    )
    yield _attrs(
        "  node",
        fontname=FONT,
        fontsize="11",
        fontcolor=TEXT,
        height="0.32",
        width="0.4",
        margin="0.11,0.05",
        penwidth="1.1",
    )
    yield _attrs(
        "  edge", fontname=FONT, fontsize="8.5", fontcolor=PALE, arrowsize="0.6", penwidth="1.0"
    )


def _nested(picture: Picture) -> Iterator[str]:
    """Yield frames with their boxes inside, without recursion."""
    inside: dict[int | None, list[int]] = {}
    for i, frame in enumerate(picture.frames):
        inside.setdefault(frame.parent, []).append(i)
    boxes: dict[int | None, list[int]] = {}
    for i, box in enumerate(picture.boxes):
        boxes.setdefault(box.frame, []).append(i)
    for i in boxes.get(None, []):
        yield _box(i, picture.boxes[i], "  ")
    stack = [iter(inside.get(None, []))]
    while stack:
        indent = "  " * len(stack)
        for i in stack[-1]:
            yield f"{indent}subgraph cluster_{i} {{"
            yield _frame(picture.frames[i], indent, len(stack))
            for b in boxes.get(i, []):
                yield _box(b, picture.boxes[b], indent + "  ")
            doors = [f"n{b};" for b in boxes.get(i, []) if picture.boxes[b].kind in DOORS]
            if len(doors) > 1:
                yield f"{indent}  {{ rank=same; {' '.join(doors)} }}"
            stack.append(iter(inside.get(i, [])))
            break
        else:
            stack.pop()
            if stack:
                yield f"{'  ' * len(stack)}}}"


def _box(number: int, box: Box, indent: str) -> str:
    lines = [_bold(box.title, 11)] if box.title else []
    for i, line in enumerate(box.detail):
        small = i > 0 or (box.title and len(line) > 1)
        lines.append(_small(line) if small else _plain(line))
    if box.title and not box.detail and box.kind in ("each", "state"):
        lines.append(_small(MEANINGS[box.kind]))
    label = f"label=<{'<BR/>'.join(lines)}>" if lines else 'label=""'
    return f'{indent}n{number} [id="n{number}", {label}, {_box_style(box.kind, box.backward)}];'


@cache
def _box_style(kind: str, backward: bool) -> str:
    style = BOXES[kind] | (BACKWARD.get(kind, {}) if backward else {})
    return _words(class_=f"{kind} {'backward' if backward else 'forward'}", **style)


def _frame(frame: Frame, indent: str, depth: int) -> str:
    styles = BACKWARD_FRAMES if frame.backward else FRAMES
    style = styles[frame.kind][depth % 2]
    detail = f"   {frame.detail}" if frame.detail else ""
    label = _bold(frame.title, 11) + (_small(detail) if detail else "")
    return _attrs(
        f"{indent}  graph",
        id="",
        class_=frame.kind,
        label=label,
        labeljust="l",
        labelloc="t",
        fontcolor=TEXT,
        margin="10",
        penwidth="1.0",
        **style,
    )


def _arrow(arrow: Arrow, number: int, picture: Picture) -> str:
    label = _bold(f" {arrow.name} ", 9) if arrow.name else ""
    if arrow.says:
        label += _emphasized(f" {arrow.says} ")
    if arrow.spec is not None:
        label += _small(f" {_shape(arrow.spec, picture.dtype)} ")
    text = f", label=<{label}>" if label else ""
    return f'id="e{number}", {_arrow_style(arrow.kind, arrow.backward)}{text}'


@cache
def _arrow_style(kind: str, backward: bool) -> str:
    style = dict(ARROWS[kind])
    if backward and kind == "data":
        style["color"] = BACKWARD["op"]["color"]
    return _words(class_=kind, **style)


def _columns(picture: Picture) -> Iterator[str]:
    """Yield what keeps the steps of an unrolled loop side by side, in their order.

    Graphviz orders frames to avoid crossings. An invisible ruler above them, with a mark for each
    step and lines from each mark to its step, makes the order of the steps the best one.
    """
    numbers: dict[int, tuple[int, ...]] = {}
    for i, frame in enumerate(picture.frames):
        if frame.kind == "step":
            number = int(frame.title.rpartition("[")[2][:-1])
            outer = () if frame.parent is None else numbers.get(frame.parent, ())
            numbers[i] = (*outer, number)
    if not numbers:
        return
    held: dict[int, list[int]] = {i: [] for i in numbers}
    for i, box in enumerate(picture.boxes):
        frame_of = box.frame
        while frame_of is not None:
            if frame_of in held and len(held[frame_of]) < _HOLDS:
                held[frame_of].append(i)
            frame_of = picture.frames[frame_of].parent
    marks = sorted(numbers, key=lambda i: (numbers[i], i))
    for i in marks:
        yield f"  mark{i} [shape=point, style=invis, width=0.01, height=0.01];"
        for b in held[i]:
            yield f"  mark{i} -> n{b} [style=invis, weight=0];"
    yield f"  {{ rank=same; {' -> '.join(f'mark{i}' for i in marks)} [style=invis]; }}"


def _legend(picture: Picture) -> Iterator[str]:
    kinds = [kind for kind in MEANINGS if any(box.kind == kind for box in picture.boxes)]
    yield "  subgraph cluster_legend {"
    yield _attrs(
        "    graph",
        label=_bold("legend", 11),
        style="rounded",
        color="#C9CFD6",
        margin="10",
        labeljust="l",
        fontcolor=TEXT,
        bgcolor="white",
    )
    for kind in kinds:
        yield _attrs(f"    legend_{kind}", label=_plain(MEANINGS[kind]), **BOXES[kind])
    if any(box.backward for box in picture.boxes):
        kinds.append("backward")
        style = {**BOXES["op"], **BACKWARD["op"]}
        yield _attrs("    legend_backward", label=_plain("op of a gradient"), **style)
    shown = {arrow.kind for arrow in picture.arrows}
    for kind, meaning in ARROW_MEANINGS.items():
        if kind in shown:
            kinds.append(kind)
            label = f'<FONT COLOR="{ARROWS[kind]["color"]}"><B>{_entities(meaning)}</B></FONT>'
            yield _attrs(f"    legend_{kind}", shape="plain", label=label)
    if kinds:
        chain = " -> ".join(f"legend_{kind}" for kind in kinds)
        yield f"    {chain} [style=invis];"
    yield "  }"


# Texts.


@lru_cache(maxsize=10_000)
def _shape(spec: Spec, dtype: str | None) -> str:
    shape = "×".join(map(str, spec.shape)) or "scalar"
    return shape if str(spec.dtype) == dtype else f"{shape} {spec.dtype}"


@lru_cache(maxsize=10_000)
def _plain(text: str) -> str:
    return _entities(short(text))


def _bold(text: str, size: float) -> str:
    if not text:
        return ""
    return f'<FONT POINT-SIZE="{size}"><B>{_entities(short(text))}</B></FONT>'


def _emphasized(text: str) -> str:
    return f'<FONT POINT-SIZE="9"><I>{_entities(text)}</I></FONT>'


@lru_cache(maxsize=10_000)
def _small(text: str) -> str:
    if not text.strip():
        return ""
    return f'<FONT POINT-SIZE="8.5" COLOR="{PALE}">{_entities(short(text))}</FONT>'


@lru_cache(maxsize=10_000)
def _entities(text: str) -> str:
    """Return `text` with all but letters, digits and a few harmless signs as entities.

    Graphviz reads `\\N` as the node's name after it has read entities, so `\\` is written twice.
    """
    return "".join(
        c if c.isalnum() or c in _HARMLESS else "&#92;&#92;" if c == "\\" else f"&#{ord(c)};"
        for c in text
    )


_HARMLESS = frozenset(" .,:_()+=·×−÷@…")


def _attrs(start: str, **attrs: str) -> str:
    """Return a DOT statement."""
    return f"{start} [{_words(**attrs)}];"


def _words(**attrs: str) -> str:
    """Return DOT attributes. Labels are HTML-like, of escaped text; all else is ours."""
    words = []
    for key, value in attrs.items():
        if key == "label":
            words.append(f"label=<{value}>" if value else 'label=""')
        elif value:
            words.append(f'{key.rstrip("_")}="{value}"')
    return ", ".join(words)
