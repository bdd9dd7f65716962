"""The sandbox's own bill: what it would have charged, call by call."""

from decimal import Decimal
from typing import Any

from msgspec import Struct


class BillEntry(Struct, frozen=True, kw_only=True):
    """One billed call. `usage` is in the provider's own terms, `cost` exact dollars as a decimal string."""

    id: str
    request_id: str
    client_request_id: str
    """What the caller sent as `x-client-request-id`, to find a call again."""
    at: float
    """Seconds since 1970."""
    path: str
    model: str
    """The model that served, under its dated name."""
    deployment: str
    tier: str
    stream: bool
    aborted: bool
    """The stream was left or cut: only what had been sent is billed."""
    usage: dict[str, Any]
    cost: str


class Bill:
    """Entries in the order in which the calls ended."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.entries: list[BillEntry] = []

    @property
    def full(self) -> bool:
        """No room for another call."""
        return len(self.entries) >= self.limit

    def document(self) -> dict[str, Any]:
        """Return the whole bill with its totals."""
        models: dict[str, Decimal] = {}
        for entry in self.entries:
            models[entry.model] = models.get(entry.model, Decimal(0)) + Decimal(entry.cost)
        totals = {
            "calls": len(self.entries),
            "aborted": sum(entry.aborted for entry in self.entries),
            "cost": format(sum(models.values(), Decimal(0)), "f"),
            "cost_by_model": {model: format(cost, "f") for model, cost in sorted(models.items())},
        }
        return {"provider": "penstock-sandbox", "entries": self.entries, "totals": totals}
