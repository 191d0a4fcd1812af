"""Pictures: what they show, that a name is only a text, and what happens without Graphviz."""

import builtins
import html
import os
import re
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd as ag
from autograd.draw import draw, notebook_svg, to_dot, to_svg
from autograd.draw.dot import source_of
from autograd.draw.picture import picture_of, short
from autograd.draw.svg import clean
from autograd.errors import DrawError
from autograd.node import apply
from loops import LoopNode
from tests.samples import SAMPLES, adder, adder_loss, branching, chain, flat, narx, nest, nested
from tests.test_text import Twice, body

pygraphviz = pytest.importorskip("pygraphviz")

ACTIVE = re.compile(
    r"<script|\son\w+\s*=|javascript:|href|foreignobject|<!entity|<image|<use", re.I
)


def kinds(graph: ag.Graph, **options) -> Counter:
    return Counter(box.kind for box in picture_of(graph, **options).boxes)


def arrow_kinds(graph: ag.Graph, **options) -> Counter:
    return Counter(arrow.kind for arrow in picture_of(graph, **options).arrows)


def boxes_of(picture, title):
    return [i for i, box in enumerate(picture.boxes) if box.title == title]


# What is shown.


def test_a_loop_is_a_frame_with_its_body_inside():
    picture = picture_of(adder())
    (frame,) = picture.frames
    assert (frame.title, frame.detail) == ("step", "loop · 8 steps")
    inside = Counter(box.kind for box in picture.boxes if box.frame == 0)
    assert inside == {"op": 6, "each": 1, "state": 1}
    assert kinds(adder()) == {
        "input": 1,
        "parameter": 3,
        "each": 1,
        "state": 1,
        "op": 6,
        "output": 1,
    }


def test_shared_parameters_are_drawn_once_and_reach_in():
    picture = picture_of(nested())
    (w,) = boxes_of(picture, "w")
    assert picture.boxes[w].frame is None
    (arrow,) = [arrow for arrow in picture.arrows if arrow.tail == w]
    assert picture.frames[picture.boxes[arrow.head].frame].title == "columns"


def test_back_arrows_go_from_what_is_fed_to_the_state():
    picture = picture_of(nested())
    backs = {arrow.name: arrow for arrow in picture.arrows if arrow.kind == "back"}
    assert set(backs) == {"s", "h"}
    assert picture.boxes[backs["h"].tail].title == "h_next"
    assert picture.boxes[backs["h"].head].kind == "state"
    assert picture.boxes[backs["s"].tail].detail == ["× 0.5"]
    assert 'style="dashed"' in to_dot(nested())


def test_sequences_and_stacks_look_different_from_shared_values():
    assert arrow_kinds(adder())["each"] == arrow_kinds(adder())["stacked"] == 1
    assert arrow_kinds(nested())["initial"] == 1
    assert kinds(nested())["each"] == 2


def test_initial_zeros_are_said_in_the_state():
    picture = picture_of(adder())
    assert picture.boxes[boxes_of(picture, "h")[0]].detail == ["starts at 0"]


def test_scalars_are_said_in_the_op():
    details = [box.detail[0] for box in picture_of(flat()).boxes if box.kind == "op"]
    assert details == ["@", "+", "tanh", "× 2", "−", "÷ 3", "[1:3, 0]", "1 −", "sum"]


def test_specs_are_on_the_arrows_and_name_the_rarer_dtypes():
    text = to_dot(branching())
    assert "6×4" in text
    assert "6 bool" in text
    assert "float64 unless said otherwise" in text


@pytest.mark.parametrize(
    ("depth", "frames", "folded"), [(0, 0, 1), (1, 1, 1), (2, 2, 0), (None, 2, 0)]
)
def test_deeper_bodies_are_folded(depth, frames, folded):
    assert len(picture_of(nested(), depth).frames) == frames
    assert kinds(nested(), depth=depth)["folded"] == folded


def test_bodies_of_a_branch_have_frames_of_their_own_and_one_result():
    picture = picture_of(branching())
    assert [(f.title, f.parent) for f in picture.frames] == [
        ("walk", None), ("cond", 0), ("cond.if_false", 1), ("cond.if_true", 1)
    ]  # fmt: skip
    assert kinds(branching())["merge"] == kinds(branching())["control"] == 1
    assert arrow_kinds(branching())["steer"] == 1
    assert arrow_kinds(branching())["result"] == 2


def test_any_op_with_bodies_is_drawn():
    x, y = ag.input("x", (2,)), ag.input("y", (2,))
    node = apply(Twice("twice"), (x, y), {"first": body("a"), "second": body("b"), "n": 3})
    picture = picture_of(ag.Graph([x, y], {"z": node}))
    assert [frame.title for frame in picture.frames] == ["twice", "a", "b"]
    assert picture.frames[0].detail == "twice · n=3"
    assert Counter(box.kind for box in picture.boxes)["state"] == 1


def test_the_unrolled_graph_has_one_frame_a_step():
    graph = adder(3).unroll()
    assert [frame.title for frame in picture_of(graph).frames] == ["step[0]", "step[1]", "step[2]"]
    assert arrow_kinds(graph)["step"] == 2


def test_steps_of_nested_loops_nest():
    frames = picture_of(nested().unroll()).frames
    assert len(frames) == 5 + 5 * 3
    titles = [
        (f.title, f.parent and frames[f.parent].title) for f in frames if f.parent is not None
    ]
    assert ("columns[2]", "rows[4]") in titles


@pytest.mark.parametrize("sample", [lambda: adder(5), lambda: narx().resize(x=(5, 3))])
def test_steps_stand_side_by_side_in_their_order(sample):
    unrolled = sample().unroll()
    picture = picture_of(unrolled)
    svg = to_svg(unrolled)
    across = {
        m[1]: float(m[2]) for m in re.finditer(r'id="n(\d+)"[^§]*?<text[^>]* x="([-\d.]+)"', svg)
    }
    steps: dict[int, list[float]] = {}
    for i, box in enumerate(picture.boxes):
        if box.frame is not None:
            steps.setdefault(box.frame, []).append(across[str(i)])
    middles = [sum(xs) / len(xs) for _, xs in sorted(steps.items())]
    assert len(middles) == 5
    assert middles == sorted(middles)


def test_forward_and_backward_are_told_apart():
    picture = picture_of(adder_loss().grad())
    assert {box.title: box.backward for box in picture.boxes if box.kind == "output"} == {
        "loss": False, "grad_u": True, "grad_w": True, "grad_v": True
    }  # fmt: skip
    assert {f.title: f.backward for f in picture.frames} == {
        "step": False, "step_saved": True, "step_grad": True
    }  # fmt: skip
    assert not any(box.backward for box in picture_of(adder_loss()).boxes)


def test_a_legend_explains_what_is_there():
    text = to_dot(adder_loss().grad(), legend=True)
    assert "legend_backward" in text
    assert "legend_state" in text
    assert "legend_control" not in text


def test_drawing_is_deterministic():
    assert to_svg(adder()) == to_svg(adder())


# Names.

NODE = re.compile(r"n\d+")


def named(names: list[str]) -> ag.Graph:
    """A graph in which users' names stand wherever they can."""
    a, b, c, d, e = names
    x = ag.input(a, (3, 2))
    with LoopNode(b) as loop:
        row = loop.each(x, c)
        state = loop.branch(d, ag.constant(np.zeros(2)))
        loop.feed(state, ag.tanh(row + state).named(e))
        last = loop.final(state)
    return ag.Graph([x], {a: last}, name=b)


def visible_text(label: str) -> str:
    """Return what a reader sees of an HTML-like label."""
    text = label.replace("<BR/>", "\n")
    return html.unescape(re.sub(r"<[^>]*>", "", text)).replace("\\\\", "\\")


HOSTILE = [
    '"', "\\", "\\N", "\\", "a\\", "<b>bold</b>", "<<b>x</b>>", "<script>alert(1)</script>", "\0",
    "\x01\x1f\x7f", "a\nb\r\nc", "];}", '"];evil[label="', "&lt;&#60;&amp;", "&", "javascript:x",
    "n17", "‮abc", "\u2028", "\ud800", "\ufffe\uffff", "\x85", "x" * 100_000, "", "-->", "]]>",
    "日本語", "💥", "step[3].h", "[0].[1].", "a[1].b[2].c", "{a|b}", "%n", "\\l\\r", "url", " ",
]  # fmt: skip


def check_names(names: list[str]) -> None:
    graph = named(names)
    picture = picture_of(graph)
    source = source_of(picture)
    parsed = pygraphviz.AGraph(string=source.text)
    own = [n for n in parsed.nodes() if NODE.fullmatch(n)]
    assert len(own) == len(picture.boxes)
    assert all(NODE.fullmatch(n) or n.startswith("mark") for n in parsed.nodes())
    edges = [e for e in parsed.edges() if not e[0].startswith("mark")]
    assert len(edges) == len(picture.arrows)
    for i, box in enumerate(picture.boxes):
        attrs = parsed.get_node(f"n{i}").attr
        if box.title:
            assert visible_text(attrs["label"]).split("\n")[0] == short(box.title)
        assert not any(attrs[key] for key in ("URL", "href", "tooltip", "image", "target"))


@given(st.lists(st.text(), min_size=5, max_size=5))
@settings(max_examples=int(os.environ.get("LOOPGRAD_NAMES", "300")) // 5 or 1)
def test_any_name_is_only_a_text(names):
    check_names(names)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_only_texts(name):
    check_names([name, name + "1", name, name + "2", name])


def check_svg(svg: str) -> ElementTree.Element:
    assert not ACTIVE.search(re.sub(r">[^<]*<", "><", svg))
    assert not re.search(r"<script|<foreignobject", svg, re.I)
    root = ElementTree.fromstring(svg)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "g", "title", "desc", "path", "polygon", "polyline", "ellipse", "text"}
    return root


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 4))
def test_svg_of_hostile_names_is_sound(start):
    names = (HOSTILE[start : start + 4] + HOSTILE[:5])[:5]
    graph = named(names)
    root = check_svg(to_svg(graph))
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    for name in names[2:3] + names[4:5]:
        if short(name).strip():
            assert any(short(name).replace("\xa0", " ").strip() == (t or "").strip() for t in texts)


@given(st.lists(st.text(max_size=40), min_size=5, max_size=5))
@settings(max_examples=int(os.environ.get("LOOPGRAD_NAMES", "15")) // 15 or 1)
def test_svg_of_any_name_is_sound(names):
    check_svg(to_svg(named(names)))


def test_what_is_no_shape_or_text_is_cleaned_away():
    evil = (
        '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x"><svg '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'onload="evil()"><script>evil()</script><g id="n0" onclick="evil()"><title>n0</title>'
        '<a xlink:href="javascript:evil()"><text>x</text></a><foreignObject/><style>*{}</style>'
        '<text style="x" x="1">shown</text><image href="http://x"/></g></svg>'
    )
    svg = clean(evil.encode(), picture_of(flat()))
    assert "evil" not in svg
    assert "shown" in svg
    check_svg(svg)


def test_what_is_no_xml_is_refused():
    with pytest.raises(DrawError, match="not well-formed"):
        clean(b"<svg>", picture_of(flat()))


def test_boxes_say_what_they_are_to_those_who_point_at_them():
    svg = to_svg(adder())
    assert "<title>graph adder</title>" in svg
    assert "<title>input xs: float64[8, 1, 2]</title>" in svg
    assert "<title>matmul_1: matmul float64[1, 16]</title>" in svg


# Files.

MAGIC = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph"}


@pytest.mark.parametrize("suffix", MAGIC)
def test_the_suffix_chooses_the_format(suffix, tmp_path):
    path = tmp_path / f"a b.{suffix.upper()}"
    assert adder().draw(path) is None
    assert path.read_bytes().startswith(MAGIC[suffix])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_draws(name):
    check_svg(SAMPLES[name]().draw())


@pytest.mark.parametrize("direction", ["down", "up", "left", "right"])
def test_directions(direction):
    check_svg(adder().draw(direction=direction))


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    with pytest.raises(DrawError, match=r"\.svg, \.png, \.pdf, \.dot"):
        adder().draw(tmp_path / "a.gif")


def test_an_unknown_direction_is_refused():
    with pytest.raises(DrawError, match="down, up, right, left"):
        adder().draw(direction="sideways")


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(DrawError, match=r"cannot write '.*missing.x\.svg'"):
        adder().draw(tmp_path / "missing" / "x.svg")


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "x.dot"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(DrawError, match="disk full"):
        adder().draw(path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_too_many_boxes_are_refused_at_once():
    with pytest.raises(DrawError, match=r"more than 1500 boxes; fold bodies with depth=0"):
        chain(4000).draw()
    assert "raise limit" in notebook_svg(chain(4000))


def test_dot_has_no_limit_and_no_recursion():
    graph, deep = chain(20_000), nest(200)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(120)
    try:
        text, nested_text = to_dot(graph), to_dot(deep)
    finally:
        sys.setrecursionlimit(limit)
    assert text.count(" -> ") == 30_001
    assert nested_text.count("subgraph cluster_") == 200


# Without a renderer.


@pytest.fixture
def without(monkeypatch):
    """Make imports of some modules fail."""

    def hide(*names: str) -> None:
        original = builtins.__import__

        def importing(name, *args, **kwargs):
            if name in names:
                raise ImportError(name)
            return original(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", importing)

    return hide


def test_without_graphviz_the_source_is_written_and_the_error_helps(tmp_path, without):
    without("pygraphviz", "graphviz")
    with pytest.raises(DrawError, match=r"pip install 'loopgrad\[draw\]'.*written to '.*a\.dot'"):
        adder().draw(tmp_path / "a.png")
    assert (tmp_path / "a.dot").read_text() == to_dot(adder())


def test_without_graphviz_a_notebook_says_why(without):
    without("pygraphviz", "graphviz")
    svg = adder()._repr_svg_()
    check_svg(svg.replace("<rect", "<path"))
    assert "loopgrad[draw]" in svg


def test_notebooks_show_the_picture():
    assert adder()._repr_svg_() == to_svg(adder())


def test_without_the_program_dot_it_is_as_if_nothing_were_there(without, monkeypatch):
    pytest.importorskip("graphviz")
    without("pygraphviz")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DrawError, match="no Graphviz was found"):
        adder().draw()


def test_the_program_dot_is_used_where_pygraphviz_is_missing(without, monkeypatch, tmp_path):
    """The package `graphviz` calls `dot` twice: to lay out, and to draw the late arrows."""
    graphviz = pytest.importorskip("graphviz")
    without("pygraphviz")
    calls = []

    def pipe(self, format=None, neato_no_op=None):
        calls.append((self.engine, format, neato_no_op))
        return pygraphviz.AGraph(string=self.source).draw(
            format=format, prog="nop2" if neato_no_op else "dot"
        )

    monkeypatch.setattr(graphviz.Source, "pipe", pipe)
    check_svg(adder().draw())
    check_svg(flat().draw())
    assert calls == [("dot", "dot", None), ("neato", "svg", 2), ("dot", "svg", None)]


def test_a_program_that_fails_is_reported(without, monkeypatch):
    graphviz = pytest.importorskip("graphviz")
    without("pygraphviz")

    def pipe(self, **options):
        raise graphviz.CalledProcessError(1, "dot", stderr=b"bad")

    monkeypatch.setattr(graphviz.Source, "pipe", pipe)
    with pytest.raises(DrawError, match="could not draw"):
        adder().draw()


def test_a_crash_of_graphviz_is_an_error_and_no_crash_of_ours(monkeypatch):
    module = sys.modules["autograd.draw.render"]
    monkeypatch.setattr(module, "_CHILD", "import os; os.abort()")
    with pytest.raises(DrawError, match="it ended with -6; try another depth"):
        adder().draw()


def test_draw_is_the_method_of_graphs(tmp_path: Path):
    draw(adder(), tmp_path / "x.dot", depth=0)
    assert "folded" in (tmp_path / "x.dot").read_text()
