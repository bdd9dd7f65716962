"""What routing has learned, in one worker: the table, the scorers, how long answers are, how often checks fail."""

from collections import OrderedDict
from typing import TypeVar

from msgspec import Struct

from penstock.policies.routing.answer import Answer
from penstock.policies.routing.answer_scorer import (
    AnswerScorer,
    answer_features,
    confidence_in,
    read_part,
    signs_of,
)
from penstock.policies.routing.table import PRIOR_WEIGHT, USUAL_FAILURES, Key, Table
from penstock.policies.routing.text import TextScorer, excerpt, features
from penstock.policies.tiers import Tier

MOST_CONVERSATIONS, MOST_DECISIONS, MOST_SCORERS, MOST_CELLS = 10_000, 10_000, 8, 10_000
USUAL_OUTPUT = 300.0
"""Tokens of an answer, where none of the task was seen yet."""
LEARN_OUTPUT = 0.05
"""Weight of the newest answer in the mean length of a task's answers."""
ENOUGH_LEVELS = 20
"""Scored answers that stated a confidence, from which that word is believed as far as it was right."""


class _Open(Struct):
    """What must be known of a decision when its score comes."""

    key: Key
    text: str
    """The part of it that a scorer reads; in memory only."""
    model: str
    owner: tuple[str, str]
    """Id of the virtual key, and team: who may score it."""
    answer: str | None = None
    """The part of the answer that a scorer reads; in memory only. None: it was not looked at."""
    signs: tuple[str, ...] = ()
    confidence: str = ""
    """Which the answer stated of itself."""


class _Share(Struct):
    count: int = 0
    total: float = 0.0


class Memory:
    """Shared by the routes of a worker. Bounded: what was used longest ago goes first."""

    def __init__(self, tiers: dict[str, Tier]) -> None:
        self.table = Table(tiers)
        self._conversations: OrderedDict[str, str] = OrderedDict()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._scorers: OrderedDict[Key, TextScorer] = OrderedDict()
        self._answer_scorers: OrderedDict[Key, AnswerScorer] = OrderedDict()
        self._failures: OrderedDict[tuple[Key, str], _Share] = OrderedDict()
        self._levels: OrderedDict[tuple[Key, str, str], _Share] = OrderedDict()
        self._lengths: dict[str, float] = {}

    # Decisions

    def decided(self, request_id: str, key: Key, text: str, model: str, owner: tuple[str, str] = ("", "")) -> None:
        """Keep what a score will ask for."""
        _remember(self._open, request_id, _Open(key, excerpt(text), model, owner), MOST_DECISIONS)

    def went_to(self, conversation: str, model: str) -> None:
        """Keep where the next turn of a conversation finds its model."""
        if conversation:
            _remember(self._conversations, conversation, model, MOST_CONVERSATIONS)

    def model_of(self, conversation: str) -> str:
        """Return the model that a conversation went to last."""
        return self._conversations.get(conversation, "")

    def by_words(self, key: Key, text: str, models: tuple[str, ...]) -> dict[str, float]:
        """Return what the scorer of a key says, where it is better than the table; else nothing."""
        scorer = self._scorers.get(key)
        return scorer.scores(features(text), models) if scorer is not None and scorer.is_better else {}

    # Scores

    def served(self, request_id: str, model: str) -> None:
        """Note which model answered in the end."""
        known = self._open.get(request_id)
        if known is not None:
            known.model = model

    def owner(self, request_id: str) -> tuple[str, str] | None:
        """Return whose request it was; None: it was not, or is no longer, known."""
        known = self._open.get(request_id)
        return known.owner if known else None

    def learn(self, request_id: str, score: float, at: float) -> bool:
        """Take the score of an answer that was decided about here; False: it is not, or no longer, known."""
        known = self._open.get(request_id)
        if known is None:
            return False
        key, model = known.key, known.model
        by_table = self.table.quality(key, model, at).mean
        self.table.learn(key, model, score, at)
        scorer = self._scorers.get(key) or TextScorer()
        _remember(self._scorers, key, scorer, MOST_SCORERS)
        scorer.learn(features(known.text), model, score, by_table)
        if known.answer is not None:
            judge = self._answer_scorers.get(key) or AnswerScorer()
            _remember(self._answer_scorers, key, judge, MOST_SCORERS)
            judge.learn(answer_features(known.text, known.answer, known.signs), model, score, by_table)
        if known.confidence:
            _add(self._levels, (key, model, known.confidence), score)
        return True

    # Answers

    def wrote(self, task: str, tokens: int) -> None:
        """Take the length of an answer."""
        self._lengths[task] = self.length(task) + LEARN_OUTPUT * (tokens - self.length(task))

    def length(self, task: str) -> float:
        """Return how many tokens an answer of this task is expected to have."""
        return self._lengths.get(task, USUAL_OUTPUT)

    def checked(self, key: Key, model: str, *, failed: bool) -> None:
        """Take the verdict of a cascade's checks."""
        _add(self._failures, (key, model), float(failed))

    def failures(self, key: Key, model: str) -> tuple[float, int]:
        """Return which share of a model's answers is expected to fail the checks, and how many were checked."""
        seen = self._failures.get((key, model)) or _Share()
        return (seen.total + PRIOR_WEIGHT * USUAL_FAILURES) / (seen.count + PRIOR_WEIGHT), seen.count

    def said(self, request_id: str, answer: Answer) -> None:
        """Note what an answer says: its score will tell what answers like it are worth."""
        known = self._open.get(request_id)
        if known is not None:
            known.answer, known.signs = read_part(answer.text), signs_of(answer)
            known.confidence = confidence_in(answer.text)

    def pass_rate(self, key: Key, model: str, question: str, answer: Answer) -> tuple[float, str] | None:
        """Return how often answers like this one were good, and in what they are alike; None: nothing is known of it.

        By the scorer of answers, where it is believed; else by the confidence that the answer states.
        """
        judge = self._answer_scorers.get(key)
        if judge is not None:
            found = answer_features(excerpt(question), read_part(answer.text), signs_of(answer))
            likely = judge.chance(found, model)
            if likely is not None:
                return likely, "answers like it"
        level = confidence_in(answer.text)
        seen = self._levels.get((key, model, level)) if level else None
        if seen is None or seen.count < ENOUGH_LEVELS:
            return None
        return (seen.total + 1) / (seen.count + 2), f"confidence {level}"


K = TypeVar("K")
V = TypeVar("V")


def _remember(where: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    where[key] = value
    where.move_to_end(key)
    if len(where) > most:
        where.popitem(last=False)


def _add(where: OrderedDict[K, _Share], key: K, value: float) -> None:
    share = where.get(key) or _Share()
    share.count, share.total = share.count + 1, share.total + value
    _remember(where, key, share, MOST_CELLS)
