"""The description of the API, made from the very shapes that it answers with."""

from decimal import Decimal
from typing import Any, get_args

import msgspec

from penstock import __version__
from penstock.analytics.anomalies import Anomaly
from penstock.analytics.bill import BILLS, Aside
from penstock.analytics.change import Moved
from penstock.analytics.chargeback import Pool, Statement
from penstock.analytics.commitments import Term
from penstock.analytics.efficiency import Efficiency
from penstock.analytics.failures import Failures
from penstock.analytics.forecast import ForecastDay, Limit
from penstock.analytics.forecast_backtest import Backtest
from penstock.analytics.latency import Latency
from penstock.analytics.overlap import LeftOut, Twice
from penstock.analytics.ptu_use import PtuUse
from penstock.analytics.question import GRAINS
from penstock.analytics.realised import Realised
from penstock.analytics.reconcile import EXPLAINED, NAMES, Reconciled
from penstock.analytics.requests import Explained, Request
from penstock.analytics.runs import Run, Runs
from penstock.analytics.savings import Saving
from penstock.analytics.spend import DIMENSIONS, Early, Unpriced
from penstock.analytics.unit_economics import Gap, Unit
from penstock.dashboard import budgets, condition, followups, plan, prices, requests_
from penstock.dashboard.asked import DIMENSIONS as ASKED_DIMENSIONS
from penstock.dashboard.business_metrics import Metrics
from penstock.dashboard.keys import NewKey, Rotation, ShownKey
from penstock.ledger.business_metrics import Kept, Summary
from penstock.ledger.followups import Followup
from penstock.ledger.state import ImportRecord
from penstock.optimization.findings import Finding
from penstock.planning.prices import Deployment
from penstock.policies.budgets.status import Standing

MONEY = {"type": "string", "pattern": r"^-?\d+(\.\d+)?$", "description": "US dollars, exact"}
NUMBER = {"type": "string", "pattern": r"^-?\d+(\.\d+)?$", "description": "Exact"}
COUNT = {"type": "integer"}
TIME = {"type": ["string", "null"], "format": "date-time"}
NEXT = {"type": ["string", "null"], "description": "Address of the following page"}
REFERENCE = "#/components/schemas/{name}"
SOURCES = (
    "Which sources count where several recorded the same traffic: best (by default), all, or names in order of "
    "precedence"
)
TIMES = "a date, a month, an ISO time, 36h, 7d, 4w, now, today, yesterday, week, month, year"


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    answers = (
        Request, Explained, prices.Listed, Unpriced, Early, LeftOut, Twice, ShownKey, ForecastDay, Limit,
        Backtest, Anomaly, Moved, Standing, Finding, Followup, Realised, condition.BookAge, condition.Deployed,
        ImportRecord, Statement, Pool, Efficiency, Failures, Latency, Runs, Run, Unit, Gap, Aside, Reconciled,
        Summary, Kept, Saving,
    )  # fmt: skip
    _, schemas = msgspec.json.schema_components(answers, ref_template=REFERENCE)
    for schema in schemas.values():
        _all_present(schema)
    for name in ("Efficiency", "Failures", "Latency", "Run", "Runs", "SpendRow", "Unit"):
        _flat(schemas[name])
    schemas |= msgspec.json.schema_components(
        (NewKey, Rotation, Metrics, budgets.Scoped, followups.NewFollowup), ref_template=REFERENCE
    )[1]
    schemas["Error"] = _object(error=_object(code={"type": "string"}, message={"type": "string"}))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": __version__,
            "description": (
                "What the ledger says. Money is a decimal string in US dollars, times are UTC. Where a sign-in is "
                "needed, send a viewer's or an admin's key: Authorization: Bearer psk_..."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}, {}],
    }


def _paths() -> dict[str, Any]:
    filters = [_query(name, f"Keep requests with this {name.replace('_', ' ')}") for name in requests_.DIMENSIONS]
    times = [_query("from", f"First instant: {TIMES}"), _query("to", f"Last day, or first instant after: {TIMES}")]
    page = _query("page", "Number of the page, from 1", {"type": "integer", "minimum": 1})
    dimensions = ", ".join((*DIMENSIONS, *GRAINS))
    spend = [
        _query("by", f"Dimensions, separated by commas: {dimensions}, tag:NAME"),
        *times,
        _query("only", "Keep these values: team=support,app=bot"),
        _query("time_zone", "IANA name, for the grains of time; by default UTC"),
        _query("sources", SOURCES),
        _query("format", "json (by default) or csv", {"enum": ["json", "csv"]}),
    ]
    price = [
        _query("q", "Part of the model's name"),
        *(_query(name, f"Exact {label.lower()}") for name, label in prices.SELECTS),
    ]
    of_request = {"name": "request_id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "/api/requests": _get("Requests, newest first", [*filters, *times, page], _object(
            requests=_list(_ref("Request")), next=NEXT)),
        "/api/requests/{request_id}": _get("One request, and how its cost came about", [of_request], _object(
            request_id={"type": "string"}, cost=_or_null(MONEY), priced_part=MONEY, events=_list(_ref("Explained")))),
        "/api/spend": _get("What was spent, by any dimensions", spend, _spend_document(), csv=True),
        **_reports(times),
        **_control(),
        "/api/anomalies": _get("What was out of the usual, and what moved", _anomaly_fields(), _anomaly_document()),
        "/api/forecast": _get("What will be spent, with an interval", _forecast_fields(), _forecast_document()),
        "/api/savings": _get("What levers have saved, net of their own cost, and whether that is proven",
            [*times, _query("lever", "Only this lever")], _savings_document()),
        "/api/prices": _get("Price rows in force", [*price, page], _object(
            books=_list({"type": "string"}), rows=_list(_ref("Listed")), count=COUNT, next=NEXT)),
        "/api/business-metrics": _get(
            "Business metrics that the ledger keeps", [
                _query("metric", "Keep this metric"), *times, page,
            ], _object(metrics=_list(_ref("Summary")), rows=_list(_metric_row()), next=NEXT)) | _post(
            "Keep business metrics (admin); the same date, metric and dimensions replace what was kept", Metrics,
            _ref("Kept"), path=False),
        "/api/keys": _get("Keys, without their secrets", [], _object(keys=_list(_ref("ShownKey")))) | _post(
            "Make a key (admin)", NewKey, _object(key=_ref("ShownKey"), secret={"type": "string"}), "201"),
        "/api/keys/{id}/rotate": _post(
            "Give a key a new secret (admin)", Rotation,
            _object(key=_ref("ShownKey"), secret={"type": "string"}, old_secret_until=TIME)),
        "/api/keys/{id}/revoke": _post("End a key (admin)", None, _object(key=_ref("ShownKey"))),
        "/metrics": _metrics(),
        "/figures/{page}/{figure}.csv": _figure([*filters, *times]),
        "/chargeback/statement.pdf": _paper([_query("name", "Whose"), _query("payer", "What is charged"), *times]),
        "/api/health": _get("Whether the ledger can be read", [], _object(
            status={"const": "ok"}, version={"type": "string"}, sandbox={"type": "boolean"})),
        "/api/openapi.json": _get("This document", [], {"type": "object"}),
    }  # fmt: skip


def _metrics() -> dict[str, Any]:
    """Describe what Prometheus reads."""
    text = {"schema": {"type": "string"}}
    found = _get("Metrics for Prometheus", [], {"type": "string"})
    found["get"]["responses"]["200"]["content"] = {"text/plain": text, "application/openmetrics-text": text}
    return found


def _reports(times: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe the reports that ask more than what was spent."""
    asked = [
        _query("by", "Dimensions, separated by commas"),
        *times,
        _query("only", "Keep these values: team=support,app=bot"),
        _query("time_zone", "IANA name; by default UTC"),
        _query("sources", SOURCES),
    ]
    span = _object(**{"from": TIME, "to": TIME})
    line = _object(status={"enum": ["kept", "new", "gone"]}, **dict.fromkeys(_money_of(Moved), MONEY))
    line["additionalProperties"] = {"type": ["string", "integer"], "description": "Counts, and dimensions of `by`"}
    names, ends = _list({"type": "string"}), {"from": TIME, "to": TIME}
    return {
        "/api/reports/change": _get(
            "Why spend changed between two periods: effects that add up to the change",
            [*asked, _query("against", "The earlier period: a month, a week, or two ends: 2026-02-01..2026-02-14")],
            _object(by=names, before=span, after=span, ledger_begins=TIME, total=_ref("Moved"), lines=_list(line),
                    unpriced_before=COUNT, unpriced_after=COUNT, unknown_rates=COUNT)),
        "/api/reports/chargeback": _get(
            "Who pays what, by the rules of the settings",
            [*asked, _query("lines", "Dimensions of direct costs in a statement; by default model"),
             _query("untagged", "What happens to spend without a payer", {"enum": ["keep", "proportional", "even"]})],
            _object(by={"type": "string"}, **ends, statements=_list(_ref("Statement")), pools=_list(_ref("Pool")),
                    unpriced_events=COUNT,
                    **dict.fromkeys(("total", "ledger", "extra", "charged", "unallocated", "rounding"), MONEY))),
        "/api/reports/unit": _get(
            "What an outcome costs and earns, by the metrics of the file that the settings name",
            [*asked, _query("metric", "What counts as outcomes; by default the file's first metric"),
             _query("per", "A row for each", {"enum": ["day", "week", "month", "all"]}),
             _query("value_each", "Dollars that an outcome is worth"),
             _query("value_metric", "The metric that holds dollars of value"),
             _query("cost_metric", "The metric that holds dollars of other costs"),
             _query("investment", "Dollars spent once")],
            _object(by=names, per={"type": "string"}, metric={"type": "string"}, total=_ref("Unit"),
                    rows=_list(_ref("Unit")), missing=_list(_ref("Gap")), idle=COUNT, investment=MONEY,
                    payback_months=_or_null(MONEY))),
        "/api/reports/errors": _get(
            "How often attempts fail, why, and what that cost", asked,
            _object(by=names, **ends, total=_or_null(_ref("Failures")), rows=_list(_ref("Failures")))),
        "/api/reports/latency": _get(
            "How long answers take, beside what they cost", asked,
            _object(by=names, **ends, rows=_list(_ref("Latency")))),
        "/api/reports/runs": _get(
            "How often agents go round, and the longest runs",
            [*asked, _query("longest", "How many of the longest runs", {"type": "integer", "minimum": 1})],
            _object(by=names, **ends, rows=_list(_ref("Runs")), longest=_list(_ref("Run")), without=COUNT)),
        "/api/reports/ptu": _get(
            "What provisioned capacity was used for", _ptu_fields(asked[1:]), _ptu_document(ends)),
        "/api/reports/reconcile": _get(
            "A bill that was imported against the ledger: differences, and causes that add up to them",
            [_query("bill", "The bill's source; by default focus", {"enum": list(BILLS)}), *asked[1:],
             _query("tolerance", "Unexplained dollars, or share of the bill (0.5%), that are let pass; 0.01"),
             _query("explained", f"Effects that count as explained, of {', '.join(NAMES)}; by default "
                    f"{', '.join(EXPLAINED)}"),
             _query("aside", "Leave aside meters whose name holds one of these, separated by commas")],
            _reconcile_document(ends)),
        "/api/reports/tokens": _get(
            "How well tokens are used", asked,
            _object(by=names, **ends, total=_or_null(_ref("Efficiency")), rows=_list(_ref("Efficiency")))),
    }  # fmt: skip


def _ptu_fields(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        _query("model", "The model that the PTUs serve", required=True),
        _query("ptus", "PTUs that are deployed", {"type": "integer", "minimum": 1}, required=True),
        _query("term", "How they are paid; by default by the month", {"enum": list(get_args(Term))}),
        _query("deployment_type", "Where they are deployed; by default global", {"enum": list(get_args(Deployment))}),
        _query("region", "Region, where the price depends on it"),
        _query("dollars_per_month", "Price of one PTU for 730 hours; by default Azure's"),
        *asked,
    ]


def _ptu_document(ends: dict[str, Any]) -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components((PtuUse,), ref_template=REFERENCE)
    fields = schemas["PtuUse"]["properties"]
    return _object(**ends, dollars_per_month=MONEY, by_token={"type": "string"}, **fields)


def _reconcile_document(ends: dict[str, Any]) -> dict[str, Any]:
    text = {"type": "string"}
    return _object(
        **ends, bill=text, format=text, invoice=MONEY, aside=_list(_ref("Aside")), total=_ref("Reconciled"),
        meters=_list(_ref("Reconciled")), days=_list(_ref("Reconciled")), explained=_list({"enum": list(NAMES)}),
        unknown_rates=COUNT, flat_rate_tokens=COUNT, unfinished=COUNT, rejected=COUNT, examples=_list(text),
        notes=_list(text), tolerance=MONEY, agrees={"type": "boolean"},
    )  # fmt: skip


def _control() -> dict[str, Any]:
    """Describe what controls and improves spending."""
    text, kept = {"type": "string"}, [_query("period", "today, 7d, 30d (by default), 90d, month or last-month")]
    kept += [_query("from", f"First instant: {TIMES}"), _query("to", f"Last day, or first instant after: {TIMES}")]
    kept += [_query(name, f"Keep what has this {name.replace('_', ' ')}") for name in ASKED_DIMENSIONS]
    ends = {"from": TIME, "to": TIME}
    scope = _object(frozen=text)
    calculator = {"name": "calculator", "in": "path", "required": True, "schema": {"enum": list(plan.NAMES)}}
    inputs = [_query(name, "An input of the calculator, or who bills") for name in plan.OWN[1:]]
    answer = _object(calculator=text, inputs={"type": "object"}, answer=text)
    answer["additionalProperties"] = {"description": "The calculator's own figures, as `penstock plan` prints them"}
    return {
        "/api/budgets": _get("How far budgets are, and what is frozen", [], _object(
            budgets=_list(_with(Standing, thresholds=_list(COUNT), source=text)), frozen=_list(text),
            limits=_list({"type": "object"}), note=text, drift={"type": "boolean"})),
        "/api/budgets/freeze": _post("Stop all spending of a scope (admin)", budgets.Scoped, scope, path=False),
        "/api/budgets/unfreeze": _post(
            "Let a scope spend again (admin)", budgets.Scoped, _object(unfrozen=text), path=False),
        "/api/recommendations": _get("What to do next, found in one's own traffic", kept, _object(
            **ends, findings=_list(_with(Finding, status=text, owner=text, note=text)))),
        "/api/followups": _get(
            "What people made of anomalies and findings, every change",
            [_query("kind", "anomaly or finding", {"enum": ["anomaly", "finding"]}), _query("subject", "Its id")],
            _object(followups=_list(_ref("Followup"))),
        ) | _post("Give one a status, an owner, a note (admin)", followups.NewFollowup,
                  _object(followup=_ref("Followup")), "201", path=False),
        "/api/savings/realised": _get("What providers' own prices took off, exactly", kept, _object(
            **ends, realised=_list(_ref("Realised")), realised_total=MONEY,
            unknown_requests=COUNT)),
        "/api/plan/{calculator}": _get("What something would cost", [calculator, *inputs], answer),
        "/api/condition": _get("The condition of prices, store, deployments and alerts", [], _object(
            store={"type": "object"}, books=_list(_ref("BookAge")), deployments=_list(_ref("Deployed")),
            unpriced=_list(_ref("Unpriced")), alerts=_list({"type": "object"}), imports=_list(_ref("ImportRecord")),
            gateway=_or_null(_object(pid=COUNT, workers=COUNT)), redis={"type": "boolean"})),
    }  # fmt: skip


def _with(shape: type[Any], **more: Any) -> dict[str, Any]:
    """Describe a shape with more fields beside its own."""
    (_found,), schemas = msgspec.json.schema_components((shape,), ref_template=REFERENCE)
    schema: dict[str, Any] = schemas[shape.__name__]
    schema.pop("title", None)
    _all_present(schema)
    schema["properties"] |= more
    schema["required"] = list(schema["properties"])
    return schema


def _money_of(shape: type[Any]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(shape) if field.type is Decimal]


def _flat(schema: dict[str, Any]) -> None:
    """The dimensions of a group stand beside its figures."""
    del schema["properties"]["group"]
    schema["required"].remove("group")
    schema["additionalProperties"] = {"type": "string", "description": "A dimension of `by` or `lines`"}


def _spend_document() -> dict[str, Any]:
    counts = {"events": COUNT, "requests": COUNT, "input_tokens": COUNT, "cached_tokens": COUNT, "output_tokens": COUNT}
    row = _object(**counts, cost=MONEY, unpriced_events=COUNT)
    row["additionalProperties"] = {"type": "string", "description": "A dimension of `by`"}
    whole = _object(
        **counts, total=MONEY, unpriced_events=COUNT, rows=_list(row), by=_list({"type": "string"}), to=TIME,
        time_zone={"type": "string"}, unpriced=_list(_ref("Unpriced")), stand_in_prices=_list(_ref("Early")),
        left_out=_list(_ref("LeftOut")), recorded_twice=_list(_ref("Twice")),
    )  # fmt: skip
    whole["properties"]["from"] = TIME
    whole["required"].append("from")
    return whole


def _anomaly_fields() -> list[dict[str, Any]]:
    return [
        _query("from", f"Since when; by default 28d: {TIMES}"),
        _query("by", "Dimensions watched value by value beside the whole, separated by commas"),
        *(_query(name, f"Keep what has this {name}") for name in ("team", "app", "model")),
        _query("floor", "Excess in US dollars worth a word; by default a tenth of a usual day, at least 1"),
        _query("detector", "robust (by default) or 3x"),
        _query("time_zone", "IANA name, for days and hours; by default UTC"),
        _query("sources", SOURCES),
    ]


def _anomaly_document() -> dict[str, Any]:
    text = {"type": "string"}
    whole = _object(
        as_of=TIME, stale={"type": "boolean"}, detector=text, threshold={"type": "number"}, floor=MONEY,
        anomalies=_list(_with(Anomaly, id=text, status=text, owner=text, note=text)),
        judged_days=COUNT, judged_hours=COUNT,
        gaps=_list({"type": "string", "format": "date"}), too_little=text, unpriced_events=COUNT,
        unpriced=_list(_ref("Unpriced")), by=_list(text), time_zone=text,
    )  # fmt: skip
    whole["properties"]["from"] = TIME
    whole["required"].append("from")
    return whole


def _savings_document() -> dict[str, Any]:
    number = {"type": "number"}
    whole = _object(margin=number, confidence=number, to=TIME, savings=_list(_ref("Saving")))
    whole["properties"]["from"] = TIME
    whole["required"].append("from")
    return whole


def _forecast_fields() -> list[dict[str, Any]]:
    return [
        _query("days", "Days from now on; without it, to the end of the month", {"type": "integer", "minimum": 1}),
        _query("by", f"Dimensions, separated by commas: {', '.join(DIMENSIONS)}, tag:NAME"),
        *(_query(name, f"Keep what has this {name}") for name in ("team", "app", "model")),
        _query("budget", "US dollars not to pass in the period"),
        _query("method", "drift (by default), x30 or autotheta"),
        _query("time_zone", "IANA name, for the days; by default UTC"),
        _query("sources", SOURCES),
    ]


def _forecast_document() -> dict[str, Any]:
    row = _object(spent=MONEY, expected=MONEY, low=MONEY, high=MONEY, method={"type": "string"})
    row["additionalProperties"] = {"type": "string", "description": "A dimension of `by`"}
    text = {"type": "string"}
    whole = _object(
        as_of=TIME, to=TIME, stale={"type": "boolean"}, method=text, asked=text, reason=text, spent=MONEY,
        expected=MONEY, low=MONEY, high=MONEY, level={"type": "number"}, plain=MONEY, days=_list(_ref("ForecastDay")),
        rows=_list(row), history=COUNT, gaps=_list({"type": "string", "format": "date"}),
        backtest=_or_null(_ref("Backtest")), budget=_or_null(_ref("Limit")), unpriced_events=COUNT,
        unpriced=_list(_ref("Unpriced")), by=_list(text), time_zone=text,
    )  # fmt: skip
    whole["properties"]["from"] = TIME
    whole["required"].append("from")
    return whole


def _get(
    summary: str, parameters: list[dict[str, Any]], schema: dict[str, Any], *, csv: bool = False
) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if csv:
        content["text/csv"] = {"schema": {"type": "string"}}
    error = {"application/json": {"schema": _ref("Error")}}
    return {
        "get": {
            "summary": summary,
            "parameters": parameters,
            "responses": {
                "200": {"description": "The answer", "content": content},
                "default": {"description": "A sentence that says what is wrong", "content": error},
            },
        }
    }


def _metric_row() -> dict[str, Any]:
    row = _object(date={"type": "string", "format": "date"}, metric={"type": "string"}, value=NUMBER)
    row["additionalProperties"] = {"type": "string", "description": "A dimension: team, app, feature, tag:NAME"}
    return row


def _figure(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe the rows behind a figure of a page."""
    path = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in ("page", "figure")]
    content = {"text/csv": {"schema": {"type": "string"}}}
    return _answered(
        "A figure of a page as CSV, exactly; it takes the page's own fields", [*path, *parameters], content
    )


def _paper(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe the statement as PDF."""
    content = {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}
    return _answered("One payer's statement as PDF (takes the extra `pdf`)", parameters, content)


def _answered(summary: str, parameters: list[dict[str, Any]], content: dict[str, Any]) -> dict[str, Any]:
    responses = {"200": {"description": "The answer", "content": content}}
    return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}


def _post(
    summary: str, shape: type[Any] | None, schema: dict[str, Any], status: str = "200", *, path: bool = True
) -> dict[str, Any]:  # fmt: skip
    error = {"application/json": {"schema": _ref("Error")}}
    post: dict[str, Any] = {
        "summary": summary,
        "parameters": [],
        "responses": {
            status: {"description": "Done", "content": {"application/json": {"schema": schema}}},
            "default": {"description": "A sentence that says what is wrong", "content": error},
        },
    }
    if shape is not None:
        post["requestBody"] = {"content": {"application/json": {"schema": _ref(shape.__name__)}}}
    if path and status == "200":
        post["parameters"].append({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}})
    return {"post": post}


def _query(
    name: str, description: str, schema: dict[str, Any] | None = None, *, required: bool = False
) -> dict[str, Any]:
    query = {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}
    return query | {"required": True} if required else query


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _all_present(schema: dict[str, Any]) -> None:
    """Answers hold every field, whether it has a default or not."""
    if "properties" in schema:
        schema["required"] = list(schema["properties"])
        for field in schema["properties"].values():
            field.pop("default", None)
