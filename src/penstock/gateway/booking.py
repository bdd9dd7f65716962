"""When events reach the disk: the worker's side of the append log."""

import asyncio
from typing import Literal

from penstock.errors import LedgerError
from penstock.gateway.driving import Waiter
from penstock.ledger.log import LogWriter
from penstock.metering.event import UsageEvent

Fsync = Literal["always", "interval", "never"]
"""`always`: a reply ends when its event is on the disk. `interval`: within 50 ms in the system's hands (survives the
process), within a second on the disk (survives a power loss). `never`: the system decides when it goes to the disk."""

WRITE_SECONDS = 0.05
SYNC_SECONDS = 1.0
BATCH = 256


class Booking:
    """Takes events from calls and sees them to the log."""

    def __init__(self, writer: LogWriter, fsync: Fsync, loop: asyncio.AbstractEventLoop) -> None:
        self._writer = writer
        self._fsync = fsync
        self._loop = loop
        self._pending = 0
        self._unsynced = False
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[Waiter[None]] = []
        self._committing = False
        self._syncing = False
        self._write_failed = False
        self.error: LedgerError | None = None
        """Why the log cannot be written now, if so: then no new call is taken."""
        self.durable_first = fsync == "always"
        """Replies wait for `durable()` before they end."""

    def book(self, event: UsageEvent) -> None:
        """Take one event."""
        self._writer.append(event)
        self._pending += 1
        if self._fsync == "always":
            return
        if self._pending >= BATCH:
            self.write()
        elif self._timer is None:
            self._timer = self._loop.call_later(WRITE_SECONDS, self._tick)

    def durable(self) -> Waiter[None]:
        """Wait until everything booked so far is on the disk; calls that end together share one sync."""
        waiter: Waiter[None] = Waiter()
        self._waiting.append(waiter)
        if not self._committing:
            self._committing = True
            # On the next turn of the loop: whoever ends in this one shares the sync.
            self._loop.call_soon(self._commit)
        return waiter

    def write(self) -> None:
        """Hand what is pending to the system."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._writer.write()
        except LedgerError as error:
            self.error = error
            self._write_failed = True
            self._timer = self._loop.call_later(SYNC_SECONDS, self._tick)
            return
        if self._write_failed:
            self._write_failed = False
            self.error = None
        self._pending = 0
        self._unsynced = True

    def _tick(self) -> None:
        self._timer = None
        self.write()

    def sweep(self) -> None:
        """Once a second: bring what was written to the disk, without waiting for it; after an error, try again."""
        due = self._unsynced and self._fsync == "interval"
        if (due or self.error is not None) and not self._syncing and not self._committing:
            self._unsynced = False
            self._syncing = True
            self._loop.run_in_executor(None, self._writer.sync).add_done_callback(self._synced)

    def _synced(self, future: "asyncio.Future[None]") -> None:
        self._syncing = False
        error = future.exception()
        if isinstance(error, LedgerError):
            self.error = error
            self._unsynced = True
        elif error is not None:
            raise error
        else:
            self.error = None

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.write()
        if self.error is not None:
            self._committing = False
            for waiter in waiting:
                waiter.fail(self.error)
            return
        future = self._loop.run_in_executor(None, self._writer.sync)
        future.add_done_callback(lambda done: self._committed(done, waiting))

    def _committed(self, future: "asyncio.Future[None]", waiting: list[Waiter[None]]) -> None:
        error = future.exception()
        if isinstance(error, LedgerError):
            self.error = error
        for waiter in waiting:
            if error is None:
                waiter.settle(None)
            else:
                waiter.fail(error)
        if self._waiting:
            self._loop.call_soon(self._commit)
        else:
            self._committing = False

    def close(self) -> None:
        """Write and sync what is left."""
        self._writer.write()
        self._writer.sync()
        self._writer.close()
