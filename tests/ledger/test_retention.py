from datetime import timedelta
from decimal import Decimal

import pytest
from tests.ledger.making import event, many, total

from penstock.errors import InputError
from penstock.ledger.log import LogWriter
from penstock.ledger.retention import SUMMARY
from penstock.ledger.store import Ledger
from penstock.metering.event import utc_now


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path) as ledger:
        yield ledger


def totals(ledger):
    kept = ledger.table().cost.sum().to_pyarrow().as_py() or Decimal(0)
    retired = ledger.summary().cost.sum().to_pyarrow().as_py() or Decimal(0)
    return kept, retired


def test_old_days_go_and_their_totals_stay_exact(ledger):
    old, young = many(60, days=40), many(5, days=1)
    now = utc_now()
    young = [event(at=now - timedelta(hours=n)) for n in range(5)]
    ledger.add(old + young, source="csv")
    found = ledger.retain(days=30)
    assert (found.events, found.cost, found.dry_run) == (60, total(old), False)
    assert len(ledger.events()) == 5
    assert totals(ledger) == (total(young), total(old))
    summary = ledger.summary()
    assert summary.schema().names == tuple(SUMMARY.names)
    rows = summary.to_pyarrow().to_pylist()
    assert sum(row["events"] for row in rows) == 60
    assert sum(row["input_tokens"] for row in rows) == sum(one.usage.input_tokens for one in old)
    assert {row["at"].month for row in rows} == {3, 4}
    assert {row["model"] for row in rows} == {one.model for one in old}
    assert ledger.verify().problems == []
    assert ledger.retain(days=30).events == 0


def test_a_dry_run_says_the_same_and_drops_nothing(ledger):
    old = many(10)
    ledger.add(old, source="csv")
    assert ledger.retain(days=30, dry_run=True).events == 10
    assert len(ledger.events()) == 10
    assert totals(ledger)[1] == 0


def test_a_month_retired_in_two_goes_has_one_summary(ledger):
    now = utc_now()
    events = [event(at=now - timedelta(days=n)) for n in range(40)]
    ledger.add(events, source="csv")
    ledger.compact()
    for days in (36, 34, 10):
        ledger.retain(days=days)
        assert sum(totals(ledger), Decimal(0)) == total(events)
        assert ledger.verify().problems == []
    months = [part.day for part in ledger.manifest.parts("summary")]
    assert len(months) == len(set(months))
    assert len(ledger.events()) == 11


def test_what_is_still_in_a_log_and_today_is_never_dropped(ledger):
    with LogWriter(ledger.folder, "w0") as writer:
        writer.append(event())
        writer.write()
        assert ledger.retain(days=1).events == 0
        assert len(ledger.events()) == 1


def test_what_was_retired_cannot_be_imported_again_for_it_would_count_twice(ledger):
    old = many(10, days=1)
    ledger.add(old, source="csv")
    ledger.retain(days=30)
    with pytest.raises(InputError, match=r"An event of 2026-03-14 cannot be booked: days before \d"):
        ledger.add(old, source="csv")
    assert ledger.add([event(at=utc_now())], source="csv").new == 1
    assert totals(ledger)[1] == total(old)


def test_corrections_are_in_the_sums_and_not_among_the_events(ledger):
    one = event(cost=Decimal(2))
    ledger.add([one, event(corrects=one.id, cost=Decimal(-1), requests=0)], source="csv")
    ledger.retain(days=30)
    rows = ledger.summary().to_pyarrow().to_pylist()
    assert (sum(row["events"] for row in rows), sum(row["cost"] for row in rows)) == (1, Decimal(1))
