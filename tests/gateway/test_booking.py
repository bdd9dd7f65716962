"""When events reach the disk, and what happens when they cannot."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from penstock.errors import LedgerError
from penstock.gateway.booking import BATCH, Booking
from penstock.ledger.log import LogWriter
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


def test_with_interval_events_are_written_soon_and_a_full_batch_at_once(writer):
    async def story():
        booking = Booking(writer, "interval", asyncio.get_running_loop())
        empty = writer.path.stat().st_size
        booking.book(event())
        assert writer.path.stat().st_size == empty
        await asyncio.sleep(0.2)
        once = writer.path.stat().st_size
        assert once > empty
        for _ in range(BATCH):
            booking.book(event())
        assert writer.path.stat().st_size > once

    asyncio.run(story())


def test_with_always_nobody_goes_on_before_the_event_is_on_the_disk(writer):
    synced = []
    plain = writer.sync

    def sync():
        plain()
        synced.append(writer.sequence)

    writer.sync = sync

    async def story():
        booking = Booking(writer, "always", asyncio.get_running_loop())

        async def call():
            booking.book(event())
            number = writer.sequence
            await wait(booking)
            assert synced
            assert synced[-1] >= number

        await asyncio.gather(*(call() for _ in range(20)))
        assert len(synced) < 20  # calls that end together share one sync

    async def wait(booking):
        done = asyncio.get_running_loop().create_future()
        waiter = booking.durable()
        waiter.wake(lambda: done.set_result(None))
        await done

    asyncio.run(story())


def test_a_log_that_cannot_be_written_is_said_and_tried_again(writer, monkeypatch):
    def full():
        raise LedgerError("The disk is full. Free some of it.")

    async def story():
        booking = Booking(writer, "interval", asyncio.get_running_loop())
        booking.book(event())
        with monkeypatch.context() as broken:
            broken.setattr(writer, "write", full)
            booking.write()
            assert "disk is full" in str(booking.error)
        booking.write()
        assert booking.error is None
        assert writer.pending == 0

    asyncio.run(story())


def test_with_always_a_log_that_cannot_be_written_fails_the_calls_that_wait(writer, monkeypatch):
    def full():
        raise LedgerError("The disk is full. Free some of it.")

    async def story():
        booking = Booking(writer, "always", asyncio.get_running_loop())
        booking.book(event())
        with monkeypatch.context() as broken:
            broken.setattr(writer, "write", full)
            waiter = booking.durable()
            await asyncio.sleep(0.05)
            with pytest.raises(LedgerError):
                waiter.__await__().send(None)
        booking.close()

    asyncio.run(story())
