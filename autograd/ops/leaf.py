"""Leaves (they are given their value) and `item`, which picks one output of several."""

from __future__ import annotations

from typing import Any

from autograd.op import Op, register
from autograd.spec import Spec


class LeafOp(Op):
    """Stands at the beginning of a graph: an input, a parameter or a constant."""

    weight = 0


input = register(LeafOp("input"))
parameter = register(LeafOp("parameter"))
constant = register(LeafOp("constant"))


class Item(Op):
    """Output `index` of a node with several outputs. The gradient walk knows it by name."""

    weight = 0

    def forward(self, values: tuple[Any, ...], *, index: int) -> Any:
        return values[index]

    def infer(self, specs: Any, *, index: int) -> Spec:
        spec: Spec = specs[index]
        return spec


item = register(Item("item"))
