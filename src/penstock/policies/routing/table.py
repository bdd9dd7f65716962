"""What is known of each model at each kind of call: a table of posteriors that learns from scores.

A key is who calls, where from, and for what task. Its posterior leans on that of the same caller's task wherever it
comes from, and this on the guide's right-sizing matrix: each counts as much as ten observations. What one tenant scores
moves no other. Old scores fade, by half in thirty days.

What is seen to be wrong with answers without any score (`notice`) lowers what the matrix says, and nothing else: ten
scores outweigh it, however often it was seen.
"""

from collections import OrderedDict
from typing import NamedTuple, TypeVar

from msgspec import Struct

from penstock.policies.tiers import Tier, expected_quality

PRIOR_WEIGHT = 10.0
"""Observations that what is known from elsewhere counts for."""
HALF_LIFE = 30 * 86_400.0
"""Seconds in which a score loses half its weight."""
USUAL_FAILURES = 0.03
"""Share of answers with which something is seen to be wrong, where none was seen: what the public results show for a
good cheap model."""
LEAST_SEEN = 4.0
"""Observations from which such a share is believed: 20 answers, where each counts a fifth of one."""
MOST_KEYS = 10_000
"""Keys remembered: their places may be named by clients."""


class Key(NamedTuple):
    """What calls have in common that are decided alike."""

    tenant: str
    place: str
    """The route's feature or app, or a fingerprint of the system prompt and the names of its tools."""
    task: str

    def __str__(self) -> str:
        return "|".join(self)

    @classmethod
    def read(cls, text: str) -> "Key":
        """Read a key as the ledger keeps it. Raises ValueError where it is none."""
        tenant, place, task = text.split("|")
        return cls(tenant, place, task)


class Estimate(NamedTuple):
    """Mean score of a model at a key, and the scores of its own that this rests on."""

    mean: float
    own: float
    """Weight of the key's own scores: their number, but for what has faded."""


class _Cell(Struct):
    """Scores of one model at one key, faded to `at`."""

    total: float = 0.0
    weight: float = 0.0
    at: float = 0.0

    def faded(self, at: float) -> float:
        return 0.5 ** ((at - self.at) / HALF_LIFE) if at > self.at else 1.0

    def add(self, score: float, at: float, weight: float = 1.0) -> None:
        fade = self.faded(at)
        self.total = self.total * fade + weight * score
        self.weight = self.weight * fade + weight
        self.at = max(self.at, at)


class Table:
    """Key and model -> what its answers are worth, from 0 to 1. Kept in memory, by each worker."""

    def __init__(self, tiers: dict[str, Tier]) -> None:
        """`tiers` says for each model which it is: where nothing has been learned, the matrix goes by that."""
        self._tiers = tiers
        self._keys: OrderedDict[Key, dict[str, _Cell]] = OrderedDict()
        self._tasks: OrderedDict[tuple[str, str], dict[str, _Cell]] = OrderedDict()
        self._signs: OrderedDict[Key, dict[str, _Cell]] = OrderedDict()
        """Shares of answers with which something was seen to be wrong."""

    def learn(self, key: Key, model: str, score: float, at: float) -> None:
        """Take one score from 0 to 1; `at` in seconds since 1970. Raises ValueError for another score."""
        if not 0 <= score <= 1:
            raise ValueError(f"A score is a number from 0 to 1, not {score}.")
        for cells in (_row(self._keys, key), _row(self._tasks, (key.tenant, key.task))):
            _cell(cells, model, at).add(score, at)

    def notice(self, key: Key, model: str, *, wrong: bool, weight: float, at: float) -> None:
        """Take whether something was seen to be wrong with an answer, as so much of an observation."""
        _cell(_row(self._signs, key), model, at).add(float(wrong), at, weight)

    def quality(self, key: Key, model: str, at: float) -> Estimate:
        """Say what a model's answers are worth at a key."""
        mean = self._of_task(key, model, at)
        cell = self._keys[key].get(model) if key in self._keys else None
        if cell is None:
            return Estimate(mean, 0.0)
        fade = cell.faded(at)
        own = cell.weight * fade
        return Estimate((cell.total * fade + PRIOR_WEIGHT * mean) / (own + PRIOR_WEIGHT), own)

    def _of_task(self, key: Key, model: str, at: float) -> float:
        prior = expected_quality(key.task, self.tier(model)) * self._unmarred(key, model, at)
        cells = self._tasks.get((key.tenant, key.task))
        cell = cells.get(model) if cells is not None else None
        if cell is None:
            return prior
        fade = cell.faded(at)
        return (cell.total * fade + PRIOR_WEIGHT * prior) / (cell.weight * fade + PRIOR_WEIGHT)

    def _unmarred(self, key: Key, model: str, at: float) -> float:
        """Return the share of answers with which nothing is seen to be wrong, beside the usual one; at most 1."""
        cells = self._signs.get(key)
        cell = cells.get(model) if cells is not None else None
        if cell is None:
            return 1.0
        fade = cell.faded(at)
        if cell.weight * fade < LEAST_SEEN - 1e-9:  # twenty fifths are not quite four
            return 1.0
        wrong = (cell.total * fade + PRIOR_WEIGHT * USUAL_FAILURES) / (cell.weight * fade + PRIOR_WEIGHT)
        return min(1.0, (1 - wrong) / (1 - USUAL_FAILURES))

    def tier(self, model: str) -> Tier:
        """Return the tier of a model."""
        return self._tiers.get(model, "standard")

    def knows(self, key: Key) -> bool:
        """Whether there is a score of this key itself."""
        return key in self._keys

    def forget(self, model: str) -> None:
        """Drop what was learned of a model: it has been replaced by another of its name."""
        for cells in (*self._keys.values(), *self._tasks.values(), *self._signs.values()):
            cells.pop(model, None)


def _cell(cells: dict[str, _Cell], model: str, at: float) -> _Cell:
    cell = cells.get(model)
    if cell is None:
        cell = cells[model] = _Cell(at=at)
    return cell


K = TypeVar("K")


def _row(rows: OrderedDict[K, dict[str, _Cell]], key: K) -> dict[str, _Cell]:
    """Return the row of a key, a new one in the place of the one that was used longest ago."""
    row = rows.get(key)
    if row is None:
        if len(rows) >= MOST_KEYS:
            rows.popitem(last=False)
        row = rows[key] = {}
    else:
        rows.move_to_end(key)
    return row
