"""Percent off a list price: a discount turns the rows of a book into rows of a book of its own."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import msgspec
from msgspec import Struct

from penstock.pricing.book import ANY_MODEL, SINCE_EVER, Book, PriceRow, make_book

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
        rows = [
            row for base in _effective(row for row in book.rows if discount.fits(row)) if (row := _cut(base, discount))
        ]
        if rows:
            title = f"{book.title or book.id} with {discount.percent}% off ({discount.name})"
            books.append(make_book(f"{book.id}-{discount.name}", "", rows, title=title, read=book.read))
    return books


def _effective(rows: Iterable[PriceRow]) -> list[PriceRow]:
    """Give each row the end that its successor puts to it."""
    by_key: dict[tuple[object, ...], list[PriceRow]] = {}
    for row in rows:
        key = (
            row.provider,
            row.model,
            row.version,
            row.deployment_type,
            row.region,
            row.mode,
            row.context_over,
            row.hours,
        )
        by_key.setdefault(key, []).append(row)
    ended = []
    for some in by_key.values():
        line = sorted(some, key=lambda row: row.valid_from)
        for row, successor in pairwise(line):
            end = min(row.valid_to or successor.valid_from, successor.valid_from)
            ended.append(msgspec.structs.replace(row, valid_to=end))
        ended.append(line[-1])
    return ended


def _cut(base: PriceRow, discount: Discount) -> PriceRow | None:
    start = max(base.valid_from, discount.valid_from)
    ends = [end for end in (base.valid_to, discount.valid_to) if end is not None]
    end = min(ends) if ends else None
    if end is not None and end <= start:
        return None
    left = (100 - discount.percent) / 100
    return msgspec.structs.replace(
        base,
        valid_from=start,
        valid_to=end,
        rates={unit: (rate * left).normalize() for unit, rate in base.rates.items()},
        earliest=base.earliest and discount.valid_from == SINCE_EVER,
        source=f"{base.id} of {base.book}, {discount.percent}% off ({discount.name})",
        book="",
        id=f"{base.id}-{discount.percent}%({discount.name})"
        + (f"@{start:%Y-%m-%d}" if start > base.valid_from else ""),
        hash="",
    )
