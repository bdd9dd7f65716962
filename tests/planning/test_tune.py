import dataclasses

import pytest
from tests.planning.books import D, azure

from penstock.errors import PlanError
from penstock.planning.tune import Tune, break_even, tune
from penstock.pricing.finetune import shipped_finetunes

FINETUNES = shipped_finetunes()


def test_tuning_pays_from_348000_requests_a_month_and_not_from_the_50_to_100_thousand_of_section_7_12():
    plan = tune(Tune(), azure(), FINETUNES)
    assert plan.hosting_per_month == D("1241.00")
    assert plan.break_even_hosting_only == 347_620
    assert plan.corrections[0].computed == "348,000 requests a month, hosting alone"


def test_at_the_break_even_both_ways_cost_the_same():
    plan = tune(Tune(), azure(), FINETUNES)
    prompt, tuned, _ = tune(Tune(requests_per_month=plan.break_even_requests), azure(), FINETUNES).ways
    assert 0 <= prompt.per_month - tuned.per_month < D("0.01")


def test_without_hosting_tuning_pays_far_earlier():
    plan = tune(Tune(hosting_hours=D(0)), azure(), FINETUNES)
    assert plan.break_even_requests < 3000


def test_training_bills_every_token_of_every_epoch():
    plan = tune(Tune(training_tokens=D(10), epochs=3, tuned_model="gpt-4.1"), azure(), FINETUNES)
    assert plan.training_cost == D("750.00")


def test_a_way_that_saves_nothing_a_request_never_breaks_even():
    assert break_even(D(100), D(0)) is None
    assert tune(Tune(prompt_model="gpt-4.1-nano"), azure(), FINETUNES).break_even_requests is None


def test_a_model_that_cannot_be_tuned_is_named():
    with pytest.raises(PlanError, match="tuned_model: no fine-tuning price of o3; known: "):
        tune(dataclasses.replace(Tune(), tuned_model="o3"), azure(), FINETUNES)


def test_what_is_moved_is_the_break_even_or_the_cost_where_there_is_none():
    plan = tune(Tune(), azure(), shipped_finetunes())
    swing = next(each for each in plan.sensitivity if each.input == "prompt_input_tokens")
    assert (plan.moved, swing.unit) == ("the break-even", "requests")
    assert swing.low > plan.break_even_requests > swing.high  # a longer prompt is beaten sooner
    never = tune(Tune(prompt_model="gpt-4.1-nano"), azure(), shipped_finetunes())
    assert never.break_even_requests is None
    assert "never breaks even" in never.moved
    assert all(swing.unit == "$" for swing in never.sensitivity)
