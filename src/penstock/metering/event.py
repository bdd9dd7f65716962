"""The one record that travels."""

import time
from datetime import UTC, datetime
from decimal import Decimal
from random import getrandbits
from typing import Literal

from msgspec import Struct

from penstock.pricing.cost import PriceState
from penstock.pricing.usage import Usage

UsageSource = Literal["provider", "counted", "estimated", "none"]
"""Who counted: the provider; our exact tokenizer; our best guess; nobody, because nothing was used."""

Purpose = Literal["call", "retry", "fallback", "cascade", "classifier", "judge", "shadow", "cache_probe"]
"""Why an attempt was made. The cost of a request is the sum of all of them."""

Outcome = Literal["ok", "error", "aborted", "refused"]
"""`ok`: answered; `error`: the provider failed or said no; `aborted`: the client left, or its budget ended the stream;
`refused`: by a policy."""


class UsageEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One attempt at one billable thing. Never edited: a correction is a new event that names the old one.

    A correction holds the difference: its usage and cost add to the old event's, so that sums stay sums.
    """

    id: str
    """32 hex digits, UUID version 7: sorts by time. Importers derive it from the source's own id."""
    at: datetime
    """When the provider began the work (UTC): the instant whose price applies."""
    recorded_at: datetime
    """When the ledger learned of it (UTC)."""
    source: str = "gateway"
    """Which door it came through: `gateway`, or an importer's name."""
    request_id: str
    """The same for all attempts of one request."""
    attempt: int = 1
    purpose: Purpose = "call"
    corrects: str = ""
    """Id of the event that this one corrects."""

    # what was served
    provider: str
    deployment: str = ""
    """Name of the deployment in the configuration."""
    model: str
    """The model that served, by its plain name; its dated version apart."""
    version: str = ""
    requested_model: str = ""
    deployment_type: str = "global"
    region: str = ""
    mode: str = "standard"
    """Processing mode that was served: `standard`, `batch`, `flex`, `priority`."""
    endpoint: str = ""
    """`chat`, `responses`, `embeddings`, `messages`, ..."""

    # what happened
    outcome: Outcome = "ok"
    status: int = 200
    """HTTP status of the provider's answer; 0: there was none."""
    error: str = ""
    """A stable code: `timeout`, `connection`, `rate_limited`, ..."""
    finish_reason: str = ""
    """`stop`, `length`, `tool_calls`, `content_filter`, `refusal`: as the provider said it."""
    stream: bool = False
    requests: int = 1
    """Model requests in this event: more than one in an imported aggregate, zero in a correction."""
    tool_calls: int = 0
    duration_us: int = 0
    first_token_us: int = 0
    """Microseconds from sending the attempt to its end, and to its first content."""
    usage: Usage = Usage()
    usage_source: UsageSource = "provider"

    # money: dollars, exact
    price_state: PriceState
    cost: Decimal | None = None
    """None exactly when `price_state` is `unpriced`."""
    price_book: str = ""
    price_row: str = ""
    price_hash: str = ""
    provider_cost: Decimal | None = None
    """What the source itself says it charged, where it says so."""

    # who pays
    key: str = ""
    """Id of the virtual key, never the key."""
    team: str = ""
    app: str = ""
    feature: str = ""
    user: str = ""
    run: str = ""
    """An agent's run or a conversation."""
    tags: dict[str, str] = {}
    decision: str = ""
    """What the policies decided, in a few words."""


def new_id(now: float | None = None) -> str:
    """Make a UUID version 7 as 32 hex digits: 48 bits of milliseconds, then chance."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    # Chance names an event and guards no secret; the generator is seeded anew after a fork.
    return f"{milliseconds << 80 | VERSION_7 | getrandbits(60):032x}"


VERSION_7 = 7 << 76 | getrandbits(12) << 64 | 0b1000 << 60
"""Version and variant, and between them 12 bits of chance that a process keeps."""


def utc_now() -> datetime:
    """Return this instant, aware."""
    return datetime.now(UTC)
