from datetime import date, timedelta
from decimal import Decimal

import pytest
from tests.analytics.made import MARCH, event, table

from penstock.analytics.ptu_use import ptu_use
from penstock.errors import InputError
from penstock.pricing.capacity import PtuModel
from penstock.pricing.usage import Usage

RATES = {"input": Decimal("0.000002"), "cache_read": Decimal("0.000001"), "output": Decimal("0.000008")}
HOUR = {"since": MARCH, "until": MARCH + timedelta(hours=1)}


def model(accounting="ratio"):
    return PtuModel(
        model="gpt-4o", accounting=accounting, input_tpm=1000, output_ratio=Decimal(4), min_global=15, step_global=5,
        valid_from=date(2026, 1, 1), source="a page", read=date(2026, 1, 1),
    )  # fmt: skip


def served(minute, *, kind="global_ptu", **usage):
    return event(
        at=MARCH + timedelta(minutes=minute), deployment_type=kind, usage=Usage(**usage),
        cost=Decimal(0) if kind.endswith("_ptu") else Decimal(1),
        price_state="flat_rate" if kind.endswith("_ptu") else "priced",
    )  # fmt: skip


def ask(*events, accounting="ratio", ptus=10, dollars="730", **named):
    return ptu_use(
        table(events), model(accounting), ptus=ptus, dollars_per_month=Decimal(dollars), rates=RATES, **(HOUR | named)
    )


def test_utilisation_is_demand_over_what_was_paid_minute_by_minute():
    # Ten PTUs at a dollar an hour: $10. Minute 0: (4,000 + 4 x 500) / 1,000 = 6 PTUs. Minute 1: 40, of which 10 count.
    found = ask(served(0, input=2000, output=250), served(0, input=2000, output=250), served(1, input=40_000))
    assert (found.minutes, found.requests, found.tokens) == (60, 3, 44_500)
    assert (found.utilisation, found.peak, found.p95) == (Decimal("0.026667"), 40, 0)  # 16 of 600 PTU-minutes
    assert (found.busy_minutes, found.full_minutes) == (2, 1)
    assert (found.cost, found.idle) == (10, Decimal("9.733333"))


def test_value_is_what_the_tokens_would_cost_and_break_even_where_both_are_equal():
    found = ask(*(served(minute, input=10_000) for minute in range(30)))
    # Half of the minutes full: 300,000 tokens at $2 a million are $0.60 for $10 of PTUs.
    assert (found.utilisation, found.value, found.saved) == (Decimal("0.5"), Decimal("0.60"), Decimal("-9.4"))
    assert (found.saving_rate, found.break_even) == (Decimal("-15.666667"), Decimal("8.333333"))


def test_a_burst_beyond_all_ptus_does_not_move_the_break_even():
    calm, burst = ask(served(0, input=10_000)), ask(served(0, input=40_000))
    assert calm.break_even == burst.break_even == Decimal("8.333333")


def test_cached_tokens_take_no_capacity_or_weigh_their_price_as_the_model_accounts():
    cached = served(0, input=1000, cache_read=2000, output=100)
    assert ask(cached).peak == Decimal("1.4")  # 1,000 + 4 x 100
    assert ask(cached, accounting="normalised").peak == Decimal("2.4")  # (1,000 x 2 + 2,000 x 1 + 100 x 8) / 2


def test_what_is_served_by_the_token_has_spilled_over():
    found = ask(served(0, input=3000), served(0, kind="global", input=1000), event(model="other", at=MARCH))
    assert (found.spilled_requests, found.spilled_tokens, found.spilled_cost) == (1, 1000, 1)
    assert found.coverage == Decimal("0.75")


def test_p95_is_what_five_percent_of_the_minutes_exceed_at_most():
    found = ask(*(served(minute, input=1000 * (minute + 1)) for minute in range(5)))
    # Of 60 minutes three may exceed it: the demand is 5, 4, 3, then 2.
    assert found.p95 == 2


def test_other_kinds_of_deployment_do_not_count_as_this_one():
    found = ask(served(0, kind="regional_ptu", input=1000), deployment_type="global_ptu")
    assert (found.requests, found.spilled_requests, found.value, found.saving_rate) == (0, 0, 0, None)


def test_no_time_and_no_ptus_are_refused():
    with pytest.raises(InputError, match="at least one PTU"):
        ask(served(0, input=1), until=MARCH)
