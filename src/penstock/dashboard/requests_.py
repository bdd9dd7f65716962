"""The explorer: requests, newest first, filtered by what stands in the address."""

from collections.abc import Sequence
from datetime import datetime

from penstock.analytics.requests import Request, latest
from penstock.dashboard.asked import SHARED, Asked
from penstock.dashboard.figure import Column, Figure, Row
from penstock.dashboard.house import House, number
from penstock.dashboard.page import Field, Page, Shown
from penstock.dashboard.words import STATES

SIZE = 50
"""Requests on a page."""
LAST = 100
"""Last page; whoever looks further back names a time."""
ALL = "all"
"""In place of a page's number, for its CSV: all pages."""
OWN = (
    "outcome", "price_state", "endpoint", "source", "status", "error", "finish_reason", "purpose", "decision", "page",
)  # fmt: skip
"""What the page's address may filter by, beside what all pages know."""
DIMENSIONS = (*(name for name in SHARED if name not in ("period", "from", "to")), *OWN[:-1])
FIELDS = (*DIMENSIONS, "from", "to", "page")
"""Of the API."""


def listed(
    house: House,
    where: Sequence[tuple[str, str]],
    since: datetime | None,
    until: datetime | None,
    page: int,
    *,
    size: int = SIZE,
) -> tuple[list[Request], bool]:
    """Return the requests of a page, newest first, and whether there are more."""
    moment, skip = house.ledger.moment(), (page - 1) * size
    found, more = latest(moment, where=where, since=since, until=until, limit=size, skip=skip)
    return found, more and page < LAST


def gather(house: House, asked: Asked) -> Shown:
    """Gather the page."""
    is_all = asked.fields.get("page") == ALL
    page = 1 if is_all else number(asked.fields, "page", 1, LAST)
    where = [*asked.where, *((name, asked.fields[name]) for name in OWN if name in asked.fields and name != "page")]
    rows, more = listed(house, where, asked.since, asked.until, page, size=SIZE * LAST if is_all else SIZE)
    return Shown(
        figures=[_figure(rows)],
        more={"rows": rows[:SIZE], "number": page, "more": more or is_all, "first": (page - 1) * SIZE + 1},
    )  # fmt: skip


def _figure(rows: Sequence[Request]) -> Figure:
    """Lay the rows out for the CSV; the page has a table of its own."""
    names = Request.__struct_fields__
    return Figure(
        name="requests", title="Requests", columns=tuple(Column(name, name) for name in names),
        rows=[Row(tuple(getattr(row, name) for name in names)) for row in rows],
    )  # fmt: skip


PAGE = Page(
    path="/requests", name="Requests", group="Usage", gather=gather, template="requests.html", own=OWN, live=True,
    fields=(
        Field("outcome", "Outcome", tuple((name, name) for name in ("ok", "error", "aborted", "refused"))),
        Field("price_state", "Price", tuple(STATES.items())),
    ),
)  # fmt: skip
