"""Shapes and colours. Every kind has a shape of its own, so a print in grey can be read too."""

from __future__ import annotations

FONT = "Helvetica,Arial,sans-serif"
TEXT = "#24292F"
PALE = "#5F6B76"

Style = dict[str, str]

BOXES: dict[str, Style] = {
    "input": {"shape": "invhouse", "style": "filled", "fillcolor": "#DCEBFA", "color": "#3F78B0"},
    "parameter": {
        "shape": "cylinder",
        "style": "filled",
        "fillcolor": "#FBE9BF",
        "color": "#B5831B",
    },
    "constant": {
        "shape": "box",
        "style": "dashed",
        "color": "#8B949E",
    },
    "op": {
        "shape": "box",
        "style": "rounded,filled",
        "fillcolor": "#FFFFFF",
        "color": "#6B7683",
    },
    "folded": {
        "shape": "box3d",
        "style": "filled",
        "fillcolor": "#EDF1F5",
        "color": "#57606A",
    },
    "each": {
        "shape": "polygon",
        "sides": "4",
        "skew": "0.25",
        "style": "filled",
        "fillcolor": "#D5EFEC",
        "color": "#23857C",
        "margin": "0,0.03",
    },
    "state": {
        "shape": "hexagon",
        "style": "filled",
        "fillcolor": "#E7DEF6",
        "color": "#7450A8",
        "margin": "0,0.03",
    },
    "control": {
        "shape": "diamond",
        "style": "filled",
        "fillcolor": "#F1F3F5",
        "color": "#57606A",
        "margin": "0,0",
    },
    "merge": {
        "shape": "circle",
        "style": "filled",
        "fillcolor": "#57606A",
        "color": "#57606A",
        "width": "0.12",
        "height": "0.12",
        "fixedsize": "true",
    },
    "output": {
        "shape": "box",
        "peripheries": "2",
        "style": "filled",
        "fillcolor": "#DAF0D9",
        "color": "#3D8B48",
    },
}

BACKWARD: dict[str, Style] = {
    "op": {"fillcolor": "#FBE3E4", "color": "#B4505C"},
    "folded": {"fillcolor": "#FBE3E4", "color": "#B4505C"},
    "output": {"fillcolor": "#F8D0D3", "color": "#B4505C"},
}

_BODY = {"style": "rounded,filled", "color": "#9AA7B5"}
_STEP = {"style": "rounded,filled", "color": "#B9AED0"}

FRAMES: dict[str, tuple[Style, Style]] = {
    "body": ({**_BODY, "fillcolor": "#E9EFF6"}, {**_BODY, "fillcolor": "#F4F7FB"}),
    "step": ({**_STEP, "fillcolor": "#F1EDF8"}, {**_STEP, "fillcolor": "#F9F7FC"}),
}
BACKWARD_FRAMES: dict[str, tuple[Style, Style]] = {
    kind: tuple(
        {**style, "fillcolor": fill, "color": "#D3A3A8"}  # type: ignore[misc]
        for style, fill in zip(styles, ("#FAEBEC", "#FDF6F6"), strict=True)
    )
    for kind, styles in FRAMES.items()
}

ARROWS: dict[str, Style] = {
    "data": {"color": "#6B7683"},
    "each": {"color": "#23857C", "penwidth": "2.4", "arrowsize": "0.7"},
    "stacked": {"color": "#23857C", "penwidth": "2.4", "arrowsize": "0.7"},
    "initial": {"color": "#7450A8"},
    "final": {"color": "#7450A8"},
    "back": {
        "color": "#7450A8",
        "fontcolor": "#7450A8",
        "style": "dashed",
        "penwidth": "1.6",
        "constraint": "false",
    },
    "step": {"color": "#7450A8", "penwidth": "1.4", "constraint": "false"},
    "result": {"color": "#57606A"},
    "steer": {"color": "#57606A", "style": "dotted", "penwidth": "1.4"},
}

DOORS = frozenset({"each"})
"""Boxes through which values enter a body: they stand in a row."""

LATE = frozenset({"back", "step"})
"""Arrows that run against the order of the layout and have no say in it."""

MEANINGS = {
    "input": "input",
    "parameter": "parameter",
    "constant": "constant",
    "op": "op",
    "folded": "folded body",
    "each": "each step",
    "state": "state",
    "control": "chooses a body, or how often it runs",
    "output": "output",
}
"""What each kind of box stands for, in the legend."""

ARROW_MEANINGS = {
    "stacked": "━━ one value for every step",
    "back": "╌╌ becomes the state of the next step",
    "step": "━━ from one step to another",
}
"""What arrows of a special kind stand for, in the legend."""
