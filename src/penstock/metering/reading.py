"""What a provider's reply says about its usage, in the provider's own words made disjoint."""

from decimal import Decimal
from typing import Literal, Protocol

from msgspec import Struct

from penstock.metering.event import UsageSource
from penstock.pricing.usage import Usage

Flavour = Literal["openai.chat", "openai.completions", "openai.responses", "openai.embeddings", "anthropic.messages"]
"""The wire format of a reply. OpenAI-compatible servers (vLLM, Ollama, DeepSeek) speak the `openai` ones."""


class Reading(Struct, frozen=True, kw_only=True, gc=False):
    """Everything that metering takes from one reply, streamed or not."""

    usage: Usage = Usage()
    usage_source: UsageSource = "none"
    """`provider` when the reply reported its usage; `none` when it did not."""
    partial: bool = False
    """The stream ended before its last report: what it wrote is in `usage` only as far as the one before says."""
    model: str = ""
    """The model that served, as the reply names it."""
    tier: str = ""
    """The `service_tier` of the reply, as it stands there; `default` and absence mean standard."""
    region: str = ""
    """Where the reply says it was served, if that has a price of its own (Anthropic's `inference_geo`: `us`)."""
    finish_reason: str = ""
    tool_calls: int = 0
    response_id: str = ""
    error: str = ""
    """Code or type of an error that the reply (or the stream, half-way) carries."""
    provider_cost: Decimal | None = None
    """Dollars, where the provider states them itself."""


class StreamReader(Protocol):
    """Reads usage out of a stream while it is relayed.

    `feed` gets the bytes as they came and returns the bytes to relay: the same ones, but for the usage chunk
    that the client did not ask for. It parses as little as it can; most chunks are only searched for a marker.
    """

    def feed(self, data: bytes) -> bytes:
        """Take what came, return what goes on."""
        ...

    def close(self) -> bytes:
        """Return what is still held back, once the stream has ended."""
        ...

    def reading(self) -> Reading:
        """Say what the stream reported so far; `usage_source` is `none` if no usage came."""
        ...

    def text(self) -> str:
        """Return the text (and tool arguments) received so far, for counting where usage is missing."""
        ...
