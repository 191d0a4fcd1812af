"""From DOT source to SVG, PNG and PDF, by whichever of two renderers is installed."""

from __future__ import annotations

import warnings

from autograd.draw.dot import Source
from autograd.errors import DrawError

FORMATS = ("svg", "png", "pdf", "dot")
_INSTALL = (
    "install one with `pip install 'loopgrad[draw]'` (pygraphviz 2 brings Graphviz along), or put "
    "Graphviz' own `dot` on the PATH and `pip install graphviz`"
)


def render(source: Source, format: str) -> bytes:
    """Return the picture in `format`: svg, png or pdf. DrawError if nothing here can draw."""
    for renderer in (_by_pygraphviz, _by_graphviz):
        made = renderer(source, format)
        if made is not None:
            return made
    raise DrawError(f"cannot render a picture here: no Graphviz was found; {_INSTALL}")


def _by_pygraphviz(source: Source, format: str) -> bytes | None:
    """Render in this process; None if pygraphviz is not there or has no Graphviz."""
    try:
        import pygraphviz
    except ImportError:
        return None

    def run(text: str, format: str, prog: str) -> bytes:
        made: bytes = pygraphviz.AGraph(string=text).draw(format=format, prog=prog)
        return made

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Graphviz' remarks on fonts and sizes
        try:
            if not source.late:
                return run(source.first, format, "dot")
            laid_out = run(source.first, "dot", "dot").decode()
            return run(source.continued(laid_out), format, "nop2")
        except (OSError, ValueError) as error:
            raise DrawError(f"Graphviz could not draw the picture: {error}") from error


def _by_graphviz(source: Source, format: str) -> bytes | None:
    """Render with the `dot` program; None if it, or the package that calls it, is not there."""
    try:
        import graphviz
    except ImportError:
        return None
    try:
        if not source.late:
            made: bytes = graphviz.Source(source.first).pipe(format=format)
            return made
        laid_out = graphviz.Source(source.first).pipe(format="dot").decode()
        text = source.continued(laid_out)
        made = graphviz.Source(text, engine="neato").pipe(format=format, neato_no_op=2)
        return made
    except graphviz.ExecutableNotFound:
        return None
    except graphviz.CalledProcessError as error:
        raise DrawError(f"Graphviz could not draw the picture: {error}") from error
