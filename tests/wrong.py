"""Wrong graphs are refused while they are drawn: what their tables and tests share.

A row is a function that draws something wrong on virtual nodes. The error must be of the right
class, name the user's own nodes, say what to do, and point to the line in the function.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import autograd as ag

Draw = Callable[[], Any]


class Wrong(list[Any]):
    """A table of rows, and the decorator that adds one."""

    def __call__(self, error: type[Exception], *said: str) -> Callable[[Draw], Draw]:
        """Add a row: the function raises `error`, whose message matches every pattern in `said`."""

        def add(draw: Draw) -> Draw:
            self.append(pytest.param(draw, error, said, id=draw.__name__))
            return draw

        return add


def assert_refused(draw: Draw, error: type[Exception], said: tuple[str, ...]) -> None:
    with pytest.raises(ag.LoopGradError) as caught:
        draw()
    assert type(caught.value) is error
    message = str(caught.value)
    for pattern in said:
        assert re.search(pattern, message), f"{pattern!r} is not in: {message}"
    source, first = inspect.getsourcelines(draw)
    file = re.escape(inspect.getfile(draw))
    lines = [int(n) for n in re.findall(rf"{file}:(\d+)", message)]
    assert any(first <= line < first + len(source) for line in lines), message
    # The first line named is the one that is wrong.
    assert re.match(rf"{file}:\d+: ", message), message


def assert_drawing_goes_on(draw: Draw) -> None:
    with pytest.raises(ag.LoopGradError):
        draw()
    x = ag.input("x", (2,))
    assert ag.Graph(x, {"y": x * 2.0}).run(x=[1.0, 2.0])["y"].tolist() == [2.0, 4.0]
