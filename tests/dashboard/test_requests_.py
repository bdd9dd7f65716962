import csv
import io
import re
from datetime import timedelta

import pytest
from starlette.testclient import TestClient
from tests.dashboard.conftest import Open, event, text, unpriced

from penstock.pricing.usage import Usage


def test_all_that_fit_can_be_downloaded(browse: Open) -> None:
    client = browse([event(n, ago=timedelta(minutes=n), team="a" if n % 2 else "b") for n in range(120)])
    page = client.get("/requests?team=a").text
    address = re.search(r'href="(/figures/requests/requests[.]csv[^"]*)"', page)
    assert address is not None
    rows = list(csv.DictReader(io.StringIO(client.get(address[1].replace("&amp;", "&")).text)))
    assert [row["request_id"] for row in rows] == [f"req-{n}" for n in range(1, 120, 2)]
    assert rows[0]["cost"] == "0.00575"
    assert client.get("/requests?page=all").text.count('<th scope="row">') == 50


def test_an_empty_ledger_says_how_to_begin(browse: Open) -> None:
    page = text(browse().get("/requests").text)
    assert "The ledger is empty." in page
    assert "penstock import FILE" in page


def test_requests_stand_newest_first_with_their_exact_cost(browse: Open) -> None:
    client = browse([event(1, ago=timedelta(hours=2)), event(2, status=200), unpriced(3, ago=timedelta(hours=3))])
    page = text(client.get("/requests").text)
    first = "2026-11-23 14:59:00 gpt-4o support helpdesk 1,200 200 300 $0.00575 priced 812 ms 200 ok"
    last = "2026-11-23 12:00:00 mystery support helpdesk 1,200 200 300 unknown unpriced 812 ms 200 ok"
    assert page.index(first) < page.index("2026-11-23 13:00:00") < page.index(last)


def test_attempts_of_one_request_are_one_row(browse: Open) -> None:
    failed = event(
        1, request_id="r", status=503, outcome="error", error="http_503", usage=Usage(), ago=timedelta(seconds=9)
    )
    client = browse([failed, event(2, request_id="r", attempt=2, purpose="retry", ago=timedelta(seconds=8))])
    page = text(client.get("/requests").text)
    assert "1,200 200 300 $0.00575 priced 1.8 s 200 ok 2 attempts" in page
    assert "1 to 1" in page


def test_states_are_told_apart(browse: Open) -> None:
    page = browse([
        event(1, price_state="free", cost=0), event(2, price_state="flat_rate", cost=0), unpriced(3),
        event(4, outcome="aborted", status=200), event(5, outcome="refused", status=403, error="unpriced"),
    ]).get("/requests").text  # fmt: skip
    for badge in ("free", "flat_rate", "unpriced", "priced"):
        assert f'<span class="badge {badge}">' in page
    assert "200 aborted" in text(page)
    assert "403 refused · unpriced" in text(page)


def test_the_address_filters(browse: Open) -> None:
    client = browse([
        event(0), event(1, team="finance", ago=timedelta(days=2)), unpriced(2, ago=timedelta(days=3)),
        event(3, outcome="error", status=503, ago=timedelta(days=4)),
    ])  # fmt: skip
    for query, left in (
        ("team=finance", ["req-1"]), ("price_state=unpriced", ["req-2"]), ("outcome=error&team=support", ["req-3"]),
        ("from=2026-11-23&to=2026-11-23", ["req-0"]), ("to=2026-11-19", ["req-3"]), ("user=%3Cscript%3E", []),
    ):  # fmt: skip
        rows = client.get(f"/api/requests?{query}").json()["requests"]
        assert [row["request_id"] for row in rows] == left, query
    assert 'href="/requests/req-2?model=mystery"' in client.get("/requests?model=mystery").text
    assert "No request fits this filter in this period." in client.get("/requests?team=nobody").text


def test_pages_follow_each_other_and_keep_the_filter(browse: Open) -> None:
    client = browse([event(n, ago=timedelta(seconds=n)) for n in range(120)])
    first = client.get("/requests?team=support").text
    assert "1 to 50" in text(first)
    assert 'rel="next" href="/requests?team=support&amp;page=2"' in first
    last = client.get("/requests?team=support&page=3").text
    assert "101 to 120" in text(last)
    assert 'rel="next"' not in last
    seen = [
        row["request_id"] for page in (1, 2, 3) for row in client.get(f"/api/requests?page={page}").json()["requests"]
    ]
    assert seen == [f"req-{n}" for n in range(120)]


@pytest.mark.parametrize("query", ["colour=red", "page=0", "page=x", "from=soon", "team=" + "x" * 1_001, "team=%00"])
def test_a_wrong_filter_is_told_in_a_sentence(two: TestClient, query: str) -> None:
    client = two
    assert client.get(f"/requests?{query}").status_code == 400
    answer = client.get(f"/api/requests?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "wrong_input"
