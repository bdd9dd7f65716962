"""What the counters of one process keep of a call, and for how long."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

from penstock.metering.event import UsageEvent
from penstock.policies.budgets import embedded
from penstock.policies.budgets.counters import Charge, Claim, Order
from penstock.policies.budgets.embedded import EmbeddedCounters
from penstock.policies.budgets.policy import charges_of
from penstock.policies.budgets.rules import Budget, Rulebook, Rules

SECOND = 1_000_000


class Clock:
    """Microseconds that a test sets."""

    def __init__(self) -> None:
        self.now = SECOND

    def __call__(self) -> int:
        return self.now


def order(name: str, amount: int) -> Order:
    return Order(name, [Claim("budget", ("budget",), 100, True, 0)], [amount], (), 0)


def reserved(counters: EmbeddedCounters) -> int:
    [(_spent, held)] = asyncio.run(counters.read(["budget"]))
    return held


def test_a_call_that_goes_on_holds_up_no_lease_of_one_that_has_died():
    clock = Clock()
    counters = EmbeddedCounters(lease_seconds=60, clock=clock)
    for name in ("alive", "dead"):
        assert not asyncio.run(counters.reserve(order(name, 40))).reason
    clock.now += 50 * SECOND
    counters.renew(["alive"])
    clock.now += 20 * SECOND
    assert not asyncio.run(counters.reserve(order("next", 60))).reason
    assert reserved(counters) == 100
    clock.now += 41 * SECOND
    assert not asyncio.run(counters.reserve(order("last", 40))).reason  # what was alive is not heard of any more
    assert reserved(counters) == 100


def test_settling_again_does_nothing_also_after_many_others_were_settled(monkeypatch):
    monkeypatch.setattr(embedded, "MOST_REMEMBERED", 3)
    counters = EmbeddedCounters(clock=Clock())
    for name in ("first", "a", "b", "c", "d", "first"):
        counters.settle(name, [Charge("budget", 7, 1, 0)], None)
    assert counters.spent == {"budget": 5 * 7}


def test_an_event_counts_in_the_window_in_which_its_call_began():
    book = Rulebook(Rules(budgets=(Budget(dollars=Decimal(1), per="hour"),)))

    def counter_at(hour: int, minute: int) -> str:
        at = datetime(2026, 3, 14, hour, minute, tzinfo=UTC)
        event = UsageEvent(
            id="e", request_id="e", at=at, recorded_at=at, provider="openai", model="gpt-4o", price_state="priced",
            cost=Decimal("0.5"),
        )  # fmt: skip
        [charge] = charges_of(book, [event])
        return charge.counter

    before, after = counter_at(9, 59), counter_at(10, 0)
    assert before != after
    assert counter_at(9, 30) == before  # a long stream, booked when the next hour has calls already
    assert counter_at(10, 30) == after
