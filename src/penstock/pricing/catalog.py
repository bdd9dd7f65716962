"""Every book in force, in order of precedence: the first layer that has a row for the key decides."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from penstock.pricing.book import PriceRow
from penstock.pricing.cost import Cost, cost_of
from penstock.pricing.usage import Usage


class PriceKey(Struct, frozen=True, kw_only=True):
    """What was served: the question that a catalog answers."""

    provider: str
    model: str
    version: str = ""
    deployment_type: str = "global"
    region: str = ""
    mode: str = "standard"


class Catalog:
    """Rows by key; built once, asked on every call."""

    def __init__(self, layers: Sequence[Sequence[PriceRow]]) -> None:
        self._layers = layers

    def identify(self, provider: str, served: str) -> tuple[str, str]:
        """Split the name that a reply gives (`gpt-4o-2024-08-06`) into plain model and version."""
        raise NotImplementedError

    def row(self, key: PriceKey, at: datetime, input_tokens: int = 0) -> PriceRow | None:
        """Find the row in force at `at` for a call with that many input tokens; None: no price is known."""
        raise NotImplementedError

    def price(self, key: PriceKey, usage: Usage, at: datetime) -> Cost:
        """Price `usage` as of `at`."""
        row = self.row(key, at, usage.input_tokens)
        if row is None:
            return Cost(state="unpriced", total=None, reason=f"no price for {key.model} at {key.provider}")
        return cost_of(usage, row)
