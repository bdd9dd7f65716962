"""Business metrics by the API: list them, and (with an admin's key) keep them."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from penstock.analytics import periods
from penstock.analytics.unit_economics import from_rows
from penstock.dashboard.house import House, checked, number
from penstock.dashboard.words import link
from penstock.errors import InputError
from penstock.ledger.business_metrics import MetricStore, Observation

FIELDS = ("metric", "from", "to", "page")
SIZE = 1_000
"""Rows of a page."""
LONGEST_BODY = 1_048_576


class Metrics(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be kept."""

    rows: list[dict[str, Any]]
    """Each with `date`, `metric`, `value` (a number, or a decimal string) and dimensions: team, app, tag:NAME."""


def get_metrics(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `GET /api/business-metrics`."""
    fields = checked(fields, FIELDS)
    page, store = number(fields, "page", 1, 1_000_000), MetricStore(house.ledger.state)
    rows = store.all(
        metric=fields.get("metric", ""), since=_day(house, fields, "from"), until=_day(house, fields, "to"),
        limit=SIZE + 1, first=(page - 1) * SIZE,
    )  # fmt: skip
    more = len(rows) > SIZE
    return {
        "metrics": [asdict(one) for one in store.summaries()],
        "rows": [shown(one) for one in rows[:SIZE]],
        "next": link("/api/business-metrics", fields, page=str(page + 1)) if more else None,
    }


def put_metrics(house: House, body: bytes) -> dict[str, Any]:
    """Answer `POST /api/business-metrics`: keep all rows, or none."""
    try:
        wish = msgspec.json.Decoder(Metrics, float_hook=Decimal).decode(body)
    except msgspec.MsgspecError as error:
        raise InputError(f"The body cannot be used: {error}; it is like "
                         '{"rows": [{"date": "2026-03-14", "metric": "tickets", "value": 12}]}') from None  # fmt: skip
    return asdict(MetricStore(house.ledger.state).put(from_rows(wish.rows)))


def shown(one: Observation) -> dict[str, Any]:
    """Lay a metric out as rows have it."""
    return {"date": one.day, "metric": one.metric, "value": one.value} | one.group


def _day(house: House, fields: dict[str, str], name: str) -> date | None:
    """Read a day; `to` names the last one."""
    if name not in fields:
        return None
    if name == "from":
        return periods.since(fields[name], house.now()).date()
    return (periods.until(fields[name], house.now()) - timedelta(microseconds=1)).date()
