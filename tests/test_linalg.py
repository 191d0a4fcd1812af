"""Linear algebra beyond the table: singular matrices, conventions, einsum's forms, cost."""

from __future__ import annotations

import numpy as np
import pytest

import autograd as ag
from autograd.errors import ShapeError
from autograd.ops.linalg import SingularError

SINGULAR = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 1.0, 3.0]])


def cofactors(a: np.ndarray) -> np.ndarray:
    """Return the signed minors, by their definition."""
    n = len(a)
    minors = [[np.delete(np.delete(a, i, 0), j, 1) for j in range(n)] for i in range(n)]
    return np.array(
        [
            [(-1) ** (i + j) * np.linalg.det(m) for j, m in enumerate(row)]
            for i, row in enumerate(minors)
        ]
    )


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_gradient_of_det_is_the_cofactors_whatever_the_rank(rank: int):
    rng = np.random.default_rng(rank)
    a = rng.normal(size=(3, rank)) @ rng.normal(size=(rank, 3))
    np.testing.assert_allclose(ag.grad(ag.det)(a).value, cofactors(a), atol=1e-13)


def test_gradient_of_det_in_a_stack_with_singular_matrices():
    stack = np.stack([SINGULAR, np.eye(3)])
    g = ag.grad(lambda a: ag.det(a).sum())(stack).value
    np.testing.assert_allclose(g, [cofactors(SINGULAR), np.eye(3)], atol=1e-13)


@pytest.mark.parametrize(
    ("fn", "match"),
    [
        (lambda a: ag.inv(a), r"inv: no inv of float64\[3, 3\]: Singular matrix"),
        (lambda a: ag.solve(a, np.ones(3)), "solve: no solve of .* Singular matrix"),
        (lambda a: ag.cholesky(-a), "cholesky: no cholesky of .* not positive definite"),
        (lambda a: ag.grad(lambda x: ag.slogdet(x)[1])(a), "no inv of float64"),
        (lambda a: ag.hessian(ag.det)(a), "no inv of float64"),
    ],
)
def test_singular_matrices_are_named(fn, match: str):
    with pytest.raises(SingularError, match=match) as caught:
        fn(ag.tensor(np.array([[1.0, 2.0, 0], [2.0, 4.0, 0], [0, 0, 1.0]])))
    assert isinstance(caught.value, np.linalg.LinAlgError)


def test_slogdet_of_a_singular_matrix():
    sign, logarithm = ag.slogdet(ag.tensor(np.zeros((2, 2))))
    assert (sign.item(), logarithm.item()) == (0.0, -np.inf)


def test_empty_matrices():
    a = np.zeros((0, 0))
    assert ag.det(ag.tensor(a)).item() == 1
    assert ag.grad(ag.det)(a).shape == (0, 0)
    assert ag.inv(ag.tensor(np.zeros((0, 2, 2)))).shape == (0, 2, 2)


def test_cholesky_is_of_the_symmetric_part_and_its_gradient_symmetric():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3)) / 4 + 2 * np.eye(3)
    factor = ag.cholesky(ag.tensor(a)).value
    np.testing.assert_allclose(factor @ factor.T, (a + a.T) / 2)
    g = ag.grad(lambda x: ag.cholesky(x)[2, 0])(a).value
    np.testing.assert_allclose(g, g.T)


@pytest.mark.parametrize("name", ["inv", "det", "cholesky", "cofactor", "slogdet"])
def test_integers_and_float32(name: str):
    fn = getattr(ag.linalg, name)
    for dtype, expected in (("int64", "float64"), ("float32", "float32")):
        x = np.array([[3, 1], [1, 2]], dtype)
        for given in (ag.tensor(x), ag.input("x", (2, 2), dtype)):
            result = fn(given)
            result = result[1] if isinstance(result, tuple) else result
            assert result.dtype == expected


# Cost: what a product's gradient is made of.


def ops_of_gradient(fn, *shapes: tuple[int, ...]) -> list[str]:
    inputs = [ag.input(f"x{i}", shape) for i, shape in enumerate(shapes)]
    grads = ag.grad(fn(*inputs), inputs, seed=ag.ones(fn(*inputs).shape))
    graph = ag.Graph(inputs, {f"g{i}": g for i, g in enumerate(grads)})
    return sorted(node.op.name for node in graph.nodes if node.inputs)


def test_gradient_of_a_matrix_product_is_two_products():
    expected = ["matmul", "matmul", "swapaxes", "swapaxes"]
    assert ops_of_gradient(ag.matmul, (2, 3), (3, 4)) == expected


def test_gradient_of_a_stack_times_a_matrix_sums_within_one_product():
    names = ops_of_gradient(ag.matmul, (5, 2, 3), (3, 4))
    assert names.count("matmul") == 2
    assert "sum_to" not in names


def test_gradient_of_split_is_concat():
    def gates(x: ag.Node) -> ag.Node:
        i, f, o = ag.split(x, 3, axis=1)
        return i * f + o

    names = ops_of_gradient(gates, (2, 6))
    assert names.count("concat") == 1
    assert not {"place", "pad"} & set(names)


# Einsum.


def test_einsum_letters_can_run_out():
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    x = np.ones((1,) * 30)
    with pytest.raises(ShapeError, match="more than the 52 letters"):
        ag.einsum(f"{letters[:30]}...,{letters[22:]}->...", np.ones((1,) * 32), x)


def test_einsum_without_arrow_sorts_its_letters():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    for subscripts in ("zy,yx", "zy,yx->", "...y,yx", "ab,bc"):
        found = ag.einsum(subscripts, ag.tensor(a), b).value
        np.testing.assert_allclose(found, np.einsum(subscripts, a, b))


def test_einsum_of_integers_and_mixed_dtypes():
    a, b = np.arange(6).reshape(2, 3), np.ones((2, 3), np.float32)
    assert ag.einsum("ij,ij->", a, ag.tensor(b)).dtype == np.einsum("ij,ij->", a, b).dtype
    assert ag.einsum("ij->j", ag.tensor(a)).dtype == np.int64
