"""The facts of the shipped books, as the research note of 2026-11-23 gives them."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

from penstock.errors import PriceBookError
from penstock.pricing.books import default_catalog, find_row
from penstock.pricing.catalog import PriceKey
from penstock.pricing.fields import rows_from_table, table_of
from penstock.pricing.lifecycle import retirement
from penstock.pricing.shipped import SCENARIOS, shipped_book
from penstock.pricing.usage import Usage

NOW = datetime(2026, 11, 23, tzinfo=UTC)
AZURE = default_catalog()
GUIDE = default_catalog(scenario="guide-2026-03")
MILLION = 1_000_000


def dollars(model: str, usage: Usage, at: datetime = NOW, catalog=AZURE, **key: str) -> Decimal | None:
    return catalog.price(PriceKey(provider="azure", model=model, **key), usage, at).total


@pytest.mark.parametrize("catalog", [AZURE, GUIDE])
@pytest.mark.parametrize(("model", "request_cost"), [("gpt-4o-mini", "0.000255"), ("gpt-4o", "0.00425")])
def test_the_support_chatbot_costs_what_the_guide_says(catalog, model, request_cost):
    assert dollars(model, Usage(input=500, output=300), catalog=catalog) == Decimal(request_cost)


@pytest.mark.parametrize(
    ("model", "given_in", "given_out", "cached"),
    [
        ("gpt-4o", "2.50", "10", "1.25"),
        ("gpt-4o-mini", ".15", ".60", ".075"),
        ("gpt-4.1", "2", "8", ".50"),
        ("gpt-4.1-mini", ".40", "1.60", ".10"),
        ("gpt-4.1-nano", ".10", ".40", ".025"),
        ("o1", "15", "60", "7.50"),
        ("o3-mini", "1.10", "4.40", ".55"),
        ("DeepSeek-R1", "1.35", "5.40", None),
        ("Phi-4", ".125", ".50", None),
        ("o3", "2", "8", ".5"),
        ("o4-mini", "1.1", "4.4", ".275"),
        ("gpt-5", "1.25", "10", ".125"),
        ("gpt-5-mini", ".25", "2", ".025"),
        ("gpt-5.6-luna", ".2", "1.2", ".02"),
        ("gpt-5.6-terra", "2", "12", ".2"),
        ("gpt-5.6-sol", "4", "20", ".4"),
        ("gpt-6-sol", "2", "10", ".2"),
        ("gpt-6-astra", "10", "50", "1"),
        ("gpt-5-nano", ".05", ".40", ".005"),
        ("gpt-5.1-codex", "1.25", "10", ".125"),
        ("gpt-5.4-nano", ".2", "1.25", ".02"),
        ("gpt-6-luna", ".1", ".5", ".01"),
        ("gpt-6.1-sol", "2", "10", ".1"),
        ("o3-pro", "20", "80", None),
        ("Llama-3.3-70B-Instruct", ".71", ".71", None),
    ],
)
def test_azure_global_prices_are_those_of_the_price_list(model, given_in, given_out, cached):
    # a hundred thousand tokens: under every context tier
    some = MILLION // 10
    assert dollars(model, Usage(input=some)) * 10 == Decimal(given_in)
    assert dollars(model, Usage(output=some)) * 10 == Decimal(given_out)
    expected = None if cached is None else Decimal(cached) / 10
    assert dollars(model, Usage(cache_read=some)) == expected


def test_azure_batch_is_not_the_standard_price():
    assert dollars("gpt-4o", Usage(input=MILLION), mode="batch") == Decimal("1.25")
    assert dollars("gpt-4o", Usage(output=MILLION), mode="batch") == 5


def test_deepseek_on_azure_knows_no_cheap_hours():
    for hour in (3, 12, 20):
        at = NOW.replace(hour=hour)
        assert dollars("deepseek-r1", Usage(input=MILLION, output=MILLION), at) == Decimal("6.75")


@pytest.mark.parametrize(
    ("model", "key", "usage", "expected"),
    [
        ("gpt-4o", {"deployment_type": "data_zone", "region": "eastus2"}, Usage(input=MILLION), "2.75"),
        ("gpt-4o", {"deployment_type": "data_zone", "region": "westeurope"}, Usage(output=MILLION), "11"),
        ("gpt-4o", {"deployment_type": "data_zone", "region": "usgovvirginia"}, Usage(input=MILLION), "3.438"),
        (
            "gpt-4o-mini",
            {"deployment_type": "data_zone", "region": "eastus2", "mode": "batch"},
            Usage(input=MILLION),
            "0.083",
        ),
        ("gpt-4.1", {"deployment_type": "regional", "region": "eastus2"}, Usage(input=MILLION), "2.20"),
        ("gpt-4.1", {"deployment_type": "regional", "region": "swedencentral"}, Usage(input=MILLION), "2.42"),
        ("gpt-4.1", {"deployment_type": "regional", "region": "northeurope"}, Usage(input=MILLION), "2.64"),
        ("gpt-4.1", {"deployment_type": "regional", "region": "usgovarizona"}, Usage(input=MILLION), "2.75"),
        ("gpt-4.1", {"mode": "priority"}, Usage(output=MILLION), "14"),
        ("gpt-5", {"mode": "priority"}, Usage(input=MILLION), "2.5"),
        ("gpt-5.4-mini", {"deployment_type": "data_zone", "region": "japaneast"}, Usage(input=MILLION), "0.9"),
        ("text-embedding-3-small", {}, Usage(input=MILLION), "0.02"),
        ("text-embedding-3-small", {"deployment_type": "data_zone", "region": "apac"}, Usage(input=MILLION), "0.024"),
        ("text-embedding-3-large", {}, Usage(input=MILLION), "0.13"),
        ("text-embedding-3-large", {"deployment_type": "regional", "region": "eastus2"}, Usage(input=MILLION), "0.143"),
        ("gpt-6-luna", {}, Usage(input=300_000), "0.06"),
        ("DeepSeek-R1", {"deployment_type": "data_zone", "region": "us"}, Usage(output=MILLION), "5.94"),
        ("gpt-4o", {"version": "2024-05-13"}, Usage(input=MILLION), "5"),
    ],
)
def test_deployment_types_regions_and_modes_have_their_own_price(model, key, usage, expected):
    assert dollars(model, usage, **key) == Decimal(expected)


@pytest.mark.parametrize(
    ("model", "day", "before", "after"),
    [("gpt-5.6-luna", 30, "1", "0.2"), ("gpt-5.6-terra", 30, "2.5", "2"), ("gpt-5.6-sol", 52, "5", "4")],
)
def test_a_price_cut_counts_from_its_day_on(model, day, before, after):
    cut = datetime.fromordinal(date(2026, 6, 30).toordinal() + day).replace(tzinfo=UTC)
    usage = Usage(input=100_000)
    assert dollars(model, usage, cut.replace(hour=0)) * 10 == Decimal(after)
    assert dollars(model, usage, datetime.fromtimestamp(cut.timestamp() - 1, UTC)) * 10 == Decimal(before)


def test_a_long_prompt_of_gpt_6_pays_the_long_context_price_as_a_whole():
    assert dollars("gpt-6-sol", Usage(input=272_000)) == Decimal("0.544")
    assert dollars("gpt-6-sol", Usage(input=272_001)) == Decimal("1.088004")


def test_a_long_prompt_whose_price_was_not_read_is_unpriced():
    cost = AZURE.price(PriceKey(provider="azure", model="gpt-5.5"), Usage(input=300_000), NOW)
    assert (cost.state, cost.total) == ("unpriced", None)
    assert "long-context meter" in cost.reason


def test_a_data_zone_without_its_region_is_not_guessed():
    assert dollars("gpt-4o", Usage(input=1), deployment_type="data_zone") is None


def test_a_trace_older_than_the_price_list_is_priced_by_the_earliest_row_and_says_so():
    cost = AZURE.price(
        PriceKey(provider="azure", model="gpt-4o"), Usage(input=374, output=44), datetime(2023, 11, 16, tzinfo=UTC)
    )
    assert cost.total == Decimal("0.001375")
    assert "earliest price known" in cost.reason


@pytest.mark.parametrize(("model", "cost"), [("DeepSeek-R1", "2.74"), ("Phi-4", "0.21")])
def test_the_guides_own_two_wrong_prices_are_its_scenario_and_nothing_else(model, cost):
    usage = Usage(input=MILLION, output=MILLION)
    assert dollars(model, usage, catalog=GUIDE) == Decimal(cost)
    assert dollars(model, usage) != Decimal(cost)


def test_a_scenario_prices_only_what_it_names():
    assert dollars("gpt-5", Usage(input=MILLION), catalog=GUIDE) == Decimal("1.25")
    with pytest.raises(PriceBookError, match="guide-2026-03"):
        default_catalog(scenario="guide-2027")


def test_the_shipped_rows_are_the_pinned_ones():
    for name in ("azure", *SCENARIOS):
        header = json.loads((files("penstock.pricing") / "data" / f"{name}.json").read_text())
        book = shipped_book(name)
        assert book.sha256 == header["sha256"]
        assert all(row.source and row.read for row in book.rows)


def test_a_shipped_table_that_was_changed_without_a_new_version_is_refused(monkeypatch):
    rows = shipped_book("azure").rows
    monkeypatch.setattr("penstock.pricing.shipped.rows_from_table", lambda *_: list(rows[:-1]))
    with pytest.raises(PriceBookError, match="give a changed book a new version"):
        shipped_book.__wrapped__("azure")


def test_the_prices_beside_the_capacity_table_are_those_of_the_book():
    page = Path(__file__).parents[2] / "../shared/data/imports/ptu/ptu_models.csv"
    if not page.exists():
        pytest.skip("the research data is not beside this checkout")
    for line in page.read_text().splitlines()[1:]:
        model, *_, given_in, cached, given_out, _source = line.split(",")
        if given_in:
            some = MILLION // 10
            assert dollars(model, Usage(input=some)) * 10 == Decimal(given_in), model
            assert dollars(model, Usage(output=some)) * 10 == Decimal(given_out), model
            assert not cached or dollars(model, Usage(cache_read=some)) * 10 == Decimal(cached), model


def test_a_book_survives_its_table():
    for name in ("azure", *SCENARIOS):
        plain = rows_from_table((files("penstock.pricing") / "data" / f"{name}.csv").read_text(), name)
        assert rows_from_table(table_of(plain), name) == plain


def test_an_old_event_is_explained_from_the_package_or_from_its_archived_book():
    cost = AZURE.price(PriceKey(provider="azure", model="gpt-4o"), Usage(input=1), NOW)
    row = find_row(cost.book, cost.row)
    assert row.hash == cost.row_hash
    archived = shipped_book("azure").to_bytes()
    assert find_row(cost.book, cost.row, archived=archived) == row
    with pytest.raises(PriceBookError, match="archived book"):
        find_row("azure@1999-01-01", cost.row)


def test_models_that_have_retired_or_will_have_their_day():
    def day(model: str, version: str = "") -> str:
        found = retirement("azure", model, version)
        return found.retires.isoformat() if found else ""

    assert [day(model) for model in ("o3", "o4-mini", "gpt-4o", "GPT-5-mini", "Phi-4")] == [
        "2026-11-19", "2026-11-19", "2027-04-14", "2027-02-09", "",
    ]  # fmt: skip
    assert day("gpt-4o", "2024-05-13") == "2026-12-09"
