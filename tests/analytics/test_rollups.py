"""Answers from rollups are those from every event, to the last digit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.analytics.made import MARCH, correction, event

from penstock.analytics.anomalies import anomalies
from penstock.analytics.attempts import sums_of
from penstock.analytics.change import change
from penstock.analytics.efficiency import efficiency
from penstock.analytics.failures import failures
from penstock.analytics.latency import latency
from penstock.analytics.runs import iterations
from penstock.analytics.spend import spend
from penstock.analytics.units import units
from penstock.ledger import moment, repriced, rollups
from penstock.ledger.log import LogWriter
from penstock.ledger.store import Ledger
from penstock.pricing.usage import Usage

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


def test_a_part_that_reaches_beyond_whole_buckets_is_asked_for_nothing_else(tmp_path, monkeypatch):
    """Bounds that begin buckets leave no edge to read, however far the part around them reaches."""
    monkeypatch.setattr(moment, "OPENING", 0)
    spread = [NEW_YEAR + timedelta(minutes=10 * n) for n in range(6 * 24)]
    dense = [NEW_YEAR + timedelta(days=1, seconds=n) for n in range(400)]  # so that sums are worth their while
    with Ledger.open(tmp_path) as ledger:
        for times in (spread, dense):  # a part each
            ledger.add([event(model="o1", at=at, cost=Decimal(1)) for at in times], source="test")
        ledger.compact()
        first, last = NEW_YEAR + timedelta(hours=2), NEW_YEAR + timedelta(days=2)
        assert spend(ledger.moment(), by=("hour", "model"), since=first, until=last).total == 132 + 400
        assert spend(ledger.moment(), by=("hour", "model"), since=first).total == 132 + 400


FIRST_ROW, SECOND_ROW = "azure/gpt-4o/global/standard@2024-10-01", "azure/gpt-4o/global/standard@2025-11-01"
RATES = {
    FIRST_ROW: {"input": Decimal("0.01"), "output": Decimal("0.02"), "cache_read": Decimal("0.001")},
    SECOND_ROW: {"input": Decimal("0.005"), "output": Decimal("0.01"), "cache_read": Decimal("0.002")},
}


def rates(_book: str, row: str):
    return RATES.get(row)


attempts = st.builds(
    event,
    model=st.sampled_from(["gpt-4o", "o1"]),
    provider=st.sampled_from(["azure", "openai"]),
    team=st.sampled_from(["", "a", "b"]),
    app=st.sampled_from(["x", "y"]),
    run=st.sampled_from(["", "r1", "r2"]),
    request_id=st.integers(0, 12).map(lambda n: f"q{n}"),
    purpose=st.sampled_from(["call", "retry", "fallback", "judge"]),
    outcome=st.sampled_from(["ok", "ok", "error", "aborted"]),
    error=st.sampled_from(["", "timeout"]),
    status=st.sampled_from([200, 429]),
    finish_reason=st.sampled_from(["stop", "length"]),
    mode=st.sampled_from(["standard", "batch"]),
    at=instants,
    cost=st.none() | st.decimals(min_value=0, max_value=100, places=18),
    requests=st.integers(0, 3),
    duration_us=st.integers(0, 5) | st.integers(0, 10**9),
    first_token_us=st.integers(0, 10**6),
    tool_calls=st.integers(0, 3),
    usage=st.builds(
        Usage, input=st.integers(0, 1000), cache_read=st.integers(0, 500), output=st.integers(0, 300),
        reasoning=st.integers(0, 20), pages=st.integers(0, 2),
    ),
    price_row=st.sampled_from([FIRST_ROW, SECOND_ROW]),
)  # fmt: skip


@st.composite
def corrected_attempts(draw):
    """Draw attempts, and for some of them one or two corrections, each later than all before, in any order.

    A correction stands at the time of what it corrects, as every one does that is booked.
    """
    events = draw(st.lists(attempts, min_size=9, max_size=16))
    late = []
    for one in draw(st.lists(st.sampled_from(events), max_size=8)):
        state = draw(st.sampled_from(["priced", "priced", "unpriced"]))
        late.append(
            correction(
                one, Decimal("0.25") if state == "priced" else None, price_state=state,
                recorded_at=MARCH + timedelta(seconds=len(late) + 1), source="reprice",
                price_row=draw(st.sampled_from([FIRST_ROW, SECOND_ROW])), price_book=draw(st.sampled_from(["", "b"])),
                usage=draw(st.sampled_from([Usage(), Usage(output=-5), Usage(input=3)])),
            )
        )  # fmt: skip
    return draw(st.permutations([*events, *late]))


WHERE = ((), (("team", "a"),), (("model", "o1"),), (("mode", "batch"),), (("user", ""),))
asked_of_attempts = st.fixed_dictionaries({
    "by": st.sampled_from([("model",), ("team", "app"), (), ("mode",), ("price_row",), ("price_state", "model")]),
    "where": st.sampled_from([*WHERE, (("price_state", "unpriced"),)]),
    "since": bounds,
    "until": bounds,
})  # fmt: skip


def told(source, question):
    """Ask everything that is asked of attempts, and compare what is exact."""
    since, until = question["since"] or NEW_YEAR, question["until"] or SUMMER_TIME + timedelta(days=1)
    by_price = [name for name in question["by"] if name.startswith("price_")]
    answers = [
        efficiency(source, **question),
        failures(source, **question),
        iterations(source, **question),
        latency(source, **question),
        units(source, rates, **{name: value for name, value in question.items() if name != "by"}),
    ]
    if not by_price:
        answers.append(
            change(
                source, by=question["by"], before=(since, since + timedelta(days=1)), after=(since, until),
                where=question["where"], rates=rates,
            )
        )  # fmt: skip
    return answers


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(booked=corrected_attempts(), asked=st.lists(asked_of_attempts, min_size=2, max_size=2))
def test_every_question_about_attempts_is_answered_as_from_all_of_them(tmp_path_factory, booked, asked):
    folder = tmp_path_factory.mktemp("ledger")
    fill(folder, booked, [])
    with Ledger.open(folder) as ledger:
        answers = [told(ledger.table(), question) for question in asked]
        for _ in range(2):
            assert [told(ledger.moment(), question) for question in asked] == answers
            ledger.compact()
        assert ledger.verify().problems == []
        assert [told(ledger.moment(), question) for question in asked] == answers


def test_what_another_source_counts_for_is_in_no_sum_of_attempts(tmp_path):
    events = [
        event(
            at=NEW_YEAR + timedelta(hours=n), source=source, outcome="error" if n % 5 == 0 else "ok", run=f"r{n % 3}",
            duration_us=n + 1, cost=None if n % 7 == 0 else Decimal(n), request_id=f"q{n % 20}",
        )
        for n in range(60) for source in ("gateway", "csv")
    ]  # fmt: skip
    corrected = [correction(events[n], Decimal("0.5"), source="reprice", price_row=SECOND_ROW) for n in (0, 28, 40)]
    gone = [("azure", "gpt-4o", (NEW_YEAR + timedelta(days=n)).date(), "csv") for n in range(2)]
    with Ledger.open(tmp_path) as ledger:
        ledger.add([*events, *corrected], source="test")
        ledger.compact()
        moment = ledger.moment().without(gone)
        left = told(moment.table(), question := {"by": ("model",), "where": (), "since": None, "until": None})
        assert told(moment, question) == left
        assert left[0][0].events == 60 + 12


def test_days_out_of_the_usual_and_their_causes_are_those_from_all_events(tmp_path):
    days = [NEW_YEAR + timedelta(days=n) for n in range(50)]
    events = [
        event(at=day + timedelta(hours=9 + n), key=f"k{n % 3}", team="ab"[n % 2], cost=Decimal(n + 1), requests=n)
        for day in days for n in range(6)
    ]  # fmt: skip
    events += [event(at=days[40] + timedelta(hours=10), key="k1", team="b", cost=Decimal(90), requests=40)]
    events += [event(at=days[49] + timedelta(hours=12), key="k2", team="a", cost=Decimal(70))]
    now = days[-1] + timedelta(hours=20)
    with Ledger.open(tmp_path) as ledger:
        ledger.add(events, source="test")
        ledger.compact()
        for place in ("UTC", "Europe/Berlin"):
            found = anomalies(ledger.moment(), now, time_zone=place)
            assert found == anomalies(ledger.table(), now, time_zone=place)
            assert {one.grain for one in found.anomalies} == {"day", "hour"}


def test_a_corrected_event_counts_under_its_newest_price_wherever_it_and_its_corrections_lie(tmp_path, monkeypatch):
    one, other = event(cost=Decimal(1), price_row=FIRST_ROW), event(cost=Decimal(2), price_row=FIRST_ROW)
    first = correction(one, Decimal("-0.5"), recorded_at=MARCH + timedelta(days=1), price_row=SECOND_ROW)
    late = correction(other, Decimal(1), recorded_at=MARCH + timedelta(days=2), price_row=SECOND_ROW)
    again = correction(one, Decimal("0.25"), recorded_at=MARCH + timedelta(days=3), price_row=FIRST_ROW)

    def by_row(ledger: Ledger) -> dict[str, Decimal]:
        return {row["by_0"]: row["cost"] for row in sums_of(ledger.moment(), ("cost",), by=("price_row",))}

    with Ledger.open(tmp_path) as ledger:
        ledger.add([one, first], source="a")
        ledger.compact()
        assert by_row(ledger) == {SECOND_ROW: Decimal("0.5")}
        with LogWriter(tmp_path, "w0") as writer:
            writer.append(other)
        assert by_row(ledger) == {SECOND_ROW: Decimal("0.5"), FIRST_ROW: 2}
        with LogWriter(tmp_path, "w1") as writer:
            writer.append(late)  # its event is not in a part yet either
        assert by_row(ledger) == {SECOND_ROW: Decimal("3.5")}
        ledger.compact()
        assert by_row(ledger) == {SECOND_ROW: Decimal("3.5")}
        ledger.add([again], source="b")
        assert by_row(ledger) == {SECOND_ROW: 3, FIRST_ROW: Decimal("0.75")}
        monkeypatch.setattr(repriced, "MOST", 1)
        assert by_row(ledger) == {SECOND_ROW: 3, FIRST_ROW: Decimal("0.75")}
