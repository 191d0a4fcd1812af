"""Values, gradients and Jacobians of the C++ article's ops: `python -m demos.matrix_calculus`.

The derivative of a matrix by a matrix is the Jacobian of both flattened row by row; the chain rule
multiplies a row vector, the gradient of what comes after, with it.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import autograd as ag
from autograd.spec import Array
from demos.article import abs_sum, sigmoid_2718

P1 = np.array([[-0.117, 0.386], [0.277, 0.415]])
P2 = np.array([[0.293, -0.165], [-0.114, -0.008]])
MASK = np.array([[2.0, 0.0], [0.0, 2.0]])
"""One mask that dropout at a keep rate of 0.5 may draw."""

OPS: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "Add": (lambda a, b: a + b, (P1, P2)),
    "Minus": (lambda a, b: a - b, (P1, P2)),
    "Mult": (lambda a, b: a @ b, (P1, P2)),
    "Sigmoid": (sigmoid_2718, (P1,)),
    "SquareSum": (lambda a: ag.sum(a * a), (P1,)),
    "AbsSum": (abs_sum, (P1,)),
    "Dropout": (lambda a: a * MASK, (P1,)),
}


def derived(name: str) -> tuple[Array, list[Array]]:
    """Return the value of an op, and the gradients of its sum."""
    fn, args = OPS[name]
    value, pullback = ag.vjp(fn, *args)
    gradients = pullback(np.ones(value.shape))
    return value.value, [gradient.value for gradient in gradients]


def jacobian(name: str) -> Array:
    """Return the Jacobian of an op by its first argument, both flattened row by row."""
    fn, args = OPS[name]
    full: Array = ag.jacobian(fn)(*args).value
    return full.reshape(-1, args[0].size)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table of ops, and the Jacobian of the matrix product."""
    parser = argparse.ArgumentParser(prog="demos.matrix_calculus", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the Jacobians")
    options = parser.parse_args(argv)
    print(f"p1 =\n{P1}\np2 =\n{P2}")
    for name in OPS:
        value, gradients = derived(name)
        print(f"\n{name} =\n{np.array2string(value, precision=6)}")
        for i, gradient in enumerate(gradients):
            print(f"gradient of its sum by p{i + 1} =\n{np.array2string(gradient, precision=6)}")
    if options.quick:
        return
    for name in OPS:
        matrix = jacobian(name)
        row = np.ones(len(matrix)) @ matrix
        print(f"\nJacobian of {name} by p1 =\n{np.array2string(matrix, precision=6)}")
        print(f"ones @ Jacobian = {np.array2string(row, precision=6)}, the gradient above")


if __name__ == "__main__":
    main()
