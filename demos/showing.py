"""What demos show if the optional parts are there, and say what to install if they are not."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import autograd as ag

INSTALL = "install it with: python -m pip install 'loopgrad[demos]' (in a clone: '.[demos]')"


def progress(total: int, label: str) -> tuple[Iterator[int], Callable[[str], None]]:
    """Return range(total) with a progress bar on a terminal, and what to print with meanwhile."""
    try:
        from tqdm import tqdm
    except ImportError:
        print(f"tqdm is not installed, so there is no progress bar; {INSTALL}")
        return iter(range(total)), print
    bar = tqdm(range(total), label, disable=not sys.stderr.isatty(), leave=False)
    return iter(bar), bar.write


def picture(graph: ag.Graph, path: Path, what: str) -> None:
    """Draw `graph` to `path`, or say why there is no picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        graph.draw(path)
    except ag.DrawError as error:
        print(f"{what}: {error}")
    else:
        print(f"{what}: {path}")


def curve(values: Sequence[float], path: Path, label: str) -> None:
    """Plot one value a training step to `path`, with a running mean, or say why not."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"matplotlib is not installed, so no curve is drawn; {INSTALL}")
        return
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="training step", ylabel=label)
    width = max(1, len(values) // 100)
    mean = np.convolve(values, np.ones(width) / width, "valid")
    axes.plot(values, color="0.8", linewidth=0.5, label="each step")
    axes.plot(np.arange(len(mean)) + width // 2, mean, label=f"mean of {width} steps")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path)
    print(f"loss curve: {path}")
