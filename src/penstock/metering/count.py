"""A number of tokens, and how far it may be trusted."""

from typing import Literal

from msgspec import Struct

Method = Literal["exact", "reconstructed", "scaled", "estimated"]
"""The model's own vocabulary; one rebuilt from the API's answers; another's times a measured ratio; a guess."""

TRUST: tuple[Method, ...] = ("exact", "reconstructed", "scaled", "estimated")


class Count(Struct, frozen=True, gc=False):
    """Tokens of a text or a request. Counts add up: the weakest method stands, errors are weighted.

    No tokens with an error band stand for something that could not be seen: the sum is at least that uncertain.
    """

    tokens: int
    method: Method = "exact"
    error_band: float = 0.0
    """Relative error within which 95 of 100 counts lie: 0.2 means 20 % either way."""

    def __add__(self, other: "Count") -> "Count":
        """Add two counts."""
        tokens = self.tokens + other.tokens
        method = max(self.method, other.method, key=TRUST.index)
        error = (self.tokens * self.error_band + other.tokens * other.error_band) / tokens if tokens else 0.0
        unseen = max((part.error_band for part in (self, other) if not part.tokens), default=0.0)
        return Count(tokens, method, max(error, unseen))

    def rougher(self, band: float) -> "Count":
        """Return the same number, no longer exact and with `band` more of error."""
        return Count(self.tokens, max(self.method, "scaled", key=TRUST.index), self.error_band + band)
