"""Price books: dated rows, pinned by hash. A change is a new row with a later `valid_from`, never an edit."""

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
from msgspec import Struct


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
    source: str = ""
    """Where the price was read: a page, an API, a contract."""
    read: date | None = None
    """The day on which it was read there."""
    # Filled in by the book that holds the row:
    book: str = ""
    id: str = ""
    hash: str = ""


def row_id(row: PriceRow) -> str:
    """Name a row by its key: `azure/gpt-4o@2024-08-06/data_zone:eu/standard@2025-04-01`."""
    version = f"@{row.version}" if row.version else ""
    place = f"{row.deployment_type}:{row.region}" if row.region else row.deployment_type
    tier = f">{row.context_over}" if row.context_over else ""
    hours = f"[{row.hours}]" if row.hours else ""
    return (
        f"{row.provider}/{row.model}{version}/{place}/{row.mode}{tier}{hours}@{row.valid_from.astimezone(UTC).date()}"
    )


def row_hash(row: PriceRow) -> str:
    """Digest the row's content (not the book that holds it): 16 hex digits."""
    plain = msgspec.structs.replace(row, book="", id="", hash="")
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()[:16]
