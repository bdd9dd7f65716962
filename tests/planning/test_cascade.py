import dataclasses

import pytest
from tests.planning.books import D, azure, made_up

from penstock.errors import PlanError
from penstock.planning.cascade import Cascade, cascade

CHATBOT = Cascade(
    first_model="gpt-4o-mini", then_model="gpt-4o", requests_per_day=10_000, input_tokens=500, output_tokens=300
)


def test_mini_before_4o_pays_below_94_percent_of_failures():
    """500 x $0.15 + 300 x $0.60 per million is $0.000255; 500 x $2.50 + 300 x $10 is $0.00425; 1 - 0.06."""
    plan = cascade(CHATBOT, azure())
    assert (plan.first_per_request, plan.then_per_request, plan.pays_below) == (D("0.000255"), D("0.00425"), D("0.94"))
    assert (plan.cost_now, plan.cost_with) == (D("1275.00"), D("331.50"))  # 300,000 x (0.000255 + 0.2 x 0.00425)
    assert (plan.saving, plan.saving_share, plan.asked_twice) == (D("943.50"), D("0.74"), 60_000)
    assert plan.pays


def test_a_check_that_costs_something_leaves_less_room():
    plan = cascade(dataclasses.replace(CHATBOT, check_cost=D("0.0004")), azure())
    assert plan.pays_below == D("0.845882")  # 1 - 0.000655 / 0.00425


def test_at_the_break_even_share_both_ways_cost_the_same_and_beyond_it_the_cascade_loses():
    at = cascade(dataclasses.replace(CHATBOT, failed_share=D("0.94")), azure())
    beyond = cascade(dataclasses.replace(CHATBOT, failed_share=D("0.95")), azure())
    assert (at.saving, at.pays) == (0, False)
    assert (beyond.saving, beyond.pays) == (D("-12.75"), False)
    assert "costs an extra $12.75 a month (1 %)" in beyond.answer


def test_a_first_model_that_is_not_cheaper_cannot_pay():
    plan = cascade(dataclasses.replace(CHATBOT, first_model="gpt-4o", failed_share=D(0)), azure())
    assert (plan.pays, plan.pays_below) == (False, 0)
    assert "cannot pay" in plan.answer
    dear_check = cascade(dataclasses.replace(CHATBOT, check_cost=D("0.004"), failed_share=D(0)), azure())
    assert "cannot pay" in dear_check.answer


def test_a_dear_model_that_writes_less_has_its_own_length():
    plan = cascade(dataclasses.replace(CHATBOT, then_output_tokens=100), azure())
    assert plan.then_per_request == D("0.00225")
    assert plan.pays_below == D("0.886667")


def test_models_that_could_come_first_stand_in_the_order_of_their_room():
    prices = made_up(dear=("10", "", "10"), half=("5", "", "5"), tenth=("1", "", "1"), dearer=("11", "", "11"))
    inputs = dataclasses.replace(CHATBOT, first_model="half", then_model="dear")
    plan = cascade(inputs, prices)
    assert [(one.model, one.pays_below) for one in plan.first_models] == [("tenth", D("0.9")), ("half", D("0.5"))]
    assert [one.saving_share for one in plan.shares] == [D("0.5"), D("0.4"), D("0.25"), 0, D("-0.25"), D("-0.5")]


def test_a_model_without_a_price_is_named():
    with pytest.raises(PlanError, match="then_model: no model 'gpt-99'"):
        cascade(dataclasses.replace(CHATBOT, then_model="gpt-99"), azure())
