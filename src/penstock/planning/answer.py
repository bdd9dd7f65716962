"""What every calculator gives back beside its own figures."""

import dataclasses

from penstock.planning.prices import PriceUsed
from penstock.planning.sensitivity import Swing


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A number of the guide that does not hold, what it is instead, and why."""

    section: str
    says: str
    computed: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Base of every result."""

    answer: str
    """The result in one sentence."""
    notes: tuple[str, ...] = ()
    """What to know before acting on it."""
    prices: tuple[PriceUsed, ...] = ()
    """The price rows that the figures rest on."""
    assumptions: tuple[str, ...] = ()
    corrections: tuple[Correction, ...] = ()
    """Where the guide says something else."""
    moved: str = ""
    """The figure that the sensitivity moves."""
    sensitivity: tuple[Swing, ...] = ()
    """Which input moves that figure most, the strongest first."""
