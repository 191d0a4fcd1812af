"""An explanation as text: one fact a line, never aligned, so that it can be compared line by line.

The graph comes first, then all loops, each called by its path and before those in its bodies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from autograd.draw.label import attributes, quoted, spec_text, specs_of, specs_text
from autograd.explain.report import (
    BodyReport,
    Count,
    Dependence,
    Explanation,
    LoopReport,
    NodeReport,
    Saved,
)

_LARGEST = 3
"""How many of the values saved, and of the nodes that could leave a loop, are listed."""


def to_text(explanation: Explanation) -> str:
    """Return the report, without a line break at the end."""
    return "\n".join(_lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    body = explanation.body
    yield f"graph {quoted(explanation.name)}:"
    yield from _ports(body, "  ")
    yield from _parameters(explanation)
    yield from _exits(body, "  ")
    yield f"  flops: {_flops(body.flops, body.moved)}"
    for loop in explanation.loops:
        share = "?" if loop.steps is None else _share(loop.flops, body.flops)
        yield f"    {loop.op} {quoted(loop.path)}: {share}"
    if explanation.loops:
        outside = sum((n.flops for n in body.nodes if not n.node.bodies), Count())
        yield f"    outside of these: {_share(outside, body.flops)}"
    yield f"  flops by op: {_by_op(body.by_op, body.flops)}"
    yield f"  saved for a backward: {explanation.saved_bytes} bytes"
    yield from _largest(explanation.saved, explanation.saved_bytes, "    ")
    for loop in explanation.walk():
        yield from _loop(loop, body.flops)


def _ports(body: BodyReport, indent: str) -> Iterator[str]:
    for port in body.ports:
        line = f"{indent}{port.kind} {quoted(port.name)}: {spec_text(port.spec)}"
        line += f" <- {port.source}" if port.source else ""
        line += f", then {port.then}" if port.then else ""
        yield line + (f" {port.lag} steps later" if port.lag > 1 else "")


def _exits(body: BodyReport, indent: str) -> Iterator[str]:
    for out in body.exits:
        yield f"{indent}{out.kind} {quoted(out.name)}: {spec_text(out.spec)} <- {out.source}"


def _parameters(explanation: Explanation) -> Iterator[str]:
    specs = explanation.parameters
    for name, spec in specs.items():
        yield f"  parameter {quoted(name)}: {spec_text(spec)}, {spec.nbytes:,} bytes"
    if len(specs) > 1:
        size = sum(spec.size for spec in specs.values())
        yield f"  parameters: {size:,} numbers, {explanation.parameter_bytes:,} bytes"


def _loop(loop: LoopReport, whole: Count) -> Iterator[str]:
    yield f"{loop.op} {quoted(loop.path)}: {_how_often(loop)}"
    several = len(loop.bodies) > 1
    indent = "    " if several else "  "
    if loop.depends is not None:
        yield f"  depends, in the loop around it: {loop.depends}"
    yield from _costs(loop, whole)
    yield from _saved(loop)
    for i, body in enumerate(loop.bodies):
        if several:
            yield f"  body {i} {quoted(body.name)}: {_flops(body.flops, body.moved)}"
        yield from _ports(body, indent)
        yield from _exits(body, indent)
        yield from _leaving(body, indent)
        for node in body.nodes:
            yield indent + _node(node)


def _how_often(loop: LoopReport) -> str:
    steps, bodies = loop.trips.count, len(loop.bodies)
    if loop.trips.one_of:
        parts = [f"one of {_number(bodies, 'body', 'bodies')}"]
    elif steps is None:
        parts = ["? steps, the data decide"]
    else:
        parts = ["at most " * (not loop.trips.exact) + _number(steps, "step", "steps")]
    parts += attributes(loop.node)
    if loop.runs != Count(1):
        parts.append(f"run {loop.runs} times")
    return ", ".join(parts)


def _number(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"


def _costs(loop: LoopReport, whole: Count) -> Iterator[str]:
    if loop.trips.one_of:
        yield f"  flops: {_flops(loop.flops, loop.moved)}, by the dearest body"
    else:
        step = sum((body.flops for body in loop.bodies), Count())
        moved = sum((body.moved for body in loop.bodies), Count())
        yield f"  flops a step: {_flops(step, moved)}"
        for body in loop.bodies:
            yield f"  flops a step by op: {_by_op(body.by_op, body.flops)}"
        yield f"  flops of all steps: {_in_all(loop, loop.flops)}"
    if loop.steps is not None:
        yield f"  flops in the graph: {_share(loop.flops * loop.runs, whole)}"


def _in_all(loop: LoopReport, count: Count) -> str:
    return "?" if loop.steps is None else str(count)


def _saved(loop: LoopReport) -> Iterator[str]:
    """Yield what one run of the loop saves. (In a body this is part of what is around it saves.)"""
    if loop.saved is None:
        yield f"  saved for a backward: not known, {loop.why}"
        return
    step = sum(item.spec.nbytes for item in loop.saved)
    many = f" a step, {_in_all(loop, loop.saved_bytes)} of all steps" if step else ""
    yield f"  saved for a backward: {step:,} bytes{many}"
    again = loop.saved_twice
    for item in loop.saved:
        line = f"    {quoted(item.name)}: {spec_text(item.spec)}, {item.spec.nbytes:,} bytes a step"
        same = f", those of {again[item.name]} again" if item.name in again else ""
        yield line + same


def _leaving(body: BodyReport, indent: str) -> Iterator[str]:
    """Yield what need not be done step by step."""
    places = {
        "once, before the loop (loop-invariant)": body.depending(Dependence.INVARIANT),
        "for all steps at once (per step)": body.depending(Dependence.EACH),
        "for all steps at once, after the loop (not carried)": body.only_handed_out,
    }
    for place, nodes in places.items():
        if not nodes:
            continue
        total = sum((node.flops for node in nodes), Count())
        yield f"{indent}could be done {place}, flops: {_share(total, body.flops)}"
        for node in nodes[:_LARGEST]:
            yield f"{indent}  {quoted(node.name)}: {node.op}, {_share(node.flops, body.flops)}"
        if len(nodes) > _LARGEST:
            yield f"{indent}  and {len(nodes) - _LARGEST} more"


def _node(node: NodeReport) -> str:
    specs = specs_text(specs_of(node.node))
    depends = "" if node.depends is None else f", {node.depends}"
    if node.depends is Dependence.STATE and not node.carried:
        depends += ", not carried"
    return f"{quoted(node.name)} = {node.op}: {specs}, {node.flops} flops{depends}"


def _largest(saved: Sequence[Saved], whole: Count, indent: str) -> Iterator[str]:
    ordered = sorted(saved, key=lambda item: (not item.times.at_least, -item.nbytes.value))
    for item in ordered[:_LARGEST]:
        if item.times.at_least:
            times, size = " x ?", f"{item.spec.nbytes:,} a step"
        else:
            times = "" if item.times == Count(1) else f" x {item.times}"
            size = _share(item.nbytes, whole)
        yield f"{indent}{item.name}: {spec_text(item.spec)}{times}, bytes: {size}"
    if len(ordered) > _LARGEST:
        rest = sum((item.nbytes for item in ordered[_LARGEST:]), Count())
        more = _number(len(ordered) - _LARGEST, "other", "others")
        yield f"{indent}{more}, bytes: {_share(rest, whole)}"


def _flops(flops: Count, moved: Count) -> str:
    """Return flops, bytes moved, and how many flops there are for each byte."""
    text = f"{flops}, bytes moved: {moved}"
    if moved.value:
        text += f", flops a byte: {flops.value / moved.value:.2f}"
    return text


def _share(part: Count, whole: Count) -> str:
    return f"{part} ({100 * part.value / whole.value:.1f}%)" if whole.value else str(part)


def _by_op(by_op: Mapping[str, int], whole: Count) -> str:
    ordered = sorted(by_op.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{op} {_share(Count(n), whole)}" for op, n in ordered) or "none"
