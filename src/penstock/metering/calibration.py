"""Learning how far our count of a family is off, from the usage that its provider reports."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

ENOUGH = 15
"""Pairs before a learned ratio is used: their ratio leaves 3.7 % error a document (measured on 13 routes)."""
REMEMBERED = 200
MOST_KEYS = 1_000


@dataclass(slots=True)
class _Pairs:
    """The latest pairs of one model and place: what we counted (before any ratio), what the provider says."""

    pairs: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def ratio(self) -> float:
        return sum(said for _, said in self.pairs) / sum(counted for counted, _ in self.pairs)


class Calibration:
    """Ratio of reported to counted tokens by model and place (a route, a class of content). Pure, in memory."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], _Pairs] = OrderedDict()

    def update(self, model: str, place: str, counted: int, reported: int) -> None:
        """Learn from one call. Counts of zero teach nothing."""
        if counted <= 0 or reported <= 0:
            return
        key = (model, place)
        pairs = self._seen.setdefault(key, _Pairs())
        pairs.pairs.append((counted, reported))
        self._seen.move_to_end(key)
        if len(self._seen) > MOST_KEYS:
            self._seen.popitem(last=False)

    def ratio(self, model: str, place: str) -> float | None:
        """Return reported tokens for one counted; None until there are enough pairs."""
        pairs = self._seen.get((model, place))
        return pairs.ratio() if pairs and len(pairs.pairs) >= ENOUGH else None

    def band(self, model: str, place: str) -> float | None:
        """Return the relative error within which 95 of 100 of the pairs lie; None until there are enough."""
        ratio = self.ratio(model, place)
        if ratio is None:
            return None
        errors = sorted(abs(counted * ratio - said) / said for counted, said in self._seen[model, place].pairs)
        return errors[min(len(errors) - 1, int(len(errors) * 0.95))]
