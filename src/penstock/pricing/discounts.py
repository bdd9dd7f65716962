"""Percent off a list price: a discount turns the rows of a book into rows of a book of its own."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby

import msgspec
from msgspec import Struct

from penstock.pricing.book import ANY_MODEL, DECIMALS, KEY, SINCE_EVER, Book, PriceRow, make_book
from penstock.pricing.timeline import Line

ANY_TYPE = "*"


class Discount(Struct, frozen=True, kw_only=True):
    """So many percent off the list price of a provider, a model, a deployment type, from one instant to another."""

    name: str
    """What the contract calls it; it stands in the id of each discounted row."""
    provider: str
    percent: Decimal
    model: str = ANY_MODEL
    deployment_type: str = ANY_TYPE
    valid_from: datetime = SINCE_EVER
    valid_to: datetime | None = None

    @property
    def rank(self) -> int:
        """How specific it is: the most specific discount that fits a row is the only one that counts."""
        return 2 * (self.model != ANY_MODEL) + (self.deployment_type != ANY_TYPE)

    def fits(self, row: PriceRow) -> bool:
        """Say whether the row is one that the discount is about."""
        return (
            self.provider == row.provider
            and self.model.lower() in {ANY_MODEL, row.model.lower()}
            and self.deployment_type in {ANY_TYPE, row.deployment_type}
            and not row.free
            and not row.flat_rate
        )


def discounted(book: Book, discounts: Sequence[Discount]) -> list[Book]:
    """Make one book for each discount that fits rows of `book`, the most specific first."""
    books = []
    for discount in sorted(discounts, key=lambda one: -one.rank):
        fitting = [row for row in book.rows if discount.fits(row)]
        rows = [row for period in _periods(fitting) if (row := _cut(*period, discount))]
        if rows:
            title = f"{book.title or book.id} with {discount.percent}% off ({discount.name})"
            books.append(make_book(f"{book.id}-{discount.name}", "", rows, title=title, read=book.read))
    return books


def _periods(rows: Sequence[PriceRow]) -> Iterator[tuple[PriceRow, datetime, datetime | None]]:
    """Yield each row with the time in which it decides: from one instant up to another, or open."""

    def key(row: PriceRow) -> tuple[str, ...]:
        return tuple(str(getattr(row, field)) for field in KEY)

    for _, some in groupby(sorted(rows, key=key), key=key):
        line = Line("", list(some))
        turns = {row.valid_from for row in line.rows} | {row.valid_to for row in line.rows if row.valid_to}
        starts = sorted(turns)
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            if row := line.row(start):
                yield row, start, end


def _cut(base: PriceRow, start: datetime, end: datetime | None, discount: Discount) -> PriceRow | None:
    start = max(start, discount.valid_from)
    ends = [one for one in (end, discount.valid_to) if one is not None]
    end = min(ends) if ends else None
    if end is not None and end <= start:
        return None
    left = (100 - discount.percent) / 100
    later = f"@{start:%Y-%m-%d}" if start > base.valid_from else ""
    return msgspec.structs.replace(
        base,
        valid_from=start,
        valid_to=end,
        # exact, but for a rate that already fills what the ledger can hold
        rates={unit: round(rate * left, DECIMALS).normalize() for unit, rate in base.rates.items()},
        earliest=base.earliest and start == base.valid_from and discount.valid_from == SINCE_EVER,
        source=f"{base.id} of {base.book}, {discount.percent}% off ({discount.name})",
        book="",
        id=f"{base.id}-{discount.percent}%({discount.name}){later}",
        hash="",
    )
