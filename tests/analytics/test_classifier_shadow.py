"""What the classifier in the shadow has shown, by hand-made events."""

from decimal import Decimal

import pytest
from tests.analytics.made import correction, event, table

from penstock.analytics.classifier_shadow import classifier_shadow, wilson


def asked(named: str, *, key: str = "t||code", chosen: str = "mini", would: str = "mini", **more):
    """Make a question that cost a tenth of a cent, about a call that was expected to cost two cents, or one of nano."""
    dollars = {"nano": "0.01", "mini": "0.02", "premium": "0.20", "own": "unknown"}
    tags = {
        "penstock.lever": "routing", "penstock.key": key, "penstock.named_tier": named,
        "penstock.chosen_tier": chosen, "penstock.chosen": f"gpt-{chosen}", "penstock.expected": dollars[chosen],
        "penstock.would": f"gpt-{would}", "penstock.would_expected": dollars[would],
    }  # fmt: skip
    return event(purpose="classifier", tags=tags, **{"cost": Decimal("0.001"), **more})


def test_agreement_cost_and_what_it_would_have_saved_add_up() -> None:
    events = [
        asked("mini"), asked("mini"), asked("nano", would="nano"), asked("none"), asked("premium", would="premium"),
        event(purpose="call", tags={"penstock.key": "t||code"}),
    ]  # fmt: skip
    (one,) = classifier_shadow(table(events))
    assert (one.key, one.asked, one.answered, one.agreed, one.same_model) == ("t||code", 5, 4, 2, 2)
    assert one.agreement == 0.5
    assert (one.expected, one.would, one.cost) == (Decimal("0.08"), Decimal("0.25"), Decimal("0.005"))
    assert one.net == Decimal("-0.175")


def test_several_keys_have_a_sum_and_what_is_not_known_is_in_none() -> None:
    events = [
        asked("nano", would="nano"), asked("nano", key="t||maths", chosen="own", would="nano"),
        asked("nano", key="t||maths", would="nano", cost=None),
    ]  # fmt: skip
    code, maths, whole = classifier_shadow(table(events))
    assert (code.key, maths.key, whole.key) == ("t||code", "t||maths", "*")
    assert (maths.unpriced, maths.expected, maths.cost) == (2, Decimal("0.02"), Decimal("0.001"))
    assert (whole.asked, whole.net) == (3, code.net + maths.net)


def test_a_correction_changes_what_asking_cost_and_is_no_question() -> None:
    first = asked("mini", cost=None)
    (one,) = classifier_shadow(table([first, correction(first, Decimal("0.002"))]))
    assert (one.asked, one.cost, one.unpriced) == (1, Decimal("0.002"), 0)


def test_where_nobody_was_asked_there_is_nothing_to_say() -> None:
    assert classifier_shadow(table([event(), event(purpose="classifier")])) == []


def test_the_interval_is_wilsons() -> None:
    """As computed by hand for 8 of 10: 0.4902 to 0.9433 (Brown, Cai and DasGupta, Statistical Science 2001)."""
    assert wilson(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 0) == (None, None)
    assert wilson(0, 5)[0] == 0
