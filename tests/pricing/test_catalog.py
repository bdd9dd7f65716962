from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.pricing.book import ANY_MODEL, PriceRow, make_book
from penstock.pricing.catalog import Catalog, PriceKey
from penstock.pricing.usage import PRICED, Usage

D1, D2, D3 = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 4, 7))
KEY = PriceKey(provider="azure", model="m")
ONE = Usage(input=1)


def row(rate: str = "1", **fields: object) -> PriceRow:
    return PriceRow(
        **({"provider": "azure", "model": "m", "valid_from": D1, "rates": {"input": Decimal(rate)}} | fields)
    )


def paid(catalog: Catalog, at: datetime = D3, usage: Usage = ONE, **key: str) -> Decimal | None:
    return catalog.price(PriceKey(**({"provider": "azure", "model": "m"} | key)), usage, at).total


def test_the_first_layer_that_has_a_row_decides():
    catalog = Catalog([[], [row("1", model="other")], [row("2")], [row("3"), row("4", mode="batch")]])
    assert paid(catalog) == 2
    assert paid(catalog, mode="batch") == 4


def test_a_layer_that_is_not_in_force_yet_leaves_the_word_to_the_next():
    catalog = Catalog([[row("1", valid_from=D2)], [row("2")]])
    assert paid(catalog, D2 - timedelta(microseconds=1)) == 2
    assert paid(catalog, D2) == 1


def test_the_exact_version_beats_the_row_for_every_version():
    catalog = Catalog([[row("1"), row("2", version="2026-01-01")]])
    assert paid(catalog) == 1
    assert paid(catalog, version="2026-01-01") == 2
    assert paid(catalog, version="2025-05-05") == 1


def test_the_exact_region_beats_the_zone_and_the_zone_beats_everywhere():
    rows = [row("1"), row("2", region="eu"), row("3", region="swedencentral")]
    catalog = Catalog([rows])
    assert [paid(catalog, region=place) for place in ("Sweden Central", "westeurope", "eu", "japaneast", "")] == [
        3,
        2,
        2,
        1,
        1,
    ]


def test_a_row_of_another_region_is_not_guessed():
    catalog = Catalog([[row(deployment_type="regional", region="eu"), row(deployment_type="regional", region="us")]])
    for region in ("", "koreacentral"):
        cost = catalog.price(PriceKey(provider="azure", model="m", deployment_type="regional", region=region), ONE, D3)
        assert (cost.state, cost.total) == ("unpriced", None)
        assert "known for eu, us" in cost.reason
        assert "penstock prices set m --provider azure --deployment-type regional" in cost.reason


@pytest.mark.parametrize(
    ("key", "at", "sentence"),
    [
        ({"model": "x"}, D3, "No price for x at azure. Add one with: penstock prices set x --provider azure --input"),
        ({"provider": "openai"}, D3, "No price for m at openai."),
        ({"mode": "batch"}, D3, "Prices for m at azure are known for standard, not for batch processing."),
        ({"deployment_type": "data_zone"}, D3, "Prices for m at azure are known for global, not for data_zone."),
        ({}, D1 - timedelta(days=1), "Prices for m at azure begin on 2026-01-01, after 2025-12-31."),
    ],
)
def test_an_unpriced_call_says_which_part_of_its_key_is_missing(key, at, sentence):
    cost = Catalog([[row()]]).price(PriceKey(**({"provider": "azure", "model": "m"} | key)), ONE, at)
    assert cost.state == "unpriced"
    assert cost.reason.startswith(sentence)


def test_a_price_that_has_ended_says_so():
    cost = Catalog([[row(valid_to=D2)]]).price(KEY, ONE, D2)
    assert cost.state == "unpriced"
    assert "were not in force on 2026-04-01" in cost.reason


def test_a_mode_never_falls_back_to_standard():
    assert paid(Catalog([[row("1")]]), mode="priority") is None


def test_provisioned_capacity_is_flat_rate_in_every_mode_and_for_every_model():
    rows = [row(model=ANY_MODEL, deployment_type="global_ptu", flat_rate=True, rates={}), row()]
    for model, mode in (("m", "standard"), ("unheard-of", "priority")):
        key = PriceKey(provider="azure", model=model, deployment_type="global_ptu", mode=mode)
        cost = Catalog([rows]).price(key, Usage(input=10**9), D3)
        assert (cost.state, cost.total) == ("flat_rate", 0)
    assert paid(Catalog([rows]), model="unheard-of") is None


def test_nothing_used_costs_nothing_even_without_a_row():
    cost = Catalog([]).price(KEY, Usage(reasoning=3), D3)
    assert (cost.state, cost.total) == ("priced", 0)


@pytest.mark.parametrize(("tokens", "rate"), [(1, 1), (200, 1), (201, 2), (500, 2), (501, 3)])
def test_a_call_above_a_context_tier_pays_that_tier_for_all_its_tokens(tokens, rate):
    catalog = Catalog([[row("1"), row("3", context_over=500), row("2", context_over=200)]])
    assert paid(catalog, usage=Usage(input=tokens)) == tokens * rate


def test_cached_tokens_count_towards_the_context_tier():
    rates = {"input": Decimal(1), "cache_read": Decimal(1)}
    catalog = Catalog([[row(rates=rates), row("2", context_over=200)]])
    assert catalog.price(KEY, Usage(input=1, cache_read=200), D3).state == "unpriced"  # the tier has no cached rate
    assert catalog.price(KEY, Usage(input=1, cache_read=199), D3).total == 200


@pytest.mark.parametrize(
    ("clock", "rate"), [("16:29:59.999999", 2), ("16:30", 1), ("23:59", 1), ("00:00", 1), ("00:29", 1), ("00:30", 2)]
)
def test_a_daily_window_begins_with_its_first_minute_and_ends_before_its_last(clock, rate):
    catalog = Catalog([[row("2"), row("1", hours="16:30-00:30")]])
    assert paid(catalog, datetime.fromisoformat(f"2026-07-01T{clock}+00:00")) == rate


def test_a_daily_window_is_in_utc_wherever_the_instant_is_written():
    catalog = Catalog([[row("2"), row("1", hours="16:30-00:30")]])
    assert paid(catalog, datetime.fromisoformat("2026-07-01T18:31:00+02:00")) == 1


def test_a_price_that_ends_gives_way_to_the_one_that_it_had_replaced():
    catalog = Catalog([[row("4"), row("2", valid_from=D2, valid_to=D3)]])
    assert [paid(catalog, at) for at in (D1, D2, D3)] == [4, 2, 4]


def test_the_earliest_row_stands_in_for_older_days_only_where_its_book_allows_it_and_says_so():
    old = D1 - timedelta(days=900)
    assert paid(Catalog([[row("1")]]), old) is None
    catalog = Catalog([[row("9", valid_from=D2)], [row("1", earliest=True), row("2", valid_from=D3)]])
    cost = catalog.price(KEY, ONE, old)
    assert (cost.total, cost.row) == (1, "azure/m/global/standard@2026-01-01")
    assert "earliest price known" in cost.reason
    assert catalog.price(KEY, ONE, D1).reason == ""


def test_names_are_found_in_any_case():
    catalog = Catalog([[row("7", model="DeepSeek-R1")]])
    assert catalog.identify("azure", "deepseek-r1-2025-01-20") == ("DeepSeek-R1", "2025-01-20")
    assert paid(catalog, model="deepseek-R1") == 7


def test_a_name_that_is_itself_dated_in_a_book_stays_whole():
    catalog = Catalog([[row(model="mistral-large-2024-07-24"), row(model="gpt-4o")]])
    assert catalog.identify("azure", "mistral-large-2024-07-24") == ("mistral-large-2024-07-24", "")
    assert catalog.identify("azure", "gpt-4o-2024-08-06") == ("gpt-4o", "2024-08-06")


def test_the_lowest_layers_are_loaded_when_a_provider_needs_them_and_only_then():
    asked = []

    def later():
        asked.append(1)
        return [make_book("late", "1", [row("5", provider="openai")])]

    catalog = Catalog([[row("1")]], later)
    assert paid(catalog, model="nobody") is None
    assert not asked
    assert paid(catalog, provider="openai") == 5
    assert paid(catalog, provider="openai") == 5
    assert len(asked) == 1


def test_memory_does_not_grow_with_the_names_that_replies_choose(monkeypatch):
    monkeypatch.setattr("penstock.pricing.catalog.MEMO_SIZE", 10)
    catalog = Catalog([[row("1")]])
    for n in range(100):
        catalog.identify("azure", f"made-up-{n}")
        paid(catalog, model=f"made-up-{n}")
    assert len(catalog._names) <= 10
    assert len(catalog._plans) <= 10


counts = st.integers(0, 10**9)
rates = st.decimals(0, 1, places=18)
sheets = st.fixed_dictionaries(dict.fromkeys(PRICED, rates))
usages = st.builds(Usage, **dict.fromkeys(PRICED, counts))


@given(sheets, usages, usages)
def test_two_bills_add_up_to_the_bill_of_both(sheet, one, other):
    catalog = Catalog([[row(rates=sheet)]])
    costs = [catalog.price(KEY, usage, D3).total for usage in (one, other, one + other)]
    assert costs[0] + costs[1] == costs[2]
    assert min(costs) >= 0


days = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(st.sets(days, min_size=1), days, days)
def test_a_later_row_never_changes_what_an_earlier_day_cost(starts, new, at):
    rows = [row(str(n), valid_from=start, earliest=n == 0) for n, start in enumerate(sorted(starts))]
    before = Catalog([rows]).price(KEY, ONE, at)
    if new > max(starts) and at < new:
        assert Catalog([[*rows, row("99", valid_from=new)]]).price(KEY, ONE, at).total == before.total
    in_force = [n for n, start in enumerate(sorted(starts)) if start <= at]
    assert before.total == (in_force[-1] if in_force else 0)
