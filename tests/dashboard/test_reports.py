"""Reports of the API that need a ledger of their own: PTUs, and bills."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.dashboard.conftest import NOW, event
from tests.dashboard.test_api import fits

from penstock.dashboard.app import make_app
from penstock.dashboard.openapi import document
from penstock.ledger.store import Ledger
from penstock.pricing.book import PriceRow, make_book
from penstock.pricing.catalog import Catalog
from penstock.pricing.usage import Usage

RATES = {"input": Decimal("0.000002"), "output": Decimal("0.000008")}
BOOK = make_book(
    "azure", "1",
    [PriceRow(provider="azure", model="gpt-4.1", valid_from=datetime(2025, 4, 14, tzinfo=UTC), rates=RATES)],
    title="Prices of a test",
)  # fmt: skip


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    """An hour of gpt-4.1 on PTUs and by the token, and the bill for the latter, which is too high by ten cents."""
    folder: Path = tmp_path_factory.mktemp("reports")
    plain = {"provider": "azure", "model": "gpt-4.1", "version": "", "price_book": BOOK.id}
    row = BOOK.rows[0].id
    with Ledger.open(folder) as ledger:
        ledger.archive_book(BOOK)
        on_ptus = event(1, deployment_type="global_ptu", price_state="flat_rate", cost=Decimal(0), **plain)
        usage = Usage(input=100_000, output=10_000)
        by_token = event(2, usage=usage, cost=Decimal("0.28"), price_row=row, **plain)
        ledger.add([on_ptus, by_token], source="gateway")
        bill = {"source": "focus", "price_state": "unpriced", "cost": None, "requests": 0} | plain
        ledger.add(
            [
                event(3, usage=Usage(input=100_000), provider_cost=Decimal("0.20"), **bill),
                event(4, usage=Usage(output=10_000), provider_cost=Decimal("0.18"), **bill),
                event(5, usage=Usage(), endpoint="tax", provider_cost=Decimal("0.07"), **bill),
            ],
            source="focus",
        )
    with TestClient(make_app(folder, catalog=Catalog([BOOK]), now=lambda: NOW)) as opened:
        yield opened


def answer(client: TestClient, path: str):
    """Return an answer that fits its description."""
    reply = client.get(path)
    assert reply.status_code == 200, reply.text
    responses = document()["paths"][path.partition("?")[0]]["get"]["responses"]
    fits(reply.json(), responses["200"]["content"]["application/json"]["schema"])
    return reply.json()


def test_ptus_are_held_against_the_price_by_the_token(client):
    found = answer(client, "/api/reports/ptu?model=gpt-4.1&ptus=15&from=1h&dollars_per_month=730")
    assert (found["requests"], found["minutes"], found["cost"]) == (1, 60, "15.000000")
    assert found["value"] == "0.004800"  # 1,000 and 200 cached tokens in at 2, 300 out at 8 dollars a million
    assert (found["spilled_requests"], found["spilled_cost"]) == (1, "0.28")


@pytest.mark.parametrize(("query", "sentence"), [
    ("", "model is needed"), ("model=gpt-4.1", "ptus is needed"), ("model=gpt-4.1&ptus=0", "ptus must be a number"),
    ("model=none&ptus=1", "cannot be provisioned"), ("model=gpt-4.1&ptus=1&term=week", "term must be one of"),
])  # fmt: skip
def test_what_ptus_cannot_be_asked_is_said(client, query, sentence):
    reply = client.get(f"/api/reports/ptu?{query}")
    assert reply.status_code == 400
    assert sentence in reply.json()["error"]["message"]


def test_an_imported_bill_is_held_against_the_ledger(client):
    found = answer(client, "/api/reports/reconcile?bill=focus")
    assert (found["total"]["billed"], found["total"]["ledger"], found["invoice"]) == ("0.38", "0.28", "0.45")
    assert found["total"]["effects"]["price"] == "0.10"
    assert found["agrees"] is True
    assert found["flat_rate_tokens"] == 1500
    strict = answer(client, "/api/reports/reconcile?explained=rounding&tolerance=5%25")
    assert (strict["agrees"], strict["tolerance"], strict["total"]["unexplained"]) == (False, "0.019", "0.10")


def test_a_bill_that_is_not_there_is_said(client):
    assert "no line" in client.get("/api/reports/reconcile?bill=openai_costs").json()["error"]["message"]
    assert "is no bill" in client.get("/api/reports/reconcile?bill=gateway").json()["error"]["message"]
    earlier = (NOW - timedelta(days=40)).date()
    assert client.get(f"/api/reports/reconcile?to={earlier}").status_code == 400
