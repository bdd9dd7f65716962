import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planning.books import D, azure, made_up

from penstock.planning.cache import Cache, cache, cacheable
from penstock.planning.prices import Prices
from penstock.pricing.book import PriceRow
from penstock.pricing.catalog import Catalog

GUIDE = Cache(model="gpt-4o", requests_per_day=10_000, prompt_hit_rate=D(1))


def test_caching_a_1024_token_prompt_saves_what_section_7_5_says_if_every_call_hits():
    plan = cache(GUIDE, azure())
    assert plan.prefix_cost_per_day == D("25.60")
    assert plan.cached_prefix_cost_per_day == D("12.80")
    assert plan.prompt_cache_saving == D("384.00")


def test_at_a_hit_rate_of_90_percent_it_saves_less_than_section_7_5_says():
    plan = cache(dataclasses.replace(GUIDE, prompt_hit_rate=D("0.9")), azure())
    assert plan.prompt_cache_saving == D("345.60")
    assert any(each.computed == "$384 only if every call hits" for each in plan.corrections)


@pytest.mark.parametrize(
    ("model", "discount"), [("gpt-4o", "0.5"), ("o1", "0.5"), ("gpt-4.1", "0.75"), ("o3", "0.75"), ("gpt-5", "0.9")]
)
def test_the_discount_is_the_familys_and_not_always_the_50_percent_of_section_7_5(model, discount):
    assert cache(dataclasses.replace(GUIDE, model=model), azure()).discount == D(discount)


@pytest.mark.parametrize(
    ("prefix", "held"), [(0, 0), (1023, 0), (1024, 1024), (1151, 1024), (1152, 1152), (5000, 4992)]
)
def test_a_prefix_is_cached_from_1024_tokens_on_in_steps_of_128(prefix, held):
    assert cacheable(prefix) == held


def test_cutting_a_hot_prefix_below_the_minimum_costs_more():
    long, short = (cache(dataclasses.replace(GUIDE, model="gpt-5", prefix_tokens=n), azure()) for n in (1100, 900))
    assert short.cost_with > long.cost_with
    assert any("124 stable tokens" in note for note in short.notes)


def test_a_miss_that_writes_at_a_higher_price_can_make_caching_lose_money():
    rates = {"input": D("1E-6"), "cache_read": D("0.1E-6"), "cache_write": D("1.25E-6"), "output": D("4E-6")}
    row = PriceRow(provider="azure", model="writer", rates=rates, valid_from=azure().at)
    prices = Prices(Catalog([[row]]), azure().at)
    assert cache(dataclasses.replace(GUIDE, model="writer", prompt_hit_rate=D("0.05")), prices).saving < 0
    assert cache(dataclasses.replace(GUIDE, model="writer", prompt_hit_rate=D("0.9")), prices).saving > 0


def test_a_semantic_cache_bills_255_to_510_of_1275_dollars_as_section_7_6_says_if_hits_are_free():
    chatbot = Cache(
        model="gpt-4o", requests_per_day=10_000, prefix_tokens=0, variable_tokens=500, prompt_hit_rate=D(0),
        semantic_hit_rate=D("0.8"), wrong_hit_rate=D(0), audit_share=D(0), query_tokens=0,
    )  # fmt: skip
    assert cache(chatbot, azure()).cost_with == D("255.00")
    assert cache(dataclasses.replace(chatbot, semantic_hit_rate=D("0.6")), azure()).cost_with == D("510.00")


def test_wrong_hits_can_eat_the_whole_saving_of_a_semantic_cache():
    inputs = dataclasses.replace(GUIDE, semantic_hit_rate=D("0.5"), wrong_hit_rate=D("0.05"))
    worthless = cache(inputs, azure()).worthless_at
    assert cache(dataclasses.replace(inputs, wrong_hit_cost=worthless + 1), azure()).semantic_saving < 0
    assert cache(dataclasses.replace(inputs, wrong_hit_cost=worthless - D("0.05")), azure()).semantic_saving > 0


@given(st.decimals(0, 1, places=2), st.decimals(0, 1, places=2), st.integers(0, 5000))
def test_more_hits_never_cost_more(low, high, prefix):
    low, high = sorted((low, high))
    prices = made_up(m=("1", "0.1", "8"))
    first, second = (
        cache(Cache(model="m", requests_per_day=1000, prefix_tokens=prefix, prompt_hit_rate=rate), prices)
        for rate in (low, high)
    )
    assert second.cost_with <= first.cost_with
