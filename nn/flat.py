"""Parameters as one flat vector and back, for optimizers that know nothing of parameters.

    fun = nn.flat.Objective(loss, model, xs=xs, ys=ys)
    result = scipy.optimize.minimize(fun, fun.start, jac=True, hessp=fun.hessp, method="Newton-CG")
    nn.flat.set(model, result.x)

Vectors are float64, whatever the parameters are, and hold them one after another, row by row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from typing import Any

import numpy as np

import autograd as ag
from autograd import Graph, Node, Parameter
from autograd.arrays import copied
from autograd.describe import describe
from autograd.errors import DTypeError, GradientError, GraphError, LoopGradError, ShapeError
from autograd.graph import unique_name
from autograd.node import _next_serial, draw_input
from autograd.scope import drawing
from autograd.spec import Array, spec_of
from nn.module import Module
from nn.randomness import randomness

Parameters = Module | Iterable[Parameter]


def get(parameters: Parameters) -> Array:
    """Return all values as one float64 vector."""
    return _flat([parameter._value for parameter in _listed("get", parameters)])


def set(parameters: Parameters, vector: Any) -> None:
    """Give all parameters their values out of one vector: all of them or, with an error, none."""
    listed = _listed("set", parameters)
    values = _parts(vector, listed)
    names = [name for name in ("_array", "_assigned", "_lent") for _ in listed]
    new = [*values, *[_next_serial()] * len(listed), *[None] * len(listed)]
    deque(map(setattr, listed * 3, names, new), maxlen=0)  # one call into C: all or nothing


class Objective:
    """A loss as a function of all parameters as one vector: `fun(vector) -> (value, gradient)`.

    `loss` is a function of `data`, called with keyword arguments, that returns a scalar, such as
    that of a training step. It is drawn once, its gradient with it, and compiled. The parameters
    are inputs of what runs: calls do not touch them. Others that the loss reads are read at every
    call. Computing is done in the dtypes of the parameters; value and gradient are float64. Random
    layers draw the same by `seed` at every call, so that it is one function.

    `fun.start` is the vector of the present values. `fun.hessp(vector, direction)` is the product
    of the Hessian with a direction, drawn at the first call: the gradient of <gradient, direction>.
    """

    def __init__(
        self,
        loss: Callable[..., Any],
        parameters: Parameters,
        *,
        backend: str | None = None,
        seed: int = 0,
        **data: Any,
    ) -> None:
        if not callable(loss):
            raise GraphError(
                f"an objective needs a loss function, but got {type(loss).__name__} {loss!r:.60}; "
                "give the function itself and not its result"
            )
        self.parameters = _listed("Objective", parameters)
        self.backend = backend
        arrays = {name: x.value if isinstance(x, Node) else x for name, x in data.items()}
        self._data = {name: copied(x) for name, x in arrays.items()}
        self._lock = RLock()
        self._inputs = {name: draw_input(name, spec_of(x), None) for name, x in self._data.items()}
        with drawing(None), randomness(seed):
            self._loss = _scalar(loss(**self._inputs))
            _check_used(self._loss, self._inputs, self.parameters)
            self._gradients = ag.grad(self._loss, self.parameters)
        self.graph = self._drawn([], [self._loss, *self._gradients])
        """The graph of value and gradients, its inputs the parameters and the data."""
        self._hessian: Graph | None = None

    @property
    def start(self) -> Array:
        """The present values of the parameters as one vector."""
        return get(self.parameters)

    def __call__(self, vector: Any) -> tuple[float, Array]:
        """Return the loss and its gradient at `vector`."""
        value, *gradients = self._run(self.graph, [vector])
        return float(value), _flat(gradients)

    def value(self, vector: Any) -> float:
        """Return the loss at `vector`."""
        return self(vector)[0]

    def gradient(self, vector: Any) -> Array:
        """Return the gradient at `vector`."""
        return self(vector)[1]

    def hessp(self, vector: Any, direction: Any) -> Array:
        """Return the Hessian at `vector` times `direction`, a vector as long."""
        with self._lock:
            if self._hessian is None:
                self._hessian = self._along()
        return _flat(self._run(self._hessian, [vector, direction]))

    def _along(self) -> Graph:
        """Return the graph of the Hessian's product with a direction."""
        with drawing(None):
            along = [draw_input(f"d_{p.name}", p.spec, None) for p in self.parameters]
            slopes = [(g * d).sum() for g, d in zip(self._gradients, along, strict=True)]
            total = slopes[0]
            for slope in slopes[1:]:
                total = total + slope
            products = ag.grad(total, self.parameters)
        return self._drawn(along, products)

    def _drawn(self, more: Sequence[Node], outputs: Sequence[Node]) -> Graph:
        """Return the graph of `outputs` with fresh inputs: parameters, `more`, and the data."""
        leaves = [*self.parameters, *more, *self._inputs.values()]
        taken: dict[str, int] = {}
        named = {unique_name(str(x.name), taken): x for x in leaves}
        results = {f"result_{i}": x for i, x in enumerate(outputs)}
        ports = {name: draw_input(name, x.spec, None, x.tracked) for name, x in named.items()}
        with drawing(None):
            drawn = Graph.of(named, results, "objective").inline(list(ports.values()))
        return Graph.of(ports, dict(zip(results, drawn, strict=True)), "objective")

    def _run(self, graph: Graph, vectors: Sequence[Any]) -> list[Array]:
        given = [part for vector in vectors for part in _parts(vector, self.parameters)]
        results: list[Array] = graph.compile(self.backend).execute([*given, *self._data.values()])
        return results


def _flat(values: Sequence[Array]) -> Array:
    return np.concatenate([np.ravel(x) for x in values]).astype(np.float64)


def _parts(vector: Any, parameters: Sequence[Parameter]) -> list[Array]:
    """Return the parts of a vector in shapes and dtypes of the parameters."""
    array = np.asarray(vector._value if isinstance(vector, Node) else vector)
    sizes = [int(np.prod(parameter.shape, dtype=int)) for parameter in parameters]
    if array.shape != (sum(sizes),) or array.dtype.kind not in "fiu":
        raise ShapeError(
            f"{len(parameters)} parameters are a vector of {sum(sizes)} numbers, but "
            f"{spec_of(array) if array.dtype.kind in 'biuf' else array.dtype} came"
        )
    ends = np.cumsum(sizes)[:-1]
    return [
        np.array(part.reshape(parameter.shape), parameter.dtype)
        for part, parameter in zip(np.split(array, ends), parameters, strict=True)
    ]


def _listed(name: str, parameters: Any) -> list[Parameter]:
    """Return the parameters of a module, or those given."""
    if isinstance(parameters, Module):
        listed: list[Any] = parameters.parameters()
    elif isinstance(parameters, Iterable) and not isinstance(parameters, (Parameter, str)):
        listed = list(parameters)
    else:
        listed = [parameters]
    for x in listed:
        if not isinstance(x, Parameter):
            raise DTypeError(
                f"flat.{name} takes a module or a list of parameters, but got "
                f"{type(x).__name__} {x!r:.60}"
            )
    if not listed or len(dict.fromkeys(listed)) < len(listed):
        raise LoopGradError(
            f"flat.{name} needs parameters, each of them once, but got {len(listed)} with "
            f"{len(dict.fromkeys(listed))} different ones"
        )
    return listed


def _scalar(loss: Any) -> Node:
    if not isinstance(loss, Node) or loss.shape != ():
        said = describe(loss) if isinstance(loss, Node) else f"{type(loss).__name__} {loss!r:.60}"
        raise ShapeError(
            f"the loss of an objective must be a scalar, but is {said}; take its mean or sum"
        )
    return loss


def _check_used(loss: Node, inputs: dict[str, Node], parameters: Sequence[Parameter]) -> None:
    needed = dict.fromkeys(Graph(inputs, {"loss": loss}, allow_unused=True).parameters.values())
    if not any(parameter in needed for parameter in parameters):
        raise GradientError(
            "the loss of the objective depends on none of its parameters; it depends on "
            f"{', '.join(str(p.name) for p in needed) or 'no parameter at all'}"
        )
