"""The C++ article's first loop, and the nested one it got wrong: `python -m demos.loop_of_squares`.

A 2x2 parameter p of ones: s_0 is the sum of its squares, and a loop squares it three times more.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import autograd as ag
import nn
from autograd.spec import Array
from demos.showing import picture
from loops import LoopNode

RATE = 0.01


def squares() -> ag.Graph:
    """Return the virtual graph of s_0 and of the loop from s_0 to s_3."""
    p = ag.parameter("p", np.ones((2, 2)))
    first = ag.sum(p * p).named("s_0")
    with LoopNode("squares", length=3) as loop:
        before = loop.branch("s", first)
        after = (before * before).named("square")
        loop.feed(before, after)
        rest = loop.collect(after, "rest")
        last = loop.final(before)
    return ag.Graph([], {"first": first, "rest": rest, "last": last}, name="loop_of_squares")


def gradients(graph: ag.Graph) -> dict[str, Array]:
    """Return the gradients of s_3 with respect to s_2, s_1, s_0 and p."""
    unrolled = graph.unroll()
    wrt = {
        "s_2": unrolled["squares[1].square"],
        "s_1": unrolled["squares[0].square"],
        "s_0": unrolled["s_0"],
        "p": unrolled["p"],
    }
    return ag.Graph([], ag.grad(unrolled.outputs["last"], wrt)).run()


def doublings() -> ag.Graph:
    """Return a loop of 2 steps around a loop of 3 that doubles: six nodes, and 64 for 1."""
    start = ag.input("start")
    with LoopNode("outer", length=2) as outer:
        x = outer.branch("x", start)
        with LoopNode("inner", length=3) as inner:
            y = inner.branch("y", x)
            inner.feed(y, (2.0 * y).named("double"))
            doubled = inner.final(y)
        outer.feed(x, doubled)
        last = outer.final(x)
    return ag.Graph([start], {"last": last}, name="doublings")


def main(argv: Sequence[str] | None = None) -> None:
    """Print values, gradients and one step of SGD; then the nested loop."""
    parser = argparse.ArgumentParser(prog="demos.loop_of_squares", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/loop_of_squares"), help="folder")
    parser.add_argument("--quick", action="store_true", help="without pictures")
    options = parser.parse_args(argv)
    graph = squares()
    print(graph)
    results = graph.run()
    values = [float(results["first"]), *map(float, results["rest"])]
    print("values:", ", ".join(f"s_{k} = {value:g}" for k, value in enumerate(values)))
    found = gradients(graph)
    for name, gradient in found.items():
        print(f"ds_3/d{name} = {np.unique(gradient)[0]:g}" + (" each" if gradient.ndim else ""))
    p = graph.parameters["p"]
    nn.SGD([p], RATE).step([found["p"]])
    print(f"p after one step of SGD at {RATE}: {np.unique(p.value)[0]:g} each")
    nested = doublings()
    names = [name for name in nested.unroll().names.values() if name.endswith("double")]
    last = nested.run(start=1.0)["last"]
    print(f"nested loops: {last:g} by {len(names)} nodes: {', '.join(names)}")
    if not options.quick:
        picture(graph, options.out / "virtual.svg", "virtual graph")
        picture(graph.unroll(), options.out / "unrolled.svg", "computation graph, unrolled")
        picture(nested, options.out / "nested.svg", "nested loops")


if __name__ == "__main__":
    main()
