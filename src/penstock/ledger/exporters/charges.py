"""The ledger as charges: one a day, payer, price row and kind of token, which add up to what the events cost."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from penstock.ledger.columns import BUCKETS, EXACT, plain_amount
from penstock.pricing.usage import MEMO

KEYS = (
    "day", "provider", "model", "version", "deployment", "deployment_type", "region", "mode", "team", "app", "feature",
    "key", "price_state", "price_book", "price_row", "price_hash",
)  # fmt: skip
"""What the events of a charge have in common."""
UNITS = tuple(bucket for bucket in BUCKETS if bucket not in MEMO)
BATCH = 10_000
"""Groups turned into Python at a time."""

Rates = Callable[[str, str], Mapping[str, Decimal] | None]
"""Book and hash of a row -> dollars for one unit; None: the book is not there any more."""


class Charge(Struct, frozen=True, kw_only=True):
    """One kind of token of one group of events. Dollars, exact."""

    group: dict[str, Any]
    """By the names of `KEYS`."""
    unit: str
    """A bucket of `Usage`; empty: a difference that corrections made."""
    quantity: int
    rate: Decimal | None
    """For one unit; None where the price row is not at hand any more, or there is no unit."""
    cost: Decimal
    requests: int
    """Of the group; it stands in its first charge only, so that it can be added up."""


class Committed(Struct, frozen=True, kw_only=True):
    """One day (UTC) of capacity that is paid whether it is used or not. Dollars, exact; hours of one PTU."""

    name: str
    model: str
    deployment_type: str
    region: str
    term: str
    """`month` or `year`: it was bought; `hourly`: it is paid as it runs."""
    day: datetime
    hours: Decimal
    """That were paid ..."""
    used: Decimal
    """... and that traffic filled."""
    rate: Decimal
    """Dollars for one hour."""
    list_rate: Decimal
    """What it costs without a commitment."""


class Unpriced(Struct, kw_only=True):
    """What no charge can be made of, because no price is known."""

    events: int = 0
    tokens: int = 0


def charges(table: Any, rates: Rates, left: Unpriced) -> Iterator[Charge]:
    """Yield the charges of an Ibis table of events, day by day; events without a price are counted in `left`."""
    dated = table.mutate(day=table.at.truncate("D"), is_event=(table.corrects == "").cast("int64"))
    sums = {unit: dated[unit].sum() for unit in UNITS}
    grouped = dated.group_by(list(KEYS)).aggregate(
        cost=dated.cost.sum(), requests=dated.requests.sum(), events=dated.is_event.sum(), **sums
    )
    for batch in grouped.order_by(list(KEYS)).to_pyarrow().to_batches(BATCH):
        for row in batch.to_pylist():
            if row["price_state"] == "unpriced":
                left.events += int(row["events"])
                left.tokens += sum(int(row[unit]) for unit in UNITS)
            else:
                yield from _of_group(row, rates)


def _of_group(row: dict[str, Any], rates: Rates) -> Iterator[Charge]:
    group = {name: row[name] for name in KEYS}
    used = {unit: int(row[unit]) for unit in UNITS if row[unit]}
    total = plain_amount(row["cost"]) or Decimal(0)
    requests = int(row["requests"])
    by_unit = rates(group["price_book"], group["price_hash"]) if group["price_hash"] else {}
    if group["price_state"] in ("free", "flat_rate"):
        by_unit = dict.fromkeys(used, Decimal(0))
    rest = total
    if used and (by_unit is None or not used.keys() <= by_unit.keys()):
        # Without its rates a group cannot be split: it is one charge of everything that was used.
        yield Charge(group=group, unit="tokens", quantity=sum(used.values()), rate=None, cost=total, requests=requests)
        return
    for unit, quantity in used.items():
        assert by_unit is not None
        cost = EXACT.multiply(by_unit[unit], quantity)
        rest = EXACT.subtract(rest, cost)
        yield Charge(group=group, unit=unit, quantity=quantity, rate=by_unit[unit], cost=cost, requests=requests)
        requests = 0
    if rest:
        yield Charge(group=group, unit="", quantity=0, rate=None, cost=rest, requests=requests)


def first_of_month(day: datetime) -> tuple[datetime, datetime]:
    """Return the month around a day: its first instant, and that of the next one."""
    begin = day.replace(day=1)
    return begin, begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
