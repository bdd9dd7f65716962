"""The explorer: requests, newest first, filtered by what stands in the address."""

from typing import Any

from penstock.analytics import periods
from penstock.analytics.requests import Request, requests
from penstock.dashboard.house import House, checked, number
from penstock.dashboard.words import STATES

SIZE = 50
"""Requests on a page."""
LAST = 100
"""Last page; whoever looks further back names a time."""
TEXTS = (("model", "Model"), ("team", "Team"), ("app", "App"), ("user", "User"))
SELECTS = (
    ("outcome", "Outcome", tuple((name, name) for name in ("ok", "error", "aborted", "refused"))),
    ("price_state", "State", tuple(STATES.items())),
)
DIMENSIONS = (
    *(name for name, _label in TEXTS), *(name for name, _label, _choices in SELECTS), "feature", "provider",
    "deployment", "endpoint", "source", "run", "key", "status", "error",
)  # fmt: skip
"""What an address may filter by; the form shows the first six."""
FIELDS = (*DIMENSIONS, "from", "to", "page")


def listed(house: House, fields: dict[str, str]) -> tuple[list[Request], int, bool]:
    """Return the requests of the page that the fields name, its number, and whether there are more."""
    page = number(fields, "page", 1, LAST)
    now = house.now()
    since = periods.since(fields["from"], now) if "from" in fields else None
    until = periods.until(fields["to"], now) if "to" in fields else None
    where = [(name, fields[name]) for name in DIMENSIONS if name in fields]
    found = requests(
        house.ledger.table(since=since, until=until), where=where, since=since, until=until, limit=page * SIZE + 1
    )
    return found[(page - 1) * SIZE : page * SIZE], page, len(found) > page * SIZE and page < LAST


def explorer(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Gather the page."""
    fields = checked(fields, FIELDS)
    rows, page, more = listed(house, fields)
    fields.pop("page", None)
    return {
        "here": "/requests", "fields": fields, "text_fields": TEXTS, "select_fields": SELECTS, "rows": rows,
        "page": page, "more": more, "first": (page - 1) * SIZE + 1,
    }  # fmt: skip
