"""What changes when one set of books takes the place of another, or one day that of another."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from penstock.pricing.book import PriceKey, PriceRow
from penstock.pricing.catalog import Catalog

Place = tuple[PriceKey, int, str]
"""What a row prices: the key, the context tier, the daily window."""


class Change(Struct, frozen=True, kw_only=True):
    """One unit whose rate differs. `old` is None where there was no price, `new` where there is none any more."""

    key: PriceKey
    context_over: int = 0
    hours: str = ""
    unit: str
    old: Decimal | None
    new: Decimal | None
    old_row: str = ""
    new_row: str = ""


def places(rows: Iterable[PriceRow]) -> list[Place]:
    """List what the rows price, each once, in the order of the rows."""
    return list(dict.fromkeys((key_of(row), row.context_over, row.hours) for row in rows))


def key_of(row: PriceRow) -> PriceKey:
    """Return the question that the row answers."""
    return PriceKey(
        provider=row.provider, model=row.model, version=row.version, deployment_type=row.deployment_type,
        region=row.region, mode=row.mode,
    )  # fmt: skip


def changes(asked: Iterable[Place], old: Catalog, old_at: datetime, new: Catalog, new_at: datetime) -> Iterator[Change]:
    """Yield each unit that `old` and `new` price differently, as they would price a call."""
    for place in asked:
        key, over, hours = place
        before, after = answer(old, place, old_at), answer(new, place, new_at)
        old_rates, new_rates = (row.rates if row else {} for row in (before, after))
        for unit in dict.fromkeys((*old_rates, *new_rates)):
            if old_rates.get(unit) != new_rates.get(unit):
                yield Change(
                    key=key, context_over=over, hours=hours, unit=unit, old=old_rates.get(unit),
                    new=new_rates.get(unit), old_row=before.id if before else "", new_row=after.id if after else "",
                )  # fmt: skip


def answer(catalog: Catalog, place: Place, at: datetime) -> PriceRow | None:
    """Find the row that prices a place on the day of `at`: inside its daily window, just above its context tier."""
    key, over, hours = place
    if hours:
        hour, minute = hours.partition("-")[0].split(":")
        at = at.replace(hour=int(hour), minute=int(minute))
    return catalog.row(key, at, over + 1)
