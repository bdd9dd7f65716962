"""Beside the calls: take scores and judged pairs as they come, and see which keys were rolled back."""

import asyncio
import contextlib
import logging
from pathlib import Path

from penstock.errors import PenstockError
from penstock.ledger.levers import LeverWatch
from penstock.ledger.outcomes import Outcomes, Pair, Scored, has_outcomes
from penstock.policies.routing.memory import Memory
from penstock.policies.routing.policy import RoutePolicy
from penstock.policies.routing.router import LEVER
from penstock.policies.routing.table import Key

log = logging.getLogger("penstock.routing")

LOOK_SECONDS = 0.5
AT_ONCE = 20
"""Scores taken at a time, some 15 ms of work: then calls have their turn."""


class Learning:
    """Keeps one worker's routing up to date."""

    def __init__(self, policy: RoutePolicy, watch: LeverWatch, folder: Path) -> None:
        self.policy = policy
        self._watch, self._folder = watch, folder
        self._outcomes: Outcomes | None = None
        self._scored = self._paired = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take what is there already, then look for more until `close`."""
        self._try()
        self._task = asyncio.create_task(self._keep_looking())

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._outcomes is not None:
            self._outcomes.close()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            while self._try():
                await asyncio.sleep(0)

    def _try(self) -> bool:
        """Look once; return whether there is more to be seen at once."""
        try:
            return self.look()
        except PenstockError as error:
            log.error("routing: %s", error)  # noqa: TRY400  # the sentence says it all
        except Exception:
            log.exception("routing: taking scores failed; it is tried again")
        return False

    def look(self) -> bool:
        """Look once; return whether there may be more scores."""
        self._watch.look()
        if self._outcomes is None:
            if not has_outcomes(self._folder):
                return False
            self._outcomes = Outcomes(self._folder)
        scores = self._outcomes.scores(after=self._scored, limit=AT_ONCE)
        for one in scores:
            self._scored = one.number
            take_score(self.policy.memory, one)
        for pair in self._outcomes.pairs(lever=LEVER, after=self._paired):
            self._paired = pair.number
            take_pair(self.policy.memory, pair)
        return len(scores) == AT_ONCE


def take_score(memory: Memory, one: Scored) -> bool:
    """Learn from a score of one's own request; False: it is another's, or not known here."""
    owner = memory.owner(one.request_id)
    if owner is None or (one.key and one.key != owner[0] and (not one.team or one.team != owner[1])):
        return False
    return memory.learn(one.request_id, one.score, one.at.timestamp())


def take_pair(memory: Memory, pair: Pair) -> None:
    """Learn from a comparison: each answer that is at least as good as the other one is a good answer."""
    try:
        key = Key.read(pair.key)
    except ValueError:
        return
    at = pair.at.timestamp()
    memory.table.learn(key, pair.model, float(pair.score >= 0.5), at)
    memory.table.learn(key, pair.baseline, float(pair.score <= 0.5), at)
