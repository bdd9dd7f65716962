"""Beside the calls: take new rules, fill counters from the ledger, keep leases, settle what died, tell of trouble."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import structs

from penstock.errors import PenstockError
from penstock.ledger.state import State
from penstock.policies.alerts import Alert, enqueue
from penstock.policies.budgets.counters import Counters, UnavailableError
from penstock.policies.budgets.embedded import EmbeddedCounters, SeparateCounters, need_redis, now_us
from penstock.policies.budgets.policy import EPOCH, Budgets
from penstock.policies.budgets.rules import BudgetSettings, Rulebook, Rules, merged
from penstock.policies.budgets.shared import RedisCounters
from penstock.policies.budgets.store import Published, keep_rules, made_rules, publish

log = logging.getLogger("penstock.budgets")

LOOK_SECONDS = 0.4
PUBLISH_SECONDS = 1.0
FLUSH_SECONDS = 0.3
"""Other workers of this ledger write what they booked every 50 ms."""
RETRY_SECONDS = 1.0
MOST_TOLD = 10_000
SAID_AFTER = 2.0
"""Seconds that Redis may be away before somebody is told."""

SumUp = Callable[[Rules, datetime], Awaitable[Mapping[str, tuple[int, int]]]]
"""Sums the ledger up for some rules, of what was recorded before an instant."""


class Upkeep:
    """Keeps one worker's policy, its counters and the rules together."""

    def __init__(
        self,
        policy: Budgets,
        *,
        file: Rules,
        state: State,
        settings: BudgetSettings,
        sum_up: SumUp,
        written: Callable[[], Awaitable[None]],
        folder: Path,
        others: Callable[[], bool] = lambda: False,
    ) -> None:
        self._policy = policy
        self._file = file
        self._state = state
        self._outbox = State(state.path)
        """For writing, beside the loop: who waits for another writer must not make the loop wait."""
        self._settings = settings
        self._sum_up = sum_up
        self._written = written
        self._folder = folder
        self._others = others
        self._with_others = False
        self._own = Rules()
        self._rebuilt = 0
        self._version: object = None
        self._imports: object = None
        self._run_id = ""
        self._away_since = 0.0
        self._filling: asyncio.Task[None] | None = None
        self._published: tuple[object, float, float] | None = None
        """What was published last, when, and how long that took."""
        self._tasks: list[asyncio.Task[None]] = []
        self._told: dict[str, str] = {}

    async def start(self) -> None:
        """Bring the rules into force; then look after them until `close`. Raises LedgerError."""
        with contextlib.suppress(UnavailableError):
            await self._look()
            if self._filling is not None:
                await self._filling
        self._tasks = [
            asyncio.create_task(self._keep_looking()),
            asyncio.create_task(self._policy.renew(max(0.2, self._settings.lease_seconds / 3))),
        ]

    async def close(self) -> None:
        """Stop looking."""
        if self._filling is not None:
            self._tasks.append(self._filling)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if isinstance(self._policy.counters, RedisCounters):
            await self._policy.counters.close()
        self._outbox.close()
        self._state.close()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except UnavailableError as error:
                await self._away(str(error))
            except PenstockError as error:
                self._say("upkeep", f"budgets: {error}")
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("budgets: looking after them failed; it is tried again")
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self) -> None:
        """Look once: whether there are other rules, whether counters must be filled, what should be said."""
        policy, counters = self._policy, self._policy.counters
        made = await self._rules()
        if made.frozen != policy.book.rules.frozen:  # freezing waits for nothing
            policy.book = Rulebook(structs.replace(policy.book.rules, frozen=made.frozen))
        rules = merged(self._file, made)
        if policy.book.idle and isinstance(counters, RedisCounters) and (rules.budgets or rules.limits):
            # A worker that starts, or is under its first rules: nothing passes before the counters are filled.
            counters.lost = True
            policy.use(Rulebook(rules))
        refill = made.rebuild != self._rebuilt or (bool(rules.budgets) and self._must_refill())
        if isinstance(counters, RedisCounters) and (rules.budgets or rules.limits):
            await self._same_redis(counters)
            refill = refill or counters.lost
        if self._filling is not None and self._filling.done():
            done, self._filling = self._filling, None
            done.result()  # raises what went wrong
        if self._filling is None:
            known = policy.book.rules
            if (rules.budgets, rules.limits) != (known.budgets, known.limits) or (
                refill and (rules.budgets or rules.limits)
            ):
                self._filling = asyncio.create_task(self._fill(rules))
            elif not counters_lost(counters):
                self._rebuilt = made.rebuild
                self._back()
        if isinstance(counters, EmbeddedCounters):
            counters.sweep()
            self._publish(counters)
        if isinstance(counters, SeparateCounters) and (rules.budgets or rules.limits):
            await self._away(need_redis(counters.workers))
        await self._tell()

    async def _rules(self) -> Rules:
        """Return the rules made by command: of all nodes from Redis, else of this ledger."""
        version = self._state.version()
        if version != self._version:
            self._version, self._own = version, made_rules(self._state)
        own = self._own
        counters = self._policy.counters
        if not isinstance(counters, RedisCounters):
            return own
        try:
            shared = await counters.made()
        except UnavailableError:
            if self._policy.book.idle:  # what is known here holds; its calls are answered as it is configured
                self._policy.use(Rulebook(merged(self._file, own)))
            counters.lost = True
            raise
        if shared is None:  # a Redis that is new, or has lost everything
            own = made_rules(self._state)
            await counters.keep(own, only_new=True)
            return own
        if shared != own:
            await asyncio.get_running_loop().run_in_executor(None, keep_rules, self._outbox, shared)
        return shared

    def _must_refill(self) -> bool:
        """Whether others have booked in this ledger: an import, or a worker that ends its calls after a change."""
        imports = self._state.read("SELECT count(*), max(at) FROM imports")
        changed = self._imports is not None and imports != self._imports
        self._imports = imports
        if isinstance(self._policy.counters, EmbeddedCounters):
            others = self._others()
            changed = changed or (self._with_others and not others)
            self._with_others = others
        return changed

    async def _same_redis(self, counters: RedisCounters) -> None:
        """Notice a Redis that was started again: it may have lost what came last."""
        run_id = await counters.run_id()
        if self._run_id and run_id != self._run_id:
            counters.lost = True
        self._run_id = run_id

    async def _fill(self, rules: Rules) -> None:
        """Fill the counters from the ledger, and bring the rules into force."""
        policy, counters = self._policy, self._policy.counters
        book = Rulebook(rules)
        if rules.budgets or (rules.limits and isinstance(counters, RedisCounters)):
            await self._fill_with(book, rules)
        policy.use(Rulebook(structs.replace(rules, frozen=policy.book.rules.frozen)))
        self._rebuilt = rules.rebuild

    async def _fill_with(self, book: Rulebook, rules: Rules) -> None:
        counters = self._policy.counters
        # From the cut on, what is booked is charged by the new rules; what came before is in the ledger.
        cut = now_us()
        self._policy.charging = book
        if not await counters.begin_fill(cut):
            raise UnavailableError("another worker is rebuilding the counters from the ledger.")
        if isinstance(counters, RedisCounters):
            # What fails from here on is lost again; and what was lost is not there before the end.
            counters.filling, counters.lost = counters.lost, False
        try:
            await self._written()
            await asyncio.sleep(FLUSH_SECONDS)
            found = await self._sum_up(rules, EPOCH + timedelta(microseconds=cut)) if rules.budgets else {}
            await counters.end_fill(cut, found)
        except BaseException:
            if isinstance(counters, RedisCounters):
                counters.lost = True
            raise
        finally:
            if isinstance(counters, RedisCounters):
                counters.filling = False

    def _publish(self, counters: EmbeddedCounters) -> None:
        workers = counters.workers if isinstance(counters, SeparateCounters) else 1
        if self._policy.book.idle and workers == 1:
            return
        now = time.time()
        shape = (counters.changes, self._rebuilt)
        if self._published is not None:
            shape_before, at, took = self._published
            due = max(PUBLISH_SECONDS, 20 * took) if shape != shape_before else 4.0
            if now - at < due:
                return
        publish(
            self._folder,
            Published(
                at=now, pid=os.getpid(), rebuilt=self._rebuilt,
                budgets=tuple(rule.id for rule in self._policy.book.budgets),
                spent={name: str(amount) for name, amount in counters.spent.items()},
                reserved={name: str(amount) for name, amount in counters.reserved.items()},
                workers=workers,
            ),
        )  # fmt: skip
        self._published = shape, now, time.time() - now

    # Telling

    async def _away(self, error: str) -> None:
        now = time.monotonic()
        if not self._away_since:
            self._away_since = now
        if now - self._away_since < SAID_AFTER:
            return
        answer = "refused" if self._settings.when_unavailable == "refuse" else "served without being counted"
        text = f"{error} Meanwhile calls under a budget or limit are {answer}."
        if self._say("redis", f"budgets: {text}"):
            alert = Alert(
                kind="budget.unavailable", subject=self._settings.redis_prefix,
                period=f"{datetime.now(UTC):%Y-%m-%dT%H}",
                title="Budgets cannot be checked", text=text + "\n", severity="critical",
            )  # fmt: skip
            await self._enqueue(alert)

    def _back(self) -> None:
        if self._away_since:
            self._away_since = 0.0
            if self._told.pop("redis", ""):
                log.warning("budgets: Redis answers again; the counters were made anew from the ledger")
        self._told.pop("upkeep", None)

    async def _tell(self) -> None:
        """Tell of hard budgets that refused calls."""
        refusing, self._policy.refusing = self._policy.refusing, {}
        for counter, (scope, limit, per) in refusing.items():
            if self._told.get(counter):
                continue
            if len(self._told) > MOST_TOLD:
                self._told.clear()  # the outbox knows too
            self._told[counter] = "said"
            alert = Alert(
                kind="budget.refusing", subject=scope, period=counter.split("/")[1],
                title=f"The budget of {scope} refuses calls",
                text=f"{scope} may spend {limit} per {per}, and a call could have gone over that.\n"
                "Raise it with: penstock budgets set\n", severity="critical",
            )  # fmt: skip
            await self._enqueue(alert)

    async def _enqueue(self, alert: Alert) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, enqueue, self._outbox, alert)
        except PenstockError as error:
            self._say("alerts", f"budgets: an alert could not be kept: {error}")

    def _say(self, what: str, sentence: str) -> bool:
        """Say a thing once until it is over."""
        if self._told.get(what) == sentence:
            return False
        again = what in self._told
        self._told[what] = sentence
        if not again:
            log.warning("%s", sentence)
        return not again


def counters_lost(counters: Counters) -> bool:
    """Whether counters cannot be believed: in Redis until they are made anew, of several workers without it never."""
    return isinstance(counters, SeparateCounters) or (isinstance(counters, RedisCounters) and counters.lost)
