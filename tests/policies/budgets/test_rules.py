"""Scopes, periods and rules: whom a budget is about, and when it begins anew."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InputError, SettingsError
from penstock.metering.attribution import Attribution
from penstock.policies.budgets.counters import atto, dollars_of
from penstock.policies.budgets.rules import Budget, Limit, Rulebook, Rules, merged
from penstock.policies.budgets.scopes import parse_scope
from penstock.policies.budgets.windows import window_at
from penstock.settings import parse

NOW = datetime(2026, 11, 26, 21, 30, tzinfo=UTC)
INSTANTS = st.integers(1_577_836_800, 1_893_456_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
WHO = Attribution(team="support", user="ada")


def drawn(*budgets: Budget, who: Attribution = WHO, model: str = "gpt-4o"):
    return Rulebook(Rules(budgets=budgets)).drawn(who, model, NOW)


def test_a_scope_is_read_and_written_in_one_order():
    assert str(parse_scope("model=gpt-4o,  team=support")) == "team=support, model=gpt-4o"
    assert str(parse_scope("organisation")) == "everything"


@pytest.mark.parametrize("text", ["team", "team=", "tema=x", "team=a, team=b", "=x"])
def test_a_scope_that_cannot_be_read_says_why(text):
    with pytest.raises(InputError, match="the scope"):
        parse_scope(text)


def test_a_call_draws_on_every_budget_that_it_is_in():
    found = drawn(
        Budget(dollars=Decimal(1)), Budget(dollars=Decimal(1), scope="team=support"),
        Budget(dollars=Decimal(1), scope="team=sales"), Budget(dollars=Decimal(1), scope="user=*", per="day"),
        Budget(dollars=Decimal(1), scope="model=gpt-4o, team=*"),
    )  # fmt: skip
    assert sorted(claim.counter.split("/", 1)[1] for claim in found.claims) == [
        "2026-11-26/ada", "2026-11/", "2026-11/", "2026-11/support",
    ]  # fmt: skip


def test_leaving_the_user_out_is_no_way_around_and_a_call_without_a_run_is_in_none():
    budgets = (
        Budget(dollars=Decimal(1), scope="user=*"),
        Budget(dollars=Decimal(1), scope="run=*", per="total"),
    )
    assert len(drawn(*budgets, who=Attribution()).claims) == 1
    assert len(drawn(*budgets, who=Attribution(run="r1")).claims) == 2


@pytest.mark.parametrize(
    ("per", "zone", "at", "label", "start", "end"),
    [
        ("month", "UTC", "2026-11-26T21:30", "2026-11", "2026-11-01T00:00", "2026-12-01T00:00"),
        ("month", "Europe/Berlin", "2026-11-30T23:30", "2026-12", "2026-11-30T23:00", "2026-12-31T23:00"),
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-25", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("day", "America/New_York", "2026-11-27T03:00", "2026-11-26", "2026-11-26T05:00", "2026-11-27T05:00"),
        ("week", "UTC", "2026-11-26T21:30", "2026-W48", "2026-11-23T00:00", "2026-11-30T00:00"),
        ("hour", "Asia/Kolkata", "2026-11-26T21:10", "2026-11-26T20:30Z", "2026-11-26T20:30", "2026-11-26T21:30"),
    ],
)
def test_periods_are_those_of_the_calendar_where_people_live(per, zone, at, label, start, end):  # noqa: PLR0917
    moments = [datetime.fromisoformat(one).replace(tzinfo=UTC) for one in (at, start, end)]
    window = window_at(per, zone, moments[0])
    assert (window.label, window.start, window.end) == (label, *moments[1:])


@given(
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia"]),
    INSTANTS,
)
def test_every_instant_is_in_its_window_and_windows_follow_each_other(per, zone, at):
    window = window_at(per, zone, at)
    assert window.start <= at < window.end
    after = window_at(per, zone, window.end)
    assert after.start == window.end
    assert after.label != window.label


@given(INSTANTS, st.integers(0, 86400))
def test_a_rolling_window_forgets_nothing_that_is_younger_than_it(at, age):
    window = window_at("24h", "UTC", at)
    then = window_at("24h", "UTC", at - timedelta(seconds=age))
    assert int(then.label) in window.pieces


@given(st.decimals(0, 10**12, places=18))
def test_dollars_come_back_to_the_last_digit(dollars):
    assert dollars_of(atto(dollars)) == dollars


def test_what_was_made_by_command_goes_before_the_file():
    file = Rules(budgets=(Budget(dollars=Decimal(1)), Budget(dollars=Decimal(2), per="day")))
    made = Rules(budgets=(Budget(dollars=Decimal(9)),), frozen=("team=x",))
    found = merged(file, made)
    assert [budget.dollars for budget in found.budgets] == [9, 2]
    assert found.frozen == ("team=x",)


def test_another_amount_goes_on_with_the_same_counter_and_another_period_does_not():
    assert Budget(dollars=Decimal(1)).id == Budget(dollars=Decimal(2), hard=False).id
    assert Budget(dollars=Decimal(1)).id != Budget(dollars=Decimal(1), per="day").id


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[[budgets]]\ndollars = 5\nscope = "tema=x"', "budgets[0]"),
        ('[[budgets]]\ndollars = 5\nper = "fortnight"', "budgets[0]"),
        ('[[budgets]]\ndollars = 5\ntime_zone = "Europe/Atlantis"', "budgets[0]"),
        ("[[budgets]]\ndollars = -5", "budgets[0]"),
        ("[[budgets]]\ndollars = 5\n[[budgets]]\ndollars = 6", "budgets[1]"),
        ("[[limits]]\n", "limits[0]"),
        ("[governance]\nlease_seconds = 0", "governance.lease_seconds"),
    ],
)
def test_settings_that_cannot_be_meant_name_their_place(text, place):
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert caught.value.place == place


def test_a_price_as_a_number_is_what_is_written():
    assert parse("[[budgets]]\ndollars = 0.1").budgets[0].dollars == Decimal("0.1")


def test_limits_are_found_by_the_same_scopes():
    book = Rulebook(Rules(limits=(Limit(scope="user=*", requests_per_minute=3, concurrent=1),)))
    assert [(rate.kind, rate.limit) for rate in book.drawn(WHO, "gpt-4o", NOW).rates] == [
        ("requests", 3),
        ("concurrent", 1),
    ]
