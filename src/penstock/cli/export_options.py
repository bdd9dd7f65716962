"""What the commands of `penstock export` share: the rates of the prices that were used."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.ledger.store import Ledger


class BookRates:
    """The rates of price rows, from the books that were archived when events were booked."""

    def __init__(self, ledger: "Ledger") -> None:
        self._ledger = ledger
        self._books: dict[str, dict[str, Mapping[str, Decimal]] | None] = {}

    def __call__(self, book: str, row_hash: str) -> Mapping[str, Decimal] | None:
        """Return dollars for one unit, by bucket."""
        if book not in self._books:
            self._books[book] = self._load(book)
        rows = self._books[book]
        return rows.get(row_hash) if rows is not None else None

    def _load(self, book: str) -> dict[str, Mapping[str, Decimal]] | None:
        from penstock.pricing.book import Book

        body = self._ledger.load_book(book)
        return None if body is None else {row.hash: row.rates for row in Book.from_bytes(body).rows}
