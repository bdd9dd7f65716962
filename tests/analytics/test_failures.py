from decimal import Decimal

from tests.analytics.made import correction, event, table

from penstock.analytics.failures import failures


def failed(**fields):
    return event(**({"outcome": "error", "error": "timeout", "status": 0, "cost": Decimal("0.25")} | fields))


def test_a_rate_is_of_attempts_and_waste_is_what_failed_ones_cost_with_their_corrections():
    wrong = failed(duration_us=1_500_000)
    whole, row = failures(table([wrong, correction(wrong, Decimal("0.05")), event(), event(), event()]))
    assert (row.events, row.failed, row.failed_share) == (4, 1, Decimal("0.25"))
    assert (row.wasted, row.cost, row.wasted_share) == (Decimal("0.30"), Decimal("3.30"), Decimal("0.090909"))
    assert row.wasted_seconds == Decimal("1.5")
    assert (whole.failed, whole.wasted) == (1, Decimal("0.30"))


def test_causes_come_the_most_frequent_first():
    busy = {"error": "rate_limited", "status": 429, "cost": Decimal(0)}
    _, row = failures(
        table([failed(), failed(**busy), failed(**busy), failed(outcome="aborted", error="", status=200)])
    )
    assert [(cause.outcome, cause.error, cause.status, cause.events, cause.cost) for cause in row.causes] == [
        ("error", "rate_limited", 429, 2, 0), ("aborted", "", 200, 1, Decimal("0.25")),
        ("error", "timeout", 0, 1, Decimal("0.25")),
    ]  # fmt: skip
    assert (row.errors, row.aborted) == (3, 1)


def test_a_request_that_another_model_answered_was_answered_later():
    events = [
        failed(request_id="a"), failed(request_id="a", attempt=2),
        event(request_id="a", model="o1", purpose="fallback"),
        failed(request_id="b"), event(request_id="b", purpose="judge"), event(request_id="c"),
    ]  # fmt: skip
    whole, gpt, o1 = failures(table(events))
    assert (gpt.failed, gpt.failed_requests, gpt.answered_later) == (3, 2, 1)
    assert (o1.failed, o1.failed_requests, o1.answered_later) == (0, 0, 0)
    assert (whole.failed_requests, whole.answered_later) == (2, 1)


def test_refusals_of_ours_are_no_failures():
    whole, _ = failures(table([event(outcome="refused", status=429, cost=Decimal(0))]))
    assert (whole.failed, whole.causes) == (0, ())


def test_groups_that_wasted_most_come_first_and_nothing_has_no_rows():
    events = [failed(app="a"), failed(app="b", cost=Decimal(9)), event(app="c")]
    assert [row.group["app"] for row in failures(table(events), by=["app"])[1:]] == ["b", "a", "c"]
    assert failures(table(events).limit(0)) == []


def test_a_failed_attempt_without_a_price_is_an_unknown_waste_and_no_zero():
    whole, _ = failures(table([failed(cost=None), event(cost=None)]))
    assert (whole.unpriced_failed, whole.wasted) == (1, 0)
