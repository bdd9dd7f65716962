from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from penstock.analytics.periods import late_begin, named, previous, since, until
from penstock.analytics.zones import zone
from penstock.errors import InputError

NOW = datetime(2026, 11, 23, 13, 5, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("2026-03-14", "2026-03-14", "2026-03-15"),
        ("2026-03", "2026-03-01", "2026-04-01"),
        ("2025-12", "2025-12-01", "2026-01-01"),
        ("2026-03-14T10:30Z", "2026-03-14T10:30", "2026-03-14T10:30"),
        ("2026-03-14T10:30+02:00", "2026-03-14T08:30", "2026-03-14T08:30"),
        ("2026-W12", "2026-03-16", "2026-03-23"),
        ("today", "2026-11-23", "2026-11-24"),
        ("Yesterday", "2026-11-22", "2026-11-23"),
        ("week", "2026-11-23", "2026-11-30"),
        ("month", "2026-11-01", "2026-12-01"),
        ("year", "2026-01-01", "2027-01-01"),
        ("7d", "2026-11-16T13:05", "2026-11-16T13:05"),
        ("36h", "2026-11-22T01:05", "2026-11-22T01:05"),
        ("now", "2026-11-23T13:05", "2026-11-23T13:05"),
    ],
)
def test_what_is_named_is_included(text, first, after):
    assert since(text, NOW) == datetime.fromisoformat(first).replace(tzinfo=UTC)
    assert until(text, NOW) == datetime.fromisoformat(after).replace(tzinfo=UTC)


def test_days_are_those_of_the_place():
    berlin = zone("Europe/Berlin")
    assert since("2026-03-29", NOW, berlin) == datetime(2026, 3, 28, 23, tzinfo=UTC)
    assert until("2026-03-29", NOW, berlin) == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert since("today", datetime(2026, 11, 22, 23, 30, tzinfo=UTC), berlin) == datetime(2026, 11, 22, 23, tzinfo=UTC)


@pytest.mark.parametrize("text", ["9999-12-31", "9999-12", "99999w", "9999-W52"])
def test_what_is_beyond_the_calendar_is_refused(text):
    with pytest.raises(InputError, match="the years 1 to 9999"):
        until(text, datetime(1900, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "14.03.2026", "-7d", "2026-00", "99999h x"])
def test_what_is_no_time_is_refused_with_examples(text):
    with pytest.raises(InputError, match="2026-03-14"):
        since(text, NOW)


def test_a_month_comes_after_the_month_before_however_long_it_is():
    march = named("2026-03", NOW)
    assert previous(*march) == named("2026-02", NOW)
    first_quarter = (named("2026-01", NOW)[0], march[1])
    assert previous(*first_quarter) == (datetime(2025, 10, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))


def test_any_other_time_comes_after_as_long_a_time():
    ends = datetime(2026, 3, 9, tzinfo=UTC), datetime(2026, 3, 16, tzinfo=UTC)
    assert previous(*ends) == (datetime(2026, 3, 2, tzinfo=UTC), ends[0])


def test_a_week_before_the_clocks_changed_begins_at_midnight_too():
    berlin = ZoneInfo("Europe/Berlin")
    ends = datetime(2026, 3, 30, tzinfo=berlin), datetime(2026, 4, 6, tzinfo=berlin)
    assert previous(*ends, berlin) == (datetime(2026, 3, 23, tzinfo=berlin), ends[0])


def test_a_period_has_one_name_or_two_ends():
    assert named("2026-03-01..2026-03-14", NOW) == (
        datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 15, tzinfo=UTC),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("days", "first", "is_late"),
    [
        (7, timedelta(hours=-1), False), (7, timedelta(hours=23), False), (7, timedelta(days=1), True),
        (7, timedelta(days=9), True), (1, timedelta(minutes=59), False), (1, timedelta(hours=1), True),
    ],
)  # fmt: skip
def test_a_period_is_not_wholly_in_a_ledger_that_begins_later(days: int, first: timedelta, is_late: bool) -> None:
    """A first quiet day is no gap, nor is the first quiet hour of a single day."""
    begin = NOW - timedelta(days=20)
    span, period = (begin + first, NOW), (begin, begin + timedelta(days=days))
    assert late_begin(span, period) == (span[0] if is_late else None)
    assert late_begin(None, period) is None
