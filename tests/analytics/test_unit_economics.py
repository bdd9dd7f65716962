from datetime import date, timedelta
from decimal import Decimal

import pytest
from tests.analytics.made import MARCH, event, table

from penstock.analytics.unit_economics import read_metrics, unit_economics
from penstock.errors import InputError

CSV = """date,metric,value,app
2026-03-14,tickets,100,bot
2026-03-14,revenue,300,bot
2026-03-15,tickets,50,bot
2026-03-15,revenue,150,bot
2026-03-14,tickets,10,web
"""


def observed(text=CSV):
    return read_metrics(text.splitlines(), "kpi.csv")


def booked(*costs, app="bot"):
    """Make an event a day from the 14th of March on."""
    return [event(at=MARCH + timedelta(days=n), cost=Decimal(cost), app=app) for n, cost in enumerate(costs)]


def test_an_outcome_costs_the_spend_of_its_days_over_their_outcomes():
    found = unit_economics(table(booked("2", "4")), observed(), "tickets", value_each=Decimal("2.50"))
    total = found.total
    # $6 for 100 + 50 + 10 tickets, worth $400.
    assert (total.outcomes, total.spend, total.cost_per_outcome) == (160, 6, Decimal("0.0375"))
    assert (total.value, total.net, total.margin) == (400, 394, Decimal("0.985"))
    assert (total.roi_multiple, total.roi) == (Decimal("66.666667"), Decimal("65.666667"))
    assert total.cost_share == Decimal("0.015")
    assert (total.first, total.last, total.days) == (date(2026, 3, 14), date(2026, 3, 15), 2)


def test_groups_have_the_spend_and_the_outcomes_of_their_own():
    events = booked("2", "4") + booked("1", app="web")
    found = unit_economics(table(events), observed(), "tickets", by=["app"], value_metric="revenue")
    assert [(row.group["app"], row.spend, row.outcomes, row.value, row.days) for row in found.rows] == [
        ("bot", 6, 150, 450, 2), ("web", 1, 10, 0, 1),
    ]  # fmt: skip
    assert (found.total.spend, found.total.outcomes) == (7, 160)


def test_a_day_with_spend_and_without_the_metric_is_named_and_counts_nowhere():
    text = "date,metric,value\n2026-03-14,tickets,10\n2026-03-16,tickets,10\n"
    found = unit_economics(table(booked("1", "50", "1")), observed(text), "tickets")
    assert (found.total.spend, found.total.cost_per_outcome) == (2, Decimal("0.1"))
    [gap] = found.missing
    assert (gap.days, gap.spend) == ((date(2026, 3, 15),), 50)


def test_a_day_with_the_metric_and_without_spend_counts_and_is_told():
    text = "date,metric,value\n2026-03-14,tickets,10\n2026-03-20,tickets,30\n"
    found = unit_economics(table(booked("1")), observed(text), "tickets")
    assert (found.idle, found.total.cost_per_outcome) == (1, Decimal("0.025"))


def test_other_costs_come_on_top():
    text = CSV + "2026-03-14,hosting,4,bot\n"
    found = unit_economics(table(booked("2", "4")), observed(text), "tickets", cost_metric="hosting")
    assert (found.total.other_cost, found.total.cost_per_outcome) == (4, Decimal("0.0625"))


def test_the_investment_comes_back_by_the_net_of_thirty_days():
    found = unit_economics(
        table(booked("2", "4")), observed(), "tickets", value_each=Decimal("2.50"), investment=Decimal(11820)
    )
    # $394 in two days are $5,910 in thirty.
    assert found.payback_months == 2
    loss = unit_economics(
        table(booked("2", "4")), observed(), "tickets", value_each=Decimal("0.01"), investment=Decimal(1)
    )
    assert (loss.payback_months, loss.total.net) == (None, Decimal("-4.40"))


def test_time_can_be_cut_into_days_weeks_and_months():
    found = unit_economics(table(booked("2", "4")), observed(), "tickets", per="week")
    # The 14th of March 2026 is a Saturday, the 15th a Sunday: one week.
    assert [(row.first, row.spend) for row in found.rows] == [(date(2026, 3, 14), 6)]
    found = unit_economics(table(booked("2", "4")), observed(), "tickets", per="day")
    assert [(row.first, row.spend, row.outcomes) for row in found.rows] == [
        (date(2026, 3, 14), 2, 110), (date(2026, 3, 15), 4, 50),
    ]  # fmt: skip


def test_one_value_is_kept_in_spend_and_in_metrics():
    events = booked("2", "4") + booked("1", app="web")
    found = unit_economics(table(events), observed(), "tickets", where=[("app", "web")])
    assert (found.total.spend, found.total.outcomes, found.total.cost_per_outcome) == (1, 10, Decimal("0.1"))


def test_events_without_a_price_are_counted():
    events = [*booked("2"), event(cost=None)]
    assert unit_economics(table(events), observed(), "tickets").total.unpriced_events == 1


def test_no_outcomes_have_no_cost_each():
    text = "date,metric,value\n2026-03-14,tickets,0\n"
    total = unit_economics(table(booked("2")), observed(text), "tickets", value_each=Decimal(1)).total
    assert (total.cost_per_outcome, total.margin, total.roi_multiple) == (None, None, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no column 'date'"),
        ("date,metric\n", "there is no column 'value'"),
        ("date,metric,value,colour\n", "'colour'"),
        ("date,metric,value\n14.3.2026,x,1\n", "line 2: date: '14.3.2026' is not a day"),
        ("date,metric,value\n2026-03-14,x,much\n", "line 2: value: 'much' is not a number"),
        ("date,metric,value\n2026-03-14,x,NaN\n", "line 2: value: 'NaN' is not a number"),
        ("date,metric,value\n2026-03-14,x\n", "line 2: it has not as many values"),
        ("date,metric,value\n2026-03-14,,1\n", "line 2: metric: it is missing"),
        ("date,metric,value\n2026-03-14,x,1\n2026-03-14,x,2\n", "line 3: x of 2026-03-14 is in line 2 already"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_by_line(text, said):
    with pytest.raises(InputError, match=said):
        observed(text)


def test_what_the_file_does_not_have_is_told_with_what_it_has():
    with pytest.raises(InputError, match="'orders': there is revenue, tickets"):
        unit_economics(table(booked("1")), observed(), "orders")
    with pytest.raises(InputError, match="no column 'team'"):
        unit_economics(table(booked("1")), observed(), "tickets", by=["team"])
