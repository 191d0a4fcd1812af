"""SVG with nothing in it but shapes and texts, whoever made it."""

from __future__ import annotations

import re
import textwrap
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from autograd.draw.label import visible
from autograd.draw.picture import Picture
from autograd.errors import DrawError

_NAMESPACE = "http://www.w3.org/2000/svg"
_ELEMENTS = {"svg", "g", "title", "desc", "path", "polygon", "polyline", "ellipse", "text"}
_ATTRIBUTES = {
    "class", "cx", "cy", "d", "fill", "fill-opacity", "font-family", "font-size", "font-style",
    "font-weight", "height", "id", "points", "rx", "ry", "stroke", "stroke-dasharray",
    "stroke-opacity", "stroke-width", "text-anchor", "transform", "viewBox", "width", "x", "y",
}  # fmt: skip
_LONGEST_TITLE = 300


def clean(svg: bytes, picture: Picture) -> str:
    """Return the SVG that Graphviz made, with only shapes and texts left, and readable titles.

    What is not on the lists above is dropped: scripts, links, event handlers, style sheets.
    """
    text = re.sub(r"<!DOCTYPE[^>]*>", "", svg.decode(), count=1)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DrawError(f"the renderer made SVG that is not well-formed: {error}") from None
    titles = _titles(picture)
    stack = [root]
    while stack:
        element = stack.pop()
        element.tag = _local(element.tag)
        for name in list(element.attrib):
            if name not in _ATTRIBUTES:
                del element.attrib[name]
        for child in list(element):
            if _local(child.tag) not in _ELEMENTS:
                element.remove(child)
            elif _local(child.tag) == "title" and element is not root:
                said = titles.get(element.get("id", ""))
                if said is None:
                    element.remove(child)
                else:
                    child.text = said
        stack.extend(element)
    root.set("xmlns", _NAMESPACE)
    root.set("role", "img")
    title = ElementTree.Element("title")
    title.text = _brief(f"graph {visible(picture.title)}")
    about = ElementTree.Element("desc")
    about.text = f"{len(picture.boxes)} boxes, {len(picture.arrows)} arrows"
    root[:0] = [title, about]
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _titles(picture: Picture) -> dict[str, str]:
    """Return what boxes and arrows are about, by the id they have in the picture."""
    titles = {f"n{i}": _brief(box.about) for i, box in enumerate(picture.boxes)}
    for i, arrow in enumerate(picture.arrows):
        tail = picture.boxes[arrow.tail].about.partition(":")[0]
        head = picture.boxes[arrow.head].about.partition(":")[0]
        spec = f": {arrow.spec}" if arrow.spec is not None else ""
        titles[f"e{i}"] = _brief(f"{tail} to {head}{spec}")
    return titles


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _brief(text: str) -> str:
    return text if len(text) <= _LONGEST_TITLE else text[: _LONGEST_TITLE - 1] + "…"


def notice(title: str, message: str) -> str:
    """Return a small SVG that says `message` under `title`."""
    lines = textwrap.wrap(visible(message), 84)
    texts = [f'<text x="12" y="24" font-weight="bold">{escape(visible(title))}</text>']
    for i, line in enumerate(lines):
        texts.append(f'<text x="12" y="{46 + 18 * i}">{escape(line)}</text>')
    height = 46 + 18 * len(lines)
    return (
        f'<svg xmlns="{_NAMESPACE}" width="640" height="{height}" role="img" '
        'font-family="Helvetica,Arial,sans-serif" font-size="13">'
        f"<title>{escape(visible(title))}</title>"
        f'<rect x="0.5" y="0.5" width="639" height="{height - 1}" rx="8" fill="#F6F8FA" '
        f'stroke="#8B949E"/>{"".join(texts)}</svg>\n'
    )
