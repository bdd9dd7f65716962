import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.analytics.made import MARCH, correction, event

from penstock.analytics.anomalies import anomalies
from penstock.analytics.change import change
from penstock.analytics.chargeback import chargeback
from penstock.analytics.efficiency import efficiency
from penstock.analytics.failures import failures
from penstock.analytics.forecast import forecast
from penstock.analytics.latency import latency
from penstock.analytics.overlap import Once, counted, counting, overlaps
from penstock.analytics.ptu_use import ptu_use
from penstock.analytics.runs import iterations
from penstock.analytics.shared_costs import Chargeback
from penstock.analytics.spend import add, spend
from penstock.analytics.unit_economics import Observation, unit_economics
from penstock.errors import InputError
from penstock.ledger import rollups
from penstock.ledger.importers.formats import FORMATS
from penstock.ledger.importers.precedence import KINDS, LEVELS, rank
from penstock.ledger.moment import Moment
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent
from penstock.pricing.capacity import shipped_capacity
from penstock.pricing.usage import Usage


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger") as opened:
        yield opened


def book(ledger: Ledger, *events: UsageEvent) -> None:
    for source in sorted({one.source for one in events}):
        ledger.add([one for one in events if one.source == source], source=source)


def test_every_format_has_a_level_and_the_gateway_comes_before_all():
    assert set(KINDS) == {"gateway", *FORMATS}
    assert set(KINDS.values()) == set(LEVELS)
    ranks = [rank(name) for name in ("gateway", "litellm", "openai_usage", "openai_costs")]
    assert ranks == sorted(ranks)
    assert rank("made by a plugin") == rank("litellm")


@pytest.mark.parametrize("level", range(1, 5))
def test_levels_are_those_of_the_page_on_importing(level):
    page = (Path(__file__).parents[2] / "docs/importing.md").read_text("utf-8")
    [row] = re.findall(rf"^\| {level}[ ,].*$", page, re.MULTILINE)
    assert {name for name, kind in KINDS.items() if kind == LEVELS[level - 1]} == set(re.findall(r"`(\w+)`", row))


def test_logs_count_instead_of_the_usage_report_of_the_same_calls(ledger):
    book(ledger, event(source="langfuse", cost=Decimal(3)), event(source="openai_usage", cost=Decimal(5)))
    answer = counted(Once(ledger.moment()))
    assert (answer.spend.total, answer.twice) == (3, ())
    assert [(one.source, one.instead) for one in answer.left_out] == [("openai_usage", ("langfuse",))]


def test_a_ledger_with_one_source_is_summed_as_ever(ledger):
    book(ledger, event(source="gateway"), event(source="gateway"))
    answer = counted(Once(ledger.moment()), by=("model",))
    assert (answer.spend, answer.left_out, answer.twice) == (spend(ledger.moment(), by=("model",)), (), ())


def test_the_best_source_of_a_model_and_day_counts_and_the_others_are_shown(ledger):
    next_day = MARCH + timedelta(days=1)
    book(
        ledger,
        event(source="gateway", cost=Decimal(1)),
        event(source="openai_usage", cost=Decimal(5), usage=Usage(input=1000)),
        event(source="openai_costs", cost=None, provider_cost=Decimal("5.5")),
        event(source="openai_usage", cost=Decimal(7), at=next_day),  # the gateway saw nothing on that day
        event(source="openai_usage", cost=Decimal(11), model="gpt-4o-mini"),  # nor this model
    )
    answer = counted(Once(ledger.moment()), by=("source",))
    assert {row.group["source"]: row.cost for row in answer.spend.rows} == {"gateway": 1, "openai_usage": 18}
    assert (answer.spend.total, answer.spend.unpriced_events) == (19, 0)
    bill, usage = answer.left_out
    assert (bill.source, bill.instead, bill.provider_cost, bill.events) == (
        "openai_costs", ("gateway",), Decimal("5.5"), 1,
    )  # fmt: skip
    assert (usage.cost, usage.input_tokens, usage.counted_cost, usage.counted_tokens) == (5, 1000, 1, 130)
    assert (usage.models, usage.days) == (1, 1)
    assert spend(ledger.moment()).total == 24


def test_who_asks_for_one_source_gets_it(ledger):
    book(ledger, event(source="gateway"), event(source="openai_usage", cost=Decimal(5)))
    assert counted(Once(ledger.moment()), where=[("source", "openai_usage")]).spend.total == 5


def test_corrections_follow_the_event_that_they_correct(ledger):
    mine, theirs = event(source="gateway"), event(source="openai_usage", cost=Decimal(5))
    book(
        ledger, mine, theirs,
        correction(mine, Decimal(2), source="reprice"), correction(theirs, Decimal(100), source="reprice"),
    )  # fmt: skip
    assert counted(Once(ledger.moment())).spend.total == 3
    assert counted(Once(ledger.moment())).spend.events == 1
    left = Once(ledger.moment()).selecting(since=None, until=None)
    found = left.select("SELECT id, cost FROM events", columns=("id", "cost")).to_pylist()
    assert mine.id in {row["id"] for row in found}
    assert sum(row["cost"] for row in found) == 3


def test_two_logs_count_both_and_are_named_unless_one_is_put_first(ledger):
    book(ledger, event(source="litellm"), event(source="langfuse", cost=Decimal(2)))
    answer = counted(Once(ledger.moment()))
    [twice] = answer.twice
    assert (answer.spend.total, twice.sources, twice.models) == (3, ("langfuse", "litellm"), ("gpt-4o",))
    first = counted(Once(ledger.moment(), ("litellm", "langfuse")))
    assert (first.spend.total, first.twice, first.left_out[0].source) == (1, (), "langfuse")


def test_a_period_that_begins_in_the_middle_of_a_day_takes_the_same_source(ledger):
    """The source of a day does not depend on the hour from which one looks."""
    book(ledger, event(source="gateway"), event(source="openai_usage", cost=Decimal(5), at=MARCH + timedelta(hours=6)))
    late = MARCH + timedelta(hours=3)
    assert counted(Once(ledger.moment()), since=late).spend.total == 0
    assert [cell.counted for cell in overlaps(ledger.moment(), since=late)] == [("gateway",)]


TEAMS = ("support", "sales", "")
SHARED_DAYS = 21


def shared_traffic(*, corrected: bool) -> list[UsageEvent]:
    """Three weeks that the gateway, an aggregate and a bill recorded; the aggregate alone knows a second model."""
    events = []
    for day in range(SHARED_DAYS):
        at = MARCH + timedelta(days=day)
        for n, team in enumerate(TEAMS):
            plain = {"at": at, "team": team, "app": team and "bot", "run": f"run-{day}", "duration_us": 900}
            mine = event(source="gateway", cost=Decimal(n + 1), outcome="error" if n == 2 else "ok", **plain)
            events.append(mine)
            if corrected and day == 3:
                events.append(correction(mine, Decimal("0.25"), source="reprice"))
        events.append(event(source="openai_usage", cost=Decimal("6.1"), at=at, requests=3))
        events.append(event(source="focus", cost=Decimal("6.2"), at=at, requests=0))
        events.append(event(source="openai_usage", cost=Decimal(7), at=at, model="gpt-4.1", requests=3))
        if corrected and day == 3:
            events.append(correction(events[-2], Decimal(100), source="reprice"))
    return events


@pytest.fixture(params=["from rollups", "from events", "with corrections"])
def shared(ledger, monkeypatch, request):
    """A ledger of shared traffic, in each of the ways in which it can be asked."""
    if request.param == "from rollups":
        monkeypatch.setattr(rollups, "LEAST_ROWS", 1)
        monkeypatch.setattr(rollups, "SHRINKS", 1)
    book(ledger, *shared_traffic(corrected=request.param == "with corrections"))
    if request.param == "from rollups":
        ledger.compact()
    return ledger


def test_every_question_counts_what_the_report_counts(shared):
    since, until = MARCH.replace(hour=0), MARCH.replace(hour=0) + timedelta(days=SHARED_DAYS)
    period = {"since": since, "until": until}
    source = Once(shared.moment())
    report = counted(source, **period).spend
    assert report.total in (273, Decimal("273.75"))  # 21 days of 6 by the gateway, and 7 by the aggregate alone
    assert report.events == 84
    for by in ((), ("model",), ("team", "app"), ("source", "day"), ("user", "hour"), ("price_state",), ("tag:x",)):
        assert spend(source, by=by, **period).total == report.total, by
        assert spend(source, by=by, time_zone="Asia/Kathmandu", **period).total == report.total, by
    halves = (since, since + timedelta(days=10)), (since + timedelta(days=10), until)
    moved = change(source, by=["model"], before=halves[0], after=halves[1], rates=lambda *_: {}).total
    assert add((moved.before, moved.after)) == report.total
    charged = chargeback(source, Chargeback(untagged="even"), **period)
    assert (charged.total, charged.ledger) == (report.total, report.total)
    assert (efficiency(source, **period)[0].cost, efficiency(source, **period)[0].events) == (report.total, 84)
    assert failures(source, **period)[0].cost == report.total
    gateway = spend(source, where=[("model", "gpt-4o")], **period).total
    assert iterations(source, **period).groups[0].runs == SHARED_DAYS
    assert add(group.cost for group in iterations(source, **period).groups) == gateway
    assert add(one.calls for one in latency(source, **period)) == 2 * SHARED_DAYS  # aggregates are not timed
    kpi = [Observation(day=(since + timedelta(days=n)).date(), metric="tickets", value=Decimal(1), group={})
           for n in range(SHARED_DAYS)]  # fmt: skip
    assert unit_economics(source, kpi, **period).total.spend == report.total
    use = ptu_use(
        source, shipped_capacity().models["gpt-4o"], ptus=15, dollars_per_month=Decimal(260),
        rates={"input": Decimal("0.0000025"), "output": Decimal("0.00001")}, **period,
    )  # fmt: skip
    assert (use.spilled_requests, use.spilled_cost) == (3 * SHARED_DAYS, gateway)
    now = until - timedelta(hours=1)
    booked = forecast(source, now, days=None)
    april = spend(source, since=now.replace(day=1, hour=0), until=now).total
    assert booked.spent == april
    found = anomalies(source, now, floor=Decimal(1))
    assert found.judged_days
    assert not found.anomalies  # three times the spend of a day would be one, if it came and went


def test_all_sources_add_up_everywhere_alike(shared):
    source = counting(shared.moment(), "all")
    assert source.__class__.__name__ == "Moment"
    whole = counted(source).spend.total
    assert whole == efficiency(source)[0].cost == chargeback(source, Chargeback()).total > 500
    first = counting(shared.moment(), "focus")
    assert spend(first, where=[("model", "gpt-4o")]).total in (Decimal("130.2"), Decimal("230.2"))
    with pytest.raises(InputError, match="no source 'bill'"):
        counting(shared.moment(), "best,bill")


def test_what_does_not_count_is_left_out_without_reading_events_where_rollups_know_sources(ledger, monkeypatch):
    monkeypatch.setattr(rollups, "LEAST_ROWS", 1)
    monkeypatch.setattr(rollups, "SHRINKS", 1)
    book(ledger, *shared_traffic(corrected=False))
    ledger.compact()
    since, until = MARCH.replace(hour=0), MARCH.replace(hour=0) + timedelta(days=SHARED_DAYS)
    source = Once(ledger.moment())
    asked = source.chosen(since=since, until=until)
    assert isinstance(asked, Moment)
    for part in ledger.snapshot().parts:
        (ledger.folder / part.path).unlink()
    found = spend(source, by=("model", "day"), since=since, until=until)
    assert found.total == 273
