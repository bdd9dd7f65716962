"""When events reach the disk, and what happens when they cannot, or only slowly."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from penstock.errors import LedgerError
from penstock.gateway.booking import BATCH, Backlog, Booking
from penstock.gateway.driving import Drive
from penstock.ledger import logfile
from penstock.ledger.log import LogWriter
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent, new_id


def event() -> UsageEvent:
    now = datetime.now(UTC)
    return UsageEvent(
        id=new_id(), at=now, recorded_at=now, request_id=new_id(), provider="p", model="m", price_state="priced",
        cost=Decimal(1),
    )  # fmt: skip


@pytest.fixture
def writer(tmp_path):
    with LogWriter(tmp_path, "test") as one:
        yield one


class Disk:
    """The real calls, made to fail or to hang."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.syncs = 0
        self.runs = threading.Event()
        self.runs.set()
        self._pwrite, self._fdatasync = os.pwrite, os.fdatasync
        monkeypatch.setattr(logfile.os, "pwrite", self.pwrite)
        monkeypatch.setattr(logfile.os, "fdatasync", self.fdatasync)

    def pwrite(self, fd, data, offset):
        self.runs.wait(60)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._pwrite(fd, data, offset)

    def fdatasync(self, fd):
        self.runs.wait(60)
        self._fdatasync(fd)
        self.syncs += 1


@pytest.fixture
def disk(writer, monkeypatch):
    one = Disk(monkeypatch)
    yield one
    one.runs.set()
    one.full = False


async def until(condition: Callable[[], bool], booking: Booking | None = None) -> None:
    """Wait for something, with the sweeps that a worker makes."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)
            if booking is not None:
                booking.sweep()


async def waiting(waiter) -> None:
    """Wait as a call does."""
    done = asyncio.get_running_loop().create_future()
    waiter.wake(lambda: done.done() or done.set_result(None))
    if not waiter.settled:
        await done
    await waiter


def booked(folder: Path) -> int:
    with Ledger.open(folder) as ledger:
        return len({one.id for one in ledger.events()})


def test_with_interval_events_are_written_soon_and_a_full_batch_at_once(writer):
    async def story():
        booking = Booking(writer, "interval", asyncio.get_running_loop())
        booking.book(event())
        assert writer.written == 0
        await until(lambda: writer.written == 1)
        for _ in range(BATCH):
            booking.book(event())
        assert writer.pending == 0 or writer.take()
        await until(lambda: writer.written == BATCH + 1)
        assert not booking.behind
        booking.close()

    asyncio.run(story())


def test_with_always_nobody_goes_on_before_the_event_is_on_the_disk(writer, disk):
    async def story():
        booking = Booking(writer, "always", asyncio.get_running_loop())

        async def call():
            booking.book(event())
            number = writer.sequence
            await waiting(booking.durable())
            assert disk.syncs
            assert writer.written >= number

        await asyncio.gather(*(call() for _ in range(20)))
        assert disk.syncs < 20  # calls that end together share one sync
        booking.close()

    asyncio.run(story())


def test_with_always_an_event_that_nobody_waits_for_is_on_the_disk_soon(writer, disk):
    async def story():
        booking = Booking(writer, "always", asyncio.get_running_loop())
        booking.book(event())
        await until(lambda: booking.waiting == 0)
        assert (writer.written, disk.syncs) == (1, 1)
        booking.close()

    asyncio.run(story())


@pytest.mark.parametrize("fsync", ["interval", "never"])
def test_a_full_disk_is_said_and_when_there_is_room_all_goes_on_by_itself(writer, disk, fsync, tmp_path):
    async def story():
        booking = Booking(writer, fsync, asyncio.get_running_loop())
        booking.book(event())
        disk.full = True
        await until(lambda: booking.error is not None, booking)
        assert "Free some space" in str(booking.error)
        for _ in range(3 * BATCH):  # calls that were under way end, and are booked
            booking.book(event())
        assert writer.written == 0
        disk.full = False
        await until(lambda: booking.error is None, booking)
        await until(lambda: writer.written == 3 * BATCH + 1, booking)
        booking.book(event())
        await until(lambda: writer.written == 3 * BATCH + 2, booking)
        assert not booking.behind or fsync == "interval"
        booking.close()

    asyncio.run(story())
    assert booked(tmp_path) == 3 * BATCH + 2


def test_with_always_a_full_disk_fails_the_calls_that_wait_and_keeps_their_events(writer, disk, tmp_path):
    async def story():
        booking = Booking(writer, "always", asyncio.get_running_loop())
        disk.full = True
        booking.book(event())
        with pytest.raises(LedgerError, match="Free some space"):
            await waiting(booking.durable())
        booking.book(event())
        with pytest.raises(LedgerError, match="Free some space"):
            await waiting(booking.durable())
        disk.full = False
        booking.book(event())
        await waiting(booking.durable())  # only when what was left of earlier tries is on the disk too
        assert writer.written == 3
        assert booking.error is None
        booking.close()

    asyncio.run(story())
    assert booked(tmp_path) == 3


def test_a_disk_that_hangs_never_stops_the_loop(writer, disk):
    async def story():
        booking = Booking(writer, "interval", asyncio.get_running_loop())
        disk.runs.clear()
        for _ in range(BATCH):
            booking.book(event())
        await asyncio.sleep(0.05)  # a write in the loop would hang here
        assert writer.written == 0
        booking.book(event())
        disk.runs.set()
        await until(lambda: writer.written == BATCH + 1, booking)
        booking.close()

    asyncio.run(story())


@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
def test_new_calls_wait_at_the_door_of_a_slow_disk_until_there_is_room(writer, disk, fsync):
    entered: list[int] = []

    async def story():
        booking = Booking(writer, fsync, asyncio.get_running_loop(), Backlog(events=5, seconds=60))
        disk.runs.clear()
        for _ in range(5):
            assert not booking.behind
            booking.book(event())
        durable = booking.durable() if fsync == "always" else None
        assert booking.behind

        async def enter(number: int) -> None:
            await booking.room()
            entered.append(number)

        failed: list[BaseException] = []
        for number in range(3):
            Drive(enter(number), failed.append)
        await asyncio.sleep(0.06)
        assert entered == []
        disk.runs.set()
        await until(lambda: len(entered) == 3, booking)
        assert entered == [0, 1, 2]
        assert failed == []
        assert not booking.behind
        if durable is not None:
            await waiting(durable)
        booking.close()

    asyncio.run(story())


def test_who_waited_too_long_at_the_door_or_may_not_wait_is_told_how_slow_the_disk_is(writer, disk):
    async def story(backlog: Backlog, sweeps: int):
        booking = Booking(writer, "interval", asyncio.get_running_loop(), backlog)
        disk.runs.clear()
        booking.book(event())
        booking.book(event())
        await until(lambda: booking.behind)
        entering = booking.room()
        if sweeps:
            waiter = entering.send(None)
            await until(lambda: waiter.settled, booking)
        with pytest.raises(LedgerError, match=r"[23] events wait for it, the oldest for .*max_waiting"):
            entering.send(None)
        disk.runs.set()
        await until(lambda: not booking.behind, booking)

    asyncio.run(story(Backlog(events=2, seconds=0.05, answer="wait"), 5))
    asyncio.run(story(Backlog(events=2, answer="refuse"), 0))


def test_a_worker_that_ends_on_a_full_disk_keeps_the_events_elsewhere_and_says_where(tmp_path, monkeypatch):
    ledger, elsewhere = tmp_path / "ledger", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(elsewhere))
    writer = LogWriter(ledger, "test")
    disk = Disk(monkeypatch)

    async def story():
        booking = Booking(writer, "interval", asyncio.get_running_loop())
        booking.book(event())
        await until(lambda: writer.written == 1)
        disk.full = True
        booking.book(event())
        await until(lambda: booking.error is not None, booking)
        booking.book(event())
        with pytest.raises(LedgerError, match=r"2 events were kept in .*elsewhere.*: move that file into .*log"):
            booking.close()

    asyncio.run(story())
    assert booked(ledger) == 1
    (kept,) = elsewhere.iterdir()
    kept.rename(ledger / "log" / kept.name)
    assert booked(ledger) == 3
    with Ledger.open(ledger) as sound:
        assert sound.compact().problems == []
        assert sound.verify().problems == []
