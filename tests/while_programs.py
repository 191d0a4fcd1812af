"""Programs around a while loop, for the tests of loops that their data stop.

Each takes the loop to use and a number, and returns (a float, the number of steps). The loop is
`loops.while_loop` or `by_hand`, Python's own while on tensors.
"""

import numpy as np
import pytest

import autograd as ag
from loops import cond, scan


def by_hand(cond, body, carry):
    """Return what while_loop returns, from Python's own while."""
    steps = 0
    while bool(cond(carry)):
        carry = body(carry)
        steps += 1
    return carry, ag.tensor(np.int64(steps))


def newton(loop, a):
    """The square root by Newton's method, until a step is small."""

    def body(carry):
        x, _ = carry
        after = 0.5 * (x + a / x)
        return after, ag.abs(after - x)

    (x, _), steps = loop(lambda c: c[1] > 1e-7, body, (a * 0.0 + 1.0, a * 0.0 + 1.0))
    return x, steps


def bisection(loop, a):
    """The root of x**3 = a between 0 and 4; then one step of Newton's method, for its gradient."""

    def body(c):
        middle = 0.5 * (c["low"] + c["high"])
        left = middle**3 < ag.stop_gradient(a)
        return {
            "low": ag.where(left, middle, c["low"]),
            "high": ag.where(left, c["high"], middle),
        }

    carry, steps = loop(lambda c: c["high"] - c["low"] > 1e-6, body, {"low": 0.0, "high": 4.0})
    x = carry["low"]
    return x - (x**3 - a) / (3.0 * x**2), steps


def halving(loop, a):
    """Halve a step until it no longer raises f(x) = x**4 - a x at x = 1.5 (backtracking)."""

    def risen(rate):
        x = 1.5 - rate * (4.0 * 1.5**3 - a)
        return x**4 - a * x > 1.5**4 - a * 1.5

    rate, steps = loop(risen, lambda rate: rate * 0.5, 2.0 + 0.0 * a)
    return (1.5 - rate * (4.0 * 1.5**3 - a)) ** 2, steps


def collatz(loop, a):
    """Steps from 7 to 1 (an integer carry), each of which changes a float too."""

    def body(c):
        n, x = c
        even = n % 2 == 0
        return ag.where(even, n // 2, 3 * n + 1), ag.where(even, ag.sin(x * a), x + a)

    (_, x), steps = loop(lambda c: c[0] > 1, body, (ag.tensor(np.int64(7)), a * 1.0))
    return x, steps


def no_step(loop, a):
    return loop(lambda x: x > 1e6, lambda x: x * a, a * a)


def one_step(loop, a):
    return loop(lambda x: x < 1e-3, lambda x: ag.exp(x) * a, a * 0.0)


def while_in_while(loop, a):
    """The inner loop doubles until it passes the outer state, so it runs 0 to 5 steps."""

    def outer(c):
        total, t = c
        x, inner = loop(lambda x: x < t, lambda x: x * 2.0 + a * ag.cos(x), a * 0.5)
        return total + x * x + ag.astype(inner, "float64") * a, t + a

    (total, _), steps = loop(lambda c: c[1] < 9.0, outer, (a * 0.0, a * 0.3))
    return total, steps


def while_in_scan(loop, a):
    def step(h, x):
        y, n = loop(lambda y: y < x, lambda y: y * 1.5 + a + y * y, h * 0.1)
        return ag.tanh(y) + h, y * ag.astype(n, "float64")

    h, total, xs = a, 0.0, np.array([0.5, 4.0, -1.0, 9.0])
    if loop is by_hand:
        for x in xs:
            h, y = step(h, float(x))
            total = total + y
        return h * total, ag.tensor(np.int64(4))
    h, ys = scan(step, h, xs)
    return h * ys.sum(), ag.tensor(np.int64(4))


def while_in_cond(loop, a):
    def inside(a):
        return loop(lambda x: x < 20.0, lambda x: x * a, a)

    def outside(a):
        return a * 2.0, ag.tensor(np.int64(0))

    return cond(a > 0.5, inside, outside, a)


def cond_in_while(loop, a):
    def body(x):
        return cond(x > 3.0, lambda x: x + a, lambda x: x * x + a, x)

    return loop(lambda x: x < 10.0, body, a)


def vectors(loop, a):
    """States of several shapes, a captured array, all elements in the condition."""
    w = np.array([[0.9, -0.3], [0.2, 0.8]])

    def body(c):
        return {"v": ag.tanh(w @ c["v"]) * a, "sum": c["sum"] + c["v"] * c["v"]}

    start = {"v": ag.stack([a, a * 2.0]), "sum": ag.zeros(2)}
    carry, steps = loop(lambda c: ag.any(ag.abs(c["v"]) > 0.2), body, start)
    return carry["sum"].sum() + carry["v"][0], steps


PROGRAMS = {
    newton: 7.3,
    bisection: 5.2,
    halving: 0.7,
    collatz: 0.61,
    no_step: 1.3,
    one_step: 0.4,
    while_in_while: 1.1,
    while_in_scan: 0.37,
    while_in_cond: 1.7,
    cond_in_while: 0.9,
    vectors: 0.8,
}
every_program = pytest.mark.parametrize(
    ("program", "at"), PROGRAMS.items(), ids=[p.__name__ for p in PROGRAMS]
)
