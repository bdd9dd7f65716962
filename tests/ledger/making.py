"""Events to fill ledgers with, and processes to kill."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from penstock.metering.event import UsageEvent, new_id
from penstock.pricing.usage import Usage

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def event(**fields: Any) -> UsageEvent:
    """Make one event; every call makes another id."""
    fields = fields if "id" in fields else {"id": new_id()} | fields
    fields.setdefault("request_id", fields["id"])
    usual = {
        "at": NOON, "recorded_at": NOON, "provider": "azure", "model": "gpt-4o", "price_state": "priced",
        "cost": Decimal("0.00175"), "usage": Usage(input=500, output=50), "team": "support",
    }  # fmt: skip
    return UsageEvent(**usual | fields)


def many(count: int, *, days: int = 3, **fields: Any) -> list[UsageEvent]:
    """Make events spread over some days, of several models, teams and users, some without a price."""
    models = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5")
    found = []
    for n in range(count):
        unpriced = n % 11 == 0
        found.append(event(**{
            "at": NOON + timedelta(seconds=n * 86_400 * days // count),
            "model": models[n % 3], "team": f"team-{n % 4}", "user": f"user-{n % 17}", "duration_us": 1000 * (n % 97),
            "price_state": "unpriced" if unpriced else "priced",
            "cost": None if unpriced else Decimal(n + 1) * Decimal("0.000000125"),
            "usage": Usage(input=n, cache_read=n % 5, output=n % 7, reasoning=n % 3),
        } | fields))  # fmt: skip
    return found


def total(events: list[UsageEvent]) -> Decimal:
    """Sum the costs in plain Python."""
    return sum((e.cost for e in events if e.cost is not None), Decimal(0))


texts = st.text("aZ0 é漢🙂'\"\\,;\n\t", max_size=12)
amounts = st.decimals(-(10**9), 10**9, places=18) | st.decimals(0, 1, places=9)
counts = st.integers(-(2**40), 2**40)
instants = st.datetimes(datetime(2025, 12, 30), datetime(2026, 1, 3), timezones=st.just(UTC))  # noqa: DTZ001


@st.composite
def events(draw: st.DrawFn) -> UsageEvent:
    """Any event that can be."""
    cost = draw(st.none() | amounts)
    return event(
        id=draw(st.uuids()).hex, at=draw(instants), recorded_at=draw(instants),
        request_id=draw(texts), model=draw(texts), region=draw(texts),
        attempt=draw(st.integers(1, 9)), status=draw(st.integers(0, 599)), stream=draw(st.booleans()),
        finish_reason=draw(texts), duration_us=draw(counts), cost=cost, provider_cost=draw(st.none() | amounts),
        price_state="unpriced" if cost is None else "priced", team=draw(texts), user=draw(texts),
        tags=draw(st.dictionaries(texts, texts, max_size=3)), decision=draw(texts),
        usage=Usage(**draw(st.dictionaries(st.sampled_from(Usage.__struct_fields__), counts, max_size=5))),
    )  # fmt: skip
