from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest
from tests.analytics.made import correction, event, table

from penstock.analytics.forecast import OTHERS, forecast
from penstock.analytics.forecast_chart import blocks, svg
from penstock.errors import InputError

JANUARY = datetime(2026, 1, 1, 10, tzinfo=UTC)
NOON = datetime(2026, 3, 16, 12, tzinfo=UTC)


def daily(days, *, first=JANUARY, **fields):
    """Make an event a day at ten o'clock, a dollar each."""
    return [event(at=first + timedelta(days=n), **fields) for n in range(days)]


def test_a_month_is_what_is_booked_and_what_is_to_come():
    found = forecast(table(daily(75)), NOON)
    assert (found.spent, found.expected, found.plain) == (Decimal("16.00"), Decimal("31.00"), Decimal("31.00"))
    assert (found.low, found.high) == (Decimal(31), Decimal(31))
    assert [day.day.day for day in found.days] == list(range(1, 32))
    assert (found.days[14].spent, found.days[15].spent, found.days[16].spent) == (1, 1, None)
    assert (found.method, found.stale, found.history) == ("drift", False, 73)
    assert found.backtest is not None
    assert found.backtest.error == pytest.approx(0, abs=1e-9)


def test_some_days_begin_now():
    found = forecast(table(daily(75)), NOON, days=10)
    assert found.since == found.as_of == NOON
    assert found.spent == 0
    # Today's dollar is spent by noon: nine whole days are left.
    assert found.expected == Decimal("9.00")


def test_what_is_left_of_today_follows_the_usual_hours():
    events = daily(74) + [one for n in range(74) for one in daily(1, first=JANUARY + timedelta(days=n, hours=10))]
    found = forecast(table(events), datetime(2026, 3, 16, 9, tzinfo=UTC), days=1)
    assert found.expected == Decimal("2.00")
    later = forecast(table(events), datetime(2026, 3, 16, 15, tzinfo=UTC), days=1)
    assert later.expected == Decimal("1.00")


def test_groups_add_up_to_the_whole_to_the_last_digit():
    events = [
        *daily(75, team="red", cost=Decimal("3.333333333333333333")),
        *daily(75, team="blue"),
        *daily(40, team="green", first=JANUARY + timedelta(days=35), cost=Decimal("0.7")),
    ]
    found = forecast(table(events), NOON, by=["team"])
    assert [row.group["team"] for row in found.rows] == ["red", "blue", "green"]
    assert sum(row.expected for row in found.rows) == found.expected
    assert sum(row.spent for row in found.rows) == found.spent
    few = forecast(table(events), NOON, by=["team"], most_rows=1)
    assert [row.group["team"] for row in few.rows] == ["red", OTHERS]
    assert sum(row.expected for row in few.rows) == few.expected == found.expected


def test_an_empty_ledger_has_no_forecast_and_says_what_to_do():
    with pytest.raises(InputError, match="penstock import"):
        forecast(table([event()]).limit(0), NOON)


def test_one_day_is_the_plain_rule_with_a_wide_interval():
    found = forecast(table([event(at=NOON - timedelta(days=1))]), NOON)
    assert (found.method, found.asked) == ("x30", "drift")
    assert "1 day of history" in found.reason
    assert found.backtest is None
    assert found.low < found.expected / 2 + 1
    assert found.expected > found.spent


def test_a_first_day_that_is_not_over_is_no_history():
    found = forecast(table([event(at=NOON - timedelta(hours=1))]), NOON)
    assert (found.history, found.method) == (0, "x30")
    assert "no whole day" in found.reason


def test_an_event_without_a_price_is_named_and_never_zero():
    found = forecast(table([*daily(75), event(at=NOON - timedelta(days=3), model="mystery", cost=None)]), NOON)
    assert found.unpriced_events == 1
    assert [row.model for row in found.unpriced] == ["mystery"]
    with pytest.raises(InputError, match="an unknown price is not 0"):
        forecast(table(daily(75, cost=None)), NOON)


def test_a_day_without_events_is_a_gap_and_not_zero_dollars():
    events = [one for n, one in enumerate(daily(75)) if n not in (60, 65)]
    found = forecast(table(events), NOON)
    assert found.gaps == (date(2026, 3, 2), date(2026, 3, 7))
    assert found.spent == 14
    assert found.expected == Decimal("29.00")


def test_a_weekday_that_rests_is_no_gap():
    events = [one for one in daily(75) if one.at.weekday() < 5]
    found = forecast(table(events), NOON)
    assert found.gaps == ()
    assert found.expected == Decimal("22.00")  # the working days of March 2026


def test_a_correction_counts_on_the_day_of_its_event():
    events = daily(75)
    events.append(correction(events[70], Decimal(-5)))
    found = forecast(table(events), NOON)
    assert found.spent == 11
    assert found.days[11].spent == -4
    assert float(found.expected) == pytest.approx(26, rel=0.04)


def test_a_month_in_which_the_clocks_change_has_its_local_days():
    events = daily(75, first=datetime(2025, 12, 31, 23, 30, tzinfo=UTC))
    found = forecast(table(events), NOON, time_zone="Europe/Berlin")
    assert (found.since.isoformat(), found.until.isoformat()) == (
        "2026-02-28T23:00:00+00:00", "2026-03-31T22:00:00+00:00",
    )  # fmt: skip
    assert len(found.days) == 31
    assert found.expected == Decimal("31.00")


def test_an_old_ledger_is_taken_as_of_its_end():
    found = forecast(table(daily(75)), datetime(2026, 11, 26, tzinfo=UTC))
    assert found.stale
    assert found.as_of == datetime(2026, 3, 17, tzinfo=UTC)
    assert found.expected == Decimal("31.00")


def test_an_amount_is_held_against_the_forecast():
    found = forecast(table(daily(75)), NOON, amount=Decimal(20)).limit
    assert found is not None
    assert (found.expected_over, found.day, found.probability) == (Decimal("11.00"), date(2026, 3, 21), 1.0)
    room = forecast(table(daily(75)), NOON, amount=Decimal(40)).limit
    assert room is not None
    assert (room.expected_over, room.day, room.probability) == (Decimal("-9.00"), None, 0.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"by": ["day"]}, "by day already"), ({"by": ["colour"]}, "no dimension"), ({"method": "magic"}, "autotheta"),
        ({"days": 0}, "from 1 to"), ({"level": 1.5}, "0.5 to 0.99"), ({"time_zone": "Mars"}, "Europe/Berlin"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_refused_with_what_would_be_right(changes, said):
    with pytest.raises(InputError, match=said):
        forecast(table(daily(3)), NOON, **changes)


def test_drawings_show_what_is_booked_expected_and_the_limit():
    events = [event(at=JANUARY + timedelta(days=n), cost=Decimal(10 + n * 7 % 5)) for n in range(75)]
    found = forecast(table(events), NOON, amount=Decimal(300))
    text = blocks(found, 80)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "█" in text
    assert "▒" in text
    assert "limit" in text
    drawn = ET.fromstring(svg(found, "March <2026>"))
    assert drawn.find("{http://www.w3.org/2000/svg}title").text == "March <2026>"
    assert "$300" in "".join(drawn.itertext())
    long = forecast(table(events), NOON, days=366)
    assert all(len(line) <= 80 for line in blocks(long, 80).splitlines())
