"""The scorer by words: it learns what words say, and is believed only where it is better than the table."""

from random import Random

import pytest

from penstock.policies.routing.text import ENOUGH_SCORES, TextScorer, chance, features, settled

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


def texts(count: int, seed: int = 1):
    draw = Random(seed)
    for _ in range(count):
        words = draw.sample(WORDS, 5)
        hard = "alpha" in words
        yield " ".join(words), float(draw.random() < (0.1 if hard else 0.9)), hard


def test_it_learns_which_words_make_a_question_hard() -> None:
    scorer = TextScorer()
    for text, score, _ in texts(800):
        scorer.learn(features(text), "m", score, 0.5)
    easy = scorer.scores(features("beta gamma delta"), ("m",))["m"]
    hard = scorer.scores(features("alpha beta gamma"), ("m",))["m"]
    assert easy > hard + 0.3
    assert scorer.is_better


def test_where_words_say_nothing_it_is_never_believed() -> None:
    believed = 0
    for seed in range(20):
        scorer, draw = TextScorer(), Random(seed)
        for text, _, _ in texts(ENOUGH_SCORES + 100, seed):
            scorer.learn(features(text), "m", float(draw.random() < 0.5), 0.5)
        believed += scorer.is_better
    assert believed == 0


def test_it_needs_enough_scores_first() -> None:
    scorer = TextScorer()
    for text, score, _ in texts(ENOUGH_SCORES - 1):
        scorer.learn(features(text), "m", score, 0.5)
    assert not scorer.is_better


def test_models_without_scores_are_left_out() -> None:
    assert TextScorer().scores(features("x"), ("m",)) == {}


def test_the_end_of_a_long_text_counts_and_its_middle_does_not() -> None:
    long = "a b " * 1_000
    assert features(long + "zebra") != features(long)
    assert features("a" * 700 + " zebra " + "b" * 500) == features("a" * 700 + " horse " + "b" * 500)
    assert features("") == ([], [])
    assert features("\ud800 lone")  # what JSON can hold must not break it


@pytest.mark.parametrize(
    ("score", "logit", "pull", "reach"), [(1.0, 0.3, 0.0, 2.0), (0.0, -4.0, -0.5, 1.5), (0.4, 9.0, 1.0, 3.0)]
)
def test_a_settled_score_is_in_balance(score: float, logit: float, pull: float, reach: float) -> None:
    new = settled(score, logit, pull, reach=reach, trust=1.5)
    for _ in range(3):  # from anywhere it comes to the same point
        new = settled(score, logit + reach * (new - pull), new, reach=reach, trust=1.5)
    assert new == pytest.approx(1.5 * (score - chance(logit + reach * (new - pull))), abs=1e-6)


def test_many_scores_seen_once_come_close_to_a_fit_over_many_passes() -> None:
    """The fit: all scores settled again and again until nothing moves."""
    some = list(texts(400))
    once = TextScorer()
    for text, score, _ in some:
        once.learn(features(text), "m", score, 0.5)
    before = [once.scores(features(text), ("m",))["m"] for text, _, _ in some]
    for _ in range(60):
        for one in once._remembered:
            one.settle()
    after = [once.scores(features(text), ("m",))["m"] for text, _, _ in some]
    assert max(abs(one - other) for one, other in zip(before, after, strict=True)) < 0.1


def test_memory_is_bounded_and_what_is_forgotten_goes_on_to_teach(monkeypatch) -> None:
    monkeypatch.setattr("penstock.policies.routing.text.MOST_REMEMBERED", 50)
    scorer = TextScorer()
    for text, score, _ in texts(400):
        scorer.learn(features(text), "m", score, 0.5)
    assert len(scorer._remembered) == 50
    said = scorer.scores(features("alpha beta"), ("m",))["m"], scorer.scores(features("zeta beta"), ("m",))["m"]
    assert said[0] < said[1]
