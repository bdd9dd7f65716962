from datetime import UTC, date, datetime
from typing import Any

import pytest
from tests.dashboard.conftest import NOW

from penstock.dashboard.asked import asked
from penstock.errors import InputError


def ask(**fields: str) -> Any:
    return asked("/models", {name.rstrip("_"): value for name, value in fields.items()}, NOW, ("payer",))


def test_a_period_has_whole_days_and_ends_with_today() -> None:
    week = ask(period="7d")
    assert (week.days[0], week.days[-1], len(week.days)) == (date(2026, 11, 17), date(2026, 11, 23), 7)
    assert week.label == "last 7 days"
    assert ask().label == "last 30 days"
    assert ask(period="last-month").days[-1] == date(2026, 10, 31)
    assert ask(from_="2026-11-01", to="2026-11-30").days[-1] == date(2026, 11, 23)  # no day to come


@pytest.mark.parametrize(("fields", "before"), [
    ({"period": "today"}, ("2026-11-22 00:00", "2026-11-22 15:00")),  # today is not over
    ({"period": "7d"}, ("2026-11-10 00:00", "2026-11-16 15:00")),
    ({"period": "month"}, ("2026-10-01 00:00", "2026-10-23 15:00")),
    ({"period": "last-month"}, ("2026-09-01 00:00", "2026-10-01 00:00")),
    ({"from": "2026-11-20", "to": "2026-11-21"}, ("2026-11-18 00:00", "2026-11-20 00:00")),
    ({"from": "2026-11-20", "to": "2026-12-31"}, ("2026-11-16 00:00", "2026-11-19 15:00")),
    ({"from": "2026-03-01", "to": "2026-03-31"}, ("2026-02-01 00:00", "2026-03-01 00:00")),
])  # fmt: skip
def test_a_period_is_held_against_as_much_of_the_one_before(fields: dict[str, str], before: tuple[str, str]) -> None:
    found = asked("/", fields, NOW).before
    assert tuple(f"{at:%Y-%m-%d %H:%M}" for at in found) == before


def test_filters_go_along_and_can_be_taken_away() -> None:
    question = ask(team="red", app="(none)", payer="app", **{"tag:x": "1"})
    assert question.where == (("team", "red"), ("app", ""), ("tag:x", "1"))
    assert question.to("/tokens") == "/tokens?team=red&app=%28none%29&tag%3Ax=1"
    assert question.link(team="") == "/models?app=%28none%29&payer=app&tag%3Ax=1"
    assert question.chips[0].without == question.link(team="")
    assert question.narrowed("/requests", {"team": "", "model": "m"}) == (
        "/requests?team=%28none%29&app=%28none%29&tag%3Ax=1&model=m"
    )


def test_dates_go_before_the_name_of_a_period() -> None:
    question = ask(period="7d", from_="2026-11-01")
    assert question.period == ""
    assert question.since == datetime(2026, 11, 1, tzinfo=UTC)
    assert "period" not in question.kept


@pytest.mark.parametrize("fields", [
    {"period": "9d"}, {"colour": "red"}, {"from": "2026-11-02", "to": "2026-11-01"}, {"from": "2024"}, {"tag:": "x"},
    {"team": "x" * 1001},
])  # fmt: skip
def test_what_means_nothing_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(InputError):
        asked("/", fields, NOW)


def test_a_choice_of_a_page_is_one_of_those_there_are() -> None:
    assert ask(payer="app").own("payer", ("team", "app")) == "app"
    with pytest.raises(InputError, match="payer must be one of team, user"):
        ask(payer="app").own("payer", ("team", "user"))
