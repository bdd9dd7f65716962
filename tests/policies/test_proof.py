"""Which calls are asked again, and what a judge is shown and may say."""

import json

import pytest

from penstock.errors import InputError
from penstock.policies.proof import ProofSettings, judge_body, question, sampled, score_of, shown

TREATED = {"penstock.arm": "treated", "penstock.baseline": "gpt-4o"}


def test_the_sample_is_as_large_as_asked_and_the_same_again():
    ids = [f"{n:032x}" for n in range(5_000)]
    first = [one for one in ids if sampled(one, TREATED, 0.1)]
    assert 420 < len(first) < 580
    assert first == [one for one in ids if sampled(one, TREATED, 0.1)]
    assert set(first) <= {one for one in ids if sampled(one, TREATED, 0.2)}
    assert not any(sampled(one, TREATED, 0.0) for one in ids)
    assert all(sampled(one, TREATED, 1.0) for one in ids)


@pytest.mark.parametrize(
    "tags", [{}, {"penstock.arm": "control", "penstock.baseline": "m"}, {"penstock.arm": "treated"}]
)
def test_only_what_a_lever_changed_is_asked_again(tags):
    assert not sampled("1", tags, 1.0)


@pytest.mark.parametrize(
    ("said", "first", "second"),
    [
        ('{"better": "first"}', 1.0, 0.0), ('{"better":"second"}', 0.0, 1.0), ('{"better": "neither"}', 0.5, 0.5),
        ('```json\n{"better": "first"}\n```', 1.0, 0.0), ("first", None, None), ("", None, None),
        ('{"better": "first"} or {"better": "second"}', None, None), ('{"better": "FIRST"}', None, None),
    ],
)  # fmt: skip
def test_a_verdict_is_one_of_three_or_none(said, first, second):
    assert score_of(said, served_first=True) == first
    assert score_of(said, served_first=False) == second


def test_a_judge_sees_neither_models_nor_users():
    body = json.dumps(
        {"model": "gpt-4o", "user": "ada", "metadata": {"a": 1}, "messages": [{"role": "user", "content": "?"}]}
    )
    said = shown(body.encode())
    assert json.loads(said) == {"messages": [{"role": "user", "content": "?"}]}
    assert question(said, "a", "b").index("a\n</first>") < question(said, "a", "b").index("b\n</second>")


def test_each_wire_has_its_form():
    openai = json.loads(judge_body("m", "q", anthropic=False))
    anthropic = json.loads(judge_body("m", "q", anthropic=True))
    assert [one["role"] for one in openai["messages"]] == ["system", "user"]
    assert (anthropic["system"], anthropic["max_tokens"]) == (openai["messages"][0]["content"], 64)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shadow": 0.1}, {"shadow": 1.1, "judge": "j"}, {"margin": 0.0}, {"confidence": 1.0}, {"at_once": 0},
        {"check_seconds": 0.0},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(InputError):
        ProofSettings(**wrong).check()
