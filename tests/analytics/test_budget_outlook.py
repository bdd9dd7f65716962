"""Whether and when a budget is used up, from days that are all alike."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from tests.analytics.made import event, table

from penstock.analytics.budget_outlook import Allowance, budget_outlook
from penstock.errors import InputError

NOW = datetime(2026, 3, 17, tzinfo=UTC)
"""A Tuesday, 16 days into the month."""
BUDGET = Allowance(
    scope="everything", per="month", dollars=Decimal(400), hard=True, where=(), each=(), time_zone="UTC",
    since=datetime(2026, 3, 1, tzinfo=UTC), until=datetime(2026, 4, 1, tzinfo=UTC), rolls=False,
)  # fmt: skip


def spent(dollars: str = "10", days: int = 60, **changes):
    """Make the same spend at noon of each day until yesterday."""
    return [
        event(at=NOW - timedelta(days=n, hours=-12), cost=Decimal(dollars), **changes) for n in range(days, 0, -1)
    ]  # fmt: skip


def outlook(events, *budgets, **asked):
    return budget_outlook(table(events), NOW, lambda _at: budgets, **asked).budgets


@pytest.mark.parametrize(
    ("dollars", "state", "day"),
    [
        ("400", "ok", None),  # 31 days at $10 are $310
        ("200", "will be used up", date(2026, 3, 21)),  # $160 are spent; the fifth day from the 17th passes $200
        ("160", "used up", None),
        ("0.01", "used up", None),
    ],
)
def test_a_month_is_used_up_on_the_day_that_passes_it(dollars, state, day):
    [found] = outlook(spent(), msgspec.structs.replace(BUDGET, dollars=Decimal(dollars)))
    assert found.spent == Decimal("160.00")
    assert float(found.expected) == pytest.approx(310, rel=0.001)
    assert found.low <= found.expected <= found.high
    assert (found.state, found.day) == (state, day)
    assert found.probability == (1.0 if state == "used up" else pytest.approx(float(state != "ok"), abs=0.05))


def test_spent_is_exact():
    [found] = outlook([*spent(), event(at=NOW - timedelta(hours=1), cost=Decimal("0.000000000000000001"))], BUDGET)
    assert found.spent == Decimal("160.000000000000000001")


def test_a_budget_without_an_end_lasts_until_its_day():
    ever = msgspec.structs.replace(BUDGET, per="total", until=None, since=datetime(1970, 1, 1, tzinfo=UTC))
    [found] = outlook(spent(), msgspec.structs.replace(ever, dollars=Decimal(1000)))
    assert (found.spent, found.state, found.expected) == (Decimal("600.00"), "will be used up", None)
    assert abs((found.day - date(2026, 4, 26)).days) <= 1  # the 41st day from the 17th
    [found] = outlook(spent(), msgspec.structs.replace(ever, dollars=Decimal(10**6)))
    assert (found.state, found.day) == ("ok", None)


def test_a_rolling_window_forgets_what_is_old():
    week = msgspec.structs.replace(
        BUDGET, per="7d", since=NOW - timedelta(days=7), until=NOW, rolls=True, dollars=Decimal(75)
    )
    [found] = outlook(spent(), week)
    assert (found.state, found.day) == ("ok", None)  # ever $70 in a week
    [found] = outlook([*spent(days=60)[:-3], *spent("13", days=3)], week)
    assert found.state == "used up" or (found.state, found.day) == ("will be used up", date(2026, 3, 17))


def test_each_value_of_a_star_has_its_own_and_only_the_largest_are_forecast():
    events = [one for n in range(12) for one in spent(str(n + 1), days=30, user=f"u{n:02}")]
    each = msgspec.structs.replace(BUDGET, scope="user=*", each=("user",), dollars=Decimal(310))
    found = budget_outlook(table(events), NOW, lambda _at: [each])
    assert [one.scope for one in found.budgets] == [f"user=u{n:02}" for n in range(11, 1, -1)]
    assert (found.others, found.budgets[0].state, found.budgets[1].spent) == (2, "will be used up", Decimal("176.00"))


def test_a_report_about_one_team_tells_of_its_budgets_alone():
    events = [*spent(team="red"), *spent("1", team="blue")]
    each = msgspec.structs.replace(BUDGET, scope="team=*", each=("team",))
    blue = msgspec.structs.replace(BUDGET, scope="team=blue", where=(("team", "blue"),))
    found = outlook(events, BUDGET, each, blue, where=[("team", "red")])
    assert [(one.scope, one.spent) for one in found] == [("team=red", Decimal("160.00"))]


def test_hours_and_scopes_that_fell_silent_have_no_forecast():
    hour = msgspec.structs.replace(
        BUDGET, per="hour", since=NOW - timedelta(minutes=20), until=NOW + timedelta(hours=1)
    )
    gone = msgspec.structs.replace(BUDGET, where=(("team", "gone"),))
    early = [event(at=NOW - timedelta(days=20 + n), team="gone") for n in range(20)]
    found = {one.per: one for one in outlook([*spent(), *early], hour, gone)}
    assert found["hour"].state == "unknown"
    assert "too short" in found["hour"].reason
    assert (found["month"].state, found["month"].reason) == ("ok", "nothing was spent since 2026-02-25")


def test_nothing_to_go_by_is_said():
    with pytest.raises(InputError, match="holds no events"):
        outlook([], BUDGET)
