"""A call in flight and its reply: what policies see."""

from datetime import datetime

from msgspec import Struct

from penstock.metering.attribution import Attribution
from penstock.metering.event import UsageEvent
from penstock.metering.reading import Flavour
from penstock.metering.request import RequestHead
from penstock.policies.deployments import Target


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
