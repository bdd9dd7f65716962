import re
from datetime import timedelta

from tests.dashboard.conftest import HOSTILE, RIGHT_TO_LEFT, Open, event, text, unpriced


def test_an_empty_ledger_says_how_to_begin(browse: Open) -> None:
    page = text(browse().get("/").text)
    assert "Today $0.00 0 requests · 0 tokens" in page
    assert "Nothing was spent in these 30 days" in page
    assert "penstock import FILE" in page


def test_one_event_stands_in_every_figure(browse: Open) -> None:
    # 1,000 x 2.50 + 200 x 1.25 + 300 x 10 dollars a million = 0.00575
    reply = browse([event(1)]).get("/")
    page = text(reply.text)
    for card in ("Today", "Last 7 days", "November to date"):
        assert f"{card} $0.01 1 request · 1,500 tokens" in page
    assert 'title="$0.00575"' in reply.text
    assert "gpt-4o openai 1 1,200 16.7% 300 $0.005750" in page
    assert "support helpdesk 1 1,200 16.7% 300 $0.005750" in page
    assert "2026-11-23 $0.005750 $0.005750" in page


def test_today_the_week_and_the_month_are_counted_by_the_calendar_in_utc(browse: Open) -> None:
    days = [
        timedelta(0),
        timedelta(hours=16),
        timedelta(days=6),
        timedelta(days=7),
        timedelta(days=22),
        timedelta(days=23),
    ]
    reply = browse([event(n, ago=ago) for n, ago in enumerate(days)]).get("/").text
    counts = re.findall(r'<p class="sub">(\d+) requests?', reply)
    assert counts == ["1", "3", "5"]


def test_what_has_no_price_is_named_and_not_counted_as_nothing(browse: Open) -> None:
    page = text(browse([event(1), unpriced(2), unpriced(3)]).get("/").text)
    assert "2 events have no price , so the totals of these 30 days leave them out: mystery at openai (2)" in page
    assert "1,500 tokens" not in page.split("Spend per day")[0]  # the tokens of all three are counted
    assert "4,500 tokens · 2 unpriced" in page
    assert "mystery openai 2 unpriced 2 2,400 16.7% 600 unknown" in page


def test_the_period_is_chosen_in_the_address(browse: Open) -> None:
    client = browse([event(1, ago=timedelta(days=20))])
    assert "Nothing was spent in these 7 days" in text(client.get("/?days=7").text)
    assert "gpt-4o" in client.get("/?days=90").text
    assert client.get("/?days=0").status_code == 400
    assert client.get("/?dayz=7").status_code == 400


def test_more_models_than_colours_are_summed_up_as_others(browse: Open) -> None:
    page = text(browse([event(n, model=f"model-{n}") for n in range(10)]).get("/").text)
    assert "4 others" in page
    assert "model-9 openai" in page  # the table has them all


def test_a_long_list_leaves_the_rest_to_the_csv(browse: Open) -> None:
    page = text(browse([event(n, model=f"model-{n:02}") for n in range(15)]).get("/").text)
    assert "and 3 more; all of them as CSV" in page


def test_hostile_names_stay_names(browse: Open) -> None:
    events = [event(1, team=HOSTILE, model=HOSTILE, app=RIGHT_TO_LEFT), unpriced(2, model=HOSTILE, team="")]
    client = browse(events)
    for path in ("/", "/requests", "/requests/req-1", "/requests/req-2"):
        page = client.get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
    assert f'<bdi class="name" title="{RIGHT_TO_LEFT}">' in client.get("/").text


def test_sandbox_traffic_is_labelled(browse: Open) -> None:
    client = browse([event(1, source="sample"), event(2, deployment="sandbox-openai"), event(3)], sandbox=True)
    assert "Sandbox traffic." in client.get("/").text
    assert client.get("/requests").text.count('<span class="badge sandbox">sandbox</span>') == 2
    assert "Sandbox traffic." not in browse().get("/").text
