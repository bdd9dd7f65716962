"""Events for questions: only what a test is about is named, the rest is ordinary."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import ibis
import msgspec

from penstock.ledger.columns import to_arrow
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

MARCH = datetime(2026, 3, 14, 10, tzinfo=UTC)
_numbers = count(1)


def event(**changes: Any) -> UsageEvent:
    """Make a priced call of gpt-4o at a dollar; `cost=None` makes it unpriced."""
    number = next(_numbers)
    ordinary: dict[str, Any] = {
        "id": f"{number:032x}", "request_id": f"r{number}", "at": MARCH, "recorded_at": MARCH, "provider": "azure",
        "model": "gpt-4o", "usage": Usage(input=100, cache_read=20, output=10), "cost": Decimal(1),
        "price_state": "unpriced" if "cost" in changes and changes["cost"] is None else "priced",
        "price_row": "azure/gpt-4o/global/standard@2024-10-01",
    }  # fmt: skip
    return UsageEvent(**(ordinary | changes))


def correction(of: UsageEvent, cost: Decimal | None, **changes: Any) -> UsageEvent:
    """Make the event that adds `cost` to another one."""
    number = next(_numbers)
    plain: dict[str, Any] = {
        "id": f"{number:032x}", "corrects": of.id, "requests": 0, "usage": Usage(), "cost": cost,
        "price_state": "priced",
    }  # fmt: skip
    return msgspec.structs.replace(of, **(plain | changes))


def table(events: Iterable[UsageEvent]) -> Any:
    """Lay events out as the ledger does."""
    found = list(events)
    return ibis.memtable(to_arrow(found, "test", range(1, len(found) + 1)))
