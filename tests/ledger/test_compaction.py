import os
from collections import Counter
from datetime import timedelta

import pytest
from tests.ledger.making import NOON, event, many, total

from penstock.ledger import compaction
from penstock.ledger.compaction import alone
from penstock.ledger.log import LogWriter, list_logs
from penstock.ledger.store import Ledger
from penstock.metering.event import utc_now


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path) as ledger:
        yield ledger


def write(ledger, written, **options):
    with LogWriter(ledger.folder, "w0", **options) as writer:
        for one in written:
            writer.append(one)
            writer.write()


def test_finished_logs_become_one_sorted_part_a_day_and_go(ledger):
    written = many(90)[::-1]
    write(ledger, written, rotate_bytes=4000)
    assert len(list_logs(ledger.folder)) > 3
    done = ledger.compact()
    assert (done.events, done.problems, done.torn) == (90, [], [])
    assert list_logs(ledger.folder) == []
    parts = ledger.manifest.parts()
    assert len(parts) == len({one.at.date() for one in written})
    assert sum(part.cost for part in parts) == total(written)
    assert ledger.events() == written[::-1]
    assert ledger.compact().parts == 0


def test_a_live_log_is_left_alone_and_read_in_place(ledger):
    with LogWriter(ledger.folder, "w0") as writer:
        writer.append(event())
        writer.write()
        assert ledger.compact().logs == 0
        assert len(ledger.events()) == 1
    assert ledger.compact().logs == 1
    assert len(ledger.events()) == 1


def test_a_log_without_events_just_goes(ledger):
    LogWriter(ledger.folder, "w0").close()
    assert ledger.compact().logs == 1
    assert list_logs(ledger.folder) == []


def test_small_parts_of_a_past_day_become_one_and_the_old_files_stay_for_readers_a_while(ledger, monkeypatch):
    written = many(40, days=1)
    for start in range(0, 40, 10):
        ledger.add(written[start : start + 10], source="csv")
    old = ledger.manifest.parts()
    table = ledger.table()
    assert ledger.compact().merged == len(old)
    assert len(ledger.manifest.parts()) == len({one.at.date() for one in written})
    assert table.count().to_pyarrow().as_py() == 40
    assert all((ledger.folder / part.path).exists() for part in old)
    monkeypatch.setattr(compaction, "READERS_GRACE", timedelta(0))
    assert ledger.compact().removed == len(old)
    assert not any((ledger.folder / part.path).exists() for part in old)
    assert Counter(one.id for one in ledger.events()) == Counter(one.id for one in written)


def test_a_few_late_events_do_not_make_a_large_day_be_written_anew_until_there_are_many(ledger, monkeypatch):
    monkeypatch.setattr(compaction, "CHEAP", 0)
    ledger.add([event(at=NOON) for _ in range(100)], source="csv")
    ledger.add([event(at=NOON) for _ in range(5)], source="csv")
    assert ledger.compact().merged == 0
    ledger.add([event(at=NOON) for _ in range(5)], source="csv")
    assert ledger.compact().merged == 2
    assert sorted(part.rows for part in ledger.manifest.parts()) == [10, 100]
    ledger.add([event(at=NOON) for _ in range(5)], source="csv")
    assert ledger.compact().merged == 3
    assert len(ledger.events()) == 115


def test_parts_of_today_are_merged_only_when_there_are_many_of_like_size(ledger):
    now = utc_now()
    for count in range(1, compaction.TIER + 1):
        ledger.add([event(at=now)], source="csv")
        merged = ledger.compact().merged
        assert merged == (compaction.TIER if count == compaction.TIER else 0)
    assert len(ledger.manifest.parts()) == 1
    assert len(ledger.events()) == compaction.TIER


def test_one_run_rewrites_only_so_much(ledger, monkeypatch):
    monkeypatch.setattr(compaction, "MERGE_ROWS", 25)
    for day in range(4):
        for _ in range(2):
            ledger.add([event(at=NOON + timedelta(days=day)) for _ in range(5)], source="csv")
    assert ledger.compact().merged == 4
    assert ledger.compact().merged == 4
    assert ledger.compact().merged == 0


def test_of_two_compactions_at_once_one_works_and_the_other_says_so(ledger):
    write(ledger, many(3))
    with alone(ledger.folder) as mine:
        assert mine
        done = ledger.compact()
        assert done.busy
        assert done.events == 0
    assert ledger.compact().events == 3


def test_logs_that_a_crash_left_after_their_commit_are_not_booked_again(ledger):
    written = many(10)
    write(ledger, written)
    (log,) = list_logs(ledger.folder)
    ledger.manifest.commit(logs={log.name: 10})
    ledger.add(written, source="gateway")
    assert len(ledger.events()) == 10
    ledger.compact()
    assert list_logs(ledger.folder) == []
    assert len(ledger.events()) == 10


def test_damage_in_the_middle_costs_one_event_is_reported_and_set_aside(ledger):
    written = many(10)
    write(ledger, written)
    (log,) = list_logs(ledger.folder)
    data = bytearray(log.read_bytes())
    data[data.index(written[4].id.encode())] ^= 1
    log.write_bytes(data)
    done = ledger.compact()
    assert (done.events, len(done.problems), done.torn) == (9, 1, [])
    assert "are damaged" in done.problems[0]
    (aside,) = (ledger.folder / "torn").iterdir()
    assert written[4].request_id.encode() in aside.read_bytes()
    assert {one.id for one in ledger.events()} == {one.id for one in written} - {written[4].id}


def test_a_sound_frame_that_is_no_event_is_reported_and_set_aside(ledger):
    with LogWriter(ledger.folder, "w0") as writer:
        writer.append(event())
        writer.append({"id": "not an event"})  # type: ignore[arg-type]
        writer.append(event())
    assert len(ledger.events()) == 2
    done = ledger.compact()
    assert done.events == 2
    assert "cannot be understood" in done.problems[0]
    assert [problem.kind for problem in ledger.verify().problems] == ["gap"]


def test_a_log_of_a_newer_version_stays_where_it_is(ledger):
    write(ledger, many(2))
    newer = ledger.folder / "log" / "w9-x-000001.log"
    import msgspec

    from penstock.ledger.frames import frame_of
    from penstock.ledger.log import LogHeader

    header = LogHeader(format=99, writer="0" * 32, name="w9", first=1, started=0, pid=os.getpid())
    newer.write_bytes(frame_of(0, msgspec.msgpack.encode(header)))
    done = ledger.compact()
    assert done.events == 2
    assert "newer Penstock" in done.problems[0]
    assert list_logs(ledger.folder) == [newer]


def test_events_too_fine_for_the_ledger_are_rounded_in_logs_so_that_none_is_lost(ledger):
    from decimal import Decimal

    write(ledger, [event(cost=Decimal("0.1234567890123456785")), event(cost=Decimal("0.5"))])
    assert total(ledger.events()) == Decimal("0.623456789012345678")
    assert ledger.compact().problems == []
    assert total(ledger.events()) == Decimal("0.623456789012345678")
