"""Functions that all plans share: compiled once, kept on disk, and called by address."""

from __future__ import annotations

from functools import cache

from autograd.execute.native import products
from autograd.execute.native.blas import Blas, find
from autograd.execute.native.compiler import Compiled, compiled, machine

WIDE = 64
"""On machines with vectors of so many bytes our products are faster than OpenBLAS's, of all sizes:
docs/performance.md has the numbers."""


def blas_for_large() -> Blas | None:
    """Return the BLAS that computes large products here, if any does."""
    return None if machine().vector_bytes >= WIDE else find()


@cache
def code_of_products(dtype: str) -> Compiled:
    """Return the functions of products.py for one element type."""
    host = machine()
    module = host.module()
    products.write(module, dtype, host.vector_bytes, blas_for_large())
    products.write_packed(module, dtype, host.vector_bytes)
    return compiled(module)
