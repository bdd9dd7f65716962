from decimal import Decimal

from tests.analytics.made import correction, event, table

from penstock.analytics.latency import latency
from penstock.pricing.usage import Usage


def timed(milliseconds, **fields):
    return event(duration_us=milliseconds * 1000, **fields)


def test_quantiles_are_those_of_answered_calls():
    calls = [timed(n) for n in range(1, 102)]  # 1 to 101 ms: the 50 % quantile is 51, the 90 % one 91
    others = [timed(9000, outcome="error"), event(), timed(9000, requests=50)]
    [row] = latency(table([*calls, *others]))
    assert (row.calls, row.p50_us, row.p90_us, row.p95_us, row.p99_us) == (101, 51_000, 91_000, 96_000, 100_000)


def test_first_tokens_are_those_of_streams():
    calls = [timed(900, first_token_us=n * 1000) for n in (100, 200, 300)]
    [row] = latency(table([*calls, timed(900)]))
    assert (row.streamed, row.calls, row.first_token_p50_us, row.first_token_p95_us) == (3, 4, 200_000, 290_000)


def test_speed_and_cost_stand_beside_the_times_and_corrections_count_in_the_cost_alone():
    call = timed(500, usage=Usage(output=100), cost=Decimal("0.02"))
    [row] = latency(table([call, timed(1500, usage=Usage(output=100)), correction(call, Decimal("0.01"))]))
    assert (row.output_per_second, row.calls, row.p50_us) == (100, 2, 1_000_000)
    assert (row.cost, row.cost_per_thousand) == (Decimal("1.03"), 515)


def test_calls_without_a_price_do_not_make_the_others_cheaper():
    [row] = latency(table([timed(1), timed(1, cost=None)]))
    assert (row.cost_per_thousand, row.unpriced_events) == (1000, 1)


def test_the_slowest_group_comes_first_and_what_was_not_timed_has_no_row():
    events = [timed(5, model="a"), timed(9, model="b"), event(model="c")]
    assert [row.group["model"] for row in latency(table(events))] == ["b", "a"]
    [whole] = latency(table(events), by=[])
    assert (whole.group, whole.calls, whole.first_token_p50_us) == ({}, 2, None)
    assert latency(table([event()])) == latency(table([event()]), by=[]) == []
