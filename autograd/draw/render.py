"""From DOT source to SVG, PNG and PDF, by whichever of two renderers is installed."""

from __future__ import annotations

import subprocess
import sys

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


_CHILD = """
import sys
import pygraphviz
text = sys.stdin.buffer.read().decode()
sys.stdout.buffer.write(pygraphviz.AGraph(string=text).draw(format=sys.argv[1], prog=sys.argv[2]))
"""


def _by_pygraphviz(source: Source, format: str) -> bytes | None:
    """Render with pygraphviz, if it is there, in a process of its own.

    Graphviz is C code that some graphs crash; that must not end a training or a notebook.
    """
    try:
        import pygraphviz  # noqa: F401
    except ImportError:
        return None
    if not source.late:
        return _in_child(source.first, format, "dot")
    laid_out = _in_child(source.first, "dot", "dot").decode()
    return _in_child(source.continued(laid_out), format, "nop2")


def _in_child(text: str, format: str, engine: str) -> bytes:
    command = [sys.executable, "-P", "-c", _CHILD, format, engine]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    if done.returncode == 0 and done.stdout:
        return done.stdout
    said = done.stderr.decode(errors="replace").strip().splitlines()
    reason = said[-1] if done.returncode > 0 and said else f"it ended with {done.returncode}"
    raise DrawError(
        f"Graphviz could not draw the picture: {reason}; try another depth= or direction="
    )


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
