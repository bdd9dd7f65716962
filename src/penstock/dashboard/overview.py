"""The first page: what was spent, on what, by whom."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct

from penstock.analytics.spend import COUNTS, SpendRow, add, spend
from penstock.dashboard.charts import COLOURS, Series, stacked
from penstock.dashboard.house import House, checked, number
from penstock.dashboard.words import link, places_for

PERIODS = (7, 30, 90)
SHOWN = 12
"""Rows of a table before the rest is left to the CSV."""


class Card(Struct, frozen=True):
    """One figure of the top row."""

    name: str
    cost: Decimal
    requests: int
    tokens: int
    unpriced: int


class Group(Struct, frozen=True, kw_only=True):
    """One table: rows by some dimensions."""

    title: str
    names: tuple[str, ...]
    """Dimensions with a column of their own."""
    beside: str
    """A dimension told beside the last of them."""
    rows: Sequence[SpendRow]
    more: int
    whole: Decimal
    places: int
    csv: str


class DayRow(Struct, frozen=True):
    """One line of the table behind the chart."""

    day: str
    amounts: tuple[Decimal, ...]
    total: Decimal


def overview(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Gather the page's figures: two questions to the ledger, from which everything on it is summed up."""
    fields = checked(fields, ("days",))
    days = number(fields, "days", 30, 400)
    today = house.now().astimezone(UTC).date()
    shown = [today - timedelta(days=n) for n in reversed(range(days))]
    month = today.replace(day=1)
    first = min(shown[0], month, today - timedelta(days=6))
    since, until = _midnight(first), _midnight(today + timedelta(days=1))
    ledger = house.ledger.moment()
    daily = spend(ledger, by=("day", "provider", "model"), since=since, until=until).rows
    teams = spend(ledger, by=("team", "app"), since=_midnight(shown[0]), until=until).rows
    period = [row for row in daily if row.group["day"] >= shown[0].isoformat()]
    series = _series(period, shown)
    sums = [add(one.amounts[n] for one in series) for n in range(days)]
    return {
        "here": "/", "days": days, "periods": PERIODS,
        "unpriced": [row for row in _summed(period, ("provider", "model")) if row.unpriced_events],
        "cards": [
            _card("Today", daily, today),
            _card("Last 7 days", daily, today - timedelta(days=6)),
            _card(f"{today:%B} to date", daily, month),
        ],
        "series": series, "places": places_for(sums), "chart": stacked(shown, series, title=_told(sums, days)),
        "table": [
            DayRow(at.isoformat(), tuple(one.amounts[n] for one in series), sums[n])
            for n, at in reversed(list(enumerate(shown)))
        ],
        "csv": _csv("day,model", shown[0]),
        "groups": [
            _group("By model", ("model",), "provider", _summed(period, ("model", "provider")), shown[0]),
            _group("By team and app", ("team", "app"), "", teams, shown[0]),
        ],
    }  # fmt: skip


def _summed(rows: Sequence[SpendRow], names: tuple[str, ...]) -> list[SpendRow]:
    """Sum rows up to fewer dimensions, the most expensive first."""
    grouped: dict[tuple[str, ...], list[SpendRow]] = defaultdict(list)
    for row in rows:
        grouped[tuple(row.group[name] for name in names)].append(row)
    found = [
        SpendRow(
            group=dict(zip(names, values, strict=True)),
            cost=add(row.cost for row in parts),
            **{name: sum(getattr(row, name) for row in parts) for name in COUNTS},
        )
        for values, parts in grouped.items()
    ]
    return sorted(found, key=lambda row: (-row.cost, -row.input_tokens, *row.group.values()))


def _card(name: str, rows: Sequence[SpendRow], first: date) -> Card:
    inside = [row for row in rows if row.group["day"] >= first.isoformat()]
    return Card(
        name,
        add(row.cost for row in inside),
        sum(row.requests for row in inside),
        sum(row.input_tokens + row.output_tokens for row in inside),
        sum(row.unpriced_events for row in inside),
    )


def _series(rows: Sequence[SpendRow], days: Sequence[date]) -> list[Series]:
    """Make a series of each of the most expensive models; the others are summed up in the last one."""
    amounts: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    wanted = [day.isoformat() for day in days]
    for row in rows:
        if row.cost:
            spent = amounts[row.group["model"]]
            spent[row.group["day"]] = add((spent[row.group["day"]], row.cost))
    ranked = sorted(amounts, key=lambda model: (-add(amounts[model].values()), model))
    named = ranked if len(ranked) <= COLOURS else ranked[: COLOURS - 1]
    series = [Series(model or "no model", tuple(amounts[model][day] for day in wanted)) for model in named]
    if rest := ranked[len(named) :]:
        summed = tuple(add(amounts[model][day] for model in rest) for day in wanted)
        series.append(Series(f"{len(rest)} others", summed))
    return series


def _group(title: str, names: tuple[str, ...], beside: str, found: Sequence[SpendRow], first: date) -> Group:
    rows = found[:SHOWN]
    return Group(
        title=title, names=names, beside=beside, rows=rows, more=len(found) - len(rows),
        whole=add(row.cost for row in found), places=places_for(row.cost for row in rows),
        csv=_csv(",".join(filter(None, (*names, beside))), first),
    )  # fmt: skip


def _csv(by: str, first: date) -> str:
    return link("/api/spend", {"by": by, "from": first.isoformat(), "format": "csv"})


def _told(sums: Sequence[Decimal], days: int) -> str:
    """Say in a sentence what the chart shows, for those who do not see it."""
    total = add(sums)
    most = max(sums, default=Decimal(0))
    return f"Spend per day of the last {days} days: ${total:,.2f} in all, at most ${most:,.2f} a day."


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
