"""Layers against PyTorch, as it computed their values and gradients once.

The numbers are in tests/fixtures/torch_layers.json, written by make_torch_layers.py there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograd as ag
import nn
from loops import LoopNode
from tests.nn_helpers import tracked

STORED = json.loads((Path(__file__).parent / "fixtures" / "torch_layers.json").read_text())
ROWS = [
    pytest.param(row, id="-".join([str(i), row["name"], *map(str, row["options"]), *row["call"]]))
    for i, row in enumerate(STORED["layers"])
]
RELATIVE = {"float64": 1e-13, "float32": 1e-4}
"""How far a result may be from torch's, in units of the largest element of torch's. Measured were
2.2e-15 at most in float64, and 1.0e-6 in float32, whatever ran the graphs."""


def given(row: dict[str, Any], dtype: str = "float64") -> dict[str, np.ndarray]:
    """The arrays of a call; NaN in the padding: nothing may depend on it."""
    arrays = {name: np.array(x) for name, x in row["inputs"].items()}
    for b, length in enumerate(row["call"].get("lengths", ())):
        for name in arrays.keys() & {"keys", "values"}:
            arrays[name][length:, b] = np.nan
    return {name: x if x.dtype.kind == "i" else x.astype(dtype) for name, x in arrays.items()}


def made(row: dict[str, Any], dtype: str = "float64") -> Any:
    """The module of a row, with torch's parameters loaded as torch's state_dict has them."""
    if row["name"] == "attention":
        return nn.attention
    module = getattr(nn, row["name"])(*row["args"], dtype=dtype, **row["options"])
    state = {name: np.array(x) for name, x in row["state_dict"]}
    assert [*module.state_dict()] == [*state]
    module.load_state_dict(state)
    return module


def called(row: dict[str, Any], module: Any, inputs: dict[str, Any]) -> list[Any]:
    call = {key: np.array(x) if key == "mask" else x for key, x in row["call"].items()}
    outputs = module(*inputs.values(), **call)
    return [*outputs] if isinstance(outputs, tuple) else [outputs]


def parameters(module: Any) -> dict[str, ag.Parameter]:
    return {} if module is nn.attention else dict(module.named_parameters())


def pulled(row: dict[str, Any], outputs: list[Any]) -> Any:
    parts = [
        (y * np.array(c, y.dtype)).sum() for y, c in zip(outputs, row["cotangents"], strict=True)
    ]
    return sum(parts[1:], start=parts[0])


def assert_torchs(
    row: dict[str, Any], outputs: list[Any], gradients: dict[str, Any], dtype: str = "float64"
) -> None:
    found = {**{f"output {i}": y for i, y in enumerate(outputs)}, **gradients}
    wanted = {**{f"output {i}": y for i, y in enumerate(row["outputs"])}, **row["gradients"]}
    assert found.keys() == wanted.keys()
    for name, theirs in wanted.items():
        ours, theirs = np.asarray(found[name]), np.asarray(theirs)
        assert ours.shape == theirs.shape, name
        assert ours.dtype == dtype, name
        far = np.abs(ours - theirs).max() / (np.abs(theirs).max() or 1.0)
        assert far <= RELATIVE[dtype], f"{name} is {far} from torch's"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("row", ROWS)
def test_on_tensors(row: dict[str, Any], dtype: str):
    module = made(row, dtype)
    inputs = {
        name: tracked(x) if x.dtype.kind == "f" else ag.tensor(x)
        for name, x in given(row, dtype).items()
    }
    outputs = called(row, module, inputs)
    pulled(row, outputs).backward()
    leaves = {**inputs, **parameters(module)}
    gradients = {name: leaves[name].grad.value for name in row["gradients"]}
    assert_torchs(row, [y.value for y in outputs], gradients, dtype)


def drawn(row: dict[str, Any], module: Any, arrays: dict[str, np.ndarray]) -> ag.Graph:
    """The call and its gradients as a graph; they are called as in the row."""
    inputs = {name: ag.input(name, x.shape, x.dtype) for name, x in arrays.items()}
    outputs = called(row, module, inputs)
    results = {f"y{i}": y for i, y in enumerate(outputs)}
    graph = ag.Graph([*inputs.values()], {**results, "loss": pulled(row, outputs)})
    return graph.grad("loss", [*row["gradients"]])


def assert_graph_is_torchs(
    row: dict[str, Any], results: dict[str, np.ndarray], dtype: str = "float64"
) -> None:
    outputs = [results[f"y{i}"] for i in range(len(row["outputs"]))]
    gradients = {name: results[f"grad_{name}"] for name in row["gradients"]}
    assert_torchs(row, outputs, gradients, dtype)


@pytest.mark.parametrize("backend", ["reference", "numpy"])
@pytest.mark.parametrize("row", ROWS)
def test_drawn(row: dict[str, Any], backend: str):
    arrays = given(row)
    graph = drawn(row, made(row), arrays)
    with ag.backend(backend):
        assert_graph_is_torchs(row, graph.run(**arrays))


NATIVE = [p for p in ROWS if p.values[0]["name"] not in ("Linear", "RMSNorm")]


@pytest.mark.parametrize(
    "row",
    [
        p if i % 6 == 0 else pytest.param(*p.values, id=p.id, marks=pytest.mark.slow)
        for i, p in enumerate(NATIVE)
    ],
)
def test_drawn_native(row: dict[str, Any]):
    pytest.importorskip("llvmlite")
    arrays = given(row)
    plan = drawn(row, made(row), arrays).compile("native")
    assert_graph_is_torchs(row, plan.run(**arrays))


@pytest.mark.parametrize("row", ROWS)
def test_float32_stays_float32_in_graphs(row: dict[str, Any]):
    arrays = given(row, "float32")
    graph = drawn(row, made(row, "float32"), arrays)
    assert not [x for x in graph.nodes if x.op.name != "constant" and x.dtype == "float64"]
    assert_graph_is_torchs(row, graph.run(**arrays), "float32")


def steps_of(row: dict[str, Any]) -> list[str]:
    """The arrays whose first axis may be taken step by step: not the keys of attention."""
    return [name for name in row["inputs"] if name in ("x", "indices", "query")]


@pytest.mark.parametrize(
    "row",
    [
        p
        for p in ROWS
        # causal needs the steps of the query, masks have one axis for it; these norm all axes
        if not {"causal", "mask", "average"} & p.values[0]["call"].keys()
        and np.ndim(next(iter(p.values[0]["inputs"].values()))) > 1
    ],
)
def test_in_the_body_of_a_loop(row: dict[str, Any]):
    """Each step takes one entry of the first axis: a decoder that attends in its body."""
    arrays = given(row)
    module = made(row)
    inputs = {name: ag.input(name, x.shape, x.dtype) for name, x in arrays.items()}
    sliced = {steps: inputs[steps] for steps in steps_of(row)}
    if row["name"] == "MultiHeadAttention" and len(inputs) == 1:
        inputs["keys"] = ag.identity(inputs["query"])
    with LoopNode("steps") as loop:
        each = {name: loop.each(x) for name, x in sliced.items()}
        outputs = [loop.collect(y) for y in called(row, module, {**inputs, **each})]
    if len(outputs) == 2:  # weights (T, B, Tk), which are (B, T, Tk) without a loop
        outputs[1] = ag.swapaxes(outputs[1], 0, 1)
    results = {f"y{i}": y for i, y in enumerate(outputs)}
    inputs = {name: inputs[name] for name in arrays}
    graph = ag.Graph([*inputs.values()], {**results, "loss": pulled(row, outputs)})
    graph = graph.grad("loss", [*row["gradients"]])
    for backend in ("reference", "numpy"):
        with ag.backend(backend):
            assert_graph_is_torchs(row, graph.run(**arrays))


@pytest.mark.parametrize(("name", "args", "wanted"), STORED["initial"])
def test_parameters_start_as_torchs(name: str, args: list[int], wanted: dict[str, list[float]]):
    """Limits, mean and standard deviation are torch's, within what so many draws may differ by."""
    module = getattr(nn, name)(*args, rng=0) if "Norm" not in name else getattr(nn, name)(*args)
    assert [key for key, _ in module.named_parameters()] == [*wanted]
    for key, parameter in module.named_parameters():
        x = parameter.value
        low, high, mean, std = wanted[key]
        error = 5.0 * std * np.sqrt(2.0 / x.size)
        assert abs(x.mean() - mean) <= error
        assert abs(x.std() - std) <= error
        if name != "Embedding":  # its normal distribution has no limits
            assert x.min() == pytest.approx(low, rel=0.05)
            assert x.max() == pytest.approx(high, rel=0.05)
