from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from penstock.pricing.book import PriceRow
from penstock.pricing.lifecycle import retirement, shipped_lifecycle
from penstock.pricing.sanity import suspects
from penstock.pricing.shipped import SCENARIOS, shipped_book

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def row(rate: str = "1", *, day: int = 1, book: str = "b", **fields: object) -> PriceRow:
    rates = {"input": Decimal(rate)} | fields.pop("rates", {})
    start = datetime(2026, 1, day, tzinfo=UTC)
    fields = {"provider": "p", "model": "m", "id": f"{book}{day}{fields}", **fields}
    return PriceRow(**fields, valid_from=start, rates=rates, book=book)


@pytest.mark.parametrize(("rate", "found"), [("100", 1), ("10", 1), ("9.99", 0), ("0.1", 1), ("0.11", 0)])
def test_a_rate_ten_times_its_predecessor_is_suspect(rate, found):
    slips = suspects([row("1"), row(rate, day=2)], at=NOW)
    assert [slip.row.rates["input"] for slip in slips] == [Decimal(rate)] * found or len(slips) == 2 * found


def test_the_sentence_names_both_numbers_as_they_are_quoted():
    (slip,) = suspects([row("0.00025", day=2)], [row("0.0000025")], at=NOW)
    assert slip.problem == "input 250 after 2.5 from 2026-01-01"


def test_a_rate_ten_times_that_of_the_models_other_rows_is_suspect():
    others = [row("1", deployment_type="data_zone", region=zone) for zone in ("eu", "us", "apac")]
    (slip,) = suspects([*others, row("20")], at=NOW)
    assert slip.row.deployment_type == "global"
    assert "where the model's other rows ask 1000000" in slip.problem


def test_an_own_price_is_compared_with_the_books_under_it():
    assert len(suspects([row("0.01", book="own", day=2)], [row("1")], at=NOW)) == 1
    assert suspects([row("0.5", book="own", day=2)], [row("1")], at=NOW) == []


def test_cached_tokens_that_cost_more_than_fresh_ones_are_suspect():
    (slip,) = suspects([row("1", rates={"cache_read": Decimal("1.5")})], at=NOW)
    assert slip.unit == "cache_read"
    assert suspects([row("1", rates={"cache_read": Decimal(1)})], at=NOW) == []


def test_other_models_modes_and_tiers_are_no_peers():
    rows = [row("1"), row("100", model="n"), row("100", mode="batch"), row("100", context_over=5)]
    assert suspects(rows, at=NOW) == []


def test_free_is_not_infinitely_cheap():
    assert suspects([row("0"), row("1", day=2)], at=NOW) == []


@pytest.mark.parametrize("name", ["azure", *SCENARIOS])
def test_the_shipped_books_hold_nothing_suspect(name):
    assert suspects(shipped_book(name).rows, at=NOW) == []


@pytest.mark.parametrize(
    ("model", "day"),
    [("o1", date(2026, 11, 19)), ("o3-mini", date(2026, 11, 19)), ("deepseek-r1", date(2026, 8, 13)), ("Phi-4", None)],
)
def test_retirement_dates_are_the_known_ones(model, day):
    found = retirement("azure", model, "2024-12-17")
    assert (found.retires if found else None) == day


def test_every_retirement_has_a_source_and_is_of_a_priced_model():
    priced = {row.model for row in shipped_book("azure").rows}
    assert all(line.source and line.read and line.model in priced for line in shipped_lifecycle().values())
