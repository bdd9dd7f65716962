import csv
import dataclasses
from pathlib import Path

import pytest
from tests.planning.books import D

from penstock.errors import PlanError
from penstock.planning.copilot import Copilot, copilot
from penstock.pricing.licences import shipped_licences

LICENCES = shipped_licences()
FEW = Copilot(active_users=200, hours_per_week=D(2))


def test_700_users_return_700000_dollars_as_section_7_8_says():
    plan = copilot(Copilot(), LICENCES)
    assert (plan.licence_cost, plan.value) == (D("30000.00"), D("700000.00"))
    assert round(plan.roi * 100) == 2233


def test_200_users_return_80000_dollars_and_800_licences_can_go_as_section_7_8_says():
    plan = copilot(FEW, LICENCES)
    assert (plan.value, plan.reclaimable, plan.reclaim_saving) == (D("80000.00"), 800, D("24000.00"))
    assert round(plan.roi * 100) == 167


def test_after_the_guides_own_action_the_roi_is_1233_percent():
    assert round(copilot(FEW, LICENCES).roi_after_reclaim * 100) == 1233


def test_six_dollars_an_hour_of_section_7_8_fits_five_hours_a_month_and_not_a_week():
    everyone = Copilot(active_users=1000)
    assert copilot(everyone, LICENCES).dollars_per_hour_saved == D("1.50")
    assert copilot(dataclasses.replace(everyone, weeks=D("4.33")), LICENCES).dollars_per_hour_saved == D("1.385681")
    assert copilot(dataclasses.replace(everyone, weeks=D(1)), LICENCES).dollars_per_hour_saved == D("6.00")


def test_a_licence_breaks_even_at_36_minutes_a_month():
    plan = copilot(FEW, LICENCES)
    assert plan.break_even_hours_per_licence == D("0.6")
    assert plan.break_even_hours_per_user == 3  # five licences are paid for each user


def test_licences_kept_on_purpose_are_not_counted_as_reclaimable():
    assert copilot(dataclasses.replace(FEW, spare_licences=300), LICENCES).reclaimable == 500


def test_hours_come_with_a_range():
    low, given, high = copilot(Copilot(), LICENCES).hours_scenarios
    assert low.roi < given.roi < high.roi


@pytest.mark.parametrize(
    ("answers", "payg", "packs", "best"),
    [
        (1000, "20.00", 1, "20.00"),
        (12_500, "250.00", 1, "200.00"),
        (20_000, "400.00", 2, "350.00"),
        (0, "0.00", 0, "0.00"),
    ],
)
def test_copilot_studio_takes_the_cheaper_of_packs_and_pay_as_you_go(answers, payg, packs, best):
    plan = copilot(Copilot(generative_answers=answers), LICENCES)
    assert (plan.studio_pay_as_you_go, plan.studio_packs, plan.studio_best) == (D(payg), packs, D(best))


def test_ai_builder_packs_cover_what_other_licences_do_not():
    plan = copilot(Copilot(ai_builder_credits=1_500_000, ai_builder_included=400_000), LICENCES)
    assert (plan.ai_builder_packs, plan.ai_builder_cost) == (2, D("1000.00"))


def test_more_active_users_than_licences_are_named():
    with pytest.raises(PlanError, match="active_users: 1001 active users have 1000 licences"):
        copilot(Copilot(active_users=1001), LICENCES)


def test_the_shipped_credit_rates_are_the_researched_ones():
    file = Path(__file__).parents[3] / "shared/data/imports/m365_copilot/copilot_studio_rates.csv"
    if not file.exists():
        pytest.skip("the researched table is not on this machine")
    for row in csv.DictReader(file.read_text().splitlines()):
        ours = LICENCES.studio[row["feature"]]
        assert (
            f"{ours.credits} per {ours.per}"
            == f"{row['credits']} per {row['per'].split()[0] if row['per'][0].isdigit() else 1}"
        )


def test_a_range_of_hours_that_is_upside_down_is_named():
    with pytest.raises(PlanError, match="hours_low: 9 h is above the high end of 1 h"):
        copilot(Copilot(hours_low=D(9), hours_high=D(1)), shipped_licences())


def test_without_users_there_is_no_break_even_and_no_price_of_an_hour():
    plan = copilot(Copilot(active_users=0), shipped_licences())
    assert (plan.break_even_hours_per_user, plan.dollars_per_hour_saved, plan.roi_after_reclaim) == (None, None, None)
    assert copilot(Copilot(dollars_per_hour=D(0)), shipped_licences()).break_even_hours_per_licence is None
