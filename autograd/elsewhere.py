"""What others call what is here: for the errors that meet habits from NumPy and PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

FUNCTIONS = MappingProxyType(
    {
        "amax": "autograd.max",
        "amin": "autograd.min",
        "array": "autograd.tensor",
        "as_tensor": "autograd.tensor",
        "asarray": "autograd.tensor",
        "bmm": "autograd.matmul",
        "cat": "autograd.concat",
        "concatenate": "autograd.concat",
        "detach": "autograd.stop_gradient",
        "from_numpy": "autograd.tensor",
        "gather": "autograd.take_along_axis",
        "hstack": "autograd.concat(nodes, axis=1)",
        "index_select": "autograd.take",
        "logsigmoid": "autograd.log_sigmoid",
        "manual_seed": "keys (autograd.random.key), and rng= of layers, for random numbers",
        "mm": "autograd.matmul",
        "newaxis": "None, as in x[:, None]",
        "permute": "autograd.permute_dims",
        "pow": "autograd.power",
        "sub": "autograd.subtract",
        "swish": "autograd.silu",
        "unbind": "autograd.unstack",
        "unsqueeze": "autograd.expand_dims",
        "vstack": "autograd.concat(nodes, axis=0)",
    }
)
"""Functions of NumPy and PyTorch that have another name here."""

_MOVED = "values are NumPy's arrays, on no device; x.astype(dtype) gives them another dtype"

METHODS = MappingProxyType(
    {
        "clone": "a node does not change, so it needs no copy; x.value.copy() is one of its value",
        "cpu": _MOVED,
        "cuda": _MOVED,
        "data": "x.value",
        "detach": "autograd.stop_gradient(x), or x.value, the array",
        "dim": "x.ndim",
        "double": "x.astype('float64')",
        "float": "x.astype('float32')",
        "int": "x.astype('int64')",
        "long": "x.astype('int64')",
        "mm": "x @ y",
        "numel": "x.size",
        "numpy": "x.value",
        "permute": "x.transpose(...)",
        "requires_grad": "x.tracked; a parameter is trained by the optimizer that is given it",
        "to": _MOVED,
        "unsqueeze": "autograd.expand_dims(x, axis)",
        "view": "x.reshape(...)",
    }
)
"""Methods of PyTorch's tensors, and what to write instead."""


def no_attribute(owner: Any, said: str, name: str, known: Mapping[str, str]) -> AttributeError:
    """Return the error of asking `owner`, which errors call `said`, for what it has not.

    Given `owner` and `name`, Python itself adds what is spelled alike.
    """
    hint = f"; use {known[name]}" if name in known else ""
    return AttributeError(f"{said} has no attribute '{name}'{hint}", name=name, obj=owner)
