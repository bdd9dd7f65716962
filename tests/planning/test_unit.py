import dataclasses

import pytest
from tests.planning.books import D, azure

from penstock.planning.unit import GUIDE_CASES, Case, UnitEconomics, judge, unit


@pytest.mark.parametrize(
    ("case", "multiple", "verdict"),
    list(
        zip(
            GUIDE_CASES,
            ("833.333333", "62.5", "750", "20", "333.333333", "6", "10"),
            (
                "strongly viable",
                "viable",
                "strongly viable",
                "viable",
                "strongly viable",
                "marginal",
                "monitor closely",
            ),
            strict=True,
        )
    ),
)
def test_the_table_of_use_cases_in_section_7_11_comes_out(case, multiple, verdict):
    result = judge(case)
    assert (result.roi_multiple, result.verdict) == (D(multiple), verdict)


def test_the_gross_margin_of_section_7_11_is_99_88_and_not_99_8_percent():
    assert unit(UnitEconomics(), azure()).gross_margin == D("0.9988")


def test_the_template_of_section_7_11_is_met_by_500_interactions_a_user():
    plan = unit(UnitEconomics(), azure())
    assert (plan.cost_per_interaction, plan.cost_per_active_user) == (D("0.003"), D("1.50"))
    assert plan.cost_share_of_revenue == D("0.001")


def test_the_investment_is_back_after_its_cost_over_the_net_value():
    plan = unit(UnitEconomics(investment=D(499_400)), azure())
    assert plan.payback_months == 2
    assert [scenario.payback_months for scenario in plan.scenarios] == [D("4.01"), 2, D("1.33")]


def test_a_loss_never_pays_back():
    plan = unit(UnitEconomics(investment=D(100), value_per_interaction=D("0.001")), azure())
    assert plan.payback_months is None
    assert plan.net_per_month < 0
    assert plan.scenarios[0].payback_months is None


def test_costs_that_are_not_covered_are_called_a_loss():
    assert judge(Case(name="x", cost=D(2), value=D(1))).verdict == "loses money"


def test_value_counts_only_where_the_interaction_succeeds():
    whole, half = (unit(UnitEconomics(success_share=D(share)), azure()) for share in ("1", "0.5"))
    assert half.value_created * 2 == whole.value_created


def test_the_scenarios_span_the_given_ranges():
    plan = unit(dataclasses.replace(UnitEconomics(), value_range=D("0.2"), cost_range=D(1)), azure())
    low, _, high = plan.scenarios
    assert (low.value, low.cost) == (D("200000.00"), D("600.00"))
    assert (high.value, high.cost) == (D("300000.00"), D("0.00"))


def test_what_costs_or_is_worth_nothing_has_no_multiple_and_no_margin():
    free = judge(Case(name="a", cost=D(0), value=D(1)))
    assert (free.roi_multiple, free.margin, free.verdict) == (None, 1, "costs nothing")
    idle = unit(UnitEconomics(value_per_interaction=D(0), revenue=D(0)), azure())
    assert (idle.gross_margin, idle.cost_share_of_revenue, idle.roi_multiple) == (None, None, 0)
