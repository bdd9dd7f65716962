"""How long answers take, beside what they cost."""
# ruff: noqa: S608  # names of columns; values are bound

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from penstock.analytics.attempts import (
    attempts_of,
    group_of,
    keys,
    one_by_one,
    sums_of,
)
from penstock.analytics.efficiency import ratio
from penstock.analytics.question import Bound, Where, columns_for, trimmed
from penstock.analytics.spend import dimension, given
from penstock.ledger.measures import TIMED, TIMED_OF
from penstock.ledger.moment import Moment

QUANTILES, FIRST = (50, 90, 95, 99), (50, 95)
"""Percentiles of the whole answer, and of its first token."""


class Latency(Struct, frozen=True, kw_only=True):
    """One group. Times are microseconds, quantiles interpolated by the engine; None: nothing was timed."""

    group: dict[str, str]
    calls: int
    """Answered attempts of one request each whose duration was booked; imported aggregates are none."""
    p50_us: int | None
    p90_us: int | None
    p95_us: int | None
    p99_us: int | None
    first_token_p50_us: int | None
    """Of streamed answers."""
    first_token_p95_us: int | None
    streamed: int
    """Answers whose first token was timed."""
    output_per_second: Decimal | None
    """Output tokens for each second of the answers."""
    cost: Decimal
    """Dollars of these calls, without unpriced ones."""
    cost_per_thousand: Decimal | None
    """Dollars for a thousand of them."""
    unpriced_events: int


def latency(
    source: Any,
    *,
    by: Sequence[str] = ("model",),
    since: datetime | None = None,
    until: datetime | None = None,
    where: Sequence[tuple[str, str]] = (),
) -> list[Latency]:
    """Return each group's latency beside its cost, the slowest median first. `source` is as for `spend`."""
    names = tuple(dict.fromkeys(by))
    asked = one_by_one(source, by=names, since=since, until=until, where=where)
    bounds: dict[str, Any] = {"since": since, "until": until, "where": where}
    sums = ("timed", "timed_streamed", "timed_us", "timed_output", "timed_cost", "timed_unpriced")
    rows = [row for row in sums_of(asked, sums, by=names, **bounds) if row["timed"]]
    times = (_of_moment if isinstance(asked, Moment) else _of_table)(asked, names, **bounds) if rows else {}
    found = [_latency(group, row, times[tuple(group.values())]) for row in rows for group in [group_of(row, names)]]
    return sorted(found, key=lambda one: (-(one.p50_us or 0), *one.group.values()))


Times = dict[tuple[str, ...], dict[str, float | None]]
"""Group -> `p50`, ... and `first_p50`, ... in microseconds."""


def _of_moment(moment: Moment, names: tuple[str, ...], *, since: Bound, until: Bound, where: Where) -> Times:
    listed = [f"{dimension(name)} AS by_{n}" for n, name in enumerate(names)]
    whole, first = ([n / 100 for n in quantiles] for quantiles in (QUANTILES, FIRST))
    found = moment.select(
        f"SELECT {', '.join((*listed, ''))}quantile_cont(duration_us::DOUBLE, {whole}) AS whole, "
        f"quantile_cont(first_token_us::DOUBLE, {first}) FILTER (first_token_us > 0) AS first "
        f"FROM events WHERE corrects = '' AND {TIMED} AND {given(where)} GROUP BY ALL",
        [value for _name, value in where], since=since, until=until,
        columns=("corrects", "first_token_us", *TIMED_OF, *columns_for(names, where)),
    )  # fmt: skip
    times = {}
    for row in found.to_pylist():
        quantiles = dict(zip((f"p{n}" for n in QUANTILES), row["whole"], strict=True))
        of_first = row["first"] or [None] * len(FIRST)
        times[tuple(group_of(row, names).values())] = quantiles | dict(
            zip((f"first_p{n}" for n in FIRST), of_first, strict=True)
        )
    return times


def _of_table(table: Any, names: tuple[str, ...], *, since: Bound, until: Bound, where: Where) -> Times:
    events = attempts_of(table, by=names, since=since, until=until, where=where)
    timed = events.filter(
        events.is_event == 1, events.outcome == "ok", events.duration_us > 0, events.requests <= 1
    )  # fmt: skip
    duration, first = timed.duration_us.cast("float64"), timed.first_token_us.cast("float64")
    sums = {
        **{f"p{n}": duration.quantile(n / 100) for n in QUANTILES},
        **{f"first_p{n}": first.quantile(n / 100, where=timed.first_token_us > 0) for n in FIRST},
    }
    found = timed.group_by(keys(names)).aggregate(**sums) if names else timed.aggregate(**sums)
    return {tuple(group_of(row, names).values()): row for row in found.to_pyarrow().to_pylist()}


def _latency(group: dict[str, str], row: dict[str, Any], times: dict[str, float | None]) -> Latency:
    calls, cost = int(row["timed"]), trimmed(row["timed_cost"] or Decimal(0))
    told: dict[str, Any] = {f"p{n}_us": _whole(times[f"p{n}"]) for n in QUANTILES}
    told |= {f"first_token_p{n}_us": _whole(times[f"first_p{n}"]) for n in FIRST}
    unpriced = int(row["timed_unpriced"])
    return Latency(
        group=group, calls=calls, **told, streamed=int(row["timed_streamed"]),
        output_per_second=ratio(Decimal(int(row["timed_output"])) * 1_000_000, int(row["timed_us"])),
        cost=cost, cost_per_thousand=ratio(cost * 1000, calls - unpriced), unpriced_events=unpriced,
    )  # fmt: skip


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
