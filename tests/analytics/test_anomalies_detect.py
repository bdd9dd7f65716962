import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.analytics.anomalies_detect import DAYS, HOURS, detect, robust, rule_of_three
from penstock.errors import InputError

WEEK = [100.0, 102.0, 98.0, 101.0, 99.0, 20.0, 21.0]


def days(count=60, noise=0.05, seed=1):
    draw = Random(seed)
    return [WEEK[n % 7] * math.exp(draw.gauss(0, noise)) for n in range(count)]


def test_a_quiet_series_has_no_anomaly():
    assert robust(days(), DAYS) == []
    assert robust([10.0] * 60, DAYS) == []


def test_a_spike_is_found_with_what_was_expected():
    values = days()
    values[45] = 400.0
    [found] = robust(values, DAYS)
    assert (found.start, found.end, found.kind, found.observed) == (45, 46, "spike", 400.0)
    assert found.expected == pytest.approx(WEEK[45 % 7], rel=0.1)
    assert found.low < found.expected < found.high < 200


def test_a_weekday_s_spend_on_a_weekend_is_a_spike_that_three_times_the_mean_misses():
    values = days()
    values[47] = 100.0  # a day of the weekend
    assert 47 % 7 == 5
    assert [found.start for found in robust(values, DAYS)] == [47]
    assert rule_of_three(values, DAYS) == []


def test_a_new_level_is_announced_once_and_is_usual_from_then_on():
    values = [value * (3 if n >= 40 else 1) for n, value in enumerate(days(80))]
    [found] = robust(values, DAYS)
    assert (found.start, found.kind) == (40, "level shift up")
    assert found.end <= 45
    values[70] *= 4
    assert [one.start for one in robust(values, DAYS)] == [40, 70]


def test_a_small_lasting_rise_is_a_new_level_too():
    values = [value * (1.2 if n >= 40 else 1) for n, value in enumerate(days(80))]
    [found] = robust(values, DAYS)
    assert found.kind == "level shift up"
    assert 38 <= found.start <= 44


def test_a_fall_is_told_once_it_lasts():
    values = days(80)
    values[30] = 1.0
    assert robust(values, DAYS) == []
    values = [value * (0.3 if n >= 40 else 1) for n, value in enumerate(days(80))]
    assert [(one.start, one.kind) for one in robust(values, DAYS)] == [(40, "level shift down")]


def test_steady_growth_is_no_anomaly():
    assert robust([value * 1.004**n for n, value in enumerate(days(120))], DAYS) == []


def test_an_excess_below_the_floor_is_not_told():
    values = [value / 1000 for value in days()]
    values[45] = 0.4
    assert robust(values, DAYS, floor=1.0) == []
    assert len(robust(values, DAYS, floor=0.1)) == 1


def test_gaps_are_neither_falls_nor_zero():
    values = [None if n % 9 == 4 else value for n, value in enumerate(days())]
    assert robust(values, DAYS) == []


def test_a_negative_day_is_left_out_of_what_later_days_are_judged_by():
    values = days()
    values[40] = -50.0
    values[45] = 400.0
    assert [one.start for one in robust(values, DAYS)] == [45]


def test_hours_are_judged_by_the_hour_of_the_week():
    draw = Random(2)
    shape = [(10.0 if 8 <= n % 24 < 18 and n // 24 % 7 < 5 else 1.0) for n in range(28 * 24)]
    values: list[float | None] = [value * math.exp(draw.gauss(0, 0.1)) for value in shape]
    assert robust(values, HOURS) == []
    night = 26 * 24 + 3
    values[night] = 10.0  # a usual hour of the day, in the night
    [found] = robust(values, HOURS)
    assert (found.start, found.end) == (night, night + 1)
    assert found.expected == pytest.approx(1, rel=0.3)


def test_the_rule_of_three_fires_every_day_after_a_launch():
    values = [value * (5 if n >= 40 else 1) for n, value in enumerate(days(60, noise=0))]
    assert len(rule_of_three(values, DAYS)) > 5
    assert len(robust(values, DAYS)) == 1


@pytest.mark.parametrize("count", [0, 1, 14])
def test_with_too_little_history_nothing_is_judged(count):
    assert robust(days(count), DAYS) == rule_of_three(days(count), DAYS) == []


def test_a_detector_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="robust or 3x"):
        detect("magic", [], DAYS, floor=0, threshold=4.5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), st.just(0.0), st.floats(-1e6, 1e9, allow_nan=False)), max_size=60))
def test_any_series_can_be_judged(values):
    for one in robust(values, DAYS):
        assert 0 <= one.start < one.end <= len(values)
        assert all(map(math.isfinite, (one.observed, one.expected, one.low, one.high)))
