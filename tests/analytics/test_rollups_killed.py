"""Rollups whose making is killed, and answers while they are made into one: every answer stays that of all events."""

import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from tests.ledger.making import NOON, event, many, total

from penstock.analytics.spend import spend
from penstock.ledger import rollups
from penstock.ledger.store import Ledger

KILLER = """
import os, signal, sys
from pathlib import Path
from penstock.ledger import rollups
from penstock.ledger.manifest import Manifest
from penstock.ledger.store import Ledger
folder, where, when = sys.argv[1:]
rollups.MOST_FILES = 1 if where == "consolidation" else 99

def deadly(real):
    def call(*args, **named):
        if when == "after":
            real(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    return call

def in_consolidation(real):
    def consolidate(*args):
        Manifest.note_rollups = deadly(Manifest.note_rollups)
        rollups._write = rollups._write if when != "writing" else deadly(rollups._write)
        real(*args)
    return consolidate

if where == "roll-up":
    if when == "writing":
        rollups._write = deadly(rollups._write)
    Manifest.note_rollups = deadly(Manifest.note_rollups)
else:
    from penstock.ledger import compaction
    compaction.consolidate = in_consolidation(compaction.consolidate)
Ledger.open(Path(folder)).compact()
"""
BY = ("model", "team", "day")


def asked(ledger: Ledger) -> object:
    """Ask what rollups answer, and hold it against what all events say."""
    found = spend(ledger.moment(), by=BY)
    assert found == spend(ledger.table(), by=BY)
    return found


def filled(folder: Path) -> object:
    """Book some days, each with rollups of its own; of the last day there are none yet."""
    with Ledger.open(folder) as ledger:
        for day in range(3):
            ledger.add(many(30, days=1, at=NOON + timedelta(days=day)), source="csv")
            if day < 2:
                ledger.compact()
        return asked(ledger)


@pytest.mark.parametrize("when", ["before", "writing", "after"])
@pytest.mark.parametrize("where", ["roll-up", "consolidation"])
def test_a_process_killed_while_it_makes_rollups_changes_no_answer(tmp_path, where, when):
    expected = filled(tmp_path)
    killed = subprocess.run([sys.executable, "-c", KILLER, str(tmp_path), where, when], check=False)
    assert killed.returncode == -signal.SIGKILL
    with Ledger.open(tmp_path) as ledger:
        assert asked(ledger) == expected
        assert not ledger.compact().busy
        assert ledger.verify().problems == []
        assert asked(ledger) == expected


def test_a_reader_sees_the_same_sums_while_rollups_are_made_into_one(tmp_path, monkeypatch):
    monkeypatch.setattr(rollups, "MOST_FILES", 1)
    booked = [event(at=NOON)]
    stop = threading.Event()
    errors: list[BaseException] = []

    def tidy() -> None:
        try:
            with Ledger.open(tmp_path) as ledger:
                for day in range(8):
                    more = many(20, days=1, at=NOON + timedelta(days=day))
                    ledger.add(more, source="csv")
                    booked.extend(more)
                    ledger.compact()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
        finally:
            stop.set()

    with Ledger.open(tmp_path) as ledger:
        ledger.add(booked, source="csv")
        thread = threading.Thread(target=tidy)
        thread.start()
        try:
            while not stop.is_set():
                least = total(list(booked))
                moment = ledger.moment()
                first, again = (spend(moment, by=BY).total for _ in range(2))
                assert first == again
                assert first >= least
        finally:
            stop.wait(60)
            thread.join()
        assert errors == []
        noted = [one for made in ledger.manifest.rollups().values() for one in made.values() if one.file]
        assert {len({one.file for one in noted if one.kind == kind}) for kind in {one.kind for one in noted}} == {1}
        assert spend(ledger.moment(), by=BY).total == total(booked)
        assert asked(ledger)
