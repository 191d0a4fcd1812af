"""The results as text: a table a case, and the table of what must be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.cases import LIMIT, Case
from benchmarks.contest import table
from benchmarks.suite import Result

PASS, MISS, UNKNOWN = "pass", "MISS", "not measured"


def duration(seconds: float) -> str:
    """Return a time as a text with three digits: `12.3 ms`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def case_rows(case: Case, result: Result) -> list[list[str]]:
    """Return a row for each contender, the fastest first."""
    per_call = case.problem.updates if case.kind == "rounds" else 1
    ranked = sorted(result.figures, key=lambda name: result.figures[name]["median"])
    rows = []
    for name in ranked:
        found = result.figures[name]
        times = [duration(found[key] / per_call) for key in ("median", "least")]
        quartiles = "-"
        if "low" in found:
            quartiles = " - ".join(duration(found[key] / per_call) for key in ("low", "high"))
        more = [_optional(found, key) for key in ("first call s", "peak MB")]
        rows.append([name, times[0], quartiles, times[1], *more])
    return rows


def _optional(found: Mapping[str, float], key: str) -> str:
    return f"{found[key]:.3g}" if key in found else "-"


def case_text(case: Case, result: Result) -> str:
    """Return a case's heading, table, and who was left out, in Markdown."""
    lines = [f"### {case.name}: {case.title}", ""]
    if case.kind == "growing":
        lines += [growing_table(result), ""]
    head = ["contender", "median", "quartiles", "least", "first call s", "peak MB"]
    lines.append(table(head, case_rows(case, result)))
    if LIMIT in result.figures:
        rate = result.figures[LIMIT]["GF/s"]
        lines += ["", f"BLAS limit: {case.problem.flops:.3g} operations at {rate:.0f} GF/s"]
    lines += [f"left out: {name} ({why})" for name, why in result.missing.items()]
    return "\n".join(lines)


def growing_table(result: Result) -> str:
    """Return one row for each contender and length."""
    head = ["contender", "steps", "a call", "a step", "compile s", "grown MB", "foretold MB"]
    rows = []
    for name, samples in result.samples.items():
        for row in samples:
            rows.append(
                [
                    name,
                    f"{int(row['steps']):,}",
                    duration(row["seconds"]),
                    duration(row["seconds"] / row["steps"]),
                    *(_optional(row, key) for key in ("compile s", "grown", "foretold")),
                ]
            )
    return table(head, rows)


def verdict(reached: float | None, at_most: float) -> str:
    """Return whether a bound is kept. Nothing is rounded in its favour."""
    if reached is None:
        return UNKNOWN
    return PASS if reached <= at_most else MISS


def bound_rows(cases: Sequence[Case], results: Mapping[str, Result]) -> list[list[str]]:
    """Return a row for each bound: reached / required, and the mark."""
    rows = []
    for case in cases:
        for bound in case.bounds:
            figures = results[case.name].figures
            reached = bound.reached(figures)
            text = "-" if reached is None else f"{reached:.3g}"
            by_least = bound.reached(
                {
                    name: {**found, **({"median": found["least"]} if "least" in found else {})}
                    for name, found in figures.items()
                }
            )
            least = "-" if by_least is None or bound.quantity != "median" else f"{by_least:.3g}"
            mark = verdict(reached, bound.at_most)
            rows.append([case.name, str(bound), f"{text} / {bound.at_most:.3g}", least, mark])
    return rows


def bound_table(cases: Sequence[Case], results: Mapping[str, Result]) -> str:
    """Return the table of all bounds in Markdown."""
    head = ["case", "what", "reached / required", "by least times", "mark"]
    return table(head, bound_rows(cases, results))
