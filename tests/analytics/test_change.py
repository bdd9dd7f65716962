from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analytics.made import MARCH, correction, event, table

from penstock.analytics.change import EFFECTS, change
from penstock.errors import InputError
from penstock.ledger.store import Ledger
from penstock.pricing.usage import Usage

LATER = MARCH + timedelta(days=30)
BEFORE = (MARCH, MARCH + timedelta(days=1))
AFTER = (LATER, LATER + timedelta(days=1))
BOOK = {
    "big": {"input": Decimal("0.01"), "cache_read": Decimal("0.005"), "output": Decimal("0.04")},
    "big-cheaper": {"input": Decimal("0.008"), "cache_read": Decimal("0.004"), "output": Decimal("0.032")},
    "small": {"input": Decimal("0.001"), "output": Decimal("0.004"), "web_searches": Decimal(1)},
}


def rates(_book, row):
    return BOOK.get(row)


def calls(n, *, row, at, usage=None, **fields):
    """Make n calls, each priced by its row."""
    usage = usage or Usage(input=100, output=25)
    cost = sum((count * BOOK[row][unit] for unit, count in usage.units().items()), Decimal(0))
    model = row.partition("-")[0]
    return [event(model=model, price_row=row, at=at, usage=usage, cost=cost, **fields) for _ in range(n)]


def effects(moved):
    return {name: str(getattr(moved, name)) for name in EFFECTS}


def decompose(*events, by=("model",), **named):
    return change(table([one for some in events for one in some]), by=by, before=BEFORE, after=AFTER, rates=rates,
                  **named)  # fmt: skip


def test_more_of_the_same_is_volume():
    found = decompose(calls(10, row="big", at=MARCH), calls(15, row="big", at=LATER))
    # A call is 100 x 0.01 + 25 x 0.04 = $2.
    assert (found.total.before, found.total.after, found.total.change) == (20, 30, 10)
    assert effects(found.total) == {
        "volume": "10.00", "mix": "0.00", "tokens_per_request": "0.00", "token_kinds": "0.00", "price": "0.00",
    }  # fmt: skip


def test_a_move_to_a_cheaper_model_is_mix_and_says_what_each_line_did():
    found = decompose(
        calls(8, row="big", at=MARCH), calls(2, row="small", at=MARCH),
        calls(6, row="big", at=LATER), calls(14, row="small", at=LATER),
    )  # fmt: skip
    # $2 and $0.20 a call: 16.40 before, 14.80 after. Twice the requests would have been 32.80.
    assert effects(found.total) | {"change": str(found.total.change)} == {
        "change": "-1.60", "volume": "16.40", "mix": "-18.00", "tokens_per_request": "0.00", "token_kinds": "0.00",
        "price": "0.00",
    }  # fmt: skip
    assert {line.group["model"]: (line.moved.volume, line.moved.mix, line.status) for line in found.lines} == {
        "big": (Decimal(16), Decimal(-20), "kept"),
        "small": (Decimal("0.40"), Decimal(2), "kept"),
    }


def test_new_and_gone_lines_are_mix_too():
    found = decompose(calls(10, row="big", at=MARCH), calls(10, row="small", at=LATER))
    assert {line.group["model"]: (line.status, line.moved.mix) for line in found.lines} == {
        "big": ("gone", Decimal(-20)),
        "small": ("new", Decimal(2)),
    }
    assert found.total.mix == found.total.change == -18


def test_where_there_was_nothing_before_all_of_it_is_volume():
    found = decompose(calls(3, row="big", at=LATER))
    assert (found.total.volume, found.total.change) == (6, 6)
    found = decompose(calls(3, row="big", at=MARCH))
    assert (found.total.volume, found.total.change) == (-6, -6)


def test_longer_requests_are_told_from_lost_cache_and_from_price():
    found = decompose(
        calls(10, row="big", at=MARCH, usage=Usage(input=50, cache_read=50, output=25)),
        calls(10, row="big-cheaper", at=LATER, usage=Usage(input=200, output=50)),
    )
    # Before: (0.5 + 0.25 + 1) x 10 = 17.50. Twice the tokens: 35. Nothing cached, at old rates: (2 + 2) x 10 = 40.
    # At the new rates, a fifth lower: 32.
    assert (found.total.before, found.total.after) == (Decimal("17.50"), 32)
    assert effects(found.total) == {
        "volume": "0.00", "mix": "0.00", "tokens_per_request": "17.50", "token_kinds": "5.00", "price": "-8.00",
    }  # fmt: skip


def test_a_unit_that_was_not_used_before_is_a_new_kind_and_no_price_change():
    found = decompose(
        calls(1, row="small", at=MARCH),
        calls(1, row="small", at=LATER, usage=Usage(input=100, output=25, web_searches=3)),
    )
    assert (found.total.token_kinds, found.total.price) == (3, 0)


def test_units_without_tokens_have_an_effect_too():
    found = decompose(
        calls(2, row="small", at=MARCH, usage=Usage(web_searches=1)),
        calls(3, row="small", at=LATER, usage=Usage(web_searches=2)),
    )
    assert effects(found.total) == {
        "volume": "1.00", "mix": "0.00", "tokens_per_request": "0.00", "token_kinds": "3.00", "price": "0.00",
    }  # fmt: skip


def test_a_row_that_nobody_knows_any_more_is_counted_and_its_kinds_are_price():
    old = [event(price_row="lost", cost=Decimal(1), usage=Usage(input=100))]
    new = [event(price_row="lost", cost=Decimal(3), usage=Usage(input=50, output=50), at=LATER)]
    found = decompose(old, new)
    assert found.unknown_rates == 2
    # All tokens cost alike: 0.01 before, 0.03 after. 50 x 0.01 + 50 x 0.03 (a new kind) = 2; the rest is price.
    assert (found.total.token_kinds, found.total.price) == (1, 1)
    assert found.total.change == 2


def test_events_without_a_price_count_in_no_effect_and_are_named():
    mystery = [event(model="mystery", cost=None), event(model="mystery", cost=None, at=LATER)]
    found = decompose(calls(1, row="big", at=MARCH), calls(1, row="big", at=LATER), mystery)
    assert (found.total.change, found.total.volume, len(found.lines)) == (0, 0, 1)
    assert (found.unpriced_before, found.unpriced_after) == (1, 1)


def test_an_event_that_was_priced_later_has_its_tokens_and_its_dollars_in_one_line():
    late = event(model="big", cost=None, usage=Usage(input=100, output=25), price_row="")
    found = decompose([late, correction(late, Decimal(2), price_row="big")], calls(1, row="big", at=LATER))
    assert effects(found.total) == dict.fromkeys(EFFECTS, "0.00")
    assert (found.total.before, found.unpriced_before) == (2, 0)


def test_dollars_that_no_rate_explains_are_price():
    [old], [new] = calls(1, row="big", at=MARCH), calls(1, row="big", at=LATER)
    found = decompose([old, new, correction(new, Decimal("-0.50"))])
    assert (found.total.price, found.total.change) == (Decimal("-0.50"), Decimal("-0.50"))


def test_one_value_can_be_kept_and_lines_can_have_two_dimensions():
    found = decompose(
        calls(1, row="big", at=MARCH, team="a"), calls(2, row="big", at=LATER, team="a"),
        calls(9, row="big", at=LATER, team="b"), by=["team", "model"], where=[("team", "a")],
    )  # fmt: skip
    assert [line.group for line in found.lines] == [{"team": "a", "model": "big"}]
    assert found.total.volume == 2


some_calls = st.builds(
    event,
    model=st.sampled_from(["a", "b", "c"]),
    at=st.sampled_from([MARCH, LATER]),
    price_row=st.sampled_from(["big", "big-cheaper", "small", "lost"]),
    requests=st.integers(1, 7),
    usage=st.builds(
        Usage, input=st.integers(0, 999), cache_read=st.integers(0, 99), output=st.integers(0, 999),
        web_searches=st.integers(0, 2),
    ),
    cost=st.none() | st.decimals(min_value=0, max_value=10**6, places=18),
)  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(events=st.lists(some_calls, min_size=1, max_size=10), by=st.sampled_from([(), ("model",), ("model", "app")]))
def test_the_effects_of_any_change_add_up_to_it_to_the_last_digit(events, by):
    found = decompose(events, by=by)
    for moved in (found.total, *(line.moved for line in found.lines)):
        assert sum((getattr(moved, name) for name in EFFECTS), Decimal(0)) == moved.change == moved.after - moved.before
    whole = sum((one.cost * (1 if one.at == LATER else -1) for one in events if one.cost is not None), Decimal(0))
    assert found.total.change == whole


def test_a_dimension_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="'colour'"):
        decompose(calls(1, row="big", at=MARCH), by=["colour"])


def test_a_ledger_says_what_a_table_of_its_events_says(tmp_path):
    late = event(model="big", price_row="", cost=None, at=LATER, usage=Usage(input=100, output=25))
    events = [
        *calls(8, row="big", at=MARCH, team="a", tags={"x": "1"}), *calls(2, row="small", at=MARCH),
        *calls(6, row="big-cheaper", at=LATER, team="a"), *calls(14, row="small", at=LATER, tags={"x": "1"}),
        late, correction(late, Decimal(2), price_row="big"), event(model="none", cost=None, at=LATER),
    ]  # fmt: skip
    with Ledger.open(tmp_path) as ledger:
        ledger.add(events, source="test")
        for by, where in ((("model",), ()), (("model", "tag:x"), [("team", "a")]), ((), [("tag:x", "1")])):
            asked = {"by": by, "before": BEFORE, "after": AFTER, "rates": rates, "where": where}
            assert change(ledger.moment(), **asked) == change(table(events), **asked)
        with pytest.raises(InputError):
            change(ledger.moment(), by=("colour",), before=BEFORE, after=AFTER, rates=rates)
