"""How likely an answer is good: what is read of it, when that is believed, and if its share is what comes of it."""

from collections import deque
from random import Random

import pytest

from penstock.policies.routing.answer import Answer
from penstock.policies.routing.answer_scorer import (
    ENOUGH,
    AnswerScorer,
    answer_features,
    confidence_in,
    fitted,
    read_part,
    signs_of,
)
from penstock.policies.routing.memory import ENOUGH_LEVELS, Memory
from penstock.policies.routing.table import Key
from penstock.policies.routing.text import Features

KEY, AT = Key("t", "p", "maths"), 1_790_000_000.0


def found(text: str) -> Features:
    return answer_features("what is it", read_part(text), signs_of(Answer(text, finish="stop")))


def answers(count: int, seed: int = 1):
    """Make answers of which those that hedge are right in a fifth of the cases, and others in nine of ten."""
    draw = Random(seed)
    for number in range(count):
        hedges = draw.random() < 0.4
        text = f"{'Perhaps' if hedges else 'Clearly'} it is {number}"
        yield text, float(draw.random() < (0.2 if hedges else 0.9)), hedges


def test_it_tells_good_answers_and_its_share_is_what_comes_of_them() -> None:
    scorer = AnswerScorer()
    for text, score, _ in answers(1_000):
        scorer.learn(found(text), "m", score, 0.6)
    said: dict[bool, list[float]] = {True: [], False: []}
    for text, _, hedges in answers(200, seed=2):
        chance = scorer.chance(found(text), "m")
        assert chance is not None
        said[hedges].append(chance)
    assert sum(said[True]) / len(said[True]) == pytest.approx(0.2, abs=0.08)
    assert sum(said[False]) / len(said[False]) == pytest.approx(0.9, abs=0.08)
    assert scorer.chance(found("Clearly it is"), "another") is None


def test_it_is_not_believed_before_it_has_shown_that_it_is_better_than_the_table() -> None:
    few, noise = AnswerScorer(), AnswerScorer()
    for text, score, _ in answers(ENOUGH - 1):
        few.learn(found(text), "m", score, 0.6)
    draw = Random(3)
    for text, _, _ in answers(600):
        noise.learn(found(text), "m", float(draw.random() < 0.6), 0.6)
    assert few.chance(found("Perhaps it is"), "m") is None
    assert noise.chance(found("Perhaps it is"), "m") is None


def test_a_calibration_finds_the_line_from_guess_to_outcome() -> None:
    draw = Random(4)
    seen: deque[tuple[float, float]] = deque()
    for _ in range(4_000):
        logit = draw.uniform(-3, 3)
        true = 1 / (1 + 2.718281828 ** -(0.5 * logit - 1))  # guesses twice as sure as they should be, and too high
        seen.append((logit, float(draw.random() < true)))
    slope, base = fitted(seen)
    assert (slope, base) == (pytest.approx(0.5, abs=0.05), pytest.approx(-1, abs=0.1))
    assert fitted(deque()) == (1, 0)


def test_what_is_read_of_an_answer() -> None:
    sure = Answer("x" * 300, finish="stop", logprobs=[-0.001] * 20)
    unsure = Answer("x" * 300, finish="stop", logprobs=[-0.001] * 17 + [-2.0] * 3)
    assert set(signs_of(sure)) ^ set(signs_of(unsure)) == {
        "mean 0", "mean 8", "low 0", "low 11", "least 0", "least 11",
    }  # fmt: skip
    assert signs_of(Answer("I'm not sure, perhaps 4", finish="stop"))[2] == "hedges 2"
    assert confidence_in('{"answer": 4, "confidence": "High"}') == "high"
    assert read_part("a" * 300 + "middle" * 100 + "b" * 500) == read_part("a" * 300 + "other" * 100 + "b" * 500)


def test_the_words_of_question_and_answer_have_places_of_their_own() -> None:
    both = answer_features("four", "four", ())
    assert len(set(both.places)) == 2


def test_a_stated_confidence_is_believed_as_far_as_it_was_right_until_the_scorer_knows_better() -> None:
    memory = Memory({"m": "nano"})
    answer = Answer('{"answer": "x", "confidence": "High"}', finish="stop")
    assert memory.pass_rate(KEY, "m", "q", answer) is None
    for number in range(ENOUGH_LEVELS):
        memory.decided(f"r{number}", KEY, "q", "m")
        memory.said(f"r{number}", answer)
        memory.learn(f"r{number}", float(number % 2), AT)
    assert memory.pass_rate(KEY, "m", "q", answer) == (0.5, "confidence high")
    assert memory.pass_rate(KEY, "m", "q", Answer("no word of it")) is None
    for number, (text, score, _) in enumerate(answers(800)):
        memory.decided(f"s{number}", KEY, "what is it", "m")
        memory.said(f"s{number}", Answer(text, finish="stop"))
        memory.learn(f"s{number}", score, AT)
    rate = memory.pass_rate(KEY, "m", "what is it", Answer("Perhaps it is 7", finish="stop"))
    assert rate is not None
    assert rate[0] < 0.5
    assert rate[1] == "answers like it"
