"""Shadow pairs: the baseline answers some calls too, and a judge compares both. Nobody waits for any of it."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from msgspec import Struct

from penstock.errors import PenstockError
from penstock.gateway import endpoints
from penstock.gateway.asides import Asides, Way
from penstock.gateway.driving import Drive
from penstock.gateway.endpoints import Endpoint
from penstock.gateway.heads import Head
from penstock.gateway.outcome_door import OutcomeDoor
from penstock.ledger.outcomes import Pair
from penstock.metering.event import UsageEvent
from penstock.metering.readers.bodies import body_text
from penstock.metering.reading import Flavour
from penstock.policies.call import Call, Question
from penstock.policies.deployments import Target
from penstock.policies.proof import (
    ARM,
    BASELINE,
    KEY,
    LEVER,
    ProofSettings,
    judge_body,
    question,
    sampled,
    score_of,
    shown,
)

log = logging.getLogger("penstock")

LARGEST = 256 * 1024
"""Bytes of a request that is asked again: what waits is kept in memory."""
SHADOW = {ARM: "shadow"}
JUDGE_HEAD = Head()
JUDGE_HEAD.headers = [(b"content-type", b"application/json")]


class Beside(Struct, eq=False):
    """One call that was answered, and is to be answered again."""

    call: Call
    head: Head
    endpoint: Endpoint
    served: UsageEvent
    text: str
    baseline: Target


class Shadows:
    """Takes calls once they are answered; asks, compares and books, a few at a time."""

    def __init__(
        self,
        settings: ProofSettings,
        *,
        targets: Mapping[str, Target],
        asides: Asides,
        outcomes: OutcomeDoor,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._settings = settings
        self._targets = targets
        self._judge = targets.get(settings.judge)
        self._asides, self._outcomes = asides, outcomes
        self._loop = loop
        self._waiting: deque[Beside] = deque()
        self._running = 0
        self._closed = False
        self.busy: Callable[[int], None] = lambda _more: None
        """Told of each pair that begins (1) and ends (-1): a worker that leaves lets them end."""
        self.skipped = 0
        """Calls that were sampled while too many waited."""
        self.unjudged = 0
        """Pairs without a verdict: a call failed, or the judge said nothing that can be read."""

    def wants(self, call: Call) -> bool:
        """Tell whether this call, which has been answered, is to be answered again."""
        if self._judge is None or not call.events:
            return False
        served = call.events[-1]
        return (
            served.outcome == "ok"
            and served.status < 400
            and sampled(call.request_id, served.tags, self._settings.shadow)
        )

    def offer(self, call: Call, head: Head, endpoint: Endpoint, text: str) -> None:
        """Take a call that is wanted, with what its client got."""
        served = call.events[-1]
        baseline = self._find(served.tags[BASELINE], call.flavour)
        if baseline is None or baseline.deployment.model == served.model or not text:
            return
        if len(self._waiting) >= self._settings.max_waiting:
            self.skipped += 1
            return
        self._waiting.append(Beside(call, head, endpoint, served, text, baseline))
        if self._running < self._settings.at_once:
            self._running += 1
            self._loop.call_soon(self._begin)  # the client's connection comes first

    def close(self) -> None:
        """Forget what has not begun, and begin nothing more."""
        self._closed = True
        self._waiting.clear()

    def _find(self, name: str, flavour: Flavour) -> Target | None:
        """Return the deployment of that name, or the first one with that model."""
        named = self._targets.get(name)
        some = [named] if named else [one for one in self._targets.values() if one.deployment.model == name]
        return next((one for one in some if one.provider.speaks(flavour)), None)

    def _begin(self) -> None:
        Drive(self._work(), lambda error: log.error("Shadow pairs cannot be made", exc_info=error))

    async def _work(self) -> None:
        while self._waiting:
            one = self._waiting.popleft()
            self.busy(1)
            try:
                pair = await self._pair(one)
                if pair is None:
                    self._count_unjudged()
                else:
                    await self._outcomes.judged(pair)
            except PenstockError as error:  # a budget is used up, a disk is full
                self.unjudged += 1
                log.info("shadow pair of %s: %s", one.call.request_id, error)
            except Exception:
                log.exception("A shadow pair could not be made")
            finally:
                self.busy(-1)
        self._running -= 1

    def _count_unjudged(self) -> None:
        """Say so in the log at the first, the tenth, the hundredth ...: what such pairs cost is lost."""
        self.unjudged += 1
        if str(self.unjudged).strip("0") == "1":
            log.warning(
                "Shadow pairs without a verdict so far: %d. The baseline or the judge, %s, did not answer as asked.",
                self.unjudged, self._settings.judge,
            )  # fmt: skip

    async def _pair(self, one: Beside) -> Pair | None:
        judge = self._judge
        assert judge is not None
        again = shadow_body(one.call.body, one.baseline.upstream)
        client = Way(head=one.head, endpoint=one.endpoint, path=one.head.target)
        shadow = Question(target=one.baseline, purpose="shadow", body=again, tags=SHADOW)
        answer = await self._ask(one, shadow, client)
        if answer is None:
            return None
        scores = [0.5, 0.5]
        if answer.strip() != one.text.strip():
            anthropic = judge.provider.billed_as == "anthropic" or judge.provider.kind == "anthropic"
            way = Way(head=JUDGE_HEAD, endpoint=endpoints.MESSAGES if anthropic else endpoints.CHAT)
            request = shown(one.call.body)
            for number, (first, second) in enumerate(((one.text, answer), (answer, one.text))):
                body = judge_body(judge.deployment.model, question(request, first, second), anthropic=anthropic)
                said = await self._ask(one, Question(target=judge, purpose="judge", body=body, tags=SHADOW), way)
                score = score_of(said or "", served_first=number == 0)
                if score is None:
                    return None
                scores[number] = score
        return Pair(
            request_id=one.call.request_id, lever=one.served.tags[LEVER], key=one.served.tags.get(KEY, ""),
            model=one.served.model, baseline=one.baseline.deployment.model, judge=judge.deployment.model,
            first=scores[0], second=scores[1], at=datetime.now(UTC),
        )  # fmt: skip

    async def _ask(self, one: Beside, asked: Question, way: Way) -> str | None:
        """Make one call beside; return what it wrote. None: there is no answer."""
        reply = await self._asides.ask(one.call, asked, way)
        return body_text(reply.body) if 0 < reply.status < 400 else None


def shadow_body(body: bytes, model: str) -> bytes:
    """Return a client's body for the baseline: its model, and the answer whole."""
    document = json.loads(body)
    document["model"] = model
    for name in ("stream", "stream_options"):
        document.pop(name, None)
    return json.dumps(document, separators=(",", ":")).encode()
