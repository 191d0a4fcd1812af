"""One contender of `benchmarks.scale`: the chain y = y + y * 1e-6, and for ours its graph."""

import gc
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from serve import import_hips, import_loopgrad, import_torch, serve

Chain = tuple[str, Callable[[int], Any], Callable[[Any], float]]
"""Version, build (nodes -> the end of the chain), backward (the end -> the gradient).

Backward is what users write, so libraries that let go of the graph on the way do so here.
"""


def peak() -> float:
    """Return the peak resident set of this process in MB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1024 * 1024 if sys.platform == "darwin" else 1024)


def chain(x: Any, nodes: int) -> Any:
    y = x
    for _ in range(nodes // 2):
        y = y + y * 1e-6
    return y


class Stopwatch:
    """Names the stretches between calls of `lap`."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self.last
        self.last = time.perf_counter()


def loopgrad() -> Chain:
    ag = import_loopgrad()
    x = ag.tensor(1.0, requires_grad=True)

    def backward(y: Any) -> float:
        y.backward()
        return x.grad.item()

    return "this checkout", lambda nodes: chain(x, nodes), backward


def torch() -> Chain:
    module = import_torch()
    x = module.tensor(1.0, dtype=module.float64, requires_grad=True)

    def backward(y: Any) -> float:
        y.backward()
        return x.grad.item()

    return version("torch"), lambda nodes: chain(x, nodes), backward


def hips() -> Chain:
    import_hips()
    from autograd import make_vjp

    def build(nodes: int) -> Any:
        pull, value = make_vjp(lambda x: chain(x, nodes))(1.0)
        return pull, value

    return version("autograd"), build, lambda built: float(built[0](1.0))


def mygrad() -> Chain:
    import mygrad as mg

    x = mg.tensor(1.0)

    def backward(y: Any) -> float:
        y.backward()
        return float(x.grad)

    return version("mygrad"), lambda nodes: chain(x, nodes), backward


CHAINS = {"loopgrad": loopgrad, "torch": torch, "hips": hips, "mygrad": mygrad}


def run_chain(parts: Chain, nodes: int) -> Any:
    _, build, backward = parts
    before = peak()
    watch = Stopwatch()
    y = build(nodes)
    watch.lap("build")
    gradient = backward(y)
    watch.lap("backward")
    del y
    watch.lap("free")
    return {"laps": watch.laps, "peak": peak(), "before": before, "gradient": gradient}


def run_graph(nodes: int) -> Any:
    """Take a virtual chain through everything that can be done with a graph."""
    ag = import_loopgrad()
    before = peak()
    x = ag.input("x", ())
    watch = Stopwatch()
    y = chain(x, nodes)
    watch.lap("draw nodes")
    graph = ag.Graph([x], {"y": y})
    watch.lap("Graph")
    graph.run(x=1.0)
    watch.lap("run (first)")
    graph.run(x=1.0)
    watch.lap("run (again)")
    gradient = graph.grad(wrt=["x"])
    watch.lap("grad")
    del gradient
    watch.lap("free grad")
    text = str(graph)
    watch.lap("str")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "graph.json")
        graph.save(path)
        watch.lap("save")
        size = os.path.getsize(path)
        loaded = ag.Graph.load(path)
        watch.lap("load")
    del loaded
    watch.lap("free loaded")
    copy = graph.copy()
    watch.lap("copy")
    del copy
    watch.lap("free copy")
    sizes = {"text": len(text), "json": size}
    del graph, x, y
    watch.lap("free")
    return {"laps": watch.laps, "peak": peak(), "before": before, "bytes": sizes}


def run_loop(steps: int, stopped: bool) -> Any:
    """Take value and gradient of h = tanh(h @ w) in 8 numbers: a scan, or a loop that stops."""
    ag = import_loopgrad()
    from loops import scan, while_loop

    w = ag.parameter("w", [[0.1 * ((i * j) % 5) - 0.2 for i in range(8)] for j in range(8)])
    h = ag.tensor([0.1 * i for i in range(8)])

    def final(steps: int) -> Any:
        if not stopped:
            return scan(lambda h, _: (ag.tanh(h @ w + 0.01), None), h, length=steps)[0]
        start = (h, ag.tensor(0))
        return while_loop(
            lambda c: c[1] < steps, lambda c: (ag.tanh(c[0] @ w + 0.01), c[1] + 1), start
        )[0][0]

    final(10).sum().backward()
    w.grad = None
    before = peak()
    watch = Stopwatch()
    y = final(steps).sum()
    watch.lap("value")
    y.backward()
    watch.lap("gradient")
    states = steps * h.spec.nbytes / 2**20
    return {"laps": watch.laps, "peak": peak(), "before": before, "states": states}


def make(name: str) -> tuple[str, Callable[..., Any]]:
    parts = CHAINS[name]()

    def answer(nodes: int, what: str) -> Any:
        gc.collect()
        if what in ("scan", "while_loop"):
            return run_loop(nodes, stopped=what == "while_loop")
        return run_chain(parts, nodes) if what == "chain" else run_graph(nodes)

    return parts[0], answer


serve(make)
