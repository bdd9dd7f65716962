"""The models that the sandbox serves, each under its dated name."""

from typing import Literal

from msgspec import Struct

Kind = Literal["chat", "completion", "embedding"]
Vendor = Literal["openai", "anthropic", "other"]


class Model(Struct, frozen=True):
    """One model; `other` stands for open models that Azure and OpenAI-compatible servers run."""

    name: str
    served: str
    """The name that replies carry."""
    vendor: Vendor
    kind: Kind = "chat"
    reasons: bool = False
    """Thinks before it answers; hidden tokens are billed as output."""
    cache_minimum: int = 0
    """Smallest prompt prefix, in tokens, that is cached; 0: this model has no prompt cache."""
    dimensions: int = 0
    """Length of an embedding."""


MODELS = (
    Model("gpt-4o", "gpt-4o-2024-08-06", "openai", cache_minimum=1024),
    Model("gpt-4o-mini", "gpt-4o-mini-2024-07-18", "openai", cache_minimum=1024),
    Model("gpt-4.1", "gpt-4.1-2025-04-14", "openai", cache_minimum=1024),
    Model("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", "openai", cache_minimum=1024),
    Model("gpt-4.1-nano", "gpt-4.1-nano-2025-04-14", "openai", cache_minimum=1024),
    Model("o3-mini", "o3-mini-2025-01-31", "openai", reasons=True, cache_minimum=1024),
    Model("o4-mini", "o4-mini-2025-04-16", "openai", reasons=True, cache_minimum=1024),
    Model("gpt-5", "gpt-5-2025-08-07", "openai", reasons=True, cache_minimum=1024),
    Model("gpt-5-mini", "gpt-5-mini-2025-08-07", "openai", reasons=True, cache_minimum=1024),
    Model("gpt-3.5-turbo-instruct", "gpt-3.5-turbo-instruct", "openai", "completion"),
    Model("text-embedding-3-small", "text-embedding-3-small", "openai", "embedding", dimensions=1536),
    Model("text-embedding-3-large", "text-embedding-3-large", "openai", "embedding", dimensions=3072),
    Model("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "anthropic", cache_minimum=1024),
    Model("claude-haiku-4-5", "claude-haiku-4-5-20251001", "anthropic", cache_minimum=4096),
    Model("claude-sonnet-5", "claude-sonnet-5", "anthropic", cache_minimum=1024),
    Model("claude-opus-5", "claude-opus-5", "anthropic", cache_minimum=512),
    Model("phi-4", "phi-4", "other"),
    Model("sandbox-mystery-1", "sandbox-mystery-1", "other"),  # in no price book: what an unpriced model looks like
)

_BY_NAME = {name.lower(): model for model in MODELS for name in (model.name, model.served)}


def find(name: str) -> Model | None:
    """Find a model by its plain or its dated name."""
    return _BY_NAME.get(name.lower())
