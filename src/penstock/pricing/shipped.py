"""The books that come with the package: a CSV of rows and a JSON header that pins them by hash."""

from datetime import date
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from penstock.errors import PriceBookError
from penstock.pricing.book import Book, make_book
from penstock.pricing.fields import rows_from_table

SCENARIOS = ("guide-2026-03",)
"""Books that answer "what would it cost at these prices"; never asked unless named."""


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands beside a table of rows."""

    rows: str
    """The CSV file."""
    name: str
    version: str
    title: str
    source: str
    licence: str
    read: date
    sha256: str


@cache
def shipped_book(name: str) -> Book:
    """Read a book of the package: `azure`, or a scenario. Rows that do not fit their pinned hash are an error."""
    folder = files("penstock.pricing") / "data"
    header = msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=Header)
    rows = rows_from_table((folder / header.rows).read_text(encoding="utf-8"), header.name)
    book = make_book(
        header.name, header.version, rows, title=header.title, source=f"{header.source} ({header.licence})",
        read=header.read,
    )  # fmt: skip
    if book.sha256 != header.sha256:
        raise PriceBookError(book.id, header.rows, f"its rows hash to {book.sha256}: give a changed book a new version")
    return book
