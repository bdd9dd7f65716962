"""Reports beyond what was spent, as documents: `/api/reports/...`."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast, get_args

from msgspec.structs import asdict, replace

from penstock.analytics import periods
from penstock.analytics.bill import booked_bill
from penstock.analytics.change import change, document, rates_in
from penstock.analytics.chargeback import chargeback
from penstock.analytics.commitments import Term
from penstock.analytics.efficiency import efficiency
from penstock.analytics.failures import failures
from penstock.analytics.latency import latency
from penstock.analytics.ptu_use import offer_of, ptu_use
from penstock.analytics.reconcile import EXPLAINED, Effect, as_dollars, reconcile
from penstock.analytics.runs import iterations
from penstock.analytics.shared_costs import Chargeback
from penstock.analytics.unit_economics import Per, metrics_in, unit_economics
from penstock.analytics.zones import zone
from penstock.dashboard.house import House, NotFoundError, checked, number
from penstock.dashboard.outlook import dollars_of
from penstock.errors import InputError
from penstock.ledger.business_metrics import MetricStore, together
from penstock.planning.prices import Deployment
from penstock.pricing.catalog import Catalog

ASKED = ("by", "from", "to", "only", "time_zone", "sources")
CHANGE = (*ASKED, "against")
UNIT = (*ASKED, "metric", "per", "value_each", "value_metric", "cost_metric", "investment")
RUNS = (*ASKED, "longest")
CHARGEBACK = (*ASKED, "lines", "untagged")
PTU = ("model", "ptus", "term", "deployment_type", "region", "dollars_per_month", "from", "to", "only", "time_zone",
       "sources")  # fmt: skip
RECONCILE = ("bill", "from", "to", "only", "time_zone", "sources", "tolerance", "explained", "aside")


def get_change(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/reports/change`: why spend changed; without `from`, in the last seven days."""
    fields = checked(fields, CHANGE)
    by, since, until = _names(fields, "model"), *_bounds(house, fields)
    now, place = house.now(), zone(fields.get("time_zone", "UTC"))
    after = (since or periods.since("7d", now, place), until or now)
    _refuse_nothing(*after)
    against = fields.get("against")
    before = periods.named(against, now, place) if against else periods.previous(*after, place)
    ledger = house.ledger
    rates = rates_in(ledger, lambda: house.catalog)
    found = change(house.source(fields), by=by, before=before, after=after, rates=rates, where=where_of(fields))
    return document(found, by, before, after, periods.late_begin(ledger.moment().span(), before))


def get_chargeback(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/reports/chargeback`, by the rules of the settings."""
    fields = checked(fields, CHARGEBACK)
    since, until = _bounds(house, fields)
    rules: Chargeback = house.info.get("chargeback") or Chargeback()
    untagged = fields.get("untagged", rules.untagged)
    if untagged not in ("keep", "proportional", "even"):
        raise InputError(f"untagged must be keep, proportional or even, not {untagged!r}.")
    rules = replace(rules, by=fields.get("by", rules.by), untagged=untagged)
    lines = _names(fields, "model", "lines")
    found = chargeback(house.source(fields), rules, lines=lines, since=since, until=until, where=where_of(fields))
    statements = [asdict(one) | {"lines": [_flat(row) for row in one.lines]} for one in found.statements]
    return {"by": rules.by, "from": since, "to": until, **asdict(found), "statements": statements}


def get_tokens(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/reports/tokens`: how well tokens are used."""
    return _whole_and_rows(house, fields, efficiency)


def get_unit(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/reports/unit`, by the metrics that the ledger keeps, and those of the settings' file."""
    fields = checked(fields, UNIT)
    file: Path | None = house.info.get("metrics")
    observations = together(MetricStore(house.ledger.state).all(), metrics_in(file) if file else ())
    if not observations and file is None:
        raise NotFoundError(
            "There are no metrics: send them to POST /api/business-metrics, or name a file in [unit_economics] metrics "
            "of penstock.toml."
        )
    per = _one_of(fields, "per", get_args(Per), "all")
    by, (since, until) = _names(fields, ""), _bounds(house, fields)
    found = unit_economics(
        house.source(fields), observations, fields.get("metric", ""), by=by, per=cast("Per", per), since=since,
        until=until, time_zone=fields.get("time_zone", "UTC"), where=where_of(fields),
        value_each=dollars_of(fields, "value_each"), value_metric=fields.get("value_metric", ""),
        cost_metric=fields.get("cost_metric", ""),
        investment=dollars_of(fields, "investment") or Decimal(0),
    )  # fmt: skip
    return {
        "by": by,
        "per": per,
        **asdict(found),
        "total": _flat(found.total),
        "rows": [_flat(row) for row in found.rows],
    }


def get_errors(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/reports/errors`: how often attempts fail, and what that cost."""
    return _whole_and_rows(house, fields, failures)


def _whole_and_rows(house: House, fields: dict[str, str], question: Callable[..., Sequence[Any]]) -> dict[str, Any]:
    """Put a question whose answer is the whole first, then its groups."""
    fields = checked(fields, ASKED)
    by, (since, until) = _names(fields, "model"), _bounds(house, fields)
    found = question(house.source(fields), by=by, since=since, until=until, where=where_of(fields))
    rows = [_flat(row) for row in found]
    return {"by": by, "from": since, "to": until, "total": rows[0] if rows else None, "rows": rows[1:]}


def get_latency(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/reports/latency`: how long answers take, beside what they cost."""
    fields = checked(fields, ASKED)
    by, (since, until) = _names(fields, "model"), _bounds(house, fields)
    found = latency(house.source(fields), by=by, since=since, until=until, where=where_of(fields))
    return {"by": by, "from": since, "to": until, "rows": [_flat(row) for row in found]}


def get_runs(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/reports/runs`: how often agents go round."""
    fields = checked(fields, RUNS)
    by, (since, until) = _names(fields, "app"), _bounds(house, fields)
    longest = number(fields, "longest", 10, 1_000)
    found = iterations(house.source(fields), by=by, since=since, until=until, where=where_of(fields), limit=longest)
    return {
        "by": by, "from": since, "to": until, "rows": [_flat(row) for row in found.groups],
        "longest": [_flat(run) for run in found.longest], "without": found.without,
    }  # fmt: skip


def get_ptu(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/reports/ptu`: what provisioned capacity was used for; without `from`, in the last thirty days."""
    fields = checked(fields, PTU)
    for name in ("model", "ptus"):
        if name not in fields:
            raise InputError(f"{name} is needed, as in: model=gpt-4.1&ptus=100")
    since, until = _bounds(house, fields)
    now, place = house.now(), zone(fields.get("time_zone", "UTC"))
    since, until = since or periods.since("30d", now, place), min(until or now, now)
    _refuse_nothing(since, until)
    offer = offer_of(
        _catalog(house), fields["model"], until, region=fields.get("region", ""),
        deployment_type=cast("Deployment", _one_of(fields, "deployment_type", get_args(Deployment))),
        term=cast("Term", _one_of(fields, "term", get_args(Term), "month")),
        dollars_per_month=dollars_of(fields, "dollars_per_month"),
    )  # fmt: skip
    found = ptu_use(
        house.source(fields), offer.capacity, ptus=number(fields, "ptus", 1, 10_000_000),
        dollars_per_month=offer.dollars_per_month, rates=offer.by_token.rates, since=since, until=until,
        deployment_type=offer.deployment_type, where=where_of(fields),
    )  # fmt: skip
    return {
        "from": since, "to": until, "dollars_per_month": offer.dollars_per_month, "by_token": offer.by_token.id,
        **asdict(found),
    }  # fmt: skip


def get_reconcile(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `/api/reports/reconcile`: a bill that was imported against the ledger."""
    fields = checked(fields, RECONCILE)
    since, until = _bounds(house, fields)
    moment, time_zone = house.ledger.moment(), fields.get("time_zone", "UTC")
    bill = booked_bill(
        moment, fields.get("bill", "focus"), since=since, until=until, place=zone(time_zone),
        aside=_names(fields, "", "aside"),
    )  # fmt: skip
    found = reconcile(
        bill, house.source(fields), rates=rates_in(house.ledger, lambda: house.catalog), since=since, until=until,
        time_zone=time_zone, where=where_of(fields),
        explained=cast("tuple[Effect, ...]", _names(fields, ",".join(EXPLAINED), "explained")),
    )  # fmt: skip
    allowed = as_dollars(fields.get("tolerance", "0.01"), found.total.billed)
    document = asdict(found) | {"tolerance": allowed, "agrees": found.within(allowed)}
    return {"from": document.pop("since"), "to": document.pop("until")} | document


def _catalog(house: House) -> Catalog:
    if house.catalog is None:
        raise NotFoundError("There are no prices here: start the server with them.")
    return house.catalog


def _one_of(fields: dict[str, str], name: str, known: tuple[str, ...], default: str = "") -> str:
    value = fields.get(name, default or known[0])
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
    return value


def _names(fields: dict[str, str], default: str, field: str = "by") -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in fields.get(field, default).split(",") if name.strip()))


def _bounds(house: House, fields: dict[str, str]) -> tuple[datetime | None, datetime | None]:
    place = zone(fields.get("time_zone", "UTC"))
    return periods.between(fields.get("from", ""), fields.get("to", ""), house.now(), place)


def _refuse_nothing(since: datetime, until: datetime) -> None:
    if since >= until:
        raise InputError("from is not before now: there is no time between them.")


def where_of(fields: dict[str, str]) -> list[tuple[str, str]]:
    """Read `only=team=support,app=bot`."""
    found = [pair.partition("=") for pair in fields.get("only", "").split(",") if pair]
    if any(not sign for _, sign, _ in found):
        raise InputError("only takes dimensions and values, as in only=team=support,app=bot.")
    return [(name.strip(), value.strip()) for name, _, value in found]


def _flat(row: Any) -> dict[str, Any]:
    """Put the dimensions beside the figures."""
    group: dict[str, Any] = row.group
    return group | {name: value for name, value in asdict(row).items() if name != "group"}
