"""How often attempts fail, why, what that cost, and whether a later attempt answered all the same."""
# ruff: noqa: S608  # names of columns; values are bound

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from penstock.analytics.attempts import (
    attempts_of,
    group_of,
    keys,
    one_by_one,
    sums_of,
)
from penstock.analytics.efficiency import ratio
from penstock.analytics.question import Bound, Where, columns_for, trimmed
from penstock.analytics.spend import add, dimension, given
from penstock.ledger.measures import FAILED, among
from penstock.ledger.moment import Moment
from penstock.ledger.rollups import FAILURES

CAUSE = ("outcome", "error", "status")
NO_ANSWER = ("classifier", "judge", "shadow")
"""Purposes of attempts that answer nobody."""


class Cause(Struct, frozen=True, kw_only=True):
    """Failures of one kind."""

    outcome: str
    """`error`: the provider failed or said no; `aborted`: the client left."""
    error: str
    """The stable code; empty where none was booked."""
    status: int
    """HTTP status; 0: there was no answer."""
    events: int
    cost: Decimal


class Failures(Struct, frozen=True, kw_only=True):
    """One group, or all. Money is dollars."""

    group: dict[str, str]
    events: int
    """Attempts; corrections are none."""
    failed: int
    errors: int
    aborted: int
    failed_share: Decimal | None
    """Of the attempts, to six decimals."""
    wasted: Decimal
    """What failed attempts cost all the same."""
    unpriced_failed: int
    """Failed attempts that used something and have no price: what they wasted is unknown."""
    wasted_share: Decimal | None
    """Of all dollars."""
    wasted_seconds: Decimal
    """How long callers waited for failed attempts."""
    cost: Decimal
    failed_requests: int
    """Requests with a failed attempt in this group."""
    answered_later: int
    """Those of them that another attempt answered, in whatever group."""
    causes: tuple[Cause, ...]
    """The most frequent first."""


def failures(
    source: Any,
    *,
    by: Sequence[str] = ("model",),
    since: datetime | None = None,
    until: datetime | None = None,
    where: Sequence[tuple[str, str]] = (),
) -> list[Failures]:
    """Return the whole first, then its groups, those that wasted and failed most first. `source` is as for `spend`."""
    names = tuple(dict.fromkeys(by))
    asked = one_by_one(source, by=names, since=since, until=until, where=where)
    bounds: dict[str, Any] = {"since": since, "until": until, "where": where}
    rows = sums_of(asked, ("events", "cost"), by=names, **bounds)
    if not rows:
        return []
    sums = ("events", "cost", "waited_us", "unpriced_events")
    failed = sums_of(asked, sums, by=(*names, *CAUSE), failed=True, **bounds)
    groups: dict[tuple[str, ...], tuple[list[dict[str, Any]], list[dict[str, Any]]]] = defaultdict(lambda: ([], []))
    for n, some in enumerate((rows, failed)):
        for row in some:
            groups[tuple(group_of(row, names).values())][n].append(row)
    found = [_summed(dict(zip(names, group, strict=True)), *parts) for group, parts in groups.items()]
    whole = _summed({}, rows, failed)
    if whole.failed:
        whole, found = _with_requests(whole, found, asked, names, **bounds)
    return [whole, *sorted(found, key=lambda one: (-one.wasted, -one.failed, -one.events, *one.group.values()))]


def _summed(group: dict[str, str], rows: Sequence[dict[str, Any]], bad: Sequence[dict[str, Any]]) -> Failures:
    """Sum up all attempts of a group, and those that failed, which have `CAUSE` as their last dimensions."""
    by_cause: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in bad:
        outcome, error, status = [value for name, value in row.items() if name.startswith("by_")][-len(CAUSE) :]
        by_cause[outcome, error, int(status)].append(row)
    causes = [
        Cause(outcome=outcome, error=error, status=status, events=_count(parts), cost=_cost(parts))
        for (outcome, error, status), parts in by_cause.items()
    ]
    errors = sum(cause.events for cause in causes if cause.outcome == "error")
    return Failures(
        group=group, events=_count(rows), failed=_count(bad), errors=errors, aborted=_count(bad) - errors,
        failed_share=ratio(_count(bad), _count(rows)), wasted=_cost(bad), wasted_share=ratio(_cost(bad), _cost(rows)),
        unpriced_failed=sum(int(row["unpriced_events"]) for row in bad),
        wasted_seconds=Decimal(sum(int(row["waited_us"]) for row in bad)) / 1_000_000, cost=_cost(rows),
        failed_requests=0, answered_later=0,
        causes=tuple(sorted(causes, key=lambda one: (-one.events, -one.cost, one.outcome, one.error, one.status))),
    )  # fmt: skip


def _with_requests(
    whole: Failures, found: list[Failures], source: Any, names: tuple[str, ...], **bounds: Any
) -> tuple[Failures, list[Failures]]:
    """Fill in what became of the requests that had a failed attempt."""
    ask = _of_moment if isinstance(source, Moment) else _of_table
    failed, answered = ask(source, names, **bounds)
    requests: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for *group, request in failed:
        requests[tuple(group)].add(request)

    def filled(one: Failures, ids: set[str]) -> Failures:
        return replace(one, failed_requests=len(ids), answered_later=len(ids & answered))

    of_groups = [filled(one, requests.get(tuple(one.group.values()), set())) for one in found]
    return filled(whole, set().union(*requests.values())), of_groups


Failed = list[tuple[str, ...]]
"""Group and request of each failed attempt."""


def _of_moment(
    moment: Moment, names: tuple[str, ...], *, since: Bound, until: Bound, where: Where
) -> tuple[Failed, set[str]]:
    listed = "".join(f"{dimension(name)} AS by_{n}, " for n, name in enumerate(names))
    select = partial(moment.select, values=[value for _name, value in where], since=since, until=until)
    columns = ("request_id", "corrects", *columns_for(names, where))
    failed = select(
        f"SELECT DISTINCT {listed}request_id FROM events WHERE corrects = '' AND {given(where)}",
        columns=columns, only=FAILURES,
    )  # fmt: skip
    answered = select(
        f"SELECT DISTINCT request_id FROM events WHERE corrects = '' AND outcome = 'ok' AND NOT "
        f"{among('purpose', NO_ANSWER)} AND request_id IN (SELECT request_id FROM failed) AND {given(where)}",
        columns=(*columns, "outcome", "purpose"), failed=failed.select(["request_id"]),
    )  # fmt: skip
    rows = zip(*(column.to_pylist() for column in failed.columns), strict=True)
    return list(rows), set(answered.column("request_id").to_pylist())


def _of_table(
    table: Any, names: tuple[str, ...], *, since: Bound, until: Bound, where: Where
) -> tuple[Failed, set[str]]:
    events = attempts_of(table, by=names, since=since, until=until, where=where)
    attempts = events.filter(events.is_event == 1)
    failed = attempts.filter(attempts.outcome.isin(FAILED)).select(*keys(names), "request_id").distinct()
    answers = attempts.filter((attempts.outcome == "ok") & ~attempts.purpose.isin(NO_ANSWER))
    answered = answers.semi_join(failed, "request_id").select("request_id").distinct()
    rows = failed.to_pyarrow().to_pylist()
    return [tuple(row.values()) for row in rows], set(answered.to_pyarrow().column("request_id").to_pylist())


def _count(rows: Sequence[dict[str, Any]]) -> int:
    return sum(int(row["events"]) for row in rows)


def _cost(rows: Sequence[dict[str, Any]]) -> Decimal:
    return trimmed(add(row["cost"] for row in rows if row["cost"] is not None))
