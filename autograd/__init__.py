"""LoopGrad's engine: reverse-mode automatic differentiation on NumPy, with graphs you can see."""

from autograd._installation import refuse_mixed_installation

refuse_mixed_installation()


from autograd import ops as ops
from autograd.check import GradientReport, check_grad
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
from autograd.ops.elementwise import add, divide, identity, multiply, negative, subtract, tanh
from autograd.ops.linalg import matmul
from autograd.ops.reduce import mean, sum
from autograd.ops.shape import broadcast_to, reshape, stack, swapaxes, unstack
from autograd.scope import enable_grad, no_grad
from autograd.spec import Spec
from autograd.vmap import vmap

Tensor = Node
"""A node that has a value; the same class, so that eager and symbolic code are one."""
