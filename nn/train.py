"""A training step is a graph: loss, gradient and the optimizer's update, run as one plan.

    graph inputs   [parameters not trained | parameters, states | numbers, step | batch]
    graph outputs  [                         parameters, states | outputs, loss among them]

These are the ports of a loop's body, so N steps are one LoopNode whose body is that graph: its
states are the parameters and the optimizer's state, and each step has its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from threading import RLock
from time import perf_counter
from typing import Any

import numpy as np

import autograd as ag
from autograd import Graph, Node, Parameter
from autograd.arrays import copied, locked
from autograd.describe import describe, user_line
from autograd.errors import DTypeError, GradientError, GraphError, ShapeError
from autograd.graph import unique_name
from autograd.node import draw_input
from autograd.recent import Recent
from autograd.scope import current_state, drawing
from autograd.spec import Array, Spec, make_spec, spec_of
from loops import repeat
from nn.optim import Optimizer, State

Progress = Callable[[int, int, dict[str, Array]], Any]
"""Is told after each chunk: the steps done, the steps there are, the outputs of the chunk."""

MOST = 8
"""How many kinds of batch (shapes and dtypes) a training step keeps graphs for."""
LONGEST_CHUNK = 1 << 20


class TrainingStep:
    """One step of training as one graph: what `loss.backward()` and `optimizer.step()` do.

        step = nn.TrainingStep(loss, nn.SGD(model.parameters(), lr=0.1))
        results = step.run(xs=xs, ys=ys)          # {"loss": ...}; the parameters are new
        results = step.many(xs=many_xs, ys=many_ys)   # one step for each row, in one call

    `loss` is a function of the batch, called with keyword arguments, that returns a scalar, or a
    dict of nodes with "loss" among them; or a graph with such outputs (or with one output). What
    it uses of `optimizer.parameters` is trained; other parameters keep their values. It is drawn
    once for each kind of batch (the last 8 are kept), so Python values it reads are frozen then;
    parameters, the optimizer's state and its numbers (`optimizer.lr`) are read at every step.

    A step happens wholly or not at all, whatever is raised in it, Ctrl-C included. It may take
    turns with the eager habit: both use the optimizer's `update`, and its `state` and `steps`.
    `backend` is that of `graph.compile`; `memory` limits the gradient as in `autograd.grad`.
    """

    def __init__(
        self,
        loss: Graph | Callable[..., Any],
        optimizer: Optimizer,
        *,
        backend: str | None = None,
        memory: int | str | None = None,
    ) -> None:
        if not callable(loss):
            raise GraphError(
                f"a training step needs a loss function or a graph, but got {_said(loss)}"
                "; write nn.TrainingStep(loss, optimizer)"
            )
        if not isinstance(optimizer, Optimizer):
            raise GraphError(
                f"a training step needs an optimizer, but got {_said(optimizer)}; write "
                "for example nn.TrainingStep(loss, nn.SGD(model.parameters(), lr=0.1))"
            )
        self.loss = loss
        self.optimizer = optimizer
        self.backend = backend
        self.memory = memory
        self._drawn = Recent(MOST)
        self._latest: tuple[Any, Any] = None, None
        """The kind of the last batch, and what was drawn for it."""
        self._numbers: tuple[list[Any], list[Array]] = [], []
        self._lock = RLock()

    def __call__(self, *args: Any, **batch: Any) -> dict[str, Array]:
        """Do one step; arguments without a name are taken in the order of the loss function's."""
        return self.run(**self._by_name(args), **batch) if args else self.run(**batch)

    def run(self, **batch: Any) -> dict[str, Array]:
        """Do one step on a batch; return the outputs, as they were before the update, by name."""
        names, arrays = tuple(batch), [_array(x) for x in batch.values()]
        key = (names, *[(x.shape, x.dtype) for x in arrays])
        with self._lock:
            if key != self._latest[0]:
                specs = {name: spec_of(x) for name, x in zip(names, arrays, strict=True)}
                self._latest = key, self._drawn_for(specs)
            drawn = self._latest[1]
            given = (
                arrays if names == drawn.batch else [_array(batch[name]) for name in drawn.batch]
            )
            optimizer = self.optimizer
            values = [
                *drawn.kept_values(),
                *drawn.changing(),
                *self._numbers_now(),
                np.array(optimizer.steps + 1.0),
                *given,
            ]
            results = _computed(drawn.graph, values, self.backend)
            drawn.replace(results, 1)
        outputs = zip(drawn.outputs, results[drawn.width :], strict=True)
        return {name: _apart(x, arrays) for name, x in outputs}

    def _numbers_now(self) -> list[Array]:
        """Return the optimizer's numbers for the next step; made anew only where they changed."""
        optimizer = self.optimizer
        now = [getattr(optimizer, name) for name in optimizer.hyper]
        if now != self._numbers[0] or any(map(callable, now)):
            arrays = [np.array(x) for x in optimizer.numbers(optimizer.steps).values()]
            self._numbers = now, arrays
        return self._numbers[1]

    def many(
        self,
        steps: int | None = None,
        *,
        indices: Any = None,
        axis: int = 0,
        same: Mapping[str, Any] | None = None,
        outputs: Sequence[str] | None = None,
        progress: Progress | bool | None = None,
        seconds: float = 0.25,
        **batches: Any,
    ) -> dict[str, Array]:
        """Do one step for each row of the batches; return the outputs of all steps, stacked.

        Each of `batches` has one more leading axis, the steps; `same` are inputs that are the same
        in all steps. With `indices` (steps, examples) the batches are data sets, and step t is
        given their rows `indices[t]` along `axis`. `outputs` names those wanted, all by default.
        Without any batches, `steps` says how many.

        The steps run in chunks that take about `seconds` each. `progress` is called after each with
        (steps done, all steps, outputs of the chunk); True shows a tqdm bar, if that is installed.
        If anything is raised, Ctrl-C included, the parameters are those after the last chunk.
        """
        data = Batches(
            {name: _array(x) for name, x in batches.items()},
            {name: _array(x) for name, x in (same or {}).items()},
            None if indices is None else _array(indices),
            axis,
        )
        total = data.steps(steps)
        with self._lock:
            drawn = self._drawn_for(data.specs())
            names = tuple(drawn.outputs if outputs is None else outputs)
            loop = Loops(self, drawn, data, drawn.checked(names))
            tell, close = _told(progress, total)
            parts = []
            try:
                for done in loop.chunks(total, seconds):
                    parts.append(loop.latest)
                    tell(done, total, loop.latest)
            finally:
                close()
        if len(parts) == 1:
            return parts[0]
        if not parts:
            specs = {name: drawn.graph.outputs[name].spec for name in names}
            return {name: np.zeros((0, *s.shape), s.dtype) for name, s in specs.items()}
        return {name: locked(np.concatenate([part[name] for part in parts])) for name in names}

    def graph(self, **batch: Any) -> Graph:
        """Return the graph of a step for batches like these (arrays, or shapes as for `trace`)."""
        specs = {}
        for name, x in batch.items():
            given = isinstance(x, (np.ndarray, Node, Spec))
            specs[name] = make_spec(x.shape, x.dtype) if given else make_spec(x)
        with self._lock:
            graph: Graph = self._drawn_for(specs).graph
        return graph

    def _by_name(self, args: Sequence[Any]) -> dict[str, Any]:
        known = (
            self.loss.inputs if isinstance(self.loss, Graph) else signature(self.loss).parameters
        )
        if len(args) > len(known):
            raise GraphError(
                f"the loss takes {len(known)} inputs ({', '.join(known)}), but {len(args)} came"
            )
        return dict(zip(known, args, strict=False))

    # Drawing.

    def _drawn_for(self, specs: dict[str, Spec]) -> Drawn:
        key = tuple(specs.items())
        drawn: Drawn | None = self._drawn.get(key)
        if drawn is None:
            drawn = self._drawn.put(key, self._draw(self._loss_graph(specs)))
        return drawn

    def _loss_graph(self, specs: dict[str, Spec]) -> Graph:
        """Return the graph of the loss for a batch of these specs."""
        if isinstance(self.loss, Graph):
            _check_specs(self.loss, specs)
            return self.loss
        inputs = {}
        for name, spec in specs.items():
            inputs[name] = draw_input(name, make_spec(spec.shape, spec.dtype), None)
            inputs[name].line = user_line()
        with drawing(None):
            result = _called(self.loss, inputs)
        if not isinstance(result, Mapping):
            result = {"loss": result}
        if not all(isinstance(x, Node) for x in result.values()) or "loss" not in result:
            raise GraphError(
                "the loss function of a training step must return a scalar node, or a dict of "
                "nodes with 'loss' among them, but returned "
                + ", ".join(f"{name}: {_said(x)}" for name, x in result.items())
            )
        return Graph(inputs, result, name="step", allow_unused=True)

    def _draw(self, graph: Graph) -> Drawn:
        """Return the step whose loss is that of `graph`, all parameters made inputs."""
        optimizer = self.optimizer
        of = "loss" if "loss" in graph.outputs else next(iter(graph.outputs))
        if "loss" not in graph.outputs and len(graph.outputs) > 1:
            raise GraphError(
                f"none of the outputs of graph '{graph.name}' is called 'loss': they are "
                f"{', '.join(graph.outputs)}; call the one to be made small so"
            )
        loss = graph.outputs[of]
        needed = set(graph.select(of).parameters.values())
        trained = [i for i, p in enumerate(optimizer.parameters) if p in needed]
        if not trained:
            raise GradientError(
                f"the loss of graph '{graph.name}' depends on none of the parameters of "
                f"{type(optimizer).__name__}; it depends on "
                f"{', '.join(str(p.name) for p in needed) or 'no parameter at all'}"
            )
        parameters = [optimizer.parameters[i] for i in trained]
        kept = [p for p in graph.parameters.values() if p not in set(parameters)]
        taken = dict.fromkeys([*graph.inputs, *graph.outputs], 2)
        names = {p: unique_name(p.name or "parameter", taken) for p in (*kept, *parameters)}
        with drawing(None):
            states = [
                _state_inputs(optimizer, optimizer.state[i], names[p], taken)
                for i, p in zip(trained, parameters, strict=True)
            ]
            scalars = {
                name: draw_input(unique_name(name, taken), Spec((), np.dtype(float)), None, False)
                for name in (*optimizer.hyper, "step")
            }
            gradients = ag.grad(loss, parameters, memory=self.memory)
            hyper = {name: scalars[name] for name in optimizer.hyper}
            before = [tuple(state.values()) for state in states]
            updated = optimizer.updated(parameters, gradients, before, scalars["step"], hyper)
        inputs: dict[str, Node] = {names[p]: p for p in kept}
        inputs |= {names[p]: p for p in parameters}
        for state in states:
            inputs |= state
        inputs |= {str(x.name): x for x in scalars.values()}
        inputs |= graph.inputs
        outputs = {names[p]: x for p, (x, _) in zip(parameters, updated, strict=True)}
        for state, (_, after) in zip(states, updated, strict=True):
            outputs |= dict(zip(state, after, strict=True))
        width = len(outputs)
        return Drawn(
            _without_parameters(inputs, {**outputs, **graph.outputs}, graph.name),
            optimizer,
            tuple(kept),
            tuple(trained),
            tuple([len(state) for state in states]),
            tuple(graph.inputs),
            tuple(graph.outputs),
            width,
        )


@dataclass
class Drawn:
    """The graph of a step for one kind of batch, and what its inputs and outputs are."""

    graph: Graph
    optimizer: Optimizer
    kept: tuple[Parameter, ...]
    """Parameters the loss depends on that are not trained."""
    trained: tuple[int, ...]
    """Numbers of those that are, in the optimizer."""
    parts: tuple[int, ...]
    """Of how many parts the state of each is."""
    batch: tuple[str, ...]
    outputs: tuple[str, ...]
    width: int
    """How many parameters and parts of states there are."""
    loops: Recent = field(default_factory=lambda: Recent(2 * MOST))
    """Loops over steps like this, and their bodies."""
    chunk: int = 1
    """How many steps were run at a time."""

    def kept_values(self) -> list[Array]:
        return [p._value for p in self.kept]

    def changing(self) -> list[Array]:
        """Return what a step changes: the values of parameters, and the optimizer's state."""
        parameters, state = self.optimizer.parameters, self.optimizer.state
        values = [parameters[i]._value for i in self.trained]
        for i in self.trained:
            values += state[i]
        return values

    def replace(self, results: Sequence[Array], steps: int) -> None:
        """Give parameters and optimizer what `steps` updates made of them, all at once."""
        start = len(self.trained)
        values = results[:start]
        states: list[State] = []
        for count in self.parts if self.width > start else ():
            states.append(tuple(results[start : start + count]))
            start += count
        self.optimizer.replace(self.trained, values, states, steps)

    def checked(self, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in self.outputs:
                raise GraphError(
                    f"the training step has no output '{name}'; its outputs are "
                    f"{', '.join(self.outputs)}"
                )
        return names


@dataclass(frozen=True)
class Batches:
    """What N steps are given: stacked batches, or data sets and which rows each step takes."""

    each: dict[str, Array]
    same: dict[str, Array]
    indices: Array | None
    axis: int

    def steps(self, wanted: int | None) -> int:
        """Return the number of steps, on which all must agree."""
        if self.indices is not None:
            self._check_indices(self.indices)
            known = {"indices": len(self.indices)}
        else:
            for name, x in self.each.items():
                if x.ndim == 0:
                    raise ShapeError(
                        f"'{name}' has no axis of steps; give what is the same in all steps as "
                        f"same={{'{name}': ...}}"
                    )
            known = {f"'{name}'": len(x) for name, x in self.each.items()}
        if wanted is not None:
            known["steps"] = wanted
        if len(set(known.values())) != 1:
            said = ", ".join(f"{name}: {count}" for name, count in known.items())
            raise ShapeError(
                "the batches must say how many steps there are, and agree on it (their first axis "
                f"is the steps; what is the same in all steps goes into same=), but are {said}"
                if known
                else "many() was given no batches, so it needs steps="
            )
        return next(iter(known.values()))

    def _check_indices(self, indices: Array) -> None:
        if indices.dtype.kind not in "iu" or indices.ndim == 0:
            raise DTypeError(
                f"indices must be integers of shape (steps, examples), but are {spec_of(indices)}"
            )
        if not self.each:
            raise GraphError("indices choose rows of data sets, but none was given")
        for name, x in self.each.items():
            if not 0 <= self.axis < x.ndim:
                raise ShapeError(f"'{name}' is {spec_of(x)}, so it has no axis {self.axis}")
            size = x.shape[self.axis]
            if indices.size and (indices.min() < 0 or indices.max() >= size):
                raise ShapeError(
                    f"indices go from {indices.min()} to {indices.max()}, but '{name}' has "
                    f"{size} rows along axis {self.axis}"
                )

    def specs(self) -> dict[str, Spec]:
        """Return what one step is given."""
        found = {}
        for name, x in self.each.items():
            shape = x.shape[1:]
            if self.indices is not None:
                k = self.axis
                shape = (*x.shape[:k], *self.indices.shape[1:], *x.shape[k + 1 :])
            found[name] = Spec(shape, x.dtype)
        return found | {name: spec_of(x) for name, x in self.same.items()}

    def shared(self) -> dict[str, Array]:
        """Return what all steps are given."""
        return self.same if self.indices is None else {**self.same, **self.each}

    def rows(self, start: int, count: int) -> dict[str, Array]:
        """Return what some of the steps are given each."""
        part = slice(start, start + count)
        if self.indices is not None:
            return {"indices": self.indices[part].astype(np.int64, copy=False)}
        return {name: x[part] for name, x in self.each.items()}


class Loops:
    """N training steps as loops over chunks of the batches."""

    def __init__(
        self, step: TrainingStep, drawn: Drawn, data: Batches, outputs: tuple[str, ...]
    ) -> None:
        self.step = step
        self.drawn = drawn
        self.data = data
        self.outputs = outputs
        self.latest: dict[str, Array] = {}
        """The outputs of the chunk that ran last."""

    def chunks(self, total: int, seconds: float) -> Any:
        """Run all steps; yield how many are done after each chunk."""
        done = 0
        while done < total:
            size = min(self.drawn.chunk, total - done)
            graph, fresh = self._graph(size)
            start = perf_counter()
            self._run(graph, done, size)
            if not fresh and size == self.drawn.chunk:  # the first time it is compiled
                self.drawn.chunk = _next_chunk(size, (perf_counter() - start) / size, seconds)
            done += size
            yield done

    def _run(self, graph: Graph, start: int, count: int) -> None:
        optimizer, drawn = self.step.optimizer, self.drawn
        first = optimizer.steps
        values = [
            *drawn.kept_values(),
            *self.data.shared().values(),
            *drawn.changing(),
            *_numbers(optimizer, first, count),
            np.arange(first + 1.0, first + count + 1.0),
            *self.data.rows(start, count).values(),
        ]
        results = _computed(graph, values, self.step.backend)
        drawn.replace(results, count)
        arrays = [*self.data.each.values(), *self.data.same.values()]
        self.latest = {
            name: _apart(x, arrays)
            for name, x in zip(self.outputs, results[drawn.width :], strict=True)
        }

    def _graph(self, count: int) -> tuple[Graph, bool]:
        """Return the loop over `count` steps, and whether it is new."""
        data = self.data
        form = (data.indices is not None, data.axis, tuple(data.same), self.outputs)
        sets = [(name, spec_of(x)) for name, x in data.shared().items()]
        examples = None if data.indices is None else data.indices.shape[1:]
        key = (*form, *sets, examples)
        graph: Graph | None = self.drawn.loops.get((count, key))
        if graph is not None:
            return graph, False
        body = self.drawn.loops.get(key) or self.drawn.loops.put(key, self._body())
        return self.drawn.loops.put((count, key), self._looped(body, count)), True

    def _looped(self, body: Graph, count: int) -> Graph:
        """Return the graph of the loop that runs `body` for `count` steps."""
        shared = len(self.drawn.kept) + len(self.data.shared())
        cut = shared + self.drawn.width
        inputs = {}
        for i, (name, node) in enumerate(body.inputs.items()):
            shape = node.shape if i < cut else (count, *node.shape)
            inputs[name] = draw_input(name, Spec(shape, node.dtype), None, node.tracked)
        nodes = list(inputs.values())
        with drawing(None):
            finals, stacks = repeat(body, nodes[:shared], nodes[shared:cut], nodes[cut:])
        outputs = dict(zip(body.outputs, [*finals, *stacks], strict=True))
        return Graph.of(inputs, outputs, f"steps of {body.name}")

    def _body(self) -> Graph:
        """Return the graph of a step with its inputs in the order of a loop's body.

        With indices it takes its batch out of the data sets.
        """
        graph, width, data = self.drawn.graph, self.drawn.width, self.data
        names = list(graph.inputs)
        kept, first = len(self.drawn.kept), len(names) - len(self.drawn.batch)
        states, scalars = names[kept : kept + width], names[kept + width : first]
        results = dict(list(graph.outputs.items())[:width])
        results |= {name: graph.outputs[name] for name in self.outputs}
        if data.indices is None:
            order = [*names[:kept], *data.same, *states, *scalars, *data.each]
            return Graph.of({name: graph.inputs[name] for name in order}, results, graph.name)
        order = [*names[:kept], *data.same, *data.each, *states, *scalars]
        specs = {name: graph.inputs[name].spec for name in order}
        specs |= {name: spec_of(x) for name, x in data.each.items()}
        index = unique_name("indices", dict.fromkeys(names, 2))
        specs[index] = Spec(data.indices.shape[1:], np.dtype(np.int64))
        ports = {name: draw_input(name, spec, None) for name, spec in specs.items()}
        with drawing(None):
            given = {
                name: ag.take(ports[name], ports[index], data.axis)
                if name in data.each
                else ports[name]
                for name in names
            }
            outputs = Graph.of(graph.inputs, results, graph.name).inline(list(given.values()))
        return Graph.of(ports, dict(zip(results, outputs, strict=True)), graph.name)


def _next_chunk(size: int, each: float, seconds: float) -> int:
    """Return how many steps of `each` seconds to run at a time, a power of two.

    `size` itself where that is nearly as good: another size is another graph to make ready.
    """
    wanted = min(max(1, int(seconds / max(each, 1e-9))), LONGEST_CHUNK)
    if wanted // 4 < size <= wanted * 2:
        return size
    return 1 << (wanted.bit_length() - 1)


def _numbers(optimizer: Optimizer, first: int, count: int) -> list[Array]:
    """Return each of the optimizer's numbers in each of `count` steps."""
    if not any(callable(getattr(optimizer, name)) for name in optimizer.hyper):
        return [np.full(count, x) for x in optimizer.numbers(first).values()]
    rows = [optimizer.numbers(step) for step in range(first, first + count)]
    return [np.array([row[name] for row in rows]) for name in optimizer.hyper]


def _computed(graph: Graph, values: Sequence[Array], backend: str | None) -> list[Array]:
    check = current_state().check
    if check is not None:  # who looks at every value needs every node
        results: list[Array] = check.run_graph(graph, values, None)
        return results
    return graph.compile(backend).execute(values)


def _without_parameters(inputs: dict[str, Node], outputs: dict[str, Node], name: str) -> Graph:
    """Return the graph from `inputs`, parameters among them, drawn again on fresh inputs."""
    cut = Graph.of(inputs, outputs, name)
    ports = {key: draw_input(key, x.spec, None, x.tracked) for key, x in inputs.items()}
    with drawing(None):
        results = cut.inline(list(ports.values()))
    return Graph.of(ports, dict(zip(outputs, results, strict=True)), name)


def _state_inputs(
    optimizer: Optimizer, state: State, name: str, taken: dict[str, int]
) -> dict[str, Node]:
    """Return an input for each part of the state of the parameter called `name`."""
    inputs = {}
    for k, x in enumerate(state):
        part = optimizer.state_names[k] if k < len(optimizer.state_names) else f"state_{k}"
        key = unique_name(f"{name}.{part}", taken)
        inputs[key] = draw_input(key, spec_of(x), None)
    return inputs


def _called(loss: Callable[..., Any], inputs: dict[str, Node]) -> Any:
    try:
        signature(loss).bind(**inputs)
    except TypeError as error:
        raise GraphError(
            f"the loss function takes {signature(loss)}, but the batch has "
            f"({', '.join(inputs) or 'nothing'}): {error}; give each input by the name it has there"
        ) from None
    return loss(**inputs)


def _check_specs(graph: Graph, specs: dict[str, Spec]) -> None:
    """Check that a batch of these specs is what a graph takes."""
    if set(specs) != set(graph.inputs):
        raise GraphError(
            f"graph '{graph.name}' takes a batch of {', '.join(graph.inputs) or 'nothing'}, but "
            f"came {', '.join(specs) or 'nothing'}"
        )
    for name, spec in specs.items():
        node = graph.inputs[name]
        if spec != node.spec:
            raise (ShapeError if spec.dtype == node.dtype else DTypeError)(
                f"input '{name}' of graph '{graph.name}' is {node.spec}, but {spec} came for each "
                "step; a function of the batch, given in place of the graph, takes any shape"
            )


def _array(value: Any) -> Array:
    """Return a part of a batch as an array: as it is, if it is one."""
    if isinstance(value, Node):
        value = value.value
    if type(value) is np.ndarray and value.dtype.isnative:
        return value
    return copied(value)


def _apart(value: Any, arrays: Any) -> Array:
    """Return an output read-only, copied where it is a view of one of the caller's `arrays`."""
    array = np.asarray(value)
    whole = array.base is None and not any([array is x for x in arrays])
    if not whole and any([np.may_share_memory(array, x) for x in arrays]):
        array = array.copy()
    kept: Array = locked(array)
    return kept


def _told(progress: Progress | bool | None, total: int) -> tuple[Progress, Callable[[], Any]]:
    """Return what is told of each chunk, and what is called at the end."""
    if callable(progress):
        return progress, lambda: None
    if not progress:
        return lambda done, total, outputs: None, lambda: None
    try:
        from tqdm import tqdm
    except ImportError:
        return lambda done, total, outputs: None, lambda: None
    bar = tqdm(total=total, unit="step", leave=False)

    def tell(done: int, total: int, outputs: dict[str, Array]) -> None:
        if "loss" in outputs:
            bar.set_postfix(loss=f"{float(outputs['loss'][-1]):.4g}", refresh=False)
        bar.update(done - bar.n)

    return tell, bar.close


def _said(value: Any) -> str:
    return describe(value) if isinstance(value, Node) else f"{type(value).__name__} {value!r:.60}"
