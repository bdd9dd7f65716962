"""Scores that nobody reports: which signs are seen, what they are booked as, and how little they move."""

import json
from datetime import timedelta

import pytest
from msgspec.structs import replace
from tests.policies.routing.test_checks import FORMAT, TOOLS, chat, tool
from tests.policies.routing.test_checks import call as plain
from tests.policies.routing.test_policy import CASCADE, NOW, ROWS, SURE, Played, call, catalog, order, policy, run

from penstock.ledger.outcomes import Scored
from penstock.metering.attribution import Attribution
from penstock.policies.call import Reply
from penstock.policies.deployments import Automatic, Route
from penstock.policies.routing.asked import read_asked
from penstock.policies.routing.automatic import alike, signs
from penstock.policies.routing.table import PRIOR_WEIGHT, USUAL_FAILURES, Key, Table
from penstock.policies.tiers import expected_quality

__all__ = ["catalog"]
AT = NOW.timestamp()
KEY = Key("t", "", "classification")


@pytest.mark.parametrize(
    ("body", "reply", "finish", "found"),
    [
        ({}, chat(), "stop", {}),
        ({}, chat(finish="length"), "length", {"truncated": 0.0}),
        ({"max_tokens": 5}, chat(finish="length"), "length", {}),
        ({}, chat(finish="content_filter"), "content_filter", {"refusal": 0.0}),
        ({}, chat(None, message={"refusal": "I cannot"}), "stop", {"refusal": 0.0}),
        ({}, chat(" "), "stop", {"refusal": 0.0}),
        ({"response_format": FORMAT}, chat('{"intent": "refund", "tags": []}'), "stop", {"schema": 1.0}),
        ({"response_format": FORMAT}, chat('{"intent": "maybe"}'), "stop", {"schema": 0.0}),
        ({"tools": TOOLS}, chat(None, message=tool("add", '{"a": 1}')), "tool_calls", {"schema": 1.0}),
        ({"tools": TOOLS}, chat(None, message=tool("add", "{")), "tool_calls", {"schema": 0.0}),
        ({"tools": TOOLS}, chat("no tool fits"), "stop", {}),
        ({}, b"no reply that can be read", "", {}),
    ],
)
def test_what_an_answer_shows_by_itself(body: dict, reply: bytes, finish: str, found: dict) -> None:
    asked = plain(**body)
    assert signs(asked, Reply(200, b"", reply, []), read_asked(asked.body), finish) == found


def test_of_a_stream_only_why_it_ended_is_looked_at() -> None:
    asked = plain(response_format=FORMAT)
    relayed = Reply(200, b"", b"", [], relayed=True)
    assert signs(asked, relayed, read_asked(asked.body), "stop") == {}
    assert signs(asked, relayed, read_asked(asked.body), "refusal") == {"refusal": 0.0}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Where is my parcel?", "where  is my PARCEL?", True),
        ("where is my parcel number from last week", "where is my parcel number from last week please", True),
        ("where is my parcel number from last week", "how do I cancel the order from last week", False),
        ("what does invoice 17 of last week say", "what does invoice 18 of last week say", False),
        ("yes", "yes", True),
        ("yes please", "yes thanks", False),
    ],
)
def test_a_question_that_is_asked_again(one: str, other: str, same: bool) -> None:
    assert alike(one, other) is same


def booked(one) -> list[Scored]:
    kept: list[Scored] = []
    one.book = kept.append
    return kept


def ask(one, text: str = "Classify the intent of this: refund", seconds: float = 0, user: str = "u", **answers) -> None:
    asked = call(text, request_id=f"r{seconds:g}")
    asked.at = NOW + timedelta(seconds=seconds)
    asked.attribution = Attribution(team="t", key="k", user=user)
    run(one, asked, Played(**answers))


def test_a_user_who_soon_asks_the_same_again_was_not_content(catalog) -> None:
    one = policy(catalog)
    kept = booked(one)
    ask(one)
    ask(one, "please Classify the intent of this: refund", 30)
    ask(one, "Classify the intent of this: refund", 31, user="another")
    ask(one, "Classify the intent of this: refund", 130)
    ask(one, "Translate this into German: good morning", 131)
    assert [(each.request_id, each.source, each.score, each.name, each.key, each.team) for each in kept] == [
        ("r0", "auto:retry", 0.0, "gpt-4.1-nano", "k", "t")
    ]


def test_whoever_cannot_be_told_from_others_retries_nothing(catalog) -> None:
    one = policy(catalog)
    kept = booked(one)
    ask(one, user="")
    ask(one, user="", seconds=5)
    assert not kept


def test_an_answer_that_a_cascade_did_not_take_is_a_bad_one_of_its_model_alone(catalog) -> None:
    one = policy(catalog, CASCADE)
    kept = booked(one)
    key = Key.read("t||classification")
    for number in range(200):
        one.memory.checked(key, "gpt-4.1-nano", failed=number % 10 == 0)
        for model, score in (("gpt-4.1-nano", 0.9), ("gpt-4o", 1.0), ("gpt-4o-mini", 0.5), ("gpt-4.1", 0.5)):
            one.memory.table.learn(key, model, score, AT)
    run(one, call(), Played(gpt_4_1_nano=(200, "bad")))
    assert [(each.source, each.score, each.name) for each in kept] == [("auto:escalation", 0.0, "gpt-4.1-nano")]


def test_signs_take_calls_from_a_model_that_often_fails_and_ten_scores_outweigh_them(catalog) -> None:
    route = Route(model="auto", deployments=tuple(row.name for row in ROWS), routing=SURE)
    one = policy(catalog, route)
    kept = booked(one)
    for number in range(200):
        ask(one, f"Classify the intent of this: {number}", number, gpt_4_1_nano=(200, " "))
    assert {(each.source, each.name) for each in kept} == {("auto:refusal", "gpt-4.1-nano")}
    moved = call("Classify the intent: refund")
    run(one, moved)
    assert order(moved)[0] == "gpt-4o-mini"
    for _ in range(30):
        one.memory.table.learn(KEY, "gpt-4.1-nano", 1.0, AT)
    back = call("Classify the intent: refund", request_id="r")
    run(one, back)
    assert order(back)[0] == "gpt-4.1-nano"


def test_signs_that_are_switched_off_are_neither_booked_nor_believed(catalog) -> None:
    routing = replace(SURE, automatic=Automatic(signs=("truncated",)))
    one = policy(catalog, Route(model="auto", deployments=tuple(row.name for row in ROWS), routing=routing))
    kept = booked(one)
    for number in range(200):
        ask(one, f"Classify the intent of this: {number}", number, gpt_4_1_nano=(200, " "))
    assert not kept
    assert one.memory.table.quality(KEY, "gpt-4.1-nano", AT).mean == expected_quality("classification", "nano")


def test_what_is_seen_moves_what_the_matrix_says_by_its_share_beside_the_usual_one() -> None:
    table = Table({"m": "nano"})
    prior = expected_quality("classification", "nano")
    for _ in range(19):
        table.notice(KEY, "few", wrong=True, weight=0.2, at=AT)
    assert table.quality(KEY, "few", AT).mean == expected_quality("classification", "standard")  # that may be chance
    table.notice(KEY, "few", wrong=True, weight=0.2, at=AT)
    assert table.quality(KEY, "few", AT).mean < expected_quality("classification", "standard")
    for _ in range(50):
        table.notice(KEY, "m", wrong=False, weight=0.2, at=AT)
    assert table.quality(KEY, "m", AT).mean == prior  # nothing wrong proves nothing
    assert not table.knows(KEY)
    for _ in range(50):
        table.notice(KEY, "m", wrong=True, weight=0.2, at=AT)
    wrong = (10 + PRIOR_WEIGHT * USUAL_FAILURES) / (20 + PRIOR_WEIGHT)
    found = table.quality(KEY, "m", AT)
    assert found.mean == pytest.approx(prior * (1 - wrong) / (1 - USUAL_FAILURES))
    assert found.own == 0
    assert table.quality(Key("t", "elsewhere", "classification"), "m", AT).mean == prior


def test_a_request_without_its_schema_kept_is_looked_at_with_what_it_asked(catalog) -> None:
    one = policy(catalog)
    kept = booked(one)
    asked = call("Extract the fields as JSON", response_format=FORMAT)
    run(one, asked, Played(**{"gpt_4_1_nano": (200, "{}"), "gpt-4o-mini": (200, "{}")}))
    assert [(each.source, each.score, each.name) for each in kept] == [("auto:schema", 0.0, order(asked)[0])]


def test_a_tool_loop_goes_on_and_asks_nothing_again(catalog) -> None:
    one = policy(catalog)
    kept = booked(one)
    ask(one)
    loop = call("Classify the intent of this: refund", request_id="loop")
    body = json.loads(loop.body)
    body["messages"] += [{"role": "assistant", "content": ""}, {"role": "tool", "content": "42", "tool_call_id": "c"}]
    loop.body = json.dumps(body).encode()
    loop.attribution = Attribution(team="t", key="k", user="u")
    run(one, loop)
    assert not kept
