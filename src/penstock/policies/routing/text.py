"""A scorer by words: hashed features, and one logistic model with an L2 penalty for each model that answers.

It is fitted as scores come: a score is settled against all others by one exact step of dual coordinate ascent
(Shalev-Shwartz and Zhang, JMLR 2013; Yu and others, Machine Learning 2011), and a few remembered ones are settled anew.
So it comes close to a fit over many passes, has no step size to be wrong about, and is the same for the same scores.

It is judged as it learns: every score is first predicted, by the scorer and by the table, and then learned. What it
says counts only where these predictions were better than the table's beyond chance.
"""

import re
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import repeat
from math import exp, log, sqrt
from operator import itemgetter, mul
from typing import NamedTuple
from zlib import crc32

SIZE = 1 << 16
PLACES = SIZE - 1
HEAD, TAIL = 700, 500
"""Characters of a text that are read: its beginning and its end."""
FIRST_WORDS, LAST_WORDS = 192, 128
"""Of these, words and signs: of a text of nothing but digits and signs not all."""
ENOUGH_SCORES = 500
"""Scores that a key needs before its scorer may be believed."""
FIRST_SCORES = 200
"""The first ones are learned from, and not judged."""
SURE = 2.33
"""Standard errors by which it must be better than the table: one mistake in a hundred."""
TRUST, MOST_TRUST = 40.0, 2.0
"""What one score may pull, against the penalty on large weights (C of other libraries): `TRUST` over the root of the
number of scores, and no more than the other. Chosen by five folds of the training part of eight public sets."""
MOST_REMEMBERED = 8_000
"""Scores that are settled anew as others come; what older ones have taught stays."""
AGAIN = 16
"""How many of them with each new one."""
SETTLED = 1e-3
"""A pull that would change by less stays."""
NEWTON = 4
"""Steps in which one score is settled: that is exact to five digits."""
WORD = re.compile(rb"[a-z]+|[\x80-\xff]+|\S")
"""Words, and single digits and signs: runs of these, or whole numbers, tell no more."""
LOW = 0 if sys.byteorder == "little" else 1
LOGS = [1.0, *(1 + log(count) for count in range(1, 2 * (HEAD + TAIL)))]


class Features(NamedTuple):
    """Places of a text's words and pairs of words, and what each counts for. The words cannot be read out of it."""

    places: list[int]
    values: list[float]
    """1 for a word that is there once, and a logarithm more for one that comes again; all scaled to the length 1."""


def excerpt(text: str) -> str:
    """Return what is read of a text."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]} {text[-TAIL:]}"


@lru_cache(maxsize=16)
def words_of(text: str) -> tuple[bytes, ...]:
    """Return the words and signs of what is read of a text. Of one request they are asked for several times."""
    found = WORD.findall(excerpt(text).lower().encode("utf-8", "surrogatepass"))
    if len(found) > FIRST_WORDS + LAST_WORDS:
        found = found[:FIRST_WORDS] + found[-LAST_WORDS:]
    return tuple(found)


def features(text: str, salt: int = 0) -> Features:
    """Hash the words of a text; another salt puts the same words into other places."""
    words = words_of(text)
    hashes = array("I", map(crc32, words, repeat(salt)) if salt else map(crc32, words))
    # A cheaper mix of two hashes (31 a + b) lets short words collide, and costs two points of APGR.
    hashes.extend(array("I", map(crc32, words[1:], hashes)))
    found = Counter(memoryview(hashes).cast("B").cast("H")[LOW::2].tolist())  # the lower half of each: its place
    counts = [LOGS[count] for count in found.values()]
    scale = 1 / sqrt(sum(map(mul, counts, counts)) or 1.0)
    return Features(list(found), [count * scale for count in counts])


Gather = Callable[[list[float]], tuple[float, ...]]
"""Takes what is at a text's places out of a list."""


def _gather(places: Sequence[int]) -> Gather:
    if len(places) < 2:  # of one place, itemgetter returns no tuple
        return lambda values: tuple(values[place] for place in places)
    return itemgetter(*places)


class _Head:
    """One logistic model: its weights are the remembered texts, each as often as its pull says."""

    __slots__ = ("bias", "count", "total", "trust", "weights")

    def __init__(self) -> None:
        self.weights = [0.0] * SIZE
        self.count, self.total, self.bias, self.trust = 0, 0.0, 0.0, MOST_TRUST

    def take(self, score: float) -> None:
        """Begin where the mean of all scores is: words have only to say what differs from it."""
        self.count, self.total = self.count + 1, self.total + score
        mean = (self.total + 1) / (self.count + 2)
        self.bias = log(mean / (1 - mean))
        self.trust = min(MOST_TRUST, TRUST / sqrt(self.count))

    def lean(self, gather: Gather, values: Sequence[float]) -> float:
        """Return the logit of a text whose values have the length 1."""
        said: float = sum(map(mul, gather(self.weights), values))
        return self.bias + said


class _Score:
    """One score that is remembered, and how much it pulls at its head."""

    __slots__ = ("head", "places", "pull", "reach", "score", "values")

    def __init__(self, head: _Head, text: Features, score: float) -> None:
        self.head, self.score, self.pull = head, score, 0.0
        self.places, self.values = array("H", text.places), array("f", text.values)
        self.reach = sum(value * value for value in self.values)
        """By how much a pull of 1 moves the logit of the text itself."""

    def settle(self) -> None:
        """Pull so much that the penalty and the error of this score are in balance, the others' pulls being given."""
        head, values = self.head, self.values
        logit = head.lean(_gather(self.places), values)
        pull = settled(self.score, logit, self.pull, reach=self.reach, trust=head.trust)
        step = pull - self.pull
        if abs(step) < SETTLED:
            return
        self.pull, weights = pull, head.weights
        for place, value in zip(self.places, values, strict=True):
            weights[place] += step * value


def settled(score: float, logit: float, pull: float, *, reach: float, trust: float) -> float:
    """Solve `pull = trust (score - chance(logit))` by guarded Newton steps; a pull of 1 moves the logit by `reach`."""
    low, high = trust * (score - 1), trust * score
    others = logit - reach * pull
    for _ in range(NEWTON):
        said = chance(others + reach * pull)
        error = pull / trust - score + said
        low, high = (low, pull) if error > 0 else (pull, high)
        pull -= error / (1 / trust + reach * said * (1 - said))
        if not low <= pull <= high:
            pull = (low + high) / 2
    return pull


def chance(logit: float) -> float:
    """Return the probability whose logit this is."""
    return 1 / (1 + exp(-max(-30.0, min(30.0, logit))))


class TextScorer:
    """The scorer of one key."""

    def __init__(self, *, enough: int = ENOUGH_SCORES, first: int = FIRST_SCORES) -> None:
        """`enough`: scores before it may be believed; `first`: those of them that are not judged."""
        self._enough, self._first = enough, first
        self._heads: dict[str, _Head] = {}
        self._remembered: list[_Score] = []
        self._turn = 0
        self.texts = 0
        self._gain, self._square = 0.0, 0.0

    def scores(self, text: Features, models: tuple[str, ...]) -> dict[str, float]:
        """Say what each model's answer will be worth; models without a score are left out."""
        return {model: chance(logit) for model, logit in self.logits(text, models).items()}

    def logits(self, text: Features, models: tuple[str, ...]) -> dict[str, float]:
        """Say the same as logits."""
        gather = _gather(text.places)
        return {model: self._heads[model].lean(gather, text.values) for model in models if model in self._heads}

    def learn(self, text: Features, model: str, score: float, by_table: float) -> float | None:
        """Take one score from 0 to 1; `by_table` is what the table had said.

        Returns the logit that was guessed before; None: the model had no score yet.
        """
        head, guess = self._heads.get(model), None
        if head is None:
            head = self._heads[model] = _Head()
        else:
            guess = head.lean(_gather(text.places), text.values)
        if self.texts >= self._first:
            gain = (by_table - score) ** 2 - (chance(guess or 0.0) - score) ** 2
            self._gain += gain
            self._square += gain * gain
        head.take(score)
        self._settle(_Score(head, text, score))
        return guess

    def _settle(self, new: _Score) -> None:
        remembered = self._remembered
        new.settle()
        if len(remembered) < MOST_REMEMBERED:
            remembered.append(new)
        else:
            remembered[self.texts % MOST_REMEMBERED] = new
        self.texts += 1
        for _ in range(min(AGAIN, len(remembered) - 1)):
            self._turn = (self._turn + 1) % len(remembered)
            remembered[self._turn].settle()

    @property
    def is_better(self) -> bool:
        """Whether its predictions have been better than the table's, beyond chance."""
        if self.texts < self._enough:
            return False
        count = self.texts - self._first
        mean = self._gain / count
        return mean > SURE * sqrt(max(self._square / count - mean * mean, 0.0) / count)
