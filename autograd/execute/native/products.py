"""Products of matrices: C = A @ B or C += A @ B, for sizes and strides known when it runs.

Small ones are computed here, large ones by NumPy's own BLAS, whose call costs more than a small
product takes. A small product is made of tiles: a few rows of A times a few vectors of columns of
B, whose sums stay in registers while k runs (Goto, van de Geijn 2008). A machine can begin about
eight multiply-adds before the first is done, so a tile with fewer sums has each of them in several
parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autograd.execute.native.blas import Blas
from autograd.execute.native.ir import (
    I32,
    I64,
    PTR,
    VOID,
    Function,
    Module,
    Type,
    Value,
    Variable,
    vector,
)
from autograd.execute.native.rules import TYPES

_ROWS = (4, 1)
"""Rows that a tile may have."""

_IN_FLIGHT = 8
"""Multiply-adds that a machine works on at the same time."""

_DEPTH = 128
"""Rows of B that are used at a time: as many, four vectors wide, stay in the nearest cache."""

_REUSED = 16
"""Rows of A from which on it pays to copy a part of B to where it lies together."""

SMALL = 2**21
"""Products with at most this many multiply-adds are computed here: beyond it a BLAS gains from its
threads. Measured: docs/performance.md."""

_ROW_MAJOR, _AS_IS, _TRANSPOSED = 101, 111, 112  # from cblas.h


@dataclass(frozen=True)
class Matrix:
    """A matrix while the code runs. Strides count elements."""

    pointer: Value
    row: Value
    """From one row to the next."""
    column: Value
    """From one column to the next."""

    def at(self, type: Type, i: Value, j: Value) -> Value:
        """Return the address of the element in row `i` and column `j`."""
        return i.f.at(type, self.pointer, i * self.row + j * self.column)

    def part(self, type: Type, i: Value, j: Value) -> Matrix:
        """Return the matrix that begins at row `i` and column `j`."""
        return Matrix(self.at(type, i, j), self.row, self.column)


def name(dtype: str) -> str:
    """Return the name of the function that `write` writes for an element type."""
    return f"product.{TYPES[dtype].mangled}"


def pack_name(dtype: str) -> str:
    """Return the name of the function that packs a matrix for many products."""
    return f"pack.{TYPES[dtype].mangled}"


def packed_name(dtype: str) -> str:
    """Return the name of the function that multiplies by a packed matrix."""
    return f"product_packed.{TYPES[dtype].mangled}"


ARGUMENTS = (PTR, I64, I64) * 3 + (I64, I64, I64, I64, PTR, PTR)
"""A, B and C, each with strides of rows and columns; m, n, k; whether to add; scratch; BLAS.

C has columns side by side (its column stride is not read). The scratch is room for a copy of B, k *
n elements, used if B's columns lie apart. The last is the address of cblas_?gemm, or null: then no
product is too large to be computed here.
"""

PACKED_ARGUMENTS = (PTR, I64, I64, PTR, PTR, I64, I64, I64, I64, I64)
"""A with its strides; a packed B; C with the stride of its rows; m, n, k; whether to add."""

PACK_ARGUMENTS = (PTR, I64, I64, I64, I64, PTR)
"""B with its strides, k, n, and room for `packed_size(k, n, ...)` elements."""


def packed_size(k: int, n: int, dtype: str, vector_bytes: int) -> int:
    """Return how many elements a packed matrix of k rows and n columns takes."""
    lanes = vector_bytes // TYPES[dtype].size
    return k * (-(-n // lanes) * lanes)


def write(module: Module, dtype: str, vector_bytes: int, blas: Blas | None) -> None:
    """Write the function that multiplies matrices of one element type, large or small."""
    scalar = TYPES[dtype]
    small = _write_small(module, scalar, vector_bytes)
    f = module.function(name(dtype), VOID, ARGUMENTS)
    a, b, c = (Matrix(*f.arguments[i : i + 3]) for i in (0, 3, 6))
    m, n, k, add, scratch, gemm = f.arguments[9:]
    if blas is not None:
        integer = I64 if blas.integer_bytes == 8 else I32
        large = (m * n * k > SMALL) & ~gemm.is_null()
        with f.when(large & _fits_blas(a, m, k) & _fits_blas(b, k, n)):
            _call_blas(f, gemm, integer, scalar, (a, b, c), (m, n, k), add)
            f.leave()
    place, row = f.variable(b.pointer), f.variable(b.row)
    with f.unless(b.column.equals(1)):
        with f.range(n) as j, f.range(k) as p:
            f.store(f.load(scalar, b.at(scalar, p, j)), scratch, p * n + j)
        place.value, row.value = scratch, n
    side_by_side = (place.value, row.value, k.constant(0))
    f.call(VOID, small, *f.arguments[:3], *side_by_side, c.pointer, c.row, m, n, k, add)
    f.give()


def write_packed(module: Module, dtype: str, vector_bytes: int) -> None:
    """Write the functions that pack a matrix, and that multiply by a packed one, of any size.

    Packing pays for a matrix that is used again and again, as by all steps of a loop.
    """
    scalar = TYPES[dtype]
    _write_pack(module, dtype, vector_bytes)
    small = _write_small(module, scalar, vector_bytes)
    f = module.function(packed_name(dtype), VOID, PACKED_ARGUMENTS)
    *a, b, c, c_row, m, n, k, add = f.arguments
    f.call(VOID, small, *a, b, k.constant(0), k.constant(1), c, c_row, m, n, k, add)
    f.give()


# Small products. B is used in panels, a few vectors of columns wide. A packed B is panel after
# panel, so that it is read from its beginning to its end; the panel from column j on begins at
# element j * k.


def _widths(vector_bytes: int) -> tuple[int, ...]:
    """Return the vectors of columns that a tile may have.

    A machine with the widest vectors has 32 registers for the sums, others may have 16.
    """
    return (4, 2, 1) if vector_bytes == 64 else (2, 1)


def _panels(
    n: Value, lanes: int, widths: Sequence[int]
) -> Iterator[tuple[int, Value, Value | None]]:
    """Loop over panels of n columns: vectors in it, its first column, a mask for its last vector.

    What is written for each panel given runs for all of its width.
    """
    f = n.f
    done = n.constant(0)
    for vectors in widths:
        width = vectors * lanes
        end = n & -width
        with f.range(end, start=done, step=width) as j:
            yield vectors, j, None
        done = end
    with f.when(done < n):
        yield 1, done, f.first_lanes(n - done, lanes)


def _write_pack(module: Module, dtype: str, vector_bytes: int) -> None:
    scalar = TYPES[dtype]
    lanes, widths = vector_bytes // scalar.size, _widths(vector_bytes)
    f = module.function(pack_name(dtype), VOID, PACK_ARGUMENTS)
    pb, row, column, k, n, packed = f.arguments
    b = Matrix(pb, row, column)
    for vectors, j, mask in _panels(n, lanes, widths):
        source = b.part(scalar, k.constant(0), j)
        _copy(
            f, vector(scalar, lanes), vectors, source, k, n - j, f.at(scalar, packed, j * k), mask
        )
    f.give()


def _write_small(module: Module, scalar: Type, vector_bytes: int) -> str:
    """Write, once a module, the product by a B that is packed or has columns side by side.

    Its arguments are A with its strides; B, the stride of its rows, and whether it is packed; C and
    the stride of its rows; m, n, k; whether to add. Return its name.
    """
    own = f"small_product.{scalar.mangled}"
    if module.has(own):
        return own
    f = module.function(own, VOID, (PTR, I64, I64, PTR, I64, I64, PTR, I64, I64, I64, I64, I64))
    pa, a_row, a_column, pb, b_row, packed, pc, c_row, m, n, k, add = f.arguments
    one = n.constant(1)
    a, b, c = Matrix(pa, a_row, a_column), Matrix(pb, b_row, one), Matrix(pc, c_row, one)
    lanes = vector_bytes // scalar.size
    type = vector(scalar, lanes)
    widths = _widths(vector_bytes)
    room = f.local(type, _DEPTH * max(widths))
    copies = packed.equals(0) & (m >= _REUSED)
    for vectors, j, mask in _panels(n, lanes, widths):
        width = k.constant(vectors * lanes)
        depth = k.constant(_DEPTH)
        with f.range((k > 0).where(k, 1), step=_DEPTH) as p:  # once for k = 0, which gives zeros
            rest = k - p
            rows = (rest < depth).where(rest, depth)
            at, step = f.variable(b.at(scalar, p, j)), f.variable(b.row)
            with f.when(packed.differs(0)):
                at.value, step.value = f.at(scalar, b.pointer, j * k + p * width), width
            with f.when(copies):
                _copy(f, type, vectors, b.part(scalar, p, j), rows, n - j, room, mask)
                at.value, step.value = room, width
            panel = Matrix(at.value, step.value, k.constant(1))
            operands = (a.part(scalar, m.constant(0), p), panel, c.part(scalar, m.constant(0), j))
            _rows(f, type, vectors, operands, (m, rows), add | p, mask)
    f.give()
    return own


def _rows(
    f: Function,
    type: Type,
    vectors: int,
    matrices: tuple[Matrix, Matrix, Matrix],
    sizes: tuple[Value, Value],
    add: Value,
    mask: Value | None,
) -> None:
    """Compute all rows of a panel of C."""
    a, b, c = matrices
    m, k = sizes
    done = zero = m.constant(0)
    for rows in _ROWS:
        end = m & -rows
        with f.range(end, start=done, step=rows) as i:
            parts = (a.part(type.element, i, zero), b, _Rows(c.part(type.element, i, zero), mask))
            _tile(f, type, rows, vectors, parts, k, add)
        done = end


@dataclass(frozen=True)
class _Rows:
    """Some rows of a matrix whose columns lie side by side, in a panel that may be cut off."""

    matrix: Matrix
    mask: Value | None

    def load(self, type: Type, i: Value | int, vector: int) -> Value:
        f, place = self.matrix.row.f, self._place(type, i, vector)
        return f.load(type, place) if self.mask is None else f.load_masked(type, place, self.mask)

    def store(self, value: Value, i: Value | int, vector: int) -> None:
        f, place = value.f, self._place(value.type, i, vector)
        if self.mask is None:
            f.store(value, place)
        else:
            f.store_masked(value, place, self.mask)

    def _place(self, type: Type, i: Value | int, vector: int) -> Value:
        row = self.matrix.row
        return self.matrix.at(type.element, row.like(i), row.constant(vector * type.lanes))


def _tile(
    f: Function,
    type: Type,
    rows: int,
    vectors: int,
    matrices: tuple[Matrix, Matrix, _Rows],
    k: Value,
    add: Value,
) -> None:
    """Compute a tile of C: `rows` rows, `vectors` vectors wide."""
    a, b, c = matrices
    scalar, lanes = type.element, type.lanes
    panel = _Rows(b, c.mask)
    parts = max(1, _IN_FLIGHT // (rows * vectors))
    sums = [
        [[f.variable(f.constant(type, 0)) for _ in range(vectors)] for _ in range(rows)]
        for _ in range(parts)
    ]

    def multiply(p: Value, part: list[list[Variable]]) -> None:
        columns = [panel.load(type, p, v) for v in range(vectors)]
        for r, of_row in enumerate(part):
            factor = f.splat(f.load(scalar, a.at(scalar, k.constant(r), p)), lanes)
            for sum, column in zip(of_row, columns, strict=True):
                sum.value = f.muladd(factor, column, sum.value)

    whole = k & -parts
    with f.range(whole, step=parts) as p:
        for number, part in enumerate(sums):
            multiply(p + number, part)
    if parts > 1:
        with f.range(k, start=whole) as p:
            multiply(p, sums[0])
    places = [(r, v) for r in range(rows) for v in range(vectors)]
    totals = [f.variable(_together([part[r][v].value for part in sums])) for r, v in places]
    with f.when(add.differs(0)):
        for total, (r, v) in zip(totals, places, strict=True):
            total.value = total.value + c.load(type, r, v)
    for total, (r, v) in zip(totals, places, strict=True):
        c.store(total.value, r, v)


def _together(values: list[Value]) -> Value:
    while len(values) > 1:
        values = [x + y for x, y in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def _copy(
    f: Function,
    type: Type,
    vectors: int,
    b: Matrix,
    k: Value,
    columns: Value,
    target: Value,
    mask: Value | None,
) -> None:
    """Copy k rows of a panel of B (of `columns`, at most) to where they lie together."""
    width = vectors * type.lanes
    scalar = type.element
    together = _Rows(Matrix(target, k.constant(width), k.constant(1)), None)
    with f.when(b.column.equals(1)), f.range(k) as p:
        for v in range(vectors):
            together.store(_Rows(b, mask).load(type, p, v), p, v)
    with f.unless(b.column.equals(1)):
        count = k.constant(width) if mask is None else columns
        with f.range(count) as j, f.range(k) as p:
            f.store(f.load(scalar, b.at(scalar, p, j)), f.at(scalar, target, p * width + j))


# Large products.


def _fits_blas(matrix: Matrix, rows: Value, columns: Value) -> Value:
    """Tell whether one of the strides is 1 and the other long enough, as BLAS wants."""
    as_is = matrix.column.equals(1) & (matrix.row >= columns)
    return as_is | (matrix.row.equals(1) & (matrix.column >= rows))


def _call_blas(
    f: Function,
    gemm: Value,
    integer: Type,
    scalar: Type,
    matrices: tuple[Matrix, Matrix, Matrix],
    sizes: tuple[Value, Value, Value],
    add: Value,
) -> None:
    a, b, c = matrices
    turned, leads = [], []
    for matrix in (a, b):
        as_is = matrix.column.equals(1)
        turned.append(as_is.where(f.constant(I32, _AS_IS), _TRANSPOSED))
        leads.append(as_is.where(matrix.row, matrix.column).to(integer))
    m, n, k = (size.to(integer) for size in sizes)
    alpha = f.constant(scalar, 1)
    beta = add.differs(0).where(alpha, 0.0)
    f.call_address(
        VOID,
        gemm,
        f.constant(I32, _ROW_MAJOR),
        *turned,
        *(m, n, k),
        alpha,
        *(a.pointer, leads[0]),
        *(b.pointer, leads[1]),
        beta,
        *(c.pointer, c.row.to(integer)),
    )
