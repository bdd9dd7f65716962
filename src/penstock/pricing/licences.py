"""Prices of licences and credits: Microsoft 365 Copilot, Copilot Studio, AI Builder."""

import csv
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct


class Licence(Struct, frozen=True, kw_only=True):
    """What a licence or a pack costs."""

    product: str
    dollars: Decimal
    per: str
    """What the dollars buy."""
    valid_from: date = msgspec.field(name="from")
    source: str
    read: date


class StudioRate(Struct, frozen=True, kw_only=True):
    """Copilot credits that a feature takes."""

    feature: str
    credits: Decimal
    per: int
    """Uses that take the credits together."""
    valid_from: date = msgspec.field(name="from")
    source: str
    read: date


class Licences(Struct, frozen=True):
    """Both tables, by name."""

    products: Mapping[str, Licence]
    studio: Mapping[str, StudioRate]


@cache
def shipped_licences() -> Licences:
    """Read the tables of the package."""
    products = msgspec.convert(_table("licences.csv"), list[Licence], strict=False)
    studio = msgspec.convert(_table("copilot_studio.csv"), list[StudioRate], strict=False)
    return Licences({one.product: one for one in products}, {one.feature: one for one in studio})


def _table(name: str) -> list[dict[str, str]]:
    text = (files("penstock.pricing") / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
