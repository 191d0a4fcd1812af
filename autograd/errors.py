"""The errors of LoopGrad: what was expected, what came, what to change."""


class LoopGradError(Exception):
    """Base class of every error that LoopGrad raises on purpose."""


class GraphError(LoopGradError):
    """A graph that cannot be drawn, or a virtual node used where a value is needed."""


class ShapeError(GraphError, ValueError):
    """Shapes that do not fit together."""


class DTypeError(GraphError, TypeError):
    """An element type that an op, a port or a parameter cannot take."""


class GradientError(LoopGradError):
    """A gradient that does not exist, or that would be wrong."""


class FormatError(LoopGradError, ValueError):
    """A graph file or text that is not a graph."""


class DrawError(LoopGradError):
    """A picture that cannot be rendered here; the message says what to install."""
