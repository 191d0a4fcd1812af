"""Graphs as files: the round trip, hostile files, and that loading does nothing but read."""

import base64
import hashlib
import json
import os
import sys
import textwrap
import time
import tracemalloc

import numpy as np
import pytest

import autograd as ag
from autograd.custom import custom_vjp
from autograd.errors import FormatError
from autograd.export.json import dumps, load, loads, save
from autograd.node import apply, items
from loops import LoopNode
from tests.cases import CASES
from tests.cases_delays import CASES as DELAYS
from tests.cases_fused import CASES as FUSED
from tests.cases_structural import CASES as STRUCTURAL
from tests.samples import SAMPLES, adder, adder_loss, chain, flat, nest, nested

# The round trip.


def inputs_for(graph: ag.Graph) -> dict:
    rng = np.random.default_rng(0)
    return {
        name: (rng.normal(size=node.shape) * 2).astype(node.dtype)
        for name, node in graph.inputs.items()
    }


@pytest.mark.parametrize("name", SAMPLES)
def test_a_loaded_graph_is_the_saved_one(name, tmp_path):
    graph = SAMPLES[name]()
    graph.save(tmp_path / "g.json")
    loaded = ag.Graph.load(tmp_path / "g.json")
    assert str(loaded) == str(graph)
    assert dumps(loaded) == dumps(graph)
    values = inputs_for(graph)
    before, after = graph.run(**values), loaded.run(**values)
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key], strict=True)


def test_gradients_of_a_loaded_graph_are_the_same():
    graph = adder_loss()
    loaded = loads(dumps(graph))
    assert str(loaded.grad()) == str(graph.grad())
    values = inputs_for(graph)
    before, after = graph.grad().run(**values), loaded.grad().run(**values)
    for key in before:
        np.testing.assert_array_equal(before[key], after[key], strict=True)


def test_second_gradients_can_be_saved():
    graph = adder_loss(2).grad()
    scalar = ag.Graph(graph.inputs, {"s": ag.sum(graph.outputs["grad_u"])}, name="second").grad()
    assert str(loads(dumps(scalar))) == str(scalar)


def test_a_loaded_graph_has_parameters_of_its_own():
    graph = adder()
    loaded = loads(dumps(graph))
    before = graph.parameters["u"].value
    loaded.parameters["u"].value = np.zeros((2, 16))
    np.testing.assert_array_equal(graph.parameters["u"].value, before)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint64", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3), (1, 0, 2)])
def test_every_dtype_and_shape_is_kept(dtype, shape):
    value = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    x = ag.input("x", shape, dtype)
    graph = ag.Graph([x], {"x": x, "c": ag.constant(value)})
    result = loads(dumps(graph)).run(x=value)
    np.testing.assert_array_equal(result["c"], value, strict=True)


def test_bits_of_values_are_kept():
    value = np.array([-0.0, np.nan, np.inf, -np.inf, 5e-324, 0.1])
    graph = ag.Graph([], {"y": ag.parameter("p", value) * 1.0})
    assert loads(dumps(graph)).parameters["p"].value.tobytes() == value.tobytes()
    swapped = ag.Graph([], {"y": ag.constant(value.astype(">f8")) * 1.0})
    assert dumps(swapped) == dumps(ag.Graph([], {"y": ag.constant(value) * 1.0}))


def test_infinite_attributes_are_kept():
    x = ag.input("x", (2,))
    y = ag.clip(x, -np.inf, 1.0)
    graph = ag.Graph([x], {"y": y})
    assert str(loads(dumps(graph))) == str(graph)


def test_structure_of_a_traced_function_is_kept():
    graph = ag.trace(lambda a, b: {"s": (a + b, [a]), 3: b}, (2,), (2,))
    result = loads(dumps(graph))(np.ones(2), np.zeros(2))
    assert list(result) == ["s", 3]
    assert type(result["s"]) is tuple
    assert type(result["s"][1]) is list


def test_inputs_that_are_not_tracked_stay_so():
    for name in ("adder_gradient", "branching"):
        graph = SAMPLES[name]()
        loaded = loads(dumps(graph))
        marks = {path: (node.tracked, node.pulled) for path, _, node in graph.walk()}
        assert marks == {path: (node.tracked, node.pulled) for path, _, node in loaded.walk()}


def test_bodies_are_shared_as_they_were():
    graph = adder()
    (loop,) = graph.find(op="loop")
    again = items(apply(loop.op, loop.inputs, loop.attrs))[1]
    twice = ag.Graph(graph.inputs, {"a": graph.outputs["ys"], "b": again})
    assert [table["name"] for table in json.loads(dumps(twice))["graphs"]] == ["step", "graph"]
    loaded = loads(dumps(twice))
    first, second = loaded.find(op="loop")
    assert first.bodies[0] is second.bodies[0]


@pytest.mark.parametrize("name", ["a\nb", "\0", "‮", "add_7", "x:0", "日本", '"', "", " "])
def test_any_name_that_is_text_is_kept(name):
    x = ag.input("x" + name, (2,))
    y = ag.tanh(x * x).named(name)
    graph = ag.Graph([x], {"y" + name: y + 1.0})
    assert str(loads(dumps(graph))) == str(graph)


OP_CASES = {str(case): case for case in [*CASES, *STRUCTURAL, *DELAYS, *FUSED]}


@pytest.mark.parametrize("name", OP_CASES)
def test_every_op_is_kept(name):
    case = OP_CASES[name]
    arrays = case.samples[0](np.random.default_rng(0))
    xs = [ag.input(f"x{i}", np.shape(x), np.asarray(x).dtype) for i, x in enumerate(arrays)]
    result = case.fn(*xs)
    results = result if isinstance(result, tuple) else (result,)
    outputs = {f"y{i}": y for i, y in enumerate(results)}
    graph = ag.Graph(xs, outputs, name=name, allow_unused=True)
    assert str(loads(dumps(graph))) == str(graph)


def test_an_input_drawn_under_another_name_keeps_both():
    x = ag.input("x", (2,))
    graph = loads(dumps(ag.Graph({"outer": x}, {"y": x * 2.0})))
    assert graph.inputs["outer"].name == "x"


def test_chains_and_nests_are_saved_and_loaded_without_recursion(tmp_path):
    graph, deep = chain(20_000), nest(200)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(120)
    try:
        graph.save(tmp_path / "chain.json")
        long = ag.Graph.load(tmp_path / "chain.json")
        nested_again = loads(dumps(deep))
    finally:
        sys.setrecursionlimit(limit)
    assert len(long.nodes) == len(graph.nodes)
    assert str(nested_again) == str(deep)


def test_saving_takes_linear_time():
    def seconds(n: int) -> float:
        graph = chain(n)
        start = time.perf_counter()
        loads(dumps(graph))
        return time.perf_counter() - start

    seconds(1000)
    assert seconds(20_000) < 25 * max(seconds(2_000), 0.01)


# What cannot be saved.


def test_ops_of_ones_own_cannot_be_saved():
    @custom_vjp
    def mine(x):
        return x * 2

    x = ag.input("x", (2,))
    with pytest.raises(FormatError, match="op 'mine', which is not one of LoopGrad's own"):
        dumps(ag.Graph([x], {"y": mine(x)}))


def test_attributes_that_are_no_data_cannot_be_saved():
    x = ag.input("x", (2,))
    node = ag.tanh(x)
    node.attrs = {"f": len}
    with pytest.raises(FormatError, match="attribute of type builtin_function_or_method"):
        dumps(ag.Graph([x], {"y": node}))


def test_names_that_are_no_text_cannot_be_saved():
    x = ag.input("\ud800", (2,))
    with pytest.raises(FormatError, match=r"'\\ud800' \(1 characters\) cannot be saved"):
        dumps(ag.Graph([x], {"y": x * 2.0}))


def test_structures_with_odd_keys_cannot_be_saved():
    graph = ag.trace(lambda a: {(1, 2): a}, (2,))
    with pytest.raises(FormatError, match="a key of type tuple"):
        dumps(graph)


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"cannot write '.*missing.x\.json'"):
        save(flat(), tmp_path / "missing" / "x.json")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "g.json"
    save(flat(), path)
    old = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda *a: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(FormatError, match="disk full"):
        save(adder(), path)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["g.json"]


# Damage.


def test_every_flipped_bit_is_noticed():
    x = ag.input("x", (2,))
    data = dumps(ag.Graph([x], {"y": ag.tanh(x * ag.parameter("p", [1.0, 2.0]))})).encode()
    for i in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[i] ^= 1 << bit
            with pytest.raises(FormatError):
                loads(bytes(damaged))


def test_every_truncation_is_noticed():
    data = dumps(flat()).encode()
    for length in range(len(data)):
        with pytest.raises(FormatError):
            loads(data[:length])


def test_the_error_names_the_file(tmp_path):
    path = tmp_path / "bad\nname.json"
    path.write_bytes(dumps(flat()).encode().replace(b"tanh", b"sinh"))
    with pytest.raises(FormatError, match=r"cannot load '.*bad\\x0aname.json': its sha256"):
        load(path)
    with pytest.raises(FormatError, match=r"missing': it cannot be read: No such file"):
        load(tmp_path / "missing")
    with pytest.raises(FormatError, match="it is no ordinary file"):
        load(tmp_path)
    with pytest.raises(FormatError, match="it is no ordinary file"):
        load("/dev/zero")
    with pytest.raises(FormatError, match="null byte"):
        load("a\0b")


def test_huge_files_are_refused_unread(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate((1 << 31) + 1)
    with pytest.raises(FormatError, match="more than 2147483648"):
        load(path)


# Hostile files: whole ones, their digest in order.


def sealed(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return data + f'"sha256": "{hashlib.sha256(data).hexdigest()}"}}\n'.encode()


def content() -> dict:
    """A small sound file: graph 0 is the body of the loop in graph 1."""
    xs = ag.input("xs", (3, 2))
    w = ag.parameter("w", np.ones(2))
    with LoopNode("walk", length=3) as walk:
        x = walk.each(xs)
        h = walk.branch("h", ag.constant(np.zeros(2)))
        walk.feed(h, ag.tanh(x * w + h))
        last = walk.final(h)
    graph = ag.Graph([xs], {"y": ag.sum(last, axis=0)}, name="small")
    return json.loads(dumps(graph))


def packed(table: dict) -> bytes:
    table.pop("sha256", None)
    text = json.dumps(table)
    return sealed(text[:-1] + ", ")


def node(table: dict, op: str) -> dict:
    return next(n for g in table["graphs"] for n in g["nodes"] if n["op"] == op)


def with_change(change) -> bytes:
    table = content()
    change(table)
    return packed(table)


def put(op: str, key: str, value):
    return lambda table: node(table, op).__setitem__(key, value)


def attr(op: str, key: str, value):
    return lambda table: node(table, op).setdefault("attrs", {}).__setitem__(key, value)


def rename(new: str):
    """Call the op tanh of the body something else, everywhere."""

    def change(table):
        (body, _) = table["graphs"]
        text = json.dumps(body).replace('"tanh_1"', json.dumps(new))
        table["graphs"][0] = json.loads(text)

    return change


def cycle(table):
    nodes = table["graphs"][0]["nodes"]
    nodes[0]["inputs"][0] = nodes[1]["name"]


def self_loop(table):
    n = node(table, "tanh")
    n["inputs"] = [n["name"]]


def two_of_one_name(table):
    nodes = table["graphs"][0]["nodes"]
    nodes[1]["name"] = nodes[0]["name"]


def two_parameters(table):
    extra = {**node(table, "parameter"), "name": "v"}
    table["graphs"][1]["nodes"].insert(0, extra)


def raw(old: str, new: str) -> bytes:
    """A file whose text was changed where JSON tables cannot say it."""
    text = dumps_small()
    assert old in text
    return sealed(text.replace(old, new, 1))


def dumps_small() -> str:
    return packed(content()).decode().rpartition('"sha256"')[0]


def billion_laughs() -> bytes:
    table = content()
    body, outer = table["graphs"]
    graphs = [body]
    for i in range(60):
        holder = json.loads(json.dumps(outer))
        twice = []
        for n in holder["nodes"]:
            if n["op"] == "loop":
                n["attrs"]["body"] = {"graph": i}
                twice.append({**n, "name": "again"})
        holder["nodes"] += twice
        graphs.append(holder)
    return packed({**table, "graphs": graphs})


def towers(depth: int) -> bytes:
    """Loops in loops, without a bracket too many."""
    table = content()
    small = {"name": "b", "inputs": [], "outputs": []}
    loop = {"name": "l", "op": "loop", "inputs": ["x"], "spec": []}
    graphs = [
        {**small, "nodes": [{**loop, "attrs": {"body": {"graph": i - 1}}}] if i else []}
        for i in range(depth)
    ]
    return packed({**table, "graphs": graphs})


W = base64.b64encode(np.ones(2).tobytes()).decode()

HOSTILE = {
    "op os.system": (with_change(put("tanh", "op", "os.system")), "op 'os.system'.*import loops"),
    "op __class__": (with_change(put("tanh", "op", "__class__")), "not in the table"),
    "op ../x": (with_change(put("tanh", "op", "../x")), "not in the table"),
    "op input": (with_change(put("tanh", "op", "input")), "not in the table"),
    "op of 1 MB": (with_change(put("tanh", "op", "x" * 1_000_000)), "not in the table"),
    "op no text": (with_change(put("tanh", "op", ["tanh"])), "names no op"),
    "op of another arity": (with_change(put("tanh", "op", "matmul")), "does not fit|cannot be"),
    "unknown attr": (with_change(attr("tanh", "out", 1)), r"attributes \['out'\].*takes \[\]"),
    "attr dtype of a ufunc": (with_change(attr("tanh", "dtype", "float32")), "the op takes"),
    "attr lambda": (with_change(attr("sum", "axis", "lambda: 0")), "must be of type"),
    "attr bool as text": (with_change(attr("sum", "keepdims", "x")), "keepdims='x', but"),
    "attr int as bool": (with_change(attr("sum", "axis", [True])), "must be of type Axes"),
    "attr int too large": (with_change(attr("sum", "axis", [10**19])), "must be of type Axes"),
    "attr table": (with_change(attr("sum", "axis", {"py/object": "os"})), "has the attribute"),
    "attr float tag": (with_change(attr("sum", "axis", {"float": "1e5"})), "has the attribute"),
    "attr missing": (with_change(lambda t: node(t, "sum")["attrs"].pop("axis")), "takes"),
    "attrs no table": (with_change(put("sum", "attrs", [1])), "are no table"),
    "attr NaN": (raw('"length": null', '"length": NaN'), "holds NaN"),
    "attr Infinity": (raw('"length": null', '"length": -Infinity'), "holds -Infinity"),
    "attr 1e999": (raw('"length": null', '"length": 1e999'), "too large for a float"),
    "huge int": (raw('"length": null', '"length": ' + "9" * 100_000), "100000 digits"),
    "unknown key": (with_change(put("tanh", "code", "1")), r"unknown keys: \['code'\]"),
    "unknown key of the file": (with_change(lambda t: t.update(unsafe=True)), "unknown keys"),
    "unknown key of an input": (
        with_change(lambda t: t["graphs"][0]["inputs"][0].update(path="x")), "unknown keys"
    ),
    "missing key": (with_change(lambda t: node(t, "tanh").pop("spec")), "lacks the keys spec"),
    "duplicate key": (raw('"op": "tanh"', '"op": "tanh", "op": "tanh"'), "a key twice: 'op'"),
    "version 2": (with_change(lambda t: t.update(version=2)), "version is 2.*update LoopGrad"),
    "version true": (with_change(lambda t: t.update(version=True)), "version is True"),
    "format": (with_change(lambda t: t.update(format="pickle")), "format is 'pickle'"),
    "no graphs": (with_change(lambda t: t.update(graphs=[])), "no list of graphs"),
    "graphs no list": (with_change(lambda t: t.update(graphs={})), "no list of graphs"),
    "nodes no list": (with_change(lambda t: t["graphs"][0].update(nodes={})), "are no list"),
    "node no table": (with_change(lambda t: t["graphs"][0]["nodes"].append(3)), "no table but 3"),
    "cycle": (with_change(cycle), "no node before it"),
    "self-loop": (with_change(self_loop), "no node before it"),
    "dangling edge": (with_change(put("tanh", "inputs", ["nowhere"])), "'nowhere', which is no"),
    "edge no name": (with_change(put("tanh", "inputs", [3])), "the input 3"),
    "no inputs": (with_change(put("tanh", "inputs", [])), "no list of names"),
    "wrong spec": (with_change(put("tanh", "spec", "float64[3]")), "said to be 'float64.3.'"),
    "spec of objects": (with_change(put("parameter", "spec", "object[2]")), "has the spec"),
    "spec negative": (with_change(put("parameter", "spec", "float64[-2]")), "has the spec"),
    "spec of 1,000 axes": (
        with_change(put("parameter", "spec", f"float64[{', '.join('1' * 1000)}]")), "has the spec"
    ),
    "shape bomb": (with_change(put("parameter", "spec", "float64[999999999999]")), "16 bytes, but"),
    "shape overflow": (
        with_change(put("parameter", "spec", "float64[4294967296, 4294967296]")), "16 bytes, but"
    ),
    "value no base64": (with_change(put("parameter", "value", W[:-1] + "!")), "is no base64"),
    "value no text": (with_change(put("parameter", "value", [1.0, 1.0])), "is no base64"),
    "value too short": (with_change(put("parameter", "value", W[:8])), "has 6 bytes"),
    "parameter of ints": (with_change(put("parameter", "spec", "int64[2]")), "float dtype"),
    "parameter tracked": (with_change(put("parameter", "tracked", True)), "cannot have"),
    "bools of 2": (
        with_change(lambda t: node(t, "constant").update(spec="bool[2]", value="AgA=")), "of bools"
    ),
    "tracked 1": (with_change(put("constant", "tracked", 1)), "has tracked 1"),
    "length -1": (with_change(attr("loop", "length", -1)), "length of a loop"),
    "length 1e18": (with_change(attr("loop", "length", 10**18)), "length of a loop"),
    "length 1.5": (with_change(attr("loop", "length", 1.5)), "must be of type int"),
    "length true": (with_change(attr("loop", "length", True)), "must be of type int"),
    "reverse 1": (with_change(attr("loop", "reverse", 1)), "must be of type bool"),
    "port counts": (with_change(attr("loop", "shared", 99)), "does not fit a body"),
    "port count -1": (with_change(attr("loop", "each", -1)), "whole numbers"),
    "body of itself": (with_change(attr("loop", "body", {"graph": 1})), "come before it"),
    "body nowhere": (with_change(attr("loop", "body", {"graph": 7})), "come before it"),
    "body -1": (with_change(attr("loop", "body", {"graph": -1})), "come before it"),
    "body true": (with_change(attr("loop", "body", {"graph": True})), "come before it"),
    "body no graph": (with_change(attr("loop", "body", 0)), "must be a graph"),
    "loop nest 1e5": (towers(100_000), "more than 20000 graphs"),
    "loop nest 1e4": (towers(10_000), "nests 5001 deep"),
    "billion laughs": (billion_laughs(), "nodes in all"),
    "item -1": (with_change(attr("item", "index", -1)), "does not have"),
    "item true": (with_change(attr("item", "index", False)), "must be of type int"),
    "item of one": (with_change(put("item", "inputs", ["xs"])), "does not have"),
    "two nodes one name": (with_change(two_of_one_name), "two nodes are called"),
    "unused node": (with_change(two_parameters), "'v' is needed by no output"),
    "output nowhere": (
        with_change(lambda t: t["graphs"][1].update(outputs=[["y", "q"]])), "'q', which is no value"
    ),
    "output of many": (
        with_change(lambda t: t["graphs"][1].update(outputs=[["y", "walk"]])), "is no value"
    ),
    "output no pair": (with_change(lambda t: t["graphs"][1].update(outputs=["y"])), "no pair"),
    "two outputs": (
        with_change(lambda t: t["graphs"][1]["outputs"].append(["y", "xs"])), "two outputs"
    ),
    "no outputs": (with_change(lambda t: t["graphs"][1].update(outputs=[])), "no outputs"),
    "parameter in a body": (
        with_change(lambda t: t["graphs"][0]["nodes"].insert(0, node(t, "parameter"))),
        "two nodes|needed by no output",
    ),
    "name no text": (with_change(lambda t: t["graphs"][0].update(name=3)), "is no text, but 3"),
    "name of 1 MB": (with_change(rename("x" * 1_000_000)), "1000000 characters"),
    "name a lone surrogate": (with_change(rename("\ud800")), "without lone surrogates"),
    "name in the file's own bytes": (raw('"tanh_1"', '"\udcff"'), "not ASCII"),
    "structure": (with_change(lambda t: t["graphs"][1].update(structure={"set": []})), "holds"),
    "structure of two": (
        with_change(lambda t: t["graphs"][1].update(structure={"list": [None, None]})), "2 leaves"
    ),
    "structure of odd pairs": (
        with_change(lambda t: t["graphs"][1].update(structure={"dict": [[None, None]]})), "holds"
    ),
    "brackets 1e5": (sealed("[" * 100_000 + "]" * 100_000 + ", "), "brackets nest"),
    "no JSON": (sealed("{]"), "is not JSON"),
    "nothing": (b"", "cut off"),
    "other file": (b"\x89PNG\r\n", "cut off"),
    "a list": (sealed('[{"x": 1},'), "is not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name, tmp_path):
    data, message = HOSTILE[name]
    path = tmp_path / "hostile.json"
    path.write_bytes(data)
    start = time.perf_counter()
    with pytest.raises(FormatError, match=message) as caught:
        load(path)
    assert time.perf_counter() - start < 1
    assert "hostile.json" in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_the_sound_file_is_sound():
    """Or else the files above might be refused for another reason."""
    assert str(loads(packed(content()))).startswith("graph small:")


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "\u202eevil", "</script>", "x" * 99_999])
def test_odd_names_are_only_names(name):
    graph = loads(with_change(rename(name)))
    assert "\n" in str(graph)
    assert name in {n.name for _, _, n in graph.walk()}


@pytest.mark.parametrize("name", ["loop nest 1e5", "billion laughs", "shape bomb", "name of 1 MB"])
def test_hostile_files_take_no_memory(name):
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            loads(HOSTILE[name][0])
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


# What loading does.

WATCHED = """
    import sys
    import autograd, loops
    from autograd.export.json import load, loads, dumps
    path = sys.argv[1]
    graph = load(path)  # once unwatched: Python may import a codec
    events = []
    watching = True
    def watch(event, arguments):
        if watching:
            events.append((event, str(arguments[0]) if arguments else ""))
    sys.addaudithook(watch)
    load(path)
    watching = False
    loud = [e for e in events if not e[0].startswith(("object.", "sys._getframe", "cpython."))]
    print(loud == [("open", path)], loud)
"""


def test_loading_opens_one_file_and_executes_nothing(tmp_path, run_python):
    path = tmp_path / "g.json"
    save(adder_loss().grad(), path)
    answer = run_python("-c", textwrap.dedent(WATCHED), str(path))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("True"), answer.stdout


def test_a_graph_with_loops_needs_loops(tmp_path, run_python):
    path = tmp_path / "g.json"
    save(nested(), path)
    code = f"import autograd; autograd.Graph.load({str(path)!r})"
    answer = run_python("-c", code)
    assert "needs `import loops` before it is loaded" in answer.stderr
    assert run_python("-c", "import loops; " + code).returncode == 0
