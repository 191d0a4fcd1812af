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
from autograd.execute.native.share import share

_ROWS = (4, 1)
"""Rows that a tile may have."""

_IN_FLIGHT = 8
"""Multiply-adds that a machine works on at the same time."""

_DEPTH = 128
"""Rows of B that are used at a time: as many, four vectors wide, stay in the nearest cache."""

_TILE = _DEPTH + 4
"""Numbers of a row in a copy of A: not a power of two, for which caches have few places."""

_APART = 512
"""Numbers from one row of A to the next from which on rows are copied, to lie near each other."""

_FAR = 64
"""Steps of a tile in which its part of C can be fetched, which may be far away."""

_REUSED = 16
"""Rows of A from which on it pays to copy a part of B to where it lies together."""

SMALL = 2**21
"""Products with at most this many multiply-adds are computed here, larger ones by the BLAS that is
given. Measured: docs/performance.md."""

_SHARED = 2**19
"""Products with at least this many multiply-adds are computed by several threads."""

_PART = 2**17
"""Multiply-adds that a part of such a product has at least."""

_PART_ROWS = 512
"""Rows of A of one part: as many stay in the second cache while they are used."""

_PART_PANELS = 8
"""Panels of a part, if there are enough parts: what is copied of A is used for all of them."""

MANY_ROWS = 1024
"""Rows of A from which on it pays to pack B for one product."""

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
"""A, B and C, each with strides of rows and columns; m, n, k; whether to add; BLAS; desk.

C has columns side by side (its column stride is not read). BLAS is the address of cblas_?gemm, or
null: then no product is too large to be computed here. The desk (share.py) may be null, too.
"""

PACKED_ARGUMENTS = (PTR, I64, I64, PTR, PTR, I64, I64, I64, I64, I64, PTR)
"""A with its strides; a packed B; C with the stride of its rows; m, n, k; whether to add; desk."""

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
    m, n, k, add, gemm, desk = f.arguments[9:]
    if blas is not None:
        integer = I64 if blas.integer_bytes == 8 else I32
        large = (m * n * k > SMALL) & ~gemm.is_null()
        with f.when(large & _fits_blas(a, m, k) & _fits_blas(b, k, n)):
            _call_blas(f, gemm, integer, scalar, (a, b, c), (m, n, k), add)
            f.leave()
    operands = [a.pointer, a.row, a.column, b.pointer, b.row, b.column, k.constant(0)]
    _divide(f, small, [*operands, c.pointer, c.row, m, n, k, add], desk, scalar, vector_bytes)
    f.give()


def write_packed(module: Module, dtype: str, vector_bytes: int) -> None:
    """Write the functions that pack a matrix, and that multiply by a packed one, of any size.

    Packing pays for a matrix that is used again and again, as by all steps of a loop.
    """
    scalar = TYPES[dtype]
    _write_pack(module, dtype, vector_bytes)
    small = _write_small(module, scalar, vector_bytes)
    f = module.function(packed_name(dtype), VOID, PACKED_ARGUMENTS)
    *a, b, c, c_row, m, n, k, add, desk = f.arguments
    zero, one = k.constant(0), k.constant(1)
    operands = [*a, b, zero, one, one, c, c_row, m, n, k, add]
    _divide(f, small, operands, desk, scalar, vector_bytes)
    f.give()


# Products that several threads compute.


def _divide(
    f: Function, small: str, operands: Sequence[Value], desk: Value, scalar: Type, vector_bytes: int
) -> None:
    """Call `small`, or share it: as parts of some rows and some panels of columns each."""
    m, n, k = operands[9:12]
    with f.when(m * n * k < _SHARED):
        f.call(VOID, small, *operands)
        f.leave()
    rows = _larger(m.constant(_PART_ROWS), (m // 4096) & -_ROWS[0])
    panel = _widths(vector_bytes)[0] * (vector_bytes // scalar.size)
    panels, down = n // panel, (m + rows - 1) // rows
    work = k * panel * _smaller(m, rows) + 1
    several = _smaller(k.constant(_PART_PANELS), panels * down // 8)
    width = _larger(several, _larger((k.constant(_PART) + work - 1) // work, panels // 8)) * panel
    across = (n + width - 1) // width
    numbers = [*operands, width, rows, across]
    frame = f.local(I64, len(numbers))
    for i, x in enumerate(numbers):
        f.store(f.cast("ptrtoint", x, I64) if x.type is PTR else x, frame, i)
    share(f, desk, _write_part(f.module, small, numbers, scalar), frame, across * down)


def _write_part(module: Module, small: str, numbers: Sequence[Value], scalar: Type) -> str:
    """Write what computes one part of a product."""
    own = f"{small}.part"
    if module.has(own):
        return own
    f = module.function(own, VOID, (PTR, I64))
    frame, part = f.arguments
    found = [
        f.cast("inttoptr", y, PTR) if x.type is PTR else y
        for x, y in [(x, f.load(I64, frame, i)) for i, x in enumerate(numbers)]
    ]
    pa, a_row, a_column, pb, b_row, b_column, packed, pc, c_row, m, n, k, add = found[:-3]
    width, rows, across = found[-3:]
    i, j = (part // across) * rows, (part % across) * width
    a, b, c = Matrix(pa, a_row, a_column), Matrix(pb, b_row, b_column), Matrix(pc, c_row, k)
    zero = k.constant(0)
    of_b = packed.differs(0).where(j * k, j * b_column)
    arguments = [a.at(scalar, i, zero), a_row, a_column, f.at(scalar, b.pointer, of_b)]
    arguments += [b_row, b_column, packed, f.at(scalar, c.pointer, i * c_row + j), c_row]
    f.call(VOID, small, *arguments, _smaller(m - i, rows), _smaller(n - j, width), k, add)
    f.give()
    return own


def _smaller(a: Value, b: Value) -> Value:
    return (a < b).where(a, b)


def _larger(a: Value, b: Value) -> Value:
    return (a < b).where(b, a)


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
    """Write, once a module, the product of matrices by one thread; B may be packed.

    Its arguments are A with its strides; B with its strides, and whether it is packed; C and the
    stride of its rows; m, n, k; whether to add. Return its name.
    """
    own = f"small_product.{scalar.mangled}"
    if module.has(own):
        return own
    f = module.function(own, VOID, (PTR, I64, I64, PTR, *(I64,) * 3, PTR, *(I64,) * 5))
    pa, a_row, a_column, pb, b_row, b_column, packed, pc, c_row, m, n, k, add = f.arguments
    a, b = Matrix(pa, a_row, a_column), Matrix(pb, b_row, b_column)
    c = Matrix(pc, c_row, n.constant(1))
    lanes = vector_bytes // scalar.size
    type = vector(scalar, lanes)
    widths = _widths(vector_bytes)
    room = f.local(type, _DEPTH * max(widths))
    copies = packed.equals(0) & ((m >= _REUSED) | b_column.differs(1))
    fits = (m >= _REUSED) & (m <= _PART_ROWS) & (n > widths[0] * lanes)
    turned, apart = fits & a_row.equals(1), fits & a_column.equals(1) & (a_row >= _APART)
    tiles = f.local(scalar, _PART_ROWS * _TILE)
    with f.range((k > 0).where(k, 1), step=_DEPTH) as p:  # once for k = 0, which gives zeros
        depth = _smaller(k - p, k.constant(_DEPTH))
        part_of_a = a.part(scalar, m.constant(0), p)
        with f.when(turned):
            _copy_turned(f, scalar, part_of_a, m, depth, tiles)
        with f.when(apart), f.range(m) as i:
            row = f.at(scalar, tiles, i * _TILE)
            _copy_row(f, type, part_of_a.at(scalar, i, i.constant(0)), depth, row)
        left = _Left(part_of_a, turned, apart, tiles)
        for vectors, j, mask in _panels(n, lanes, widths):
            width = k.constant(vectors * lanes)
            at, step = f.variable(b.at(scalar, p, j)), f.variable(b.row)
            with f.when(packed.differs(0)):
                at.value, step.value = f.at(scalar, b.pointer, j * k + p * width), width
            with f.when(copies):
                _copy(f, type, vectors, b.part(scalar, p, j), depth, n - j, room, mask)
                at.value, step.value = room, width
            panel = Matrix(at.value, step.value, k.constant(1))
            result = c.part(scalar, m.constant(0), j)
            _rows(f, type, vectors, (left, panel, result), (m, depth), add | p, mask)
    f.give()
    return own


def _copy_row(f: Function, type: Type, row: Value, length: Value, target: Value) -> None:
    """Copy numbers that lie side by side."""
    whole = length & -type.lanes
    with f.range(whole, step=type.lanes) as i:
        f.store(f.load(type, row, i), target, i)
    with f.range(length, start=whole) as i:
        f.store(f.load(type.element, row, i), target, i)


def _copy_turned(f: Function, scalar: Type, a: Matrix, m: Value, k: Value, tiles: Value) -> None:
    """Copy a part of A whose rows lie apart, tile after tile: so that tiles are read in a row.

    Each tile is k columns of as many numbers as it has rows.
    """
    whole = m & -_ROWS[0]
    several = vector(scalar, _ROWS[0])
    with f.range(k) as p:
        with f.range(whole, step=_ROWS[0]) as i:
            column = f.load(several, a.at(scalar, i, p))
            f.store(column, f.at(scalar, tiles, i * _TILE + p * _ROWS[0]))
        with f.range(m, start=whole) as i:
            f.store(f.load(scalar, a.at(scalar, i, p)), f.at(scalar, tiles, i * _TILE + p))


@dataclass(frozen=True)
class _Left:
    """A left factor that may have been copied tile by tile."""

    matrix: Matrix
    turned: Value
    """Whether the rows of a tile lie side by side in the copy."""
    apart: Value
    """Whether they are copied as they are: where they lie far apart, caches have few places."""
    tiles: Value

    def tile(self, scalar: Type, i: Value, rows: int) -> Matrix:
        """Return the tile of some rows from row `i` on."""
        a, turned = self.matrix, self.turned
        copied = i.f.at(scalar, self.tiles, i * _TILE)
        place = (turned | self.apart).where(copied, a.at(scalar, i, i.constant(0)))
        return Matrix(
            place,
            turned.where(i.constant(1), self.apart.where(i.constant(_TILE), a.row)),
            turned.where(i.constant(rows), a.column),
        )


def _rows(
    f: Function,
    type: Type,
    vectors: int,
    matrices: tuple[_Left, Matrix, Matrix],
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
            left = a.tile(type.element, i, rows)
            parts = (left, b, _Rows(c.part(type.element, i, zero), mask))
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

    def fetch(self, type: Type, i: Value | int, vector: int) -> None:
        """Have it brought near, to be written to a while later."""
        f, place = self.matrix.row.f, self._place(type, i, vector)
        write, near, data = (f.constant(I32, x) for x in (1, 3, 1))
        f.call(VOID, "llvm.prefetch.p0", place, write, near, data)

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

    with f.when(k >= _FAR):
        for r in range(rows):
            for v in range(vectors):
                c.fetch(type, r, v)
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
