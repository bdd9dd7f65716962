"""What the book says of days to come, of days out of the usual, and of what was saved, as documents."""

import re
from decimal import Decimal
from typing import Any

import msgspec

from penstock.analytics import periods
from penstock.analytics.anomalies import WATCHED, Anomalies, Anomaly, anomalies
from penstock.analytics.forecast import forecast
from penstock.analytics.savings import USUAL, Terms
from penstock.analytics.savings_book import savings_of
from penstock.analytics.zones import zone
from penstock.dashboard.house import House, checked, number
from penstock.dashboard.words import iso
from penstock.errors import InputError
from penstock.ledger.followups import Followups, unfollowed

FILTERS = ("team", "app", "model")
FORECAST_FIELDS = ("days", "by", "team", "app", "model", "budget", "method", "time_zone", "sources")
ANOMALY_FIELDS = ("from", "by", "team", "app", "model", "floor", "detector", "time_zone", "sources")
SAVINGS_FIELDS = ("from", "to", "lever")


def names_of(text: str) -> tuple[str, ...]:
    """Split dimensions at their commas."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def dollars_of(fields: dict[str, str], name: str) -> Decimal | None:
    """Read an amount, if it is given: from zero on, below a trillion."""
    text = fields.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,12}(\.\d{1,12})?", text, re.ASCII):
        raise InputError(f"{name} must be dollars like 2.50, not {text[:100]!r}.")
    return Decimal(text)


def get_forecast(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/forecast`."""
    fields = checked(fields, FORECAST_FIELDS)
    names, time_zone = names_of(fields.get("by", "")), fields.get("time_zone", "UTC")
    found = forecast(
        house.source(fields), house.now(), days=number(fields, "days", 30, 366) if "days" in fields else None,
        by=names, time_zone=time_zone, method=fields.get("method", "drift"), amount=dollars_of(fields, "budget"),
        where=[(name, fields[name]) for name in FILTERS if name in fields],
    )  # fmt: skip
    document = msgspec.structs.asdict(found)
    document["from"], document["to"] = document.pop("since"), document.pop("until")
    document["budget"] = document.pop("limit")
    document["rows"] = [
        row.group | {name: getattr(row, name) for name in ("spent", "expected", "low", "high", "method")}
        for row in found.rows
    ]
    return document | {"by": names, "time_zone": time_zone}


def get_anomalies(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/anomalies`."""
    fields = checked(fields, ANOMALY_FIELDS)
    names = names_of(fields.get("by", ",".join(WATCHED)))
    now, time_zone = house.now(), fields.get("time_zone", "UTC")
    found = anomalies(
        house.source(fields), now, by=names, time_zone=time_zone, detector=fields.get("detector", "robust"),
        since=periods.since(fields["from"], now, zone(time_zone)) if "from" in fields else None,
        floor=dollars_of(fields, "floor"), where=[(name, fields[name]) for name in FILTERS if name in fields],
    )  # fmt: skip
    document = msgspec.structs.asdict(found)
    document["from"] = document.pop("since")
    where = {name: fields[name] for name in FILTERS if name in fields}
    document["anomalies"] = followed_anomalies(house, found, where)
    return document | {"by": names, "time_zone": time_zone}


def anomaly_id(one: Anomaly, where: dict[str, str]) -> str:
    """Name an anomaly by its grain, its begin and whose spend it is: the same however it is asked for."""
    scope = sorted((where | one.scope).items())
    whose = ",".join(f"{name}={value}" for name, value in scope) or "everything"
    return f"{one.grain}:{iso(one.since)}:{whose}"


def followed_anomalies(house: House, found: Anomalies, where: dict[str, str]) -> list[dict[str, Any]]:
    """Put what people made of them beside anomalies."""
    known = Followups(house.ledger.state).by_subject("anomaly")
    rows = []
    for one in found.anomalies:
        name = anomaly_id(one, where)
        now = known[name][-1] if name in known else unfollowed("anomaly", name)
        said = {"id": name, "status": now.status, "owner": now.owner, "note": now.note}
        rows.append(msgspec.structs.asdict(one) | said)
    return rows


def get_savings(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/savings`."""
    fields = checked(fields, SAVINGS_FIELDS)
    terms: Terms = house.info.get("terms", USUAL)
    since, until = periods.between(fields.get("from", ""), fields.get("to", ""), house.now())
    found = savings_of(house.ledger, since=since, until=until, terms=terms)
    return {
        "margin": terms.margin, "confidence": 1 - terms.alpha, "from": since, "to": until,
        "savings": [one for one in found if fields.get("lever", one.lever) == one.lever],
    }  # fmt: skip
