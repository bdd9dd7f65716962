"""Whether, and when, each budget will be used up: what was spent of it, and what is still to come."""

import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from statistics import NormalDist
from typing import Any, Literal

from msgspec import Struct, structs

from penstock.analytics.forecast import LEVEL, MOST_DAYS, Forecast, forecast
from penstock.analytics.question import EXACT, trimmed
from penstock.analytics.series import as_of, local_day, midnight
from penstock.analytics.spend import add, spend
from penstock.analytics.zones import zone
from penstock.errors import InputError

MOST_VALUES = 10
"""Values of a budget's stars that are forecast, those that have spent most; the others are counted."""
DAY = timedelta(days=1)
GRAIN = Decimal("0.000001")
State = Literal["ok", "will be used up", "used up", "unknown"]


class Allowance(Struct, frozen=True, kw_only=True):
    """A budget in its window of now, as the ledger can be asked about it."""

    scope: str
    per: str
    dollars: Decimal
    hard: bool
    where: tuple[tuple[str, str], ...]
    """Dimensions that must have one value."""
    each: tuple[str, ...]
    """Dimensions with a budget for each value."""
    time_zone: str
    since: datetime
    until: datetime | None
    """None: it never begins anew."""
    rolls: bool
    """The window moves on with the clock."""


class BudgetOutlook(Struct, frozen=True, kw_only=True):
    """One budget. Spent dollars are exact, those expected are an estimate with a microdollar's grain."""

    scope: str
    per: str
    since: datetime
    until: datetime | None
    hard: bool
    dollars: Decimal
    spent: Decimal
    """In this window, of all that the ledger holds; without unpriced events."""
    expected: Decimal | None
    """Spent and to come at the window's end; of one that rolls or never ends, None."""
    low: Decimal | None
    high: Decimal | None
    probability: float | None
    """That the window ends above the budget."""
    day: date | None
    """The day on which it is expected to be used up, or None: not before the window's end, or not within a year."""
    state: State
    reason: str
    """Why there is no forecast."""


Allowances = Callable[[datetime], Sequence[Allowance]]
"""The budgets in force, each in its window of an instant."""


class BudgetOutlooks(Struct, frozen=True, kw_only=True):
    """All budgets, those first that are used up soonest."""

    as_of: datetime
    budgets: tuple[BudgetOutlook, ...]
    others: int
    """Values of stars that have spent less than those above, and are not forecast."""


def budget_outlook(
    source: Any,
    now: datetime,
    allowances: Allowances,
    *,
    where: Sequence[tuple[str, str]] = (),
    method: str = "drift",
) -> BudgetOutlooks:
    """Say of each budget whether, and on which day, it will be used up.

    With `where`, only of the budgets that are about these values: one team's report does not tell of other teams.

    `source` is as for `spend`. Of a ledger that ended long ago it is said as of its end, as a forecast is.
    Raises InputError where the ledger holds nothing that is priced.
    """
    at, _whole = as_of(source, now, zone("UTC"), ())
    found: list[BudgetOutlook] = []
    others = 0
    for budget in filter(None, (_about(one, where) for one in allowances(at))):
        spent = _spent(source, budget, at)
        ranked = sorted(spent, key=lambda values: (-spent[values], values))
        asking = _Asking(source, now, at, budget, method)
        found += [_outlook(asking, values, spent[values]) for values in ranked[:MOST_VALUES]]
        others += len(ranked[MOST_VALUES:])
    return BudgetOutlooks(as_of=at, budgets=tuple(sorted(found, key=_soonest)), others=others)


def _about(budget: Allowance, where: Sequence[tuple[str, str]]) -> Allowance | None:
    """Return the part of a budget that is about these values; None: it is about more, or about others."""
    for pair in where:
        if pair[0] in budget.each:
            each = tuple(name for name in budget.each if name != pair[0])
            budget = structs.replace(budget, where=(*budget.where, pair), each=each)
        elif pair not in budget.where:
            return None
    return budget


def _soonest(one: BudgetOutlook) -> tuple[Any, ...]:
    share = one.spent / one.dollars if one.dollars else Decimal(1)
    return one.state != "used up", one.day or date.max, -share, one.scope, one.per


def _spent(source: Any, budget: Allowance, at: datetime) -> dict[tuple[str, ...], Decimal]:
    """Return what each value of the stars has spent in the window; without stars, the only one."""
    rows = spend(source, by=budget.each, since=budget.since, until=at, where=budget.where).rows
    found = {
        values: row.cost
        for row in rows
        if "run" not in budget.each or row.group["run"]
        if (values := tuple(row.group[name] for name in budget.each)) is not None
    }
    return found or ({} if budget.each else {(): Decimal(0)})


class _Asking(Struct, frozen=True):
    """What every value of a budget is asked with."""

    source: Any
    now: datetime
    at: datetime
    """Until when the ledger speaks."""
    budget: Allowance
    method: str


def _outlook(asking: _Asking, values: tuple[str, ...], spent: Decimal) -> BudgetOutlook:
    budget, at = asking.budget, asking.at
    where = (*budget.where, *zip(budget.each, values, strict=True))
    scope = ", ".join(f"{name}={value or '(none)'}" for name, value in where) or budget.scope
    plain: dict[str, Any] = {
        "scope": scope, "per": budget.per, "since": budget.since, "until": budget.until, "hard": budget.hard,
        "dollars": budget.dollars, "spent": trimmed(spent), "expected": None, "low": None, "high": None,
        "probability": None, "day": None, "reason": "", "state": "used up" if spent >= budget.dollars else "unknown",
    }  # fmt: skip
    place = zone(budget.time_zone)
    today = local_day(at, place)
    length = (budget.until or at) - budget.since
    if length < DAY and budget.until is not None:
        return BudgetOutlook(**plain | {"reason": "a window of hours is too short for a forecast by day"})
    days = MOST_DAYS
    if budget.until is not None:
        last_day = local_day(budget.until - timedelta(seconds=1), place)
        days = min(MOST_DAYS, max(1, math.ceil(length / DAY) if budget.rolls else (last_day - today).days + 1))
    try:
        ahead = forecast(
            asking.source, asking.now, days=days, time_zone=budget.time_zone, where=where, method=asking.method
        )
    except InputError as error:
        return BudgetOutlook(**plain | {"reason": str(error)})
    if at - ahead.as_of > DAY:  # the ledger goes on, and this scope does not
        reason = f"nothing was spent since {ahead.as_of - DAY:%Y-%m-%d}"
        return BudgetOutlook(**plain | {"reason": reason, "state": plain["state"] if spent >= budget.dollars else "ok"})
    if budget.rolls:
        day = _day_rolling(asking, where, ahead, today)
        state = plain["state"] if spent >= budget.dollars else "will be used up" if day else "ok"
        return BudgetOutlook(**plain | {"day": day, "state": state})
    room = budget.dollars - spent
    day = next((one.day for one in ahead.days if one.sum > room), None)
    state = "used up" if room <= 0 else "will be used up" if day else "ok"
    if budget.until is None:
        return BudgetOutlook(**plain | {"day": None if room <= 0 else day, "state": state})
    last = ahead.days[-1]
    return BudgetOutlook(**plain | {
        "expected": trimmed(spent + last.sum), "low": trimmed(spent + last.low), "high": trimmed(spent + last.high),
        "probability": _probability(ahead, room), "day": None if room <= 0 else day, "state": state,
    })  # fmt: skip


def _probability(ahead: Forecast, room: Decimal) -> float:
    """Return how likely more is to come than there is room for; the interval says how wide its logarithm is."""
    last = ahead.days[-1]
    if room <= 0:
        return 1.0
    if last.sum <= 0 or last.high <= last.sum:
        return float(last.sum > room)
    spread = math.log(float(last.high / last.sum)) / NormalDist().inv_cdf((1 + LEVEL) / 2)
    return round(1 - NormalDist().cdf(math.log(float(room / last.sum)) / spread), 4)


def _day_rolling(asking: _Asking, where: tuple[tuple[str, str], ...], ahead: Forecast, today: date) -> date | None:
    """Return the first day at whose end the days of the window, booked and to come, are above the budget."""
    budget, at = asking.budget, asking.at
    place = zone(budget.time_zone)
    length = math.ceil(((budget.until or at) - budget.since) / DAY)
    rows = spend(
        asking.source, by=("day",), since=midnight(today - timedelta(days=length), place), until=at,
        time_zone=budget.time_zone, where=where,
    ).rows  # fmt: skip
    sums = {date.fromisoformat(row.group["day"]): row.cost for row in rows}
    for one in ahead.days[: length + 1]:
        sums[one.day] = EXACT.add(sums.get(one.day, Decimal(0)), one.expected)
        first = one.day - timedelta(days=length - 1)
        if add(value for day, value in sums.items() if first <= day <= one.day) > budget.dollars:
            return one.day
    return None
