"""How price rows look: on a screen, and as JSON."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.table import Table

from penstock.cli.options import table
from penstock.pricing.book import SINCE_EVER, PriceRow
from penstock.pricing.diff import Change
from penstock.pricing.fields import QUOTED, day_of, plain_number, quoted

USUAL = {"input": "input", "cache_read": "cached", "cache_write": "written", "output": "output"}
"""Units that have a column of their own."""

PER = "Dollars per 1M tokens or characters, 1,000 searches or pages, one second."


def where(row: PriceRow) -> str:
    """Say what a row is for, beside its model: `data_zone:eu batch >272K`."""
    place = f"{row.deployment_type}:{row.region}" if row.region else row.deployment_type
    mode = "" if row.mode == "standard" else row.mode
    tier = f">{plain_number(Decimal(row.context_over) / 1000)}K" if row.context_over else ""
    return " ".join(part for part in (place, mode, tier, row.hours) if part)


def name_of(row: PriceRow) -> str:
    """Write the model with its version."""
    return f"{row.model}@{row.version}" if row.version else row.model


def rate_of(row: PriceRow, unit: str) -> str:
    """Write a rate as it is quoted; a dash where the row has none."""
    if row.free or row.flat_rate:
        return "free" if row.free else "flat"
    return plain_number(quoted(unit, row.rates[unit])) if unit in row.rates else "–"


def since(row: PriceRow) -> str:
    """Write the days of a row: its first, and the one that ends it."""
    first = "always" if row.valid_from == SINCE_EVER else day_of(row.valid_from)
    return f"{first} to {day_of(row.valid_to)}" if row.valid_to else first


def row_table(rows: Sequence[PriceRow], title: str, last: str = "book", said: Sequence[str] = ()) -> Table:
    """Lay rows out, one a line; `said` fills the last column, by default with the book of each."""
    units = [unit for unit in USUAL if unit in {"input", "output"} or any(unit in row.rates for row in rows)]
    names = [USUAL[unit] for unit in units]
    grid = table("model", "for", *names, "from", last, title=title, numbers=tuple(names))
    for column in grid.columns:
        column.no_wrap = column.header != "for"
    for row, word in zip(rows, said or [short(row.book) for row in rows], strict=True):
        grid.add_row(name_of(row), where(row), *(rate_of(row, unit) for unit in units), since(row), word)
    return grid


def short(book: str) -> str:
    """Name a book without its version: `azure@2026-11-23` is `azure`."""
    return book.partition("@")[0]


def footer(rows: Sequence[PriceRow]) -> str:
    """Say what the rates buy, and name the books that the rows stand in with their versions."""
    return f"{PER} Books: {', '.join(dict.fromkeys(row.book for row in rows))}"


def change_table(found: Iterable[Change], title: str, old: str, new: str) -> Table:
    """Lay changes out, one unit a line, with the change in percent."""
    grid = table("model", "for", "unit", old, new, "change", title=title, numbers=(old, new, "change"))
    for column in grid.columns:
        column.no_wrap = column.header != "for"
    for change in found:
        row = PriceRow(**change_key(change), valid_from=SINCE_EVER)
        amounts = [
            plain_number(quoted(change.unit, rate)) if rate is not None else "–" for rate in (change.old, change.new)
        ]
        grid.add_row(name_of(row), where(row), change.unit, *amounts, percent(change.old, change.new))
    return grid


def change_key(change: Change) -> dict[str, Any]:
    """Return what a change is about, as the fields of a row."""
    key = change.key
    return {
        "provider": key.provider, "model": key.model, "version": key.version, "deployment_type": key.deployment_type,
        "region": key.region, "mode": key.mode, "context_over": change.context_over, "hours": change.hours,
    }  # fmt: skip


def percent(old: Decimal | None, new: Decimal | None) -> str:
    """Write how much dearer the new rate is."""
    if old is None or new is None:
        return "new" if old is None else "gone"
    return f"{(new / old - 1) * 100:+.1f}%" if old else "was 0"


def row_json(row: PriceRow) -> dict[str, Any]:
    """Return all of a row, its rates as they are quoted, with the number of units that each buys."""
    return {
        "book": row.book, "row": row.id, "hash": row.hash, "provider": row.provider, "model": row.model,
        "version": row.version, "deployment_type": row.deployment_type, "region": row.region, "mode": row.mode,
        "context_over": row.context_over, "hours": row.hours,
        "from": None if row.valid_from == SINCE_EVER else row.valid_from, "to": row.valid_to,
        "earliest": row.earliest, "free": row.free, "flat_rate": row.flat_rate,
        "rates": {unit: Decimal(plain_number(quoted(unit, rate))) for unit, rate in row.rates.items()},
        "per": {unit: int(QUOTED[unit]) for unit in row.rates},
        "source": row.source, "read": row.read,
    }  # fmt: skip


def change_json(change: Change) -> dict[str, Any]:
    """Return all of a change, its rates as they are quoted."""
    old, new = (
        None if rate is None else Decimal(plain_number(quoted(change.unit, rate))) for rate in (change.old, change.new)
    )
    return {
        **change_key(change), "unit": change.unit, "per": int(QUOTED[change.unit]), "old": old, "new": new,
        "old_row": change.old_row, "new_row": change.new_row,
    }  # fmt: skip


def on_day(at: datetime) -> str:
    """Write the day of an instant."""
    return f"{at:%Y-%m-%d}"
