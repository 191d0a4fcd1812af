"""Loops over the same steps, of which none waits for another's outputs, become one loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autograd.graph import Graph
from autograd.node import Node
from autograd.rewrite.cost import Machine
from autograd.rewrite.engine import Context, Pass, title
from autograd.rewrite.nodes import like, neutral, substitute, with_body
from autograd.rewrite.pipeline import register
from autograd.scope import drawing
from loops.form import ports_of
from loops.loop import loop
from loops.rewrite.equal import numbered
from loops.rewrite.levels import outside_in
from loops.rewrite.merge_states import merge_equal
from loops.rewrite.parts import Entry, Parts, State, loops_in
from loops.rewrite.slices import same_source

LAW = "they take the same steps, and none of them waits for an output of another"


def merge_loops(graph: Graph, context: Context) -> Graph:
    """Return `graph` with loops made one where that is possible and pays.

    A loop and the one that saves for its gradient read the same and have most of a body in common:
    one loop, in which that is there twice, until equal states and nodes are merged too.
    """
    graph = _read_from_saving(graph, context)
    loops = dict(loops_in(graph))
    kinds = {node: kind for node, kind in kinds_of(graph).items() if node in loops}
    sizes = Counter(kinds.values())
    kinds = {node: kind for node, kind in kinds.items() if sizes[kind] > 1}
    replacements: dict[Node, Node] = {}
    for ready in rounds(graph, kinds) if kinds else ():
        for members in clusters(graph, ready, context):
            whole = joined(members)
            before = whole.cost()
            merge_equal(whole)
            outputs = whole.outputs()
            first = 0
            for node in members:
                replacements |= whole.handed_out(loops[node], outputs, first)
                first += len(node.attrs["body"].outputs)
            names = ", ".join([title(node) for node in members[1:]])
            context.moved(graph, members[0], f"merged with {names}", LAW, before, whole.cost())
    return substitute(graph, replacements)


def _read_from_saving(graph: Graph, context: Context) -> Graph:
    """Return `graph` with what ragged loops give read from those that save for their gradients.

    A ragged loop's body stays as it was drawn or derived. But one derived for saving has all the
    outputs of the loop it was derived for, at the same places, and saved ones after them.
    """
    ragged = [x for x in graph.nodes if x.op is loop and x.attrs.get("rows")]
    saving = {
        (id(x.attrs["source"]), x.attrs["derived"][:-1], *map(id, x.inputs)): x
        for x in ragged
        if "derived" in x.attrs and x.attrs["derived"][-1][0] == "saving"
    }
    others = {}
    for node in ragged if saving else ():
        attrs = node.attrs
        derived = attrs.get("derived", (attrs["rows"],))
        key = (id(attrs.get("source", attrs["body"])), derived, *map(id, node.inputs))
        if key in saving:
            others[node] = saving[key]
            context.moved(graph, node, f"merged with {title(saving[key])}", LAW)
    replacements = {}
    for item in graph.nodes:
        if item.op.name == "item" and item.inputs[0] in others:
            with drawing(None):
                same = item.op(others[item.inputs[0]], index=item.attrs["index"])
            replacements[item] = like(same, item)
    return substitute(graph, replacements)


def kinds_of(graph: Graph) -> dict[Node, Hashable]:
    """Return for each loop what loops must have in common to take the same steps.

    That is how they run, and an equal number of steps: not equal by chance, as that of a graph may
    be which is then resized, but because something makes them equal.
    """
    lengths = Lengths()
    loops = []
    for node in graph.nodes:
        lengths.add(node)
        if node.op is loop:
            loops.append(node)
    return {node: (*_way(node), *map(lengths.find, _sequences(node)[:1])) for node in loops}


def _way(node: Node) -> tuple[Hashable, ...]:
    """Return how a loop runs: its direction, and what stops it."""
    attrs = node.attrs
    flags = [attrs.get(key, False) for key in ("reverse", "until", "bounded", "counted")]
    shared, states, _ = ports_of(attrs).split(node.inputs)
    steering = shared[:1] if attrs.get("counted") else states[:2] if attrs.get("until") else []
    return (*flags, attrs["length"], *[same_source(x) for x in steering])


def _sequences(node: Node) -> list[Node]:
    return ports_of(node.attrs).split(node.inputs)[2]


class Lengths:
    """Which sequences have equally many steps whatever their number is: sets, merged as they grow.

    (Union-find with path halving: Tarjan and van Leeuwen 1984, "Worst-case analysis of set union
    algorithms".) A set is told by a node in it, or by a number of steps that a loop holds.
    """

    def __init__(self) -> None:
        self.parents: dict[Hashable, Hashable] = {}

    def find(self, key: Hashable) -> Hashable:
        parents = self.parents
        while (parent := parents.setdefault(key, key)) is not key:
            parents[key] = key = parents[parent]
        return key

    def join(self, a: Node, b: Hashable) -> None:
        self.parents[self.find(a)] = self.find(b)

    def of_loop(self, node: Node) -> Hashable:
        """Return something that has as many steps as a loop stacks."""
        sequences = _sequences(node)
        if sequences:
            return sequences[0]
        return node if node.attrs["length"] is None else ("steps", node.attrs["length"])

    def add(self, node: Node) -> None:
        """Note what `node` says about lengths."""
        if node.op is loop:
            for xs in _sequences(node):
                self.join(xs, self.of_loop(node))
        elif node.op.name == "item":
            source = node.inputs[0]
            if source.op is loop and node.attrs["index"] >= source.attrs["states"]:
                self.join(node, self.of_loop(source))
            elif source.op.name == "delays":
                self.join(node, source.inputs[0])
        elif node.op.broadcasts and node.spec.ndim:
            for x in node.inputs:
                if x.spec.ndim == node.spec.ndim and x.spec.shape[0] == node.spec.shape[0] != 1:
                    self.join(x, node)


def rounds(graph: Graph, kinds: Mapping[Node, Hashable]) -> list[list[Node]]:
    """Return the loops in `kinds` in rounds of one kind, of which none waits for a later one.

    All that can be computed is, until only loops are left to go on with; of these, all of one kind
    are a round (Kahn 1962, "Topological sorting of large networks"). A kind of which no loop is
    still to come goes first. As rounds come one after the other, no loop made of one can wait for
    itself, however many are made at once.
    """
    waiting = {node: len(set(node.inputs)) for node in graph.nodes}
    users: dict[Node, list[Node]] = {node: [] for node in graph.nodes}
    for node in graph.nodes:
        for x in set(node.inputs):
            users[x].append(node)
    left = Counter(kinds.values())
    ready: dict[Hashable, list[Node]] = {}
    found: list[list[Node]] = []
    free = [node for node, count in waiting.items() if not count]
    while free or ready:
        while free:
            node = free.pop()
            if node in kinds:
                ready.setdefault(kinds[node], []).append(node)
            else:
                free += _released(node, users, waiting)
        if ready:
            whole = [kind for kind, nodes in ready.items() if len(nodes) == left[kind]]
            kind = whole[0] if whole else next(iter(ready))
            found.append(sorted(ready.pop(kind), key=lambda node: node.serial))
            left[kind] -= len(found[-1])
            for node in found[-1]:
                free += _released(node, users, waiting)
    return found


def _released(
    node: Node, users: Mapping[Node, Sequence[Node]], waiting: dict[Node, int]
) -> list[Node]:
    """Return the users of `node` that wait for nothing else, now that it is computed."""
    for user in users[node]:
        waiting[user] -= 1
    return [user for user in users[node] if not waiting[user]]


@dataclass
class Cluster:
    """Loops that are to be one, and the bytes that each of their inputs brings into a step."""

    members: list[Node]
    sizes: dict[Node, int]


def clusters(graph: Graph, ready: Sequence[Node], context: Context) -> list[list[Node]]:
    """Return which of the loops of a round are to be one: those that share their inputs or fit.

    Loops that have nothing in common only save what running a loop costs, and each step then goes
    over the weights of all of them: these must all stay close to a core.
    """
    found: list[Cluster] = []
    for node in ready:
        ports = node.attrs["body"].inputs.values()
        sizes = {x: port.spec.nbytes for x, port in zip(node.inputs, ports, strict=True)}
        reasons = [_why_apart(cluster, node, sizes, context.machine) for cluster in found]
        if "" in reasons:
            cluster = found[reasons.index("")]
            cluster.members.append(node)
            cluster.sizes |= sizes
            continue
        if found:
            context.left(graph, node, f"merge with {title(found[0].members[0])}", reasons[0])
        found.append(Cluster([node], sizes))
    return [cluster.members for cluster in found if len(cluster.members) > 1]


def _why_apart(cluster: Cluster, node: Node, sizes: dict[Node, int], machine: Machine) -> str:
    """Return why `node` had better not be one with the loops of `cluster`; empty if it had."""
    related = sizes.keys() <= cluster.sizes.keys() or sizes.keys() >= cluster.sizes.keys()
    if not related and sum((cluster.sizes | sizes).values()) > machine.cache:
        return "they have different inputs, which together are more than the cache holds"
    if node.attrs.get("until") and not _stop_together(cluster.members[0], node):
        return "it is not sure that they stop at the same step"
    return ""


def _stop_together(a: Node, b: Node) -> bool:
    """Whether two loops that their data stop surely do so after the same step."""
    both, (first, _) = side_by_side([a, b])
    classes = numbered(both)[1]
    other = len(first.states)
    return all([classes[i] == classes[other + i] for i in range(2)])


def joined(nodes: Sequence[Node]) -> Parts:
    """Return the parts of one loop that does what `nodes` do.

    All read the number of steps, or whether to go on, of the first.
    """
    whole, (first, *others) = side_by_side(nodes)
    attrs = first.node.attrs
    counts: dict[Entry, Entry] = {}
    stops: dict[Any, State] = {}
    for part in others:
        if attrs.get("counted"):
            counts[part.shared[0]] = first.shared[0]
        if attrs.get("until"):
            stops |= zip(part.states[:2], first.states[:2], strict=True)
    whole.shared = [x for x in whole.shared if x not in counts]
    whole.states = [x for x in whole.states if x not in stops]
    whole.results = {i: stops.get(x, x) for i, x in whole.results.items()}
    whole.rewire({x.port: y.port for x, y in (*counts.items(), *stops.items())})
    return whole


def side_by_side(nodes: Sequence[Node]) -> tuple[Parts, list[Parts]]:
    """Return one loop with the ports and results of all `nodes` in a row, and the parts of each."""
    parts: list[Parts] = []
    taken: set[Node] = set()
    for node in nodes:
        ports = set(node.attrs["body"].inputs.values())
        if ports & taken:  # one body for several loops
            node = with_body(node, {"body": neutral(node.attrs["body"])})
            ports = set(node.attrs["body"].inputs.values())
        taken |= ports
        parts.append(Parts.of(node))
    whole = Parts(
        parts[0].node,
        [x for part in parts for x in part.shared],
        [x for part in parts for x in part.states],
        [x for part in parts for x in part.each],
        [x for part in parts for x in part.collected],
        dict(enumerate([x for part in parts for x in part.results.values()])),
    )
    return whole, parts


register(Pass("merge_loops", LAW, outside_in(merge_loops)))
