"""Recursion without Python's stack: loops nested a thousand deep are walked, run, differentiated.

A recursive function is written as a generator that yields the generators it calls and receives
their results. `trampoline` runs it on a list of its own, so no recursion limit is ever met.

While a generator goes on with a result, the trampoline holds that result too: nothing can be done
about it in Python, except that a generator which is to let go of a large one yields None.
"""

from __future__ import annotations

from collections.abc import Generator
from types import GeneratorType
from typing import Any

Task = Generator[Any, Any, Any]
"""A generator that yields tasks it needs done, gets their results and returns its own."""


def trampoline(task: Any) -> Any:
    """Run `task` to its end and return what it returns. (What is no generator is returned.)"""
    if type(task) is not GeneratorType:
        return task
    stack: list[Task] = [task]
    result: Any = None
    error: BaseException | None = None
    while stack:
        try:
            if error is None:
                request = stack[-1].send(result)
            else:
                request = stack[-1].throw(error)
        except StopIteration as stop:
            stack.pop()
            result = stop.value
            error = None
        except BaseException as raised:
            stack.pop()
            error = raised
        else:
            if request is not None:
                stack.append(request)
            result = error = None
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: kept here, that would be a cycle
    return result
