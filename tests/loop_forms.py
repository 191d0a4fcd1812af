"""Loop forms: one list of every way a loop may be written, for laws that must hold for all of them.

Each is a function of (xs, h, w), nodes of shapes (T, 2), (2,) and (2, 2), to a list of outputs.
"""

from dataclasses import dataclass, field

import numpy as np

import autograd as ag
from autograd.node import OPS
from loops import LoopNode, cond, scan
from loops.form import Ports, loop_attrs

START = np.array([0.4, -0.6])
WEIGHT = np.array([[0.3, -0.2], [0.7, 0.4]])


def steps_of(count, dtype="float64"):
    """Return `count` slices of two numbers, all different."""
    return (np.cos(1.7 * np.arange(2 * count)) * 0.8).reshape(count, 2).astype(dtype)


# Forms: functions of (xs, h, w) to a list of outputs. `xs` has one slice a step.


def rnn(xs, h, w, reverse=False):
    with LoopNode("rnn", reverse=reverse) as loop:
        x, before = loop.each(xs), loop.branch("h", h)
        after = ag.tanh(x + before @ w)
        loop.feed(before, after)
        hs = loop.collect(after)
    return [hs, loop.final(before)]


def backwards(xs, h, w):
    return rnn(xs, h, w, reverse=True)


def several_states(xs, h, w):
    """Two states that swap, one that stays, and slices of two sequences."""
    with LoopNode("several") as loop:
        x, y = loop.each(xs), loop.each(xs * 0.5 + 1.0)
        a, b, c = loop.branch("a", h), loop.branch("b", h * 2.0), loop.branch("c", h - 1.0)
        loop.feed(a, ag.tanh(b @ w + x))
        loop.feed(b, a * y)
        loop.feed(c, c)
        outs = [loop.collect(a - b), loop.collect(c * x)]
    return [*outs, loop.final(a), loop.final(b), loop.final(c)]


def nested(xs, h, w):
    with LoopNode("outer") as outer:
        x, g = outer.each(xs), outer.branch("g", h)
        with LoopNode("inner", reverse=True) as inner:
            v, k = inner.each(ag.concat([w, w * 0.5, w[:1]])), inner.branch("k", g)
            inner.feed(k, ag.tanh(k * v + x))
            ks = inner.collect(k)
        outer.feed(g, inner.final(k) * 0.7)
        sums = outer.collect(ks.sum(axis=0))
        everything = outer.collect(ks)
    return [sums, everything, outer.final(g)]


def nested_three(xs, h, w):
    with LoopNode("a") as a:
        x, p = a.each(xs), a.branch("p", h)
        with LoopNode("b", length=3) as b:
            q = b.branch("q", p)
            with LoopNode("c", reverse=True) as c:
                v, r = c.each(w), c.branch("r", q)
                c.feed(r, ag.sin(r * v + x))
                rs = c.collect(r)
            b.feed(q, c.final(r) + rs.sum(axis=0) * 0.1)
            qs = b.collect(rs)
        a.feed(p, b.final(q) * 0.5)
        out = a.collect(qs.sum(axis=(0, 1)))
    return [out, a.final(p)]


def unused_outputs(xs, h, w):
    with LoopNode("unused") as loop:
        x, a, b = loop.each(xs), loop.branch("a", h), loop.branch("b", h)
        loop.each(xs * 3.0)
        loop.feed(a, ag.tanh(a @ w + x))
        loop.feed(b, b + x)
        loop.collect(b * 2.0)
        used = loop.collect(a)
        loop.collect(x)
    return [used]


def only_finals(xs, h, w):
    with LoopNode("finals") as loop:
        x, a = loop.each(xs), loop.branch("a", h)
        loop.feed(a, ag.tanh(a @ w) * x)
    return [loop.final(a)]


def only_collected(xs, h, w):
    with LoopNode("mapped") as loop:
        x = loop.each(xs)
        ys = loop.collect(ag.tanh(x @ w) * h)
    return [ys]


def collected_constants(xs, h, w):
    """What every step collects does not depend on the step, and one output is collected twice."""
    with LoopNode("constants") as loop:
        x = loop.each(xs)
        y = x @ w
        outs = [loop.collect(h), loop.collect(np.float64(2.0)), loop.collect(y), loop.collect(y)]
    return outs


def integer_states(xs, h, w):
    with LoopNode("counting") as loop:
        x, n, a = loop.each(xs), loop.branch("n", np.int64(1)), loop.branch("a", h)
        odd = n % 2 == 1
        loop.feed(n, n * 3 + 1)
        loop.feed(a, ag.tanh(a @ w + x / (n % 5 + 1)))
        ns, odds = loop.collect(n), loop.collect(odd)
    return [ns, odds, loop.final(n), loop.final(a)]


def captured(xs, h, w):
    """Inputs, a parameter and what is computed of them come in from two levels further out."""
    scale = ag.parameter("scale", [0.5, 1.5])
    outside = ag.exp(h * scale)
    with LoopNode("outer") as outer:
        x, g = outer.each(xs), outer.branch("g", h)
        with LoopNode("inner", length=4) as inner:
            k = inner.branch("k", g)
            inner.feed(k, ag.tanh(k @ w + outside * x) * scale)
        outer.feed(g, inner.final(k))
        out = outer.collect(g * scale)
    return [out, outer.final(g)]


def own_parameters(xs, h, w):
    """Each step has its own part of two parameters."""
    count = xs.shape[0]
    weights = ag.parameter("weights", np.sin(np.arange(4.0 * count)).reshape(count, 2, 2))
    biases = ag.parameter("biases", 0.1 * np.cos(np.arange(2.0 * count)).reshape(count, 2))
    with LoopNode("unshared") as loop:
        x, v, b = loop.each(xs), loop.each(weights), loop.each(biases)
        a = loop.branch("a", h)
        loop.feed(a, ag.tanh(a @ v + x @ w + b))
        out = loop.collect(a)
    return [out, loop.final(a)]


def branches(xs, h, w):
    """A branch each step, one side of which has a loop of its own."""

    def longer(a, x):
        return scan(lambda g, v: (ag.tanh(g * v + x), None), a, ag.concat([w, w]))[0]

    def cell(a, x):
        new = cond(x.sum() > 0.2, longer, lambda a, x: a * x, a, x)
        return new, new @ w

    a, ys = scan(cell, h, xs)
    return [a, ys]


def in_a_branch(xs, h, w):
    ys = cond(h[0] > 0.0, lambda: rnn(xs, h, w)[0], lambda: xs * 1.0)
    return [ys * h]


def random_numbers(xs, h, w):
    """A key is a state, and each step draws from a new one."""
    with LoopNode("noisy") as loop:
        x, key, a = loop.each(xs), loop.branch("key", ag.random.key(3)), loop.branch("a", h)
        keys = ag.random.split(key, 2)
        noise = ag.random.normal(keys[0], (2,))
        kept = ag.random.bernoulli(ag.random.fold_in(keys[0], 7), 0.6, (2,))
        loop.feed(key, keys[1])
        loop.feed(a, ag.tanh(a @ w + x + 0.1 * noise) * kept)
        out = loop.collect(noise * a)
    return [out, loop.final(a), loop.final(key)]


def no_slices(xs, h, w):
    with LoopNode("power", length=xs.shape[0]) as loop:
        a = loop.branch("a", h)
        loop.feed(a, ag.tanh(a @ w) + 0.1)
        out = loop.collect(a)
    return [out, loop.final(a) * xs.sum()]


def in_a_row(xs, h, w):
    a, ys = scan(lambda a, x: (ag.tanh(a @ w + x), a), h, xs, name="first")
    b, zs = scan(lambda b, y: (ag.tanh(b + y @ w.T), b * y), a, ys, reverse=True, name="second")
    return [zs, b]


def of_a_gradient(xs, h, w):
    """The gradient of a loop's output inside the graph: loops that go the other way, unrolled."""
    hs, last = rnn(xs, h, w)
    return ag.grad((hs**2.0).sum() + last.sum(), [xs, h, w])


def numbered(xs, h, w):
    with LoopNode("numbered", reverse=True) as loop:
        x, a = loop.each(xs), loop.branch("a", h)
        loop.feed(a, ag.tanh(a @ w + x / (loop.index + 1)))
        out = loop.collect(a * loop.index)
    return [out, loop.final(a), loop.steps]


# Forms whose length the data decide.


def until_step(xs, h, w, last=3):
    """Stops after step `last`."""
    with LoopNode("until") as loop:
        x, a = loop.each(xs), loop.branch("a", h)
        after = ag.tanh(a @ w + x)
        loop.feed(a, after)
        loop.until(loop.index >= last)
        out, count = loop.collect(after), loop.steps
    return [out, loop.final(a), count]


def until_first(xs, h, w):
    return until_step(xs, h, w, 0)


def until_left_over(xs, h, w):
    """Stops in the last of seven steps, which by 2 and by 3 are left over from the rounds."""
    return until_step(xs, h, w, 6)


def until_never(xs, h, w):
    return until_step(xs, h, w, 100)


def until_flipped(xs, h, w):
    with LoopNode("until", reverse=True) as loop:
        x, a = loop.each(xs), loop.branch("a", h)
        loop.feed(a, ag.tanh(a @ w + x))
        loop.until(loop.index == 4)
        out = loop.collect(a * x)
    return [out, loop.final(a)]


def until_at_once(xs, h, w):
    with LoopNode("never") as loop:
        x, a = loop.each(xs), loop.branch("a", h)
        loop.feed(a, ag.log(a * x))
        loop.until(a.sum() > 100.0, unless=h[0] > 0.0)
        out, count = loop.collect(ag.log(a)), loop.steps
    return [out, loop.final(a), count]


def until_before_nan(xs, h, w):
    """Steps after the stop would be NaN: none of them may be computed, not even to be dropped."""
    with LoopNode("until", length=xs.shape[0]) as loop:
        a = loop.branch("a", ag.exp(h) + 3.0)
        after = ag.sqrt(a - 1.1)
        loop.feed(a, after)
        loop.until(after.sum() < 2.6)
        out, count = loop.collect(after * xs.sum()), loop.steps
    return [out, loop.final(a), count]


def until_in_a_loop(xs, h, w):
    """Another number of steps each time round."""
    with LoopNode("outer") as outer:
        x, g = outer.each(xs), outer.branch("g", h)
        with LoopNode("inner", length=5) as inner:
            a = inner.branch("a", g + x)
            after = a * 0.7 + ag.tanh(a @ w)
            inner.feed(a, after)
            inner.until(ag.abs(after).sum() < 0.9)
            out, count = inner.collect(after), inner.steps
        outer.feed(g, inner.final(a) * 0.5)
        sums, counts = outer.collect(out.sum(axis=0)), outer.collect(count)
    return [sums, counts, outer.final(g)]


def while_below(xs, h, w):
    """A loop that only its data stop."""
    with LoopNode("while") as loop:
        a = loop.branch("a", h + xs.sum(axis=0))
        after = a * 1.2 + ag.abs(a @ w) * 0.3
        loop.feed(a, after)
        loop.until(ag.square(after).sum() > 9.0)
        count = loop.steps
    return [loop.final(a), count]


def while_bounded(xs, h, w):
    with LoopNode("while", bound=xs.shape[0] + 3) as loop:
        a = loop.branch("a", h)
        after = a * 1.2 + ag.abs(a @ w) * 0.3 + xs.sum(axis=0)
        loop.feed(a, after)
        loop.until(ag.square(after).sum() > 9.0)
        out, count = loop.collect(after), loop.steps
    return [out, loop.final(a), count]


# Forms with states from further back.


def lagged(xs, h, w, lags=(1, 2, 5), reverse=False, until=False):
    """`a` is what was one, two and five steps ago."""
    a, b, c, x, v = (ag.input(n, s) for n, s in zip("abcxv", [(2,)] * 4 + [(2, 2)], strict=True))
    new = ag.tanh(a @ v + b * 0.5 - c * x)
    outputs = {"a": new, "b": new * 1.0, "c": new + 0.1, "y": new - b}
    ports, states = (
        {"v": v},
        [h * 1.0 if n == 1 else ag.stack([h * (j + 1.0) for j in range(n)]) for n in lags],
    )
    flags = {}
    if until:
        going, count = ag.input("going", (), "bool"), ag.input("count", (), "int64")
        flags = {"going": going, "count": count}
        stop = ag.abs(new).sum() > until
        outputs = {"going": ag.logical_not(stop), "count": count + 1, **outputs}
        states = [ag.constant(True), ag.constant(np.int64(0)), *states]
        lags = (1, 1, *lags)
    body = ag.Graph(
        {**ports, **flags, "a": a, "b": b, "c": c, "x": x},
        outputs,
        name="lagged",
        allow_unused=True,
    )
    attrs = loop_attrs(body, Ports(1, len(states), 1), reverse=reverse, lags=lags, until=until > 0)
    return list(OPS["loop"](w, *states, xs, **attrs))


def lagged_in_reverse(xs, h, w):
    return lagged(xs, h, w, reverse=True)


def lagged_far(xs, h, w):
    """A lag of more steps than there are."""
    return lagged(xs, h, w, (3, 9, 1))


def lagged_until(xs, h, w):
    return lagged(xs, h, w, (1, 2, 4), until=1.4)


def delayed(xs, h, w):
    """One state at several lags, and slices from before and after, drawn as users write them."""
    with LoopNode("delayed") as loop:
        x, ago, ahead = (
            loop.each(xs),
            loop.each(xs, lag=2, before=h),
            loop.each(xs, lead=1, after=0.0),
        )
        a, a4 = loop.branch("a", h, lags=(1, 4))
        after = ag.tanh(a @ w + a4 * ago - x * ahead)
        loop.feed(a, after)
        out = loop.collect(after)
    return [out, loop.final(a), loop.final(a4)]


def delayed_until(xs, h, w):
    with LoopNode("delayed", reverse=True) as loop:
        x, a3 = loop.each(xs), loop.branch("a", h, lag=3)
        loop.feed(a3, ag.tanh(a3 @ w + x))
        loop.until(loop.index == 4)
        out = loop.collect(a3 * x)
    return [out, loop.final(a3)]


# Forms with gradients cut, and ragged batches.


def truncated(xs, h, w):
    a, ys = scan(lambda a, x: (ag.tanh(a @ w + x), a * x), h, xs, truncate=2)
    return [ys, a]


def ragged(xs, h, w, how="shrink"):
    rows = ag.stack([xs, xs * 0.5, xs - 1.0], axis=1)
    start = ag.stack([h, h * 2.0, h + 1.0])
    lengths = np.array([xs.shape[0], 2, 0])
    a, ys = scan(lambda a, x: (ag.tanh(a @ w + x), a * x), start, rows, lengths=lengths, ragged=how)
    return [ys, a]


def ragged_masked(xs, h, w):
    return ragged(xs, h, w, "mask")


@dataclass(frozen=True)
class Form:
    """A loop form and the number of its steps."""

    draw: object
    steps: int = 7
    dtype: str = "float64"
    stays: frozenset = field(default=frozenset())
    """Names of loops that stay in the graph however it is unrolled."""

    def __str__(self):
        return f"{self.draw.__name__}-{self.steps}" + "-float32" * (self.dtype == "float32")

    @property
    def values(self):
        return [x.astype(self.dtype) for x in (steps_of(self.steps), START, WEIGHT)]

    def graph(self):
        xs, h, w = (
            ag.input(n, x.shape, x.dtype)
            for n, x in zip(("xs", "h", "w"), self.values, strict=True)
        )
        outputs = {f"out_{i}": y for i, y in enumerate(self.draw(xs, h, w))}
        loss = sum(
            (ag.square(y - 0.3) * np.linspace(0.5, 1.5, y.size).reshape(y.shape)).sum()
            for y in outputs.values()
            if y.dtype.kind == "f"
        )
        graph = ag.Graph([xs, h, w], {**outputs, "loss": loss}, name="form", allow_unused=True)
        return graph


FORMS = [
    *[Form(form, steps) for form in (rnn, backwards) for steps in (0, 1, 7)],
    *[Form(several_states, steps) for steps in (0, 6, 7)],
    Form(nested),
    Form(nested, 3),
    Form(nested_three, 5),
    Form(unused_outputs),
    Form(only_finals, 0),
    Form(only_finals),
    Form(only_collected, 0),
    Form(only_collected),
    Form(collected_constants, 5),
    Form(integer_states),
    Form(captured, 5),
    Form(own_parameters),
    Form(branches),
    Form(in_a_branch),
    Form(random_numbers),
    Form(no_slices),
    Form(in_a_row),
    Form(of_a_gradient, 5),
    Form(numbered),
    Form(rnn, 7, "float32"),
    Form(nested, 4, "float32"),
    Form(until_first, 5),
    *[Form(until_step, steps) for steps in (0, 1, 7)],
    Form(until_left_over),
    Form(until_never),
    Form(until_flipped),
    Form(until_at_once, 4),
    Form(until_before_nan),
    Form(until_in_a_loop, 3),
    Form(while_below, stays=frozenset({"while"})),
    Form(while_bounded, 4),
    Form(lagged),
    Form(lagged, 2),
    Form(lagged, 0),
    Form(lagged_in_reverse),
    Form(lagged_far, 6),
    Form(lagged_until),
    Form(delayed),
    Form(delayed_until),
    Form(truncated),
    Form(ragged, 5, stays=frozenset({"scan"})),
    Form(ragged_masked, 5),
]


INNER = {nested, nested_three, branches, until_in_a_loop, captured, while_below, while_bounded}
"""Forms with loops whose lengths are their own."""
