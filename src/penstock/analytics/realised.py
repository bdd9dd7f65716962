"""What was really paid less than the standard price, exactly: by the provider's cache, and by batch and flex tiers."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

from penstock.analytics.attempts import group_of, sums_of
from penstock.analytics.change import Rates
from penstock.analytics.question import EXACT, trimmed
from penstock.analytics.spend import add
from penstock.ledger.measures import FROM_CACHE, TO_CACHE
from penstock.ledger.moment import Moment
from penstock.pricing.book import PriceKey, PriceRow
from penstock.pricing.usage import PRICED

TIERS = ("batch", "flex")
"""Processing modes that cost less than the standard one."""
SERVED = ("provider", "model", "version", "deployment_type", "region", "mode")
Standard = Callable[[PriceKey, datetime], PriceRow | None]
"""Finds the row of a key at an instant, in today's books."""


class Realised(Struct, frozen=True, kw_only=True):
    """Dollars of one model that were not paid."""

    by: Literal["prompt cache", "batch", "flex"]
    provider: str
    model: str
    requests: int
    tokens: int
    """Read from the cache; or in and out at the cheaper tier."""
    paid: Decimal
    """For those tokens (writing to the cache included)."""
    plain: Decimal
    """What they would have cost at the plain input price, or in the standard tier."""
    saved: Decimal
    """Plain less paid; below zero it cost more."""


class RealisedAll(Struct, frozen=True, kw_only=True):
    """All of a time, and what could not be said."""

    rows: tuple[Realised, ...]
    unknown: int
    """Requests with cached tokens, or in a cheaper tier, for which no plain price is known."""


def realised(
    moment: Moment,
    rates: Rates,
    standard: Standard,
    *,
    since: datetime,
    until: datetime,
    where: Sequence[tuple[str, str]] = (),
) -> RealisedAll:
    """Hold what was paid against the plain price of the same tokens, row by row of the price books.

    The cache is measured by the rates of the very row that priced the event. A cheaper tier is held against the
    standard row of the same deployment in force on the day.
    """
    by = (*SERVED, "price_book", "price_row")
    sums = ("requests", "caching_requests", *PRICED)
    summed = sums_of(moment, sums, by=by, daily=True, since=since, until=until, where=where, rates=False)
    found: dict[tuple[str, str, str], list[tuple[int, int, Decimal, Decimal]]] = defaultdict(list)
    unknown = 0
    for row in [one | group_of(one, by) for one in summed]:
        cached = {unit: n for unit in (*FROM_CACHE, *TO_CACHE) if (n := int(row[unit] or 0))}
        if not row["price_row"] or not (cached or row["mode"] in TIERS):
            continue
        known = rates(row["price_book"], row["price_row"]) or {}
        requests = int(row["requests" if row["mode"] in TIERS else "caching_requests"])
        if cached:
            if all(unit in known and FROM_CACHE.get(unit, "input") in known for unit in cached):
                paid = add(EXACT.multiply(known[unit], Decimal(n)) for unit, n in cached.items())
                plain = add(
                    EXACT.multiply(known[FROM_CACHE.get(unit, "input")], Decimal(n)) for unit, n in cached.items()
                )
                read = sum(n for unit, n in cached.items() if unit in FROM_CACHE)
                found["prompt cache", row["provider"], row["model"]].append((requests, read, paid, plain))
            else:
                unknown += requests
        if row["mode"] in TIERS:
            tier = _tier(row, known, standard)
            if tier is None:
                unknown += requests
            else:
                found[row["mode"], row["provider"], row["model"]].append((requests, *tier))
    rows = [_summed(key, parts) for key, parts in found.items()]
    return RealisedAll(rows=tuple(sorted(rows, key=lambda one: (-one.saved, one.by, one.model))), unknown=unknown)


def _tier(row: dict[str, Any], known: Any, standard: Standard) -> tuple[int, Decimal, Decimal] | None:
    """Return tokens, what was paid, and what the standard tier would have cost; None: nobody knows."""
    key = PriceKey(**{name: row[name] or "" for name in SERVED[:-1]}, mode="standard")
    plain = standard(key, datetime.combine(row["day"], time(), UTC))
    units = {unit: n for unit in PRICED if (n := int(row[unit] or 0))}
    if plain is None or plain.mode != "standard" or any(unit not in known or unit not in plain.rates for unit in units):
        return None
    paid = add(EXACT.multiply(known[unit], Decimal(n)) for unit, n in units.items())
    dear = add(EXACT.multiply(plain.rates[unit], Decimal(n)) for unit, n in units.items())
    return sum(units.values()), paid, dear


def _summed(key: tuple[str, str, str], parts: Sequence[tuple[int, int, Decimal, Decimal]]) -> Realised:
    by, provider, model = key
    paid, plain = add(part[2] for part in parts), add(part[3] for part in parts)
    return Realised(
        by=by, provider=provider, model=model,  # type: ignore[arg-type]  # one of the three
        requests=sum(part[0] for part in parts), tokens=sum(part[1] for part in parts), paid=trimmed(paid),
        plain=trimmed(plain), saved=trimmed(EXACT.subtract(plain, paid)),
    )  # fmt: skip
