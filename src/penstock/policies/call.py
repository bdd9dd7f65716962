"""A call in flight and its reply: what policies see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from msgspec import Struct

from penstock.metering.attribution import Attribution
from penstock.metering.event import Purpose, UsageEvent
from penstock.metering.reading import Flavour
from penstock.metering.request import RequestHead
from penstock.policies.deployments import Target


class StreamBudget(Struct, eq=False):
    """How long the stream of a call may become before its budgets are asked again."""

    tokens: int
    """Of output that are reserved."""
    allowed: Callable[[Call, Target, int], Awaitable[int]]
    """Given how many tokens of output have come from a target, say how many may come in all; fewer: end the stream."""


class Call(Struct, eq=False):
    """One request of a client. Policies may change where it goes and what is sent."""

    request_id: str
    at: datetime
    flavour: Flavour
    head: RequestHead
    body: bytes
    """The client's bytes; what is sent to the provider is made from them for each attempt."""
    attribution: Attribution
    targets: tuple[Target, ...]
    """Deployments that may answer, the preferred one first."""
    retries: int
    requested_model: str
    decisions: list[str]
    """What was decided and why, a few words each."""
    events: list[UsageEvent] = []
    """One for each attempt that has ended, whatever becomes of the call."""
    attempts: int = 0
    """Begun so far, those of our own beside it too: the number of the last one."""
    headers: str = ""
    """More lines for the head of the reply; each ends with CRLF."""
    another: Callable[[Call], Awaitable[bool]] | None = None
    """Asked of it before another attempt; where it says no, the last attempt's answer is the client's."""
    stream_budget: StreamBudget | None = None
    """Of a stream that is cut off where it outruns what was reserved; None: it may flow on."""
    purpose: Purpose = "call"
    """Of the next attempt, where that is the first of its kind."""
    reason: str = ""
    """Why the next attempts go where they go, in a few words, for their events."""
    check: Callable[[Call, Reply], str] | None = None
    """Says why an answer will not do; empty: it will. Then the next of the targets' models is asked."""
    escalations: int = 0
    """How often that may happen."""


class Reply(Struct, eq=False):
    """What came back. A stream has already gone to the client when policies see its reply."""

    status: int
    head: bytes
    """Header lines as the client gets them; each ends with CRLF."""
    body: bytes
    events: list[UsageEvent]
    """One for each attempt."""
    relayed: bool = False
    """The bytes have gone to the client (a stream)."""


class Question(Struct, eq=False, frozen=True, kw_only=True):
    """What is asked of a model in the name of a call, while it is under way or after it."""

    target: Target
    purpose: Purpose
    body: bytes
    seconds: float | None = None
    """Until it must be answered; None: as long as a client's call may take."""
    tags: Mapping[str, str] = {}
    """More of them, for its event."""
    say: Callable[[Reply], Mapping[str, str]] = lambda _: {}
    """Gives tags that only the answer tells."""
