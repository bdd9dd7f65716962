"""A user's own prices and discounts, as the settings give them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from penstock.errors import PriceBookError
from penstock.pricing.book import SINCE_EVER, PriceRow, make_book
from penstock.pricing.discounts import Discount
from penstock.pricing.fields import instant, row_from_fields

DISCOUNT_FIELDS = ("name", "provider", "model", "deployment_type", "percent", "from", "to")


def parse_own_prices(prices: Iterable[Mapping[str, Any]], place: str = "prices.rows") -> list[PriceRow]:
    """Read contract prices: `{"provider": "azure", "model": "gpt-4o", "input": "2.10", "output": "8.40", ...}`.

    Rates are dollars per 1M tokens; the fields are those of `penstock.pricing.fields.COLUMNS`.
    Raises PriceBookError that names the place: `prices.rows[2], input`.
    """
    rows = []
    for n, fields in enumerate(prices):
        row = row_from_fields(fields, "settings", f"{place}[{n}]")
        if not (row.rates or row.free or row.flat_rate):
            raise PriceBookError("settings", f"{place}[{n}]", "it has no rate; give one, or say free or flat_rate")
        rows.append(row)
    make_book("settings", "", rows)  # two rows with one key and one day are an error
    return rows


def parse_own_discounts(discounts: Iterable[Mapping[str, Any]], place: str = "prices.discounts") -> list[Discount]:
    """Read discounts: `{"provider": "azure", "percent": 12.5, "model": "gpt-4o", "from": "2026-01-01"}`.

    Without `model` or `deployment_type` a discount is about all of them; of several that fit a row the most specific
    counts, of equals the first. Raises PriceBookError that names the place.
    """
    return [_discount(fields, f"{place}[{n}]") for n, fields in enumerate(discounts)]


def _discount(fields: Mapping[str, Any], place: str) -> Discount:
    def wrong(field: str, problem: str) -> PriceBookError:
        return PriceBookError("settings", f"{place}, {field}", problem)

    for unknown in fields.keys() - set(DISCOUNT_FIELDS):
        raise wrong(unknown, f"there is no such field; there are {', '.join(DISCOUNT_FIELDS)}")
    if not fields.get("provider"):
        raise wrong("provider", "it is missing")
    given = fields.get("percent", "")
    try:
        percent = Decimal(repr(given) if isinstance(given, float) else str(given))
    except InvalidOperation:
        raise wrong("percent", f"{given!r} is not a number") from None
    if not 0 < percent <= 100:
        raise wrong("percent", f"{given!r}: a discount takes off more than 0 and at most 100 percent")
    start = _when(fields, "from", place) or SINCE_EVER
    end = _when(fields, "to", place)
    if end is not None and end <= start:
        raise wrong("to", f"{end:%Y-%m-%d} is not after {start:%Y-%m-%d}")
    return Discount(
        name=str(fields.get("name") or "discount"),
        provider=str(fields["provider"]),
        model=str(fields.get("model") or "*"),
        deployment_type=str(fields.get("deployment_type") or "*"),
        percent=percent,
        valid_from=start,
        valid_to=end,
    )


def _when(fields: Mapping[str, Any], field: str, place: str) -> datetime | None:
    return instant(fields.get(field) or None, lambda problem: PriceBookError("settings", f"{place}, {field}", problem))
