"""What a scheduled report says of its period: the answers of the other questions, put together."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct

from penstock.analytics.anomalies import Anomaly, anomalies
from penstock.analytics.budget_outlook import Allowances, BudgetOutlooks, budget_outlook
from penstock.analytics.change import Change, Rates, change
from penstock.analytics.efficiency import Efficiency, efficiency
from penstock.analytics.forecast import Forecast, forecast
from penstock.analytics.overlap import Counted, Once, counted
from penstock.analytics.periods import late_begin, previous
from penstock.analytics.question import EXACT, trimmed
from penstock.analytics.report_schedule import Edition, ScheduledReport
from penstock.analytics.spend import SpendRow, Unpriced
from penstock.analytics.zones import zone
from penstock.errors import InputError
from penstock.ledger.moment import Moment


class Bar(Struct, frozen=True, kw_only=True):
    """One day (or hour) of the trend."""

    label: str
    """`2026-11-25`, `2026-11-25T13:00`."""
    cost: Decimal
    before: Decimal | None
    """What the same place in the period before cost; None where that one is shorter."""


class Line(Struct, frozen=True, kw_only=True):
    """One row of the table of spend."""

    group: dict[str, str]
    cost: Decimal
    before: Decimal
    change: Decimal
    requests: int
    unpriced_events: int


class Digest(Struct, frozen=True, kw_only=True):
    """The figures of one edition. Dollars are exact, except those to come, which are estimates."""

    report: ScheduledReport
    edition: Edition
    as_of: datetime
    """What is to come is said as of then."""
    before: tuple[datetime, datetime]
    """The period that it is held against."""
    begins: datetime | None
    """When the ledger begins, where that period is not wholly in it."""
    total: Decimal
    total_before: Decimal
    requests: int
    tokens: int
    lines: tuple[Line, ...]
    trend: tuple[Bar, ...]
    movers: Change | None
    budgets: BudgetOutlooks | None
    forecast: Forecast | None
    anomalies: tuple[Anomaly, ...] | None
    efficiency: Efficiency | None
    efficiency_before: Efficiency | None
    unpriced: tuple[Unpriced, ...]
    unpriced_events: int
    left_out: int
    """Events that another source counts for."""
    missing: dict[str, str]
    """Section -> why it cannot be said."""


def digest(
    moment: Moment,
    report: ScheduledReport,
    edition: Edition,
    now: datetime,
    *,
    allowances: Allowances,
    rates: Rates,
) -> Digest:
    """Put one edition together: the same figures that `penstock report` gives for its period.

    What is to come is said as of when the edition is due, or of `now` where that is sooner.
    """
    source = Once(moment)
    place, where = zone(report.time_zone), report.where
    span = (edition.since, edition.until)
    before = previous(*span, place)
    begins = late_begin(moment.span(), before)
    as_of = min(now, edition.due)
    ask: dict[str, Any] = {"time_zone": report.time_zone, "where": where}
    here = counted(source, by=report.names, since=span[0], until=span[1], **ask)
    earlier = counted(source, by=report.names, since=before[0], until=before[1], **ask).spend
    missing: dict[str, str] = {}

    def found(section: str, question: Any) -> Any:
        """Answer where the section is wanted; what cannot be said is said to be so."""
        if section not in report.sections:
            return None
        try:
            return question()
        except InputError as error:
            missing[section] = str(error)
            return None

    def tokens(since: datetime, until: datetime) -> Efficiency | None:
        rows = efficiency(source, by=(), since=since, until=until, where=where)
        return rows[0] if rows else None

    def moved() -> Change:
        if begins is not None:
            raise InputError(
                f"There is no whole {report.every} before to compare with: the ledger begins on "
                f"{begins.astimezone(place):%Y-%m-%d}."
            )
        return change(source, by=report.names, before=before, after=span, rates=rates, where=where)

    odd = found("anomalies", lambda: anomalies(
        source, as_of, since=span[0], time_zone=report.time_zone, where=where,
    ))  # fmt: skip
    return Digest(
        report=report, edition=edition, as_of=as_of, before=before,
        begins=begins,
        total=here.spend.total, total_before=earlier.total,
        requests=here.spend.requests, tokens=here.spend.input_tokens + here.spend.output_tokens,
        lines=_lines(here.spend.rows, earlier.rows),
        trend=found("trend", lambda: _trend(source, edition, before, report, ask)) or (),
        movers=found("movers", moved),
        budgets=found("budgets", lambda: budget_outlook(source, as_of, allowances, where=where)),
        forecast=found("forecast", lambda: forecast(source, as_of, **ask)),
        anomalies=odd and tuple(one for one in odd.anomalies if one.since < span[1]),
        efficiency=found("tokens", lambda: tokens(*span)),
        efficiency_before=found("tokens", lambda: tokens(*before)),
        unpriced=here.spend.unpriced, unpriced_events=here.spend.unpriced_events, left_out=_left_out(here),
        missing=missing,
    )  # fmt: skip


def _left_out(found: Counted) -> int:
    return sum(one.events for one in found.left_out)


def _lines(now: Sequence[SpendRow], before: Sequence[SpendRow]) -> tuple[Line, ...]:
    """Hold the rows of two periods against each other, the most expensive first."""
    old = {tuple(row.group.values()): row for row in before}
    lines = []
    for row in now:
        was = old.pop(tuple(row.group.values()), None)
        spent = was.cost if was else Decimal("0.00")
        lines.append(Line(
            group=row.group, cost=row.cost, before=spent, change=trimmed(EXACT.subtract(row.cost, spent)),
            requests=row.requests, unpriced_events=row.unpriced_events,
        ))  # fmt: skip
    lines += [
        Line(
            group=row.group, cost=Decimal("0.00"), before=row.cost, change=trimmed(-row.cost), requests=0,
            unpriced_events=0,
        )
        for row in old.values()
    ]  # fmt: skip
    return tuple(lines)


def _trend(
    source: Once,
    edition: Edition,
    before: tuple[datetime, datetime],
    report: ScheduledReport,
    ask: dict[str, Any],
) -> tuple[Bar, ...]:
    """Return the days of a week or month, or the hours of a day, beside those of the period before."""
    grain = "hour" if report.every == "day" else "day"
    lines = []
    for since, until in ((edition.since, edition.until), before):
        rows = counted(source, by=(grain,), since=since, until=until, **ask).spend.rows
        spent = {row.group[grain]: row.cost for row in rows}
        lines.append([(label, spent.get(label, Decimal("0.00"))) for label in _labels(since, until, report, grain)])
    here, earlier = lines
    return tuple(
        Bar(label=label, cost=cost, before=earlier[n][1] if n < len(earlier) else None)
        for n, (label, cost) in enumerate(here)
    )


def _labels(since: datetime, until: datetime, report: ScheduledReport, grain: str) -> list[str]:
    """Name every hour or day of a period on the local clock; the hour that comes twice is named once."""
    place = zone(report.time_zone)
    step = timedelta(hours=1)
    written = "%Y-%m-%dT%H:00" if grain == "hour" else "%Y-%m-%d"
    at = since.astimezone(UTC)
    found: dict[str, None] = {}
    while at < until:
        found[f"{at.astimezone(place):{written}}"] = None
        at += step
    return list(found)
