"""Passes over loops, one a file. What runs when is said in `autograd/rewrite/pipeline.py`."""

from loops.rewrite import (
    batch,
    contract,
    history,
    invariants,
    merge_loops,
    merge_states,
    push_out,
    regroup,
    residuals,
    split_products,
    trim_ports,
)

__all__ = [
    "batch",
    "contract",
    "history",
    "invariants",
    "merge_loops",
    "merge_states",
    "push_out",
    "regroup",
    "residuals",
    "split_products",
    "trim_ports",
]
