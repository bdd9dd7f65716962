"""What each kind of token cost, and what reading from the prompt cache saved: quantities times the rates they had."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from penstock.analytics.attempts import group_of, sums_of
from penstock.analytics.change import Rates
from penstock.analytics.question import EXACT, trimmed
from penstock.analytics.spend import add
from penstock.ledger.measures import FROM_CACHE, TO_CACHE
from penstock.pricing.usage import PRICED


class Unit(Struct, frozen=True, kw_only=True):
    """One kind of token, or another thing that is billed."""

    unit: str
    quantity: int
    cost: Decimal
    """Dollars, by the rates of the rows that priced it."""


class Cache(Struct, frozen=True, kw_only=True):
    """How much of one model's text comes from prompt caches. Counts of tokens, and dollars."""

    provider: str
    model: str
    cached: int
    plain: int
    possible: Decimal
    """What the plain tokens would cost less, were all of them read from the cache."""


class Units(Struct, frozen=True, kw_only=True):
    """The whole of a time: the units and `rest` add up to `cost`."""

    units: tuple[Unit, ...]
    """The most expensive first."""
    rest: Decimal
    """Dollars that no quantity of this time stands behind: corrections, and rows that nobody knows any more."""
    cost: Decimal
    caches: tuple[Cache, ...]
    """Models whose price knows a cache, those with the most to win first."""
    saved_by_cache: Decimal
    """What the provider's prompt caches took off the plain input rate, less what writing to them cost more."""


BY = ("provider", "model", "price_book", "price_row")


def units(
    source: Any,
    rates: Rates,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    where: Sequence[tuple[str, str]] = (),
) -> Units:
    """Sum up every unit of the events that began in [since, until), each at the rate of its own price row.

    `source` is an `overlap.Once`, a `Ledger.moment()` or any Ibis table of events.
    """
    quantities: dict[str, int] = defaultdict(int)
    costs: dict[str, list[Decimal]] = defaultdict(list)
    saved: list[Decimal] = []
    caches: dict[tuple[str, str], list[Any]] = defaultdict(lambda: [0, 0, Decimal(0)])
    total = []
    rows = sums_of(source, ("cost", *PRICED), by=BY, since=since, until=until, where=where, rates=False)
    for row in [one | group_of(one, BY) for one in rows]:
        total.append(Decimal(row["cost"] or 0))
        known = (rates(row["price_book"], row["price_row"]) if row["price_row"] else None) or {}
        if "cache_read" in known and "input" in known:
            cache = caches[row["provider"], row["model"]]
            plain = int(row["input"] or 0)
            less = EXACT.multiply(EXACT.subtract(known["input"], known["cache_read"]), Decimal(plain))
            cache[:] = [cache[0] + int(row["cache_read"] or 0), cache[1] + plain, EXACT.add(cache[2], less)]
        for unit in PRICED:
            if quantity := int(row[unit] or 0):
                quantities[unit] += quantity
                costs[unit].append(EXACT.multiply(known.get(unit, Decimal(0)), Decimal(quantity)))
                usual = known.get(FROM_CACHE.get(unit, "input"))
                if (unit in FROM_CACHE or unit in TO_CACHE) and usual is not None and unit in known:
                    saved.append(EXACT.multiply(EXACT.subtract(usual, known[unit]), Decimal(quantity)))
    found = [Unit(unit=unit, quantity=n, cost=trimmed(add(costs[unit]))) for unit, n in quantities.items()]
    whole = add(total)
    return Units(
        units=tuple(sorted(found, key=lambda one: (-one.cost, -one.quantity, one.unit))),
        rest=trimmed(EXACT.subtract(whole, add(one.cost for one in found))), cost=trimmed(whole),
        caches=tuple(
            Cache(provider=provider, model=model, cached=cached, plain=plain, possible=trimmed(possible))
            for (provider, model), (cached, plain, possible) in sorted(caches.items(), key=lambda one: -one[1][2])
        ),
        saved_by_cache=trimmed(add(saved)),
    )  # fmt: skip
