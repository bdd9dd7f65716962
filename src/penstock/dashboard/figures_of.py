"""Figures that several pages show: spend day by day, and sums by some dimensions."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from penstock.analytics.question import COUNTS
from penstock.analytics.spend import Spend, SpendRow, add, spend
from penstock.dashboard.asked import Asked
from penstock.dashboard.charts import Series, ranked, stacked
from penstock.dashboard.charts_frame import COLOURS
from penstock.dashboard.figure import SHOWN, Column, Figure, Legend, Row
from penstock.dashboard.house import House
from penstock.dashboard.words import money

FEW_SECONDS = 10.0
"""How old sums may be that no rollup has."""
BARS = 12
"""Bars of a chart before the rest is left to the table."""


def spent(house: House, asked: Asked, by: Sequence[str], *, seconds: float = 0, brief: bool = True) -> Spend:
    """Sum up what the page asks for, by some dimensions; what reads single events may be kept for some seconds.

    A `brief` answer does not tell which models lack a price.
    """

    def ask() -> Spend:
        return spend(house.source(), by=by, since=asked.since, until=asked.until, where=asked.where, brief=brief)

    key = ("spent", by, asked.since, asked.until, asked.where, brief)
    return house.remember(key, ask, seconds) if seconds else ask()


def by_payer(house: House, asked: Asked) -> Spend:
    """Sum up by team and app, for a page and for the findings that it shows: these name the models without a price."""
    return spent(house, asked, ("team", "app"), seconds=FEW_SECONDS, brief=False)


def summed(rows: Sequence[SpendRow], names: tuple[str, ...]) -> list[SpendRow]:
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


def per_day(asked: Asked, rows: Sequence[SpendRow], name: str, *, title: str, figure: str = "per-day") -> Figure:
    """Stack the spend of each day by a dimension; `rows` have it, and the day."""
    days = asked.days
    series = series_of(rows, days, name)
    sums = [add(one.amounts[n] for one in series) for n in range(len(days))]
    most = max(sums, default=Decimal(0))
    told = f"{title}, {asked.label}: ${add(sums):,.2f} in all, at most ${most:,.2f} a day."
    return Figure(
        name=figure, title=title,
        columns=(
            Column("day", "Day"), *(Column(one.name, one.name, "money") for one in series),
            Column("total", "Total", "money"),
        ),
        rows=[
            Row(
                (days[n].isoformat(), *(one.amounts[n] for one in series), sums[n]),
                href=asked.of_day("/requests", days[n]) if sums[n] else "",
            )
            for n in reversed(range(len(days)))
        ] if series else (),
        chart=stacked(days, series, title=told) if series else None,
        legend=tuple(Legend(n, one.name, money(one.total)) for n, one in enumerate(series)),
        shown=400,
    )  # fmt: skip


def series_of(rows: Sequence[SpendRow], days: Sequence[date], name: str) -> list[Series]:
    """Make a series of each of the most expensive values; the others are summed up in the last one."""
    amounts: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    wanted = [day.isoformat() for day in days]
    for row in rows:
        if row.cost:
            spent = amounts[row.group[name]]
            spent[row.group["day"]] = add((spent[row.group["day"]], row.cost))
    rank = sorted(amounts, key=lambda value: (-add(amounts[value].values()), value))
    named = rank if len(rank) <= COLOURS else rank[: COLOURS - 1]
    series = [Series(value or f"no {name}", tuple(amounts[value][day] for day in wanted)) for value in named]
    if rest := rank[len(named) :]:
        series.append(Series(f"{len(rest)} others", tuple(add(amounts[v][day] for v in rest) for day in wanted)))
    return series


def by(
    asked: Asked, names: tuple[str, ...], rows: Sequence[SpendRow], *, title: str, figure: str = "", note: str = "",
    path: str = "/requests", chart: bool = True, half: bool = True,
) -> Figure:  # fmt: skip
    """Show sums by some dimensions: bars, and a table whose rows lead to the requests."""
    drawn = [(" · ".join(filter(None, row.group.values())) or "none", row.cost) for row in rows if row.cost][:BARS]
    total = add(row.cost for row in rows)
    return Figure(
        name=figure or "by-" + "-".join(names), title=title, note=note, half=half,
        columns=(
            *(Column(name, name.replace("_", " ").capitalize()) for name in names),
            Column("requests", "Requests", "count"), Column("input_tokens", "Input", "tokens", less=True),
            Column("cached_share", "Cached", "share", less=True),
            Column("output_tokens", "Output", "tokens", less=True), Column("cost", "Cost", "money", bar=True),
            Column("unpriced_events", "Unpriced", "count", hidden=True),
        ),
        rows=[
            Row(
                (
                    *(row.group[name] for name in names), row.requests, row.input_tokens,
                    Decimal(row.cached_tokens) / row.input_tokens if row.input_tokens else None, row.output_tokens,
                    None if row.unpriced_events and not row.cost else row.cost, row.unpriced_events,
                ),
                href=asked.narrowed(path, row.group) if n < SHOWN else "",
                badge=f"{row.unpriced_events:,} unpriced" if row.unpriced_events else "",
            )
            for n, row in enumerate(rows)
        ],
        chart=ranked(
            drawn, title=f"{title}, {asked.label}: ${total:,.2f} in all."
        ) if chart and len(drawn) > 1 else None,
    )  # fmt: skip
