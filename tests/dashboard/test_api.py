import csv
import io
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.dashboard.conftest import Open, event

from penstock.dashboard.openapi import document


def fits(value: Any, schema: dict[str, Any], place: str = "$") -> None:
    """Check a document against the parts of JSON Schema that the description uses."""
    if "$ref" in schema:
        return fits(value, document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]], place)
    if "anyOf" in schema:
        kinds = []
        for branch in schema["anyOf"]:
            try:
                return fits(value, branch, place)
            except AssertionError as error:
                kinds.append(error)
        raise AssertionError(kinds)
    if "enum" in schema:
        assert value in schema["enum"], place
    if "const" in schema:
        assert value == schema["const"], place
    kinds = schema.get("type", [])
    python = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}
    names = [kinds] if isinstance(kinds, str) else kinds
    assert not names or isinstance(value, tuple(python[name] for name in names)), (place, value, names)
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value), (place, set(schema["required"]) - set(value))
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            assert inner is not False, (place, name)
            fits(item, inner if isinstance(inner, dict) else {}, f"{place}.{name}")
    if isinstance(value, list):
        for n, item in enumerate(value):
            fits(item, schema.get("items", {}) if isinstance(schema.get("items"), dict) else {}, f"{place}[{n}]")
    return None


@pytest.mark.parametrize("path", [
    "/api/requests", "/api/requests/req-1", "/api/requests/req-2", "/api/spend", "/api/spend?by=model,day,tag:x",
    "/api/prices", "/api/health", "/api/openapi.json", "/api/requests?from=2030", "/api/requests/none",
    "/api/spend?by=colour",
])  # fmt: skip
def test_every_answer_fits_its_description(two: TestClient, path: str) -> None:
    bare = path.partition("?")[0]
    described = "/api/requests/{request_id}" if bare.startswith("/api/requests/") else bare
    responses = document()["paths"][described]["get"]["responses"]
    reply = two.get(path)
    schema = responses["200" if reply.status_code == 200 else "default"]["content"]["application/json"]["schema"]
    fits(reply.json(), schema)


def test_the_description_names_every_route_and_every_parameter(two: TestClient) -> None:
    client = two
    described = client.get("/api/openapi.json").json()
    assert described["openapi"] == "3.1.0"
    app: Any = client.app
    routes = {route.path.replace(":path", "") for route in app.routes if route.path.startswith("/api/")}
    assert set(described["paths"]) == routes
    for path, item in described["paths"].items():
        for parameter in item["get"]["parameters"]:
            if parameter["in"] == "query":
                value = {"page": "1", "format": "json", "by": "model", "time_zone": "UTC"}.get(parameter["name"], "now")
                assert client.get(f"{path}?{parameter['name']}={value}").status_code == 200, (path, parameter["name"])


def test_spend_is_exact_and_the_parts_make_the_whole(browse: Open) -> None:
    client = browse([event(n, team=f"t{n % 3}", cost=Decimal("0.000000000000000001") * n) for n in range(1, 10)])
    spent = client.get("/api/spend?by=team").json()
    assert spent["total"] == "0.000000000000000045"
    assert sum(Decimal(row["cost"]) for row in spent["rows"]) == Decimal(spent["total"])
    assert {row["team"] for row in spent["rows"]} == {"t0", "t1", "t2"}


def test_spend_as_csv_cannot_be_run_by_a_spreadsheet(browse: Open) -> None:
    client = browse([event(1, team="=1+1"), event(2, team='a,"b"\n', ago=timedelta(days=1))])
    reply = client.get("/api/spend?by=day,team&format=csv")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert [(row["day"], row["team"], row["cost"]) for row in rows] == [
        ("2026-11-22", 'a,"b"\n', "0.00575"), ("2026-11-23", "'=1+1", "0.00575"),
    ]  # fmt: skip


def test_time_is_cut_where_it_is_said(browse: Open) -> None:
    client = browse([event(1), event(2, ago=timedelta(days=3))])
    assert client.get("/api/spend?from=2026-11-23").json()["events"] == 1
    assert client.get("/api/spend?to=2026-11-20").json()["events"] == 1
    days = client.get("/api/spend?by=day&time_zone=Asia/Tokyo").json()["rows"]
    assert [row["day"] for row in days] == ["2026-11-21", "2026-11-23"]
    assert client.get("/api/spend?time_zone=Mars").status_code == 400


def test_an_unpriced_request_has_no_cost_in_the_document(two: TestClient) -> None:
    document = two.get("/api/requests/req-2").json()
    assert document["cost"] is None
    assert document["priced_part"] == "0"
    assert {row["cost"] for row in two.get("/api/requests").json()["requests"]} == {None, "0.00575"}


def test_money_never_passes_through_a_float(browse: Open) -> None:
    body = browse([event(1, cost=Decimal("0.1"))]).get("/api/requests/req-1").text
    numbers = [value for value in _values(json.loads(body)) if isinstance(value, float)]
    assert numbers == []


def _values(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [inner for item in value.values() for inner in _values(item)]
    if isinstance(value, list):
        return [inner for item in value for inner in _values(item)]
    return [value]
