from datetime import timedelta
from decimal import Decimal

from tests.analytics.made import MARCH, correction, event, table

from penstock.analytics.runs import iterations


def steps(run, n, **fields):
    return [event(run=run, at=MARCH + timedelta(minutes=minute), **fields) for minute in range(n)]


def test_steps_of_runs_have_a_median_and_a_longest():
    events = [*steps("a", 2), *steps("b", 4), *steps("c", 30, tool_calls=2), event()]
    found = iterations(table(events), by=[])
    [group] = found.groups
    assert (group.runs, group.steps, group.steps_p50, group.steps_most) == (3, 36, 4, 30)
    assert group.steps_p95 == Decimal("27.4")  # 4 + 0.9 x 26
    assert (group.tool_calls, group.cost, group.cost_each, group.cost_most) == (60, 36, 12, 30)
    assert found.without == 1


def test_the_longest_runs_are_named_with_what_they_cost():
    loop = steps("loop", 3, app="agent", outcome="error", cost=Decimal("0.5"))
    events = [*loop, correction(loop[0], Decimal("0.25")), *steps("short", 1, app="agent")]
    first, second = iterations(table(events)).longest
    assert (first.run, first.steps, first.failed, first.cost) == ("loop", 3, 3, Decimal("1.75"))
    assert (first.first, first.last) == (MARCH, MARCH + timedelta(minutes=2))
    assert (first.input_tokens, first.output_tokens) == (360, 30)
    assert second.run == "short"
    assert [run.run for run in iterations(table(events), limit=1).longest] == ["loop"]


def test_a_run_in_two_groups_is_a_run_of_each():
    found = iterations(table([*steps("a", 2, app="x"), *steps("a", 1, app="y", cost=None)]))
    assert [(group.group["app"], group.runs, group.steps, group.unpriced_events) for group in found.groups] == [
        ("x", 1, 2, 0), ("y", 1, 1, 1),
    ]  # fmt: skip


def test_without_runs_there_are_none():
    found = iterations(table([event()]))
    assert (found.groups, found.longest, found.without) == ((), (), 1)
    assert iterations(table([event()]), by=[]).groups == ()
