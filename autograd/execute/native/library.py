"""Functions that all plans share: compiled once, kept on disk, and called by address."""

from __future__ import annotations

from autograd.execute.native import products
from autograd.execute.native.blas import Blas, find
from autograd.execute.native.compiler import Compiled, compiled, machine, once

WIDE = 32
"""On machines with vectors of so many bytes products of all sizes are ours: with 64 they are faster
than OpenBLAS's, with 32 about as fast (docs/performance.md), and two crews of threads that wait for
work would keep each other from it."""


def blas_for_large() -> Blas | None:
    """Return the BLAS that computes large products here, if any does."""
    return None if machine().vector_bytes >= WIDE else find()


@once
def code_of_products(dtype: str) -> Compiled:
    """Return the functions of products.py for one element type."""
    host = machine()
    module = host.module()
    products.write(module, dtype, host.vector_bytes, blas_for_large())
    products.write_packed(module, dtype, host.vector_bytes)
    return compiled(module)
