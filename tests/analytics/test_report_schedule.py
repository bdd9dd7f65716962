from datetime import UTC, datetime
from decimal import Decimal

import pytest

from penstock.analytics.report_schedule import AnomalyWatch, ScheduledReport, edition_of, following, newest
from penstock.errors import InputError


def report(**changes) -> ScheduledReport:
    return ScheduledReport(**({"name": "r", "every": "week", "to": ("log",)} | changes))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "now", "label", "since", "until", "due"),
    [
        ("day", "2026-11-27T07:59", "2026-11-25", "2026-11-25", "2026-11-26", "2026-11-26T08:00"),
        ("day", "2026-11-27T08:00", "2026-11-26", "2026-11-26", "2026-11-27", "2026-11-27T08:00"),
        ("week", "2026-11-23T07:59", "2026-W46", "2026-11-09", "2026-11-16", "2026-11-16T08:00"),
        ("week", "2026-11-29T23:00", "2026-W47", "2026-11-16", "2026-11-23", "2026-11-23T08:00"),
        ("week", "2027-01-05T00:00", "2026-W53", "2026-12-28", "2027-01-04", "2027-01-04T08:00"),
        ("month", "2026-03-01T07:00", "2026-01", "2026-01-01", "2026-02-01", "2026-02-01T08:00"),
        ("month", "2026-03-01T08:00", "2026-02", "2026-02-01", "2026-03-01", "2026-03-01T08:00"),
        ("month", "2026-01-15T00:00", "2025-12", "2025-12-01", "2026-01-01", "2026-01-01T08:00"),
    ],
)
def test_the_newest_edition_is_of_the_last_whole_period(every, now, label, since, until, due):  # noqa: PLR0917
    found = newest(report(every=every), at(now))
    assert (found.label, found.since, found.until, found.due) == (label, at(since), at(until), at(due))
    assert following(report(every=every), at(now)).due > at(now)
    assert following(report(every=every), at(now)).since == found.until


def test_a_day_is_one_of_the_place_with_23_hours_where_the_clocks_say_so():
    found = newest(report(every="day", at="00:30", time_zone="Europe/Berlin"), at("2026-03-30T05:00"))
    assert (found.label, found.since, found.until) == ("2026-03-29", at("2026-03-28T23:00"), at("2026-03-29T22:00"))
    assert found.due == at("2026-03-29T22:30")


def test_an_older_edition_is_named_by_its_period():
    now = at("2026-11-27T12:00")
    assert edition_of(report(), "2026-W40", now).since == at("2026-09-28")
    assert edition_of(report(every="month"), "2026-10", now).until == at("2026-11-01")
    for label, said in (("2026-10", "is not one week"), ("2026-W48", "is not over yet"), ("soon", "is not a time")):
        with pytest.raises(InputError, match=said):
            edition_of(report(), label, now)


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"at": "8"}, "at", "no time of day"),
        ({"at": "24:00"}, "at", "no time of day"),
        ({"to": ()}, "to", "at least one channel"),
        ({"to": ("mail",)}, "to", "no channel 'mail'"),
        ({"sections": ("spend", "weather")}, "sections", "no section 'weather'"),
        ({"by": "day"}, "by", "no dimension 'day'"),
        ({"only": {"colour": "red"}}, "only", "no dimension 'colour'"),
        ({"time_zone": "Mars"}, "time_zone", "no time zone 'Mars'"),
    ],
)
def test_what_cannot_be_reported_is_said_with_its_place(changes, field, said):
    found = report(**changes).wrong(["log"])
    assert found is not None
    assert found[0] == field
    assert said in found[1]
    assert report().wrong(["log"]) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"floor": Decimal(-1)}, "floor"),
        ({"detector": "psychic"}, "detector"),
        ({"threshold": 0.5}, "threshold"),
        ({"by": "weather"}, "by"),
        ({"to": ("nobody",)}, "to"),
        ({"time_zone": "Mars"}, "time_zone"),
    ],
)
def test_a_watch_that_cannot_be_kept_is_said_with_its_place(changes, field):
    found = AnomalyWatch(**changes).wrong(["log"])
    assert found is not None
    assert found[0] == field
    assert AnomalyWatch().wrong([]) is None
