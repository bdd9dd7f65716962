"""What a classifier in the shadow has shown: how often it agrees with the router, and what it would have cost or saved.

Both sides are what a call was expected to cost when it was decided about: the one that was made, and the one that the
classifier's tier would have made of the same candidates. Nothing was served by it, so nothing here is a saving.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from math import sqrt
from typing import Any

from msgspec import Struct

from penstock.analytics.attempts import attempts_of
from penstock.analytics.question import EXACT, trimmed
from penstock.analytics.spend import add

TAGS = ("key", "named_tier", "chosen_tier", "chosen", "expected", "would", "would_expected")
Z = 1.959963984540054
"""Standard errors of a 95 % interval."""


class Shadowed(Struct, frozen=True, kw_only=True):
    """The questions of one key, or (key `*`) all of them. Dollars are exact sums of what was expected."""

    key: str
    asked: int
    answered: int
    """It named a tier in time."""
    agreed: int
    """That of the chosen model."""
    agreement: float | None
    """Of those that it answered; None: there are none."""
    low: float | None
    """Holds the true share with `high`, with 95 % confidence (Wilson); read once."""
    high: float | None
    same_model: int
    """Answers after which the same model would have been chosen."""
    cost: Decimal
    """What asking cost."""
    expected: Decimal
    """What the calls that were answered, and whose models have a price, were expected to cost as they were decided."""
    would: Decimal
    """What they would have been expected to cost, had the classifier decided."""
    net: Decimal
    """`expected` less `would` less `cost`: below zero, it would have cost more."""
    unpriced: int
    """Questions, or answers, whose dollars are not known; they are in no sum."""


def classifier_shadow(source: Any, *, since: datetime | None = None, until: datetime | None = None) -> list[Shadowed]:
    """Say it for each key, and for all where there are several. `source`: a `Ledger.moment()` or a table of events."""
    events = attempts_of(source, by=[f"tag:penstock.{name}" for name in TAGS], since=since, until=until)
    names = {name: f"by_{number}" for number, name in enumerate(TAGS)}
    mine = events.filter(events.purpose == "classifier", events[names["named_tier"]] != "")
    rows = [
        {**{name: row[column] for name, column in names.items()}, **row}
        for row in mine.select(*names.values(), "cost", "is_event", "is_unpriced").to_pyarrow().to_pylist()
    ]
    keys = sorted({row["key"] for row in rows})
    found = [_of(key, [row for row in rows if row["key"] == key]) for key in keys]
    return [*found, _of("*", rows)] if len(found) > 1 else found


def _of(key: str, rows: list[dict[str, Any]]) -> Shadowed:
    asked = [row for row in rows if row["is_event"]]
    answered = [row for row in asked if row["named_tier"] != "none"]
    agreed = sum(row["named_tier"] == row["chosen_tier"] for row in answered)
    priced = [row for row in answered if "unknown" not in (row["expected"], row["would_expected"])]
    low, high = wilson(agreed, len(answered))
    cost = add(row["cost"] for row in rows if row["cost"] is not None)
    expected, would = (_sum(row[name] for row in priced) for name in ("expected", "would_expected"))
    return Shadowed(
        key=key, asked=len(asked), answered=len(answered), agreed=agreed,
        agreement=agreed / len(answered) if answered else None, low=low, high=high,
        same_model=sum(row["chosen"] == row["would"] for row in answered), cost=trimmed(cost),
        expected=trimmed(expected), would=trimmed(would),
        net=trimmed(EXACT.subtract(EXACT.subtract(expected, would), cost)),
        unpriced=len(answered) - len(priced) + sum(row["is_unpriced"] for row in rows),
    )  # fmt: skip


def _sum(amounts: Iterable[str]) -> Decimal:
    return add(Decimal(amount) for amount in amounts)


def wilson(hits: int, count: int) -> tuple[float | None, float | None]:
    """Return the ends of Wilson's 95 % interval of a share (JASA 1927); None: there is nothing to share."""
    if not count:
        return None, None
    share, spread = hits / count, Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z * sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
