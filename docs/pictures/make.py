"""Draw the pictures of README.md and docs/pictures.md anew, from the README's own code.

python docs/pictures/make.py
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import autograd as ag
from loops import LoopNode

HERE = Path(__file__).resolve().parent


def readme() -> dict[str, Any]:
    """Return the names that the README's first two Python blocks define."""
    text = (HERE.parent.parent / "README.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the README saves a file
        try:
            for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:2]:
                exec(block, names)
        finally:
            os.chdir(before)
    return names


def nested() -> ag.Graph:
    """Return a loop over rows that holds a loop over columns."""
    image = ag.input("image", (5, 3, 4))
    w, u = (ag.parameter(name, ag.eye(4).value) for name in "wu")
    with LoopNode("rows") as rows:
        row = rows.each(image, "row")
        start = rows.branch("s", ag.zeros(4))
        with LoopNode("columns") as columns:
            x = columns.each(row, "x")
            h = columns.branch("h", start)
            columns.feed(h, ag.tanh(x @ w + h @ u))
        rows.feed(start, columns.final(h))
    return ag.Graph(image, {"last": rows.final(start)}, name="nested")


def narx() -> ag.Graph:
    """Return a loop with states and per-step inputs at several lags."""
    x, past, start = ag.input("x", (8, 3)), ag.input("past", (2, 3)), ag.input("start", (5, 4))
    u, w, v = (ag.parameter(k, ag.ones((n, 4)).value) for k, n in (("u", 3), ("w", 4), ("v", 4)))
    with LoopNode("narx") as step:
        ago = step.each(x, lag=2, before=past)
        ahead = step.each(x, lead=1, after="edge")
        y1, y5 = step.branch("y", history=start, lags=(1, 5))
        y = ag.tanh((step.each(x) + ago - ahead) @ u + y1 @ w + y5 @ v)
        step.feed(y1, y)
        ys = step.collect(y, "ys")
    return ag.Graph([x, past, start], {"ys": ys}, name="narx")


def main() -> None:
    """Write the pictures beside this file."""
    names = readme()
    adder = names["adder"]
    adder.draw(HERE / "adder.svg")
    adder.resize(xs=(3, 1, 2)).unroll().draw(HERE / "adder_unrolled.svg")
    names["training"].draw(HERE / "adder_gradient.svg")
    nested().draw(HERE / "nested.svg")
    narx().draw(HERE / "narx.svg")


if __name__ == "__main__":
    main()
