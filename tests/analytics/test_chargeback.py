from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analytics.made import event, table

from penstock.analytics.chargeback import chargeback, divide
from penstock.analytics.shared_costs import Chargeback, SharedCost
from penstock.errors import InputError

PLATFORM = SharedCost(name="platform", match={"team": "platform"})


def booked(**costs):
    """Make an event of each team; `none` is spend without a team."""
    return table(
        event(team="" if team == "none" else team, cost=Decimal(cost), requests=1) for team, cost in costs.items()
    )


def totals(found):
    return {one.name: str(one.total) for one in found.statements}


def test_without_rules_everybody_pays_what_they_spent_and_the_rest_is_unallocated():
    found = chargeback(booked(red="60", blue="30", none="10"), Chargeback())
    assert totals(found) == {"red": "60.00", "blue": "30.00"}
    assert (found.total, found.charged, found.unallocated) == (100, 90, 10)
    [pool] = found.pools
    assert (pool.name, pool.unallocated, pool.note) == ("untagged", 10, "not split")


def test_a_shared_team_is_split_by_direct_cost():
    found = chargeback(booked(red="60", blue="30", platform="9"), Chargeback(shared=(PLATFORM,)))
    assert totals(found) == {"red": "66.00", "blue": "33.00"}
    assert [(share.pool, str(share.share), share.amount) for share in found.statements[0].shares] == [
        ("platform", "0.666667", 6)
    ]
    assert found.unallocated == 0


def test_an_even_split_leaves_its_last_digit_with_the_first_by_name():
    found = chargeback(
        booked(red="1", blue="2", green="3", platform="10"),
        Chargeback(shared=(SharedCost(name="p", match={"team": "platform"}, split="even"),)),
    )
    assert totals(found) == {
        "green": "6.333333333333333333", "blue": "5.333333333333333334", "red": "4.333333333333333333",
    }  # fmt: skip
    assert found.charged == found.total == 16


def test_a_commitment_beside_the_ledger_is_split_by_weights_also_among_those_who_spent_nothing():
    ptu = SharedCost(name="PTU", amount=Decimal(3900), split="fixed", weights={"red": Decimal(2), "quiet": Decimal(1)})
    found = chargeback(booked(red="60", blue="30"), Chargeback(shared=(ptu,)))
    assert totals(found) == {"red": "2660.00", "quiet": "1300.00", "blue": "30.00"}
    assert (found.ledger, found.extra, found.total) == (90, 3900, 3990)


def test_weights_name_those_who_take_part_in_other_splits_too():
    only = SharedCost(name="x", amount=Decimal(30), weights={"red": Decimal(1), "blue": Decimal(1)})
    found = chargeback(booked(red="60", blue="30", green="900"), Chargeback(shared=(only,)))
    assert totals(found) == {"green": "900.00", "red": "80.00", "blue": "40.00"}


def test_pools_are_split_by_direct_cost_alone_so_that_their_order_does_not_matter():
    one = SharedCost(name="one", amount=Decimal(90))
    two = SharedCost(name="two", amount=Decimal(9), split="even", weights={"red": Decimal(1)})
    there = chargeback(booked(red="60", blue="30"), Chargeback(shared=(one, two)))
    back = chargeback(booked(red="60", blue="30"), Chargeback(shared=(two, one)))
    assert totals(there) == totals(back) == {"red": "129.00", "blue": "60.00"}


def test_untagged_spend_can_be_split_as_well():
    found = chargeback(booked(red="60", blue="30", none="9"), Chargeback(untagged="proportional"))
    assert totals(found) == {"red": "66.00", "blue": "33.00"}


def test_where_nobody_has_direct_costs_a_proportional_split_is_even_and_says_so():
    found = chargeback(booked(red="0", blue="0"), Chargeback(shared=(SharedCost(name="x", amount=Decimal(3)),)))
    assert totals(found) == {"blue": "1.50", "red": "1.50"}
    assert found.pools[0].note == "nobody has direct costs: split evenly"


def test_what_nobody_can_share_stays_unallocated():
    found = chargeback(booked(platform="9"), Chargeback(shared=(PLATFORM,)))
    assert (found.statements, found.unallocated, found.pools[0].note) == ((), 9, "nobody to share it among")


def test_an_event_belongs_to_the_first_shared_cost_that_it_matches():
    events = [event(team="platform", app="search"), event(team="platform"), event(team="red")]
    search = SharedCost(name="search", match={"team": "platform", "app": "search"}, split="keep")
    found = chargeback(table(events), Chargeback(shared=(search, PLATFORM)))
    assert {pool.name: pool.amount for pool in found.pools} == {"search": 1, "platform": 1}
    assert (found.unallocated, totals(found)) == (1, {"red": "2.00"})


def test_a_statement_lists_direct_costs_and_shares_and_they_add_up():
    events = [
        event(team="red", model="o1", cost=Decimal(5)),
        event(team="red", app="bot", cost=Decimal(2)),
        event(team="red", app="web", cost=Decimal(1)),
        event(team="platform", cost=Decimal(3)),
    ]
    [one] = chargeback(table(events), Chargeback(shared=(PLATFORM,))).statements
    assert [(row.group, row.cost, row.events) for row in one.lines] == [
        ({"model": "o1"}, 5, 1), ({"model": "gpt-4o"}, 3, 2),
    ]  # fmt: skip
    assert (one.direct, one.shared, one.total, one.events) == (8, 3, 11, 3)


def test_whole_cents_add_up_to_the_rounded_total():
    found = chargeback(booked(a="0.333", b="0.333", c="0.334", none="0.004"), Chargeback(), cents=True)
    # 1.004 is 1.00. Rounded down there are 0.99: the cent goes to c, with the largest remainder (0.4; a and b: 0.3).
    assert totals(found) == {"c": "0.34", "a": "0.33", "b": "0.33"}
    assert (found.total, found.unallocated, found.rounding) == (1, 0, Decimal("-0.004"))


def test_a_pool_of_one_cent_is_not_lost():
    pool = SharedCost(name="x", amount=Decimal("0.01"), split="even")
    found = chargeback(booked(a="1", b="1"), Chargeback(shared=(pool,)), cents=True)
    assert totals(found) == {"a": "1.01", "b": "1.00"}


def test_unpriced_events_are_counted_with_whom_they_belong_to():
    found = chargeback(table([event(team="red"), event(team="red", cost=None)]), Chargeback())
    assert (found.unpriced_events, found.statements[0].unpriced_events, found.total) == (1, 1, 1)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (Chargeback(by="day"), "Time cannot be charged"),
        (Chargeback(by="colour"), "There is no dimension 'colour'"),
        (Chargeback(untagged="fixed"), "has no weights"),
        (Chargeback(shared=(PLATFORM, PLATFORM)), "two shared costs of the name 'platform'"),
        (Chargeback(shared=(SharedCost(name="x"),)), "neither a match"),
        (Chargeback(shared=(SharedCost(name="x", amount=Decimal(-1)),)), "below zero"),
        (Chargeback(shared=(SharedCost(name="x", amount=Decimal(1), split="fixed"),)), "name some"),
        (
            Chargeback(shared=(SharedCost(name="x", match={"team": "p"}, weights={"p": Decimal(1)}),)),
            "cannot have a weight",
        ),
    ],
)
def test_rules_that_contradict_themselves_are_refused(rules, said):
    with pytest.raises(InputError, match=said):
        chargeback(booked(red="1"), rules)


@given(
    amount=st.decimals(min_value=0, max_value=10**9, places=18),
    weights=st.dictionaries(st.text(max_size=3), st.decimals(min_value="0.001", max_value=10**6, places=3), min_size=1),
)
def test_the_parts_of_any_amount_are_the_whole_and_nobody_is_off_by_more_than_a_unit(amount, weights):
    parts = divide(amount, weights)
    assert sum(parts.values(), Decimal(0)) == amount
    whole = sum(weights.values())
    for name, part in parts.items():
        assert abs(part - amount * weights[name] / whole) < Decimal("2e-15")


some_event = st.builds(
    event,
    team=st.sampled_from(["", "a", "b", "platform", "c"]),
    model=st.sampled_from(["x", "y"]),
    cost=st.none() | st.decimals(min_value=0, max_value=10**6, places=18),
)


@settings(max_examples=12, deadline=None)
@given(
    events=st.lists(some_event, min_size=1, max_size=10),
    split=st.sampled_from(["proportional", "even", "keep"]),
    untagged=st.sampled_from(["proportional", "even", "keep"]),
    extra=st.decimals(min_value="0.01", max_value=10**6, places=18),
    cents=st.booleans(),
)
def test_statements_and_the_unallocated_rest_add_up_to_the_ledger_whatever_the_rules(
    events, split, untagged, extra, cents
):
    rules = Chargeback(
        untagged=untagged,
        shared=(
            SharedCost(name="p", match={"team": "platform"}, split=split),
            SharedCost(name="e", amount=extra, split=split),
        ),
    )
    found = chargeback(table(events), rules, cents=cents)
    whole = sum((one.cost for one in events if one.cost is not None), extra)
    owed = sum((one.total for one in found.statements), Decimal(0))
    assert owed + found.unallocated == found.total == whole + found.rounding
    assert abs(found.rounding) <= (Decimal("0.005") if cents else 0)
    for one in found.statements:
        assert one.direct + sum((share.amount for share in one.shares), Decimal(0)) == one.total
        assert cents or sum((row.cost for row in one.lines), Decimal(0)) == one.direct
