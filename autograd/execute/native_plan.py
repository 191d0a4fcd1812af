"""The native plan: the NumPy plan in which runs of instructions are machine code.

What has no native form is written as NumPy, part by part; `fallbacks` says what and why.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autograd.execute.lower import Compute, Copy, Instruction, Repeat
from autograd.execute.native.compiler import compiled, machine
from autograd.execute.native.described import divisible, has_form, refusal
from autograd.execute.native.emit import Emitter
from autograd.execute.native.share import Desk, threads
from autograd.execute.numpy_plan import NumpyProgram, Printer
from autograd.execute.refs import Ref
from autograd.execute.source import remark
from autograd.rewrite.cost import NATIVE

MACHINE = replace(NATIVE, fusable=has_form)
"""What passes are told of native plans."""


HELPED = 4e-3
"""Seconds of work for several threads, as estimated, from which on it pays to start them."""


class Piece:
    """Machine code for a run of instructions, bound to its table."""

    def __init__(self, printer: NativePrinter, code: Sequence[Instruction]) -> None:
        host = machine()
        module = host.module()
        emitter = Emitter(module, host.vector_bytes, printer.address)
        self.table = emitter.write(code, (printer.blocks["resident"], printer.blocks["next"]))
        self.held = emitter.held
        self.errors = emitter.errors
        self.desk = emitter.table.meanings["desk"]
        self.told = emitter.table.meanings["told"]
        self.large = sum(map(divisible, code)) > HELPED
        self.compiled = compiled(module)
        self.function = self.compiled.function(
            "run", ctypes.c_void_p, result=ctypes.c_int64, python=True
        )
        self.place = ctypes.c_void_p(self.table.ctypes.data)
        self.code = code

    def __call__(self) -> None:
        status = self._helped() if self.large else self.function(self.place)
        if status:
            self.errors[status - 1](int(self.table[self.told]))

    def _helped(self) -> int:
        helpers = threads() - 1
        if not helpers:
            return int(self.function(self.place))
        with Desk(helpers) as desk:
            self.table[self.desk] = desk.address
            try:
                return int(self.function(self.place))
            finally:
                self.table[self.desk] = 0


class NativePrinter(Printer):
    """Prints NumPy source in which runs of instructions with a native form are one call."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pieces: list[Piece] = []

    def address(self, ref: Ref) -> int:
        """Return the address of the first element at a reference."""
        vector = self.buffer(ref.buffer)
        return int(vector.ctypes.data) + ref.offset * vector.itemsize

    def _print_all(self, code: Sequence[Instruction]) -> None:
        if self.frames:
            super()._print_all(code)
            return
        run: list[Instruction] = []
        for instruction in code:
            reason = refusal(instruction)
            if not reason:
                run.append(instruction)
                continue
            self._native(run)
            run = []
            self.fallbacks[getattr(instruction, "path", "")] = reason
            super()._print_all([instruction])
        self._native(run)

    def _native(self, code: Sequence[Instruction]) -> None:
        if not code:
            return
        piece = Piece(self, code)
        self.pieces.append(piece)
        self.current = None
        self._tell(code, "# machine code: ")
        self.line(f"{self.constant(piece, 'native')}()")

    def _tell(self, code: Sequence[Instruction], indent: str) -> None:
        """Write as comments what a piece does."""
        for instruction in code:
            if isinstance(instruction, Repeat):
                way = " backwards" if instruction.reverse else ""
                self.line(f"{indent}{remark(instruction.path)}: each step{way}")
                self._tell(instruction.body, indent + "    ")
            elif isinstance(instruction, Compute):
                ins = ", ".join([self._called(ref) for ref in instruction.ins])
                outs = ", ".join([self._called(ref) for ref in instruction.outs])
                op = instruction.node.op.name
                self.line(f"{indent}{outs} = {op}({ins})  # {remark(instruction.path)}")
            elif isinstance(instruction, Copy):
                out, source = self._called(instruction.out), self._called(instruction.source)
                self.line(f"{indent}{out} = {source}  # {remark(instruction.why)}")

    def _called(self, ref: Ref) -> str:
        buffer = self.lowering.buffers[ref.buffer]
        return f"{buffer.hint}_{ref.buffer}" + ("[t]" if ref.steps else "")


class NativeProgram(NumpyProgram):
    """A graph lowered, compiled and bound."""

    printer_type: type[Printer] = NativePrinter
