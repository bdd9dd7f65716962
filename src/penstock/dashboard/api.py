"""What the pages show, as documents: money as decimal strings, times in UTC."""

from typing import Any

from penstock import __version__
from penstock.analytics import periods
from penstock.analytics.overlap import counted
from penstock.analytics.spend import SpendRow
from penstock.analytics.zones import zone
from penstock.dashboard import prices, request, requests_
from penstock.dashboard.documents import csv_of, encode
from penstock.dashboard.house import House, checked, number
from penstock.dashboard.reports import where_of
from penstock.dashboard.words import link
from penstock.errors import InputError

SPEND_FIELDS = ("by", "from", "to", "only", "time_zone", "sources", "format")


def get_spend(house: House, fields: dict[str, str]) -> tuple[str, bytes]:
    """Answer `/api/spend`: media type and body."""
    fields = checked(fields, SPEND_FIELDS)
    names = tuple(dict.fromkeys(name.strip() for name in fields.get("by", "").split(",") if name.strip()))
    form = fields.get("format", "json")
    if form not in ("json", "csv"):
        raise InputError(f"format must be json or csv, not {form!r}.")
    time_zone = fields.get("time_zone", "UTC")
    since, until = periods.between(fields.get("from", ""), fields.get("to", ""), house.now(), zone(time_zone))
    answer = counted(
        house.source(fields), by=names, since=since, until=until, time_zone=time_zone, where=where_of(fields)
    )
    found = answer.spend
    if form == "csv":
        return "text/csv; charset=utf-8", _csv(names, found.rows)
    document = {
        "total": found.total, "unpriced_events": found.unpriced_events, "rows": [_flat(row) for row in found.rows],
        "by": names, "from": since or found.first, "to": until or found.last, "time_zone": time_zone,
        "events": found.events, "requests": found.requests, "input_tokens": found.input_tokens,
        "cached_tokens": found.cached_tokens, "output_tokens": found.output_tokens, "unpriced": found.unpriced,
        "stand_in_prices": found.early, "left_out": answer.left_out, "recorded_twice": answer.twice,
    }  # fmt: skip
    return "application/json", encode(document)


def get_requests(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/requests`."""
    fields = checked(fields, requests_.FIELDS)
    page = number(fields, "page", 1, requests_.LAST)
    since, until = periods.between(fields.get("from", ""), fields.get("to", ""), house.now())
    where = [(name, fields[name]) for name in requests_.DIMENSIONS if name in fields]
    rows, more = requests_.listed(house, where, since, until, page)
    following = link("/api/requests", fields, page=str(page + 1)) if more else None
    return {"requests": rows, "next": following}


def get_request(house: House, request_id: str) -> dict[str, Any]:
    """Answer `/api/requests/{id}`."""
    explained = request.found(house, request_id)
    total, known = request.totals(explained)
    return {"request_id": request_id, "cost": total, "priced_part": known, "events": explained}


def get_prices(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/prices`."""
    fields = checked(fields, prices.FIELDS)
    page = number(fields, "page", 1, 10_000)
    rows = prices.chosen(house, fields)
    first = (page - 1) * prices.SIZE
    more = len(rows) > page * prices.SIZE
    return {
        "books": [book.id for book in prices.books(house)],
        "rows": [prices.listed(row, house.now()) for row in rows[first : first + prices.SIZE]],
        "count": len(rows),
        "next": link("/api/prices", fields, page=str(page + 1)) if more else None,
    }


def get_health(house: House) -> dict[str, Any]:
    """Answer `/api/health`; a ledger that cannot be read is an error."""
    house.ledger.manifest.newest()
    return {"status": "ok", "version": __version__, "sandbox": bool(house.info.get("sandbox"))}


def _flat(row: SpendRow) -> dict[str, Any]:
    counts = {name: getattr(row, name) for name in SpendRow.__struct_fields__ if name != "group"}
    return row.group | counts


def _csv(names: tuple[str, ...], rows: tuple[SpendRow, ...]) -> bytes:
    counts = [name for name in SpendRow.__struct_fields__ if name != "group"]
    listed = ([*(row.group[name] for name in names), *(getattr(row, name) for name in counts)] for row in rows)
    return csv_of([*names, *counts], listed).encode()
