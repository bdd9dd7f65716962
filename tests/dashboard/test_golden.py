"""What every page says over one ledger, to the letter: a change shows as a difference. Renew: PENSTOCK_GOLDEN=new."""

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.dashboard.conftest import event, opened, text, unpriced

from penstock.analytics.shared_costs import Chargeback, SharedCost
from penstock.dashboard.pages import PAGES
from penstock.metering.event import UsageEvent
from penstock.policies.budgets.rules import Budget, Rules
from penstock.pricing.usage import Usage

GOLDEN = Path(__file__).parent / "golden"
VISITS = {
    **{page.slug: page.path for page in PAGES if page.listed},
    "chargeback-statement": "/chargeback/statement?name=support",
    "summary-of-a-team": "/?team=finance&period=month&value_each=2",
    "request": "/requests/req-1003",
    "run": "/runs/night-7",
}


def traffic() -> Iterator[UsageEvent]:
    """Forty days of two teams, and whatever else a page can speak of."""
    for n in range(40):
        day = timedelta(days=n, hours=1)
        yield event(n, ago=day, user=f"u{n % 3}", feature="answer")
        if n % 2:
            yield event(100 + n, ago=day, team="finance", app="close", usage=Usage(input=4_000, output=100 + n))
        if n % 5 == 0:
            yield event(200 + n, ago=day, model="gpt-4o-mini", cost=Decimal("0.001"), deployment="eu", region="eu")
    yield unpriced(1_000)
    yield event(1_001, team="", app="", cost=Decimal("0.02"), finish_reason="length", ago=timedelta(days=3))
    yield event(
        1_002,
        request_id="req-1003",
        outcome="error",
        status=503,
        error="http_503",
        cost=Decimal("0.004"),
        run="night-7",
    )
    yield event(1_003, attempt=2, purpose="retry", run="night-7", tool_calls=2, decision="eu#2")
    yield event(1_004, run="night-7", app="agent", usage=Usage(input=9_000, output=10), ago=timedelta(seconds=30))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    info = {
        "rules": Rules(budgets=(Budget(dollars=Decimal(1)), Budget(dollars=Decimal("0.1"), scope="team=*"))),
        "chargeback": Chargeback(shared=(SharedCost(name="platform", amount=Decimal(9)),)),
    }
    with opened(tmp_path_factory.mktemp("golden"), traffic(), info=info) as client:
        yield client


@pytest.mark.parametrize("name", sorted(VISITS))
def test_a_page_says_what_it_said(client: TestClient, name: str) -> None:
    reply = client.get(VISITS[name])
    assert reply.status_code == 200
    said = text(reply.text.partition('<main id="content"')[2].partition("</main>")[0].partition(">")[2])
    lines = re.sub(r" (?=The same as a table|Download as CSV)", "\n", said) + "\n"
    lines = re.sub(r"(?<=written )\S+ \S+(?= UTC)|(?<=events, )\S+(?= MB)", "...", lines)  # the file system's own
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("PENSTOCK_GOLDEN") == "new":
        file.parent.mkdir(exist_ok=True)
        file.write_text(lines, "utf-8")
    assert lines == file.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.slug)
def test_every_figure_has_a_csv(client: TestClient, page) -> None:
    query = "?name=support" if page.path == "/chargeback/statement" else ""
    found = re.findall(r'href="(/figures/[^"]+\.csv[^"]*)"', client.get(page.path + query).text)
    for address in found:
        reply = client.get(address.replace("&amp;", "&"))
        assert reply.status_code == 200, address
        head, *rows = reply.text.splitlines()
        assert rows
        assert all(row.count(",") >= head.count(",") for row in rows)


def test_the_figures_are_those_of_the_api(client: TestClient) -> None:
    bounds = "from=2026-10-25&to=2026-11-23"
    for figure, by in (("models/by-model-provider", "model,provider"), ("chargeback/by-user", "user"),
                       ("summary/by-team-app", "team,app")):  # fmt: skip
        for only in ("", "team=support"):
            rows = client.get(f"/figures/{figure}.csv?{bounds}&{only}").text.splitlines()[1:]
            spent = client.get(f"/api/spend?by={by}&{bounds}&only={only}").json()["rows"]
            names = by.split(",")
            ours = [row.split(",") for row in rows]
            assert [row[: len(names)] for row in ours] == [[row[name] for name in names] for row in spent]
            known = [row["cost"] if row["cost"] != "0.00" or not row["unpriced_events"] else "" for row in spent]
            assert [row[-2] for row in ours] == known
    statements = client.get("/figures/chargeback/statements.csv").text.splitlines()[1:]
    charged = client.get(f"/api/reports/chargeback?{bounds}").json()["statements"]
    assert [row.split(",")[4] for row in statements] == [one["total"] for one in charged]


def test_an_unknown_figure_names_those_that_there_are(client: TestClient) -> None:
    reply = client.get("/figures/models/nothing.csv")
    assert reply.status_code == 404
    assert "there are change, per-day, by-model-provider" in reply.text
    assert client.get("/figures/nothing/at-all.csv").status_code == 404
