"""Work cut into parts that several threads compute: whoever is free takes the next part.

Threads that help exist only while a plan runs. The thread that runs it takes parts from the front
and those that help from the back, so that each finds in its caches what it computed with in the
step before; one whose core is busy with something else takes less, and nobody waits for it. What a
part is depends on sizes alone, so results do not depend on who computes it.

They meet in a block of memory, the *desk*. Its ticket is one number: which round of work it is (32
bits), the first part not taken yet, and the end of those not taken (16 bits each).
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
from typing import Any

import numpy as np

from autograd.execute.native.blas import find
from autograd.execute.native.compiler import Compiled, compiled, machine, once
from autograd.execute.native.ir import I32, I64, PTR, VOID, Function, Module, Value
from autograd.execute.storage import aligned

MOST_PARTS = 2**15
"""Work has at most so many parts."""

_TICKET, _DONE, _TASK, _FRAME, _STOP, _GIVE_WAY, _WORDS = 0, 8, 16, 17, 24, 25, 32
"""Where on the desk things are: numbers that different threads write are on different lines."""

_SPINS = 2000
"""How often one looks whether there is work before letting other threads have the core."""

_NAME = "share"


def share(f: Function, desk: Value, task: str, frame: Value, parts: Value) -> None:
    """Write a call of `task(frame, i)` for i = 0, ..., parts - 1, in any order, by all threads.

    `task` is a function of the module; `desk` may be null: then this thread does it all.
    """
    if not f.module.has(_NAME):
        _write_share(f.module)
    f.call(VOID, _NAME, desk, f.address_of(task), frame, parts)


def _write_share(module: Module) -> None:
    f = module.function(_NAME, VOID, (PTR, PTR, PTR, I64))
    desk, task, frame, parts = f.arguments
    with f.when(desk.is_null() | (parts < 2)):
        with f.range(parts) as i:
            f.call_address(VOID, task, frame, i)
        f.leave()
    zero = parts.constant(0)
    f.store_shared(zero, desk, _DONE)
    for index, pointer in ((_TASK, task), (_FRAME, frame)):
        f.store_shared(f.cast("ptrtoint", pointer, I64), desk, index)
    ticket = f.load_shared(desk, _TICKET)
    mine = f.variable(zero)
    f.store_shared((((ticket >> 32) + 1) << 32) | parts, desk, _TICKET)
    with f.forever() as out:
        ticket, first, end = _read(f, desk)
        f.stop_unless(first < end, out)
        with f.when(f.exchange(ticket, ticket + (1 << 16), desk, _TICKET)):
            f.call_address(VOID, task, frame, first)
            mine.value = mine.value + 1
    waited = f.variable(zero)
    with f.forever() as out:
        f.stop_unless(mine.value + f.load_shared(desk, _DONE) < parts, out)
        _wait(f, desk, waited)
    f.give()


def _read(f: Function, desk: Value) -> tuple[Value, Value, Value]:
    ticket = f.load_shared(desk, _TICKET)
    return ticket, (ticket >> 16) & 0xFFFF, ticket & 0xFFFF


def _wait(f: Function, desk: Value, waited: Any) -> None:
    """Pause for a moment, and give way to other threads if it has been long."""
    if "x86" in machine().triple:
        f.call(VOID, "llvm.x86.sse2.pause")
    waited.value = waited.value + 1
    give_way = f.load_shared(desk, _GIVE_WAY)
    with f.when((waited.value > _SPINS) & give_way.differs(0)):
        f.call_address(I32, f.cast("inttoptr", give_way, PTR))


def _write_help(module: Module) -> None:
    """Write what a thread that helps runs: it takes parts until it is told to stop."""
    f = module.function("help", VOID, (PTR,))
    (desk,) = f.arguments
    waited = f.variable(f.constant(I64, 0))
    with f.forever() as out:
        ticket, first, end = _read(f, desk)
        with f.when(first < end):
            # Read before a part is taken: until all are, nobody writes there.
            task, frame = (
                f.cast("inttoptr", f.load_shared(desk, index), PTR) for index in (_TASK, _FRAME)
            )
            with f.when(f.exchange(ticket, ticket - 1, desk, _TICKET)):
                f.call_address(VOID, task, frame, end - 1)
                f.add_shared(1, desk, _DONE)
                waited.value = waited.value.constant(0)
        with f.unless(first < end):
            f.stop_unless(f.load_shared(desk, _STOP).equals(0), out)
            _wait(f, desk, waited)
    f.give()


@once
def _unit() -> Compiled:
    module = machine().module()
    _write_help(module)
    return compiled(module)


@once
def _help() -> Any:
    return _unit().function("help", ctypes.c_void_p)


@once
def _give_way() -> int:
    """Return the address of the system's function by which a thread lets others run, or 0."""
    try:
        function: Any = ctypes.CDLL(None).sched_yield
    except (OSError, TypeError, AttributeError):  # not a POSIX system
        return 0
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


def threads() -> int:
    """Return how many threads a plan may use: `LOOPGRAD_THREADS`, else as many as NumPy's BLAS.

    So `OPENBLAS_NUM_THREADS`, `OMP_NUM_THREADS` and threadpoolctl hold for plans, too. Never more
    than there are processors for this process.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    present = len(affinity(0)) if affinity else os.cpu_count() or 1
    asked = os.environ.get("LOOPGRAD_THREADS", "")
    if asked.isdecimal():
        return max(1, min(int(asked), present))
    blas = find()
    return max(1, min(blas.threads(), present)) if blas and blas.threads else present


class Desk:
    """Where the threads of one run meet; as a `with` block, the time in which others help."""

    def __init__(self, helpers: int) -> None:
        self.helpers = helpers
        self.memory = aligned(8 * _WORDS).view(np.int64)
        self.memory[:] = 0
        self.memory[_GIVE_WAY] = _give_way()
        self.address = self.memory.ctypes.data

    def __enter__(self) -> Desk:
        with contextlib.suppress(RuntimeError):  # no more threads to be had: then fewer help
            for _ in range(self.helpers):
                _thread.start_new_thread(self._help, ())  # `threading` waits until it runs
        return self

    def __exit__(self, *_: object) -> None:
        self.memory[_STOP] = 1

    def _help(self) -> None:
        _help()(ctypes.c_void_p(self.address))
