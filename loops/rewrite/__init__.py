"""Passes over loops, one a file. What runs when is said in `autograd/rewrite/pipeline.py`."""

from loops.rewrite import history, invariants, merge_loops, merge_states, trim_ports

__all__ = ["history", "invariants", "merge_loops", "merge_states", "trim_ports"]
