"""A ledger that an older version wrote, byte for byte, is read, brought up to date, and keeps every digit."""

import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from tests.ledger.making import event, total

from penstock.analytics.spend import spend
from penstock.ledger.store import Ledger

WRITTEN_BY_V1 = Path(__file__).parents[1] / "recorded/ledger-v1"
"""Forty events of four days: parts, one log that was not compacted, and a state from before there were rollups."""
EVENTS, COST, UNPRICED = 40, Decimal("0.00009375"), 4


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / "ledger"
    shutil.copytree(WRITTEN_BY_V1, copy)
    return copy


def told(ledger: Ledger) -> tuple[int, Decimal, int]:
    found = spend(ledger.table(), by=["model"])
    return (
        sum(row.events for row in found.rows),
        sum((row.cost for row in found.rows), Decimal(0)),
        sum(gap.events for gap in found.unpriced),
    )


def test_it_is_read_as_it_was_written(folder):
    with Ledger.open(folder) as ledger:
        events = ledger.events()
        assert (len(events), total(events)) == (EVENTS, COST)
        assert told(ledger) == (EVENTS, COST, UNPRICED)
        assert ledger.verify().problems == []


def test_it_is_brought_up_to_date_and_written_on(folder):
    more = event(cost=Decimal("0.000000000001"))
    with Ledger.open(folder) as ledger:
        before = ledger.events()
        assert ledger.compact().problems == []
        assert ledger.add([more], source="csv").new == 1
        ledger.compact()
        assert sorted(one.id for one in ledger.events()) == sorted([*(one.id for one in before), more.id])
        assert ledger.verify().problems == []
    with Ledger.open(folder) as ledger:
        assert told(ledger) == (EVENTS + 1, COST + more.cost, UNPRICED)


def test_opening_it_twice_at_once_is_no_harm(folder):
    with Ledger.open(folder) as first, Ledger.open(folder) as second:
        assert told(first) == told(second) == (EVENTS, COST, UNPRICED)
