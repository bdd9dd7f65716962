import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.dashboard.conftest import HOSTILE, NOW, RIGHT_TO_LEFT, Open, event, text, unpriced

from penstock.analytics.shared_costs import Chargeback, SharedCost
from penstock.ledger.followups import Followup, Followups
from penstock.ledger.state import STATE_FILE, State
from penstock.policies.budgets.rules import Budget, Rules


def test_an_empty_ledger_says_how_to_begin(browse: Open) -> None:
    page = text(browse().get("/", headers={"host": "penstock.example:4000"}).text)
    assert "Spend, last 30 days $0.00 0 requests · 0 tokens" in page
    assert "The ledger is empty. Point a client at this address ( http://penstock.example:4000/v1 )" in page
    assert "penstock import FILE" in page
    assert "The ledger holds no events before 2026-11-23 15:00" in page  # the forecast
    assert "Nothing was booked in this period, so there is nothing to be found in it." in page
    assert "no cheaper way" not in page


def test_one_event_stands_in_every_figure(browse: Open) -> None:
    # 1,000 x 2.50 + 200 x 1.25 + 300 x 10 dollars a million = 0.00575
    reply = browse([event(1)]).get("/")
    page = text(reply.text)
    assert "Spend, last 30 days $0.01 no comparison: the ledger begins on 2026-11-23 · 1 request · 1,500 tokens" in page
    assert "November to date $0.01 $0.01 of it today" in page
    assert 'title="$0.00575"' in reply.text
    assert "gpt-4o openai 1 1,200 16.7% 300 $0.005750" in page
    assert "support helpdesk 1 1,200 16.7% 300 $0.005750" in page
    assert "2026-11-23 $0.005750 $0.005750" in page


def test_calls_that_a_response_cache_answered_have_a_card(browse: Open) -> None:
    client = browse([event(1), event(2), event(3), event(4, decision="hit in Helicone's cache")])
    assert "From a response cache 25.0% answered without a provider" in text(client.get("/tokens").text)


def test_periods_are_counted_by_the_calendar_in_utc(browse: Open) -> None:
    ago = [timedelta(0), timedelta(hours=16), timedelta(days=6), timedelta(days=7), timedelta(days=23)]
    client = browse([event(n, ago=one) for n, one in enumerate(ago)])
    for period, count in (("today", 1), ("7d", 3), ("month", 4), ("30d", 5), ("last-month", 1)):
        page = client.get(f"/?period={period}").text
        assert re.findall(r"(\d+) requests? ·", page)[0] == str(count), period


def test_what_has_no_price_is_named_and_not_counted_as_nothing(browse: Open) -> None:
    page = text(browse([event(1), unpriced(2), unpriced(3)]).get("/").text)
    assert "2 events have no price , so the totals of this period leave them out: mystery at openai (2)" in page
    assert "4,500 tokens · 2 unpriced" in page
    assert "unknown mystery has no price unknown 2 events have no price" in page
    assert "mystery 2 unpriced openai 2 2,400 16.7% 600 unknown" in page


def test_the_period_is_chosen_in_the_address(browse: Open) -> None:
    client = browse([event(1, ago=timedelta(days=20))])
    page = client.get("/?period=7d")
    assert "Nothing was booked in this period. The ledger holds events from 2026-11-03 to 2026-11-03" in text(page.text)
    assert 'href="/?from=2026-10-05&amp;to=2026-11-03"' in page.text
    assert "gpt-4o" in client.get("/?from=2026-10-05&to=2026-11-03").text
    for wrong in ("period=8d", "dayz=7", "from=soon", "from=2026-11-03&to=2026-11-01", "from=2020"):
        assert client.get(f"/?{wrong}").status_code == 400, wrong


def test_more_models_than_colours_are_summed_up_as_others(browse: Open) -> None:
    page = text(browse([event(n, model=f"model-{n}") for n in range(10)]).get("/").text)
    assert "4 others" in page
    assert "model-9 openai" in page  # the table has them all


def test_a_long_list_leaves_the_rest_to_the_csv(browse: Open) -> None:
    client = browse([event(n, model=f"model-{n:02}") for n in range(18)])
    assert "3 more rows in the CSV" in text(client.get("/").text)
    assert client.get("/figures/summary/by-model-provider.csv").text.count("\n") == 19


def test_budgets_burn_by_what_the_ledger_says(browse: Open) -> None:
    rules = Rules(budgets=(Budget(dollars=Decimal("0.01")), Budget(dollars=Decimal(1), scope="team=support")))
    page = text(browse([event(1), event(2)], info={"rules": rules}).get("/").text)
    assert "Fullest budget 115.0% everything: $0.01 of $0.01 per month" in page
    assert re.search(r"everything month \$0.0100 \$0.0115 115.0% \S+ used up", page)
    assert "team=support month $1.0000 $0.0115 1.2%" in page


def test_dollars_are_held_against_outcomes(browse: Open) -> None:
    client = browse([event(1), event(2, ago=timedelta(days=1))])
    # 0.0115 dollars for 5 tickets
    assert "Unit cost: tickets $0.0023" in text(client.get("/").text)
    assert "Return on a dollar $217.39" in text(client.get("/?value_each=0.50").text)
    assert client.get("/?value_each=much").status_code == 400
    without = browse([], info={"metrics": None}).get("/").text
    assert "No business metric is known" in without


def test_what_to_do_first_is_what_the_recommendations_say_first(browse: Open, tmp_path: Path) -> None:
    failed = event(3, outcome="error", status=503, cost=Decimal(5), ago=timedelta(days=15))
    client = browse([event(1), failed, event(2, team="", cost=Decimal(3))])
    page, listed = client.get("/").text, client.get("/api/recommendations").json()["findings"]
    assert [one["kind"] for one in listed] == ["failed", "unattributed"]
    said = text(page)
    assert f"${Decimal(listed[0]['saving']):.2f} {listed[0]['title']} saving, measured {listed[0]['evidence']}" in said
    assert f"about ${Decimal(listed[1]['at_stake']):.2f} {listed[1]['title']} spent on it" in said
    assert page.index('href="/recommendations#finding-1"') < page.index('href="/recommendations#finding-2"')
    assert 'href="/requests?provider=openai&amp;model=gpt-4o&amp;outcome=error"' in page
    assert 'href="/requests?team=%28none%29"' in page
    state = State(tmp_path / STATE_FILE)
    Followups(state).add(Followup(kind="finding", subject=listed[0]["id"], status="dismissed", at=NOW, by="ada"))
    state.close()
    assert listed[0]["title"] not in text(client.get("/").text)


def test_a_forecast_says_how_little_it_knows(browse: Open) -> None:
    today = [event(n, ago=timedelta(hours=n)) for n in range(3)]
    client = browse(today)
    page = text(client.get("/").text)
    assert "Forecast – too little is booked to say" in page
    assert "No whole day is booked yet to learn from." in page
    before = [event(10 + n, ago=timedelta(days=n)) for n in range(1, 5)]
    longer = text(browse(before).get("/").text)
    assert "a guess: the history is short" in longer
    assert "take the interval as a guess" in longer


def test_today_is_held_against_as_much_of_yesterday(browse: Open) -> None:
    hours = [event(n, ago=timedelta(hours=n), cost=Decimal(1)) for n in range(1, 48)]  # a dollar an hour; it is 15:00
    client = browse(hours)
    assert "+0.0% against 22 Nov " in text(client.get("/?period=today").text)
    models = text(client.get("/models?period=today").text)
    assert "Against 22 Nov $0.00 from $15.00 (+0.0%)" in models
    assert "Against 22 Nov, up to the same time of day. The effects" in models


@pytest.mark.parametrize("value", ["1e30", "1e-400", "9" * 20, "-1", "NaN", "many"])
def test_an_outcome_is_worth_dollars_that_can_be(browse: Open, value: str) -> None:
    client = browse([event(1)])
    for address in (f"/?value_each={value}", f"/api/reports/unit?metric=tickets&value_each={value}"):
        reply = client.get(address)
        assert reply.status_code == 400
        assert "value_each must be dollars like 2.50" in reply.text


def test_a_period_before_the_ledger_began_is_compared_with_nothing(browse: Open) -> None:
    young = browse([event(1), event(2, ago=timedelta(days=40))])
    assert "no comparison: the ledger begins on 2026-10-14" in text(young.get("/").text)
    assert "Against 25 Sep to 24 Oct – no comparison: the ledger begins on 2026-10-14" in text(
        young.get("/models").text
    )
    whole = text(young.get("/?period=7d").text)
    assert "no comparison" not in whole
    assert young.get("/api/reports/change?from=30d").json()["ledger_begins"] == "2026-10-14T15:00:00Z"
    assert young.get("/api/reports/change?from=7d").json()["ledger_begins"] is None


def test_hostile_names_stay_names_on_every_page(browse: Open) -> None:
    hostile = {"team": HOSTILE, "app": RIGHT_TO_LEFT, "feature": HOSTILE, "user": HOSTILE, "run": HOSTILE}
    rules = Chargeback(shared=(SharedCost(name=HOSTILE, amount=Decimal(1)),))
    client = browse(
        [event(1, model=HOSTILE, deployment=HOSTILE, region=HOSTILE, **hostile), unpriced(2, model=HOSTILE, team="")],
        info={"chargeback": rules},
    )
    paths = ["/", "/models", "/chargeback", "/tokens", "/requests", "/runs", "/requests/req-1", "/requests/req-2"]
    asked = [(path, {}) for path in paths] + [(path, {"team": HOSTILE}) for path in paths[:6]]
    asked += [("/chargeback/statement", {"name": HOSTILE}), (f"/runs/{HOSTILE.replace('/', '%2F')}", {})]
    for path, fields in asked:
        reply = client.get(path, params=fields)
        assert reply.status_code == 200, path
        assert "<script>alert" not in reply.text, path
        assert "&lt;script&gt;alert(1)" in reply.text, path
    assert f'<bdi class="name" title="{RIGHT_TO_LEFT}">' in client.get("/tokens").text


def test_sandbox_traffic_is_labelled(browse: Open) -> None:
    client = browse([event(1, source="sample"), event(2, deployment="sandbox-openai"), event(3)], sandbox=True)
    assert "Sandbox traffic." in client.get("/").text
    assert client.get("/requests").text.count('<span class="badge sandbox">sandbox</span>') == 2
    assert "Sandbox traffic." not in browse().get("/").text
