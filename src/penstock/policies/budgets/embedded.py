"""Counters in this process: for one worker, with no server to run. They are filled from the ledger at the start."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from penstock.policies.budgets.counters import MINUTE, Charge, Order, Rate, UnavailableError, Verdict

TIGHT = 64
"""A budget with room for fewer calls like this one is near its end."""
REMEMBERED = 60_000_000
"""Microseconds for which a settled id is known at least, so that settling again does nothing."""
MOST_REMEMBERED = 50_000
"""Of them, and as many again of those before; when there are more, the older ones are forgotten early."""


def now_us() -> int:
    """Return the time in microseconds of Unix time."""
    return time.time_ns() // 1000


class _Lease(Struct, gc=False):
    until: int
    amounts: list[tuple[str, int]]
    tokens: int
    rates: Sequence[Rate]


class EmbeddedCounters:
    """The counters of one process. Nothing in it waits, so a reservation cannot be interrupted."""

    def __init__(self, *, lease_seconds: float = 60.0, clock: Callable[[], int] = now_us) -> None:
        self._lease = int(lease_seconds * 1e6)
        self._clock = clock
        self.spent: dict[str, int] = {}
        self.reserved: dict[str, int] = {}
        self._forgotten: dict[str, int] = {}
        self._levels: dict[str, tuple[int, int]] = {}
        """Of each rate: what is left, in units of a minute's microseconds, and when that was."""
        self._held: dict[str, int] = {}
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        """Those that end first come first."""
        self._settled: set[str] = set()
        self._settled_before: set[str] = set()
        self._settled_since = 0
        self._filled = 0
        self._filling: int | None = None
        self._since: dict[str, int] = {}
        self.changes = 0
        """Goes up with every change of a counter."""

    async def reserve(self, order: Order) -> Verdict:
        """Check everything, then take everything, or nothing."""
        now = self._clock()
        self._expire(now)
        if order.id in self._leases:
            return Verdict()
        verdict = self._look(order, now)
        if verdict.reason:
            return verdict
        amounts = []
        reserved = self.reserved
        for claim, amount in zip(order.claims, order.amounts, strict=True):
            if amount:
                reserved[claim.counter] = reserved.get(claim.counter, 0) + amount
                amounts.append((claim.counter, amount))
        for rate in order.rates:
            self._take(rate, order.tokens, now)
        self.changes += 1
        until = now + self._lease
        self._leases[order.id] = _Lease(until, amounts, order.tokens, order.rates)
        if order.rates:
            verdict.rates = [self._left(rate, now) for rate in order.rates]
        return verdict

    def _look(self, order: Order, now: int) -> Verdict:
        """Say whether everything can be taken. What cannot help by waiting goes before what can."""
        refused = tight = False
        verdict = Verdict()
        index = -1
        for claim, amount in zip(order.claims, order.amounts, strict=True):
            index += 1
            if not claim.hard:
                continue
            pieces = claim.pieces
            if len(pieces) == 1:
                spent = self.spent.get(pieces[0], 0)
            else:
                spent = sum(self.spent.get(piece, 0) for piece in pieces)
            reserved = self.reserved.get(claim.counter, 0)
            if spent + amount > claim.limit:
                return Verdict("budget", index, spent, reserved)
            if spent + reserved + amount > claim.limit:
                if not refused:
                    refused, verdict = True, Verdict("reserved", index, spent, reserved)
            elif claim.limit - spent - reserved < TIGHT * amount:
                tight = True
        if refused:
            return verdict
        for index, rate in enumerate(order.rates):
            wait = self._wait(rate, order.tokens, now)
            if wait is not None and (not verdict.reason or wait > verdict.wait):
                verdict = Verdict(rate.kind, index, wait=wait)
        if verdict.reason:
            verdict.rates = [self._left(rate, now) for rate in order.rates]
        verdict.tight = tight
        return verdict

    def _level(self, rate: Rate, now: int) -> int:
        whole = rate.limit * MINUTE
        known = self._levels.get(rate.counter)
        if known is None:
            return whole
        return min(whole, known[0] + max(0, now - known[1]) * rate.limit)

    def _wait(self, rate: Rate, tokens: int, now: int) -> int | None:
        """Return how long to wait for a rate; None: not at all; 0: nobody knows."""
        if rate.kind == "concurrent":
            return 0 if self._held.get(rate.counter, 0) >= rate.limit else None
        lacking = _units(rate, tokens) - self._level(rate, now)
        return -(-lacking // rate.limit) if lacking > 0 else None

    def _take(self, rate: Rate, tokens: int, now: int) -> None:
        if rate.kind == "concurrent":
            self._held[rate.counter] = self._held.get(rate.counter, 0) + 1
        else:
            self._levels[rate.counter] = self._level(rate, now) - _units(rate, tokens), now

    def _left(self, rate: Rate, now: int) -> tuple[int, int]:
        if rate.kind == "concurrent":
            return max(0, rate.limit - self._held.get(rate.counter, 0)), 0
        level = self._level(rate, now)
        return max(0, level // MINUTE), -(-(rate.limit * MINUTE - level) // rate.limit)

    def settle(self, id: str, charges: Sequence[Charge], tokens: int | None) -> None:  # noqa: A002
        """Give back what was reserved under `id`, and add what was really spent."""
        now = self._clock()
        if id in self._settled or id in self._settled_before:
            return
        if len(self._settled) >= MOST_REMEMBERED or now - self._settled_since >= REMEMBERED:
            self._settled, self._settled_before, self._settled_since = set(), self._settled, now
        self._settled.add(id)
        self.changes += 1
        lease = self._leases.pop(id, None)
        if lease is not None:
            self._give_back(lease, tokens, now)
        for charge in charges:
            if charge.recorded < self._filled or not charge.amount:
                continue
            self.spent[charge.counter] = self.spent.get(charge.counter, 0) + charge.amount
            self._forgotten[charge.counter] = charge.forgotten
            if self._filling is not None and charge.recorded >= self._filling:
                self._since[charge.counter] = self._since.get(charge.counter, 0) + charge.amount

    def _give_back(self, lease: _Lease, tokens: int | None, now: int) -> None:
        for counter, amount in lease.amounts:
            left = self.reserved[counter] - amount
            if left:
                self.reserved[counter] = left
            else:
                del self.reserved[counter]
        for rate in lease.rates:
            if rate.kind == "concurrent":
                self._held[rate.counter] -= 1
                if not self._held[rate.counter]:
                    del self._held[rate.counter]
            elif rate.kind == "tokens" and tokens is not None:
                level = self._level(rate, now) + _units(rate, lease.tokens) - tokens * MINUTE
                self._levels[rate.counter] = min(level, rate.limit * MINUTE), now

    def renew(self, ids: Sequence[str]) -> None:
        """Say that these calls are still under way."""
        until = self._clock() + self._lease
        for one in ids:
            lease = self._leases.get(one)
            if lease is not None and lease.until < until:
                lease.until = until
                self._leases.move_to_end(one)

    def _expire(self, now: int) -> None:
        leases = self._leases
        while leases and next(iter(leases.values())).until <= now:
            self._give_back(leases.popitem(last=False)[1], None, now)

    def sweep(self) -> None:
        """Now and then: free what expired, and forget counters of windows long gone."""
        now = self._clock()
        self._expire(now)
        for counter in [one for one, at in self._forgotten.items() if at and at * 1_000_000 < now]:
            del self._forgotten[counter]
            self.spent.pop(counter, None)
        whole = [name for name, (_, at) in self._levels.items() if now - at > MINUTE]
        for name in whole:  # a minute later every rate is whole again, unless it was overdrawn
            if self._levels[name][0] >= 0:
                del self._levels[name]

    async def begin_fill(self, cut: int) -> bool:
        """From now on keep apart what is recorded at `cut` or later."""
        self._filling, self._since = cut, {}
        return True

    async def end_fill(self, cut: int, sums: Mapping[str, tuple[int, int]]) -> None:
        """Set every counter to what the ledger held before `cut`, and what came since."""
        spent = {counter: amount for counter, (amount, _) in sums.items()}
        for counter, amount in self._since.items():
            spent[counter] = spent.get(counter, 0) + amount
        self._forgotten |= {counter: forgotten for counter, (_, forgotten) in sums.items()}
        self._forgotten = {counter: self._forgotten.get(counter, 0) for counter in spent}
        self.spent = spent
        self.changes += 1
        self._filled, self._filling, self._since = cut, None, {}

    async def read(self, counters: Sequence[str]) -> list[tuple[int, int]]:
        """Return (spent, reserved) of each."""
        return [(self.spent.get(one, 0), self.reserved.get(one, 0)) for one in counters]


class SeparateCounters(EmbeddedCounters):
    """The counters of one of several workers that share none: nothing can be reserved, so nothing is overshot."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        self.workers = workers

    async def reserve(self, order: Order) -> Verdict:  # noqa: ARG002  # of the interface
        """Raise UnavailableError."""
        raise UnavailableError(need_redis(self.workers), passes=False)


def need_redis(workers: int) -> str:
    """Say why several workers need Redis."""
    return (
        f"Budgets and limits hold over {workers} workers only if these share their counters: "
        '[governance] redis = "redis://localhost:6379/0", or workers = 1.'
    )


def _units(rate: Rate, tokens: int) -> int:
    """Return what a call takes of a rate; more than the whole cannot be asked for."""
    return (1 if rate.kind == "requests" else min(tokens, rate.limit)) * MINUTE
