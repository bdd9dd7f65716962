"""How many tokens a text or a request has, by Penstock's own counters: what a provider's usage would be close to."""

from penstock.metering import counting
from penstock.metering.reading import Flavour


def count_text(model: str, text: str) -> int:
    """Count the tokens of a text."""
    return counting.count_text(model, text).tokens if text else 0


def count_request(flavour: Flavour, model: str, body: bytes) -> int:
    """Count the input tokens of a request's body; even an empty one is framed."""
    return max(1, counting.count_request(flavour, model, body).tokens)
