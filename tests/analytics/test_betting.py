"""Betting: known values, laws, and that it errs as seldom as it says."""

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.analytics.betting import (
    BOLDNESS,
    bounds,
    fixed_sequence,
    log_wealth,
    p_value,
    pairs_needed,
    planned_p_value,
    spent,
)

LOSSES = st.dictionaries(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), st.integers(1, 400), max_size=5)
MARGINS = st.floats(-0.9, 0.9)


def drawn(seed, count, mean, spread=0.2):
    """Losses of -1, 0 and 1 with that mean."""
    draw = Random(seed)
    return draw.choices([1.0, 0.0, -1.0], [spread / 2 + mean / 2, 1 - spread, spread / 2 - mean / 2], k=count)


def test_one_loss_by_hand():
    # Against `mean >= 0`, one loss of -1 wins each bettor his whole share; one of +1 loses it to him.
    assert log_wealth({-1.0: 1}, 0.0) == pytest.approx(math.log(sum(1 + c for c in BOLDNESS) / len(BOLDNESS)))
    assert log_wealth({1.0: 1}, 0.0) == pytest.approx(math.log(sum(1 - c for c in BOLDNESS) / len(BOLDNESS)))
    assert log_wealth({}, 0.0) == 0.0


def test_the_planned_bet_by_hand():
    # One loss: nothing is known before it but the prior's variance of a quarter.
    stake = min(math.sqrt(2 * math.log(20) / 0.25), 0.75 / 0.49)
    assert planned_p_value([-1.0], 0.02) == pytest.approx(1 / (1 + stake * 0.51))
    assert planned_p_value([1.0], 0.02) == 1.0


def test_no_losses_say_nothing():
    assert bounds({}, 0.05) == (-1.0, 1.0)
    assert p_value([], 0.02) == 1.0
    assert pairs_needed({}, 0.02) is None


@given(LOSSES, MARGINS)
def test_bounds_hold_the_mean_that_was_seen_and_agree_with_the_test(losses, margin):
    low, high = bounds(losses, 0.05)
    assert -1 <= low <= high <= 1
    if losses:
        mean = sum(loss * count for loss, count in losses.items()) / sum(losses.values())
        assert low - 1e-9 <= mean <= high + 1e-9
        if abs(margin - high) > 1e-6:
            assert (p_value(Counter(losses).elements(), margin) <= 0.025) == (margin > high)


@given(LOSSES, MARGINS, MARGINS)
def test_a_wider_margin_is_easier(losses, one, other):
    small, large = sorted((one, other))
    assert log_wealth(losses, small) <= log_wealth(losses, large) + 1e-9


@given(LOSSES)
def test_mirrored_losses_have_mirrored_bounds(losses):
    low, high = bounds(losses, 0.1)
    assert bounds({-loss: count for loss, count in losses.items()}, 0.1) == (-high, -low)


@given(LOSSES)
def test_more_confidence_is_wider(losses):
    low, high = bounds(losses, 0.1)
    lower, higher = bounds(losses, 0.01)
    assert lower <= low
    assert high <= higher


def test_a_bad_router_is_certified_in_at_most_one_of_twenty_runs_however_often_one_looks():
    false = 0
    for seed in range(200):
        seen: Counter[float] = Counter()
        for start in range(0, 2_000, 50):
            seen.update(drawn((seed, start).__hash__(), 50, 0.02))
            if log_wealth(seen, 0.02) >= math.log(20):
                false += 1
                break
    assert false <= 10  # 5 %; measured with 1,000 runs in benchmarks/certificates.py


def test_the_planned_test_keeps_its_level():
    false = sum(planned_p_value(drawn(seed, 1_000, 0.02), 0.02) <= 0.05 for seed in range(300))
    assert 2 <= false <= 15  # near its level: a test that never fires would be no test


def test_a_good_router_is_certified_with_the_pairs_that_were_foreseen():
    needed = pairs_needed({1.0: 0.1, -1.0: 0.1, 0.0: 0.8}, 0.05)
    assert needed is not None
    passed = sum(p_value(drawn(seed, needed, 0.0), 0.05) <= 0.05 for seed in range(200))
    assert 0.7 <= passed / 200 <= 0.95


@pytest.mark.parametrize("mean", [0.05, 0.06])
def test_a_loss_beyond_the_margin_is_never_certified(mean):
    assert pairs_needed({1.0: 0.1 + mean / 2, -1.0: 0.1 - mean / 2, 0.0: 0.8}, 0.05) is None


@given(st.lists(st.floats(0, 1)))
def test_a_sequence_ends_at_the_first_failure(p_values):
    held = fixed_sequence(p_values, 0.05)
    assert all(p <= 0.05 for p in p_values[:held])
    assert held == len(p_values) or p_values[held] > 0.05


def test_repeated_claims_spend_the_level_once():
    assert spent(0.05, 1) == pytest.approx(0.0304, abs=1e-4)
    assert sum(spent(0.05, k) for k in range(1, 10_000)) == pytest.approx(0.05, abs=1e-4)
