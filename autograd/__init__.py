"""LoopGrad's engine: reverse-mode automatic differentiation on NumPy, with graphs you can see."""

from autograd._installation import refuse_mixed_installation

refuse_mixed_installation()

import sys
from typing import TYPE_CHECKING, Any

from autograd import ops, random
from autograd.backend import backend
from autograd.compile import compile
from autograd.create import (
    arange,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from autograd.custom import custom_vjp
from autograd.elsewhere import FUNCTIONS, no_attribute
from autograd.errors import (
    BudgetError,
    DrawError,
    DTypeError,
    FormatError,
    GradientError,
    GraphError,
    LoopGradError,
    NonFiniteError,
    ShapeError,
    TooLargeError,
)
from autograd.grad import (
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    stop_gradient,
    value_and_grad,
    vjp,
)
from autograd.graph import Graph
from autograd.node import Node, constant, input, tensor
from autograd.ops import linalg
from autograd.ops.activation import (
    elu,
    gelu,
    leaky_relu,
    log_sigmoid,
    relu,
    sigmoid,
    silu,
    softplus,
)
from autograd.ops.comparison import (
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    where,
)
from autograd.ops.cumulative import cumprod, cumsum, prod
from autograd.ops.diagonal import diag, diagonal, tril, triu
from autograd.ops.einsum import einsum
from autograd.ops.elementwise import (
    add,
    divide,
    floor_divide,
    identity,
    multiply,
    negative,
    power,
    reciprocal,
    remainder,
    sqrt,
    square,
    subtract,
)
from autograd.ops.erf import erf, erfc
from autograd.ops.explog import exp, exp2, expm1, log, log1p, log2, log10, logaddexp
from autograd.ops.index import (
    index_add,
    index_set,
    one_hot,
    scatter_add,
    take,
    take_along_axis,
)
from autograd.ops.join import concat, pad, repeat, split, tile
from autograd.ops.linalg import SingularError, cholesky, det, inv, slogdet, solve
from autograd.ops.piecewise import abs, ceil, clip, floor, maximum, minimum, round, sign
from autograd.ops.positions import positions, repeat_like
from autograd.ops.products import dot, inner, matmul, outer, tensordot, vdot
from autograd.ops.reduce import (
    all,
    any,
    argmax,
    argmin,
    max,
    mean,
    min,
    norm,
    std,
    sum,
    var,
)
from autograd.ops.shape import (
    astype,
    broadcast_to,
    expand_dims,
    flip,
    matrix_transpose,
    moveaxis,
    permute_dims,
    ravel,
    reshape,
    roll,
    squeeze,
    stack,
    swapaxes,
    transpose,
    unstack,
)
from autograd.ops.softmax import log_softmax, logsumexp, softmax
from autograd.ops.trigonometric import (
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    cos,
    cosh,
    hypot,
    sin,
    sinh,
    tan,
    tanh,
)
from autograd.parameter import Parameter, parameter
from autograd.scope import enable_grad, no_grad
from autograd.spec import Spec
from autograd.trace import trace
from autograd.vmap import vmap

if TYPE_CHECKING:
    from autograd.check import GradientReport, check_grad
    from autograd.finite import check_finite

Tensor = Node
"""A node that has a value; the same class, so that eager and symbolic code are one."""


def __getattr__(name: str) -> Any:
    """Import what checks values and gradients at the first use: most programs never do."""
    if name in ("GradientReport", "check_grad"):
        from autograd import check

        return getattr(check, name)
    if name == "check_finite":
        from autograd.finite import check_finite

        return check_finite
    raise no_attribute(sys.modules[__name__], "module 'autograd'", name, FUNCTIONS)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "BudgetError",
    "DTypeError",
    "DrawError",
    "FormatError",
    "GradientError",
    "GradientReport",
    "Graph",
    "GraphError",
    "LoopGradError",
    "Node",
    "NonFiniteError",
    "Parameter",
    "ShapeError",
    "SingularError",
    "Spec",
    "Tensor",
    "TooLargeError",
    "abs",
    "add",
    "all",
    "any",
    "arange",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "argmax",
    "argmin",
    "astype",
    "backend",
    "broadcast_to",
    "ceil",
    "check_finite",
    "check_grad",
    "cholesky",
    "clip",
    "compile",
    "concat",
    "constant",
    "cos",
    "cosh",
    "cumprod",
    "cumsum",
    "custom_vjp",
    "det",
    "diag",
    "diagonal",
    "divide",
    "dot",
    "einsum",
    "elu",
    "enable_grad",
    "equal",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expand_dims",
    "expm1",
    "eye",
    "flip",
    "floor",
    "floor_divide",
    "full",
    "full_like",
    "gelu",
    "grad",
    "greater",
    "greater_equal",
    "hessian",
    "hvp",
    "hypot",
    "identity",
    "index_add",
    "index_set",
    "inner",
    "input",
    "inv",
    "isfinite",
    "isinf",
    "isnan",
    "jacobian",
    "jvp",
    "leaky_relu",
    "less",
    "less_equal",
    "linalg",
    "linspace",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_sigmoid",
    "log_softmax",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "negative",
    "no_grad",
    "norm",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "ops",
    "outer",
    "pad",
    "parameter",
    "permute_dims",
    "positions",
    "power",
    "prod",
    "random",
    "ravel",
    "reciprocal",
    "relu",
    "remainder",
    "repeat",
    "repeat_like",
    "reshape",
    "roll",
    "round",
    "scatter_add",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "sinh",
    "slogdet",
    "softmax",
    "softplus",
    "solve",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "stop_gradient",
    "subtract",
    "sum",
    "swapaxes",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensor",
    "tensordot",
    "tile",
    "trace",
    "transpose",
    "tril",
    "triu",
    "unstack",
    "value_and_grad",
    "var",
    "vdot",
    "vjp",
    "vmap",
    "where",
    "zeros",
    "zeros_like",
]
