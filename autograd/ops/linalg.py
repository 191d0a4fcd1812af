"""Solutions, inverses, determinants and factors of matrices and stacks of matrices.

`autograd.linalg` is this module; `trace` is found here only, as `autograd.trace` traces functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import numpy as np

from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.op import Op, register
from autograd.ops.diagonal import trace as trace
from autograd.ops.diagonal import tril
from autograd.ops.elementwise import align
from autograd.ops.products import matmul, stack_shape
from autograd.ops.reduce import sum
from autograd.ops.shape import expand_dims, matrix_transpose, reshape, squeeze
from autograd.spec import Array, Spec, spec_of


class SingularError(LoopGradError, np.linalg.LinAlgError):
    """A matrix that has no inverse, or is not positive definite, where it must be."""


class MatrixOp(Op):
    """An op on square matrices, or stacks of them, in float32 or float64.

    Flops are the leading terms of the textbook counts (Golub, Van Loan 2013, "Matrix
    Computations"): an n x n elimination is 2/3 n^3, a Cholesky factor half of that, an inverse
    2 n^3.
    """

    thirds: ClassVar[int]
    """How many thirds of n^3 flops one matrix takes."""

    def compute(self, *arrays: Array) -> Any:
        raise NotImplementedError

    def forward(self, *arrays: Array) -> Any:
        try:
            return self.compute(*arrays)
        except np.linalg.LinAlgError as error:
            specs = [spec_of(np.asarray(x)) for x in arrays]
            self.infer(*specs)
            raise SingularError(
                f"no {self.name} of {specs[0]}: {error}; add a small multiple of the identity, or "
                "check how the matrix comes about"
            ) from None

    def infer(self, a: Spec) -> Any:
        return Spec(a.shape, self.checked(a))

    def checked(self, *specs: Spec) -> np.dtype[Any]:
        """Return the dtype of the result for specs of which the first is that of the matrices."""
        a = specs[0]
        if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
            raise ShapeError(
                f"{self.name} takes a square matrix or a stack of them, but got shape {a.shape}; "
                "its last two axes must be equally long"
            )
        dtype = np.result_type(*[spec.dtype for spec in specs])
        if dtype == np.float16:
            raise DTypeError(
                f"{self.name} does not work on float16; convert with .astype('float32') first"
            )
        return dtype if dtype.kind == "f" else np.dtype(np.float64)

    def batch(self, batched: Sequence[bool], *xs: Any) -> Any:
        return self(*xs)

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        a = inputs[0]
        return prod(a.shape[:-2]) * (self.thirds * a.shape[-1] ** 3 // 3)


class Solve(MatrixOp):
    """The `y` with `a @ y == b`. As in NumPy 2, `b` is a vector only if it has one axis."""

    broadcasts = True
    thirds = 2

    def compute(self, *arrays: Array) -> Any:
        return np.linalg.solve(*arrays)

    def infer(self, *specs: Spec) -> Spec:
        a, b = specs
        dtype = self.checked(a, b)
        rows = b.shape[0] if b.ndim == 1 else b.shape[-2] if b.ndim else None
        if rows != a.shape[-1]:
            raise ShapeError(
                f"{a.shape} is a matrix of {a.shape[-1]} columns, so the right side must "
                f"have {a.shape[-1]} rows, but its shape is {b.shape}"
            )
        if b.ndim == 1:
            return Spec(a.shape[:-1], dtype)
        return Spec((*stack_shape("solve", a, b), *b.shape[-2:]), dtype)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        a, b = xs
        vector = len(b.shape) == 1
        column = expand_dims(g, -1) if vector else g
        gb = solve(matrix_transpose(a), column)
        ga = None
        if needs[0]:
            ga = -matmul(gb, expand_dims(y, -2) if vector else matrix_transpose(y))
        return ga, squeeze(gb, -1) if vector else gb

    def batch(self, batched: Sequence[bool], *xs: Any) -> Any:
        a, b = xs
        vector = len(b.shape) - batched[1] == 1
        if vector:
            b = expand_dims(b, -1)
        y = self(*align(batched, (a, b)))
        return squeeze(y, -1) if vector else y

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        """Return those of one elimination a matrix of the stack, and of two triangles a column."""
        a, b = inputs
        n = a.shape[-1]
        matrices, columns = prod(a.shape[:-2]), 1
        if b.ndim > 1:
            matrices, columns = prod(output.shape[:-2]), b.shape[-1]
        return matrices * (self.thirds * n**3 // 3 + 2 * n * n * columns)


solve = register(Solve("solve"))


class Inv(MatrixOp):
    """The inverse of each matrix."""

    thirds = 6

    def compute(self, *arrays: Array) -> Any:
        return np.linalg.inv(*arrays)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        transposed = matrix_transpose(y)
        return (-matmul(matmul(transposed, g), transposed),)


inv = register(Inv("inv"))


class Det(MatrixOp):
    """The determinant of each matrix. Its gradient is the cofactors, also of singular matrices."""

    thirds = 2
    vjps = (lambda g, y, a: reshape(g, (*g.shape, 1, 1)) * cofactor(a),)

    def compute(self, *arrays: Array) -> Any:
        return np.linalg.det(*arrays)

    def infer(self, a: Spec) -> Spec:
        return Spec(a.shape[:-2], self.checked(a))


det = register(Det("det"))


class Cofactor(MatrixOp):
    """The cofactors of each matrix: `det(a) * inv(a).T`, and the limit of that if it is singular.

    From the singular values: `a = u s v` has the cofactors `det(u) det(v) u cofactor(s) v`, and
    those of a diagonal matrix are the products of the other elements. Differentiated, it needs
    the inverse: a SingularError for singular matrices.
    """

    thirds = 63 + 4 + 6  # singular values with both factors, two determinants, one product

    def compute(self, *arrays: Array) -> Any:
        (a,) = arrays
        if a.size == 0:
            return np.zeros(a.shape, self.checked(spec_of(a)))
        u, s, v = np.linalg.svd(a)
        n = s.shape[-1]
        others = np.where(np.eye(n, dtype=bool), s.dtype.type(1), s[..., None, :]).prod(axis=-1)
        sign = np.linalg.det(u) * np.linalg.det(v)
        return np.matmul(u * (sign[..., None, None] * others[..., None, :]), v)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        # y = det(a) i.T with i = inv(a), so dy = tr(i da) y - y da.T i.T.
        inverse = inv(xs[0])
        transposed = matrix_transpose(inverse)
        total = sum(g * y, axis=(-2, -1), keepdims=True)
        return (total * transposed - matmul(matmul(transposed, matrix_transpose(g)), y),)


cofactor: Cofactor = register(Cofactor("cofactor"))


class SLogDet(MatrixOp):
    """The sign of each determinant, and the logarithm of its absolute value (singular: -inf)."""

    multiple = True
    thirds = 2

    def compute(self, *arrays: Array) -> Any:
        return tuple(np.linalg.slogdet(*arrays))

    def infer(self, a: Spec) -> tuple[Spec, Spec]:
        spec = Spec(a.shape[:-2], self.checked(a))
        return spec, spec

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        if g[1] is None:  # the sign is constant wherever it is differentiable
            return (None,)
        transposed = matrix_transpose(inv(xs[0]))
        return (reshape(g[1], (*g[1].shape, 1, 1)) * transposed,)


_slogdet = register(SLogDet("slogdet"))


def slogdet(a: Any) -> tuple[Any, Any]:
    """Return the sign of the determinant of `a`, and the logarithm of its absolute value."""
    sign, logarithm = _slogdet(a)
    return sign, logarithm


class Cholesky(MatrixOp):
    """The lower triangular `l` with `l @ l.T == a`, of the symmetric part `(a + a.T) / 2` of `a`.

    NumPy reads the lower triangle only. Taking the symmetric part instead changes nothing for
    symmetric matrices, and makes the gradient the symmetric one (Murray 2016, arXiv:1602.07527).
    """

    thirds = 1

    def compute(self, *arrays: Array) -> Any:
        (a,) = arrays
        return np.linalg.cholesky((a + a.swapaxes(-1, -2)) / 2)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        transposed = matrix_transpose(y)
        n = y.shape[-1]
        half = (1.0 - 0.5 * np.eye(n)).astype(y.dtype)  # the diagonal counts half
        inner = tril(matmul(transposed, g)) * half
        left = solve(transposed, inner)
        full = matrix_transpose(solve(transposed, matrix_transpose(left)))
        return ((full + matrix_transpose(full)) * 0.5,)


cholesky = register(Cholesky("cholesky"))
