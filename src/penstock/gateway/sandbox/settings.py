"""How the sandbox behaves; every field has a default that suits tests."""

from msgspec import Struct


class SandboxSettings(Struct, frozen=True, kw_only=True):
    """What a sandbox is told at its start."""

    api_key: str = ""
    """The key that callers must send; empty: any key, or none, will do."""
    seed: int = 0
    """Decides which calls fail when `error_rate` or `rate_limit_rate` is set."""
    first_token_ms: float = 0
    """Milliseconds until the first token."""
    token_ms: float = 0
    """Milliseconds between one piece of a stream and the next."""
    error_rate: float = 0
    """Share of calls (0 to 1) answered with 500, 503 or, for Anthropic, 529."""
    rate_limit_rate: float = 0
    """Share of calls answered with 429."""
    deployments: dict[str, str] = {}
    """Azure deployment name -> model; a model's own name is a deployment too."""
    body_limit: int = 64 * 1024 * 1024
    """Largest request body, bytes."""
    bill_limit: int = 500_000
    """Calls kept on the bill; further ones are answered with 507 until it is reset."""


DEMO = SandboxSettings(first_token_ms=350, token_ms=18, error_rate=0.004, rate_limit_rate=0.006)
"""The pace and the mishaps of a real provider on a usual day."""
