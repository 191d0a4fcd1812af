"""What a graph costs and what its loops do: `graph.explain()`, which prints as a report."""

from autograd.explain.analysis import explain
from autograd.explain.report import (
    BodyReport,
    Count,
    Dependence,
    ExitReport,
    Explanation,
    LoopReport,
    NodeReport,
    PortReport,
    Saved,
)

__all__ = [
    "BodyReport",
    "Count",
    "Dependence",
    "ExitReport",
    "Explanation",
    "LoopReport",
    "NodeReport",
    "PortReport",
    "Saved",
    "explain",
]
