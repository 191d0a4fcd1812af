"""Sunspots of years to come, by a GRU that reads its own forecasts: `python -m demos.forecast`.

A loop over the past leaves a state. From there a second loop goes on: each step reads what the
step before has forecast. Both are trained as one graph, on all years of the forecast. The last
years of the series are for testing only, and simple forecasts are tested on them as well.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import autograd as ag
import nn
from autograd.spec import Array
from demos.charts import chart
from demos.datasets import sunspots
from demos.learning import learn, options
from demos.showing import picture
from loops import LoopNode

FIRST_TEST = 1950
PAST = 22
"""Years that a forecast looks back on, two cycles."""
AHEAD = 11
"""Years of a forecast, one cycle."""
HORIZONS = (1, 2, 5, 11)
ORDER = 9
"""Of the linear autoregressions; the choice of most who fitted them to this series."""
SIZE = 16
NOISE = 0.3
"""Of the pasts a network is trained on, in deviations."""
STRETCH = 0.4
"""How much the cycles it is trained on are stretched at most: the roots by exp(+-0.4)."""
BATCH = 32
STEPS = 1500
SEEDS = 5

Forecast = Callable[[Array], Array]
"""Past values (22, B) -> forecasts (11, B)."""


class Forecaster(nn.Module):
    """A GRU over the past, and over its own forecasts: (22, B, 1) -> (11, B, 1)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.cell = nn.GRUCell(1, SIZE, rng=rng, dtype=np.float32)
        self.layer = nn.Recurrent(self.cell)
        self.out = nn.Linear(SIZE, 1, rng=rng, dtype=np.float32)

    def forward(self, past: Any) -> ag.Node:
        _, last = self.layer(past)
        first = self.out(last)
        with LoopNode("forecast", length=AHEAD) as years:
            h, y = years.branch("h", last), years.branch("y", first)
            ys = years.collect(y, "ys")
            after = self.cell(y, h)
            years.feed(h, after)
            years.feed(y, self.out(after))
        return ys


class Scale:
    """Square roots, whose noise is the same at any height, with mean 0 and deviation 1."""

    def __init__(self, values: Array) -> None:
        roots = np.sqrt(values)
        self.mean, self.deviation = roots.mean(), roots.std()

    def to(self, values: Array) -> Array:
        """Return numbers of sunspots on the scale."""
        return (np.sqrt(values) - self.mean) / self.deviation

    def back(self, scaled: Array) -> Array:
        """Return what `to` was given; what is below zero is zero."""
        return np.maximum(scaled * self.deviation + self.mean, 0) ** 2


def train(known: Array, scale: Scale, seed: int, steps: int) -> tuple[Forecast, Forecaster]:
    """Return the forecast of a network trained on the years known, and the network.

    It is given noisy pasts, and cycles made taller or flatter. Else it learns the few cycles there
    are by heart, and is lost where one is taller than all before, as in 1957.
    """
    rng = np.random.default_rng(seed)
    model = Forecaster(rng)
    windows = np.lib.stride_tricks.sliding_window_view(known, PAST + AHEAD)

    def batch() -> dict[str, Array]:
        stretch = np.exp(rng.uniform(-2 * STRETCH, 2 * STRETCH, size=(BATCH, 1)))
        some = scale.to(windows[rng.integers(len(windows), size=BATCH)] * stretch)
        some[:, :PAST] += NOISE * rng.normal(size=(BATCH, PAST))
        some = some.T[:, :, None].astype(np.float32)
        return {"past": some[:PAST], "future": some[PAST:]}

    def loss(past: ag.Node, future: ag.Node) -> ag.Node:
        return nn.squared_error(model(past), future)

    rate = nn.schedules.cosine(0.005, steps)
    optimizer = nn.AdamW(model.parameters(), rate, weight_decay=0.1, clip_norm=1.0)
    learn(nn.TrainingStep(loss, optimizer), batch, steps, f"seed {seed}", reports=1)

    def forecast(past: Array) -> Array:
        scaled = scale.to(past).astype(np.float32)[:, :, None]
        with ag.no_grad():
            return scale.back(model(scaled).value[:, :, 0])

    return forecast, model


def autoregression(known: Array, scale: Scale | None) -> Forecast:
    """Return the forecast by x[t] = a_1 x[t-1] + ... + a_9 x[t-9] + b, fitted by least squares."""
    series = known if scale is None else scale.to(known)
    lagged = np.stack([series[ORDER - k : len(series) - k] for k in range(1, ORDER + 1)], axis=1)
    ones = np.ones((len(lagged), 1))
    weights, *_ = np.linalg.lstsq(np.hstack([lagged, ones]), series[ORDER:], rcond=None)

    def forecast(past: Array) -> Array:
        values = list(past if scale is None else scale.to(past))
        for _ in range(AHEAD):
            latest = np.stack(values[: -ORDER - 1 : -1])
            values.append(weights[:-1] @ latest + weights[-1])
        ahead = np.stack(values[len(past) :])
        return ahead if scale is None else scale.back(ahead)

    return forecast


def persistence(past: Array) -> Array:
    """Forecast the latest value, for all years."""
    return np.repeat(past[-1:], AHEAD, axis=0)


def one_cycle_ago(past: Array) -> Array:
    """Forecast what was 11 years before."""
    return past[-AHEAD:]


def errors(forecast: Forecast, values: Array, first: int) -> list[float]:
    """Return the root mean squared error at each horizon, over values[first:].

    Each of these years is forecast from what was known the horizon's years before.
    """
    found = []
    for horizon in HORIZONS:
        starts = np.arange(first, len(values)) - horizon + 1
        past = np.stack([values[start - PAST : start] for start in starts], axis=1)
        wrong = forecast(past)[horizon - 1] - values[first:]
        found.append(float(np.sqrt(np.mean(wrong**2))))
    return found


def show(path: Path, years: Array, values: Array, forecasts: dict[str, Forecast]) -> None:
    """Chart forecasts of 11 years, from several years of the tested part."""

    def paint(figure: Any) -> None:
        axes = figure.add_subplot(xlabel="year", ylabel="sunspots (mean of the year)")
        late = years >= FIRST_TEST - 2 * AHEAD
        axes.plot(years[late], values[late], ".-", color="0.6", label="observed")
        axes.axvline(FIRST_TEST - 0.5, color="0.5", linestyle=":")
        for (name, forecast), color in zip(forecasts.items(), ("tab:blue", "tab:red"), strict=True):
            for year in range(FIRST_TEST, int(years[-1]) - AHEAD + 2, AHEAD + 1):
                start = year - int(years[0])
                ahead = forecast(values[start - PAST : start, None])[:, 0]
                label = name if year == FIRST_TEST else None
                axes.plot(years[start : start + AHEAD], ahead, color=color, label=label)
        axes.legend()

    chart(path, "forecasts", paint, (9, 4))


def main(argv: Sequence[str] | None = None) -> None:
    """Fit all forecasts to the years before 1950, and compare them on the years from then on."""
    chosen = options("forecast", __doc__, argv)
    found = sunspots()
    if found is None:
        return
    years, values = found
    first = FIRST_TEST - int(years[0])
    known = values[:first]
    scale = Scale(known)
    print(f"{years[0]} to {FIRST_TEST - 1} to train with, to {years[-1]} to test with")
    seeds = range(chosen.seed, chosen.seed + (1 if chosen.quick else SEEDS))
    steps = 150 if chosen.quick else STEPS
    trained = [train(known, scale, seed, steps) for seed in seeds]
    graph = ag.trace(trained[0][1].forward, np.zeros((PAST, 1, 1), np.float32), name="forecast")
    picture(graph, chosen.out / "graph.svg", "virtual graph")

    def ensemble(past: Array) -> Array:
        return np.mean([forecast(past) for forecast, _ in trained], axis=0)

    roots = autoregression(known, scale)
    table = {
        "persistence": errors(persistence, values, first),
        "one cycle ago": errors(one_cycle_ago, values, first),
        f"AR({ORDER})": errors(autoregression(known, None), values, first),
        f"AR({ORDER}) of square roots": errors(roots, values, first),
    }
    each = np.array([errors(forecast, values, first) for forecast, _ in trained])
    table[f"GRU, mean of {len(seeds)} seed(s)"] = list(each.mean(axis=0))
    table["    the best at each"] = list(each.min(axis=0))
    table["    the worst at each"] = list(each.max(axis=0))
    table["    forecasts averaged"] = errors(ensemble, values, first)
    print("root mean squared error".ljust(28) + "".join(f"{h:>4} ahead" for h in HORIZONS))
    for name, row in table.items():
        print(name.ljust(28) + "".join(f"{error:10.1f}" for error in row))
    both = {f"AR({ORDER}) of square roots": roots, "GRU, averaged": ensemble}
    show(chosen.out / "forecasts.svg", years, values, both)


if __name__ == "__main__":
    main()
