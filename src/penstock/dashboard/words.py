"""How figures are written on the pages: rounded where one looks, exact where one checks."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from penstock.pricing.usage import INPUT_TOKENS, OUTPUT_TOKENS

MILLION = 1_000_000
FIGURE_SPACE = "\u2007"
UNIT_NAMES = {
    "input": "input tokens",
    "cache_read": "input tokens read from cache",
    "cache_write": "input tokens written to cache (5 minutes)",
    "cache_write_1h": "input tokens written to cache (1 hour)",
    "output": "output tokens",
}
STATES = {"priced": "priced", "free": "free", "flat_rate": "flat rate", "unpriced": "unpriced"}


def exact(amount: Decimal | None) -> str:
    """Write all digits: `$0.000497`; at least cents."""
    if amount is None:
        return "unpriced"
    whole, _, fraction = format(abs(amount), "f").partition(".")
    sign = "-" if amount < 0 else ""
    return f"{sign}${int(whole):,}.{fraction.rstrip('0').ljust(2, '0')}"


def aligned(amount: Decimal | None, amounts: Iterable[Decimal | None]) -> str:
    """Write all digits, and fill up with space as wide as figures, so that the points of a column line up."""
    digits = [len(exact(one).partition(".")[2]) for one in amounts if one is not None]
    if amount is None:
        return "unknown"
    said = exact(amount)
    return said + FIGURE_SPACE * (max(digits) - len(said.partition(".")[2]))


def places_for(amounts: Iterable[Decimal]) -> int:
    """Choose the decimals of a column, so that its figures line up: fewer where amounts are large."""
    largest = max((abs(amount) for amount in amounts), default=Decimal(0))
    return 2 if largest >= 10 or not largest else 4 if largest >= Decimal("0.1") else 6


def money(amount: Decimal, places: int = 2) -> str:
    """Round for the eye; what is not zero never looks like zero."""
    rounded = f"{abs(amount):,.{places}f}"
    sign = "-" if amount < 0 else ""
    if amount and not Decimal(rounded.replace(",", "")):
        return f"<${Decimal(1).scaleb(-places):f}" if amount > 0 else f">-${Decimal(1).scaleb(-places):f}"
    return f"{sign}${rounded}"


def short(number: int) -> str:
    """Write a large count in three or four signs: `12.4M`."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**4, "K")):
        if abs(number) >= size:
            scaled = number / (1_000 if letter == "K" else size)
            return f"{scaled:.0f}{letter}" if abs(scaled) >= 100 else f"{scaled:.1f}{letter}"
    return f"{number:,}"


def share(part: Decimal | int, whole: Decimal | int) -> str:
    """Write a percentage."""
    if not whole:
        return "–"
    percent = Decimal(part) * 100 / Decimal(whole)
    if part and percent < Decimal("0.1"):
        return "<0.1%"
    return f"{percent:.1f}%"


def plain_number(value: Decimal | int) -> str:
    """Write a number with at most two decimals where it is small, and without the zeros that end it: `1,234`, `0.3`."""
    if abs(Decimal(value)) >= 100:
        return f"{value:,.0f}"
    said = f"{value:,.2f}"
    if value and not Decimal(said.replace(",", "")):
        return "<0.01"
    return said.rstrip("0").rstrip(".")


def per_cent(change: Decimal, before: Decimal) -> str:
    """Write a change as a percentage in brackets, with its sign; nothing where there was nothing before."""
    return f" ({change * 100 / before:+.1f}%)" if before else ""


def begun(at: datetime, place: tzinfo = UTC) -> str:
    """Say why there is no whole period to compare with."""
    return f"no comparison: the ledger begins on {at.astimezone(place):%Y-%m-%d}"


def duration(microseconds: int) -> str:
    """Write how long something took: `812 ms`, `3.4 s`, `16.7 h`."""
    if not microseconds:
        return "–"
    if microseconds < 1_000_000:
        return f"{max(1, round(microseconds / 1_000))} ms"
    if microseconds < 120_000_000:
        return f"{microseconds / 1_000_000:.1f} s"
    minutes = microseconds / 60_000_000
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def stamp(at: datetime) -> str:
    """Write a time for people, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def iso(at: datetime) -> str:
    """Write a time for machines."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def day(at: date) -> str:
    """Write a day of the chart: `23 Nov`."""
    return f"{at.day} {at:%b}"


def day_of(at: datetime) -> str:
    """Write a time's day for an address."""
    return f"{at.astimezone(UTC):%Y-%m-%d}"


def unit_name(unit: str) -> str:
    """Say what a unit is."""
    return UNIT_NAMES.get(unit, unit.replace("_", " "))


def is_tokens(unit: str) -> bool:
    """Tokens are priced by the million, everything else by the piece."""
    return unit in INPUT_TOKENS or unit in OUTPUT_TOKENS


def rate(unit: str, dollars: Decimal) -> str:
    """Write a rate as price lists do: `$2.50 per 1M`, `$0.01 each`."""
    return f"{exact(dollars * MILLION)} per 1M" if is_tokens(unit) else f"{exact(dollars)} each"


def per_million(rates: dict[str, Decimal], unit: str) -> str:
    """Write the rate of a unit in a price list's column."""
    return exact(rates[unit] * MILLION) if unit in rates else "–"


def request_path(request_id: str) -> str:
    """Return the address of a request's page, whatever signs its id has."""
    return f"/requests/{quote(request_id, safe='')}"


def run_path(run: str) -> str:
    """Return the address of a run's page, whatever signs its name has."""
    return f"/runs/{quote(run, safe='')}"


def link(path: str, fields: dict[str, str], **changes: str) -> str:
    """Return an address with a query: the fields, changed; empty ones are left out."""
    query = {name: value for name, value in (fields | changes).items() if value}
    return f"{path}?{urlencode(query)}" if query else path


def requests_and_tokens(rows: Iterable[Any]) -> str:
    """Write how much some rows of spend are: `1,200 requests · 1.4M tokens`."""
    listed = list(rows)
    count = sum(row.requests for row in listed)
    tokens = sum(row.input_tokens + row.output_tokens for row in listed)
    return f"{count:,} request{'' if count == 1 else 's'} · {short(tokens)} tokens"


PUBLIC = (
    "aligned", "day_of", "duration", "exact", "iso", "link", "money", "per_million", "plain_number", "rate",
    "request_path", "run_path", "share", "short", "stamp", "unit_name",
)  # fmt: skip
"""What templates may call."""
