"""Tiers of Azure AI Search: price of a search unit, and what fits on it."""

import csv
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct


class SearchTier(Struct, frozen=True, kw_only=True):
    """A tier. Search units are replicas x partitions."""

    tier: str
    hourly: Decimal
    """Dollars an hour for one search unit."""
    gigabytes: int
    """Vectors that one partition holds."""
    partitions: int
    """Most partitions."""
    replicas: int
    """Most replicas."""
    units: int
    """Most search units."""
    valid_from: date = msgspec.field(name="from")
    source: str
    read: date


@cache
def shipped_search_tiers() -> Mapping[str, SearchTier]:
    """Read the table of the package, by tier."""
    text = (files("penstock.pricing") / "data" / "search_tiers.csv").read_text(encoding="utf-8")
    rows = msgspec.convert(list(csv.DictReader(text.splitlines())), list[SearchTier], strict=False)
    return {row.tier: row for row in rows}
