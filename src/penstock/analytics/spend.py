"""What was spent, by any dimensions and grain of time. Exact: the parts add up to the whole to the last digit."""
# ruff: noqa: S608  # names of columns; values are bound

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from penstock.analytics.question import (
    COUNTS,
    EXACT,
    GRAINS,
    TAG,
    UNPRICED,
    Found,
    Question,
    chosen,
    table_of,
    trimmed,
)
from penstock.analytics.zones import local_sql, transitions, zone
from penstock.errors import InputError
from penstock.ledger.columns import SCHEMA
from penstock.ledger.engine import quoted
from penstock.ledger.moment import Moment, is_aligned

DIMENSIONS = (
    "model", "version", "requested_model", "provider", "deployment", "deployment_type", "region", "mode", "endpoint",
    "team", "app", "feature", "user", "key", "run", "source", "outcome", "error", "status", "purpose", "stream",
    "finish_reason", "usage_source", "price_state", "price_book", "price_row", "decision",
)  # fmt: skip
TEXTS = frozenset(name for name in DIMENSIONS if SCHEMA.field(name).type == pa.string())


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
    among: tuple[str, Sequence[str]] | None = None,
    brief: bool = False,
) -> Spend:
    """Sum the events that began in [since, until), grouped by the dimensions `by`.

    `source` is an `overlap.Once`, which counts traffic once that several sources recorded, a `Ledger.moment()`, whose
    rollups answer where they can, or any Ibis table of events (see `Ledger.table`), on whatever engine; the answer is
    the same to the last digit.
    Dimensions are `DIMENSIONS`, the grains hour, day, week, month (in `time_zone`), and `tag:NAME`. `where` keeps
    groups: pairs of dimension and value; `among` keeps some values of a dimension. Rows come the most expensive first;
    with a grain of time, in its order. A `brief` answer does not tell which models lack a price.
    """
    check(by)
    check([name for name, _value in where], grains=())
    names = tuple(dict.fromkeys(by))
    question = Question(
        names=names, since=since, until=until, place=zone(time_zone), where=tuple(where),
        among=among and (among[0], tuple(among[1])), brief=brief,
    )  # fmt: skip
    return _spend(_found(source, question), names)


def dollars(
    source: Any,
    *,
    by: Sequence[str],
    since: datetime | None = None,
    until: datetime | None = None,
    time_zone: str = "UTC",
    where: Sequence[tuple[str, str]] = (),
    among: tuple[str, Sequence[str]] | None = None,
) -> dict[tuple[str, ...], Decimal]:
    """Return what each group spent, as `spend` does, without anything else; in no order."""
    check(by)
    question = Question(
        names=tuple(by), since=since, until=until, place=zone(time_zone), where=tuple(where),
        among=among and (among[0], tuple(among[1])), sums=(), brief=True,
    )  # fmt: skip
    found = _found(source, question)
    return dict(zip(zip(*found.keys, strict=True), found.costs, strict=True))


def _found(source: Any, question: Question) -> Found:
    source = chosen(source, since=question.since, until=question.until, where=question.where)
    if isinstance(source, Moment) and "price_state" not in question.columns(*question.names):
        return _asked(source, question)
    from penstock.analytics.tables import ask_table  # noqa: PLC0415  # half a second: only who asks a table waits

    return ask_table(table_of(source, since=question.since, until=question.until), question)


def _spend(found: Found, names: Sequence[str]) -> Spend:
    groups = [dict(zip(names, values, strict=True)) for values in zip(*found.keys, strict=True)] if names else [{}]
    columns = (found.sums[name] for name in COUNTS)
    rows = [
        SpendRow(
            group=group, cost=cost, events=events, requests=requests, input_tokens=read, cached_tokens=cached,
            output_tokens=written, unpriced_events=unpriced,
        )
        for group, cost, events, requests, read, cached, written, unpriced in zip(
            groups, found.costs, *columns, strict=False
        )
    ]  # fmt: skip
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for provider, model, *amounts in found.unpriced:
        total = totals[provider, model]
        total[:] = [before + amount for before, amount in zip(total, amounts, strict=True)]
    lacking = [
        Unpriced(provider=provider, model=model, events=events, input_tokens=read, output_tokens=written)
        for (provider, model), (events, read, written) in totals.items()
        if events
    ]
    return Spend(
        total=trimmed(add(found.costs)),
        rows=tuple(rows if found.is_sorted else sorted(rows, key=_order(rows, names))),
        **{name: sum(found.sums[name]) for name in COUNTS},
        first=found.first,
        last=found.last,
        unpriced=tuple(sorted(lacking, key=lambda row: (-row.events, row.provider, row.model))),
        early=tuple(Early(model=model, price_row=row, events=events) for model, row, events in sorted(found.early)),
    )


def _asked(moment: Moment, question: Question) -> Found:
    """Ask a moment in SQL: one query, and two small ones where something has no price, or one that starts later."""
    names, place = question.names, question.place
    span = _span(moment, question.since, question.until) if question.is_local else None
    clock = local_sql(place, *span) if span else '"at"'

    def fits(minutes: int) -> bool:
        return _fits(minutes, names, place, span)

    keys = [f"date_trunc('{name}', {clock})" if name in GRAINS else dimension(name) for name in names]
    more = () if question.brief else ("early_events",)
    table = _summed(moment, question, names, keys, (*question.sums, *more), fits=fits)
    sums = {name: _whole(table, name) for name in question.sums}
    is_any = not question.brief and any(sums["unpriced_events"])
    if is_any and {"provider", "model"} <= set(names):
        unpriced = [table.column(f"by_{names.index(name)}").to_pylist() for name in ("provider", "model")]
        unpriced += [sums[name] for name in UNPRICED]
    elif is_any:
        by_model = _summed(moment, question, _MODEL, [dimension(name) for name in _MODEL], UNPRICED)
        unpriced = [by_model.column(n).to_pylist() for n in range(2)] + [_whole(by_model, name) for name in UNPRICED]
    early: list[Sequence[Any]] = []
    if not question.brief and any(_whole(table, "early_events")):
        by_row = _summed(moment, question, _PRICED, [dimension(name) for name in _PRICED], ("early_events",))
        early = [by_row.column(n).to_pylist() for n in range(2)] + [_whole(by_row, "early_events")]
    return Found(
        keys=[table.column(f"by_{n}").to_pylist() for n in range(len(names))],
        sums=sums,
        costs=[_amount(text) for text in table.column("cost").to_pylist()],
        first=_aware(pc.min(table.column("first")).as_py()),
        last=_aware(pc.max(table.column("last")).as_py()),
        unpriced=[row for row in zip(*unpriced, strict=True) if row[2]] if is_any else (),
        early=[row for row in zip(*early, strict=True) if row[2]],
        is_sorted=not set(names) & set(GRAINS),
    )


_MODEL, _PRICED = ("provider", "model"), ("model", "price_row")


def _summed(
    moment: Moment, question: Question, names: Sequence[str], keys: Sequence[str], sums: Sequence[str],
    *, fits: Callable[[int], bool] = lambda _minutes: True,
) -> pa.Table:  # fmt: skip
    """Return `keys` as by_0, by_1, ..., and the sums of each group."""
    conditions, values = given(question.where), [value for _name, value in question.where]
    if question.among is not None:
        name, some = question.among
        places = range(len(values) + 1, len(values) + len(some) + 1)
        known = f'"{name}"' if name in TEXTS and all(some) else dimension(name)
        conditions += f" AND {known} IN ({', '.join(f'${n}' for n in places)})" if some else " AND false"
        values += some
    inner = [f"{key} AS by_{n}" for n, key in enumerate(keys)]
    inner += ["sum(cost) AS cost", 'min("first") AS "first"', 'max("last") AS "last"']
    outer = [
        f"strftime(by_{n}, '{GRAINS[name][1]}') AS by_{n}" if name in GRAINS else f"by_{n}"
        for n, name in enumerate(names)
    ]

    # As `_order` has it where time is no dimension: a hundred thousand rows are sorted sooner here.
    order = ["coalesce(g.cost, 0) DESC", *(f"g.{name}::HUGEINT DESC" for name in sums if name == "input_tokens")]
    order += [f"by_{n}" for n in range(len(keys))]

    def query(kind: str) -> str:
        whole = [f"sum({name})::{kind} AS {name}" for name in sums]
        listed = ", ".join((*outer, *sums, "cost::VARCHAR AS cost", '"first"', '"last"'))
        grouped = f"SELECT {', '.join((*inner, *whole))} FROM facts WHERE {conditions} GROUP BY ALL"
        found = f'SELECT {listed} FROM ({grouped}) AS g WHERE "first" IS NOT NULL'  # of nothing, nothing is one group
        return f"{found} ORDER BY {', '.join(order)}"

    ask = partial(
        moment.ask, values=values, columns=question.columns(*names), measures=("first", "last", "cost", *sums),
        fits=fits, since=question.since, until=question.until,
    )  # fmt: skip
    try:
        return ask(query("BIGINT"))
    except (duckdb.ConversionException, duckdb.OutOfRangeException):  # sums too large for 64 bits
        return ask(query("VARCHAR"))


def _whole(table: pa.Table, name: str) -> list[int]:
    return [int(value or 0) for value in table.column(name).to_pylist()]


def _amount(text: str | None) -> Decimal:
    """Read an amount of 18 decimals without the zeros that end it; cents stay."""
    if text is None:
        return Decimal("0.00")
    short = text.rstrip("0")
    return Decimal(short + "00"[: max(3 - len(short) + short.rindex("."), 0)])


def dimension(name: str) -> str:
    """Return the text of a dimension as SQL; what is not filled in is the empty text."""
    if name.startswith(TAG):
        return f"coalesce(list_extract(element_at(tags, {quoted(name[len(TAG) :])}), 1), '')"
    return f"coalesce(\"{name}\"::VARCHAR, '')"


def given(where: Sequence[tuple[str, str]]) -> str:
    """Write a filter as SQL whose values are bound, from the first on.

    What is filled in is compared as it stands, so that files can be asked for it alone.
    """
    return (
        " AND ".join(
            f'"{name}" = ${n}' if value and name in TEXTS else f"{dimension(name)} = ${n}"
            for n, (name, value) in enumerate(where, 1)
        )
        or "true"
    )


def check(names: Iterable[str], grains: Iterable[str] = tuple(GRAINS)) -> None:
    """Refuse a dimension that does not exist, and name those that do."""
    known = (*DIMENSIONS, *grains)
    for name in names:
        if name not in known and not (name.startswith(TAG) and len(name) > len(TAG)):
            raise InputError(f"There is no dimension {name!r}: use {', '.join((*known, 'tag:NAME'))}")


def add(amounts: Iterable[Decimal]) -> Decimal:
    """Add exactly."""
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


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


def _span(moment: Moment, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """Return instants around all events."""
    if since is not None and until is not None:
        return since, until
    now = datetime.now(UTC)
    first, last = moment.span() or (now, now)
    return since or first, until or last


def _aware(at: datetime | None) -> datetime | None:
    return at and at.replace(tzinfo=UTC)


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
