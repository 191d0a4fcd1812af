"""The ops, one family a file. `docs/add_an_op.md` says how to add one."""

from autograd.ops import elementwise, index, leaf, linalg, reduce, shape

__all__ = ["elementwise", "index", "leaf", "linalg", "reduce", "shape"]
