"""Prices in force: every book's rows, in the order in which the books are asked, with what is known of the models."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

from msgspec import Struct

from penstock.dashboard.asked import Asked
from penstock.dashboard.figure import Column, Figure, Row
from penstock.dashboard.house import House, number
from penstock.dashboard.page import Page, Shown
from penstock.pricing.book import KEY, Book, PriceRow
from penstock.pricing.cost import PriceState
from penstock.pricing.lifecycle import retirement

SIZE = 100
ALL = "all"
"""In place of a page's number, for its CSV: all pages."""
OF_MODEL = ("state", "retires")
SELECTS = (("provider", "Provider"), ("deployment_type", "Deployment"), ("mode", "Mode"))
FIELDS = ("q", *(name for name, _label in SELECTS), "page")


class Listed(Struct, frozen=True, kw_only=True):
    """A row in force, and how long its model will answer."""

    row: PriceRow
    state: PriceState
    retires: date | None
    retired: bool


def books(house: House) -> tuple[Book, ...]:
    """Return every book, in order of precedence."""
    return house.catalog.load().books if house.catalog else ()


def in_force(book: Book, at: datetime) -> Iterator[PriceRow]:
    """Yield the rows of a book that hold at an instant: of each key, the one that began last."""
    newest: dict[tuple[Any, ...], PriceRow] = {}
    for row in book.rows:
        key = tuple(getattr(row, name) for name in KEY)
        if row.valid_from <= at and (key not in newest or row.valid_from >= newest[key].valid_from):
            newest[key] = row
    for row in newest.values():
        if row.valid_to is None or at < row.valid_to:
            yield row


def chosen(house: House, fields: dict[str, str]) -> list[PriceRow]:
    """Return the rows in force that fit the fields, in order of the books."""
    wanted = fields.get("q", "").lower()
    return [
        row
        for book in books(house)
        for row in in_force(book, house.now())
        if wanted in row.model.lower()
        and all(fields.get(name) in (None, str(getattr(row, name))) for name, _label in SELECTS)
    ]


def listed(row: PriceRow, at: datetime) -> Listed:
    """Say of a row what a reader wants to know."""
    known = retirement(row.provider, row.model, row.version)
    retires = known.retires if known else None
    return Listed(
        row=row,
        state="flat_rate" if row.flat_rate else "free" if row.free else "priced",
        retires=retires,
        retired=bool(retires and retires <= at.astimezone(UTC).date()),
    )


def gather(house: House, asked: Asked) -> Shown:
    """Gather the page."""
    fields = {name: value for name, value in asked.fields.items() if name in FIELDS}
    is_all = fields.get("page") == ALL
    page = 1 if is_all else number(fields, "page", 1, 10_000)
    rows = chosen(house, fields)
    everything = [row for book in books(house) for row in book.rows]
    selects = [(name, label, sorted({str(getattr(row, name)) for row in everything})) for name, label in SELECTS]
    fields.pop("page", None)
    first = (page - 1) * SIZE
    return Shown(
        figures=[_figure([listed(row, house.now()) for row in rows] if is_all else [])],
        more={
            "today": house.now().astimezone(UTC).date(), "books": books(house), "fields": fields,
            "select_fields": selects, "number": page, "first": first + 1, "count": len(rows),
            "rows": [listed(row, house.now()) for row in rows[first : first + SIZE]],
        }
    )  # fmt: skip


def _figure(rows: Sequence[Listed]) -> Figure:
    """Lay the rows out for the CSV; the page has a table of its own."""
    units = sorted({unit for one in rows for unit in one.row.rates})
    columns = (*KEY, "state", "valid_from", "retires", "book", "id", "source", *units)
    return Figure(
        name="prices", title="Prices in force", columns=tuple(Column(name, name) for name in columns),
        rows=[
            Row(
                tuple(
                    one.row.rates.get(name) if name in units else getattr(one if name in OF_MODEL else one.row, name)
                    for name in columns
                )
            )
            for one in rows
        ],
    )  # fmt: skip


PAGE = Page(
    path="/prices", name="Prices", group="System", gather=gather, template="prices.html", own=FIELDS, filters=False
)
