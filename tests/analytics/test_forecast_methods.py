import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.analytics.forecast_backtest import backtest
from penstock.analytics.forecast_methods import METHODS, drift, plain_rule, weekday_shape
from penstock.errors import InputError

WEEK = [10.0, 10.0, 10.0, 10.0, 10.0, 2.0, 2.0]


def noisy(values, seed=1, noise=0.1):
    draw = Random(seed)
    return [value * math.exp(draw.gauss(0, noise)) for value in values]


def test_what_never_changes_goes_on_unchanged():
    found = drift([10.0] * 60, 30)
    assert found.method == "drift"
    assert found.days == pytest.approx([10.0] * 30)
    low, high = found.sum_between(0.8)
    assert low == pytest.approx(300)
    assert high == pytest.approx(300)


def test_the_week_keeps_its_shape_wherever_history_begins():
    for shift in range(7):
        values = [WEEK[(n + shift) % 7] for n in range(49)]
        assert drift(values, 14).days == pytest.approx([WEEK[(n + shift) % 7] for n in range(14)], rel=0.01)


def test_weekends_without_spend_stay_without():
    values = ([10.0] * 5 + [0.0, 0.0]) * 8
    assert drift(values, 7).days == pytest.approx([10.0] * 5 + [0.0, 0.0], abs=1e-6)


def test_most_of_a_steady_growth_goes_on_and_the_plain_rule_misses_it():
    values = [100 * 1.01**n for n in range(90)]
    truth = sum(100 * 1.01**n for n in range(90, 120))
    assert sum(drift(values, 30).days) == pytest.approx(truth, rel=0.03)
    assert sum(plain_rule(values, 30).days) < truth * 0.62


def test_a_launch_is_a_new_level_and_not_a_growth():
    values = noisy([10.0] * 50 + [30.0] * 20)
    assert sum(drift(values, 30).days) == pytest.approx(900, rel=0.1)


def test_a_single_accident_hardly_moves_the_forecast():
    quiet = noisy([10.0] * 60)
    wild = [*quiet[:45], 500.0, *quiet[46:]]
    assert sum(drift(wild, 30).days) == pytest.approx(sum(drift(quiet, 30).days), rel=0.08)


def test_gaps_are_neither_zero_nor_forecast():
    values = [WEEK[n % 7] if n % 11 else None for n in range(60)]
    assert drift(values, 7).days == pytest.approx([WEEK[(60 + n) % 7] for n in range(7)], rel=0.02)


def test_a_day_that_corrections_made_negative_is_taken_as_it_is():
    values = [10.0] * 60
    values[40] = -25.0
    assert sum(drift(values, 10).days) == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("days", [0, 1, 2, 13])
def test_with_less_than_two_weeks_the_plain_rule_answers_and_says_so(days):
    found = drift([10.0] * days, 30)
    assert found.method == "x30"
    assert f"{days} day" in found.reason
    assert sum(found.days) == (300 if days else 0)
    low, high = found.sum_between(0.8)
    assert days == 0 or high / low > 2


def test_the_interval_narrows_as_history_grows():
    wide = [drift(noisy([10.0] * days), 30) for days in (5, 20, 90)]
    assert wide[0].spread > wide[1].spread > wide[2].spread


def test_sporadic_spend_is_not_forecast_day_by_day():
    values = [70.0 if n % 7 == 0 and n % 2 else 0.0 for n in range(56)]
    found = drift(values, 14)
    assert found.method == "x30"
    assert "sporadic" in found.reason


def test_the_shape_of_a_week_has_a_mean_of_one():
    assert sum(weekday_shape(noisy(WEEK * 8))) == pytest.approx(7)


def test_a_backtest_holds_the_method_against_what_came():
    found = backtest(noisy([WEEK[n % 7] * 1.01**n for n in range(100)]), 30, drift, 0.8)
    assert found is not None
    assert (found.days, found.windows) == (30, 8)
    assert found.error < 0.1 < found.plain_error
    assert 0 <= found.inside <= found.windows


def test_a_backtest_of_what_never_changes_finds_no_error():
    found = backtest([10.0] * 60, 30, drift, 0.8)
    assert found is not None
    assert found.error == pytest.approx(0, abs=1e-9)
    assert found.inside == found.windows


def test_with_too_little_history_there_is_no_backtest():
    assert backtest([10.0] * 18, 30, drift, 0.8) is None


def test_autotheta_is_asked_where_it_is_installed():
    try:
        import statsforecast  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match=r"penstock\[forecast\]"):
            METHODS["autotheta"]([10.0] * 60, 7)
    else:
        found = METHODS["autotheta"](noisy([WEEK[n % 7] for n in range(70)]), 7)
        assert found.method == "autotheta"
        assert list(found.days) == pytest.approx(WEEK, rel=0.25)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e9, allow_nan=False)), max_size=70), st.integers(1, 40))
def test_any_series_has_a_finite_forecast(values, ahead):
    found = drift(values, ahead)
    assert len(found.days) == len(found.spreads) == ahead
    assert all(math.isfinite(value) for value in (*found.days, *found.spreads, *found.sum_between(0.8)))
