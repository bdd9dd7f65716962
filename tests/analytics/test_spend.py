from datetime import UTC, datetime, timedelta
from decimal import Decimal

import ibis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analytics.made import MARCH, correction, event, table

from penstock.analytics.question import trimmed
from penstock.analytics.spend import spend
from penstock.analytics.tables import facts_of, grouped, local
from penstock.analytics.zones import zone
from penstock.errors import InputError
from penstock.ledger.columns import SCHEMA
from penstock.pricing.usage import Usage


def test_parts_are_sorted_by_cost_and_add_up():
    found = spend(
        table([event(cost=Decimal("0.1")), event(model="o1", cost=Decimal("0.200000000000000001")), event(model="o1")]),
        by=["model"],
    )
    assert [(row.group["model"], row.cost, row.events) for row in found.rows] == [
        ("o1", Decimal("1.200000000000000001"), 2),
        ("gpt-4o", Decimal("0.10"), 1),
    ]
    assert found.total == Decimal("1.300000000000000001")
    assert (found.input_tokens, found.cached_tokens, found.output_tokens) == (360, 60, 30)


def test_money_beyond_python_s_usual_28_digits_stays_exact():
    amounts = [Decimal("12345678901234567890.123456789012345678"), Decimal("0.000000000000000001")]
    found = spend(table(event(cost=amount, model=str(amount)) for amount in amounts), by=["model"])
    assert str(found.total) == "12345678901234567890.123456789012345679"


def test_an_empty_ledger_costs_nothing_and_has_no_rows():
    found = spend(table([event()]).limit(0), by=["model", "day"])
    assert (found.total, found.rows, found.first) == (Decimal(0), (), None)


def test_the_period_holds_its_begin_and_not_its_end():
    events = [event(at=MARCH + timedelta(hours=n), cost=Decimal(10**n)) for n in range(3)]
    found = spend(table(events), since=MARCH, until=MARCH + timedelta(hours=2))
    assert found.total == 11


def test_an_unpriced_event_is_counted_with_its_tokens_and_never_as_zero():
    found = spend(table([event(), event(model="mystery", cost=None, usage=Usage(input=7, output=3))]), by=["model"])
    assert found.total == 1
    assert found.unpriced_events == 1
    [row] = found.unpriced
    assert (row.provider, row.model, row.events, row.input_tokens, row.output_tokens) == ("azure", "mystery", 1, 7, 3)


def test_an_event_that_a_correction_priced_is_no_longer_unpriced():
    late, still = event(model="mystery", cost=None), event(model="mystery", cost=None)
    events = [late, still, correction(late, Decimal("0.25"))]
    found = spend(table(events), by=["price_state"])
    assert found.unpriced_events == 1
    assert found.events == 2
    assert found.total == Decimal("0.25")
    assert {row.group["price_state"]: (row.events, row.cost) for row in found.rows} == {
        "priced": (1, Decimal("0.25")),
        "unpriced": (1, Decimal(0)),
    }


def test_an_event_has_the_state_of_its_newest_correction():
    old = event(cost=Decimal(2))
    events = [
        old,
        correction(old, Decimal(-2), price_state="flat_rate", recorded_at=MARCH + timedelta(days=1)),
        correction(old, Decimal(1), price_state="priced", recorded_at=MARCH),
    ]
    found = spend(table(events), by=["price_state"])
    assert {row.group["price_state"]: (row.events, row.cost) for row in found.rows} == {
        "flat_rate": (1, Decimal(0)),
        "priced": (0, Decimal(1)),
    }


def test_a_correction_outside_the_period_still_settles_the_event_inside():
    late = event(cost=None)
    events = [late, correction(late, Decimal("0.25"), at=MARCH + timedelta(days=40))]
    assert spend(table(events), until=MARCH + timedelta(days=1)).unpriced_events == 0


def test_a_correction_changes_amounts_and_not_the_count_of_events():
    old = event(cost=Decimal(3))
    found = spend(table([old, correction(old, Decimal(-1), usage=Usage(input=-10))]), by=["model"])
    assert [(row.events, row.requests, row.input_tokens, row.cost) for row in found.rows] == [(1, 1, 110, 2)]


def test_an_aggregate_counts_its_requests():
    found = spend(table([event(requests=10_000), event()]))
    assert (found.events, found.requests) == (2, 10_001)


def test_time_goes_by_the_clock_and_not_by_cost():
    events = [event(at=MARCH + timedelta(days=n), cost=Decimal(n * n % 5)) for n in range(4)]
    found = spend(table(events), by=["day"])
    assert [row.group["day"] for row in found.rows] == ["2026-03-14", "2026-03-15", "2026-03-16", "2026-03-17"]


def test_within_teams_time_goes_by_the_clock_and_teams_by_cost():
    events = [
        event(team="small", cost=Decimal(2)),
        event(team="big", at=MARCH + timedelta(days=1), cost=Decimal(2)),
        event(team="big", cost=Decimal(1)),
    ]
    found = spend(table(events), by=["team", "day"])
    assert [tuple(row.group.values()) for row in found.rows] == [
        ("big", "2026-03-14"), ("big", "2026-03-15"), ("small", "2026-03-14"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("grain", "named"),
    [("hour", "2026-03-14T10:00"), ("day", "2026-03-14"), ("week", "2026-03-09"), ("month", "2026-03")],
)
def test_grains_of_time_are_named_by_their_begin(grain, named):
    [row] = spend(table([event()]), by=[grain]).rows
    assert row.group == {grain: named}


def test_a_day_begins_where_the_reader_lives_also_when_clocks_change():
    # Berlin: the clocks went forward on 2026-03-29 at 01:00 UTC, so that its day began at 23:00 and ended at 22:00 UTC.
    at = ["2026-03-28T22:59", "2026-03-28T23:00", "2026-03-29T21:59", "2026-03-29T22:00"]
    events = [event(at=datetime.fromisoformat(f"{instant}Z")) for instant in at]
    found = spend(table(events), by=["day"], time_zone="Europe/Berlin")
    assert [(row.group["day"], row.events) for row in found.rows] == [
        ("2026-03-28", 1), ("2026-03-29", 2), ("2026-03-30", 1),
    ]  # fmt: skip


def test_a_zone_with_half_an_hour_works_too():
    [row] = spend(
        table([event(at=datetime(2026, 3, 14, 18, 30, tzinfo=UTC))]), by=["hour"], time_zone="Asia/Kolkata"
    ).rows
    assert row.group == {"hour": "2026-03-15T00:00"}


def test_tags_are_dimensions():
    found = spend(table([event(tags={"product": "bot"}), event(), event(tags={"other": "x"})]), by=["tag:product"])
    assert {row.group["tag:product"]: row.events for row in found.rows} == {"bot": 1, "": 2}


def test_where_keeps_one_value():
    events = [event(team="a"), event(team="b"), event(team="a", tags={"x": "1"})]
    assert spend(table(events), where=[("team", "a")]).events == 2
    assert spend(table(events), where=[("team", "a"), ("tag:x", "1")]).events == 1
    with pytest.raises(InputError, match="'day'"):
        spend(table(events), where=[("day", "2026-03-14")])


@pytest.mark.parametrize("name", ["colour", "", "tag:", "cost", "id; DROP TABLE events"])
def test_a_dimension_that_does_not_exist_is_refused_with_those_that_do(name):
    with pytest.raises(InputError, match="use model, version"):
        spend(table([event()]), by=[name])


def test_an_unknown_time_zone_is_refused():
    with pytest.raises(InputError, match="Europe/Berlin"):
        spend(table([event()]), by=["day"], time_zone="Mars/Olympus")


def test_events_older_than_their_price_are_told():
    events = [event(at=datetime(2023, 11, 16, tzinfo=UTC)), event()]
    [early] = spend(table(events)).early
    assert (early.model, early.events) == ("gpt-4o", 1)
    assert early.price_row.endswith("@2024-10-01")


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0E-18", "0.00"), ("1.500000000000000000", "1.50"), ("0.000000075000000000", "0.000000075"), ("-2", "-2.00")],
)
def test_zeros_that_say_nothing_are_dropped(amount, text):
    assert format(trimmed(Decimal(amount)), "f") == text


@pytest.mark.parametrize("engine", ["postgres", "pyspark", "duckdb"])
def test_the_question_can_be_put_to_other_engines(engine):
    events = facts_of(ibis.table(ibis.Schema.from_pyarrow(SCHEMA), name="events"), ["tags"])
    clock = local(events.at, zone("Europe/Berlin"), MARCH, MARCH + timedelta(days=300))
    question = grouped(events, ["model", "tag:product", "day", "week"], clock)
    assert "events" in ibis.to_sql(question, dialect=engine)


some_event = st.builds(
    event,
    model=st.sampled_from(["gpt-4o", "o1", "unknown"]),
    team=st.sampled_from(["", "a", "b"]),
    at=st.integers(0, 94 * 86400).map(lambda seconds: datetime(2025, 12, 30, tzinfo=UTC) + timedelta(seconds=seconds)),
    cost=st.none() | st.decimals(min_value=0, max_value=10**6, places=18),
    tags=st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"])),
)


@settings(max_examples=20, deadline=None)
@given(
    events=st.lists(some_event, min_size=1, max_size=12),
    corrected=st.lists(st.booleans(), min_size=12, max_size=12),
    by=st.lists(st.sampled_from(["model", "team", "day", "week", "month", "hour", "tag:x", "price_state"]), max_size=3),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
def test_the_parts_of_any_grouping_are_the_whole(events, corrected, by, zone):
    late = [correction(one, Decimal("0.5")) for one, chosen in zip(events, corrected, strict=False) if chosen]
    whole = sum((one.cost for one in (*events, *late) if one.cost is not None), Decimal(0))
    settled = {one.corrects for one in late}
    found = spend(table([*events, *late]), by=by, time_zone=zone)
    assert found.total == whole
    assert sum((row.cost for row in found.rows), Decimal(0)) == whole
    assert found.events == sum(row.events for row in found.rows) == len(events)
    assert found.unpriced_events == sum(one.cost is None and one.id not in settled for one in events)
    assert sum(one.events for one in found.unpriced) == found.unpriced_events
    assert len({tuple(row.group.values()) for row in found.rows}) == len(found.rows)
