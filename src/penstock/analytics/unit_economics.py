"""What an outcome costs and earns: spend held against business metrics, day by day."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from penstock.analytics.efficiency import ratio
from penstock.analytics.question import trimmed
from penstock.analytics.spend import add, check, spend
from penstock.analytics.zones import zone
from penstock.errors import InputError
from penstock.ledger.business_metrics import Observation

Per = Literal["day", "week", "month", "all"]
MONTH_DAYS = 30
"""The guide's month, for the payback period."""
FINE = Decimal("0.000000001")
COLUMNS = ("date", "metric", "value")
LONGEST = 512
"""Characters of a name."""
MOST_DIGITS = 30
"""Before or behind the point of a value."""


class Unit(Struct, frozen=True, kw_only=True):
    """One group in one stretch of time. Only days with the metric count; dollars, but for the ratios."""

    group: dict[str, str]
    first: date | None
    """First and last day that counts."""
    last: date | None
    days: int
    outcomes: Decimal
    spend: Decimal
    """Of the ledger."""
    other_cost: Decimal
    cost_per_outcome: Decimal | None
    """(Spend + other cost) / outcomes, to nine decimals; None: no outcome."""
    value: Decimal | None
    """None: no value was given."""
    net: Decimal | None
    margin: Decimal | None
    """(Value - cost) / value."""
    roi_multiple: Decimal | None
    """Value / cost."""
    roi: Decimal | None
    """(Value - cost) / cost."""
    cost_share: Decimal | None
    """Cost / value."""
    unpriced_events: int
    """Of these days: spend is too low by what they cost."""


class Gap(Struct, frozen=True, kw_only=True):
    """Days of one group that count in no figure, because there is spend and no metric."""

    group: dict[str, str]
    days: tuple[date, ...]
    spend: Decimal


class Economics(Struct, frozen=True, kw_only=True):
    """The whole, its parts, and what they leave out."""

    metric: str
    total: Unit
    rows: tuple[Unit, ...]
    missing: tuple[Gap, ...]
    idle: int
    """Days of a group with the metric and without spend; they count."""
    investment: Decimal
    payback_months: Decimal | None
    """Investment / net of thirty days, to two decimals; None: no investment, no value, or never."""


def metrics_in(file: Path) -> list[Observation]:
    """Read a CSV file of metrics, as `read_metrics` does."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return read_metrics(lines, str(file))
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text: save it as CSV in UTF-8") from None
    except OSError as error:
        raise InputError(f"Cannot read {file}: {error.strerror}") from None


def read_metrics(lines: Iterable[str], name: str) -> list[Observation]:
    """Read CSV with the columns date, metric, value, and any dimensions (team, app, tag:NAME, ...).

    Raises InputError with file and line.
    """
    reader = csv.DictReader(lines)
    columns = [(column or "").strip() for column in reader.fieldnames or ()]
    if lacking := [column for column in COLUMNS if column not in columns]:
        raise InputError(f"{name}: there is no column {lacking[0]!r}; the header is date,metric,value and dimensions")
    dimensions = [column for column in columns if column not in COLUMNS]
    check(dimensions, grains=())
    reader.fieldnames = columns
    seen: dict[tuple[Any, ...], int] = {}
    found = []
    for row in reader:
        if None in row or None in row.values():
            raise InputError(f"{name}, line {reader.line_num}: it has not as many values as the header has columns")
        one = observation(row, f"{name}, line {reader.line_num}: ")
        key = (one.day, one.metric, *one.group.values())
        if key in seen:
            raise InputError(
                f"{name}, line {reader.line_num}: {one.metric} of {one.day} is in line {seen[key]} already; add them up"
            )
        seen[key] = reader.line_num
        found.append(one)
    return found


def from_rows(rows: Sequence[Any]) -> list[Observation]:
    """Read rows of a document, each with date, metric, value and dimensions. Raises InputError with row and field."""
    found: list[Observation] = []
    seen: dict[tuple[Any, ...], int] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise InputError(f"row {number}: it is no object with date, metric and value")
        one = observation(row, f"row {number}: ")
        key = (one.day, one.metric, *sorted(one.group.items()))
        if key in seen:
            raise InputError(f"row {number}: {one.metric} of {one.day} is in row {seen[key]} already; add them up")
        seen[key] = number
        found.append(one)
    return found


def observation(row: Mapping[str, Any], place: str) -> Observation:
    """Read one row: date, metric, value and dimensions. Raises InputError that begins with the place, and the field."""
    texts = {name: "" if value is None else str(value).strip() for name, value in row.items()}
    if lacking := [column for column in COLUMNS if not texts.get(column)]:
        raise InputError(f"{place}{lacking[0]}: it is missing; a row has date, metric, value and dimensions")
    if isinstance(row["value"], bool):
        raise InputError(f"{place}value: {row['value']} is not a number: write it like 1234.5")
    group = {name: text for name, text in texts.items() if name not in COLUMNS}
    try:
        check(group, grains=())
    except InputError as error:
        raise InputError(f"{place}{error}") from None
    if any(len(text) > LONGEST or not text.isprintable() for text in texts.values()):
        raise InputError(f"{place}a value is longer than {LONGEST} characters, or holds line ends")
    try:
        day = date.fromisoformat(texts["date"])
    except ValueError:
        raise InputError(f"{place}date: {texts['date']!r} is not a day: write it like 2026-03-14") from None
    try:
        value = Decimal(texts["value"])
        if not value.is_finite() or abs(value.adjusted()) > MOST_DIGITS:
            raise InvalidOperation
    except InvalidOperation:
        raise InputError(f"{place}value: {texts['value']!r} is not a number: write it like 1234.5") from None
    return Observation(day=day, metric=texts["metric"], value=value, group=group)


class _Asked(NamedTuple):
    """Which metrics are what."""

    metric: str
    value_each: Decimal | None
    value_metric: str
    cost_metric: str


class _Cell:
    """One group on one day."""

    def __init__(self) -> None:
        self.spend, self.unpriced, self.spent = Decimal(0), 0, False
        self.metrics: dict[str, Decimal] = {}


def unit_economics(
    source: Any,
    observations: Sequence[Observation],
    metric: str = "",
    *,
    by: Sequence[str] = (),
    per: Per = "all",
    since: datetime | None = None,
    until: datetime | None = None,
    time_zone: str = "UTC",
    where: Sequence[tuple[str, str]] = (),
    value_each: Decimal | None = None,
    value_metric: str = "",
    cost_metric: str = "",
    investment: Decimal = Decimal(0),
) -> Economics:
    """Hold the spend of each day against `metric`, the count of outcomes of that day; by default the first there is.

    Value is `value_each` dollars an outcome, or the dollars of `value_metric`; `cost_metric` holds dollars of other
    costs. Without bounds the time is that of the metric. `source` is as for `spend`.
    Raises InputError for a metric or a dimension that the observations do not have.
    """
    names = tuple(dict.fromkeys(by))
    if not observations:
        raise InputError("There is no metric of any day: add lines below the header, or penstock metrics import FILE")
    metric = metric or observations[0].metric
    _check(observations, (metric, value_metric, cost_metric), names)
    place = zone(time_zone)
    days = [one.day for one in observations if one.metric == metric]
    since = since or datetime(*min(days).timetuple()[:3], tzinfo=place)
    until = until or datetime(*(max(days) + timedelta(days=1)).timetuple()[:3], tzinfo=place)
    cells = _cells(source, observations, names, period=(since, until), time_zone=time_zone, where=where)
    counted = {key: cell for key, cell in cells.items() if metric in cell.metrics}
    missing: dict[tuple[str, ...], list[tuple[date, Decimal]]] = defaultdict(list)
    parts: dict[tuple[Any, ...], dict[tuple[date, tuple[str, ...]], _Cell]] = defaultdict(dict)
    for (day, group), cell in sorted(cells.items()):
        if (day, group) in counted:
            parts[_begin(day, per), *group][day, group] = cell
        elif cell.spent:
            missing[group].append((day, cell.spend))
    asked = _Asked(metric, value_each, value_metric, cost_metric)
    rows = [
        _unit(dict(zip(names, key[1:], strict=True)), some, asked)
        for key, some in sorted(parts.items(), key=lambda item: (str(item[0][0]), item[0][1:]))
    ]
    if per == "all":
        rows.sort(key=lambda row: (-row.spend, *row.group.values()))
    total = _unit({}, counted, asked)
    return Economics(
        metric=metric, total=total, rows=tuple(rows) if names or per != "all" else (),
        missing=tuple(
            Gap(
                group=dict(zip(names, group, strict=True)), days=tuple(day for day, _ in gaps),
                spend=trimmed(add(amount for _, amount in gaps)),
            )
            for group, gaps in sorted(missing.items())
        ),
        idle=sum(not cell.spent for cell in counted.values()), investment=investment,
        payback_months=_payback(investment, total),
    )  # fmt: skip


def _check(observations: Sequence[Observation], metrics: Sequence[str], names: Sequence[str]) -> None:
    known = {one.metric for one in observations}
    for metric in metrics:
        if metric and metric not in known:
            raise InputError(f"There is no metric {metric!r}: there is {', '.join(sorted(known)) or 'none'}")
    asked = [one for one in observations if one.metric in metrics]
    columns = {name for one in asked for name in one.group}
    for name in names:
        if name not in columns:
            raise InputError(f"The metrics have no column {name!r}: add it, or leave it out of --by")


def _cells(
    source: Any,
    observations: Sequence[Observation],
    names: tuple[str, ...],
    *,
    period: tuple[datetime, datetime],
    time_zone: str,
    where: Sequence[tuple[str, str]],
) -> dict[tuple[date, tuple[str, ...]], _Cell]:
    """Lay spend and metrics out by day and group."""
    since, until = period
    cells: dict[tuple[date, tuple[str, ...]], _Cell] = defaultdict(_Cell)
    found = spend(source, by=(*names, "day"), since=since, until=until, time_zone=time_zone, where=where)
    for row in found.rows:
        cell = cells[date.fromisoformat(row.group["day"]), tuple(row.group[name] for name in names)]
        cell.spend, cell.unpriced, cell.spent = row.cost, row.unpriced_events, True
    place = zone(time_zone)
    first = since.astimezone(place).date()
    last = (until - timedelta(microseconds=1)).astimezone(place).date()
    for one in observations:
        if first <= one.day <= last and all(one.group.get(name, value) == value for name, value in where):
            metrics = cells[one.day, tuple(one.group.get(name, "") for name in names)].metrics
            metrics[one.metric] = metrics.get(one.metric, Decimal(0)) + one.value
    return cells


def _unit(
    group: dict[str, str],
    cells: Mapping[tuple[date, tuple[str, ...]], _Cell],
    asked: _Asked,
) -> Unit:
    days = sorted({day for day, _ in cells})
    outcomes = _sum(cells, asked.metric)
    spent = trimmed(add(cell.spend for cell in cells.values()))
    other = _sum(cells, asked.cost_metric)
    cost = add((spent, other))
    value = None if asked.value_each is None else outcomes * asked.value_each
    if asked.value_metric:
        value = _sum(cells, asked.value_metric)
    net = None if value is None else value - cost
    each = (cost / outcomes).quantize(FINE) if outcomes else None
    return Unit(
        group=group, first=days[0] if days else None, last=days[-1] if days else None, days=len(days),
        outcomes=outcomes, spend=spent, other_cost=other, cost_per_outcome=each, value=value, net=net,
        margin=None if net is None or value is None else ratio(net, value),
        roi_multiple=None if value is None else ratio(value, cost),
        roi=None if net is None else ratio(net, cost),
        cost_share=None if value is None else ratio(cost, value),
        unpriced_events=sum(cell.unpriced for cell in cells.values()),
    )  # fmt: skip


def _sum(cells: Mapping[Any, _Cell], metric: str) -> Decimal:
    return add(cell.metrics.get(metric, Decimal(0)) for cell in cells.values())


def _payback(investment: Decimal, total: Unit) -> Decimal | None:
    if not investment or total.net is None or total.net <= 0:
        return None
    return (investment * total.days / MONTH_DAYS / total.net).quantize(Decimal("0.01"))


def _begin(day: date, per: Per) -> date | None:
    """Return the first day of the stretch that a day is in."""
    match per:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case _:
            return None
