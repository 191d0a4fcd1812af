"""Scale: chains of a million nodes are built, differentiated and freed, in several libraries.

The chain y = y + y * 1e-6 on one float64. Every run has a process of its own, so that its peak
memory is its own; the contenders take turns. For LoopGrad the same chain is then drawn as a graph,
run, differentiated, printed, saved, loaded and copied; and a recurrence of 8 numbers is run for as
many steps and differentiated, as a scan and as a loop that its data stop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.contest import Worker, interpreters, median, parser, spread, table, write

CONTENDERS = ("loopgrad", "torch", "hips", "mygrad")


def one_run(contender: str, python: str, nodes: int, what: str) -> dict[str, Any] | None:
    """Return what one fresh process measured, or None if the contender is not installed."""
    with Worker("scale_worker.py", contender, python) as worker:
        if worker.missing is not None:
            print(f"left out: {contender} ({worker.missing})")
            return None
        answer: dict[str, Any] = worker.ask(nodes=nodes, what=what)
        return {**answer, "version": worker.version}


def chains(
    contenders: Sequence[str], pythons: dict[str, str], nodes: int, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of each contender that is installed."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    expected = (1 + 1e-6) ** (nodes // 2)
    for _ in range(rounds):
        for name in list(runs):
            run = one_run(name, pythons[name], nodes, "chain")
            if run is None:
                del runs[name]
                continue
            if not math.isclose(run["gradient"], expected, rel_tol=1e-6):
                raise RuntimeError(f"{name} found the gradient {run['gradient']}, not {expected}")
            runs[name].append(run)
    return runs


def chain_rows(runs: dict[str, list[dict[str, Any]]], nodes: int) -> list[list[str]]:
    totals = {name: [sum(r["laps"].values()) for r in some] for name, some in runs.items()}
    peer = median(totals["torch"]) if "torch" in totals else None
    made = []
    for name, some in runs.items():
        laps = [f"{median([r['laps'][lap] for r in some]):.2f}" for lap in some[0]["laps"]]
        peaks = [r["peak"] for r in some]
        ratio = f"{median(totals[name]) / peer:.2f}" if peer else "-"
        total = f"{median(totals[name]):.2f}"
        peak = f"{median(peaks):.0f}"
        made.append(
            [name, f"{nodes:,}", *laps, total, spread(totals[name]), ratio, peak, spread(peaks)]
        )
    return made


LOOP_HEAD = ["what", "steps", "value s", "gradient s", "MB more", "/ states", "peak MB"]


def loop_rows(counts: Sequence[int], python: str, results: dict[str, Any]) -> list[list[str]]:
    """Measure the loops of LoopGrad, note the runs in `results`, and return one row for each."""
    made = []
    for what in ("scan", "while_loop"):
        for steps in counts:
            run = results[what][str(steps)] = one_run("loopgrad", python, steps, what)
            if run is None:
                continue
            laps = [f"{seconds:.2f}" for seconds in run["laps"].values()]
            more = run["peak"] - run["before"]
            ratio = f"{more / run['states']:.2f}"
            made.append([what, f"{steps:,}", *laps, f"{more:.0f}", ratio, f"{run['peak']:.0f}"])
    return made


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__, CONTENDERS)
    options.add_argument("--nodes", type=int, nargs="+", default=[1_000_000])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--no-graph", action="store_true", help="leave out the graph of ours")
    given = options.parse_args(arguments)
    pythons = interpreters(given.python, CONTENDERS)
    results: dict[str, Any] = {"chain": {}, "graph": {}, "scan": {}, "while_loop": {}}
    found: list[list[str]] = []
    for nodes in given.nodes:
        runs = chains(given.only, pythons, nodes, given.rounds)
        results["chain"][str(nodes)] = runs
        found += chain_rows(runs, nodes)
    head = ["contender", "nodes", "build s", "backward s", "free s", "total s", "range"]
    print(table([*head, "/ torch", "peak MB", "range"], found))
    if "loopgrad" in given.only and not given.no_graph:
        for nodes in given.nodes:
            run = one_run("loopgrad", pythons["loopgrad"], nodes, "graph")
            results["graph"][str(nodes)] = run
            if run is not None:
                laps = [[name, f"{seconds:.2f}"] for name, seconds in run["laps"].items()]
                print(
                    f"\nThe same chain as a graph, {nodes:,} nodes: peak {run['peak']:.0f} MB, "
                    f"text {run['bytes']['text'] / 1e6:.0f} MB, "
                    f"JSON {run['bytes']['json'] / 1e6:.0f} MB"
                )
                print(table(["what", "s"], laps))
        print("\nLoops of as many steps")
        print(table(LOOP_HEAD, loop_rows(given.nodes, pythons["loopgrad"], results)))
    write(given.json, results)
    return results


if __name__ == "__main__":
    main()
