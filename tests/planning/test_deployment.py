import dataclasses

import pytest
from tests.planning.books import D, azure, made_up

from penstock.errors import PlanError
from penstock.planning.deployment import Deployment, deployment
from penstock.pricing.capacity import shipped_capacity

CAPACITY = shipped_capacity()
CHATBOT = Deployment(model="gpt-4.1", requests_per_day=10_000, input_tokens=500, output_tokens=300)


def options(inputs):
    return {option.deployment: option for option in deployment(inputs, azure(), CAPACITY).options}


def test_without_demands_global_standard_is_the_cheapest():
    plan = deployment(CHATBOT, azure(), CAPACITY)
    assert (plan.best, plan.best_cost) == ("Global standard", D("1020.00"))


def test_who_can_wait_takes_batch():
    plan = deployment(dataclasses.replace(CHATBOT, can_wait=True), azure(), CAPACITY)
    assert (plan.best, plan.best_cost) == ("Global batch", D("510.00"))


def test_data_that_must_stay_in_its_zone_pays_ten_percent():
    plan = deployment(dataclasses.replace(CHATBOT, residency="zone"), azure(), CAPACITY)
    assert (plan.best, plan.best_cost) == ("Data zone standard", D("1122.00"))


def test_data_that_must_stay_in_its_region_pays_what_the_region_costs():
    inputs = dataclasses.replace(CHATBOT, residency="region", region="northeurope")
    plan = deployment(inputs, azure(), CAPACITY)
    assert (plan.best, plan.best_cost) == ("Regional standard", D("1346.40"))  # + 32 %


def test_steady_latency_leaves_only_ptus():
    plan = deployment(dataclasses.replace(CHATBOT, steady_latency=True), azure(), CAPACITY)
    assert (plan.best, plan.best_cost) == ("Global PTU x 15, reserved for a year", D("3315.00"))
    assert all("PTU" in option.deployment for option in plan.options if option.allowed)


def test_each_way_that_is_ruled_out_says_why():
    found = options(dataclasses.replace(CHATBOT, residency="zone"))
    assert found["Global batch"].why_not == "data would leave the zone; answers come within a day"
    assert found["Regional batch"].why_not == "answers come within a day; no price in the book"
    assert found["Regional batch"].monthly_cost is None


def test_hourly_ptus_are_billed_for_730_hours():
    plan = deployment(CHATBOT, azure(), CAPACITY)
    hourly = next(option for option in plan.options if option.commitment == "hourly" and "Global" in option.deployment)
    assert hourly.monthly_cost == 15 * 730


def test_demands_that_nothing_meets_are_named():
    prices = made_up(a=("1", "", "2"))
    inputs = dataclasses.replace(CHATBOT, model="a", residency="region")
    with pytest.raises(PlanError, match="residency: no deployment with a known price meets these demands"):
        deployment(inputs, prices, CAPACITY)


def test_data_that_must_stay_in_a_region_can_run_on_ptus_where_there_is_no_price_by_token():
    plan = deployment(dataclasses.replace(CHATBOT, model="gpt-5.2", residency="region"), azure(), CAPACITY)
    assert plan.best.startswith("Regional PTU x ")
    assert all("PTU" in option.deployment for option in plan.options if option.allowed)


def test_what_is_moved_is_the_cost_of_the_way_that_was_chosen():
    for demands in ({"can_wait": True}, {"steady_latency": True, "requests_per_day": 10**6}):
        plan = deployment(dataclasses.replace(CHATBOT, **demands), azure(), CAPACITY)
        swing = next(each for each in plan.sensitivity if each.input == "requests_per_day")
        assert plan.moved == f"the monthly cost of {plan.best}"
        assert swing.low < plan.best_cost < swing.high
        assert swing.high / plan.best_cost < D("1.2")


def test_the_price_of_the_ptus_and_what_they_serve_are_named():
    ids = [price.id for price in deployment(CHATBOT, azure(), CAPACITY).prices]
    for row in ("azure-ptu/global@2026-08-01", "azure-ptu/regional@2026-08-01", "azure-ptu/gpt-4.1@2026-05-01"):
        assert row in ids


def test_a_single_request_a_day_on_ptus_has_a_sensitivity():
    """With one request less there is nothing to size: that side of the input does not exist."""
    plan = deployment(dataclasses.replace(CHATBOT, requests_per_day=1, steady_latency=True), azure(), CAPACITY)
    assert "PTU" in plan.best
