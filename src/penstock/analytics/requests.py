"""Requests as the sums of their attempts: the latest ones, and one explained down to its price lines."""
# ruff: noqa: S608  # names of columns; values are bound

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

from msgspec import Struct

from penstock.analytics.question import Bound, Where, columns_for, trimmed
from penstock.analytics.spend import add, check, given
from penstock.errors import PriceBookError
from penstock.ledger.measures import FAILED
from penstock.ledger.moment import Moment
from penstock.ledger.rollups import FAILURES, UNPRICED
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent
from penstock.pricing.book import PriceRow
from penstock.pricing.books import find_row
from penstock.pricing.cost import CostLine, PriceState, cost_of

FIELDS = (
    "request_id", "at", "id", "corrects", "attempt", "purpose", "provider", "model", "deployment", "endpoint",
    "outcome", "status", "error", "stream", "duration_us", "first_token_us", "input_tokens", "output_tokens",
    "cache_read", "price_state", "cost", "team", "app", "feature", "user", "key", "source", "decision",
)  # fmt: skip


APART = timedelta(days=1)
"""Attempts of one request lie no further from each other."""


class Request(Struct, frozen=True, kw_only=True):
    """One request. What can differ between attempts is the last one's; counts and dollars are the sums of all."""

    request_id: str
    at: datetime
    """When its first attempt began."""
    attempts: int
    provider: str
    model: str
    deployment: str
    endpoint: str
    outcome: str
    status: int
    error: str
    stream: bool
    duration_us: int
    """From the first attempt's begin to the last one's end."""
    first_token_us: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: Decimal | None
    """None where an attempt has no price: a part is not a total."""
    priced_part: Decimal
    """What the priced attempts cost."""
    price_state: PriceState
    """`unpriced` if any attempt is; otherwise the last one's."""
    team: str
    app: str
    feature: str
    user: str
    key: str
    source: str
    decision: str


def latest(
    source: Any,
    *,
    where: Where = (),
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    skip: int = 0,
) -> tuple[list[Request], bool]:
    """Return the latest requests, newest first, and whether there are more.

    The latest are those whose last attempt began latest that has what `where` asks for, pairs of dimension and value;
    `skip` passes over so many of them. `source` is a `Ledger.moment()`, or any Ibis table of events.
    """
    check([name for name, _value in where], grains=())
    ask = _of_moment if isinstance(source, Moment) else _of_table
    rows, more = ask(source, where, since=since, until=until, limit=limit, skip=skip)
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["request_id"]].append(row)
    found = [request_of(sorted(group, key=lambda row: (row["at"], row["attempt"]))) for group in grouped.values()]
    return sorted(found, key=lambda request: (request.at, request.request_id), reverse=True), more


PICKS = {
    ("price_state", "unpriced"): UNPRICED,
    **{("outcome", outcome): FAILURES for outcome in FAILED},
}
"""Filters that leave events which lie together."""
AT_ONCE = timedelta(hours=1)
REACHES = (timedelta(days=1), timedelta(days=14))
"""How far back from the newest event it is looked first, and then, where no rollup tells; then everywhere."""
FURTHER = 4
"""Days more that are looked at where many attempts belong to one request."""


def _of_moment(
    moment: Moment, where: Where, *, since: Bound, until: Bound, limit: int, skip: int
) -> tuple[list[dict[str, Any]], bool]:
    ids = _newest(moment, where, since, until, skip + limit + 1)
    begun, more = dict(ids[skip : skip + limit]), len(ids) > skip + limit
    if not begun:
        return [], False
    days = {(at + apart).date() for at in begun.values() for apart in (-APART, timedelta(), APART)}
    listed = ", ".join(f'"{name}"' for name in FIELDS)
    rows: list[dict[str, Any]] = moment.select(
        f"SELECT {listed} FROM events WHERE request_id IN (SELECT unnest($1))", [list(begun)], columns=FIELDS,
        since=min(begun.values()) - APART, until=max(begun.values()) + APART,
        among=lambda part: any(part.first.date() <= day <= part.last.date() for day in days),
    ).to_pylist()  # fmt: skip
    return rows, more


def _newest(moment: Moment, where: Where, since: Bound, until: Bound, count: int) -> list[tuple[str, datetime]]:
    """Return the ids of the latest requests, each with the begin of its newest attempt."""
    only = next((PICKS[one] for one in where if one in PICKS), None)
    found: dict[str, datetime] = {}
    for begin in _reaches(moment, where, since, until, count):
        looked = count * 4  # there are seldom more than a few attempts of one request
        while True:
            newest = moment.select(
                f'SELECT request_id, "at" FROM events WHERE corrects = \'\' AND {given(where)} '
                f'ORDER BY "at" DESC, request_id LIMIT {looked}',
                [value for _name, value in where], columns=("request_id", "corrects", *columns_for((), where)),
                since=begin, until=until, only=only,
            ).to_pylist()  # fmt: skip
            found = {}
            for row in newest:
                found.setdefault(row["request_id"], row["at"].replace(tzinfo=UTC))
            if len(found) >= count or len(newest) < looked:
                break
            looked *= 10
        if len(found) >= count:
            break
    return list(found.items())[:count]


def _reaches(moment: Moment, where: Where, since: Bound, until: Bound, count: int) -> Iterator[Bound]:
    """Say from when on to look: first close by, then as far back as sums say it will take."""
    span = moment.span()
    if span is None:
        return
    newest = min(span[1], until or span[1])
    begins: list[datetime] = [newest - AT_ONCE]
    columns = columns_for((), where)
    if since is None or begins[0] > since:
        yield begins[0]
    if moment.has_sums(columns):
        days = moment.ask(
            f"SELECT date_trunc('day', \"at\") AS day, sum(events)::BIGINT AS n FROM facts WHERE {given(where)} "
            "GROUP BY ALL HAVING n > 0 ORDER BY day DESC",
            [value for _name, value in where], columns=columns, measures=("events",), since=since, until=until,
        ).to_pylist()  # fmt: skip
        if not days:
            return
        sums = accumulate(day["n"] for day in days)
        ends = [day["day"].replace(tzinfo=UTC) for day, n in zip(days, sums, strict=True) if n >= count]
        begins = [*ends[:1], *ends[FURTHER : FURTHER + 1], days[-1]["day"].replace(tzinfo=UTC)]
    else:
        begins = [newest - reach for reach in REACHES]
    for begin in begins:
        if since is None or begin > since:
            yield begin
    yield since


def _of_table(
    table: Any, where: Where, *, since: Bound, until: Bound, limit: int, skip: int
) -> tuple[list[dict[str, Any]], bool]:
    from penstock.analytics.tables import dimension  # noqa: PLC0415  # half a second: only who asks a table waits

    attempts = table.filter(table.corrects == "")
    for name, value in where:
        attempts = attempts.filter(dimension(attempts, name) == value)
    for limit_at, keep in ((since, attempts.at.__ge__), (until, attempts.at.__lt__)):
        if limit_at is not None:
            attempts = attempts.filter(keep(limit_at.astimezone(UTC).replace(tzinfo=None)))
    newest = attempts.group_by("request_id").aggregate(newest=attempts.at.max())
    ordered = newest.order_by([newest.newest.desc(), newest.request_id])
    chosen = ordered.limit(limit, offset=skip)
    rows: list[dict[str, Any]] = table.select(*FIELDS).semi_join(chosen, "request_id").to_pyarrow().to_pylist()
    return rows, bool(ordered.limit(1, offset=skip + limit).count().to_pyarrow().as_py())


def request_of(rows: list[dict[str, Any]]) -> Request:
    """Put the attempts and corrections of one request together, in order of time."""
    attempts = [row for row in rows if not row["corrects"]] or rows
    calls = [
        row for row in attempts if row["purpose"] not in ("classifier", "judge", "shadow", "cache_probe")
    ] or attempts
    last = calls[-1]
    settled = {row["corrects"] for row in rows if row["price_state"] != "unpriced"}
    known = trimmed(add(row["cost"] for row in rows if row["cost"] is not None))
    is_open = any(row["price_state"] == "unpriced" and row["id"] not in settled for row in attempts)
    begun, ended = attempts[0]["at"], last["at"]
    return Request(
        at=begun.replace(tzinfo=UTC),
        attempts=len(attempts),
        duration_us=(ended - begun) // timedelta(microseconds=1) + last["duration_us"],
        input_tokens=sum(row["input_tokens"] for row in rows),
        output_tokens=sum(row["output_tokens"] for row in rows),
        cached_tokens=sum(row["cache_read"] for row in rows),
        cost=None if is_open else known,
        priced_part=known,
        price_state="unpriced" if is_open else "priced" if last["price_state"] == "unpriced" else last["price_state"],
        **{name: last[name] for name in _FROM_LAST},
    )


_FROM_LAST = (
    "request_id", "provider", "model", "deployment", "endpoint", "outcome", "status", "error", "stream",
    "first_token_us", "team", "app", "feature", "user", "key", "source", "decision",
)  # fmt: skip


class Explained(Struct, frozen=True, kw_only=True):
    """One attempt (or correction), and how its price came about."""

    event: UsageEvent
    lines: tuple[CostLine, ...] = ()
    """Units times rates; they add up to the event's cost."""
    row: PriceRow | None = None
    """The row of the archived book, with its source and the day it was read."""
    note: str = ""
    """Why there are no lines, or what is particular about the price."""


def explain(ledger: Ledger, request_id: str) -> list[Explained]:
    """Return every event of a request, corrections too, each with its price lines by the book of its day.

    An unknown request is an empty list.
    """
    books: dict[str, bytes | None] = {}
    found = []
    for event in ledger.events(request_id=request_id):
        if event.price_book not in books:
            books[event.price_book] = ledger.load_book(event.price_book) if event.price_book else None
        found.append(_explained(event, books[event.price_book]))
    return found


def _explained(event: UsageEvent, book: bytes | None) -> Explained:
    if event.price_state == "unpriced":
        return Explained(event=event, note=f"no price is known for {event.model} at {event.provider}")
    if event.corrects:
        return Explained(event=event, note=f"corrects {event.corrects}: its amounts are the difference")
    if not event.price_row:
        return Explained(event=event, note="nothing was used, so nothing is charged")
    try:
        row = find_row(event.price_book, event.price_row, archived=book)
    except PriceBookError as error:
        return Explained(event=event, note=str(error))
    cost = cost_of(event.usage, row)
    note = "" if cost.total == event.cost else f"by this row it is {cost.total}, and {event.cost} is booked"
    if event.at < row.valid_from:
        note = f"the earliest price known, from {row.valid_from:%Y-%m-%d}, stands in for {event.at:%Y-%m-%d}"
    return Explained(event=event, lines=cost.lines, row=row, note=note)
