from datetime import date, timedelta
from decimal import Decimal

from tests.analytics.made import MARCH, correction, event, table

from penstock.analytics.efficiency import efficiency
from penstock.pricing.usage import Usage


def ask(*events, **named):
    total, *rows = efficiency(table(events), **named)
    return total, rows


def test_ratios_are_of_sums_and_not_means_of_ratios():
    total, [row] = ask(
        event(usage=Usage(input=60, cache_read=40, output=20, reasoning=5), cost=Decimal("0.50")),
        event(usage=Usage(input=300, output=80), cost=Decimal("1.50"), requests=3),
    )
    assert (row.input_tokens, row.cached_tokens, row.output_tokens, row.requests) == (400, 40, 100, 4)
    assert (row.tokens_per_request, row.output_per_input) == (125, Decimal("0.25"))
    assert (row.cached_share, row.reasoning_share) == (Decimal("0.1"), Decimal("0.05"))
    assert row.cost_per_million == 4000  # $2 for 500 tokens
    assert (total.cost, total.tokens_per_request) == (row.cost, row.tokens_per_request)


def test_what_failed_attempts_cost_is_waste_and_what_corrections_add_to_them_too():
    failed = event(outcome="error", error="timeout", cost=Decimal("0.30"))
    left = event(outcome="aborted", cost=Decimal("0.20"))
    _, [row] = ask(failed, left, event(purpose="retry"), event(purpose="fallback"), correction(failed, Decimal("0.05")))
    assert (row.events, row.failed, row.failed_share) == (4, 2, Decimal("0.5"))
    assert (row.wasted, row.cost) == (Decimal("0.55"), Decimal("2.55"))
    assert (row.retries, row.fallbacks) == (1, 1)


def test_a_refusal_of_ours_is_no_failure():
    _, [row] = ask(event(outcome="refused", cost=Decimal(0)))
    assert (row.failed, row.wasted) == (0, 0)


def test_cut_answers_are_told_whoever_cut_them_and_in_whatever_words():
    reasons = ["stop", "length", "max_tokens", "max_output_tokens", "end_turn"]
    _, [row] = ask(*(event(finish_reason=reason) for reason in reasons))
    assert (row.cut, row.cut_share, row.cut_cost) == (3, Decimal("0.6"), 3)


def test_attempts_that_are_no_answers_are_told_apart():
    total, _ = ask(event(), event(purpose="judge", cost=Decimal("0.25")), event(purpose="shadow", cost=Decimal("0.5")))
    assert (total.beside, total.beside_cost) == (2, Decimal("0.75"))


def test_calls_that_a_response_cache_answered_are_counted():
    hit = event(decision="hit in LiteLLM's cache", usage=Usage(), cost=Decimal(0))
    total, _ = ask(event(), event(), hit, correction(hit, Decimal(0)), event(decision="d#1"))
    assert (total.reused, total.reused_share) == (1, Decimal("0.25"))


def test_the_trend_holds_the_second_half_of_the_days_against_the_first():
    tokens = [100, 100, 150, 150]
    total, _ = ask(*(event(at=MARCH + timedelta(days=n), usage=Usage(input=size)) for n, size in enumerate(tokens)))
    assert total.trend == Decimal("0.5")
    assert [day.tokens_per_request for day in total.days] == tokens
    assert total.days[0].day == date(2026, 3, 14)


def test_a_day_without_requests_is_there_and_has_no_ratio():
    total, rows = ask(event(), event(model="o1", at=MARCH + timedelta(days=2)))
    assert [day.tokens_per_request for day in total.days] == [130, None, 130]
    assert {row.group["model"]: [day.requests for day in row.days] for row in rows} == {
        "gpt-4o": [1, 0, 0], "o1": [0, 0, 1],
    }  # fmt: skip
    assert {row.group["model"]: row.trend for row in rows} == {"gpt-4o": None, "o1": None}


def test_nothing_has_no_rows():
    assert efficiency(table([event()]).limit(0)) == []


def test_groups_come_the_most_expensive_first_and_one_value_can_be_kept():
    events = [event(app="a"), event(app="b", cost=Decimal(5)), event(app="c", team="x")]
    _, rows = ask(*events, by=["app"])
    assert [row.group["app"] for row in rows] == ["b", "a", "c"]
    _, rows = ask(*events, by=["app"], where=[("team", "x")])
    assert [row.group["app"] for row in rows] == ["c"]


def test_tokens_without_a_price_do_not_make_the_others_cheaper():
    unknown = event(cost=None, usage=Usage(input=900))
    _, [row] = ask(event(usage=Usage(input=100), cost=Decimal("0.01")), unknown)
    assert (row.cost_per_million, row.unpriced_events, row.unpriced_tokens) == (100, 1, 900)
    _, [row] = ask(unknown)
    assert row.cost_per_million is None
    _, [row] = ask(unknown, correction(unknown, Decimal("0.09")))
    assert (row.cost_per_million, row.unpriced_events) == (100, 0)
