"""Booking a little beside a lot looks into few parts, and still books each id once."""

from datetime import timedelta

import pytest
from tests.ledger.making import NOON, event, many

from penstock.ledger.columns import to_arrow
from penstock.ledger.known_ids import KnownIds
from penstock.ledger.parts import staging
from penstock.ledger.store import Ledger


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path) as opened:
        yield opened


def searched(known: KnownIds, ledger: Ledger, events) -> list[str]:
    with staging(ledger.folder) as stage:
        stage.put(to_arrow(events, "batch", range(1, len(events) + 1)))
        stage.ready()
        return [part.path for part in known.may_hold(stage.engine, ledger.snapshot().parts)]


def test_only_parts_that_may_hold_an_id_are_searched(ledger):
    events = many(300, source="otlp")
    ledger.add(events, source="otlp")
    paths = [part.path for part in ledger.snapshot().parts]
    known = KnownIds(ledger.folder)
    assert searched(known, ledger, [event()]) == paths  # nothing is kept for a process that books once
    assert searched(known, ledger, [event()]) == []
    assert searched(known, ledger, [event(), events[-1]]) == [paths[-1]]


def test_what_there_is_no_room_for_is_searched(ledger):
    ledger.add(many(300, source="otlp"), source="otlp")
    parts = ledger.snapshot().parts
    known = KnownIds(ledger.folder, most=60)  # of parts of 50, 100, 100 and 50 rows
    found = [searched(known, ledger, [event()]) for _ in range(3)]
    assert [len(one) for one in found] == [len(parts), len(parts) - 1, len(parts) - 1]


def test_an_id_is_booked_once_whatever_its_time_and_whatever_was_merged(ledger):
    events = many(60, source="otlp")
    for number in range(0, 60, 20):
        assert ledger.add(events[number : number + 20], source="otlp").new == 20
    again = [event(id=one.id, source="otlp", at=NOON + timedelta(days=9)) for one in events[::7]]
    assert ledger.add([*again, event(source="otlp")], source="otlp").new == 1
    ledger.compact()
    assert ledger.add([*again, event(source="otlp")], source="otlp").new == 1
    assert len(ledger.events()) == 62
