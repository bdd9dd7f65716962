"""Savings add up with the ledger, and nothing is proven that is not."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from msgspec.structs import replace
from tests.analytics.made import MARCH, correction, event, table

from penstock.analytics.savings import Terms, dollars, savings
from penstock.analytics.savings_arms import costs_of
from penstock.errors import InputError
from penstock.ledger.levers import Standing
from penstock.ledger.outcomes import Pair, Scored
from penstock.policies.holdout import unit_of


def call(unit, arm, cost, purpose="call", *, key="k", share="0.2", **more):
    tags = {"penstock.lever": "routing", "penstock.key": key, "penstock.arm": arm, "penstock.propensity": share}
    cost = None if cost is None else Decimal(cost)
    return event(user=unit, cost=cost, purpose=purpose, tags=tags, **more)


def traffic(units=600, *, cheap="0.4", seed=1, key="k", draw=None):
    """Units of one call each; the lever cuts their cost to `cheap` of it."""
    draw = draw or Random(seed)
    found = []
    for number in range(units):
        control = draw.random() < 0.2
        cost = Decimal(draw.randrange(80, 120)) / 1000
        arm, share = ("control", "0.2") if control else ("treated", "0.8")
        found.append(call(f"{key}{number}", arm, cost if control else cost * Decimal(cheap), share=share, key=key))
    return found


def judged(count, losses=(0.0,), key="k", start=0):
    return [
        Pair(
            request_id=f"p{start + n}", lever="routing", key=key, model="small", baseline="large", judge="j",
            first=(1 - losses[n % len(losses)]) / 2, second=(1 - losses[n % len(losses)]) / 2,
            at=MARCH + timedelta(seconds=start + n),
        )
        for n in range(count)
    ]  # fmt: skip


def only(found):
    (one,) = found
    return one


def test_each_dollar_stands_in_one_sum_and_the_net_saving_is_what_they_say():
    events = [
        call("a", "control", "1.00"), call("b", "control", "0.60", share="0.2"),
        call("c", "treated", "0.20"), call("c", "treated", "0.10", "retry"), call("d", "treated", "0.30"),
        call("d", "treated", "0.003", "classifier"), call("a", "control", "0.002", "classifier"),
        call("d", "shadow", "0.05", "shadow"), call("d", "shadow", "0.007", "judge"),
        call("e", "control", "5"), call("e", "treated", "7"), event(cost=Decimal(99)),
    ]  # fmt: skip
    one = only(savings(table(events)))
    assert (one.control, one.treated) == (Decimal("1.60"), Decimal("0.60"))
    assert (one.lever_cost, one.proof_cost, one.left_out) == (Decimal("0.005"), Decimal("0.057"), Decimal("12.00"))
    assert one.ledger == sum(e.cost for e in events[:-1])
    assert one.baseline == Decimal("1.60")  # 0.80 a unit in the control arm, for two treated units
    assert one.net == one.baseline - one.treated - one.lever_cost - one.proof_cost == Decimal("0.938")
    assert (one.control_units, one.treated_units, one.treated_calls) == (2, 2, 2)


def test_a_third_is_rounded_once():
    assert dollars(Fraction(1, 3)) == Decimal("0.333333333333333333")
    events = [
        call("a", "control", "1"),
        call("b", "control", "0"),
        call("c", "control", "0"),
        call("d", "treated", "0"),
    ]
    assert only(savings(table(events))).net == Decimal("0.333333333333333333")


def test_a_correction_counts_where_what_it_corrects_counts():
    first = call("a", "control", "1.00")
    events = [first, correction(first, Decimal("0.50")), call("b", "treated", "0.20")]
    one = only(savings(table(events)))
    assert (one.control, one.control_calls) == (Decimal("1.50"), 1)


def test_without_a_holdout_there_is_only_an_estimate():
    one = only(savings(table([call("a", "treated", "1")]), pairs=judged(5)))
    assert (one.state, one.net, one.low) == ("estimated", None, None)


def test_a_saving_without_a_guard_of_quality_is_not_proven():
    one = only(savings(table(traffic())))
    assert one.state == "measuring"
    assert one.low > 0
    assert "outcomes" in one.reason


def test_shadow_calls_without_a_verdict_are_said_to_be_paid_for_nothing():
    one = only(savings(table([*traffic(), call("k0", "shadow", "0.01", "judge")])))
    assert (one.state, one.reason.partition(",")[0]) == ("measuring", "shadow calls were paid for")


def test_a_proof_takes_pairs_and_dollars():
    events = traffic()
    few = only(savings(table(events), pairs=judged(30)))
    assert few.state == "measuring"
    assert few.reason.startswith("30 of about ")
    one = only(savings(table(events), pairs=judged(600)))
    assert one.state == "proven"
    assert one.quality.certified
    assert 0 < one.low < one.net < one.high
    assert one.quality.low < 0 < one.quality.high < 0.02


def test_a_price_that_is_missing_prevents_a_proof():
    one = only(savings(table([*traffic(), call("x", "treated", None)]), pairs=judged(600)))
    assert (one.state, one.unpriced) == ("measuring", 1)


def test_a_lever_that_costs_more_than_it_saves_is_said_to():
    one = only(savings(table(traffic(cheap="1.5")), pairs=judged(600)))
    assert (one.state, one.reason) == ("not_proven", "it costs more than it saves")
    assert one.high < 0


def test_worse_answers_breach_the_margin():
    one = only(savings(table(traffic()), pairs=judged(200, losses=(1.0, 0.0, 0.0))))
    assert one.quality.breached
    assert one.quality.low > 0.02
    assert "taken back" in one.reason


def test_a_model_that_worsens_after_its_proof_is_noticed_although_the_mean_is_still_fine():
    pairs = judged(2_000, losses=(0.0, 0.0, -1.0)) + judged(200, losses=(1.0, 0.0), start=2_000)
    one = only(savings(table(traffic()), pairs=pairs))
    assert one.quality.loss < 0
    assert one.quality.breached


def test_no_end_comes_in_sight_for_a_lever_at_its_margin():
    losses = [1.0] * 190 + [-1.0] * 100 + [0.0] * 710  # 9 points are lost, and 10 are allowed
    Random(1).shuffle(losses)
    one = only(savings(table(traffic()), pairs=judged(1_000, losses=losses), terms=Terms(margin=0.1)))
    assert one.state == "not_proven"
    assert "still possible" in one.reason


def test_scores_of_both_arms_guard_quality_where_there_are_no_pairs():
    events = traffic(3_000)
    worse = [
        Scored(
            request_id=e.request_id, score=float(e.tags["penstock.arm"] == "control" or n % 2), source="user", at=MARCH
        )
        for n, e in enumerate(events)
    ]
    one = only(savings(table(events), scores=worse))
    assert one.quality.source == "scores"
    assert one.quality.loss == pytest.approx(0.5, abs=0.05)
    assert one.quality.breached
    same = [Scored(request_id=e.request_id, score=1.0, source="user", at=MARCH) for e in events]
    assert only(savings(table(events), scores=same)).state == "proven"


def test_a_score_counts_only_from_the_key_or_the_team_of_the_request():
    events = [call("a", "control", "1", request_id="ra", team="t"), call("b", "treated", "1", request_id="rb")]
    events = [replace(one, key="k1") for one in events]

    def count(**who):
        scores = [Scored(request_id=name, score=1.0, source="user", at=MARCH, **who) for name in ("ra", "rb")]
        return only(savings(table(events), scores=scores)).quality

    assert count(key="k1").count == 1
    assert count(key="other").source == "none"
    assert count(key="other", team="t").source == "scores"


def test_what_was_rolled_back_says_so_and_counts_anew_when_it_is_taken_up():
    told = {"lever": "routing", "key": "k", "at": MARCH + timedelta(seconds=100)}
    back = Standing(state="rolled_back", reason="too bad", **told)
    one = only(savings(table(traffic()), pairs=judged(200), standings={("routing", "k"): back}))
    assert (one.state, one.reason) == ("rolled_back", "too bad")
    on = Standing(state="on", times=2, **told)
    again = only(savings(table(traffic()), pairs=judged(200), standings={("routing", "k"): on}))
    assert again.quality.count == 100


def test_all_keys_of_a_lever_stand_together_too():
    draw = Random(3)
    events = traffic(300, key="k", draw=draw) + traffic(300, key="l", draw=draw)
    found = savings(table(events), pairs=judged(600) + judged(600, key="l", start=1_000))
    assert [one.key for one in found] == ["k", "l", "*"]
    assert found[2].net is not None
    assert found[2].ledger == found[0].ledger + found[1].ledger
    assert found[2].reason == f"{sum(one.state == 'proven' for one in found[:2])} of 2 keys are proven"


@pytest.mark.parametrize("wrong", [{"margin": 0.0}, {"margin": 1.0}, {"alpha": 0.0}, {"alpha": 0.6}])
def test_terms_make_sense(wrong):
    with pytest.raises(InputError):
        Terms(**wrong)


def test_units_are_those_that_the_policy_draws():
    rows = [
        (call("u", "control", "1", run="r"), "r"), (call("u", "control", "1"), "u"),
        (call("", "control", "1", request_id="q"), "q"),
    ]  # fmt: skip
    fingerprint = replace(rows[2][0], id="f" * 32, request_id="p", tags={**rows[2][0].tags, "penstock.unit": "f"})
    found = costs_of(table([*(one for one, _ in rows), fingerprint]))["routing", "k"]
    assert set(found.units) == {unit_of(one.run, one.user, one.request_id) for one, _ in rows} | {"f"}
    assert set(found.units) == {"r", "u", "q", "f"}
