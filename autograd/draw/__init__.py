"""Graphs as text and as pictures. Everything here recurses through bodies and knows no loop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograd.draw.dot import source_of, to_dot
from autograd.draw.picture import picture_of
from autograd.draw.render import FORMATS, render
from autograd.draw.svg import clean, notice
from autograd.draw.text import to_text
from autograd.errors import DrawError
from autograd.export.atomic import write_whole

if TYPE_CHECKING:
    from autograd.graph import Graph

__all__ = ["draw", "notebook_svg", "to_dot", "to_svg", "to_text"]

LIMIT = 1500
"""Boxes up to which a picture is laid out unless asked otherwise: some ten seconds."""


def draw(
    graph: Graph,
    path: str | os.PathLike[str] | None = None,
    *,
    depth: int | None = None,
    direction: str = "down",
    legend: bool = False,
    limit: int = LIMIT,
) -> str | None:
    """Draw `graph` to a .svg, .png, .pdf or .dot file; without a path return the SVG text.

    `depth` opens bodies down to that depth and folds deeper ones (0: all; None: folds none).
    `direction` is where it runs: "down", "up", "right" or "left". `legend` explains the shapes.
    More than `limit` boxes are a DrawError instead of minutes of layout (.dot has no limit).
    Needs `pygraphviz`, or the `graphviz` package and `dot`; without these the DOT source is
    written beside the wanted file, and the DrawError says where, and what to install.
    """
    options: dict[str, Any] = {"depth": depth, "direction": direction, "legend": legend}
    if path is None:
        return to_svg(graph, limit=limit, **options)
    target = Path(path)
    format = target.suffix.lower().removeprefix(".")
    if format not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise DrawError(f"cannot tell from '{target}' what to draw; end its name in one of {known}")
    if format == "dot":
        _write(target, to_dot(graph, **options).encode())
        return None
    picture = picture_of(graph, depth, limit)
    source = source_of(picture, direction, legend)
    try:
        data = render(source, format)
    except DrawError as error:
        fallback = target.with_suffix(".dot")
        _write(fallback, source.text.encode())
        raise DrawError(
            f"{error.args[0]}. The picture's DOT source was written to '{fallback}'"
        ) from None
    _write(target, clean(data, picture).encode() if format == "svg" else data)
    return None


def to_svg(graph: Graph, *, limit: int = LIMIT, **options: Any) -> str:
    """Return `graph` as an SVG picture; options as in `draw`. DrawError if nothing can render."""
    depth = options.pop("depth", None)
    picture = picture_of(graph, depth, limit)
    return clean(render(source_of(picture, **options), "svg"), picture)


def notebook_svg(graph: Graph) -> str:
    """Return the SVG of `graph`, or, if it cannot be drawn, a picture of the reason."""
    try:
        return to_svg(graph)
    except DrawError as error:
        return notice(repr(graph), error.args[0])


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as error:
        raise DrawError(f"cannot write '{path}': {error.strerror}") from error
