"""What was spent, by any dimensions and grain of time. Exact: the parts add up to the whole to the last digit."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Context, Decimal
from typing import Any

import ibis
from ibis import _
from msgspec import Struct

from penstock.analytics.zones import local, transitions, zone
from penstock.errors import InputError
from penstock.ledger.moment import Moment, is_aligned

DIMENSIONS = (
    "model", "version", "requested_model", "provider", "deployment", "deployment_type", "region", "mode", "endpoint",
    "team", "app", "feature", "user", "key", "run", "source", "outcome", "error", "status", "purpose", "stream",
    "finish_reason", "usage_source", "price_state", "price_book", "price_row", "decision",
)  # fmt: skip
GRAINS: dict[str, tuple[str, str]] = {
    "hour": ("h", "%Y-%m-%dT%H:00"),
    "day": ("D", "%Y-%m-%d"),
    "week": ("W", "%Y-%m-%d"),
    "month": ("M", "%Y-%m"),
}
"""Grain -> its unit for the engine, and how its first instant is written. A week is named by its Monday."""
TAG = "tag:"
COUNTS = ("events", "requests", "input_tokens", "cached_tokens", "output_tokens", "unpriced_events")
UNPRICED = ("events", "input_tokens", "output_tokens")
OF_UNPRICED = ("unpriced_input_tokens", "unpriced_output_tokens")
NEEDED = (
    "id", "at", "recorded_at", "corrects", "provider", "model", "price_state", "price_row", "cost", "requests",
    "input_tokens", "output_tokens", "cache_read", "cache_read_audio", "cache_read_image",
)  # fmt: skip
"""Columns of every answer; what a query does not name costs time to compile and to read."""

STARTS = re.compile(r"@(\d{4}-\d{2}-\d{2})(?:T[0-9:]+Z)?$")
"""The day in the id of a price row (`row_id`)."""

EXACT = Context(prec=60)
"""Sums of 38-digit numbers need more than the 28 digits of Python's default."""


class SpendRow(Struct, frozen=True, kw_only=True):
    """One group: its dimensions, and the sums of its events. `cost` is dollars, without the unpriced events."""

    group: dict[str, str]
    events: int
    """Attempts booked; corrections change amounts, not this count."""
    requests: int
    """Model requests: an imported aggregate holds many."""
    input_tokens: int
    cached_tokens: int
    """Of the input tokens, those read from a provider's prompt cache."""
    output_tokens: int
    cost: Decimal
    unpriced_events: int


class Unpriced(Struct, frozen=True, kw_only=True):
    """Events of one model that no price is known for, and the tokens that the total leaves out."""

    provider: str
    model: str
    events: int
    input_tokens: int
    output_tokens: int


class Early(Struct, frozen=True, kw_only=True):
    """Events priced by a row that starts after them, because no older price is known."""

    model: str
    price_row: str
    events: int


class Spend(Struct, frozen=True, kw_only=True):
    """The answer: the whole, its parts, and what it does not hold."""

    total: Decimal
    unpriced_events: int
    rows: tuple[SpendRow, ...]
    events: int
    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    first: datetime | None
    """When the first and the last event of the answer began."""
    last: datetime | None
    unpriced: tuple[Unpriced, ...] = ()
    early: tuple[Early, ...] = ()


def spend(
    source: Any,
    *,
    by: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    time_zone: str = "UTC",
    where: Sequence[tuple[str, str]] = (),
) -> Spend:
    """Sum the events that began in [since, until), grouped by the dimensions `by`.

    `source` is a `Ledger.moment()`, whose rollups answer where they can, or any Ibis table of events
    (see `Ledger.table`), on whatever engine; the answer is the same to the last digit.
    Dimensions are `DIMENSIONS`, the grains hour, day, week, month (in `time_zone`), and `tag:NAME`. `where` keeps
    groups: pairs of dimension and value. Rows come the most expensive first; with a grain of time, in its order.
    """
    check(by)
    check([name for name, _value in where], grains=())
    names = tuple(dict.fromkeys(by))
    place = zone(time_zone)
    span = _span(source, since, until) if place is not UTC and set(names) & set(GRAINS) else None

    def facts(*wanted: str, fits: Callable[[int], bool] = _any) -> Any:
        columns = _columns((*wanted, *(name for name, _value in where)))
        if isinstance(source, Moment) and "price_state" not in columns:
            found = source.facts(columns, since=since, until=until, fits=fits)
        else:
            table = source.table(since=since, until=until) if isinstance(source, Moment) else source
            found = facts_of(table, columns)
            found = found.filter(*_within(found, since, until))
        for name, value in where:
            found = found.filter(dimension(found, name) == value)
        return found

    asked = facts(*names, fits=lambda minutes: _fits(minutes, names, place, span))
    clock = asked.at if span is None else local(asked.at, place, *span)
    found = grouped(asked, names, clock).to_pyarrow().to_pylist()
    found = [group for group in found if group["first"]]  # without dimensions, nothing is one group
    rows = [_row(group, names) for group in found]
    unpriced_events = sum(row.unpriced_events for row in rows)
    return Spend(
        total=trimmed(add(row.cost for row in rows)),
        unpriced_events=unpriced_events,
        rows=tuple(sorted(rows, key=_order(rows, names))),
        events=sum(row.events for row in rows),
        requests=sum(row.requests for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        cached_tokens=sum(row.cached_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        first=min((_aware(group["first"]) for group in found), default=None),
        last=max((_aware(group["last"]) for group in found), default=None),
        unpriced=_unpriced(found, names, facts) if unpriced_events else (),
        early=_early(facts("model", "price_row")) if any(_may_be_early(group) for group in found) else (),
    )


def grouped(facts: Any, names: Sequence[str], clock: Any) -> Any:
    """Return the sums by dimension as an expression; `clock` is the local time of each fact."""
    keyed = facts.mutate(
        **{
            f"by_{n}": clock.truncate(GRAINS[name][0]) if name in GRAINS else dimension(facts, name)
            for n, name in enumerate(names)
        }
    )
    return keyed.aggregate(by=[f"by_{n}" for n in range(len(names))], **_sums(keyed))


def check(names: Iterable[str], grains: Iterable[str] = tuple(GRAINS)) -> None:
    """Refuse a dimension that does not exist, and name those that do."""
    known = (*DIMENSIONS, *grains)
    for name in names:
        if name not in known and not (name.startswith(TAG) and len(name) > len(TAG)):
            raise InputError(f"There is no dimension {name!r}: use {', '.join((*known, 'tag:NAME'))}")


def dimension(events: Any, name: str) -> Any:
    """Return the text column of a dimension; what is not filled in is the empty text."""
    if name.startswith(TAG):
        return events.tags.get(name[len(TAG) :], "").fill_null("")
    return events[name].cast("string").fill_null("")


def add(amounts: Iterable[Decimal]) -> Decimal:
    """Add exactly."""
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def facts_of(table: Any, columns: Iterable[str]) -> Any:
    """Turn a table of events into what sums are made of (`rollups.MEASURES`), with these columns of it."""
    events = with_effective_state(table.select(*dict.fromkeys((*NEEDED, *columns))))
    return events.mutate(
        first=events.at, last=events.at, events=events.is_event.cast("int64"),
        cached_tokens=events.cache_read + events.cache_read_audio + events.cache_read_image,
        unpriced_events=events.is_unpriced.cast("int64"),
        unpriced_input_tokens=events.is_unpriced.ifelse(events.input_tokens, 0),
        unpriced_output_tokens=events.is_unpriced.ifelse(events.output_tokens, 0),
        newest_price=events.price_row.right(10),
    )  # fmt: skip


def _columns(names: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of the ledger that dimensions need, besides the time."""
    return tuple(dict.fromkeys("tags" if name.startswith(TAG) else name for name in names if name not in GRAINS))


def _any(_minutes: int) -> bool:
    return True


def _fits(minutes: int, names: Iterable[str], place: tzinfo, span: tuple[datetime, datetime] | None) -> bool:
    """Whether all events of a bucket of so many minutes (UTC) share the grains that are asked for.

    In local time they do where each offset, and each change of the clocks, is a whole number of buckets.
    """
    if "hour" in names and 60 % minutes:
        return False
    if span is None:
        return True
    (_, first), *changes = transitions(place, *span)
    offsets = [first, *(offset for _, offset in changes)]
    return all(not offset % timedelta(minutes=minutes) for offset in offsets) and all(
        is_aligned(instant, minutes) for instant, _ in changes
    )


def _within(table: Any, since: datetime | None, until: datetime | None) -> list[Any]:
    limits = [ibis.literal(True)]
    if since is not None:
        limits.append(table.at >= _naive(since))
    if until is not None:
        limits.append(table.at < _naive(until))
    return limits


def _naive(at: datetime) -> Any:
    return ibis.timestamp(at.astimezone(UTC).replace(tzinfo=None).isoformat())


def with_effective_state(table: Any) -> Any:
    """Give each event the price state that it has after corrections: one that was priced later is not unpriced."""
    found = table.filter((_.corrects != "") & (_.price_state != "unpriced"))
    newest = found.price_state.argmax(found.recorded_at)
    corrections = found.group_by(corrected=found.corrects).aggregate(corrected_state=newest)
    joined = table.left_join(corrections, table.id == corrections.corrected)
    state = joined.corrected_state.fill_null(joined.price_state)
    is_event = joined.corrects == ""
    effective = joined.mutate(price_state=state, is_unpriced=is_event & (state == "unpriced"), is_event=is_event)
    return effective.drop("corrected", "corrected_state")


def _span(source: Any, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """Return instants around all events."""
    if since is not None and until is not None:
        return since, until
    now = datetime.now(UTC)
    if isinstance(source, Moment):
        first, last = source.span() or (now, now)
    else:
        [found] = source.aggregate(first=source.at.min(), last=source.at.max()).to_pyarrow().to_pylist()
        first, last = _aware(found["first"] or now), _aware(found["last"] or now)
    return since or first, until or last


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _sums(facts: Any) -> dict[str, Any]:
    return {
        **{name: facts[name].sum().fill_null(0) for name in (*COUNTS, *OF_UNPRICED)},
        "cost": facts.cost.sum(),
        "first": facts["first"].min(),
        "last": facts["last"].max(),
        "newest_price": facts.newest_price.max(),
    }


def _row(found: dict[str, Any], names: Sequence[str]) -> SpendRow:
    group = {name: _said(name, found[f"by_{n}"]) for n, name in enumerate(names)}
    sums = {name: int(found[name]) for name in COUNTS}
    return SpendRow(group=group, cost=trimmed(found["cost"] or Decimal(0)), **sums)


def _said(name: str, value: Any) -> str:
    return value.strftime(GRAINS[name][1]) if name in GRAINS else str(value)


def trimmed(amount: Decimal) -> Decimal:
    """Drop the zeros that end a ledger's 18 decimals; cents stay."""
    sign, digits, exponent = amount.as_tuple()
    assert isinstance(exponent, int)
    while exponent < -2 and digits[-1] == 0:
        digits, exponent = digits[:-1] or (0,), exponent + 1
    return Decimal((sign, digits, exponent)) if exponent <= -2 else amount.quantize(Decimal("0.01"), context=EXACT)


def _order(rows: Sequence[SpendRow], names: Sequence[str]) -> Callable[[SpendRow], Any]:
    """Sort by cost; where time is a dimension, by the dimensions in turn, each by its own cost, time by the clock."""
    if not any(name in GRAINS for name in names):
        return lambda row: (-row.cost, -row.input_tokens, *row.group.values())
    weights: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in rows:
        values = tuple(row.group.values())
        for n in range(1, len(values) + 1):
            weights[values[:n]] = EXACT.add(weights[values[:n]], row.cost)

    def order(row: SpendRow) -> Any:
        values = tuple(row.group.values())
        return [
            (Decimal(0) if name in GRAINS else -weights[values[: n + 1]], values[n]) for n, name in enumerate(names)
        ]

    return order


def _unpriced(found: Sequence[dict[str, Any]], names: Sequence[str], facts: Callable[..., Any]) -> tuple[Unpriced, ...]:
    """Sum the unpriced events up by model: of the groups found where these tell models apart, else by asking again."""
    if {"provider", "model"} <= set(names):
        rows = [
            {"provider": group[f"by_{names.index('provider')}"], "model": group[f"by_{names.index('model')}"]}
            | {name: group[f"unpriced_{name}"] for name in UNPRICED}
            for group in found
        ]
    else:
        table = facts("provider", "model")
        sums = {name: table[f"unpriced_{name}"].sum() for name in UNPRICED}
        rows = table.group_by(["provider", "model"]).aggregate(**sums).to_pyarrow().to_pylist()
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        total = totals[row["provider"], row["model"]]
        total[:] = [before + int(row[name]) for before, name in zip(total, UNPRICED, strict=True)]
    unpriced = [
        Unpriced(provider=provider, model=model, **dict(zip(UNPRICED, total, strict=True)))
        for (provider, model), total in totals.items()
        if total[0]
    ]
    return tuple(sorted(unpriced, key=lambda row: (-row.events, row.provider, row.model)))


def _may_be_early(group: dict[str, Any]) -> bool:
    """Say whether a look at each day is worth it: the ten last characters of a row's id are the day it starts."""
    return f"{group['first']:%Y-%m-%d}" < (group["newest_price"] or "")


def _early(facts: Any) -> tuple[Early, ...]:
    """Find events whose price row starts after them: a row's id ends in the day on which it starts."""
    daily = facts.filter(facts.price_row != "").mutate(day=facts.at.truncate("D"))
    counted = daily.group_by(["model", "price_row", "day"]).aggregate(events=daily.events.sum())
    found: dict[tuple[str, str], int] = defaultdict(int)
    for row in counted.to_pyarrow().to_pylist():
        start = STARTS.search(row["price_row"])
        if row["events"] and start and f"{row['day']:%Y-%m-%d}" < start[1]:
            found[row["model"], row["price_row"]] += int(row["events"])
    return tuple(Early(model=model, price_row=row, events=n) for (model, row), n in sorted(found.items()))
