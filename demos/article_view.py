"""Our graphs of the C++ article's network, seen in the article's conventions.

The article draws parameters, inputs and the branch inside the loop, calls a virtual node
`<type>:<id>:` and a computation node `<type>:<id>:<step>:`, and gives every step a node of its own
for each parameter and input. A branch has no edge into it: it chooses its node by name.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import autograd as ag
from demos.article import Article

INITIAL = "Input:init:0:"
"""The zeros that the branch gives to the first step."""

Edge = tuple[str, str]


@dataclass
class View:
    """Names of nodes, in order, and edges between them."""

    nodes: dict[str, None] = field(default_factory=dict)
    branches: dict[str, None] = field(default_factory=dict)
    edges: dict[Edge, None] = field(default_factory=dict)

    def add(self, name: str, inputs: Sequence[str] = ()) -> None:
        for tail in inputs:
            if tail not in self.branches:
                self.nodes.setdefault(tail)
            self.edges[tail, name] = None
        self.nodes.setdefault(name)

    @property
    def sinks(self) -> list[str]:
        """The nodes that no other reads."""
        read = {tail for tail, _ in self.edges}
        return [name for name in self.nodes if name not in read]


def virtual_view(graph: ag.Graph) -> View:
    """Return the article's virtual graph: what the one loop of `graph` has for a body."""
    (loop,) = graph.find(op="loop")
    (body,) = loop.bodies
    ports, _ = loop.op.ports(loop.attrs)
    named: dict[ag.Node, str] = {}
    view = View()
    entries = list(body.inputs.items())
    for port in ports:
        name, node = entries[port.inner]
        if port.kind == "state":
            named[node] = f"{name}:"
            view.branches[named[node]] = None
        else:
            kind = "Parameter" if port.kind == "shared" else "Input"
            named[node] = f"{kind}:{name}:"
    for node in body.nodes:
        if node not in named:
            named[node] = f"{body.names[node]}:"
            view.add(named[node], [named[x] for x in node.inputs])
    return view


def computation_view(graph: ag.Graph) -> View:
    """Return the article's computation graph: every step of the unrolled `graph` laid out."""
    unrolled = graph.unroll()
    (loop,) = graph.find(op="loop")
    ports, _ = loop.op.ports(loop.attrs)
    names = list(loop.bodies[0].inputs)
    each = {names[port.inner] for port in ports if port.kind == "each"}
    view = View()
    for node in unrolled.nodes:
        place = _place(unrolled, node)
        if place is None or place[1] in each:
            continue
        step, name = place
        view.add(f"{name}:{step}:", [_seen_from(unrolled, x, step, each) for x in node.inputs])
    return view


def _place(unrolled: ag.Graph, node: ag.Node) -> tuple[str, str] | None:
    """Return the step and the name in it that the path of a node says: `rnn[3].Add:1`."""
    match = re.fullmatch(r".*\[(\d+)\]\.(.+)", unrolled.names[node])
    return (match[1], match[2]) if match else None


def _seen_from(unrolled: ag.Graph, x: ag.Node, step: str, each: set[str]) -> str:
    """Return how the article calls what a node of `step` reads."""
    place = _place(unrolled, x)
    if place is not None:
        return f"Input:{place[1]}:{step}:" if place[1] in each else f"{place[1]}:{place[0]}:"
    if isinstance(x, ag.Parameter):
        return f"Parameter:{x.name}:{step}:"
    return INITIAL


def main(argv: Sequence[str] | None = None) -> None:
    """Print the sizes the article's program reports, and the edges of its virtual graph."""
    parser = argparse.ArgumentParser(prog="demos.article_view", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="print the sizes only")
    options = parser.parse_args(argv)
    graph = Article(Article.first_seed).graph
    virtual = virtual_view(graph)
    whole = computation_view(graph.select("losses", "last_product"))
    pruned = computation_view(graph.select("losses"))
    print(
        f"virtual graph: {len(virtual.nodes)} virtual nodes, {len(virtual.branches)} branch, "
        f"{len(virtual.edges)} edges"
    )
    print(f"computation graph: {len(whole.nodes)} nodes, {len(whole.edges)} edges")
    print(f"pruned to the losses: {len(pruned.nodes)} nodes")
    print(f"pruned away: {', '.join(name for name in whole.nodes if name not in pruned.nodes)}")
    if not options.quick:
        for tail, head in virtual.edges:
            print(f"    {tail} -> {head}")


if __name__ == "__main__":
    main()
