import csv
import io
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.dashboard.conftest import Open, event

from penstock.dashboard.doorkeeper import for_programs
from penstock.dashboard.openapi import document

VALUES = {
    "page": "1", "format": "json", "by": "app", "time_zone": "UTC", "days": "1", "budget": "1", "method": "drift",
    "floor": "1", "detector": "3x", "team": "support", "app": "helpdesk", "model": "gpt-4o", "only": "team=support",
    "lines": "app", "untagged": "even", "longest": "3", "metric": "tickets", "per": "day", "value_each": "2.50",
    "period": "7d", "kind": "anomaly", "value_metric": "tickets", "cost_metric": "tickets", "investment": "9",
    "sources": "all", "from": "7d",
}  # fmt: skip
"""What parameters are given; the others are times."""
NEEDS_MORE = ("/api/reports/ptu", "/api/reports/reconcile")
"""Reports of which this ledger knows nothing; they have tests of their own."""


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
    python = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
              "boolean": bool, "null": type(None)}  # fmt: skip
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
    "/api/prices", "/api/keys", "/api/health", "/api/openapi.json", "/api/requests?from=2030", "/api/requests/none",
    "/api/reports/change", "/api/reports/change?from=2026-11&by=team,model",
    "/api/reports/chargeback?lines=model,app", "/api/reports/tokens?by=app", "/api/reports/tokens?from=2030",
    "/api/reports/unit", "/api/reports/unit?by=app&per=day&value_each=2.5", "/api/reports/unit?metric=orders",
    "/api/reports/errors", "/api/reports/errors?by=app&from=2030", "/api/reports/latency", "/api/reports/runs?by=team",
    "/api/reports/change?by=colour", "/api/reports/ptu", "/api/reports/reconcile",
    "/api/spend?by=colour", "/api/forecast", "/api/forecast?days=30&by=team&budget=5", "/api/forecast?budget=much",
    "/api/budgets", "/api/recommendations", "/api/recommendations?period=7d&team=support", "/api/followups",
    "/api/followups?kind=rumour", "/api/savings", "/api/savings?from=2030",
    "/api/savings/realised", "/api/savings/realised?from=2030", "/api/condition",
    "/api/plan/cache?provider=openai&model=gpt-4o&requests_per_day=100", "/api/plan/cache?model=gpt-4o",
    "/api/plan/wish", "/api/anomalies", "/api/anomalies?from=7d&by=key&floor=0", "/api/anomalies?detector=magic",
])  # fmt: skip
def test_every_answer_fits_its_description(two: TestClient, path: str) -> None:
    bare = path.partition("?")[0]
    described = "/api/requests/{request_id}" if bare.startswith("/api/requests/") else bare
    described = "/api/plan/{calculator}" if bare.startswith("/api/plan/") else described
    responses = document()["paths"][described]["get"]["responses"]
    reply = two.get(path)
    schema = responses["200" if reply.status_code == 200 else "default"]["content"]["application/json"]["schema"]
    fits(reply.json(), schema)


def test_the_description_names_every_route_and_every_parameter(two: TestClient) -> None:
    client = two
    described = client.get("/api/openapi.json").json()
    assert described["openapi"] == "3.1.0"
    app: Any = client.app
    routes = {route.path.replace(":path", "") for route in app.routes if for_programs(route.path)}
    routes |= {
        route.path.replace(":path", "") for route in app.routes if route.path.startswith(("/figures/", "/chargeback/"))
    }
    assert set(described["paths"]) == routes - {"/chargeback/statement"}  # a page
    for path, item in described["paths"].items():
        if not path.startswith("/api/"):
            continue
        for parameter in item.get("get", {}).get("parameters", ()):
            if parameter["in"] == "query" and path.startswith("/api/") and "{" not in path:
                value = VALUES.get(parameter["name"], "now")
                reply = client.get(f"{path}?{parameter['name']}={value}")
                if path in NEEDS_MORE:
                    assert "There is no field" not in reply.text, (path, parameter["name"])
                else:
                    assert reply.status_code == 200, (path, parameter["name"])


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


@pytest.mark.parametrize(
    "path", ["spend", "requests", "savings", "reports/change", "reports/chargeback", "reports/tokens", "reports/errors",
             "reports/latency", "reports/runs", "reports/unit", "reports/ptu", "reports/reconcile"],
)  # fmt: skip
def test_times_the_wrong_way_round_are_refused_and_not_empty(two: TestClient, path: str) -> None:
    reply = two.get(f"/api/{path}?from=2026-11-23&to=2026-11-20" + ("&model=gpt-4.1&ptus=1" if "ptu" in path else ""))
    assert reply.status_code == 400
    assert "no time between 2026-11-23 and 2026-11-20" in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["change?", "ptu?model=gpt-4.1&ptus=1&"])
def test_what_ends_now_cannot_begin_later(two: TestClient, path: str) -> None:
    reply = two.get(f"/api/reports/{path}from=2027-01-01")
    assert (reply.status_code, reply.json()["error"]["message"]) == (
        400, "from is not before now: there is no time between them.",
    )  # fmt: skip


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


def test_why_spend_changed_adds_up(browse: Open) -> None:
    client = browse([event(1), event(2), event(3, ago=timedelta(days=9))])
    found = client.get("/api/reports/change?by=team").json()
    [line] = found["lines"]
    assert (line["team"], line["volume"], line["change"]) == ("support", "0.00575", "0.00575")
    assert found["total"]["before"] == "0.00575"


def test_a_chargeback_holds_what_the_ledger_holds(browse: Open) -> None:
    client = browse([event(1, team="a"), event(2, team="b"), event(3, team="")])
    found = client.get("/api/reports/chargeback?untagged=even").json()
    assert {one["name"]: one["total"] for one in found["statements"]} == {"a": "0.008625", "b": "0.008625"}
    assert (found["total"], found["unallocated"]) == ("0.01725", "0.00")
    assert client.get("/api/reports/chargeback?untagged=some").status_code == 400
    assert client.get("/api/reports/chargeback?only=team").status_code == 400


def test_tokens_are_told_of_the_whole_and_of_each_group(browse: Open) -> None:
    client = browse([event(1), event(2, app="web", outcome="error")])
    found = client.get("/api/reports/tokens?by=app").json()
    assert {row["app"]: row["wasted"] for row in found["rows"]} == {"helpdesk": "0.00", "web": "0.00575"}
    assert found["total"]["cached_share"] == "0.166667"


def test_outcomes_are_held_against_the_spend_of_their_days(browse: Open) -> None:
    client = browse([event(1), event(2, ago=timedelta(days=2))])
    found = client.get("/api/reports/unit?value_each=0.50&by=app").json()
    # Two days with 5 tickets, one of them with spend ($0.00575): $2.50 of value.
    assert (found["total"]["cost_per_outcome"], found["total"]["value"], found["idle"]) == ("0.001150000", "2.50", 1)
    assert [row["app"] for row in found["rows"]] == ["helpdesk"]
    for wrong in ("metric=orders", "per=year", "value_each=much", "by=team"):
        assert client.get(f"/api/reports/unit?{wrong}").status_code == 400
