"""The system's clock is set back or forward while events are written: nothing is lost, and everything is found."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.ledger.making import event, total

from penstock.ledger.log import LogWriter
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent, new_id

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
STEPS = {
    "back an hour": timedelta(hours=-1),
    "back a day": timedelta(days=-1),
    "forward a day": timedelta(days=1),
    "forward a year": timedelta(days=365),
    "back to before the first": timedelta(days=-400),
}


def as_the_clock_says(now: datetime) -> UsageEvent:
    return event(id=new_id(now.timestamp()), at=now, recorded_at=now)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_events_are_kept_found_and_filed_by_the_time_that_they_say(tmp_path, step):
    before = [as_the_clock_says(NOON + timedelta(seconds=n)) for n in range(20)]
    after = [as_the_clock_says(NOON + step + timedelta(seconds=n)) for n in range(20)]
    with LogWriter(tmp_path, "worker-1") as writer:
        for one in (*before, *after):
            writer.append(one)
        writer.write()
        writer.sync()
    with Ledger.open(tmp_path) as ledger:
        for _ in range(2):  # in the log, and then in parts
            assert sorted(one.id for one in ledger.events()) == sorted(one.id for one in (*before, *after))
            assert total(ledger.events()) == total([*before, *after])
            for one in (before[3], after[3]):
                assert ledger.events(request_id=one.request_id) == [one]
            assert ledger.verify().problems == []
            ledger.compact()
        days = {part.day for part in ledger.manifest.parts()}
    assert days == {NOON.date(), (NOON + step).date()}


def test_a_request_whose_attempts_stand_on_both_sides_of_a_step_is_found_whole(tmp_path):
    request = new_id(NOON.timestamp())
    first = event(id=request, request_id=request, at=NOON, recorded_at=NOON)
    second = event(request_id=request, at=NOON - timedelta(minutes=30), recorded_at=NOON, attempt=2, purpose="retry")
    with Ledger.open(tmp_path) as ledger:
        ledger.add([first, second], source="gateway")
        found = ledger.events(request_id=request)
    assert {one.id for one in found} == {first.id, second.id}
