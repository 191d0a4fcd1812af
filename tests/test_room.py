"""Requests for more memory than there is fail before they hurt, and say what for."""

import math

import numpy as np
import pytest

import autograd as ag
from autograd import room
from autograd.backend import for_running
from loops import LoopNode, scan

LIMITED = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (2 * 1024**3, 2 * 1024**3))
import numpy as np
import autograd as ag
from loops import scan

def loss(w, h):
    h, _ = scan(lambda h, _: (ag.tanh(h * w), None), h, length=1_000_000, name="rnn")
    return h.sum()

graph = ag.trace(loss, (1000,), (1000,))
feed = {"w": np.ones(1000), "h": np.ones(1000)}
x = ag.tensor(np.ones((20_000, 1)))
y = ag.input("y", (20_000, 1))
outer = ag.Graph(y, {"square": (y * ag.swapaxes(y, 0, 1)).named("square")})
start = time.perf_counter()
for what, request in {
    "loop": lambda: graph.grad(wrt=["w"]).select("grad_w").run(**feed),
    "eager": lambda: x * ag.swapaxes(x, 0, 1),
    "graph": lambda: outer.run(y=x),
}.items():
    try:
        request()
    except MemoryError as error:
        print(what, isinstance(error, ag.TooLargeError), error)
print("seconds", time.perf_counter() - start)
grads = graph.grad(wrt=["w"], memory="100MB")
print("fits", ag.Graph.select(grads, "grad_w").outputs["grad_w"].spec)
print("alive", float((x * 2.0).sum()))
"""


@pytest.fixture
def little(monkeypatch):
    """A system with 100 MB left."""
    monkeypatch.setattr(room, "available", lambda: 100e6)


def stacking(steps, start):
    with LoopNode("wide", length=steps) as loop:
        before = loop.branch("h", start)
        after = before * -1.0
        loop.feed(before, after)
        hs = loop.collect(after, "hs")
    return hs


@pytest.mark.reference_only("plans allocate before they run")
def test_under_a_limit_of_2_gb(run_python):
    pytest.importorskip("resource")
    done = run_python("-c", LIMITED)
    assert done.returncode == 0, done.stderr
    loop, eager, graph, seconds, fits, alive = done.stdout.splitlines()
    assert loop.startswith("loop True")
    assert "loop 'rnn_saved', which stacks 1000000 steps" in loop
    assert "(float64[1000000, 1000]), needs " in loop
    assert "memory='...'" in loop
    assert eager.startswith("eager True")
    assert "op 'multiply' of" in eager
    assert "needs 3.2 GB for an array float64[20000, 20000]" in eager
    assert graph.startswith("graph True")
    assert "node 'square'" in graph or "multiply 'square'" in graph
    assert float(seconds.split()[1]) < 5.0
    assert fits == "fits float64[1000]"
    assert alive == "alive 40000.0"


def test_loops_are_refused_before_they_run(little):
    ran = []
    h = ag.input("h", (1000,))
    graph = ag.Graph([h], {"hs": stacking(20_000, h)})
    with pytest.raises(
        ag.TooLargeError,
        match=r"loop 'wide', which stacks 20000 steps of 1 outputs, most of it 'hs' "
        r"\(float64\[20000, 1000\]\), needs 160 MB, but only 100 MB of memory are available",
    ):
        graph.run(h=np.ones(1000), watch=lambda path, value: ran.append(path))
    assert not [path for path in ran if path.startswith("wide[")]


def test_what_fits_is_not_refused(little):
    assert stacking(9_000, np.ones(1000)).value[-1].max() == 1.0


def test_loops_in_loops_are_named_by_their_path(little):
    def step(h, _):
        return h, stacking(20_000, h * np.ones(1000)).sum()

    graph = ag.trace(lambda h: scan(step, h, length=2, name="outer")[1], ())
    path = "wide" if for_running() else r"outer\[0\]\.wide"  # a plan runs it once, before
    with pytest.raises(ag.TooLargeError, match=f"loop '{path}'"):
        graph.run(h=1.0)


def test_checkpoints_are_refused_too(little):
    def loss(w):
        h, _ = scan(lambda h, _: (ag.tanh(h * w), None), np.ones(1000), length=20_000)
        return h.sum()

    graph = ag.trace(loss, (1000,)).grad(wrt=["w"], checkpoints=20_000).select("grad_w")
    with pytest.raises(ag.TooLargeError, match="which keeps 20000 states, needs 160 MB"):
        graph.run(w=np.ones(1000))


def test_other_memory_errors_are_left_as_they_are():
    room.refuse(MemoryError("of the user's own"), "node")
    room.refuse(ValueError(), "node")


def test_what_is_available_is_a_number_of_bytes():
    assert 0 < room.available() <= math.inf
    assert room._lines("/no/such/file") == []
    assert room._number("/no/such/file") == math.inf


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_500, "1.5 kB"),
        (64e6, "64 MB"),
        (3.2e9, "3.2 GB"),
        (8e12, "8 TB"),
        (math.inf, "more memory than can be told before"),
    ],
)
def test_bytes_as_people_write_them(size, text):
    assert room.shown(size) == text
