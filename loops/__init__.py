"""Control flow as graphs: loops and branches, closed under differentiation."""

from loops._installation import refuse_foreign_autograd

refuse_foreign_autograd()

import loops.rewrite  # noqa: F401 - it registers passes
from loops.branch import BranchNode, cond, switch
from loops.carried import CarriedState
from loops.combine import Layer, bidirectional, chained, over_layers, over_time, stacked
from loops.loop import LoopNode, repeat
from loops.plan import LoopPlan, MemoryPlan, memory_plan
from loops.ragged import (
    fill_padding,
    last_valid,
    masked_mean,
    masked_sum,
    pad_sequence,
    reverse_valid,
    unpad_sequence,
    valid_mask,
)
from loops.scan import scan
from loops.while_loop import while_loop

__all__ = [
    "BranchNode",
    "CarriedState",
    "Layer",
    "LoopNode",
    "LoopPlan",
    "MemoryPlan",
    "bidirectional",
    "chained",
    "cond",
    "fill_padding",
    "last_valid",
    "masked_mean",
    "masked_sum",
    "memory_plan",
    "over_layers",
    "over_time",
    "pad_sequence",
    "repeat",
    "reverse_valid",
    "scan",
    "stacked",
    "switch",
    "unpad_sequence",
    "valid_mask",
    "while_loop",
]
