"""Connectionist temporal classification: labels of a sequence, without saying at which steps.

Graves, Fernandez, Gomez, Schmidhuber 2006, doi:10.1145/1143844.1143891. Every step emits a label
or the blank. The labels of a sequence are its emissions with repeats merged and blanks left out, so
many alignments give the same labels; the loss is minus the logarithm of their probabilities' sum.

The sum is taken by a loop over the steps, in log space. For labels l_1 ... l_S its states are how
probable it is to have emitted, so far, exactly

    label s    l_1 ... l_s, the last emission being l_s        (s = 1 ... S)
    blank s    l_1 ... l_s, the last emission being the blank  (s = 0 ... S)

so that a step is (in probabilities, p the emission's)

    label s' = p(l_s)   (label s + blank s-1 + label s-1 unless l_s is l_s-1)
    blank s' = p(blank) (blank s + label s)

What cannot be has the logarithm -inf, which `ag.logaddexp` takes, with gradients of 0. The gradient
is that of the loop: no backward recursion is written down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import autograd as ag
from autograd.describe import describe
from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.node import Node
from loops import scan
from loops.ragged import row_lengths
from nn.classes import class_numbers
from nn.losses import checked_reduction, checked_scores


def ctc(
    logits: Any,
    labels: Any,
    lengths: Any = None,
    label_lengths: Any = None,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Node:
    """Return -log p(labels) of each row, under softmax(logits) at each step, reduced.

    `logits` (T, B, C) are scores of C classes, one of them the `blank`. Log-probabilities are
    logits too: taking their softmax again changes nothing, neither values nor gradients.
    `labels` (B, S) are integers other than the blank. Of row b the first `lengths[b]` steps and the
    first `label_lengths[b]` labels count (None: all); what comes behind reaches nothing.

    A row whose labels do not fit into its steps (repeated labels need a blank between them) has the
    loss inf, or 0 with `zero_infinity`, and the gradient 0. "mean" divides the loss of each row by
    its number of labels, if it has any, and takes the mean over rows, as PyTorch does; "none" gives
    one number a row, shape (B,).
    """
    how = checked_reduction(reduction)
    scores, labels = _checked(logits, labels, blank)
    steps = None if lengths is None else row_lengths(lengths, scores, "ctc")
    label_rows = labels.T
    if label_lengths is None:
        counts = ag.sum(ag.logical_or(label_rows == label_rows, True), 0)
    else:
        counts = row_lengths(label_lengths, label_rows, "the label_lengths of ctc")
    counted = (ag.positions(label_rows)[:, None] < counts).T
    labels = class_numbers(labels, counted, scores, "ctc", int(blank))
    loss = -_log_likelihood(scores, labels, steps, counts, int(blank))
    if zero_infinity:
        loss = ag.where(ag.isinf(loss), 0.0, loss)
    if how == "none":
        return loss
    if how == "sum":
        total: Node = ag.sum(loss)
        return total
    mean: Node = ag.mean(loss / ag.maximum(counts, 1).astype(loss.dtype))
    return mean


def _checked(logits: Any, labels: Any, blank: Any) -> tuple[Node, Node]:
    """Return logits (T, B, C) and labels (B, S) as nodes, their shapes and dtypes checked."""
    scores, labels = checked_scores(logits, "logits"), ag.tensor(labels)
    if scores.ndim != 3 or labels.ndim != 2 or labels.shape[0] != scores.shape[1]:
        raise ShapeError(
            "ctc takes logits (steps, rows, classes) and labels (rows, labels) of as many rows, "
            f"but got {describe(scores)} and {describe(labels)}; pad rows to one length and say by "
            "lengths and label_lengths what counts"
        )
    if labels.dtype.kind not in "iu":
        raise DTypeError(
            f"ctc: labels must be integers, but are {describe(labels)}; convert them with "
            ".astype('int64')"
        )
    integer = isinstance(blank, (int, np.integer)) and not isinstance(blank, bool)
    if not integer or not 0 <= blank < scores.shape[2]:
        raise LoopGradError(
            f"ctc: blank must be one of the {scores.shape[2]} classes of {describe(scores)}, from "
            f"0 to {scores.shape[2] - 1}, but is {blank!r}"
        )
    return scores, labels


def _log_likelihood(
    scores: Node, labels: Node, steps: Node | None, counts: Node, blank: int
) -> Node:
    """Return log p(labels) of each row, (B,), by the loop of the module's text."""
    emissions: dict[str, Node] = {}
    if steps is not None:
        emissions["valid"] = (ag.positions(scores)[:, None] < steps)[..., None]  # (T, B, 1)
        scores = ag.where(emissions["valid"], scores, 0.0)
    log_p = ag.log_softmax(scores)
    emissions["blank"] = log_p[..., blank, None]  # (T, B, 1)
    emissions["label"] = log_p[:, ag.positions(labels)[:, None], labels]  # (T, B, S)
    start = (counts * 0).astype(scores.dtype)[:, None]  # (B, 1): the empty label, surely
    never = (labels * 0).astype(scores.dtype) - np.inf  # (B, S)
    state = {"blank": ag.concat([start, never], 1), "label": never}
    # Label 1 has none before it: that it is compared with the last one changes nothing.
    repeats = labels == ag.roll(labels, 1, axis=1)
    state, _ = scan(_step(repeats, start - np.inf), state, emissions, name="ctc")
    ends = ag.logaddexp(state["blank"], ag.concat([start - np.inf, state["label"]], 1))
    likelihood: Node = ends[ag.positions(labels), counts]
    return likelihood


def _step(repeats: Node, never: Node) -> Callable[[Any, Any], Any]:
    """Return the body of the loop: states of log-probabilities, `x` the emissions' of one step.

    `never`, -inf, is that of a label before the first.
    """

    def step(state: dict[str, Node], x: dict[str, Node]) -> Any:
        before = ag.concat([never, state["label"]], 1)  # (B, S + 1): on label s = 0 ... S
        moved = ag.where(repeats, -np.inf, before[:, :-1])
        label = ag.logaddexp(ag.logaddexp(state["label"], state["blank"][:, :-1]), moved)
        after = {
            "blank": ag.logaddexp(state["blank"], before) + x["blank"],
            "label": label + x["label"],
        }
        if "valid" in x:
            after = {name: ag.where(x["valid"], after[name], state[name]) for name in after}
        return after, None

    return step
