"""Processes that die at the worst moment, and what the ledger holds afterwards."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.ledger.making import NOON, event, many, total

from penstock.ledger import compaction, parts
from penstock.ledger.log import LogWriter, list_logs
from penstock.ledger.logfile import is_live
from penstock.ledger.manifest import Manifest
from penstock.ledger.store import Ledger

ROOT = Path(__file__).parents[2]


def ids_in(folder: Path) -> Counter[str]:
    with Ledger.open(folder) as ledger:
        return Counter(one.id for one in ledger.events())


def test_a_writer_killed_at_any_moment_loses_nothing_it_acknowledged(tmp_path):
    acknowledged: set[str] = set()
    chance = random.Random(8)
    for round_ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.ledger.writing", str(tmp_path)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert writer.stdout is not None
        acknowledged.update(writer.stdout.readline().strip() for _ in range(chance.randint(1, 200)))
        time.sleep(chance.uniform(0, 0.01))
        os.kill(writer.pid, signal.SIGKILL)
        said = writer.stdout.read()
        writer.wait()
        writer.stdout.close()
        acknowledged.update(line for line in said.splitlines() if len(line) == 32)
        if round_ % 5 == 2:
            with Ledger.open(tmp_path) as ledger:
                assert ledger.compact().problems == []
    found = ids_in(tmp_path)
    assert len(acknowledged) > 12 * 40
    assert acknowledged <= set(found)
    assert max(found.values()) == 1
    with Ledger.open(tmp_path) as ledger:
        ledger.compact()
        assert ledger.verify().problems == []
    assert ids_in(tmp_path) == found


@pytest.mark.slow
def test_two_compactors_and_a_writer_killed_at_any_moment_leave_every_event_once(tmp_path):
    acknowledged: set[str] = set()
    chance = random.Random(5)

    def started(program: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"tests.ledger.{program}", str(tmp_path)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    for _ in range(3):
        writer, *compactors = started("writing"), started("compacting"), started("compacting")
        try:
            acknowledged.update(writer.stdout.readline().strip() for _ in range(200))
            first, second = compactors
            assert first.stdout.readline().strip().isdecimal()
            assert second.stdout.readline().strip().isdecimal()  # both are at work now
            time.sleep(chance.uniform(0, 0.3))
        finally:
            victims = [writer, *compactors]
            chance.shuffle(victims)
            for process in victims:
                os.kill(process.pid, signal.SIGKILL)
            said = writer.stdout.read()
            for process in victims:
                process.wait()
                process.stdout.close()
        acknowledged.update(line for line in said.splitlines() if len(line) == 32)
        found = ids_in(tmp_path)
        assert acknowledged <= set(found)
        assert max(found.values()) == 1
    with Ledger.open(tmp_path) as ledger:
        ledger.compact()
        assert ledger.verify().problems == []
        assert ledger.manifest.parts()
    assert ids_in(tmp_path) == found


def test_a_torn_last_record_is_recognised_and_set_aside(tmp_path):
    written = many(20)
    with LogWriter(tmp_path, "w0") as writer:
        for one in written:
            writer.append(one)
    whole = writer.path.read_bytes()
    writer.path.write_bytes(whole[:-10])
    with Ledger.open(tmp_path) as ledger:
        assert len(ledger.events()) == 19
        found = ledger.verify()
        assert found.problems == []
        assert any("torn end" in note for note in found.notes)
        done = ledger.compact()
        assert (done.events, len(done.torn), done.problems) == (19, 1, [])
        assert (tmp_path / done.torn[0]).read_bytes() in whole
        assert len(ledger.events()) == 19
        assert ledger.verify().problems == []


def test_a_write_that_is_under_way_is_not_taken_for_torn(tmp_path):
    with LogWriter(tmp_path, "w0") as writer, Ledger.open(tmp_path) as ledger:
        writer.append(event())
        writer.write()
        with writer.path.open("ab") as file:
            file.write(b"\xa5PEN half a fra")
        assert len(ledger.events()) == 1
        assert ledger.verify().notes == []
        assert ledger.compact().logs == 0


class Killed(BaseException):
    """Stands for the end of the process."""


STEPS = [
    (parts.os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (Manifest, "commit"),
    (Manifest, "forget"), (parts.pq, "ParquetWriter"), (compaction, "read_log"), (compaction, "_set_aside"),
]  # fmt: skip
"""Everything that a compaction does to the disk."""


def die_at(monkeypatch: pytest.MonkeyPatch, step: int, after: bool) -> list[str]:
    """Let the process end before, or after, the step with that number."""
    seen: list[str] = []

    def guarded(name, real):
        def call(*args, **kwargs):
            seen.append(name)
            mine = len(seen) - 1
            if mine == step and not after:
                raise Killed
            result = real(*args, **kwargs)
            if mine == step and after:
                raise Killed
            return result

        return call

    for place, name in STEPS:
        monkeypatch.setattr(place, name, guarded(name, getattr(place, name)))
    return seen


def messy_ledger(folder: Path) -> Counter[str]:
    """Fill a ledger so that a compaction has everything to do: logs, a torn end, small parts of past days."""
    written = many(60, days=1)
    with Ledger.open(folder) as ledger:
        ledger.add(written[:20], source="csv")
        ledger.add(written[20:30], source="csv")
    with LogWriter(folder, "w0", rotate_bytes=3000) as writer:
        for one in written[30:]:
            writer.append(one)
            writer.write()
    with list_logs(folder)[-1].open("ab") as file:
        file.write(b"\xa5PEN half a fra")
    return Counter(one.id for one in written)


def steps_of_a_compaction(folder: Path) -> int:
    messy_ledger(folder)
    with pytest.MonkeyPatch.context() as patch, Ledger.open(folder) as ledger:
        seen = die_at(patch, -1, after=False)
        ledger.compact()
    return len(seen)


def test_a_compaction_that_dies_at_any_step_neither_loses_nor_doubles_an_event(tmp_path):
    count = steps_of_a_compaction(tmp_path / "whole")
    assert count > 30
    for step in sorted({*range(8), *range(8, count, count // 9)}):  # the later steps repeat the same few
        folder = tmp_path / str(step)
        expected = messy_ledger(folder)
        with pytest.MonkeyPatch.context() as patch, Ledger.open(folder) as ledger:
            die_at(patch, step, after=step % 2 == 0)
            with pytest.raises(Killed):
                ledger.compact()
        assert ids_in(folder) == expected
        with Ledger.open(folder) as ledger:
            done = ledger.compact()
            assert done.problems == []
            assert list_logs(folder) == []
            found = ledger.verify()
            assert found.problems == []
            assert found.events == 60


def test_an_import_that_dies_at_any_step_and_is_repeated_books_each_event_once(tmp_path):
    given_events = many(12, days=1)
    step, ended = 0, False
    while not ended:
        folder = tmp_path / str(step)
        with pytest.MonkeyPatch.context() as patch, Ledger.open(folder) as ledger:
            die_at(patch, step, after=step % 2 == 0)
            try:
                ledger.add(given_events, source="csv")
                ended = True
            except Killed:
                pass
            assert len(ledger.events()) in {0, 12}
        with Ledger.open(folder) as ledger:
            ledger.add(given_events, source="csv")
            found = ledger.verify()
            assert (found.problems, found.events, found.cost) == ([], 12, total(given_events))
        step += 1
    assert step > 8


KILLER = """
import os, signal, sys
from pathlib import Path
from penstock.ledger.manifest import Manifest
from penstock.ledger.store import Ledger
real, when = Manifest.commit, sys.argv[2]
def commit(self, **kwargs):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
Manifest.commit = commit
Ledger.open(Path(sys.argv[1])).compact()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_compacting_process_killed_at_its_commit_leaves_a_sound_ledger(tmp_path, when):
    expected = messy_ledger(tmp_path)
    killed = subprocess.run([sys.executable, "-c", KILLER, str(tmp_path), when], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert ids_in(tmp_path) == expected
    with Ledger.open(tmp_path) as ledger:
        assert not ledger.compact().busy
        assert ledger.verify().problems == []
    assert ids_in(tmp_path) == expected


def test_what_a_dead_process_left_behind_is_removed_when_it_is_old(tmp_path):
    messy_ledger(tmp_path)
    orphan = tmp_path / "events" / "day=2026-03-14" / "part-orphan.parquet"
    left = tmp_path / "tmp" / "work-of-the-dead"
    left.mkdir()
    for place in (orphan, left / "half.arrow"):
        place.write_text("half")
    with Ledger.open(tmp_path) as ledger:
        ledger.compact()
        assert orphan.exists()
        long_ago = time.time() - compaction.ORPHANS_GRACE.total_seconds() - 60
        for place in (orphan, left):
            os.utime(place, (long_ago, long_ago))
        ledger.compact()
        assert not orphan.exists()
        assert not left.exists()
        assert ledger.verify().problems == []


def test_a_reader_during_writing_and_compaction_sees_each_event_exactly_once(tmp_path):
    written: list[str] = []
    stop = threading.Event()
    errors: list[BaseException] = []

    def write() -> None:
        with LogWriter(tmp_path, "w0", rotate_bytes=4000) as writer:
            while not stop.is_set():
                batch = [event(at=NOON) for _ in range(5)]
                for one in batch:
                    writer.append(one)
                writer.write()
                writer.sync()
                written.extend(one.id for one in batch)

    def tidy() -> None:
        with Ledger.open(tmp_path) as ledger:
            while not stop.is_set():
                ledger.compact()

    def guarded(work) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (write, tidy)]
    with Ledger.open(tmp_path) as ledger:
        for thread in threads:
            thread.start()
        looks = 0
        try:
            while not errors and (looks < 12 or len(written) < 400):
                before = len(written)
                found = Counter(one.id for one in ledger.events())
                table = ledger.table()
                counted = table.count().to_pyarrow().as_py()
                assert max(found.values(), default=1) == 1
                assert set(written[:before]) <= set(found)
                assert counted >= len(found)
                looks += 1
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert errors == []
        assert Counter(one.id for one in ledger.events()) == Counter(written)
        assert not any(is_live(log) for log in list_logs(tmp_path))


def test_a_part_is_on_the_disk_before_it_has_its_name_and_has_its_name_before_its_log_goes(tmp_path, monkeypatch):
    with LogWriter(tmp_path, "w0") as writer:
        writer.append(event())
    with Ledger.open(tmp_path) as ledger:
        seen = die_at(monkeypatch, -1, after=False)
        ledger.compact()
    steps = [name for name in seen if name in {"fsync", "replace", "commit", "unlink"}]
    assert steps[:6] == ["fsync", "replace", "fsync", "fsync", "commit", "unlink"]


@pytest.mark.parametrize("moment", ["after the logs are listed", "after the manifest is read"])
def test_a_compaction_between_two_steps_of_a_reader_changes_nothing_for_it(tmp_path, monkeypatch, moment):
    written = many(10)
    with LogWriter(tmp_path, "w0") as writer:
        for one in written:
            writer.append(one)
    compactions = []

    def once(real):
        def call(*args):
            result = real(*args)
            if not compactions:
                compactions.append(1)
                with Ledger.open(tmp_path) as other:
                    assert other.compact().events == 10
            return result

        return call

    with Ledger.open(tmp_path) as ledger:
        if moment == "after the logs are listed":
            monkeypatch.setattr("penstock.ledger.snapshot.list_logs", once(list_logs))
        else:
            monkeypatch.setattr(Manifest, "snapshot", once(Manifest.snapshot))
        assert len(ledger.events()) == 10
        assert compactions
