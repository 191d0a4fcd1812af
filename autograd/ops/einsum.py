"""Einstein's summation: any product of arrays, summed over any of their axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np

from autograd.errors import ShapeError
from autograd.op import Op, register
from autograd.ops.shape import broadcast_to, reshape
from autograd.spec import Array, Spec

_SMALL = 20_000
"""Products with fewer terms are faster summed directly than by way of matrix products."""


class Einsum(Op):
    """`einsum` with explicit subscripts in letters only: "ij,jk->ik"."""

    def forward(self, *xs: Array, subscripts: str) -> Any:
        terms = subscripts.partition("->")[0].split(",")
        lengths: dict[str, int] = {}
        for term, x in zip(terms, xs, strict=True):
            for letter, n in zip(term, x.shape, strict=True):
                lengths[letter] = max(n, lengths.get(letter, n))
        large = len(xs) > 1 and prod(lengths.values()) > _SMALL
        return np.einsum(subscripts, *xs, optimize=large)

    def infer(self, *specs: Spec, subscripts: str) -> Spec:
        lengths = _lengths(subscripts, [spec.shape for spec in specs])
        dtype = np.result_type(*[spec.dtype for spec in specs])
        return Spec(tuple(lengths[letter] for letter in subscripts.partition("->")[2]), dtype)

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        inputs, _, output = attrs["subscripts"].partition("->")
        terms = inputs.split(",")
        lengths = _lengths(attrs["subscripts"], [x.shape for x in xs])
        grads: list[Any] = []
        for i, need in enumerate(needs):
            others = [(terms[j], xs[j]) for j in range(len(xs)) if j != i]
            factors = [(output, g), *others]
            grads.append(_gradient(xs[i], terms[i], factors, lengths) if need else None)
        return grads

    def batch(self, batched: Sequence[bool], *xs: Any, subscripts: str) -> Any:
        inputs, _, output = subscripts.partition("->")
        new = _unused(subscripts, 1)
        terms = inputs.split(",")
        prefixed = [new + t if b else t for b, t in zip(batched, terms, strict=True)]
        return self(*xs, subscripts=",".join(prefixed) + "->" + new + output)

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        """Return the products and sums of one loop over all letters.

        (For three operands and more NumPy may find a cheaper order.)
        """
        lengths = _lengths(attrs["subscripts"], [spec.shape for spec in inputs])
        summed: bool = len(lengths) > output.ndim
        return prod(lengths.values()) * (len(inputs) - 1 + summed)


_einsum = register(Einsum("einsum"))


def _gradient(x: Any, term: str, factors: list[Any], lengths: dict[str, int]) -> Any:
    """Return the gradient of the operand `x` with subscripts `term`.

    It is the product of all other factors and the gradient of the result, with three additions.
    An axis of length 1 that was broadcast is summed over. A letter that nothing else has (the
    operand was summed over it alone) is broadcast. A letter that the operand has twice (it was
    read along a diagonal) gives zeros off the diagonal: a factor `eye`.
    """
    available = "".join(factor for factor, _ in factors)
    letters = list(dict.fromkeys(term))
    shape = dict(zip(term, x.shape, strict=True))
    wanted = [c for c in letters if c in available and shape[c] == lengths[c]]
    inputs = ",".join(factor for factor, _ in factors)
    part = _einsum(*[value for _, value in factors], subscripts=f"{inputs}->{''.join(wanted)}")
    found = dict(zip(wanted, part.shape, strict=True))
    part = reshape(part, [found.get(c, 1) for c in letters])
    part = broadcast_to(part, [shape[c] for c in letters])
    if len(letters) == len(term):
        return part
    fresh = iter(_unused(term, len(term) - len(letters)))
    operands, inputs, output = [part], "".join(letters), ""
    for letter in term:
        if letter not in output:
            output += letter
            continue
        new = next(fresh)
        operands.append(np.eye(shape[letter], dtype=x.dtype))
        inputs += f",{letter}{new}"
        output += new
    return _einsum(*operands, subscripts=f"{inputs}->{output}")


def _unused(text: str, count: int) -> str:
    letters = "".join(c for c in ascii_letters if c not in text)
    if len(letters) < count:
        raise ShapeError(
            f"einsum '{text}' needs more than the 52 letters there are; write it as several "
            "products of fewer axes"
        )
    return letters[:count]


def _lengths(subscripts: str, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """Return the length of each letter's axis, checked."""
    inputs, _, output = subscripts.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(shapes):
        raise ShapeError(
            f"einsum '{subscripts}' has subscripts for {len(terms)} operands, but {len(shapes)} "
            "came; give one group of letters an operand"
        )
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(term) != len(shape):
            raise ShapeError(
                f"einsum '{subscripts}': '{term}' has {len(term)} letters for an operand of shape "
                f"{shape}; write one letter an axis, or '...' for the axes left"
            )
        own: dict[str, int] = {}
        for letter, n in zip(term, shape, strict=True):
            known = lengths.setdefault(letter, n)
            if own.setdefault(letter, n) != n or (n != known and 1 not in (n, known)):
                raise ShapeError(
                    f"einsum '{subscripts}': the axes named '{letter}' have lengths "
                    f"{own[letter] if own[letter] != n else known} and {n}; axes of one name must "
                    "be equally long"
                )
            if n != 1:
                lengths[letter] = n
    if len(set(output)) != len(output) or not set(output) <= set(lengths):
        raise ShapeError(
            f"einsum '{subscripts}': the letters after '->' must be letters of the operands, each "
            "once"
        )
    return lengths


def einsum(subscripts: Any, *operands: Any) -> Any:
    """Return the sum of products of `operands` that `subscripts` says, as `numpy.einsum`.

    "ij,jk->ik" is a matrix product, "ii->i" a diagonal, "...ij->...ji" a transpose of stacks.
    Without "->" the result has the letters that occur once, in alphabetical order. The form
    `einsum(a, [0, 1], b, [1, 2], [0, 2])` works too.
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _from_lists((subscripts, *operands))
    values = [x if hasattr(x, "shape") else np.asarray(x) for x in operands]
    return _einsum(*values, subscripts=_explicit(subscripts, [len(x.shape) for x in values]))


def _from_lists(arguments: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """Return the subscripts and operands of `(a, [0, 1], b, [1, 2], ..., [0, 2])`."""
    pairs = len(arguments) // 2
    groups = [_letters(arguments[2 * i + 1]) for i in range(pairs)]
    text = ",".join(groups)
    if len(arguments) % 2:
        text += "->" + _letters(arguments[-1])
    return text, arguments[0 : 2 * pairs : 2]


def _letters(group: Any) -> str:
    if not isinstance(group, (list, tuple)) or any(
        i is not Ellipsis and not 0 <= i < len(ascii_letters) for i in group
    ):
        raise ShapeError(
            f"einsum takes a string of subscripts, or after each operand a list of axis numbers "
            f"from 0 to {len(ascii_letters) - 1}, but got {group!r}"
        )
    return "".join("..." if i is Ellipsis else ascii_letters[i] for i in group)


def _explicit(subscripts: str, ranks: Sequence[int]) -> str:
    """Return `subscripts` with a result, and letters for every "..."."""
    text = subscripts.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    used = text.replace("...", "")
    if any(c not in ascii_letters + ",->" for c in used) or arrow not in ("", "->"):
        raise ShapeError(
            f"einsum '{subscripts}': subscripts are letters, ',', '...' and one '->'; for example "
            "'ij,jk->ik'"
        )
    extra = [r - len(t) + 3 for t, r in zip(terms, ranks, strict=False) if "..." in t]
    if any(n < 0 for n in extra) or any(t.count("...") > 1 for t in [*terms, output]):
        raise ShapeError(
            f"einsum '{subscripts}' has more subscripts than its operands have axes ({ranks}), or "
            "'...' twice in one group; leave some out"
        )
    dots = _unused(text, max([0, *extra]))
    if not arrow:
        letters = sorted(set(used) - {","})
        output = "..." * bool(extra) + "".join(c for c in letters if used.count(c) == 1)
    elif any(extra) and "..." not in output:
        raise ShapeError(
            f"einsum '{subscripts}': the axes '...' of the operands must be named after '->' too"
        )
    expanded = []
    for term, rank in zip(terms, [*ranks, *[0] * len(terms)], strict=False):
        count = rank - len(term) + 3
        expanded.append(term.replace("...", dots[len(dots) - count :]) if "..." in term else term)
    return ",".join(expanded) + "->" + output.replace("...", dots)
