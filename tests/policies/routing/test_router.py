"""The choice: what the table has learned, the knob, holdout, conversations."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.metering.attribution import NOBODY, Attribution
from penstock.policies.deployments import Routing
from penstock.policies.routing.asked import Asked
from penstock.policies.routing.choice import Candidate, choose, worth
from penstock.policies.routing.memory import Memory
from penstock.policies.routing.router import Rates, Router
from penstock.policies.routing.table import HALF_LIFE, Key, Table
from penstock.policies.tiers import TIERS, expected_quality

AT = 1_790_000_000.0
MODELS = dict(zip(("gpt-4.1-nano", "gpt-4o-mini", "gpt-4.1", "gpt-4o"), TIERS, strict=True))
RATES = {
    "gpt-4.1-nano": Rates(1e-7, 2.5e-8, 4e-7), "gpt-4o-mini": Rates(1.5e-7, 7.5e-8, 6e-7),
    "gpt-4.1": Rates(2e-6, 5e-7, 8e-6), "gpt-4o": Rates(2.5e-6, 1.25e-6, 1e-5),
}  # fmt: skip
SURE = {"explore": 0.0, "holdout": Decimal(0)}
CLASSIFY = Asked(first="Classify the intent: refund", last="Classify the intent: refund", prompt_tokens=100)


def router(memory: Memory | None = None, **more) -> Router:
    return Router(Routing(**{**SURE, **more}), "gpt-4o", memory or Memory(dict(MODELS)))


def decide(one: Router, asked: Asked = CLASSIFY, request_id: str = "r", who: Attribution = NOBODY, **more):
    return one.decide(request_id, asked, who, more.pop("rates", RATES), AT, **more)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("Classify this ticket as billing, technical or other: it crashed", "gpt-4.1-nano"),
        ("Summarize the following text: it was a long day", "gpt-4o-mini"),
        ("Translate the sentence into German: good morning", "gpt-4o-mini"),
        ("Write a Python function that sorts a list", "gpt-4.1"),
    ],
)
def test_without_scores_a_known_task_goes_where_the_guides_matrix_sends_it(text: str, model: str) -> None:
    assert decide(router(), Asked(first=text, last=text, prompt_tokens=100)).model == model


def test_what_is_not_known_goes_to_the_default() -> None:
    decision = decide(router(), Asked(first="hm", last="hm"))
    assert (decision.model, decision.reason) == ("gpt-4o", "nothing known of this key")


def test_scores_move_a_key_and_no_other_tenant() -> None:
    one = router()
    for number in range(60):
        decision = decide(one, request_id=f"r{number}", who=Attribution(team="a"))
        one.memory.learn(f"r{number}", float(decision.model != "gpt-4.1-nano"), AT)
    assert decide(one, who=Attribution(team="a")).model == "gpt-4o-mini"
    assert decide(one, who=Attribution(team="b")).model == "gpt-4.1-nano"


def test_a_higher_worth_of_an_answer_never_chooses_a_worse_model() -> None:
    candidates = [Candidate("a", 0.7, 0.001), Candidate("b", 0.8, 0.01), Candidate("c", 0.9, 0.1)]
    chosen = [choose(candidates, value, explore=0, seed="").candidate for value in (0.01, 0.05, 0.1, 0.5, 1, 5)]
    assert [one.quality for one in chosen] == sorted(one.quality for one in chosen)
    assert {one.name for one in chosen} == {"a", "b", "c"}


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6), st.floats(0.001, 10))
def test_nothing_is_worth_more_than_what_is_chosen(pairs: list[tuple[float, float]], value: float) -> None:
    candidates = [Candidate(str(number), *pair) for number, pair in enumerate(pairs)]
    best = choose(candidates, value, explore=0, seed="x").candidate
    assert all(worth(best, value) >= worth(one, value) - 1e-9 for one in candidates)


def test_exploring_is_as_frequent_as_its_propensity_says() -> None:
    candidates = [Candidate("a", 0.9, 0.0), Candidate("b", 0.5, 0.0)]
    choices = [choose(candidates, 1.0, explore=0.1, seed=f"s{number}") for number in range(4_000)]
    others = [one for one in choices if one.candidate.name == "b"]
    assert {one.propensity for one in others} == {0.05}
    assert {round(one.propensity, 9) for one in choices if one.candidate.name == "a"} == {0.95}
    assert 0.04 < len(others) / len(choices) < 0.06
    assert choices[7] == choose(candidates, 1.0, explore=0.1, seed="s7")


def test_the_control_arm_is_served_by_the_default_and_a_user_stays_in_it() -> None:
    one = router(holdout=Decimal("0.5"))
    arms = {}
    for number in range(40):
        who = Attribution(user=f"u{number % 20}")
        decision = decide(one, request_id=f"r{number}", who=who)
        assert arms.setdefault(who.user, decision.arm) == decision.arm
        assert (decision.model == "gpt-4o") == (decision.arm == "control")
        assert decision.tags("gpt-4o")["penstock.propensity"] == "0.5"
    assert set(arms.values()) == {"control", "treated"}


def test_a_key_that_was_rolled_back_is_served_by_the_default() -> None:
    one = Router(Routing(**SURE), "gpt-4o", Memory(dict(MODELS)), lambda key: key.endswith("|classification"))
    assert (decide(one).model, decide(one).reason) == ("gpt-4o", "rolled back")


def test_a_tool_loop_keeps_its_model_whatever_the_table_says() -> None:
    one = router()
    assert decide(one).model == "gpt-4.1-nano"
    loop = Asked(first=CLASSIFY.first, last="Write a Python function", turns=3, in_tool_loop=True)
    assert (decide(one, loop).model, decide(one, loop).reason) == ("gpt-4.1-nano", "tool loop")


def test_a_conversation_leaves_its_model_only_where_that_pays_for_the_lost_cache() -> None:
    close = {"gpt-4o": Rates(2.5e-6, 2.5e-7, 1e-5), "gpt-4.1": Rates(2e-6, 5e-7, 8e-6)}
    who = Attribution(run="c")
    one = router(answer_worth=Decimal("0.01"))
    one.memory.went_to("c", "gpt-4o")
    long = Asked(first="x", last="Classify this", turns=5, prompt_tokens=20_000)
    stays = decide(one, long, who=who, rates=close)
    assert (stays.model, stays.reason) == ("gpt-4o", "same conversation")
    one.memory.went_to("c", "gpt-4o")
    moves = decide(one, long, who=who, rates={**close, "gpt-4.1-nano": RATES["gpt-4.1-nano"]})
    assert (moves.model, moves.reason) == ("gpt-4.1-nano", "worth the switch")


def test_a_cascade_starts_cheap_where_its_answers_seldom_fail_and_goes_straight_where_they_often_do() -> None:
    one = router(answer_worth=Decimal(1))
    asked = Asked(first="Solve for x: 2x = 5", last="Solve for x: 2x = 5", prompt_tokens=5_000)
    key = one.key_of(asked, NOBODY)
    for _ in range(100):
        for model in ("gpt-4.1-nano", "gpt-4o-mini"):
            one.memory.table.learn(key, model, 0.84, AT)
        one.memory.table.learn(key, "gpt-4.1", 0.93, AT)
        one.memory.table.learn(key, "gpt-4o", 0.93, AT)
    straight = decide(one, asked, checked=True)
    assert (straight.model, straight.then) == ("gpt-4.1", "gpt-4o")
    for number in range(100):  # now the check finds the wrong answers: nearly all that is left is right
        one.memory.checked(key, "gpt-4o-mini", failed=number < 16)
    first = decide(one, asked, checked=True)
    assert (first.model, first.then) == ("gpt-4o-mini", "gpt-4.1")


def test_scores_fade_by_half_in_thirty_days() -> None:
    table = Table({"m": "mini"})
    key = Key("t", "p", "classification")
    for _ in range(40):
        table.learn(key, "m", 0.0, AT)
    assert table.quality(key, "m", AT).own == 40
    assert table.quality(key, "m", AT + HALF_LIFE).own == 20
    assert table.quality(key, "m", AT).mean < table.quality(key, "m", AT + HALF_LIFE).mean


def test_the_prior_weighs_ten_observations() -> None:
    table = Table({"m": "mini"})
    key = Key("t", "p", "classification")
    prior = expected_quality("classification", "mini")
    assert table.quality(key, "m", AT).mean == prior
    table.learn(Key("other", "p", "code"), "m", 0.0, AT)
    assert table.quality(key, "m", AT).mean == prior
    for _ in range(10):
        table.learn(key, "m", 0.0, AT)
    assert table.quality(key, "m", AT).mean == pytest.approx(prior / 4)  # the task's scores moved its prior as well


@pytest.mark.parametrize("score", [-0.1, 1.1])
def test_a_score_is_between_nought_and_one(score: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Table({}).learn(Key("", "", ""), "m", score, AT)


def test_a_key_can_be_read_as_the_ledger_keeps_it() -> None:
    one = router()
    key = one.key_of(CLASSIFY, Attribution(team="a|b", feature="c"))
    assert Key.read(str(key)) == key == Key("a/b", "c", "classification")
    with pytest.raises(ValueError, match="unpack"):
        Key.read("no key")
