"""What is told of one request: taken when it ends, made into spans and measures later, beside the loop."""

import asyncio
from collections import deque
from datetime import datetime

from msgspec import Struct

from penstock.metering.event import UsageEvent


class Told(Struct, frozen=True, gc=False):
    """One AI call of a client, with all its attempts. Prompts and answers are not in it."""

    request_id: str
    path: str
    endpoint: str
    model: str
    """As the client named it."""
    at: datetime
    seconds: float
    """From the first byte of the request to the last one of the answer."""
    status: int
    refused: str
    """Why it was not let through, or not answered; a code."""
    traceparent: bytes
    tracestate: bytes
    team: str
    app: str
    feature: str
    run: str
    key: str
    decision: str
    events: tuple[UsageEvent, ...]


class Notes:
    """Where calls leave what is told of them: it takes no time, never waits, and what does not fit is counted."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int) -> None:
        self.loop = loop
        self._most = most
        self._waiting: deque[Told] = deque()
        self.dropped = 0
        """Requests of which nothing could be told."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, told: Told) -> None:
        """Take one."""
        if len(self._waiting) >= self._most:
            self.dropped += 1
        else:
            self._waiting.append(told)

    def take(self, most: int) -> list[Told]:
        """Return what waits, oldest first."""
        waiting = self._waiting
        return [waiting.popleft() for _ in range(min(most, len(waiting)))]
