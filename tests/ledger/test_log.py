import errno
import os
import threading
from pathlib import Path

import msgspec
import pytest
from tests.ledger.making import event, many

from penstock.errors import LedgerError
from penstock.ledger import logfile
from penstock.ledger.frames import frame_of
from penstock.ledger.log import LogHeader, LogWriter, list_logs, read_log
from penstock.ledger.logfile import is_live
from penstock.metering.event import UsageEvent


def booked(folder: Path) -> list[UsageEvent]:
    parts = [read_log(log) for log in list_logs(folder)]
    assert not any(part.damages for part in parts)
    return [msgspec.msgpack.decode(frame.body, type=UsageEvent) for part in parts for frame in part.frames]


@pytest.fixture
def writer(tmp_path):
    with LogWriter(tmp_path, "w0") as writer:
        yield writer


def test_what_is_appended_is_in_the_file_after_write_and_not_before(writer, tmp_path):
    written = many(10)
    for one in written:
        writer.append(one)
    assert booked(tmp_path) == []
    writer.write()
    assert booked(tmp_path) == written
    assert writer.pending == 0


def test_a_log_says_who_wrote_it_and_its_numbers_have_no_gaps_across_files(tmp_path):
    with LogWriter(tmp_path, "w0", rotate_bytes=1) as writer:
        for one in many(6):
            writer.append(one)
            writer.write()
    parts = [read_log(log) for log in list_logs(tmp_path)]
    assert len(parts) == 6
    assert {(part.header.writer, part.header.name) for part in parts} == {(writer.writer, "w0")}
    assert [frame.sequence for part in parts for frame in part.frames] == [1, 2, 3, 4, 5, 6]
    assert [part.header.first for part in parts] == [1, 2, 3, 4, 5, 6]


def test_a_log_becomes_too_old_and_is_changed_for_a_new_one(tmp_path):
    with LogWriter(tmp_path, "w0", rotate_seconds=0) as writer:
        for one in many(3):
            writer.append(one)
            writer.write()
            writer.sync()
        assert [is_live(log) for log in list_logs(tmp_path)] == [False, False, True]
    assert len(booked(tmp_path)) == 3


def test_a_log_is_live_while_its_writer_is_open_and_dead_afterwards(tmp_path):
    writer = LogWriter(tmp_path, "w0")
    assert is_live(writer.path)
    writer.close()
    writer.close()
    assert not is_live(writer.path)
    with pytest.raises(LedgerError, match="closed"):
        writer.write()


def test_full_files_that_nobody_syncs_do_not_pile_up_open(tmp_path):
    with LogWriter(tmp_path, "w0", rotate_bytes=1) as writer:
        for one in many(30):
            writer.append(one)
            writer.write()
        assert sum(is_live(log) for log in list_logs(tmp_path)) == 5
    assert len(booked(tmp_path)) == 30


class Disk:
    """The real calls, failing when told to."""

    def __init__(self, monkeypatch):
        self.room: int | None = None
        self.syncs_fail = 0
        self.written = 0
        self._pwrite, self._fdatasync = os.pwrite, os.fdatasync
        monkeypatch.setattr(logfile.os, "pwrite", self.pwrite)
        monkeypatch.setattr(logfile.os, "fdatasync", self.fdatasync)

    def pwrite(self, fd, data, offset):
        if self.room is not None:
            if self.room == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            data = data[: self.room]
            self.room -= len(data)
        self.written += len(data)
        return self._pwrite(fd, data, offset)

    def fdatasync(self, fd):
        if self.syncs_fail:
            self.syncs_fail -= 1
            raise OSError(errno.EIO, "Input/output error")
        self._fdatasync(fd)


def test_on_a_full_disk_the_error_says_what_to_do_the_file_stays_whole_and_nothing_is_lost(
    writer, tmp_path, monkeypatch
):
    disk = Disk(monkeypatch)
    written = many(20)
    for one in written[:10]:
        writer.append(one)
    writer.write()
    size = writer.path.stat().st_size
    for one in written[10:]:
        writer.append(one)
    disk.room = 700
    for _ in range(3):
        with pytest.raises(LedgerError, match=r"No space left on device\. Free some space"):
            writer.write()
        assert writer.path.stat().st_size == size
        assert booked(tmp_path) == written[:10]
    disk.room = None
    writer.write()
    assert booked(tmp_path) == written


def test_a_full_disk_at_the_change_of_files_loses_nothing_either(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    with LogWriter(tmp_path, "w0", rotate_bytes=1) as writer:
        first, second = many(2)
        writer.append(first)
        writer.write()
        writer.append(second)
        disk.room = 10
        with pytest.raises(LedgerError, match="Free some space"):
            writer.write()
        disk.room = None
        writer.write()
    assert booked(tmp_path) == [first, second]


def test_a_full_buffer_is_an_error_and_no_endless_memory(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    with LogWriter(tmp_path, "w0", buffer_bytes=2000) as writer:
        disk.room = 0
        taken = []
        while writer.pending <= 2000:
            taken.append(event())
            writer.append(taken[-1])
        assert 3 < len(taken) < 30
        with pytest.raises(LedgerError, match="buffer is full"):
            writer.append(event())
        disk.room = None
    assert booked(tmp_path) == taken


def test_after_a_failed_sync_what_the_kernel_may_have_dropped_is_written_again(writer, monkeypatch):
    disk = Disk(monkeypatch)
    writer.append(event())
    writer.write()
    writer.sync()
    writer.append(event())
    writer.write()
    disk.syncs_fail = 1
    with pytest.raises(LedgerError, match="sync"):
        writer.sync()
    before = disk.written
    writer.sync()
    assert 0 < disk.written - before < writer.path.stat().st_size
    before = disk.written
    writer.sync()
    assert disk.written == before


def test_syncing_in_another_thread_never_disturbs_writing(tmp_path):
    written = many(3000)
    with LogWriter(tmp_path, "w0", rotate_bytes=20_000) as writer:
        stop = threading.Event()

        def sync() -> None:
            while not stop.is_set():
                writer.sync()

        thread = threading.Thread(target=sync)
        thread.start()
        for one in written:
            writer.append(one)
            writer.write()
        stop.set()
        thread.join()
    assert booked(tmp_path) == written


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "log").write_text("a file where a folder should be")
    with pytest.raises(LedgerError, match="Cannot open a log in"):
        LogWriter(tmp_path, "w0")


def test_a_log_of_a_newer_version_is_refused_and_not_guessed_at(tmp_path):
    header = LogHeader(format=99, writer="0" * 32, name="w0", first=1, started=0, pid=1)
    path = tmp_path / "w0-x-000001.log"
    path.write_bytes(frame_of(0, msgspec.msgpack.encode(header)))
    with pytest.raises(LedgerError, match="newer Penstock"):
        read_log(path)


def test_a_log_with_a_damaged_header_is_read_under_the_name_of_its_file(tmp_path):
    with LogWriter(tmp_path, "w-0") as writer:
        writer.append(event())
        path = writer.path
    data = bytearray(path.read_bytes())
    data[25] ^= 1
    path.write_bytes(data)
    part = read_log(path)
    assert (part.header.name, part.header.writer) == ("w-0", writer.writer)
    assert len(part.frames) == len(part.damages) == 1
