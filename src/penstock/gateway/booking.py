"""When events reach the disk: the worker's side of the append log. The loop never waits for the disk."""

import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from msgspec import Struct

from penstock.errors import LedgerError
from penstock.gateway.driving import Waiter
from penstock.ledger.log import LogWriter
from penstock.metering.event import UsageEvent

Fsync = Literal["always", "interval", "never"]
"""`always`: a reply ends when its event is on the disk. `interval`: within 50 ms in the system's hands (survives the
process), within a second on the disk (survives a power loss). `never`: the system decides when it goes to the disk."""

WRITE_SECONDS = 0.05
BATCH = 256


class Backlog(Struct, frozen=True, kw_only=True):
    """How much may wait for the disk, and what new calls are told then."""

    events: int = 20_000
    """Booked, and not yet as safe as `fsync` promises."""
    seconds: float = 10.0
    """How long the oldest of them may have waited."""
    answer: Literal["wait", "refuse"] = "wait"
    """`wait`: a new call waits, up to as many seconds again; `refuse`: it is answered with 503 at once."""


UNCHANGED = Backlog()


class Booking:
    """Takes events from calls and sees them to the log."""

    def __init__(
        self, writer: LogWriter, fsync: Fsync, loop: asyncio.AbstractEventLoop, backlog: Backlog = UNCHANGED
    ) -> None:
        self._writer, self._fsync, self._loop, self._backlog = writer, fsync, loop, backlog
        self._threads = ThreadPoolExecutor(2, "ledger")
        """One may write while the other waits for the disk."""
        self._pending = 0
        self._safe = writer.sequence
        """Number of the last event that is as safe as promised."""
        self._unsafe_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[Waiter[None]] = []
        self._at_the_door: list[tuple[Waiter[None], float]] = []
        self._putting = self._syncing = self._committing = False
        self._put_failed = self._sync_failed = self._closed = False
        self.error: LedgerError | None = None
        """Why the log cannot be written now, if so: then no new call is taken."""
        self.behind = False
        """More waits for the disk, or for longer, than the backlog may hold."""
        self.durable_first = fsync == "always"
        """Replies wait for `durable()` before they end."""

    def book(self, event: UsageEvent) -> None:
        """Take one event."""
        waiting = self._writer.append(event) - self._safe
        if waiting == 1:
            self._unsafe_since = self._loop.time()
        elif waiting >= self._backlog.events:
            self.behind = True
        self._pending += 1
        if self._pending >= BATCH and not self._put_failed and self._fsync != "always":
            self.write()
        elif self._timer is None:
            self._timer = self._loop.call_later(WRITE_SECONDS, self._tick)

    @property
    def waiting(self) -> int:
        """How many events are not yet as safe as promised."""
        return self._writer.sequence - self._safe

    @property
    def waiting_seconds(self) -> float:
        """How long the oldest of these may have waited."""
        return self._loop.time() - self._unsafe_since if self.waiting else 0.0

    async def room(self) -> None:
        """Wait until the backlog has room for another call, or raise `LedgerError`, as it is configured."""
        if self._backlog.answer == "wait" and len(self._at_the_door) < self._backlog.events:
            waiter: Waiter[None] = Waiter()
            self._at_the_door.append((waiter, self._loop.time() + self._backlog.seconds))
            await waiter
        else:
            raise self._too_slow()

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
        """Hand what is pending to the system, in a thread: a disk that is busy can make it wait."""
        if self._putting or self._committing or not self._writer.take():
            return
        self._putting = True
        self._pending = 0
        self._run(self._writer.put, self._was_put)

    def sweep(self) -> None:
        """Once a second: bring what was written to the disk, without waiting for it; after an error, try again."""
        if self.error is not None and not self._committing and not self._putting:
            self._committing = True
            self._commit()
        elif self._fsync == "interval" and self._writer.written > self._safe:
            self._sync()
        self._open_the_door()

    def close(self) -> None:
        """Write and sync what is left. Where the log cannot take it, it is kept elsewhere, and the error says where."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._threads.shutdown(wait=True, cancel_futures=True)
        try:
            self._writer.close()
        except LedgerError as error:
            raise LedgerError(f"{error} {self._rescued()}") from error

    def _rescued(self) -> str:
        count = self._writer.sequence - self._writer.written
        try:
            path = self._writer.rescue(Path(tempfile.gettempdir()))
        except OSError as error:
            return f"{count:,} events are lost: they could not be kept elsewhere either ({error.strerror})."
        return f"{count:,} events were kept in {path}: move that file into {self._writer.folder} when there is room."

    def _tick(self) -> None:
        self._timer = None
        if self._pending and not self._put_failed:
            if self._putting or self._committing:
                self._timer = self._loop.call_later(WRITE_SECONDS, self._tick)
            elif self._fsync == "always":  # nobody waits for it, as for what is asked beside a call
                self._committing = True
                self._commit()
            else:
                self.write()

    def _run(self, work: Callable[[], None], then: Callable[[LedgerError | None], None]) -> None:
        """Do something beside the loop; afterwards go on in the loop, with the error if there was one."""

        def done(future: "asyncio.Future[None]") -> None:
            if self._closed:
                return
            error = future.exception()
            if error is not None and not isinstance(error, LedgerError):  # a mistake of ours: said, and tried again
                self._loop.call_exception_handler({"message": "The log could not be written", "exception": error})
                error = LedgerError(f"The log could not be written: {error}. Penstock's log says more.")
            then(error)

        self._loop.run_in_executor(self._threads, work).add_done_callback(done)

    def _was_put(self, error: LedgerError | None) -> None:
        self._putting = False
        self._note(error, put=True)
        if error is None and self._pending >= BATCH:
            self.write()

    def _sync(self) -> None:
        """Bring what was written so far to the disk."""
        if self._syncing or self._committing:
            return
        self._syncing = True
        until, now = self._writer.written, self._loop.time()

        def then(error: LedgerError | None) -> None:
            self._syncing = False
            self._note(error, put=False)
            if error is None:
                self._is_safe(until, now)

        self._run(self._writer.sync, then)

    def _commit(self) -> None:
        """Bring everything that was booked to the disk."""
        if self._putting:  # one write at a time; `always` itself never comes here
            self._loop.call_later(WRITE_SECONDS, self._commit)
            return
        waiting, self._waiting = self._waiting, []
        self._writer.take()
        self._pending = 0
        until, now = self._writer.sequence, self._loop.time()

        def work() -> None:
            self._writer.put()
            self._writer.sync()

        def then(error: LedgerError | None) -> None:
            self._note(error, put=True)
            self._sync_failed = error is not None
            if error is None:
                self.error = None
                self._is_safe(self._writer.written, now)
            rest = error is None and self._writer.written < until  # what an earlier try had left went first
            if rest:
                self._waiting = waiting + self._waiting
            else:
                for waiter in waiting:
                    waiter.settle(None) if error is None else waiter.fail(error)
            if self._waiting or rest:
                self._loop.call_soon(self._commit)
            else:
                self._committing = False

        self._run(work, then)

    def _note(self, error: LedgerError | None, *, put: bool) -> None:
        if put:
            self._put_failed = error is not None
            if error is None and self._fsync == "never":
                self._is_safe(self._writer.written, self._loop.time())
        else:
            self._sync_failed = error is not None
        if error is not None:
            self.error = error
            self._open_the_door()
        elif not self._put_failed and not self._sync_failed:
            self.error = None

    def _is_safe(self, until: int, since: float) -> None:
        """Everything up to this number is safe; what is not was booked after `since`."""
        self._safe = max(self._safe, until)
        self._unsafe_since = max(self._unsafe_since, since)
        self._open_the_door()

    def _open_the_door(self) -> None:
        """Let in those who wait, once there is room; send away those who waited too long, or wait for a dead disk."""
        waiting, now = self._writer.sequence - self._safe, self._loop.time()
        behind = self.behind = waiting > 0 and (
            waiting >= self._backlog.events or now - self._unsafe_since >= self._backlog.seconds
        )
        if not self._at_the_door:
            return
        queue, self._at_the_door = self._at_the_door, []
        for waiter, until in queue:
            if self.error is not None:
                waiter.fail(self.error)
            elif not behind:
                waiter.settle(None)
            elif now >= until:
                waiter.fail(self._too_slow())
            else:
                self._at_the_door.append((waiter, until))

    def _too_slow(self) -> LedgerError:
        waiting = self._writer.sequence - self._safe
        seconds = self._loop.time() - self._unsafe_since
        return LedgerError(
            f"The ledger's disk is too slow: {waiting:,} events wait for it, the oldest for {seconds:.1f} s. "
            "Find out what keeps it busy, or change [ledger] max_waiting, max_waiting_seconds or fsync."
        )
