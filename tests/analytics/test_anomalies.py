from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.analytics.made import correction, event, table

from penstock.analytics.anomalies import anomalies
from penstock.analytics.anomalies_cause import cause
from penstock.analytics.change import EFFECTS
from penstock.errors import InputError
from penstock.pricing.usage import Usage

JANUARY = datetime(2026, 1, 1, 10, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SPIKE = datetime(2026, 2, 20, 10, tzinfo=UTC)


def daily(days=59, *, first=JANUARY, **fields):
    return [event(at=first + timedelta(days=n), **{"cost": Decimal(10), "requests": 10} | fields) for n in range(days)]


def find(events, now=NOW, **options):
    return anomalies(table(events), now, **options)


def test_days_that_are_alike_have_no_anomaly():
    found = find(daily())
    assert found.anomalies == ()
    assert found.judged_days == 28
    assert found.too_little == ""


def test_a_spike_has_its_dollars_its_cause_and_the_way_to_its_requests():
    events = [*daily(key="k1", app="chat"), *daily(key="k2", app="bot")]
    events += [event(at=SPIKE, key="k2", app="bot", cost=Decimal("50.000000000000000001"), requests=50)]
    [found] = find(events, by=["key"]).anomalies
    assert (found.kind, found.grain, found.scope) == ("spike", "day", {})
    assert (found.since, found.until) == (SPIKE.replace(hour=0), SPIKE.replace(hour=0) + timedelta(days=1))
    assert found.observed == Decimal("70.000000000000000001")
    assert float(found.expected) == pytest.approx(20)
    assert found.excess == found.observed - found.expected
    assert found.low < found.expected < found.high < found.observed
    assert found.command == (
        "penstock report --by key,model,app,feature --from 2026-02-20T00:00Z --to 2026-02-21T00:00Z"
    )
    assert found.page == "/requests?from=2026-02-20T00:00Z&to=2026-02-21T00:00Z"
    assert found.cause is not None
    movers = {mover.dimension: (mover.value, float(mover.share)) for mover in found.cause.movers}
    assert movers["key"] == ("k2", pytest.approx(1))
    assert movers["app"] == ("bot", pytest.approx(1))
    assert found.cause.effects.main == "volume"


def test_a_runaway_key_that_the_whole_hides_is_found_by_watching_keys():
    events = [*daily(key="big", cost=Decimal(1000)), *daily(key="small", cost=Decimal(2))]
    events += [event(at=SPIKE, key="small", cost=Decimal(60))]
    assert find(events, by=[], floor=Decimal(1)).anomalies == ()
    [found] = find(events, by=["key"], floor=Decimal(1)).anomalies
    assert found.scope == {"key": "small"}
    assert "--only key=small" in found.command
    assert found.page.endswith("&key=small")


def test_one_event_is_told_once_and_not_once_for_each_of_its_names():
    events = [*daily(key="k1", team="red", app="a"), *daily(key="k2", team="blue", app="b", cost=Decimal(30))]
    events += [event(at=SPIKE, key="k1", team="red", app="a", cost=Decimal(200))]
    assert len(find(events).anomalies) == 1


def test_a_new_level_is_told_once():
    events = [*daily(), *daily(19, first=JANUARY + timedelta(days=40), cost=Decimal(40))]
    found = find(events).anomalies
    assert [(one.kind, one.since.date().isoformat()) for one in found] == [("level shift up", "2026-02-10")]
    assert find(events, since=datetime(2026, 2, 20, tzinfo=UTC)).anomalies == ()


def test_hours_of_today_are_judged_before_the_day_is_over():
    events = [one for hour in range(8, 18) for one in daily(first=JANUARY.replace(hour=hour), cost=Decimal(1))]
    events += daily(1, first=NOW.replace(hour=8), cost=Decimal(1))
    events += [event(at=NOW.replace(hour=9), cost=Decimal(40)), event(at=NOW.replace(hour=11), cost=Decimal(1))]
    [found] = find(events, NOW.replace(hour=11, minute=30)).anomalies
    assert (found.grain, found.since, found.until) == ("hour", NOW.replace(hour=9), NOW.replace(hour=10))
    assert (found.observed, float(found.expected)) == (Decimal("40.00"), pytest.approx(1))


def test_hours_keep_their_shape_when_the_clocks_change():
    summer = datetime(2026, 4, 3, 12, tzinfo=UTC)  # clocks went forward on the 29th of March
    events = []
    for n in range(60):
        day = datetime(2026, 2, 2, tzinfo=UTC) + timedelta(days=n)
        offset = 1 if day < datetime(2026, 3, 29, tzinfo=UTC) else 2
        events += [event(at=day + timedelta(hours=hour - offset), cost=Decimal(20)) for hour in range(9, 18)]
    assert find(events, summer, time_zone="Europe/Berlin").anomalies == ()


def test_an_empty_ledger_and_one_without_prices_are_refused_with_what_to_do():
    with pytest.raises(InputError, match="penstock import"):
        anomalies(table([event()]).limit(0), NOW)
    with pytest.raises(InputError, match="an unknown price is not 0"):
        find(daily(cost=None))


def test_one_day_is_too_little_and_said_so():
    found = find([event(at=NOW - timedelta(hours=20))])
    assert found.anomalies == ()
    assert (found.judged_days, found.judged_hours) == (0, 0)
    assert "1 whole days of history" in found.too_little


def test_events_without_a_price_are_named():
    found = find([*daily(), event(at=SPIKE, model="mystery", cost=None)])
    assert found.unpriced_events == 1
    assert [row.model for row in found.unpriced] == ["mystery"]
    assert found.anomalies == ()


def test_gaps_are_named_and_no_falls():
    found = find([one for n, one in enumerate(daily()) if n not in (45, 46)])
    assert [day.isoformat() for day in found.gaps] == ["2026-02-15", "2026-02-16"]
    assert found.anomalies == ()


def test_a_correction_that_makes_a_day_negative_is_no_spike():
    events = daily()
    events.append(correction(events[50], Decimal(-35)))
    assert find(events).anomalies == ()


@pytest.mark.parametrize(
    ("changes", "main"),
    [
        ({"requests": 40, "usage": Usage(input=400, output=40), "cost": Decimal(40)}, "volume"),
        ({"usage": Usage(input=400, output=40), "cost": Decimal(40)}, "tokens_per_request"),
        ({"cost": Decimal(40)}, "price"),
        ({"model": "dear", "cost": Decimal(40)}, "mix"),
    ],
)
def test_the_cause_tells_volume_length_price_and_mix_apart(changes, main):
    plain = {"usage": Usage(input=100, output=10), "requests": 10, "cost": Decimal(10)}
    usual = [event(at=SPIKE - timedelta(weeks=n), **plain) for n in range(1, 5)]
    day = SPIKE.replace(hour=0)
    found = cause(table([*usual, event(at=SPIKE, **plain | changes)]), day, day + timedelta(days=1), place=UTC)
    assert found is not None
    effects = found.effects
    assert effects.main == main
    assert sum(getattr(effects, name) for name in EFFECTS) == effects.change == 30
    assert float(getattr(effects, main)) == pytest.approx(30, abs=0.01)


def test_without_weeks_before_there_is_no_cause():
    day = SPIKE.replace(hour=0)
    assert cause(table([event(at=SPIKE)]), day, day + timedelta(days=1), place=UTC) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [({"by": ["hour"]}, "judged already"), ({"threshold": 0}, "from 1 to 100"), ({"detector": "x"}, "robust or 3x")],
)
def test_a_wrong_question_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        find(daily(), **options)
