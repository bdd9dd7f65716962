"""What the sandbox charges: a table of its own, so that its bill is a real check on Penstock's ledger.

Dollars per million tokens, read 2026-11-23 from the providers' price pages as genai-prices 0.2.3 records them
(Azure's Global deployments cost the same for the models listed here).
"""

from decimal import Decimal

from msgspec import Struct

from penstock.gateway.sandbox.models import Model

MILLION = Decimal(1_000_000)


class Metered(Struct, frozen=True, kw_only=True):
    """Tokens of one call; every bucket is disjoint, but for `reasoning`, which is inside `output`."""

    input: int = 0
    cached: int = 0
    write_5m: int = 0
    write_1h: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        """All tokens sent."""
        return self.input + self.cached + self.write_5m + self.write_1h


# (model, tier): input, cached input, output
_OPENAI = {
    ("gpt-4o", "default"): ("2.50", "1.25", "10.00"),
    ("gpt-4o", "priority"): ("4.25", "2.125", "17.00"),
    ("gpt-4o-mini", "default"): ("0.15", "0.075", "0.60"),
    ("gpt-4o-mini", "priority"): ("0.25", "0.125", "1.00"),
    ("gpt-4.1", "default"): ("2.00", "0.50", "8.00"),
    ("gpt-4.1", "priority"): ("3.50", "0.875", "14.00"),
    ("gpt-4.1-mini", "default"): ("0.40", "0.10", "1.60"),
    ("gpt-4.1-mini", "priority"): ("0.70", "0.175", "2.80"),
    ("gpt-4.1-nano", "default"): ("0.10", "0.025", "0.40"),
    ("gpt-4.1-nano", "priority"): ("0.20", "0.05", "0.80"),
    ("o3-mini", "default"): ("1.10", "0.55", "4.40"),
    ("o4-mini", "default"): ("1.10", "0.275", "4.40"),
    ("o4-mini", "flex"): ("0.55", "0.138", "2.20"),
    ("o4-mini", "priority"): ("2.00", "0.50", "8.00"),
    ("gpt-5", "default"): ("1.25", "0.125", "10.00"),
    ("gpt-5", "flex"): ("0.625", "0.0625", "5.00"),
    ("gpt-5", "priority"): ("2.50", "0.25", "20.00"),
    ("gpt-5-mini", "default"): ("0.25", "0.025", "2.00"),
    ("gpt-5-mini", "flex"): ("0.125", "0.0125", "1.00"),
    ("gpt-5-mini", "priority"): ("0.45", "0.045", "3.60"),
    ("gpt-3.5-turbo-instruct", "default"): ("1.50", "1.50", "2.00"),
    ("text-embedding-3-small", "default"): ("0.02", "0.02", "0"),
    ("text-embedding-3-large", "default"): ("0.13", "0.13", "0"),
    ("phi-4", "default"): ("0.125", "0.125", "0.50"),
    ("sandbox-mystery-1", "default"): ("7", "7", "13"),
}

# model: input, cache read, write for 5 minutes, write for 1 hour, output
_ANTHROPIC = {
    "claude-sonnet-4-5": ("3", "0.30", "3.75", "6", "15"),
    "claude-haiku-4-5": ("1", "0.10", "1.25", "2", "5"),
    "claude-sonnet-5": ("2", "0.20", "2.50", "4", "10"),
    "claude-opus-5": ("5", "0.50", "6.25", "10", "25"),
}


def sells(model: Model, tier: str) -> bool:
    """Say whether a model can be had in that tier."""
    return (model.name, tier) in _OPENAI


def cost(model: Model, tier: str, used: Metered) -> Decimal:
    """Work out dollars, exact."""
    rates: tuple[str, ...]
    counts: tuple[int, ...]
    if model.vendor == "anthropic":
        rates = _ANTHROPIC[model.name]
        counts = (used.input, used.cached, used.write_5m, used.write_1h, used.output)
    else:
        rates = _OPENAI[model.name, tier]
        counts = (used.input, used.cached, used.output)
    return sum((Decimal(rate) * count for rate, count in zip(rates, counts, strict=True)), Decimal(0)) / MILLION
