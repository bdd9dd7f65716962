"""`POST /v1/outcomes`: how good an answer was, kept on the disk before it is acknowledged."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from penstock.errors import InputError, LedgerError, RefusedError
from penstock.ledger.outcomes import Outcomes, Pair, Reported, Scored
from penstock.metering.attribution import Attribution

log = logging.getLogger("penstock")

MOST_WAITING = 64
MOST_AT_ONCE = 1_000
MOST_NOTED = 10_000
"""Automatic scores that may wait to be written; what comes beyond them is lost, and nobody is told to wait."""
NOTE_SECONDS = 0.5
LONGEST_ID, LONGEST_NAME = 256, 64


class Report(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One score, as a client reports it."""

    id: Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
    """The `x-penstock-request-id` of the reply."""
    score: Annotated[float, Meta(ge=0, le=1)]
    source: Reported = "user"
    name: Annotated[str, Meta(max_length=LONGEST_NAME)] = ""


class Reports(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several."""

    outcomes: Annotated[list[Report], Meta(max_length=MOST_AT_ONCE)]


Work = Callable[[Outcomes], int]


def read_reports(body: bytes) -> list[Report]:
    """Read a body that holds one report, or `{"outcomes": [...]}`. Raises InputError."""
    try:
        several = "outcomes" in msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return msgspec.json.decode(body, type=Reports).outcomes if several else [msgspec.json.decode(body, type=Report)]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(
            f'The outcome cannot be used: {error}. Send {{"id": "...", "score": 0.0 to 1.0, "source": "user"}}.'
        ) from None


class OutcomeDoor:
    """Writes beside the loop, one report after the other; the file is opened, and made, by the first one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store: Outcomes | None = None
        self._thread = ThreadPoolExecutor(1, "outcomes")
        self._waiting = 0
        self._noted: list[Scored] = []

    async def take(self, body: bytes, who: Attribution) -> bytes:
        """Keep what a client reports, and return the answer: it is on the disk by then.

        Raises InputError, RefusedError where too many wait, LedgerError where it cannot be written.
        """
        reports, now = read_reports(body), datetime.now(UTC)
        scores = [
            Scored(
                request_id=one.id, score=one.score, source=one.source, name=one.name, at=now, key=who.key,
                team=who.team,
            )
            for one in reports
        ]  # fmt: skip
        if self._waiting >= MOST_WAITING:
            raise RefusedError(
                429, "outcomes_busy", "Too many outcomes wait for the disk; send it again.", retry_after=1.0
            )
        changed = await self._beside(lambda store: store.score(scores))
        return msgspec.json.encode({"accepted": len(scores), "changed": changed})

    async def judged(self, pair: Pair) -> bool:
        """Keep a judged pair. Raises LedgerError."""
        return bool(await self._beside(lambda store: store.judge(pair)))

    def note(self, score: Scored) -> None:
        """Keep an automatic score within a second; nobody waits for it."""
        if not self._noted:
            asyncio.get_running_loop().call_later(NOTE_SECONDS, self._hand_over)
        if len(self._noted) < MOST_NOTED:
            self._noted.append(score)

    def _hand_over(self) -> None:
        noted, self._noted = self._noted, []
        if noted:  # else it has been closed, and has written them itself
            self._thread.submit(self._write, noted)

    def _write(self, noted: list[Scored]) -> None:
        try:
            self._do(lambda store: store.score(noted))
        except LedgerError as error:
            log.error("automatic scores are lost: %s", error)  # noqa: TRY400  # the sentence says it all

    async def _beside(self, work: Work) -> int:
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
        finally:
            self._waiting -= 1

    def _do(self, work: Work) -> int:
        if self._store is None:
            self._store = Outcomes(self._folder)
        return work(self._store)

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self._thread.shutdown()
        noted, self._noted = self._noted, []
        if noted:
            self._write(noted)
        if self._store is not None:
            self._store.close()
