"""Answers from rollups are those from every event, to the last digit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.analytics.made import correction, event

from penstock.analytics.spend import spend
from penstock.ledger import rollups
from penstock.ledger.log import LogWriter
from penstock.ledger.store import Ledger

NEW_YEAR = datetime(2025, 12, 30, tzinfo=UTC)
SUMMER_TIME = datetime(2026, 3, 29, 1, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe")


@pytest.fixture(autouse=True)
def rolled_up_whatever_the_size(monkeypatch):
    monkeypatch.setattr(rollups, "LEAST_ROWS", 1)
    monkeypatch.setattr(rollups, "SHRINKS", 1)


instants = st.one_of(
    st.integers(0, 3 * 86_400).map(lambda seconds: NEW_YEAR + timedelta(seconds=seconds)),
    st.integers(-90, 90).map(lambda minutes: SUMMER_TIME + timedelta(minutes=minutes)),
    st.sampled_from([NEW_YEAR, NEW_YEAR + timedelta(days=1), NEW_YEAR + timedelta(days=1, microseconds=-1)]),
)
some_event = st.builds(
    event,
    model=st.sampled_from(["gpt-4o", "o1", "unknown"]),
    provider=st.sampled_from(["azure", "openai"]),
    team=st.sampled_from(["", "a", "b"]),
    user=st.sampled_from(["u", "v"]),
    key=st.sampled_from(["k", ""]),
    outcome=st.sampled_from(["ok", "error"]),
    at=instants,
    cost=st.none() | st.decimals(min_value=0, max_value=10**6, places=18),
    tags=st.dictionaries(st.sampled_from(["x"]), st.sampled_from(["1", "2"])),
    requests=st.integers(0, 10**6),
    price_row=st.sampled_from(["azure/gpt-4o/global/standard@2024-10-01", "openai/o1@2026-01-01", ""]),
)
dimensions = st.sampled_from([
    "model", "provider", "team", "app", "user", "key", "outcome", "source", "price_state", "tag:x", "status",
    "hour", "day", "week", "month",
])  # fmt: skip
bounds = st.none() | st.one_of(
    instants,
    st.integers(0, 4 * 24).map(lambda hours: NEW_YEAR + timedelta(hours=hours)),
    st.integers(0, 4).map(lambda days: NEW_YEAR + timedelta(days=days)),
)


def fill(folder: Path, events, corrected) -> None:
    """Book some events in parts with rollups, some in parts without, the rest in a log; corrections anywhere."""
    late = [correction(one, Decimal("0.5")) for one, chosen in zip(events, corrected, strict=False) if chosen]
    booked = [*events, *late]
    third = len(booked) // 3
    with Ledger.open(folder) as ledger:
        ledger.add(booked[:third], source="a")
        ledger.compact()
        if booked[third : 2 * third]:
            ledger.add(booked[third : 2 * third], source="b")
        with LogWriter(folder, "w0") as writer:
            for one in booked[2 * third :]:
                writer.append(one)


questions = st.fixed_dictionaries({
    "by": st.lists(dimensions, max_size=3),
    "where": st.sampled_from([
        (), (("team", "a"),), (("model", "o1"),), (("tag:x", "1"),), (("price_state", "unpriced"),)
    ]),
    "since": bounds,
    "until": bounds,
    "time_zone": st.sampled_from(ZONES),
})  # fmt: skip


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(some_event, min_size=9, max_size=30),
    corrected=st.lists(st.booleans(), min_size=30, max_size=30),
    asked=st.lists(questions, min_size=4, max_size=4),
)
def test_every_answer_is_the_one_from_all_events(tmp_path_factory, events, corrected, asked):
    folder = tmp_path_factory.mktemp("ledger")
    fill(folder, events, corrected)
    with Ledger.open(folder) as ledger:
        answers = [spend(ledger.table(), **question) for question in asked]
        assert [spend(ledger.moment(), **question) for question in asked] == answers
        ledger.compact()
        assert ledger.verify().problems == []
        assert [spend(ledger.moment(), **question) for question in asked] == answers
