"""The worker's side: answer JSON requests on standard input, one a line, until it ends.

Workers run as scripts, in whatever environment the contender lives in: they import nothing of this
checkout, whose `autograd` is not the one of HIPS.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any


class UnavailableError(Exception):
    """What a contender cannot do here; the message says why."""


def serve(make: Callable[[str], tuple[str, Callable[..., Any]]]) -> None:
    """Say the version of the contender named by the first argument, then answer requests."""
    try:
        version, answer = make(sys.argv[1])
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def seconds_a_call(call: Callable[[], Any], at_least: float) -> float:
    """Return the mean time of `call`, repeated until `at_least` seconds have passed."""
    number = 1
    while True:
        start = time.perf_counter()
        for _ in range(number):
            call()
        spent = time.perf_counter() - start
        if spent >= at_least:
            return spent / number
        number *= 2 if spent <= 0 else max(2, min(100, round(1.2 * at_least / spent)))


def import_loopgrad() -> Any:
    import autograd

    if not hasattr(autograd, "_installation"):
        raise ImportError(f"{autograd.__path__} is not LoopGrad's autograd")
    return autograd


def import_hips() -> Any:
    import autograd

    if hasattr(autograd, "_installation"):
        raise ImportError("autograd is LoopGrad's here; HIPS autograd needs its own environment")
    return autograd


def import_torch() -> Any:
    import torch

    torch.set_num_threads(1)
    return torch
