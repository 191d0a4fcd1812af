"""Schedules of checkpoints: right, within their slots, optimal, and in the published order."""

from functools import cache

import pytest

import autograd as ag
from loops import checkpoints
from loops.checkpoints import Action, Online, binomial, forward_steps, repetitions

# Griewank and Walther's example: 10 steps, 3 slots; worked out by hand.
TEN_STEPS_THREE_SLOTS = """
store 0; advance 0 4; store 4; advance 4 7; store 7;
advance 7 9; back 9; restore 7; advance 7 8; back 8; restore 7; back 7; free 7;
restore 4; advance 4 5; store 5; advance 5 6; back 6; restore 5; back 5; free 5;
restore 4; back 4; free 4;
restore 0; advance 0 1; store 1; advance 1 2; store 2;
advance 2 3; back 3; restore 2; back 2; free 2; restore 1; back 1; free 1;
restore 0; back 0; free 0
"""


def parsed(text):
    words = [part.split() for part in text.split(";")]
    return [Action(kind, *map(int, steps)) for kind, *steps in words]


@cache
def least(steps, slots):
    """The least number of forward steps by trying every place for the next checkpoint."""
    if steps <= 1:
        return 0
    if slots == 1:
        return steps * (steps - 1) // 2
    return min(k + least(steps - k, slots - 1) + least(k, slots) for k in range(1, steps))


def obeyed(actions, steps, slots):
    """Do what a schedule says, checking each action; return the step numbers run forward."""
    current, kept, forward, back = 0, set(), [], []
    for kind, step, stop in actions:
        if kind in ("advance", "store", "back"):
            assert current == step
        if kind == "advance":
            assert step < stop <= steps
            forward += range(step, stop)
            current = stop
        elif kind == "store":
            assert step not in kept
            kept.add(step)
            assert len(kept) <= slots
        elif kind == "restore":
            assert step in kept
            current = step
        elif kind == "back":
            back.append(step)
        else:
            kept.remove(step)
    assert back == [*reversed(range(steps))]
    assert not kept
    return forward


def online(steps, slots):
    """The actions of a loop that turns out to have so many steps."""
    schedule = Online(slots)
    for i in range(steps):
        yield from schedule.passing(i)
        yield Action("advance", i, i + 1)
    yield from schedule.finish(steps)


def most(forward):
    """How often the step run most often was run."""
    return max(map(forward.count, set(forward)), default=0)


def test_the_published_example_in_its_order():
    assert [*binomial(10, 3)] == parsed(TEN_STEPS_THREE_SLOTS)


@pytest.mark.parametrize(
    ("steps", "slots", "text"),
    [
        (0, 2, ""),
        (1, 2, "store 0; back 0; free 0"),
        (2, 5, "store 0; advance 0 1; back 1; restore 0; back 0; free 0"),
        (
            3,
            1,
            "store 0; advance 0 2; back 2; restore 0; advance 0 1; back 1; restore 0; back 0; "
            "free 0",
        ),
        (
            3,
            2,
            "store 0; advance 0 1; store 1; advance 1 2; back 2; restore 1; back 1; free 1; "
            "restore 0; back 0; free 0",
        ),
    ],
)
def test_small_schedules_in_their_order(steps, slots, text):
    assert [*binomial(steps, slots)] == (parsed(text) if text else [])


@pytest.mark.parametrize("slots", range(1, 9))
def test_the_binomial_schedule_is_the_best_there_is(slots):
    for steps in range(61):
        forward = obeyed(binomial(steps, slots), steps, slots)
        assert len(forward) == least(steps, slots) == forward_steps(steps, slots)
        assert most(forward) == repetitions(steps, slots)


def test_slots_for_all_states_run_every_step_but_the_last_once():
    assert forward_steps(1000, 1000) == 999
    assert sorted(obeyed(binomial(50, 60), 50, 60)) == [*range(49)]


def test_large_numbers():
    """1,000 slots reach 1,002 x 1,001 / 2 steps with two repetitions."""
    assert repetitions(501_501, 1000) == 2
    assert repetitions(501_502, 1000) == 3
    assert forward_steps(1_000_000, 1000) == 3_000_000 - 1003 * 1002 // 2
    actions = binomial(20_000, 150)
    total = sum(a.stop - a.step for a in actions if a.kind == "advance")
    assert total == forward_steps(20_000, 150)


@pytest.mark.parametrize("slots", range(1, 7))
def test_online_repeats_no_step_more_often_than_the_best(slots):
    for steps in range(80):
        forward = obeyed(online(steps, slots), steps, slots)
        assert most(forward) <= repetitions(steps, slots) + 1
        assert len(forward) <= (repetitions(steps, slots) + 1) * steps


def test_online_with_room_for_all_runs_each_step_once_in_order():
    assert obeyed(online(9, 9), 9, 9) == [*range(9)]


def test_online_keeps_states_as_worked_out_by_hand():
    """Full at 3, which goes unstored; then 4, a level higher, makes 1 and 2 dispensable."""
    schedule = Online(3)
    kept = []
    for step in range(9):
        schedule.passing(step)
        kept.append(schedule.kept)
    assert kept == [
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 1, 2],
        [0, 2, 4],
        [0, 4, 5],
        [0, 4, 5],
        [0, 4, 7],
        [0, 4, 7],
    ]


def test_a_planted_fault_is_caught(monkeypatch):
    right = checkpoints._split
    monkeypatch.setattr(checkpoints, "_split", lambda n, c: max(1, right(n, c) - 1))
    with pytest.raises(AssertionError):
        test_the_binomial_schedule_is_the_best_there_is(3)


@pytest.mark.parametrize("slots", [0, -1, 2.0, True])
def test_the_number_of_slots_is_checked(slots):
    for schedule in (Online, lambda c: [*binomial(5, c)], lambda c: forward_steps(5, c)):
        with pytest.raises(ag.GradientError, match="number of checkpoints is a whole number"):
            schedule(slots)
