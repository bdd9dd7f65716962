"""The choice: quality against expected cost, with one knob, and a little exploring. Pure."""

from hashlib import blake2b

from msgspec import Struct

STEPS = 1 << 32


class Candidate(Struct, frozen=True, gc=False):
    """One model that could answer."""

    name: str
    """Of its deployment."""
    quality: float
    """What its answer is expected to be worth, from 0 to 1."""
    dollars: float
    """What the call is expected to cost there. An estimate for choosing, never a bill."""


class Choice(Struct, frozen=True, gc=False):
    """What was chosen, and how probable that was."""

    candidate: Candidate
    propensity: float
    reason: str


def worth(candidate: Candidate, answer_worth: float) -> float:
    """Return dollars: the answer's expected worth, less what it costs."""
    return candidate.quality * answer_worth - candidate.dollars


def best_of(candidates: list[Candidate], answer_worth: float) -> Candidate:
    """Return the candidate with the highest worth; of equal ones the cheaper, then by name."""
    return max(candidates, key=lambda one: (round(worth(one, answer_worth), 12), -one.dollars, one.name))


def choose(candidates: list[Candidate], answer_worth: float, *, explore: float, seed: str) -> Choice:
    """Choose; with probability `explore` any of them, evenly. The same seed makes the same choice."""
    best = best_of(candidates, answer_worth)
    count = len(candidates)
    if not explore or count == 1:
        return Choice(best, 1.0, "best worth")
    drawn = int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "big")
    each = explore / count
    if (drawn >> 32) / STEPS >= explore:
        return Choice(best, 1 - explore + each, "best worth")
    other = candidates[(drawn & (STEPS - 1)) % count]
    return Choice(other, each if other is not best else 1 - explore + each, "exploring")
