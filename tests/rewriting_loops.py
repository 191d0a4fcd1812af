"""What the tests of passes over loops have in common: small graphs, and passes that are checked."""

import textwrap

import autograd as ag
from autograd.rewrite.cost import NUMPY
from loops import LoopNode, scan
from tests.rewriting import after, after_with_moves, same_results

MERGING = ("merge_loops", "merge_states", "trim_ports", "cse")
ALL = (*MERGING, "invariants", "history", "trim_ports", "cse")


def inputs(steps=4):
    """Return xs (T, 2), h (2,) and w (2, 2)."""
    return ag.input("xs", (steps, 2)), ag.input("h", (2,)), ag.input("w", (2, 2))


def graph_of(given, **outputs):
    return ag.Graph(list(given), outputs, name="g", allow_unused=True)


def rewritten(graph, *names, order=2, machine=NUMPY, given=None):
    """Return the graph after passes, having checked that its results stayed."""
    found = after(graph, *names, machine=machine)
    same_results(graph, found, order, tolerance=1e-11, inputs=given)
    return found


def text(graph):
    return str(graph).split("\n", 1)[1]


def written(lines):
    return textwrap.indent(textwrap.dedent(lines).strip("\n"), "  ")


def loops_of(graph):
    return [path for path, _, node in graph.walk() if node.op.name == "loop"]


def why_not(graph, *names, machine=NUMPY):
    moves = after_with_moves(graph, *names, machine=machine)[1].moves
    return [move.why_not for move in moves if move.why_not]


def rnn(xs, h, w, name="rnn", reverse=False):
    """Return the last state and the states after each step."""

    def step(a, x):
        new = ag.tanh(x + a @ w)
        return new, new

    return scan(step, h, xs, name=name, reverse=reverse)


def stopping(xs, h, w, limit, name="until"):
    """Return the last state, what is collected and the number of steps of a loop that stops."""
    with LoopNode(name) as loop:
        x, a = loop.each(xs), loop.branch("a", h)
        new = ag.tanh(x + a @ w)
        loop.feed(a, new)
        loop.until(ag.abs(new).sum() > limit)
        ys = loop.collect(new * limit)
    return loop.final(a), ys, loop.steps
