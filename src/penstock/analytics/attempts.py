"""The attempts that a question looks at, each with the price state and the price row it has by now, and their sums."""
# ruff: noqa: S608  # names of columns; values are bound

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from penstock.analytics.question import Bound, Where, chosen, columns_for, table_of
from penstock.analytics.spend import check, given
from penstock.analytics.spend import dimension as sql_dimension
from penstock.ledger.measures import BESIDE, CUT, FAILED, FROM_CACHE, HIT, MEASURES, TO_CACHE
from penstock.ledger.moment import Moment
from penstock.ledger.repriced import PRICED_BY
from penstock.ledger.rollups import FAILURES
from penstock.pricing.usage import PRICED


def attempts_of(
    source: Any,
    *,
    by: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    where: Sequence[tuple[str, str]] = (),
    rates: bool = False,
) -> Any:
    """Return events and corrections that began in [since, until) as an Ibis table.

    `source` is an `overlap.Once`, a `Ledger.moment()` or any Ibis table of events. Beside the ledger's columns there
    are `is_event` (1, and 0 in a correction), `is_unpriced` (1 in an event that no correction gave a price) and the
    dimensions `by` as text in `by_0`, `by_1`, ...
    With `rates`, or where a price is among the dimensions, a corrected event, and what corrects it, have the price
    state, book and row of the newest correction, so that tokens and their dollars stand in one group.
    """
    import ibis  # noqa: PLC0415  # half a second, that questions of a ledger's sums need not wait

    from penstock.analytics.tables import dimension  # noqa: PLC0415

    check(by, grains=())
    check([name for name, _value in where], grains=())
    table = table_of(chosen(source, since=since, until=until, where=where), since=since, until=until)
    found = table.filter((table.corrects != "") & (table.price_state != "unpriced"))
    events = table.mutate(is_event=(table.corrects == "").cast("int64"))
    named = {*by, *(name for name, _value in where)}
    is_any = found.count().to_pyarrow().as_py()  # mostly there is none, and ids need not be read
    if is_any and not rates and not named & set(PRICED_BY):  # else only ids of unpriced events need be
        is_open = (events.price_state == "unpriced") & (events.corrects == "")
        priced, unpriced = events.filter(~is_open), events.filter(is_open)
        still = ~unpriced.id.isin(found.select("corrects").distinct().corrects)
        events = ibis.union(
            priced.mutate(is_unpriced=ibis.literal(0, "int64")), unpriced.mutate(is_unpriced=still.cast("int64"))
        )
    elif is_any:
        newest = found.group_by(corrected=found.corrects).aggregate(
            **{f"new_{name}": found[name].argmax(found.recorded_at) for name in PRICED_BY}
        )
        itself = (events.corrects == "").ifelse(events.id, events.corrects)
        joined = events.left_join(newest, itself == newest.corrected)
        events = joined.mutate(**{name: joined[f"new_{name}"].fill_null(joined[name]) for name in PRICED_BY})
    if "is_unpriced" not in events.columns:
        events = events.mutate(is_unpriced=((events.price_state == "unpriced") & (events.is_event == 1)).cast("int64"))
    for at, keep in ((since, events.at.__ge__), (until, events.at.__lt__)):
        if at is not None:
            events = events.filter(keep(ibis.timestamp(at.astimezone(UTC).replace(tzinfo=None).isoformat())))
    for name, value in where:
        events = events.filter(dimension(events, name) == value)
    return events.mutate(**{f"by_{n}": dimension(events, name) for n, name in enumerate(by)})


def one_by_one(source: Any, *, by: Sequence[str], since: Bound, until: Bound, where: Where) -> Any:
    """Return what a question about single attempts is put to: a moment, or a table of events.

    It is the table where a price is named: SQL over a moment's events has that of each as it was booked.
    """
    check(by, grains=())
    check([name for name, _value in where], grains=())
    asked = chosen(source, since=since, until=until, where=where)
    is_priced = {*by, *(name for name, _value in where)} & set(PRICED_BY)
    return table_of(asked, since=since, until=until) if is_priced else asked


def keys(by: Sequence[str]) -> list[str]:
    """Name the columns that hold the dimensions."""
    return [f"by_{n}" for n in range(len(by))]


def group_of(row: dict[str, Any], by: Sequence[str]) -> dict[str, str]:
    """Return the dimensions of a row of the answer."""
    return {name: row[f"by_{n}"] for n, name in enumerate(by)}


def sums_of(
    source: Any,
    measures: Sequence[str],
    *,
    by: Sequence[str] = (),
    daily: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
    where: Sequence[tuple[str, str]] = (),
    rates: bool | None = None,
    failed: bool = False,
) -> list[dict[str, Any]]:
    """Return sums of the events and corrections that began in [since, until): a row a group, as `attempts_of` has them.

    `measures` are of `ledger.measures.MEASURES`; sums that nobody adds to are None. The dimensions are `by_0`, `by_1`,
    ...; with `daily` there is the `day` (UTC) too. Where a price is among the dimensions, corrected events have the
    newest one, unless `rates` says otherwise; in a filter they always have it. With `failed`, only failed attempts
    count. A moment's rollups answer where they can.
    """
    check(by, grains=())
    check([name for name, _value in where], grains=())
    anew = bool(set(by) & set(PRICED_BY)) if rates is None else rates
    anew |= any(name in PRICED_BY for name, _value in where)
    asked = chosen(source, since=since, until=until, where=where)
    ask = _of_moment if isinstance(asked, Moment) else _of_table
    wanted = tuple(dict.fromkeys((*measures, "rows")))
    return ask(
        asked, wanted, by, daily=daily, since=since, until=until, where=where, anew=anew, failed=failed
    )  # fmt: skip


def _of_moment(
    moment: Moment, measures: Sequence[str], by: Sequence[str], *, daily: bool, since: Bound, until: Bound,
    where: Where, anew: bool, failed: bool,
) -> list[dict[str, Any]]:  # fmt: skip
    groups = [f"{sql_dimension(name)} AS by_{n}" for n, name in enumerate(by)]
    groups += ["date_trunc('day', \"at\")::DATE AS day"] if daily else []
    sums = [summed(name) for name in measures]
    found: list[dict[str, Any]] = moment.ask(
        f"SELECT * FROM (SELECT {', '.join((*groups, *sums))} FROM facts WHERE {given(where)} GROUP BY ALL) "
        'WHERE "rows" > 0',
        [value for _name, value in where], columns=columns_for(by, where), measures=measures, since=since, until=until,
        only=FAILURES if failed else None, repriced=anew,
    ).to_pylist()  # fmt: skip
    return found


def summed(name: str) -> str:
    """Write the sum of a measure of `facts` as SQL; whole numbers do not overflow."""
    measure = MEASURES[name]
    whole = measure.how == "sum" and not measure.money
    return f'{measure.how}("{name}"){"::DECIMAL(38,0)" if whole else ""} AS "{name}"'


def _of_table(
    table: Any, measures: Sequence[str], by: Sequence[str], *, daily: bool, since: Bound, until: Bound,
    where: Where, anew: bool, failed: bool,
) -> list[dict[str, Any]]:  # fmt: skip
    from penstock.analytics.tables import dimension  # noqa: PLC0415  # half a second, as above

    events = attempts_of(table, since=since, until=until, where=where, rates=anew)
    events = events.filter(events.outcome.isin(FAILED)) if failed else events
    events = events.mutate(**{f"by_{n}": dimension(events, name) for n, name in enumerate(by)})
    events = events.mutate(day=events.at.truncate("D").cast("date")) if daily else events
    sums = {name: MADE[name](events) for name in measures}
    groups = [*keys(by), *(["day"] if daily else [])]
    summed = events.group_by(groups).aggregate(**sums) if groups else events.aggregate(**sums)
    return [row for row in summed.to_pyarrow().to_pylist() if row["rows"]]


def _timed(events: Any) -> Any:
    return (events.outcome == "ok") & (events.duration_us > 0) & (events.requests <= 1)


def _caching(events: Any) -> Any:
    read = [events[name] != 0 for name in (*FROM_CACHE, *TO_CACHE)]
    found = read[0]
    for one in read[1:]:
        found |= one
    return found


def _of_column(name: str) -> Callable[[Any], Any]:
    return lambda events: events[name].sum()


PLAIN = ("requests", "input_tokens", "output_tokens", "cost", "tool_calls", *PRICED)
MADE: dict[str, Callable[[Any], Any]] = {
    **{name: _of_column(name) for name in PLAIN},
    "rows": lambda events: events.count(),
    "events": lambda events: events.is_event.sum(),
    "cached_tokens": lambda events: (events.cache_read + events.cache_read_audio + events.cache_read_image).sum(),
    "unpriced_events": lambda events: events.is_unpriced.sum(),
    "unpriced_input_tokens": lambda events: (events.is_unpriced * events.input_tokens).sum(),
    "unpriced_output_tokens": lambda events: (events.is_unpriced * events.output_tokens).sum(),
    "reasoning_tokens": lambda events: events.reasoning.sum(),
    "retries": lambda events: (events.purpose == "retry").ifelse(events.is_event, 0).sum(),
    "fallbacks": lambda events: events.purpose.isin(["fallback", "cascade"]).ifelse(events.is_event, 0).sum(),
    "failed": lambda events: events.outcome.isin(FAILED).ifelse(events.is_event, 0).sum(),
    "wasted": lambda events: events.cost.sum(where=events.outcome.isin(FAILED)),
    "cut": lambda events: events.finish_reason.isin(CUT).ifelse(events.is_event, 0).sum(),
    "cut_cost": lambda events: events.cost.sum(where=events.finish_reason.isin(CUT)),
    "beside": lambda events: events.purpose.isin(BESIDE).ifelse(events.is_event, 0).sum(),
    "beside_cost": lambda events: events.cost.sum(where=events.purpose.isin(BESIDE)),
    "reused": lambda events: events.decision.startswith(HIT).ifelse(events.is_event, 0).sum(),
    "waited_us": lambda events: (events.duration_us * events.is_event).sum(),
    "timed": lambda events: _timed(events).ifelse(events.is_event, 0).sum(),
    "timed_streamed": lambda events: (_timed(events) & (events.first_token_us > 0)).ifelse(events.is_event, 0).sum(),
    "timed_us": lambda events: _timed(events).ifelse(events.duration_us * events.is_event, 0).sum(),
    "timed_output": lambda events: _timed(events).ifelse(events.output_tokens, 0).sum(),
    "timed_cost": lambda events: events.cost.sum(where=_timed(events)),
    "timed_unpriced": lambda events: _timed(events).ifelse(events.is_unpriced, 0).sum(),
    "caching_requests": lambda events: _caching(events).ifelse(events.requests, 0).sum(),
}  # fmt: skip
"""The measures of any table of events, on whatever engine."""
