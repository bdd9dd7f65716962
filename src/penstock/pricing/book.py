"""Price books: dated rows, pinned by hash. A change is a new row with a later `valid_from`, never an edit."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from penstock.errors import PriceBookError
from penstock.pricing.names import Name

SINCE_EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""`valid_from` of a row whose source gives no date: in force as long as the source can tell."""

DECIMALS = 18
"""Finest rate that the ledger can hold, in decimals of a dollar for one unit."""

KEY = ("provider", "model", "version", "deployment_type", "region", "mode", "context_over", "hours")
"""The fields of a row that say what it prices; dates say when."""

ANY_MODEL = "*"
"""A row with this model prices every model of its provider that has no row of its own in the same layer."""


class PriceKey(Struct, frozen=True, kw_only=True):
    """What was served: the question that a catalog answers."""

    provider: str
    model: str
    version: str = ""
    deployment_type: str = "global"
    region: str = ""
    mode: str = "standard"


class PriceRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rates of one key from one instant on. Rates are dollars for ONE unit (one token, one search).

    The key: provider, model, version, deployment type, region or zone, processing mode, context tier, hours.
    """

    provider: str
    """Who bills: `azure`, `openai`, `anthropic`, ..."""
    model: str
    """The model's plain name: `gpt-4o`."""
    version: str = ""
    """`2024-08-06`; empty stands for every version without a row of its own."""
    deployment_type: str = "global"
    """`global`, `data_zone`, `regional`, or provisioned capacity: `global_ptu`, `data_zone_ptu`, `regional_ptu`."""
    region: str = ""
    """A region (`swedencentral`) or a zone (`us`, `eu`, `apac`); empty: wherever the type runs."""
    mode: str = "standard"
    """Processing mode that was served: `standard`, `batch`, `flex`, `priority`."""
    context_over: int = 0
    """The row prices the whole call when its input is larger than this many tokens."""
    hours: str = ""
    """UTC window `16:30-00:30` for time-of-day prices; empty: all day."""
    valid_from: datetime
    """First instant at which the row is in force (UTC)."""
    valid_to: datetime | None = None
    """First instant at which it no longer is; None: until a later row takes over."""
    rates: dict[str, Decimal] = {}
    """Dollars for one unit, by bucket name of `Usage`."""
    free: bool = False
    """The provider charges nothing for this: zero is the price, not a gap."""
    flat_rate: bool = False
    """Paid by the hour (PTU): a call adds nothing to the bill."""
    earliest: bool = False
    """No earlier price is known: the row stands in for the days before `valid_from`, and the cost says so."""
    source: str = ""
    """Where the price was read: a page, an API, a contract."""
    read: date | None = None
    """The day on which it was read there."""
    # Filled in by the book that holds the row:
    book: str = ""
    id: str = ""
    hash: str = ""


ROW_FIELDS = PriceRow.__struct_fields__


def row_id(row: PriceRow) -> str:
    """Name a row by its key: `azure/gpt-4o@2024-08-06/data_zone:eu/standard@2025-04-01`."""
    version = f"@{row.version}" if row.version else ""
    place = f"{row.deployment_type}:{row.region}" if row.region else row.deployment_type
    tier = f">{row.context_over}" if row.context_over else ""
    hours = f"[{row.hours}]" if row.hours else ""
    start = row.valid_from.astimezone(UTC)
    since = (
        start.date().isoformat() if start.hour == start.minute == start.second == 0 else f"{start:%Y-%m-%dT%H:%M:%SZ}"
    )
    return f"{row.provider}/{row.model}{version}/{place}/{row.mode}{tier}{hours}@{since}"


def row_hash(row: PriceRow) -> str:
    """Digest the row's content (not the book that holds it): 16 hex digits."""
    plain = msgspec.structs.replace(row, book="", id="", hash="")
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()[:16]


class Book(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rows that were published together. Equal ids mean equal rows: a changed book gets a new version."""

    name: str
    """`azure`, `genai-prices`, `own`, ..."""
    version: str
    """The day it was read, a package's version, or a digest of what a user wrote."""
    title: str = ""
    source: str = ""
    """Where the rows were read, and under which licence."""
    read: date | None = None
    rows: tuple[PriceRow, ...] = ()
    names: dict[str, tuple[Name, ...]] = {}
    """By provider: how the names that replies give lead to the models of the rows."""
    sha256: str = ""
    """Digest of the rows, in their order, without the names."""

    @property
    def id(self) -> str:
        """Name the book with its version: `azure@2026-11-23`."""
        return f"{self.name}@{self.version}"

    def row(self, row_id: str) -> PriceRow | None:
        """Find a row by its id."""
        return next((row for row in self.rows if row.id == row_id), None)

    def to_bytes(self) -> bytes:
        """Write the book down as JSON, so that what it said can be read later."""
        return msgspec.json.encode(self, order="sorted")

    @staticmethod
    def from_bytes(data: bytes, name: str = "from the archive") -> "Book":
        """Read a book back; a book whose rows are not the ones it was pinned to is an error. `name` is for errors."""
        try:
            book = msgspec.json.decode(data, type=Book)
        except msgspec.DecodeError as error:
            raise PriceBookError(name, "its bytes", f"they are no price book: {error}") from error
        if rows_hash(book.rows) != book.sha256:
            raise PriceBookError(book.id, "sha256", "the rows are not those that the book was pinned to")
        _share(book.rows)
        return book


def _share(rows: Iterable[PriceRow]) -> None:
    """Let rows hold equal texts, instants and amounts once: every worker keeps every row, and most repeat others."""
    known: dict[tuple[type, Any], Any] = {}

    def one(value: Any) -> Any:
        # 1 and 1.0 are equal Decimals of other exponents; their texts tell them apart.
        return known.setdefault((type(value), str(value) if isinstance(value, Decimal) else value), value)

    for row in rows:
        for name in ROW_FIELDS:
            value = getattr(row, name)
            if isinstance(value, str | datetime):
                msgspec.structs.force_setattr(row, name, one(value))
        for unit, rate in list(row.rates.items()):
            row.rates[unit] = one(rate)


def rows_hash(rows: Iterable[PriceRow]) -> str:
    """Digest the rows of a book: 64 hex digits."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row_hash(row).encode())
    return digest.hexdigest()


def make_book(
    name: str, version: str, rows: Iterable[PriceRow], *, title: str = "", source: str = "",
    read: date | None = None, names: dict[str, tuple[Name, ...]] | None = None,
) -> Book:  # fmt: skip
    """Bind rows into a book: each gets its id, its hash and the book's id. An empty version becomes a digest.

    Raises PriceBookError for a negative rate, for one with more decimals than the ledger holds, and for two rows with
    the same key and the same first instant.
    """
    plain = tuple(rows)
    digest = rows_hash(plain)
    version = version or digest[:12]
    book_id = f"{name}@{version}"
    bound = tuple(
        msgspec.structs.replace(row, book=book_id, id=row.id or row_id(row), hash=row_hash(row)) for row in plain
    )
    seen: set[str] = set()
    for row in bound:
        if row.id in seen:
            raise PriceBookError(book_id, row.id, "two rows have this key and this first instant: keep one of them")
        seen.add(row.id)
        for unit, rate in row.rates.items():
            if rate < 0 or not rate.is_finite():
                raise PriceBookError(book_id, row.id, f"the rate for {unit} is {rate}: it must be zero or more")
            if -int(rate.as_tuple().exponent) > DECIMALS:
                raise PriceBookError(book_id, row.id, f"the rate for {unit}, {rate}, has more than {DECIMALS} decimals")
    return Book(
        name=name, version=version, title=title, source=source, read=read, rows=bound, names=names or {}, sha256=digest
    )
