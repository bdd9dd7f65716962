"""The pages of tokens and of agents' runs."""

from datetime import timedelta
from decimal import Decimal

import pytest
from tests.dashboard.conftest import Open, event, text, unpriced

from penstock.dashboard import runs


def test_what_a_run_costs_is_of_all_runs_whatever_the_list_shows(browse: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MOST", 2)
    client = browse([event(n, run=f"run-{n}", cost=Decimal(n)) for n in range(1, 5)])
    for order in ("cost", "newest"):
        page = client.get(f"/runs?order={order}").text
        said = text(page)
        assert "Runs 4 $10.00 in all Cost of a run $2.50 mean; at most $4.00 Steps of a run 1 median" in said
        assert "These are the first 2 in this order." in said
        assert "at most $4.00." in page  # the chart's own words


def test_a_run_without_any_price_is_not_said_to_be_free(browse: Open) -> None:
    client = browse([unpriced(n, run="dark", ago=timedelta(minutes=9 - n)) for n in range(2)])
    assert "dark 2 unpriced" in (listed := text(client.get("/runs").text))
    assert listed.count("unknown") == 1
    one = text(client.get("/runs/dark").text)
    assert "Cost unknown 2 attempts have no price" in one
    assert "$0.00" not in one
    assert client.get("/figures/runs/runs.csv").text.splitlines()[1].endswith(",,2")


def test_cut_answers_lead_to_all_of_them_or_nowhere(browse: Open) -> None:
    client = browse([event(n, finish_reason="max_tokens") for n in range(2)])
    link = 'href="/requests?finish_reason={}">'
    assert link.format("max_tokens") in client.get("/tokens").text
    with_others = browse([event(9, finish_reason="length")]).get("/tokens").text
    assert "Answers cut at their limit" in with_others
    assert "finish_reason=" not in with_others


def test_what_bought_no_answer_leads_to_its_parts(browse: Open) -> None:
    page = browse([event(1, outcome="error"), event(2, outcome="aborted")]).get("/tokens").text
    assert '<a href="#figure-overhead">' in page
    assert "2 attempts without an answer" in page
