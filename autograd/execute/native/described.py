"""What the instructions of a plan compute, as native kernels want to be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

from autograd.execute.lower import Call, Commit, Compute, Copy, Instruction, Repeat
from autograd.execute.native import reductions, rules, softmax
from autograd.execute.native.elementwise import Expression, Step
from autograd.execute.native.functions import FUNCTIONS
from autograd.execute.native.rules import TYPES
from autograd.execute.refs import Ref
from autograd.node import Node

CALL = 2e-8
"""Seconds a kernel takes, whatever its size."""
ELEMENT = 5e-10
"""Seconds it takes for one element of one array."""
LARGE = 2e-5
"""Seconds, as estimated, from which on a kernel's work is shared by threads."""
PRODUCTS = 2e10
"""Multiply-adds a second in matrix products."""


def refusal(instruction: Instruction) -> str:
    """Say why an instruction has no native form, or return ""."""
    if isinstance(instruction, Call):
        return instruction.why
    if isinstance(instruction, Commit):
        return ""
    if isinstance(instruction, Copy):
        return identity(instruction).missing()
    if isinstance(instruction, Repeat):
        if instruction.count is not None and instruction.count.dtype.name not in TYPES:
            return f"native code has no element type {instruction.count.dtype.name}"
        for inside in instruction.body:
            reason = refusal(inside)
            if reason:
                return reason
        return ""
    return _refused(instruction)


def _refused(instruction: Compute) -> str:
    node = instruction.node
    dtypes = {ref.dtype.name for ref in (*instruction.ins, *instruction.outs)}
    if node.op.name == "matmul":
        if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
            return f"op 'matmul' has no native form for {', '.join(sorted(dtypes))}"
        return ""
    if node.op.name in softmax.OPS:
        axis = node.attrs["axis"]
        if axis not in ((-1,), (node.inputs[0].ndim - 1,)):
            return f"op '{node.op.name}' has a native rule for the last axis only"
        return softmax.missing(node.op.name, [x.dtype.name for x in (node.inputs[0], node)])
    if node.op.name in ("sum", "mean", "max", "min", "sum_to"):
        if reduced_axes(node) is None or len(dtypes) > 1:
            return f"op '{node.op.name}' has no native form for {', '.join(sorted(dtypes))}"
        op = "sum" if node.op.name == "sum_to" else node.op.name
        return reductions.missing(op, node.dtype.name)
    if node.op.multiple and node.op.name != "fused":
        return f"op '{node.op.name}' has no native rule"
    if node.op.name == "fused":
        body = node.attrs["body"]
        ports = set(body.inputs.values())
        if any([not x.inputs and x.shape != () and x not in ports for x in body.nodes]):
            return "ops that are one hold an array"
    return expressed(node, instruction.ins)[0].missing()


def seconds(instruction: Instruction) -> float:
    """Return about how long an instruction takes, on a slow machine."""
    if isinstance(instruction, Repeat):
        steps = inf if instruction.length is None else instruction.length
        return CALL + steps * (CALL + sum(map(seconds, instruction.body)))
    if isinstance(instruction, Copy):
        return CALL + instruction.out.spec.size * ELEMENT
    if not isinstance(instruction, Compute):
        return CALL
    node = instruction.node
    if node.op.name == "matmul":
        return CALL + instruction.outs[0].spec.size * instruction.ins[0].shape[-1] / PRODUCTS
    largest = max([ref.spec.size for ref in (*instruction.ins, *instruction.outs)])
    if reduced_axes(node) is not None or node.op.name in softmax.OPS:
        return CALL + largest * ELEMENT * 5
    expression = expressed(node, instruction.ins)[0]
    return CALL + largest * ELEMENT * work(expression) / 3


def divisible(instruction: Instruction) -> float:
    """Return about how many of an instruction's seconds are work that several threads share."""
    if isinstance(instruction, Repeat):
        steps = 1 if instruction.length is None else instruction.length
        return steps * sum(map(divisible, instruction.body))
    return seconds(instruction) if seconds(instruction) > LARGE else 0.0


def work(expression: Expression) -> int:
    """Return about how many simple operations an element takes."""
    heavy = sum([step.op in FUNCTIONS for step in expression.steps])
    return len(expression.operands) + len(expression.steps) + 10 * heavy


def all_of(code: Sequence[Instruction]) -> Iterator[Instruction]:
    """Yield instructions and those in their bodies."""
    for instruction in code:
        yield instruction
        if isinstance(instruction, Repeat):
            yield from all_of(instruction.body)


def written_by(instruction: Instruction) -> Sequence[Ref]:
    """Return where an instruction itself writes."""
    if isinstance(instruction, Compute):
        return instruction.outs
    return (instruction.out,) if isinstance(instruction, Copy) else ()


def has_form(node: Node) -> bool:
    """Whether there is native code for an elementwise node."""
    attrs, arguments = node.attrs, node.inputs
    if node.op.name == "power" and _scalar(arguments[1]):
        attrs, arguments = {"exponent": float(arguments[1]._value)}, arguments[:1]
    dtypes = [x.dtype.name for x in arguments]
    return not rules.missing(node.op.name, dtypes, node.dtype.name, attrs)


def identity(copy: Copy) -> Expression:
    """Return the expression of a copy."""
    same = copy.source.dtype == copy.out.dtype
    steps = () if same else (Step("astype", (0,), copy.out.dtype.name, {}),)
    return Expression((copy.source.dtype.name,), steps, (len(steps),))


def expressed(node: Node, ins: Sequence[Ref]) -> tuple[Expression, list[Ref]]:
    """Return what an elementwise or fused node computes, and of what.

    An exponent that is a constant is part of the expression.
    """
    if node.op.name == "fused":
        return _fused(node, ins)
    refs, attrs = list(ins), node.attrs
    if node.op.name == "power" and _scalar(node.inputs[1]):
        refs, attrs = refs[:1], {"exponent": float(node.inputs[1]._value)}
    step = Step(node.op.name, tuple(range(len(refs))), node.dtype.name, attrs)
    operands = tuple([ref.dtype.name for ref in refs])
    return Expression(operands, (step,), (len(refs),)), refs


def _scalar(node: Node) -> bool:
    return node.op.name == "constant" and node.shape == ()


def _fused(node: Node, ins: Sequence[Ref]) -> tuple[Expression, list[Ref]]:
    body = node.attrs["body"]
    numbers = {port: i for i, port in enumerate(body.inputs.values())}
    steps: list[Step] = []
    count = len(numbers)
    for inside in body.nodes:
        if inside in numbers:
            continue
        if not inside.inputs:
            if _scalar(inside):
                numbers[inside] = count + len(steps)
                value = {"value": inside._value.item()}
                steps.append(Step("constant", (), inside.dtype.name, value))
            continue
        attrs, arguments = inside.attrs, inside.inputs
        if inside.op.name == "power" and _scalar(arguments[1]):
            attrs, arguments = {"exponent": float(arguments[1]._value)}, arguments[:1]
        places = tuple([numbers.get(x, -1) for x in arguments])
        numbers[inside] = count + len(steps)
        steps.append(Step(inside.op.name, places, inside.dtype.name, attrs))
    results = tuple([numbers[x] for x in body.outputs.values()])
    return Expression(tuple([ref.dtype.name for ref in ins]), tuple(steps), results), list(ins)


def reduced_axes(node: Node) -> tuple[int, ...] | None:
    """Return the axes a reduction goes over, rising; None for other ops."""
    x = node.inputs[0] if node.inputs else node
    if node.op.name in ("sum", "mean", "max", "min"):
        axes: Any = node.attrs["axis"]
        axes = range(x.ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
        return tuple(sorted([axis % x.ndim for axis in axes])) if x.ndim else None
    if node.op.name == "sum_to" and x.ndim:
        ahead = x.ndim - node.ndim
        small = (*(1,) * ahead, *node.shape)
        axes = [i for i in range(x.ndim) if i < ahead or (small[i] == 1 and x.shape[i] != 1)]
        return tuple(axes) or None
    return None
