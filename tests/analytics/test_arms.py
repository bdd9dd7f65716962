"""Arms: exact means, intervals that cover at every look, and no word where there is too little."""

import math
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.analytics.arms import LEAST, Unit, difference, halfwidth

TENTH = Decimal("0.1")
AMOUNTS = st.lists(st.decimals(0, 100, places=6), min_size=1, max_size=30)


def unit(arm, amount, held_out=TENTH):
    return Unit(arm, held_out if arm == "control" else 1 - held_out, Decimal(amount))


@given(AMOUNTS, AMOUNTS)
def test_with_one_share_the_means_are_plain_and_exact(control, treated):
    found = difference([unit("control", a) for a in control] + [unit("treated", a) for a in treated], 0.05)
    assert found.baseline == Fraction(sum(control)) / len(control)
    assert found.mean == Fraction(sum(treated)) / len(treated)
    assert found.difference == found.baseline - found.mean


def test_a_share_that_was_changed_does_not_mix_cheap_days_with_dear_ones():
    # Cheap days held out half, dear ones a tenth; the lever does nothing.
    cheap = [unit("control", 1, Decimal("0.5"))] * 50 + [unit("treated", 1, Decimal("0.5"))] * 50
    dear = [unit("control", 9)] * 10 + [unit("treated", 9)] * 90
    assert difference(cheap + dear, 0.05).difference == 0


@pytest.mark.parametrize("arm", ["control", "treated"])
def test_one_arm_alone_says_nothing(arm):
    found = difference([unit(arm, 1)] * 200, 0.05)
    assert (found.difference, found.low) == (None, None)


def test_below_the_least_there_is_no_interval():
    few = [unit("control", n) for n in range(LEAST - 1)] + [unit("treated", n) for n in range(500)]
    assert difference(few, 0.05).low is None
    assert difference([*few, unit("control", 1)], 0.05).low is not None


def test_one_unit_that_weighs_much_is_seen():
    found = difference([unit("control", 1)] * 149 + [unit("control", 151)] + [unit("treated", 1)] * 900, 0.05)
    assert found.heaviest == pytest.approx(151 / 300)


def test_the_width_by_hand():
    rho = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05)) + 1) / 1000
    wide = math.sqrt(2 * (500 * rho + 1) / (500**2 * rho) * math.log(math.sqrt(500 * rho + 1) / 0.05))
    assert halfwidth(500, 3.0, 0.05) == pytest.approx(3 * wide)
    # At every look costs less than twice what one look would: 1.96 deviations of the mean.
    assert 1.96 / math.sqrt(1000) < halfwidth(1000, 1.0, 0.05) < 2 * 1.96 / math.sqrt(1000)


def test_intervals_of_skewed_costs_hold_the_truth_at_every_look():
    missed = 0
    truth = 0.01 * math.exp(0.5) * 0.6
    for seed in range(60):
        draw, units, wrong = Random(seed), [], False
        for number in range(2_000):
            arm = "control" if draw.random() < 0.1 else "treated"
            cost = 0.01 * math.exp(draw.gauss(0, 1)) * (1 if arm == "control" else 0.4)
            units.append(unit(arm, Decimal(f"{cost:.8f}")))
            if number % 400 == 399:
                found = difference(units, 0.05)
                wrong = wrong or (found.low is not None and not found.low <= truth <= found.high)
        missed += wrong
    assert missed <= 5  # of 60, looking five times each
