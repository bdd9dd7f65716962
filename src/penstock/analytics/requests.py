"""Requests as the sums of their attempts: the latest ones, and one explained down to its price lines."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct

from penstock.analytics.spend import add, check, dimension, trimmed
from penstock.errors import PriceBookError
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


def requests(
    table: Any,
    *,
    where: Sequence[tuple[str, str]] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
) -> list[Request]:
    """Return the latest requests, newest first; `where` holds (dimension, value) pairs that an attempt must have."""
    check([name for name, _value in where], grains=())
    attempts = table.filter(table.corrects == "")
    for name, value in where:
        attempts = attempts.filter(dimension(attempts, name) == value)
    for limit_at, keep in ((since, attempts.at.__ge__), (until, attempts.at.__lt__)):
        if limit_at is not None:
            attempts = attempts.filter(keep(limit_at.astimezone(UTC).replace(tzinfo=None)))
    latest = attempts.group_by("request_id").aggregate(newest=attempts.at.max())
    chosen = latest.order_by([latest.newest.desc(), latest.request_id]).limit(limit)
    rows = table.select(*FIELDS).semi_join(chosen, "request_id").to_pyarrow().to_pylist()
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["request_id"]].append(row)
    found = [_request(sorted(group, key=lambda row: (row["at"], row["attempt"]))) for group in grouped.values()]
    return sorted(found, key=lambda request: (request.at, request.request_id), reverse=True)


def _request(rows: list[dict[str, Any]]) -> Request:
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
