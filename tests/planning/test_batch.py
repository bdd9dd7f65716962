import dataclasses

import pytest
from tests.planning.books import D, azure, made_up

from penstock.errors import PlanError
from penstock.planning.batch import Batch, batch

CHATBOT = Batch(model="gpt-4o", requests_per_day=10_000, input_tokens=500, output_tokens=300)


def test_everything_in_batch_saves_half_as_section_7_6_says():
    plan = batch(CHATBOT, azure())
    assert (plan.cost_now, plan.cost_after, plan.saving_share) == (D("1275.00"), D("637.50"), D("0.5"))


def test_batch_on_nano_saves_98_percent_and_not_just_the_95_of_section_7_6():
    plan = batch(dataclasses.replace(CHATBOT, batch_model="gpt-4.1-nano"), azure())
    assert plan.saving_share == D("0.98")


def test_only_the_moved_share_saves():
    assert batch(dataclasses.replace(CHATBOT, batch_share=D("0.4")), azure()).saving == D("255.00")


def test_batch_can_cost_more_than_a_well_cached_live_call():
    prompt = Batch(model="gpt-5", requests_per_day=1000, input_tokens=50_000, output_tokens=10, cached_share=D("0.95"))
    assert batch(prompt, azure()).saving < 0


def test_a_model_without_a_batch_price_is_named():
    with pytest.raises(
        PlanError, match="model: Prices for a at azure are known for standard, not for batch processing"
    ):
        batch(dataclasses.replace(CHATBOT, model="a"), made_up(a=("1", "", "2")))
