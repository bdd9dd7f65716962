import dataclasses

import pytest
from tests.planning.books import D, azure

from penstock.errors import PlanError
from penstock.planning.mcp import Mcp, mcp

GUIDE = Mcp(model="gpt-4o", requests_per_day=10_000)


def test_20_tools_and_5_tools_cost_what_section_7_10_says():
    plan = mcp(GUIDE, azure())
    assert (plan.tokens_all, plan.all_per_day, plan.all_per_month) == (6000, D("150.00"), D("4500.00"))
    assert (plan.tokens_loaded, plan.loaded_per_day, plan.loaded_per_month) == (1500, D("37.50"), D("1125.00"))
    assert (plan.saving, plan.saving_share) == (D("3375.00"), D("0.75"))


@pytest.mark.parametrize(("model", "share"), [("gpt-4o", "0.5"), ("gpt-4.1", "0"), ("gpt-5", "-1.5")])
def test_with_a_cached_list_dynamic_loading_saves_less_nothing_or_costs_more_against_section_7_10(model, share):
    plan = mcp(dataclasses.replace(GUIDE, model=model, cached_share=D(1)), azure())
    assert plan.saving_share == D(share)


def test_gpt_5_pays_75_cents_a_thousand_requests_for_20_cached_tools_and_188_for_5_fresh_ones():
    line = next(line for line in mcp(GUIDE, azure()).models if line.model == "gpt-5")
    assert (line.all_cached, line.loaded) == (D("0.75"), D("1.875"))


def test_loading_pays_below_the_break_even_number_of_tools():
    inputs = dataclasses.replace(GUIDE, model="gpt-5", cached_share=D(1))
    assert mcp(inputs, azure()).break_even_tools == 2
    assert mcp(dataclasses.replace(inputs, tools_loaded=2), azure()).saving == 0
    assert mcp(dataclasses.replace(inputs, tools_loaded=1), azure()).saving > 0


def test_compression_shortens_every_description():
    assert mcp(dataclasses.replace(GUIDE, compression=D("0.36")), azure()).tokens_all == 3840


def test_calls_and_hosting_are_shown_beside():
    plan = mcp(dataclasses.replace(GUIDE, calls_per_request=D(2), servers=3), azure())
    # 600,000 calls: 100 tokens written ($10 a million) and read again, 500 read ($2.50 a million)
    assert plan.calls_per_month == 600 + 150 + 750
    assert plan.hosting_per_month == D("150.00")


def test_more_loaded_tools_than_there_are_is_named():
    with pytest.raises(PlanError, match="tools_loaded: 30 are more than the 20 tools there are"):
        mcp(dataclasses.replace(GUIDE, tools_loaded=30), azure())


def test_what_is_moved_is_the_saving():
    inputs = Mcp(model="gpt-4o", requests_per_day=10_000)
    plan = mcp(inputs, azure())
    swing = next(each for each in plan.sensitivity if each.input == "requests_per_day")
    assert {swing.low, swing.high} == {plan.saving * D("0.9"), plan.saving * D("1.1")}


def test_a_choice_that_costs_more_than_it_leaves_out_says_so():
    plan = mcp(Mcp(model="gpt-4o", requests_per_day=10_000, tools=2, tools_loaded=1, choice_tokens=1000), azure())
    assert plan.answer.endswith("more a month: choosing them costs more than it leaves out.")
    assert mcp(Mcp(model="gpt-4o", requests_per_day=1, tokens_per_tool=0), azure()).break_even_tools is None
