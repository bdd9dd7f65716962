"""Arms are drawn by hash: fair, lasting, and independent of each other."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.policies.holdout import assign

SHARES = st.decimals(0, 1, places=3)


def test_a_unit_keeps_its_arm_for_ever():
    # Written down, not computed: an arm that changes with a release would mix the arms of everybody's proof.
    assert assign("conversation-1", "routing", Decimal("0.1"), "s") == ("treated", Decimal("0.9"))
    arms = [assign(f"c{n}", "routing", Decimal("0.1"), "s")[0] for n in range(40)]
    assert [n for n, arm in enumerate(arms) if arm == "control"] == [0, 8, 9, 15]


def test_the_holdout_is_as_large_as_asked_and_levers_draw_independently():
    routing = [assign(f"u{n}", "routing", Decimal("0.2"), "s")[0] for n in range(20_000)]
    caching = [assign(f"u{n}", "caching", Decimal("0.2"), "s")[0] for n in range(20_000)]
    both = sum(a == b == "control" for a, b in zip(routing, caching, strict=True))
    assert abs(routing.count("control") - 4000) < 200
    assert abs(both - 800) < 100


@given(st.text(), SHARES)
def test_the_probabilities_are_those_of_the_arms(unit, share):
    arm, propensity = assign(unit, "routing", share, "s")
    assert propensity == (share if arm == "control" else 1 - share)
    assert propensity > 0


@given(st.text(), SHARES, SHARES)
def test_a_larger_holdout_holds_the_smaller_one(unit, one, other):
    small, large = sorted((one, other))
    if assign(unit, "routing", small, "s")[0] == "control":
        assert assign(unit, "routing", large, "s")[0] == "control"


@pytest.mark.parametrize("share", ["-0.1", "1.1"])
def test_a_share_is_a_share(share):
    with pytest.raises(ValueError, match="from 0 to 1"):
        assign("u", "routing", Decimal(share), "s")
