"""How likely an answer is good, by what stands in it: learned from scores, calibrated on what came of its own guesses.

The words of question and answer, each in places of their own, and a few signs: how long it is, whether it hedges, how
sure its tokens were, what it says of itself. The same logistic model as for questions, under the same condition: it is
believed only where its guesses, each made before the score was known, were better than the table's.
"""

import re
from collections import deque
from math import exp, log2
from zlib import crc32

from penstock.policies.routing.answer import Answer
from penstock.policies.routing.text import PLACES, Features, TextScorer, features

ENOUGH, FIRST = 200, 100
"""Scored answers of a key before the scorer may be believed, and of these the first, which are not judged."""
HEAD, TAIL = 300, 500
"""Characters of an answer that are read: the end most of all, for there it says what it comes to."""
SALT = 0x9E3779B9
"""Sets the words of an answer apart from those of a question."""
HEDGES = re.compile(
    r"\b(?:i'm not sure|i am not sure|not certain|i don't know|i do not know|cannot determine|can't determine|unclear|"
    r"i apologize|i'm sorry|unfortunately|as an ai|it depends|might be|may be|possibly|perhaps|approximately)\b",
    re.IGNORECASE,
)
CONFIDENCE = re.compile(r'"confidence"\s*:\s*"(high|medium|low)"', re.IGNORECASE)
CALIBRATED_ON = 500
"""The latest guesses and scores that the calibration goes by."""
RENEW = 25
"""Scores after which it is fitted anew."""
STEPS = 8


def confidence_in(text: str) -> str:
    """Return the confidence that an answer states: `high`, `medium`, `low`, or nothing."""
    found = CONFIDENCE.search(text) if "confidence" in text else None
    return found[1].lower() if found else ""


def read_part(text: str) -> str:
    """Return what is read of an answer."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]} {text[-TAIL:]}"


def signs_of(answer: Answer) -> tuple[str, ...]:
    """Name what can be seen of an answer beside its words, in steps: a longer one is not worse by a straight line."""
    found = [f"length {len(answer.text).bit_length()}", f"end {answer.finish}", f"hedges {_hedges(answer.text)}"]
    found.append(f"confidence {confidence_in(answer.text)}")
    if answer.logprobs:
        ordered = sorted(answer.logprobs)
        mean, low = sum(ordered) / len(ordered), ordered[len(ordered) // 10]
        found += [f"mean {_step(mean)}", f"low {_step(low)}", f"least {_step(ordered[0])}"]
    return tuple(found)


def _hedges(text: str) -> int:
    return min(2, len(HEDGES.findall(text)))


def _step(logprob: float) -> int:
    """Put a logprob into one of a dozen steps, each half as sure as the one before."""
    return max(0, min(12, round(log2(max(1e-3, -logprob))) + 10))


def answer_features(question: str, answer: str, signs: tuple[str, ...]) -> Features:
    """Hash a question, what was read of its answer, and the answer's signs."""
    asked, said = features(question), features(answer, SALT)
    each = len(signs) ** -0.5 if signs else 0.0
    return Features(
        asked.places + said.places + [crc32(sign.encode(), SALT) & PLACES for sign in signs],
        asked.values + said.values + [each] * len(signs),
    )


class Calibration:
    """Platt's: a straight line from the logit that was guessed to the one that was observed, by Newton's method."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=CALIBRATED_ON)
        self._since = 0
        self.slope, self.base = 1.0, 0.0

    def add(self, logit: float, score: float) -> None:
        """Take a guess and what came of it."""
        self._seen.append((logit, score))
        self._since += 1
        if self._since >= RENEW:
            self._since = 0
            self.slope, self.base = fitted(self._seen)

    def chance(self, logit: float) -> float:
        """Return how often answers with such a guess were good."""
        return 1 / (1 + exp(-max(-30.0, min(30.0, self.slope * logit + self.base))))


def fitted(seen: deque[tuple[float, float]]) -> tuple[float, float]:
    """Fit slope and base; a penalty, worth one observation, holds them at 1 and 0 where little is known."""
    slope, base = 1.0, 0.0
    for _ in range(STEPS):
        down, across = slope - 1.0, base
        curve, cross, flat = 1.0, 0.0, 1.0
        for logit, score in seen:
            said = 1 / (1 + exp(-max(-30.0, min(30.0, slope * logit + base))))
            error, weight = said - score, said * (1 - said)
            down += error * logit
            across += error
            curve += weight * logit * logit
            cross += weight * logit
            flat += weight
        span = curve * flat - cross * cross
        slope -= (flat * down - cross * across) / span
        base -= (curve * across - cross * down) / span
    return slope, base


class AnswerScorer:
    """The scorer of one key's answers."""

    def __init__(self) -> None:
        self._scorer = TextScorer(enough=ENOUGH, first=FIRST)
        self._calibrations: dict[str, Calibration] = {}

    def learn(self, found: Features, model: str, score: float, by_table: float) -> None:
        """Take the score of an answer; `by_table` is what the table had said."""
        guess = self._scorer.learn(found, model, score, by_table)
        if guess is not None and self._scorer.texts > FIRST:
            self._calibrations.setdefault(model, Calibration()).add(guess, score)

    def chance(self, found: Features, model: str) -> float | None:
        """Say how likely an answer is good; None: it is not believed, or knows nothing of the model."""
        calibration = self._calibrations.get(model)
        if calibration is None or not self._scorer.is_better:
            return None
        return calibration.chance(self._scorer.logits(found, (model,))[model])
