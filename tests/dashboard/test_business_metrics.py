"""Business metrics by the API: an admin keeps them, a viewer reads them, and unit economics uses them."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient
from tests.dashboard.conftest import NOW, event
from tests.dashboard.test_api import fits

from penstock.dashboard.app import make_app
from penstock.dashboard.openapi import document
from penstock.ledger.store import Ledger
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import Role, VirtualKey

PATH = "/api/business-metrics"
ROWS = [
    {"date": "2026-11-22", "metric": "tickets", "value": 4, "team": "support"},
    {"date": "2026-11-23", "metric": "tickets", "value": "2.5", "team": "support"},
]


@pytest.fixture
def client(tmp_path) -> Iterator[TestClient]:
    with Ledger.open(tmp_path) as ledger:
        ledger.add([event(1)], source="gateway")
    with TestClient(make_app(tmp_path, now=lambda: NOW)) as opened:
        opened.headers["authorization"] = f"Bearer {secret(tmp_path, 'admin')}"
        yield opened


def secret(folder, role: Role) -> str:
    with Ledger.open(folder) as ledger:
        return KeyStore(ledger.state).create(VirtualKey(id="", name="", role=role, created=datetime.now(UTC)))[1]


def test_metrics_are_kept_once_and_listed(client):
    reply = client.post(PATH, json={"rows": ROWS})
    assert reply.json() == {"new": 2, "replaced": 0, "unchanged": 0}
    changed = [ROWS[0], ROWS[1] | {"value": 3.1}]
    assert client.post(PATH, json={"rows": changed}).json() == {"new": 0, "replaced": 1, "unchanged": 1}
    listed = client.get(f"{PATH}?metric=tickets&from=2026-11-23&to=2026-11-23").json()
    fits(listed, document()["paths"][PATH]["get"]["responses"]["200"]["content"]["application/json"]["schema"])
    assert listed["rows"] == [{"date": "2026-11-23", "metric": "tickets", "value": "3.1", "team": "support"}]
    assert listed["metrics"][0]["total"] == "7.1"


def test_unit_economics_uses_what_is_kept(client):
    assert client.get("/api/reports/unit").status_code == 404
    client.post(PATH, json={"rows": ROWS})
    found = client.get("/api/reports/unit?by=team&from=2026-11-23").json()
    assert (found["total"]["outcomes"], found["total"]["cost_per_outcome"]) == ("2.5", "0.002300000")


@pytest.mark.parametrize(("rows", "sentence"), [
    ([ROWS[0], {"date": "soon", "metric": "x", "value": 1}], "row 2: date: 'soon' is not a day"),
    ([{"date": "2026-11-22", "metric": "x", "value": "many"}], "row 1: value: 'many' is not a number"),
    ([{"date": "2026-11-22", "metric": "x", "value": True}], "row 1: value: True is not a number"),
    ([{"date": "2026-11-22", "value": 1}], "row 1: metric: it is missing"),
    ([ROWS[0] | {"colour": "red"}], "row 1: There is no dimension 'colour'"),
    ([ROWS[0], ROWS[0]], "row 2: tickets of 2026-11-22 is in row 1 already"),
    ([ROWS[0], {"date": "2026-11-23", "metric": "tickets", "value": 1}], "row 2: tickets is kept by team"),
    ("all", "The body cannot be used"),
])  # fmt: skip
def test_a_wrong_row_is_named_with_its_field_and_nothing_is_kept(client, rows, sentence):
    reply = client.post(PATH, json={"rows": rows})
    assert reply.status_code == 400
    assert sentence in reply.json()["error"]["message"]
    assert client.get(PATH).json()["rows"] == []


def test_only_an_admin_keeps_metrics(client, tmp_path):
    viewer = {"authorization": f"Bearer {secret(tmp_path, 'viewer')}"}
    assert client.post(PATH, json={"rows": ROWS}, headers=viewer).status_code == 403
    assert client.get(PATH, headers=viewer).status_code == 200
