"""One request: its attempts, and how each price came about."""

from decimal import Decimal
from typing import Any

from penstock.analytics.requests import Explained, explain
from penstock.dashboard.house import House, NotFoundError

SOURCES = {
    "provider": "as the provider reported it",
    "counted": "counted here, exactly: the provider reported none",
    "estimated": "estimated here: the provider reported none",
    "none": "nothing was used",
}


def found(house: House, request_id: str) -> list[Explained]:
    """Return the events of a request, or say that there is none."""
    explained = explain(house.ledger, request_id)
    if not explained:
        raise NotFoundError(f"There is no request {request_id[:200]!r} in the ledger.")
    return explained


def totals(explained: list[Explained]) -> tuple[Decimal | None, Decimal]:
    """Return the request's cost (None: an attempt has no price) and the cost of what is priced."""
    settled = {one.event.corrects for one in explained if one.event.price_state != "unpriced"}
    known = sum((one.event.cost for one in explained if one.event.cost is not None), Decimal(0))
    is_open = any(
        one.event.price_state == "unpriced" and not one.event.corrects and one.event.id not in settled
        for one in explained
    )
    return None if is_open else known, known


def one_request(house: House, request_id: str) -> dict[str, Any]:
    """Gather the page."""
    explained = found(house, request_id)
    total, known = totals(explained)
    return {
        "here": "/requests", "request_id": request_id, "explained": explained, "first": explained[0].event,
        "total": total, "known": known, "attempts": sum(not one.event.corrects for one in explained),
        "input_tokens": sum(one.event.usage.input_tokens for one in explained),
        "output_tokens": sum(one.event.usage.output_tokens for one in explained),
        "usage_sources": SOURCES,
    }  # fmt: skip
