"""Which books are asked, in which order; and the way back from an old event to the row that priced it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.errors import PriceBookError
from penstock.pricing.book import Book, PriceRow, make_book
from penstock.pricing.catalog import Catalog
from penstock.pricing.discounts import Discount, discounted
from penstock.pricing.folder import own_layers
from penstock.pricing.genai import genai_book
from penstock.pricing.own import parse_own_discounts, parse_own_prices
from penstock.pricing.shipped import SCENARIOS, shipped_book

__all__ = ["catalog_in", "default_catalog", "find_row", "own_layers", "parse_own_discounts", "parse_own_prices"]


def default_catalog(
    *,
    own_rows: Sequence[PriceRow] = (),
    own_discounts: Sequence[Discount] = (),
    scenario: str = "",
    own_books: Sequence[Book] = (),
    updates: Sequence[Book] = (),
    direct: Callable[[], Book] = genai_book,
) -> Catalog:
    """Stack the books; the first that has a row for a key decides.

    1. the scenario, if one is named; 2. own contract prices (`own_rows`, from settings); 3. own books (`prices set`);
    4. newer Azure books (`prices update`), newest first; 5. the Azure book of the package; 6. genai-prices for direct
    providers, loaded when the first key needs it. Discounts stand right above each of the books 4 to 6, and only there:
    a price that was agreed is not cut again.

    `own_layers(data_folder)` gives 3, 4 and, from its cache, 6: `own_books`, `updates` and `direct`.
    Raises PriceBookError for an unknown scenario.
    """
    if scenario and scenario not in SCENARIOS:
        raise PriceBookError(scenario, "scenario", f"there is no such scenario; there is {', '.join(SCENARIOS)}")
    lists = [*updates, shipped_book("azure")]
    return Catalog(
        [
            *([shipped_book(scenario)] if scenario else []),
            *([make_book("contract", "", own_rows, title="Contract prices from the settings")] if own_rows else []),
            *own_books,
            *(book for one in lists for book in (*discounted(one, own_discounts), one)),
        ],
        later=lambda: [*discounted(book := direct(), own_discounts), book],
    )


def catalog_in(
    data_folder: Path,
    *,
    prices: Iterable[Mapping[str, Any]] = (),
    discounts: Iterable[Mapping[str, Any]] = (),
    scenario: str = "",
) -> Catalog:
    """Stack the books of a data folder and what the settings say: `[[prices.rows]]` and `[[prices.discounts]]`."""
    own = own_layers(data_folder)
    return default_catalog(
        own_rows=parse_own_prices(prices),
        own_discounts=parse_own_discounts(discounts),
        scenario=scenario,
        own_books=own.books,
        updates=own.updates,
        direct=own.direct,
    )


def find_row(book_id: str, row_id: str, *, archived: bytes | None = None, catalog: Catalog | None = None) -> PriceRow:
    """Find the row that an event names: in the archived book, in a catalog, or in the package.

    Raises PriceBookError when none of them has it.
    """
    books = [Book.from_bytes(archived)] if archived is not None else []
    books += catalog.books if catalog else ()
    books += [shipped_book(name) for name in ("azure", *SCENARIOS)]
    for book in books:
        if book.id == book_id and (row := book.row(row_id)):
            return row
    raise PriceBookError(book_id, row_id, "no such row here; give the archived book of the event")
