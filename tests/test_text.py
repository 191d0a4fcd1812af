"""Graphs as text: golden files, and what no golden file can hold."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd as ag
from autograd.draw.label import attribute, constant_text, quoted, visible
from autograd.op import Exit, Op, Port
from autograd.spec import Spec
from tests.samples import SAMPLES, chain, nest

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", SAMPLES)
def test_text_is_that_of_the_golden_file(name: str):
    """Write the files anew with LOOPGRAD_WRITE_GOLDEN=1, and read the difference."""
    text = str(SAMPLES[name]()) + "\n"
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("LOOPGRAD_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_training_does_not_change_the_text():
    graph = SAMPLES["adder"]()
    before = str(graph)
    for p in graph.parameters.values():
        p.value = p.value + 1.0
    assert str(graph) == before


def test_one_more_node_is_one_more_line():
    x = ag.input("x", (2,))
    y = ag.tanh(x).named("y")
    short = str(ag.Graph([x], {"y": y})).splitlines()
    long = str(ag.Graph([x], {"y": ag.tanh(x).named("z") * y})).splitlines()
    assert len(long) == len(short) + 2
    assert [line for line in short if line not in long] == ["  output y"]


class Twice(Op):
    """Holds two bodies and says `operand` and `result`, as no op of the library does."""

    def infer(self, *specs, **attrs):
        return specs[0]

    def bodies(self, attrs):
        return (attrs["first"], attrs["second"])

    def ports(self, attrs):
        return (Port("operand", 0, 0, 0), Port("state", 1, 0, 1, fed_by=0)), (
            Exit("result", 0, 0, 0),
            Exit("final", 0, 0, 1),
        )


def body(name: str) -> ag.Graph:
    s = ag.input("s", (2,))
    return ag.Graph([s], {"r": ag.tanh(s)}, name=name)


def test_any_op_with_bodies_is_printed_with_its_ports():
    from autograd.node import apply

    x, y = ag.input("x", (2,)), ag.input("y", (2,))
    node = apply(Twice("twice"), (x, y), {"first": body("a"), "second": body("b c"), "n": 3})
    assert str(ag.Graph([x, y], {"z": node})) == (
        "graph graph:\n"
        "  input x: float64[2]\n"
        "  input y: float64[2]\n"
        "  twice_1 = twice(x, y) n=3 -> float64[2]:\n"
        "    body 0 a:\n"
        "      operand s: float64[2] <- x\n"
        "      tanh_1 = tanh(s): float64[2]\n"
        "      result twice_1 <- tanh_1\n"
        '    body 1 "b c":\n'
        "      state s: float64[2] <- y, then tanh_1\n"
        "      tanh_1 = tanh(s): float64[2]\n"
        "      final twice_1 <- tanh_1\n"
        "  output z = twice_1"
    )


@given(st.text())
def test_any_name_stays_on_one_line_and_can_be_read_back(name: str):
    shown = visible(name)
    assert shown.isprintable()
    assert shown == "" or len(shown.splitlines()) == 1
    plain = shown.encode("unicode_escape").replace(b"\\\\", b"\\").decode("unicode_escape")
    assert plain.encode("utf-16", "surrogatepass") == name.encode("utf-16", "surrogatepass")


@given(st.text(), st.text())
def test_different_names_are_quoted_differently(a: str, b: str):
    assert (quoted(a) == quoted(b)) == (a == b)


def test_attributes_are_short():
    assert attribute(("slice", 1, None, 2)) == "1::2"
    assert attribute((("slice", None, 3, None), 0)) == "(:3, 0)"
    assert attribute((1,)) == "(1,)"
    assert attribute("float64") == "float64"
    assert attribute("a b") == '"a b"'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.1), "0.1"),
        (np.array([True, False]), "[True, False]"),
        (np.zeros((3, 4)), "all 0.0"),
        (np.array([0.0, -0.0]), "[0.0, -0.0]"),
        (np.full(9, np.nan), "all nan"),
        (np.zeros((0, 2)), "[]"),
    ],
)
def test_constants_are_short(value, text: str):
    assert constant_text(np.asarray(value)) == text


def test_big_constants_that_differ_are_told_apart():
    a = np.arange(100.0)
    b = a.copy()
    b[50] = np.nextafter(50, 51)
    assert constant_text(a).startswith("[0.0, 1.0, 2.0, ...] sha256=")
    assert constant_text(a) != constant_text(b)
    assert constant_text(a) == constant_text(a.astype(">f8"))


def test_scalars_carry_a_dtype_where_nothing_else_tells():
    x = ag.input("x", (2,), np.float32)
    y = ag.Graph([x], {"y": x * 2.0, "c": ag.constant(np.float32(3))})
    text = str(y)
    assert "multiply(x, 2.0): float32[2]" in text
    assert "output c = 3.0:float32" in text


def test_long_chains_and_deep_nests_print_without_recursion():
    graph, deep = chain(20_000), nest(200)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(120)
    try:
        text, nested = str(graph), str(deep)
    finally:
        sys.setrecursionlimit(limit)
    assert text.count("\n") == 20_002
    assert "level199 = loop" in nested


def test_spec_is_what_is_printed():
    assert str(Spec((8, 1, 2), np.dtype("float64"))) == "float64[8, 1, 2]"
