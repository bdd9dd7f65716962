"""Findings over small ledgers whose dollars can be worked out on paper."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.analytics.overlap import Once
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent
from penstock.optimization.findings import Finding, find
from penstock.pricing.book import PriceRow, make_book
from penstock.pricing.catalog import Catalog
from penstock.pricing.cost import cost_of
from penstock.pricing.usage import Usage

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
MILLIONTH = Decimal("0.000001")


def row(model: str, rates: str, **more: Any) -> PriceRow:
    dollars = dict(
        zip(("input", "cache_read", "output"), (Decimal(one) * MILLIONTH for one in rates.split()), strict=True)
    )
    return PriceRow(
        provider="openai", model=model, valid_from=datetime(2025, 1, 1, tzinfo=UTC), rates=dollars, **more
    )  # fmt: skip


BOOK = make_book("test", "1", [
    row("gpt-4o", "2.50 1.25 10"), row("gpt-4o", "1.25 1.25 5", mode="batch"), row("gpt-4.1", "2 0.50 8"),
    row("gpt-4.1", "2.2 0.55 8.8", deployment_type="data_zone", region="us"),
])  # fmt: skip
LIVE, ZONE = BOOK.rows[0], BOOK.rows[3]


def event(number: int, *, ago: timedelta, priced: PriceRow = LIVE, **fields: Any) -> UsageEvent:
    usage = fields.pop("usage", Usage(input=500, output=100))
    cost = cost_of(usage, priced)
    plain: dict[str, Any] = {
        "id": f"{number:032x}", "request_id": f"r{number}", "at": NOW - ago, "recorded_at": NOW, "provider": "openai",
        "model": priced.model, "usage": usage, "price_state": cost.state, "cost": cost.total, "price_book": cost.book,
        "price_row": cost.row, "price_hash": cost.row_hash, "team": "support", "app": "bot", "stream": True,
        "deployment_type": priced.deployment_type, "region": priced.region,
    }  # fmt: skip
    return UsageEvent(**plain | fields)


Look = Callable[[Iterable[UsageEvent]], dict[str, Finding]]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    def looked(events: Iterable[UsageEvent]) -> dict[str, Finding]:
        with Ledger.open(tmp_path) as ledger:
            ledger.add(events, source="test")
            return {one.id: one for one in find(ledger.moment(), Catalog([BOOK]), NOW)}

    return looked


def spread(count: int, **fields: Any) -> list[UsageEvent]:
    """Make events over exactly ten days, as many at each hour."""
    last = timedelta(days=10)
    return [event(n, ago=last * n / (count - 1) + timedelta(minutes=1), **fields) for n in range(count)]


def test_an_empty_ledger_has_no_findings(look: Look) -> None:
    assert look([]) == {}


def test_long_prompts_that_are_not_cached_are_worth_what_the_cache_would_take_off(look: Look) -> None:
    found = look(spread(101, usage=Usage(input=2_100, output=100)))["prompt_cache:openai:gpt-4o:bot"]
    # 2,048 tokens fit the cache; 90 % of 101 calls find them, at 1.25 less for a million; ten days make a third.
    saving = Decimal(101 * 2_048) * Decimal("0.9") * Decimal("1.25") * MILLIONTH * 3
    assert found.saving == saving.quantize(Decimal("0.01"))
    assert found.certainty == "estimate"
    assert found.command.startswith("penstock plan cache --provider openai --model gpt-4o --requests-per-day 10 ")


def test_short_prompts_and_cached_ones_are_left_alone(look: Look) -> None:
    assert not [one for one in look(spread(101)) if one.startswith("prompt_cache")]
    cached = spread(101, usage=Usage(input=200, cache_read=1_900, output=100))
    assert not [one for one in look(cached) if one.startswith("prompt_cache")]


def test_failed_attempts_are_worth_what_they_cost(look: Look) -> None:
    bad = [event(1_000 + n, ago=timedelta(days=1), outcome="error", error="timeout", status=0) for n in range(10)]
    found = look([*spread(90), *bad])["failed:openai:gpt-4o"]
    assert found.saving == Decimal("0.07")  # ten times $0.00225, for a month instead of ten days
    assert found.certainty == "measured"
    assert "10 of 100 attempts (10 %)" in found.evidence


def test_calls_by_the_clock_may_wait_and_an_even_load_may_not(look: Look) -> None:
    at_two = [event(n, ago=timedelta(days=1 + n % 10, hours=13), stream=False) for n in range(100)]
    found = look(at_two)["batch:openai:gpt-4o:bot"]
    # 500 in and 100 out: $0.00225 live, $0.001125 in a batch; nine days between the first and the last.
    assert found.saving == (Decimal("0.1125") * 30 / 9).quantize(Decimal("0.01"))
    assert "hours 02 (UTC)" in found.evidence


def test_an_even_load_and_streams_may_not_wait(look: Look) -> None:
    assert not [one for one in look(spread(241, stream=False)) if one.startswith("batch")]
    streamed = [event(500 + n, ago=timedelta(days=1 + n % 10, hours=13)) for n in range(100)]
    assert not [one for one in look(streamed) if one.startswith("batch")]


def test_a_cheaper_model_of_the_same_class_and_a_cheaper_place(look: Look) -> None:
    found = look([*spread(101), *[event(900 + n, ago=timedelta(days=2), priced=ZONE, app="zone") for n in range(60)]])
    cheaper = found["cheaper_model:openai:gpt-4o:bot"]
    assert cheaper.saving == (Decimal(101) * (Decimal("0.00225") - Decimal("0.0018")) * 3).quantize(Decimal("0.01"))
    place = found["deployment:openai:gpt-4.1:zone:data_zone"]
    assert place.saving == (Decimal(60) * (Decimal("0.00198") - Decimal("0.0018")) * 3).quantize(Decimal("0.01"))


def test_what_two_sources_recorded_counts_once(tmp_path: Path) -> None:
    bad = {"outcome": "error", "error": "timeout", "status": 0, "ago": timedelta(days=1)}
    with Ledger.open(tmp_path) as ledger:
        ledger.add([event(n, source="gateway", **bad) for n in range(10)], source="gateway")
        ledger.add([event(n, source="litellm", team="", **bad) for n in range(100, 110)], source="litellm")
        once = {one.id: one for one in find(Once(ledger.moment()), Catalog([BOOK]), NOW)}
        twice = {one.id: one for one in find(ledger.moment(), Catalog([BOOK]), NOW)}
    assert once["failed:openai:gpt-4o"].at_stake == Decimal("0.68")  # ten times $0.00225 in a day, for thirty days
    assert twice["failed:openai:gpt-4o"].at_stake == Decimal("1.35")
    assert ("unattributed" in once, "unattributed" in twice) == (False, True)


def test_what_has_no_price_goes_first_and_its_dollars_are_unknown(look: Look) -> None:
    odd = event(5_000, ago=timedelta(days=1), model="mystery; rm -rf /", price_state="unpriced", cost=None,
                price_book="", price_row="", price_hash="")  # fmt: skip
    found = look([*spread(101), odd])
    first = next(iter(found.values()))
    assert (first.kind, first.saving, first.at_stake) == ("unpriced", None, None)
    assert first.command == "penstock prices set 'mystery; rm -rf /' --provider openai --input DOLLARS --output DOLLARS"


def test_spend_without_a_team_is_told_and_a_little_of_it_is_not(look: Look) -> None:
    found = look([*spread(90), *[event(700 + n, ago=timedelta(days=1), team="") for n in range(10)]])["unattributed"]
    assert "(10 % of all) has no team" in found.evidence


def test_a_little_without_a_team_is_not_told(look: Look) -> None:
    assert "unattributed" not in look([*spread(99), event(700, ago=timedelta(days=1), team="")])


def test_a_model_that_retires_soon(look: Look) -> None:
    fields = {"provider": "azure", "model": "gpt-5"}
    found = look([event(n, ago=timedelta(days=n % 10), **fields) for n in range(20)])["retiring:azure:gpt-5"]
    assert found.title == "gpt-5 retires in 78 days"
    assert "2027-02-09" in found.evidence
