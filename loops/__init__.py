"""Control flow as graphs: loops and branches, closed under differentiation."""

from loops._installation import refuse_foreign_autograd

refuse_foreign_autograd()

from loops.branch import BranchNode, cond, switch
from loops.loop import LoopNode, repeat
from loops.scan import scan

__all__ = ["BranchNode", "LoopNode", "cond", "repeat", "scan", "switch"]
