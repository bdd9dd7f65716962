"""The description of the API, made from the very shapes that it answers with."""

from typing import Any

import msgspec

from penstock import __version__
from penstock.analytics.requests import Explained, Request
from penstock.analytics.spend import DIMENSIONS, GRAINS, Early, Unpriced
from penstock.dashboard import prices, requests_

MONEY = {"type": "string", "pattern": r"^-?\d+(\.\d+)?$", "description": "US dollars, exact"}
COUNT = {"type": "integer"}
TIME = {"type": ["string", "null"], "format": "date-time"}
NEXT = {"type": ["string", "null"], "description": "Address of the following page"}
TIMES = "a date, a month, an ISO time, 36h, 7d, 4w, now, today, yesterday, week, month, year"


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    shapes = (Request, Explained, prices.Listed, Unpriced, Early)
    _, schemas = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        _all_present(schema)
    schemas["Error"] = _object(error=_object(code={"type": "string"}, message={"type": "string"}))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": __version__,
            "description": "What the ledger says. Money is a decimal string in US dollars, times are UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "components": {"schemas": schemas},
    }


def _paths() -> dict[str, Any]:
    filters = [_query(name, f"Keep requests with this {name.replace('_', ' ')}") for name in requests_.DIMENSIONS]
    times = [_query("from", f"First instant: {TIMES}"), _query("to", f"Last day, or first instant after: {TIMES}")]
    page = _query("page", "Number of the page, from 1", {"type": "integer", "minimum": 1})
    dimensions = ", ".join((*DIMENSIONS, *GRAINS))
    spend = [
        _query("by", f"Dimensions, separated by commas: {dimensions}, tag:NAME"),
        *times,
        _query("time_zone", "IANA name, for the grains of time; by default UTC"),
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
        "/api/prices": _get("Price rows in force", [*price, page], _object(
            books=_list({"type": "string"}), rows=_list(_ref("Listed")), count=COUNT, next=NEXT)),
        "/api/health": _get("Whether the ledger can be read", [], _object(
            status={"const": "ok"}, version={"type": "string"}, sandbox={"type": "boolean"})),
        "/api/openapi.json": _get("This document", [], {"type": "object"}),
    }  # fmt: skip


def _spend_document() -> dict[str, Any]:
    counts = {"events": COUNT, "requests": COUNT, "input_tokens": COUNT, "cached_tokens": COUNT, "output_tokens": COUNT}
    row = _object(**counts, cost=MONEY, unpriced_events=COUNT)
    row["additionalProperties"] = {"type": "string", "description": "A dimension of `by`"}
    whole = _object(
        **counts, total=MONEY, unpriced_events=COUNT, rows=_list(row), by=_list({"type": "string"}), to=TIME,
        time_zone={"type": "string"}, unpriced=_list(_ref("Unpriced")), stand_in_prices=_list(_ref("Early")),
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


def _query(name: str, description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


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
