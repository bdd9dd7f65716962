"""Reading + price -> the event: what was served is priced, at the instant at which it was."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from penstock.metering.attribution import Attribution
from penstock.metering.meter import NOTHING, Attempt, Meter, Served, total
from penstock.metering.reading import Reading
from penstock.pricing.book import PriceRow
from penstock.pricing.catalog import Catalog
from penstock.pricing.usage import Usage

MILLION = Decimal(1_000_000)
JULY, AUGUST = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)


def row(model: str, since: datetime, price: str, **more) -> PriceRow:
    rates = {"input": Decimal(price) / MILLION, "output": Decimal(price) * 4 / MILLION}
    return PriceRow(provider="azure", model=model, valid_from=since, rates=rates, **more)


CATALOG = Catalog([[
    row("big", JULY, "2.50"), row("big", AUGUST, "2.00"), row("big", JULY, "1.25", mode="flex"),
    row("big", JULY, "2.75", deployment_type="data_zone", region="eu"),
]])  # fmt: skip
SERVED = Served("azure", "dep", "big", True, "global", "")
USAGE = Usage(input=1000, output=100)


def attempt(at: datetime = JULY, number: int = 1) -> Attempt:
    return Attempt(
        "r" * 32, number, "call", at, "chat", "asked", False, "dep#1", recorded_at=at, duration_us=5, first_token_us=4
    )


def event(reading: Reading, at: datetime = JULY, served: Served = SERVED, who: Attribution | None = None):
    return Meter(CATALOG).event(served, attempt(at), reading, who or Attribution())


def test_the_price_is_that_of_the_day():
    reading = Reading(usage=USAGE, usage_source="provider", model="big-2026-01-02")
    assert event(reading).cost == Decimal("0.0035")
    assert event(reading, AUGUST).cost == Decimal("0.0028")
    assert event(reading).version == "2026-01-02"


@pytest.mark.parametrize(("tier", "mode", "cost"), [("default", "standard", "0.0035"), ("flex", "flex", "0.00175")])
def test_the_tier_that_was_served_is_priced(tier, mode, cost):
    found = event(Reading(usage=USAGE, usage_source="provider", model="big", tier=tier))
    assert (found.mode, found.cost) == (mode, Decimal(cost))


def test_a_mode_without_a_price_is_unpriced_and_never_standard():
    found = event(Reading(usage=USAGE, usage_source="provider", model="big", tier="priority"))
    assert (found.mode, found.price_state, found.cost) == ("priority", "unpriced", None)


def test_the_reply_may_say_where_it_was_served():
    served = Served("azure", "dep", "big", True, "data_zone", "")
    found = event(Reading(usage=USAGE, usage_source="provider", model="big", region="eu"), served=served)
    assert (found.region, found.cost) == ("eu", Decimal("0.00385"))


def test_a_private_name_stands_for_the_model_that_the_settings_declare():
    reading = Reading(usage=USAGE, usage_source="provider", model="/models/our-own")
    assert event(reading).model == "big"
    passed_through = Served("azure", "azure", "asked", False, "global", "")
    found = event(reading, served=passed_through)
    assert (found.model, found.price_state) == ("/models/our-own", "unpriced")


def test_an_attempt_that_used_nothing_costs_nothing_whatever_the_price():
    found = event(NOTHING, served=Served("azure", "dep", "unknown", True, "global", ""))
    assert (found.cost, found.price_state, found.usage_source) == (Decimal(0), "priced", "none")


def test_who_pays_is_in_the_event():
    who = Attribution(key="k", team="t", app="a", feature="f", user="u", run="r", tags={"x": "y"})
    found = event(Reading(usage=USAGE, usage_source="provider", model="big"), who=who)
    assert (found.key, found.team, found.app, found.feature, found.user, found.run) == ("k", "t", "a", "f", "u", "r")
    assert found.tags == {"x": "y"}


def test_the_first_attempt_bears_the_requests_id_and_the_next_ones_their_own():
    reading = Reading(usage=USAGE, usage_source="provider", model="big")
    first, second = (Meter(CATALOG).event(SERVED, attempt(number=n), reading, Attribution()) for n in (1, 2))
    assert first.id == first.request_id == second.request_id
    assert second.id != first.id
    assert total([first, second]) == Decimal("0.007")


def test_a_sum_with_an_unknown_part_is_unknown():
    known = event(Reading(usage=USAGE, usage_source="provider", model="big"))
    gap = event(Reading(usage=USAGE, usage_source="provider", model="big", tier="priority"))
    assert total([known, gap]) is None
