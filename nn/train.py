"""Training steps: loss, gradient and the optimizer's update as one graph, run as one plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Signature, signature
from threading import RLock
from typing import Any

import numpy as np

import autograd as ag
from autograd import Graph, Node
from autograd.arrays import apart, copied, locked
from autograd.backend import checked, chosen
from autograd.budget import requested
from autograd.describe import describe, listed_names, user_line
from autograd.errors import DTypeError, GraphError, LoopGradError, ShapeError
from autograd.execute.plan import Plan
from autograd.graph import unique_name
from autograd.node import draw_input
from autograd.recent import Recent
from autograd.scope import current_state, drawing
from autograd.spec import Array, Spec, make_spec, spec_of
from nn.drawn import Drawn, Modes, draw_step
from nn.many import Batches, Loops, Progress, check_arguments, computed, told
from nn.module import Module
from nn.optim import Optimizer
from nn.randomness import keys_from
from nn.resident import Resident

MOST = 8
"""How many kinds of batch (shapes and dtypes) a training step keeps graphs for."""


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

    Random layers (dropout) are given keys made of `seed` and the number of the update, so the same
    steps draw the same, also after a resume.

    `carry={"h": "last"}` hands the output "last" of each step to the next one as its input "h":
    truncated backpropagation through a long sequence, block by block. The first step is given it,
    or `step.carried = {"h": ...}` is set; to start again, the same.

    A step happens wholly or not at all, whatever is raised in it, Ctrl-C included. It may take
    turns with the eager habit: both use the optimizer's `update`, and its `state` and `steps`.
    `backend` is that of `graph.compile`; `memory` limits the gradient as in `autograd.grad`.
    """

    def __init__(
        self,
        loss: Graph | Callable[..., Any],
        optimizer: Optimizer,
        *,
        carry: Mapping[str, str] | None = None,
        seed: int = 0,
        backend: str | None = None,
        memory: int | str | None = None,
    ) -> None:
        if not callable(loss):
            raise GraphError(
                f"a training step needs a loss function or a graph, but got {_said(loss)}; write "
                "nn.TrainingStep(loss, optimizer), with the function itself and not its result"
            )
        if not isinstance(optimizer, Optimizer):
            raise GraphError(
                f"a training step needs an optimizer, but got {_said(optimizer)}; write "
                "for example nn.TrainingStep(loss, nn.SGD(model.parameters(), lr=0.1))"
            )
        requested(memory, None)
        given: Any = seed
        if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 0:
            raise LoopGradError(
                f"the seed of a training step must be a whole number >= 0, but is {seed!r:.60}"
            )
        self._seed = int(seed)
        self.carry = dict(carry or {})
        """Inputs that get what an output of the step before was, and which."""
        self.carried: dict[str, Any] = {}
        """What the next step gets so."""
        self.loss = loss
        self.optimizer = optimizer
        self.backend = None if backend is None else checked(backend)
        self._memory = memory
        self._drawn = Recent(MOST)
        self._random: dict[Module, None] = {}
        """The random layers that the loss was seen to call."""
        self._latest: Drawn | None = None
        """What was drawn for the last batch."""
        self._lock = RLock()

    @property
    def seed(self) -> int:
        """What keys of random layers are made of; what is drawn holds for it."""
        return self._seed

    @property
    def memory(self) -> int | str | None:
        """The limit on the gradient's memory; what is drawn holds for it."""
        return self._memory

    def __call__(self, *args: Any, **batch: Any) -> dict[str, Array]:
        """Do one step; arguments without a name are taken in the order of the loss function's."""
        return self.run(*args, **batch)

    def run(self, *args: Any, **batch: Any) -> dict[str, Array]:
        """Do one step on a batch; return the outputs, as they were before the update, by name."""
        if args:
            batch = {**self._by_name(args, batch), **batch}
        with self._lock:
            if self.carry:
                batch = {**self._begun(), **batch}
            drawn = self._latest
            if drawn is None or not drawn.fits(batch):
                batch = {name: _array(x) for name, x in batch.items()}
                drawn = self._drawn_for({name: spec_of(x) for name, x in batch.items()})
                self._latest = drawn
            results = self._handing_on(drawn, batch)
        return dict(zip(drawn.outputs, results, strict=False))

    def _begun(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what is carried into the next step."""
        known = {**self.carried, **(given or {})}
        return {name: known[name] for name in self.carry if name in known}

    def _handing_on(self, drawn: Drawn, batch: Mapping[str, Array]) -> Sequence[Array]:
        """Do one step; keep what it hands to the next."""
        results = self._taken(drawn, batch)
        if self.carry:
            found = dict(zip(drawn.outputs, results, strict=False))
            self.carried = {name: found[of] for name, of in self.carry.items()}
        return results

    def _one_of_many(self, drawn: Drawn, batch: Mapping[str, Array]) -> Sequence[Array]:
        """Do one step on a batch and what the step before handed on."""
        return self._handing_on(drawn, {**batch, **self.carried})

    def state_dict(self) -> dict[str, Array]:
        """Return copies of what is carried into the next step, by name: for checkpoints."""
        return {name: np.array(x) for name, x in self._begun().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next step get what is in `state`."""
        extra = [name for name in state if name not in self.carry]
        if extra:
            raise GraphError(
                f"this training step carries {', '.join(self.carry) or 'nothing'} from step to "
                f"step, but was given {', '.join(map(str, extra))}"
            )
        self.carried = {name: copied(x) for name, x in state.items()}

    def _taken(self, drawn: Drawn, batch: Mapping[str, Array]) -> Sequence[Array]:
        """Do one step, in the memory of its plan if it has one; return the outputs."""
        optimizer = self.optimizer
        resident = self._resident(drawn)
        if resident is not None:
            seldom = optimizer.number_arrays()
            if drawn.kept:
                seldom = [*drawn.kept_values(), *seldom]
            results = resident.run(optimizer, seldom, batch)
            for x in results:
                x.setflags(write=False)
            return results
        given = [batch[name] for name in drawn.batch]
        values = [
            *drawn.kept_values(),
            *drawn.changing(),
            *optimizer.number_arrays(),
            np.array(optimizer.steps + 1.0),
            *given,
        ]
        results = computed(drawn.graph, values, self.backend)
        drawn.replace(results, 1)
        return [locked(apart(x, given)) for x in results[drawn.width :]]

    def _resident(self, drawn: Drawn) -> Resident | None:
        """Return the plan in whose memory steps are taken, if they are."""
        backend = self.backend or chosen()
        if backend == "reference" or current_state().check is not None:
            return None
        resident: Resident | None = drawn.residents.get(backend)
        if resident is None:
            resident = drawn.residents[backend] = Resident(drawn, backend)
        return resident

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
        (steps done, all steps, outputs of the chunk); True shows a bar by tqdm, or a line on
        stderr where that is not installed.
        If anything is raised, Ctrl-C included, the parameters are those after the last chunk.
        """
        check_arguments(batches, same, progress, seconds)
        if self.carry:
            self.carried = {name: _array(x) for name, x in self._begun(same).items()}
            same = {**(same or {}), **self.carried}
        data = Batches(
            {name: _array(x) for name, x in batches.items()},
            {name: _array(x) for name, x in (same or {}).items()},
            None if indices is None else _array(indices),
            axis,
        )
        total = data.steps(steps)
        wanted = None if outputs is None else listed_names("outputs", outputs)
        with self._lock:
            try:
                drawn = self._drawn_for(data.specs())
            except LoopGradError as error:
                error.add_note(f"each step of many() is given {data.given()}")
                raise
            names = drawn.outputs if wanted is None else drawn.checked(wanted)
            if self.carry:
                drawn.singly = True
            loop = Loops(drawn, data, names, self.backend, self._one_of_many)
            tell, close = told(progress, total)
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

    @property
    def plan(self) -> Plan | None:
        """The plan of the batch that came last to `run`: its source, and why it is that one.

        Runs go by `step.run`. None before the first one.
        """
        drawn = self._latest
        if drawn is None:
            return None
        backend = self.backend or chosen()
        resident = drawn.residents.get(backend)
        plan: Plan = drawn.graph.compile(backend) if resident is None else resident.plan
        return plan

    def __repr__(self) -> str:
        plan = self.plan
        name = (
            self.loss.name
            if isinstance(self.loss, Graph)
            else getattr(self.loss, "__name__", "loss")
        )
        how = ", not run yet" if plan is None else f" for {plan.backend}: {plan.reason}"
        return f"<TrainingStep of '{name}' by {type(self.optimizer).__name__}{how}>"

    def graph(self, **batch: Any) -> Graph:
        """Return the graph of a step for batches like these (arrays, or shapes as for `trace`)."""
        specs = {}
        for name, x in batch.items():
            given = isinstance(x, (np.ndarray, Node, Spec))
            specs[name] = make_spec(x.shape, x.dtype) if given else make_spec(x)
        with self._lock:
            graph: Graph = self._drawn_for(specs).graph
        return graph

    def _by_name(self, args: Sequence[Any], batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments without a name by those that the loss has for them."""
        loss = self.loss
        known = list(loss.inputs if isinstance(loss, Graph) else _signature(loss).parameters)
        if len(args) > len(known):
            raise GraphError(
                f"the loss takes {len(known)} inputs ({', '.join(known)}), but {len(args)} came"
            )
        twice = [name for name in known[: len(args)] if name in batch]
        if twice:
            raise GraphError(
                f"the loss takes ({', '.join(known)}), and {', '.join(twice)} came twice, by place "
                "and by name; give each input once"
            )
        return dict(zip(known, args, strict=False))

    # Drawing.

    def _drawn_for(self, specs: dict[str, Spec]) -> Drawn:
        drawn: Drawn | None = self._drawn.get(self._kind(specs))
        if drawn is None:
            self._check_begun(specs)
            drawn = draw_step(*self._loss_graph(specs), self.memory)
            self._check_carried(drawn, specs)
            self._random |= {module: None for module, _ in drawn.modes}
            drawn = self._drawn.put(self._kind(specs), drawn)
        return drawn

    def _check_begun(self, specs: Mapping[str, Spec]) -> None:
        for name in self.carry:
            if name not in specs:
                raise GraphError(
                    f"input '{name}' is carried from step to step, but nothing is carried yet; "
                    f"give it to the first step, run({name}=...), or set "
                    f"step.carried = {{'{name}': ...}}"
                )

    def _check_carried(self, drawn: Drawn, specs: Mapping[str, Spec]) -> None:
        for name, of in self.carry.items():
            (of,) = drawn.checked((of,))
            spec = drawn.graph.outputs[of].spec
            if spec != specs[name]:
                raise ShapeError(
                    f"carry hands output '{of}' of a step, {spec}, to input '{name}' of the next, "
                    f"which is {specs[name]}; they must be alike"
                )

    def _kind(self, specs: dict[str, Spec]) -> tuple[Any, ...]:
        """Return what tells graphs apart: specs of the batch, modes of random layers."""
        return (*specs.items(), *[module.training for module in self._random])

    def _loss_graph(self, specs: dict[str, Spec]) -> tuple[Graph, Node, Modes, Optimizer]:
        """Return the graph of the loss for a batch of these specs, and the number of the update.

        That is an input of the graph if keys of random layers are made of it. And the modes of
        the random layers.
        """
        step = draw_input("step", Spec((), np.dtype(float)), None, False)
        if isinstance(self.loss, Graph):
            _check_specs(self.loss, specs)
            return self.loss, step, [], self.optimizer
        inputs = {}
        for name, spec in specs.items():
            inputs[name] = draw_input(name, make_spec(spec.shape, spec.dtype), None)
            inputs[name].line = user_line()

        def key() -> Any:
            return ag.random.fold_in(ag.random.key(self.seed), step.astype("int64"))

        with drawing(None), keys_from(key) as keys:
            result = _called(self.loss, inputs)
        if not isinstance(result, Mapping):
            result = {"loss": result}
        if not all(isinstance(x, Node) for x in result.values()) or "loss" not in result:
            raise GraphError(
                "the loss function of a training step must return a scalar node, or a dict of "
                "nodes with 'loss' among them, but returned "
                + ", ".join(f"{name}: {_said(x)}" for name, x in result.items())
            )
        if keys.key is not None:
            inputs[unique_name("step", dict.fromkeys(inputs, 2))] = step
        graph = Graph(inputs, result, name="step", allow_unused=True)
        return graph, step, keys.asked, self.optimizer


def _called(loss: Callable[..., Any], inputs: dict[str, Node]) -> Any:
    takes = _signature(loss)
    try:
        takes.bind(**inputs)
    except TypeError as error:
        raise GraphError(
            f"{_loss_name(loss)} takes {takes}, but the batch has "
            f"({', '.join(inputs) or 'nothing'}): {error}; give each input by the name it has there"
        ) from None
    return loss(**inputs)


def _signature(loss: Callable[..., Any]) -> Signature:
    """Return what a loss takes, without annotations; a module takes what its `forward` does."""
    takes = signature(loss.forward if isinstance(loss, Module) else loss)
    plain = [x.replace(annotation=x.empty) for x in takes.parameters.values()]
    return takes.replace(parameters=plain, return_annotation=takes.empty)


def _loss_name(loss: Callable[..., Any]) -> str:
    """Return how errors call a loss; a module is likely to be the model, given by mistake."""
    if not isinstance(loss, Module):
        return "the loss function"
    return (
        f"the {type(loss).__name__} that is given as the loss (which is a function of the batch, "
        "such as lambda xs, ys: nn.squared_error(model(xs), ys))"
    )


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


def _said(value: Any) -> str:
    if isinstance(value, Node):
        return describe(value)
    if isinstance(value, (Optimizer, list, tuple)):
        return f"a {type(value).__name__}"
    return f"{type(value).__name__} {value!r:.60}"
