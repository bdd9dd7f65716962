"""The price lists that the tests of planning ask: the shipped books, at a fixed day."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

from penstock.planning.prices import Prices
from penstock.pricing.book import PriceRow
from penstock.pricing.books import default_catalog
from penstock.pricing.catalog import Catalog
from penstock.pricing.lifecycle import shipped_lifecycle

TODAY = datetime(2026, 11, 23, tzinfo=UTC)
D = Decimal


@cache
def azure() -> Prices:
    """Azure's list prices."""
    return Prices(default_catalog(), TODAY, lifecycle=shipped_lifecycle())


@cache
def guide() -> Prices:
    """The guide's table of March 2026, above Azure's list."""
    return Prices(default_catalog(scenario="guide-2026-03"), TODAY)


def made_up(**models: tuple[str, str, str]) -> Prices:
    """Price made-up models: name_with_underscores=(input, cached, output), dollars per million."""
    rows = [
        PriceRow(
            provider="azure", model=name.replace("_", "-"), valid_from=datetime(2026, 1, 1, tzinfo=UTC), source="test",
            rates={
                unit: D(rate) / 1_000_000
                for unit, rate in zip(("input", "cache_read", "output"), rates, strict=True)
                if rate
            },
        )
        for name, rates in models.items()
    ]  # fmt: skip
    return Prices(Catalog([rows]), TODAY)
