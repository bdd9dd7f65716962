from decimal import Decimal

from tests.dashboard.conftest import Open, event, text, unpriced

from penstock.pricing.usage import Usage


def test_a_request_shows_how_its_price_came_about(browse: Open) -> None:
    page = text(browse([event(1, decision="route: plain", feature="answer")]).get("/requests/req-1").text)
    assert "Cost $0.00575 1 attempt" in page
    assert "input tokens 1,000 × $2.50 per 1M = $0.0025" in page
    assert "input tokens read from cache 200 × $1.25 per 1M = $0.00025" in page
    assert "output tokens 300 × $10.00 per 1M = $0.003" in page
    assert "Cost of this attempt $0.00575" in page
    assert "Decision route: plain" in page
    assert "50 of the output tokens were hidden reasoning" in page
    assert "Price row openai/gpt-4o/global/standard@2025-01-01 of book test@1" in page
    assert "in force from 2025-01-01; source: https://example.com/prices , read 2026-11-23" in page


def test_all_attempts_are_shown_and_added_up(browse: Open) -> None:
    failed = event(1, request_id="r", outcome="error", status=503, error="http_503", usage=Usage(), cost=Decimal(0))
    again = event(2, request_id="r", attempt=2, purpose="retry")
    page = text(browse([failed, again]).get("/requests/r").text)
    assert "Cost $0.00575 2 attempts" in page
    assert "Attempt 1: gpt-4o at openai 503 error · http_503" in page
    assert "Attempt 2, retry: gpt-4o at openai 200 ok" in page


def test_a_part_is_not_shown_as_the_whole(browse: Open) -> None:
    page = text(browse([unpriced(1, request_id="r"), event(2, request_id="r", attempt=2)]).get("/requests/r").text)
    assert "Cost unknown an attempt has no price; the others cost $0.00575" in page
    assert "No price is known, so the cost is unknown." in page


def test_a_request_without_a_price_gets_its_correction(browse: Open) -> None:
    first = unpriced(1, request_id="r")
    correction = event(2, request_id="r", corrects=first.id, usage=Usage(), requests=0, cost=Decimal("0.5"))
    page = text(browse([first, correction]).get("/requests/r").text)
    assert "Cost $0.50 1 attempt" in page
    assert "Correction of 00000000" in page


def test_an_id_may_hold_any_sign_and_an_unknown_one_is_not_found(browse: Open) -> None:
    name = "a/b?c=<d> é"
    client = browse([event(1, request_id=name)])
    assert 'href="/requests/a%2Fb%3Fc%3D%3Cd%3E%20%C3%A9"' in client.get("/requests").text
    assert "Cost $0.00575" in text(client.get("/requests/a%2Fb%3Fc%3D%3Cd%3E%20%C3%A9").text)
    assert client.get("/api/requests/a%2Fb%3Fc%3D%3Cd%3E%20%C3%A9").json()["request_id"] == name
    missing = client.get("/requests/none")
    assert missing.status_code == 404
    assert "There is no request 'none' in the ledger." in text(missing.text)
    assert client.get("/api/requests/none").json()["error"]["code"] == "not_found"
