"""LoopGrad's engine: reverse-mode automatic differentiation on NumPy, with graphs you can see."""

from autograd._installation import refuse_mixed_installation

refuse_mixed_installation()


from autograd import ops as ops
from autograd import random as random
from autograd.check import GradientReport, check_grad
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
from autograd.errors import (
    DrawError,
    DTypeError,
    FormatError,
    GradientError,
    GraphError,
    LoopGradError,
    ShapeError,
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
from autograd.graph import Graph, trace
from autograd.node import Node, Parameter, constant, input, parameter, tensor
from autograd.ops import linalg as linalg
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
from autograd.scope import enable_grad, no_grad
from autograd.spec import Spec
from autograd.vmap import vmap

Tensor = Node
"""A node that has a value; the same class, so that eager and symbolic code are one."""
