"""The pages that control and improve spending: what they say is what the API says, and only an admin changes things."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.dashboard.conftest import BOOK, HOSTILE, NOW, RIGHT_TO_LEFT, Open, event, text, unpriced

from penstock.dashboard.anomalies import when_of
from penstock.dashboard.app import make_app
from penstock.ledger.state import STATE_FILE, State
from penstock.ledger.store import Ledger
from penstock.policies.budgets.counters import UnavailableError
from penstock.policies.budgets.desk import Desk
from penstock.policies.budgets.rules import Budget, Limit, Rules
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import Role, VirtualKey
from penstock.pricing.catalog import Catalog

PATHS = ("/anomalies", "/budgets", "/recommendations", "/savings", "/plan", "/health")
RULES = Rules(budgets=(Budget(dollars=Decimal(1)), Budget(dollars=Decimal("0.001"), scope="team=*")))


def a_month(extra: int = 0) -> list[Any]:
    """Make a steady month, and one day that is far out of the usual."""
    events = [event(n, ago=timedelta(days=n // 40, minutes=n % 40), cost=Decimal("0.25")) for n in range(40 * 30)]
    return events + [
        event(10_000 + n, ago=timedelta(days=3), cost=Decimal(2), app="runaway", key="k") for n in range(extra)
    ]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[TestClient]:
    """The app over a month with a spike, with budgets; nobody has signed in."""
    with Ledger.open(tmp_path) as ledger:
        ledger.archive_book(BOOK)
        ledger.add([*a_month(100), unpriced(20_000)], source="test")
    info = {"desk": lambda state: Desk(state, tmp_path, RULES)}
    app = make_app(tmp_path, catalog=Catalog([BOOK]), info=info, now=lambda: NOW, patience=60)
    with TestClient(app, follow_redirects=False) as client:
        yield client


def signed_in(client: TestClient, folder: Path, role: Role) -> TestClient:
    state = State(folder / STATE_FILE)
    _, secret = KeyStore(state).create(VirtualKey(id="", name=f"the {role}", role=role, created=NOW))
    state.close()
    client.headers["authorization"] = f"Bearer {secret}"
    return client


@pytest.mark.parametrize("path", PATHS)
def test_every_page_holds_with_nothing_one_event_and_hostile_names(browse: Open, path: str) -> None:
    assert browse().get(path).status_code == 200
    page = browse([event(1, team=HOSTILE, app=RIGHT_TO_LEFT, model=HOSTILE, key=HOSTILE)]).get(path)
    assert page.status_code == 200
    assert "<script>alert" not in page.text


def test_an_anomaly_is_told_with_its_cause_and_followed_up_by_a_form(door: TestClient, tmp_path: Path) -> None:
    signed_in(door, tmp_path, "admin")
    found = door.get("/api/anomalies?by=key").json()["anomalies"]
    spike = next(one for one in found if one["since"] == "2026-11-20T00:00:00Z" and not one["scope"])
    assert (spike["observed"], spike["status"]) == ("210.00", "open")
    said = text(door.get("/anomalies").text)
    assert "20 Nov: spike of all spend" in said
    assert "app runaway ($200.00, usually $0.00)" in said
    form = {"subject": spike["id"], "status": "explained", "owner": "Ada", "note": "a <b>test</b> ran twice",
            "next": "/anomalies#anomaly-1"}  # fmt: skip
    assert door.post("/anomalies", data=form).headers["location"] == "/anomalies#anomaly-1"
    assert door.post("/anomalies", data=form | {"status": "acknowledged", "note": ""}).status_code == 303
    page = door.get("/anomalies").text
    assert "a &lt;b&gt;test&lt;/b&gt; ran twice" in page
    spike = next(one for one in door.get("/api/anomalies?by=key").json()["anomalies"] if one["id"] == spike["id"])
    assert (spike["status"], spike["owner"]) == ("acknowledged", "Ada")
    kept = door.get("/api/followups?kind=anomaly").json()["followups"]
    assert [(one["status"], one["by"]) for one in kept] == [("explained", "the admin"), ("acknowledged", "the admin")]


def test_a_followup_by_the_api_and_what_is_refused(door: TestClient, tmp_path: Path) -> None:
    signed_in(door, tmp_path, "admin")
    wish = {"kind": "finding", "subject": "unattributed", "status": "planned", "owner": "Bo"}
    assert door.post("/api/followups", json=wish).status_code == 201
    assert "Looked after by Bo" not in text(door.get("/recommendations").text)  # there is no such finding here
    for change, word in (({"kind": "rumour"}, "kind"), ({"status": "gone"}, "status"), ({"note": "x" * 2_001}, "note")):
        reply = door.post("/api/followups", json=wish | change)
        assert (reply.status_code, word in reply.json()["error"]["message"]) == (400, True)
    form = {"subject": "x", "status": "planned", "next": "https://example.com/"}
    assert door.post("/recommendations", data=form).headers["location"] == "/"  # never another site


@pytest.mark.parametrize("path", ["/anomalies", "/recommendations", "/budgets"])
def test_a_viewer_has_no_buttons_and_no_way_round_them(door: TestClient, tmp_path: Path, path: str) -> None:
    signed_in(door, tmp_path, "viewer")
    assert f'method="post" action="{path}"' not in door.get(path).text
    form = {"do": "freeze", "scope": "everything", "subject": "x", "status": "open"}
    assert door.post(path, data=form).status_code == 403
    assert door.post("/api/budgets/freeze", json={"scope": "everything"}).status_code == 403
    assert door.get("/api/budgets").json()["frozen"] == []


def test_a_form_of_another_site_does_nothing(door: TestClient, tmp_path: Path) -> None:
    signed_in(door, tmp_path, "admin")
    form = {"do": "freeze", "scope": "everything"}
    assert door.post("/budgets", data=form, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert door.get("/api/budgets").json()["frozen"] == []


def test_nobody_signed_in_changes_nothing(browse: Open) -> None:
    client = browse([event(1)])
    assert client.get("/budgets").status_code == 200
    assert client.post("/budgets", data={"do": "freeze", "scope": "everything"}).status_code == 403


def test_budgets_are_as_full_as_the_ledger_says(door: TestClient, tmp_path: Path) -> None:
    signed_in(door, tmp_path, "admin")
    spent = door.get("/api/spend?from=2026-11-01").json()["total"]
    document = door.get("/api/budgets").json()
    whole = next(one for one in document["budgets"] if one["scope"] == "everything")
    assert (Decimal(whole["spent"]), whole["state"], whole["limit"]) == (Decimal(spent), "used up", "1")
    assert (whole["begins"], whole["group"]) == ("2026-11-01T00:00:00Z", {})
    page = door.get("/budgets").text
    assert 'href="/requests?from=2026-11-01T00%3A00Z"' in page
    assert 'href="/requests?team=support&amp;from=2026-11-01T00%3A00Z"' in page
    rows = list(csv.DictReader(io.StringIO(door.get("/figures/budgets/budgets.csv").text)))
    assert Decimal(next(row["spent"] for row in rows if row["scope"] == "everything")) == Decimal(spent)


class _Gone:
    """Counters in a Redis that is not there."""

    async def made(self) -> Rules:
        raise UnavailableError("Redis cannot be asked: nobody answers.")

    async def close(self) -> None:
        pass


def test_without_redis_budgets_are_as_full_as_the_ledger_says(browse: Open, tmp_path: Path) -> None:
    client = browse([event(1)], info={"desk": lambda state: Desk(state, tmp_path, RULES, lambda _state: _Gone())})
    document = client.get("/api/budgets").json()
    assert document["note"] == "Redis cannot be asked: nobody answers. What is shown is what the ledger says."
    assert [(one["scope"], one["spent"]) for one in document["budgets"]] == [
        ("team=support", "0.00575"), ("everything", "0.00575"),
    ]  # fmt: skip
    for path in ("/", "/budgets"):
        assert "team=support" in text(client.get(path).text)


def test_an_admin_freezes_and_lets_go_on(door: TestClient, tmp_path: Path) -> None:
    signed_in(door, tmp_path, "admin")
    assert door.post("/budgets", data={"do": "freeze", "scope": "team=support"}).headers["location"] == "/budgets"
    assert "frozen team=support" in text(door.get("/budgets").text)
    assert "Spending of team=support is frozen" in text(door.get("/health").text)  # people are told
    assert door.post("/budgets", data={"do": "unfreeze", "scope": "team=support"}).status_code == 303
    assert door.get("/api/budgets").json()["frozen"] == []
    assert door.post("/api/budgets/freeze", json={"scope": "app=x"}).json() == {"frozen": "app=x"}
    assert door.post("/api/budgets/unfreeze", json={"scope": "app=y"}).status_code == 400
    for wrong in ({"do": "freeze"}, {"do": "freeze", "scope": "colour=red"}, {"do": "dance"}):
        reply = door.post("/budgets", data=wrong)
        assert reply.status_code == 400
        assert '<p><a href="/budgets">Budgets and keys</a></p>' in reply.text  # the way back to the form


def test_a_gateway_without_budgets_is_not_said_to_be_away(browse: Open, tmp_path: Path) -> None:
    client = browse(info={"desk": lambda state: Desk(state, tmp_path, Rules())})
    assert client.get("/api/budgets").json()["note"] == ""


def test_limits_are_said_with_their_times(browse: Open) -> None:
    limit = Limit(scope="team=support", requests_per_minute=1_000, concurrent=5)
    page = text(browse(info={"rules": Rules(limits=(limit, Limit(tokens_per_minute=9)))}).get("/budgets").text)
    assert "Limits: team=support 1,000 requests a minute, 5 calls at a time; everything 9 tokens a minute." in page


def test_a_key_is_made_rotated_and_revoked_and_its_secret_is_shown_once(door: TestClient, tmp_path: Path) -> None:
    signed_in(door, tmp_path, "admin")
    form = {"do": "create", "name": HOSTILE[:150], "role": "viewer", "expires": "2026-12-31"}
    page = door.post("/budgets", data=form).text
    assert "until 2027-01-01 00:00:00" in text(page)  # the last day is included
    today = {"do": "create", "name": "one day", "role": "viewer", "expires": f"{NOW:%Y-%m-%d}"}
    assert door.post("/budgets", data=today).status_code == 200
    secret = re.search(r"psk_[0-9a-z]{8}_\w{43}", page)
    assert secret is not None
    assert "<script>alert" not in page
    door.headers["authorization"] = f"Bearer {secret.group()}"
    assert door.get("/health").status_code == 200
    assert secret.group() not in door.get("/budgets").text
    signed_in_again = signed_in_as(door, tmp_path, "second")
    key = secret.group().split("_")[1]
    assert "psk_" in signed_in_again.post("/budgets", data={"do": "rotate", "id": key, "grace_hours": "0"}).text
    assert signed_in_again.post("/budgets", data={"do": "revoke", "id": key}).status_code == 303
    states = {one["id"]: one["state"] for one in signed_in_again.get("/api/keys").json()["keys"]}
    assert states[key] == "revoked"
    for wrong in ({"expires": "soon"}, {"expires": "2020-01-01"}, {"role": "king"}):
        assert signed_in_again.post("/budgets", data=form | {"name": "other"} | wrong).status_code == 400


def signed_in_as(client: TestClient, folder: Path, name: str) -> TestClient:
    state = State(folder / STATE_FILE)
    _, secret = KeyStore(state).create(VirtualKey(id="", name=name, role="admin", created=NOW))
    state.close()
    client.headers["authorization"] = f"Bearer {secret}"
    return client


def test_savings_of_the_cache_are_exact_and_nothing_counts_as_proven(browse: Open) -> None:
    client = browse([event(n) for n in range(1, 4)])
    document = client.get("/api/savings/realised").json()
    # 200 tokens of each were read at half of $2.50 a million.
    assert document["realised_total"] == "0.00075"
    assert client.get("/api/savings").json()["savings"] == []
    page = text(client.get("/savings").text)
    assert "No lever runs beside a control group yet, so nothing is proven." in page
    assert "realised by the provider's cache, not a lever" in page


def test_a_plan_is_worked_out_on_the_page_as_by_the_api(browse: Open) -> None:
    client = browse()
    asked = "provider=openai&model=gpt-4o&requests_per_day=10000&prefix_tokens=1024&prompt_hit_rate=1"
    document = client.get(f"/api/plan/cache?{asked}").json()
    assert document["prompt_cache_saving"] == "384.00"  # the guide's figure, if every call hits
    page = client.get(f"/plan?calculator=cache&{asked}")
    assert document["answer"] in text(page.text)
    command = "penstock plan cache --provider openai --model gpt-4o --requests-per-day 10000 --prompt-hit-rate 1"
    assert command in text(page.text)
    address = re.search(r'href="(/plan\?[^"]+)">Address of this plan', page.text)
    assert address is not None
    assert document["answer"] in text(client.get(address.group(1).replace("&amp;", "&")).text)


def test_an_input_that_cannot_be_used_is_told_beside_its_field(browse: Open) -> None:
    page = browse().get("/plan?calculator=cache&provider=openai&model=gpt-4oo&requests_per_day=many").text
    assert re.search(r'id="wrong-requests_per_day">&#39;many&#39; is not a number<', page)
    assert 'id="in-requests_per_day" name="requests_per_day"' in page
    assert 'aria-invalid="true" value="many"' in page
    page = browse().get("/plan?calculator=cache&provider=openai&model=gpt-4oo&requests_per_day=9").text
    assert re.search(r'id="wrong-model">no model [^<]*did you mean gpt-4o', page)
    assert browse().get("/plan?calculator=wish").status_code == 404
    assert browse().get("/plan?colour=red").status_code == 400


def test_a_plan_begins_with_the_ledgers_own_traffic(browse: Open) -> None:
    page = browse([event(n) for n in range(1, 31)]).get("/plan?calculator=cache").text
    assert "Filled in from the ledger: gpt-4o at openai" in text(page)
    assert 'name="requests_per_day" aria-describedby="about-requests_per_day wrong-requests_per_day" value="30"' in page


def test_recommendations_are_the_api_s(door: TestClient, tmp_path: Path) -> None:
    signed_in(door, tmp_path, "admin")
    found = door.get("/api/recommendations").json()["findings"]
    assert found[0]["kind"] == "unpriced"
    page = door.get("/recommendations").text
    for one in found:
        assert one["title"] in text(page)
        assert one["command"] in text(page)
    form = {"subject": found[0]["id"], "status": "done", "owner": "", "note": "priced", "next": "/recommendations"}
    assert door.post("/recommendations", data=form).status_code == 303
    after = door.get("/api/recommendations").json()["findings"]
    assert after[-1]["id"] == found[0]["id"]  # what is done goes last
    assert after[-1]["status"] == "done"


def test_a_span_of_hours_that_passes_midnight_names_both_days() -> None:
    late = NOW.replace(hour=22)
    assert when_of(late, late + timedelta(hours=1), "hour") == "23 Nov 22:00 to 23:00"
    assert when_of(late, late + timedelta(hours=3), "hour") == "23 Nov 22:00 to 24 Nov 01:00"


def test_health_says_what_the_store_holds(browse: Open) -> None:
    client = browse([event(1), unpriced(2)])
    document = client.get("/api/condition").json()
    assert (document["store"]["events"], document["unpriced"][0]["model"]) == (2, "mystery")
    said = text(client.get("/health").text)
    assert "1 event 1 model in 30 days" in said
    assert "test@1" in said
