"""Graphs: named inputs, named outputs, and the recorded ancestry between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import numpy as np

from autograd.arrays import apart, converted, locked
from autograd.backend import for_running
from autograd.describe import describe, listed_names, undrawn
from autograd.errors import DTypeError, GraphError, ShapeError
from autograd.node import Node, apply, draw_input, tensor
from autograd.parameter import Parameter, parameter
from autograd.scope import current_state, drawing
from autograd.spec import Array, Spec, make_spec, spec_of
from autograd.trampoline import Task, trampoline
from autograd.tree import unflatten

if TYPE_CHECKING:
    from autograd.execute.plan import Plan
    from autograd.execute.reference import Program
    from autograd.explain import Explanation

LAID_OUT = re.compile(r"\[\d+\]\.")
"""What the path of a step of an unrolled loop has in it."""

Inputs = Node | Sequence[Node] | Mapping[str, Node]


class Graph:
    """A blueprint: everything `outputs` depend on, cut at `inputs`.

    `inputs` and `outputs` are a node, a sequence of nodes (named by themselves) or a dict of names
    to nodes. Parameters and constants are found; every other leaf must be among `inputs`.
    A graph never changes. Parameters are leaves: `run` uses the values they have then.
    """

    __slots__ = (
        "__weakref__",
        "_cache",
        "_consumers",
        "_names",
        "derived",
        "inputs",
        "name",
        "nodes",
        "outputs",
        "structure",
    )

    inputs: dict[str, Node]
    outputs: dict[str, Node]
    nodes: tuple[Node, ...]
    structure: Any
    name: str
    derived: tuple[Graph, Callable[[Graph], Graph]] | None
    """The graph this one was made of, and how: so `resize` can make it again of a resized one."""

    def __init__(
        self,
        inputs: Inputs,
        outputs: Inputs,
        *,
        name: str = "graph",
        allow_unused: bool = False,
    ) -> None:
        self._build(_named(inputs, "input"), _named(outputs, "output"), name)
        used = set(self.nodes)
        for key, node in self.inputs.items():
            if node.op.name != "input":
                raise GraphError(
                    f"input '{key}' of the graph must be made by autograd.input, but is "
                    f"{describe(node)}"
                )
            if node not in used and not allow_unused:
                raise GraphError(
                    f"input '{key}' ({describe(node)}) is not used by any output; leave it out of "
                    "inputs, or pass allow_unused=True"
                )
        self._check_leaf_names()
        self._check_frozen()

    @classmethod
    def of(cls, inputs: Mapping[str, Node], outputs: Mapping[str, Node], name: str) -> Graph:
        """Return the graph of a body: inputs may be unused, scopes are the drawer's business."""
        graph = cls.__new__(cls)
        graph._build(dict(inputs), dict(outputs), name)
        return graph

    def _build(self, inputs: dict[str, Node], outputs: dict[str, Node], name: str) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.name = name
        self.structure = None
        self.derived = None
        self.nodes = ancestry(outputs.values(), set(inputs.values()))
        self._names: dict[Node, str] | None = None
        self._consumers: dict[Node, list[Node]] | None = None
        self._cache: dict[Any, Any] = {}

    def _check_leaf_names(self) -> None:
        known: dict[str, Node] = dict(self.inputs)
        for node in self.nodes:
            if isinstance(node, Parameter) and node.name is not None:
                other = known.setdefault(node.name, node)
                if other is not node:
                    raise GraphError(
                        f"two leaves are called '{node.name}': {describe(other)} and "
                        f"{describe(node)}; give each parameter and input a name of its own, or "
                        "hold the layers in one module, which names parameters by their paths"
                    )

    def _check_frozen(self) -> None:
        for path, _, node in self.walk():
            if node.frozen:
                raise GraphError(
                    f"{path} of graph '{self.name}', {describe(node)}, was computed from "
                    "parameters outside any drawing, and would keep the value it had then; draw it "
                    "by autograd.trace, which records it, or, if it is meant to stay, use "
                    "autograd.constant(x.value)"
                )

    # Names and queries.

    @property
    def names(self) -> dict[Node, str]:
        """A unique, stable name for every node: the user's, or op and number."""
        if self._names is None:
            self._names = _name_all(self)
        return self._names

    def name_of(self, node: Node) -> str:
        try:
            return self.names[node]
        except KeyError:
            raise GraphError(f"{describe(node)} is not a node of graph '{self.name}'") from None

    def __getitem__(self, name: str) -> Node:
        """Return the node called `name`; `loop.node` is the path of a node in a body."""
        for path, _, node in self.walk():
            if path == name:
                return node
        raise GraphError(
            f"graph '{self.name}' has no node '{name}'; print the graph to see its names"
        )

    def walk(self) -> Iterator[tuple[str, Graph, Node]]:
        """Yield (path, graph, node) of every node here and in all bodies, outer nodes first."""
        stack: list[tuple[str, Graph, Iterator[Node]]] = [("", self, iter(self.nodes))]
        while stack:
            prefix, graph, nodes = stack[-1]
            for node in nodes:
                path = prefix + graph.names[node]
                yield path, graph, node
                bodies = node.bodies
                if bodies:
                    several = len(bodies) > 1
                    for i, body in reversed(list(enumerate(bodies))):
                        inner = f"{path}.{i}." if several else f"{path}."
                        stack.append((inner, body, iter(body.nodes)))
                    break
            else:
                stack.pop()

    def find(self, pattern: str = "*", *, op: str | None = None) -> list[Node]:
        """Return the nodes whose path matches `pattern` (as in a shell) and whose op is `op`."""
        return [
            node
            for path, _, node in self.walk()
            if fnmatchcase(path, pattern) and (op is None or node.op.name == op)
        ]

    def consumers(self, node: Node | str) -> list[Node]:
        """Return the nodes of this graph that have `node` (or the one of that name) as an input."""
        node = self._own(node)
        if self._consumers is None:
            self._consumers = {n: [] for n in self.nodes}
            for n in self.nodes:
                for x in dict.fromkeys(n.inputs):
                    if x in self._consumers:
                        self._consumers[x].append(n)
        return self._consumers[node]

    def parents(self, node: Node | str) -> list[Node]:
        """Return the inputs of `node` (or of the one of that name) that belong to this graph."""
        node = self._own(node)
        return list(node.inputs) if node not in set(self.inputs.values()) else []

    def _own(self, node: Node | str) -> Node:
        """Return `node`, or the node of that name, if it is one of this graph itself."""
        node = self[node] if isinstance(node, str) else node
        self.name_of(node)
        return node

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters this graph depends on, in the order they were made."""
        return {self.names[n]: n for n in self.nodes if isinstance(n, Parameter)}

    @property
    def flat(self) -> bool:
        """True where no node holds a body."""
        known = self._cache.get("flat")
        if known is None:
            known = self._cache["flat"] = not any(node.bodies for node in self.nodes)
        return bool(known)

    # Running.

    @property
    def program(self) -> Program:
        """This graph ready for the reference executor."""
        known = self._cache.get("program")
        if known is None:
            from autograd.execute.reference import Program

            known = self._cache["program"] = Program(self)
        return known

    def run(
        self,
        *,
        outputs: Sequence[str] | None = None,
        watch: Callable[[str, Array], None] | None = None,
        **inputs: Any,
    ) -> dict[str, Array]:
        """Return the values of the outputs, read-only, by name.

        Keyword arguments are the inputs. `outputs` selects some; nothing else is computed.
        `watch(path, value)` is called with each value as it is computed, `loop[3].h` in a loop.
        Under `autograd.check_finite()`, what is not finite is an error that names the node.
        """
        graph = self if outputs is None else self.select(*listed_names("outputs", outputs))
        self._check_names(inputs)
        values = [graph._checked(name, node, inputs) for name, node in graph.inputs.items()]
        check = current_state().check
        if check is not None:
            return graph.leaving(check.run_graph(graph, values, watch), values)
        from autograd.execute.reference import Teller, execute

        chosen = for_running() if watch is None else None
        if chosen is not None:
            from autograd.execute.eager import run_graph

            return graph.leaving(run_graph(graph, values, chosen), values)
        return graph.leaving(
            execute(graph, values, None if watch is None else Teller(watch)), values
        )

    def compile(self, backend: str | None = None) -> Plan:
        """Return this graph made ready to run fast: `graph.compile().run(xs=...)`.

        `backend` is "auto", "reference", "numpy" or "native"; by default what `autograd.backend`
        says. `plan.source` shows what runs, `plan.reason` why it does so.
        """
        from autograd.execute.plan import compiled

        return compiled(self, backend)

    def checked(self, inputs: dict[str, Any], what: str = "graph") -> list[Array]:
        """Return the values of all inputs, in their order, checked to be what the graph takes.

        `what` is to run them, and has a `resize`.
        """
        self._check_names(inputs)
        return [self._checked(name, node, inputs, what) for name, node in self.inputs.items()]

    def leaving(self, results: Sequence[Array], values: Sequence[Array]) -> dict[str, Array]:
        """Return the results of a run for `values` by the outputs' names, read-only."""
        return {
            name: locked(apart(result, values))
            for name, result in zip(self.outputs, results, strict=True)
        }

    def _check_names(self, inputs: dict[str, Any]) -> None:
        for name in inputs:
            if name not in self.inputs:
                raise GraphError(
                    f"graph '{self.name}' has no input '{name}'; its inputs are "
                    f"{', '.join(self.inputs) or 'none'}"
                )

    def _checked(self, name: str, node: Node, inputs: dict[str, Any], what: str = "graph") -> Array:
        if name not in inputs:
            raise GraphError(
                f"input '{name}' of graph '{self.name}' is missing; call run({name}=...) with a "
                f"{node.spec}"
            )
        value = inputs[name]
        if isinstance(value, Node):
            value = value.value
        elif not isinstance(value, np.ndarray):
            value = converted(f"input '{name}' of graph '{self.name}'", value, node.spec)
        if value.dtype != node.dtype:
            raise DTypeError(
                f"input '{name}' of graph '{self.name}' is {node.spec}, but {spec_of(value)} came; "
                f"convert it with .astype('{node.dtype}')"
            )
        if value.shape != node.shape:
            raise ShapeError(
                f"input '{name}' of graph '{self.name}' is {node.spec}, but {spec_of(value)} came; "
                f"reshape it, or make a {what} for it with {what}.resize({name}={value.shape})"
            )
        return value  # type: ignore[no-any-return]

    def select(self, *names: str) -> Graph:
        """Return the graph of some outputs, with everything they do not need left out."""
        for name in names:
            if name not in self.outputs:
                raise GraphError(
                    f"graph '{self.name}' has no output {name!r}; its outputs are "
                    f"{', '.join(self.outputs)}"
                )
        key = ("select", names)
        if key not in self._cache:
            chosen = {name: self.outputs[name] for name in names}
            used = set(ancestry(chosen.values(), set(self.inputs.values())))
            inputs = {name: node for name, node in self.inputs.items() if node in used}
            made = self._cache[key] = Graph.of(inputs, chosen, self.name)
            if self.derived is not None:
                source, again = self.derived
                made.derived = source, lambda graph: again(graph).select(*names)
        selected: Graph = self._cache[key]
        return selected

    def __call__(self, *args: Any) -> Any:
        """Apply to `args` in the order of the inputs: to nodes by drawing, to arrays by running.

        Returns what a traced function returned: its structure, with nodes or arrays for leaves.
        """
        if len(args) != len(self.inputs):
            raise GraphError(
                f"graph '{self.name}' takes {len(self.inputs)} inputs "
                f"({', '.join(self.inputs)}), but {len(args)} came"
            )
        if not any(isinstance(arg, Node) for arg in args):
            results: Any = list(self.run(**dict(zip(self.inputs, args, strict=True))).values())
        else:
            results = self.inline([tensor(x) if isinstance(x, np.ndarray) else x for x in args])
        if self.structure is not None:
            return unflatten(self.structure[0], results)
        return results[0] if len(results) == 1 else tuple(results)

    # Graphs from graphs.

    def inline(self, inputs: Sequence[Any], prefix: str = "") -> list[Node]:
        """Return the outputs, drawn (or computed) anew on `inputs`; names get `prefix`."""
        return list(trampoline(self._inlined(inputs, prefix)))

    def _inlined(self, inputs: Sequence[Any], prefix: str = "") -> Task:
        made: dict[Node, Node] = dict(zip(self.inputs.values(), inputs, strict=True))
        for node in self.nodes:
            if node in made:
                continue
            if not node.inputs and not node.bodies:
                made[node] = node
                continue
            xs = tuple([made[x] for x in node.inputs])
            attrs = node.attrs
            if node.bodies:
                attrs = node.op.fit([x.spec for x in xs], attrs)
                if type(attrs) is GeneratorType:
                    attrs = yield attrs
            new = apply(node.op, xs, attrs)
            if prefix:
                new.name = prefix + self.names[node]
            elif node.name is not None:
                new.name = node.name
            if new.line is None or node.line is not None:
                new.line = node.line
            origin = node.origin
            new._pulled = made.get(origin, origin) if isinstance(origin, Node) else origin
            made[node] = new
        return [made[node] for node in self.outputs.values()]

    def redrawn(self, specs: Mapping[str, Spec]) -> Task:
        """Return the same graph for inputs of other specs; a task, as bodies may nest deep."""
        inputs = self.fresh_inputs(specs)
        with drawing(None):
            outputs = yield self._inlined(list(inputs.values()))
        return self.like(inputs, outputs)

    def fresh_inputs(self, specs: Mapping[str, Spec] | None = None) -> dict[str, Node]:
        """Return new inputs like those of this graph, of other `specs` where these are given."""
        inputs = {}
        for key, node in self.inputs.items():
            spec = node.spec if specs is None else specs.get(key, node.spec)
            inputs[key] = draw_input(node.name, spec, None, node.tracked)
            inputs[key].line = node.line
        return inputs

    def like(self, inputs: dict[str, Node], outputs: Sequence[Node]) -> Graph:
        """Return the graph of `outputs`, named and arranged as those of this graph are."""
        graph = Graph.of(inputs, dict(zip(self.outputs, outputs, strict=True)), self.name)
        graph.structure = self.structure
        return graph

    def resize(self, **shapes: Any) -> Graph:
        """Return the same graph, with the same parameters, for inputs of other shapes.

        Loops run for as many steps as their per-step inputs then have. Sizes that your own code
        read from `.shape` as Python numbers stay what they were. What `grad`, `unroll`, `optimize`
        and `select` have made is made again of the resized graph it comes from. A gradient you
        have drawn into a graph yourself is full of sizes: resize first, differentiate then.
        """
        specs = {}
        for name, shape in shapes.items():
            if name not in self.inputs:
                raise GraphError(
                    f"graph '{self.name}' has no input '{name}' to resize; its inputs are "
                    f"{', '.join(self.inputs)}"
                )
            specs[name] = make_spec(shape, self.inputs[name].dtype)
        if self.derived is not None:
            source, again = self.derived
            return again(source.resize(**shapes))
        for path, _, node in self.walk():
            if LAID_OUT.search(path):
                raise GraphError(
                    f"graph '{self.name}' is unrolled ('{path}'), so its number of steps is fixed; "
                    "resize first and unroll then: graph.resize(...).unroll()"
                )
            if node.pulled:
                raise GraphError(
                    f"graph '{self.name}' contains a gradient ({path}), or a constant made of "
                    "sizes, and so is drawn for one size; resize first and differentiate then: "
                    "graph.resize(...).grad(...)"
                )
        resized: Graph = trampoline(self.redrawn(specs))
        return resized

    def unroll(self, depth: int | None = None, *, factor: int | None = None) -> Graph:
        """Return the computation graph: every loop laid out step by step.

        Nodes are named `loop[3].h`. `depth` 1 unrolls the outermost loops only. With `factor` k, a
        loop of T > k steps becomes one of T // k steps over k copies of its body, named
        `loop.copy[0].h` to `copy[k - 1]`, and the last T % k steps to run are laid out after it.
        Ragged loops, and loops that only their data stop, stay rolled (the latter take a `factor`).
        """
        from autograd.execute.unroll import unrolled

        laid_out = unrolled(self, depth, factor)
        if laid_out is not self:
            laid_out.derived = self, lambda graph: graph.unroll(depth, factor=factor)
        return laid_out

    def optimize(
        self, *, off: Collection[str] = (), explain: bool = False, target: str = "numpy"
    ) -> Any:
        """Return a graph of the same inputs, outputs and results that runs faster.

        It is an ordinary graph. `off` names passes to leave out. With
        `explain`, return an object that prints what was done, and has it: `graph`, `moves`,
        `before` and `after`. `target` is what is to run it: "numpy" or "native". docs/passes.md.
        """
        from autograd.rewrite.report import optimize

        return optimize(self, off, explain, target)

    def grad(
        self,
        of: str | None = None,
        wrt: Sequence[str] | None = None,
        *,
        memory: int | str | None = None,
        checkpoints: int | None = None,
    ) -> Graph:
        """Return this graph with the gradient of output `of` added: outputs `grad_<name>`.

        `wrt` names parameters or inputs; all parameters by default. Where the graph already has
        an output of that name, the new one is numbered: `grad_<name>_2`. `memory` is how much
        running the graph may allocate, see `autograd.grad`.
        """
        from autograd.budget import fitted, requested
        from autograd.grad import grad

        if of is None:
            if len(self.outputs) != 1:
                raise GraphError(
                    f"graph '{self.name}' has outputs {', '.join(self.outputs)}; name the one to "
                    "differentiate: graph.grad(of=...)"
                )
            of = next(iter(self.outputs))
        known: dict[str, Node] = {**self.inputs, **self.parameters}
        names = list(self.parameters) if wrt is None else list(wrt)
        for name in names:
            if name not in known:
                raise GraphError(
                    f"graph '{self.name}' has no parameter or input '{name}'; it has "
                    f"{', '.join(known)}"
                )
        loss = self.select(of).outputs[of]

        def draw() -> Graph:
            with drawing(None):
                grads = grad(loss, [known[name] for name in names])
            outputs = dict(self.outputs)
            taken = dict.fromkeys(outputs, 2)
            for name, g in zip(names, grads, strict=True):
                outputs[unique_name(f"grad_{name}", taken)] = g
            return Graph.of(self.inputs, outputs, self.name)

        graph = fitted(draw, requested(memory, checkpoints))
        again = partial(Graph.grad, of=of, wrt=names, memory=memory, checkpoints=checkpoints)
        graph.derived = self, again
        return graph

    def copy(self) -> Graph:
        """Return a graph of its own: new inputs, and parameters copied with their values."""
        fresh = {
            node: parameter(node.name or "parameter", node.value)
            for node in self.nodes
            if isinstance(node, Parameter)
        }
        cut = {**self.inputs, **{f"parameter {i}": node for i, node in enumerate(fresh)}}
        inputs = self.fresh_inputs()
        with drawing(None):
            body = Graph.of(cut, self.outputs, self.name)
            outputs = body.inline([*inputs.values(), *fresh.values()])
        return self.like(inputs, outputs)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Graph:
        return self.copy()

    # Seeing and saving.

    def explain(self) -> Explanation:
        """Return what each loop does and costs, and what a backward would save; print it."""
        from autograd.explain import explain

        return explain(self)

    def __repr__(self) -> str:
        return (
            f"<Graph {self.name}: {', '.join(self.inputs)} -> {', '.join(self.outputs)}, "
            f"{len(self.nodes)} nodes>"
        )

    def __str__(self) -> str:
        from autograd.draw.text import to_text

        return to_text(self)

    def draw(self, path: Any = None, **options: Any) -> Any:
        """Draw to a .svg, .png, .pdf or .dot file; see `autograd.draw.draw` for the options."""
        from autograd.draw import draw

        return draw(self, path, **options)

    def _repr_svg_(self) -> str:
        from autograd.draw import notebook_svg

        return notebook_svg(self)

    def save(self, path: Any) -> None:
        """Write the graph and its parameters' values to a JSON file."""
        from autograd.export.json import save

        save(self, path)

    @classmethod
    def load(cls, path: Any) -> Graph:
        """Read a graph written by `save`. Nothing in the file is executed."""
        from autograd.export.json import load

        return load(path)


def _named(nodes: Inputs, kind: str) -> dict[str, Node]:
    if isinstance(nodes, Node):
        nodes = [nodes]
    if isinstance(nodes, Mapping):
        pairs = [(str(name), node) for name, node in nodes.items()]
    else:
        several = len(nodes) > 1
        default = [f"{kind}_{i}" if several else kind for i in range(len(nodes))]
        pairs = []
        for i, node in enumerate(nodes):
            pairs.append((getattr(node, "name", None) or default[i], node))
    result: dict[str, Node] = {}
    for name, node in pairs:
        if not isinstance(node, Node):
            raise GraphError(
                f"{kind} '{name}' of a graph must be a node, but is {type(node).__name__} {node!r}"
            )
        if name in result:
            raise GraphError(f"two {kind}s of a graph are called '{name}'; names must differ")
        result[name] = node
    if kind == "output" and not result:
        raise GraphError("a graph needs at least one output; pass outputs={'name': node}")
    return result


def ancestors(heads: Iterable[Node], stop: Collection[Node] = ()) -> list[Node]:
    """Return `heads` and all they depend on, in the order they were made, not passing `stop`."""
    seen = set(heads)
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node in stop:
            continue
        for x in node.inputs:
            if x not in seen:
                seen.add(x)
                stack.append(x)
    return sorted(seen, key=_serial)


def ancestry(outputs: Iterable[Node], inputs: set[Node]) -> tuple[Node, ...]:
    """Return the ancestors of `outputs`, cut at `inputs`, which must have all inputs among them."""
    nodes = ancestors(outputs, inputs)
    for node in nodes:
        if node.op.name == "input" and node not in inputs:
            raise GraphError(_missing_input(node))
        if node._value is None and node._spec is None:
            raise undrawn(node)
    return tuple(nodes)


def _missing_input(node: Node) -> str:
    if node.scope is not None:
        return (
            f"{describe(node)} belongs to the body of {node.scope.label} '{node.scope.path}', "
            "but an output of this graph depends on it; hand it out with collect() or final()"
        )
    return (
        f"{describe(node)} is needed by an output, but is not among the graph's inputs; "
        f"add it: Graph(inputs=[..., {node.name}], ...)"
    )


def _serial(node: Node) -> int:
    return node.serial


def _name_all(graph: Graph) -> dict[Node, str]:
    names = {node: name for name, node in graph.inputs.items()}
    taken = dict.fromkeys(graph.inputs, 2)
    for node in graph.nodes:
        if node.name is not None and node not in names:
            names[node] = unique_name(node.name, taken)
    counts: dict[str, int] = {}
    # Scalars come last: they are shared between graphs, so their place in the order is no one's.
    scalars = [n for n in graph.nodes if n.op.name == "constant" and n.shape == ()]
    last = set(scalars)
    for node in [*[n for n in graph.nodes if n not in last], *scalars]:
        if node in names:
            continue
        if node.op.name == "item":
            names[node] = unique_name(item_name(names[node.inputs[0]], node), taken)
            continue
        op = node.op.name
        while True:
            counts[op] = counts.get(op, 0) + 1
            name = f"{op}_{counts[op]}"
            if name not in taken:
                break
        taken[name] = 2
        names[node] = name
    return names


def item_name(owner: str, item: Node) -> str:
    """Return what `item`, an output of the node called `owner`, is called if it has no name."""
    source = item.inputs[0]
    return f"{owner}:{source.op.output_name(source.attrs, item.attrs['index'])}"


def unique_name(name: str, taken: dict[str, int]) -> str:
    """Return `name`, numbered if it is among `taken` (name -> next number), and add it."""
    if name not in taken:
        taken[name] = 2
        return name
    number = taken[name]
    while (candidate := f"{name}_{number}") in taken:
        number += 1
    taken[name] = number + 1
    taken[candidate] = 2
    return candidate
