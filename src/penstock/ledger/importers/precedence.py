"""Which of two records of the same traffic counts: the gateway's, then logs, then aggregates, then bills."""

from collections.abc import Sequence

from penstock.ledger.importers.formats import FORMATS

LEVELS = ("gateway", "log", "aggregate", "bill")
"""From what saw each call itself to what only names a sum."""

KINDS = {"gateway": "gateway"} | {name: format_.kind for name, format_ in FORMATS.items()}
"""Source of events -> its level."""


def rank(source: str, order: Sequence[str] = ()) -> int:
    """Return the rank of a source, the best being the lowest; sources in `order` come first, each alone."""
    if source in order:
        return order.index(source) - len(order)
    return LEVELS.index(KINDS.get(source, "log"))
