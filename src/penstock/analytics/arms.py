"""What a lever changes, from randomised arms: the mean of the control units less the treated ones, at every look.

What a unit (a conversation, a user) costs has no upper bound, so nothing that holds for any number of units can be
said; what is used is an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform
central limit theory, Annals of Statistics 2024). It assumes that units are independent, were drawn into arms with the
probability that was logged, and that costs have a finite variance; and it is asymptotic: below `LEAST` units in an arm
nothing is said, and one unit that weighs much is named (`heaviest`). Where it errs with costs that are very skewed, it
is on the careful side: the few units without the lever miss a dear one, and the saving is larger than is said.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from msgspec import Struct

from penstock.analytics.spend import add

LEAST = 100
"""Units in the smaller arm below which no interval is given."""
TUNED_FOR = 1_000
"""Units at which the interval is narrowest."""


class Unit(Struct, frozen=True, gc=False):
    """One unit with what is added up over all its calls: dollars, or a score."""

    arm: Literal["treated", "control"]
    propensity: Decimal
    """Probability of the arm that it is in."""
    amount: Decimal


class Difference(Struct, frozen=True, kw_only=True):
    """What the treated units would have had without the lever, and the difference to what they have, a unit."""

    treated: int
    control: int
    baseline: Fraction | None
    """Mean of the control arm, weighted as the treated units are drawn; None without a control unit."""
    mean: Fraction | None
    """Of the treated arm."""
    low: float | None
    """Of baseline less mean; None below `LEAST`."""
    high: float | None
    heaviest: float
    """Share of one unit in the sum of its arm, the largest one."""

    @property
    def difference(self) -> Fraction | None:
        """Baseline less mean: above 0 the lever makes it smaller."""
        return self.baseline - self.mean if self.baseline is not None and self.mean is not None else None


def difference(units: Sequence[Unit], alpha: float) -> Difference:
    """Compare the arms; exact but for the interval, which holds at every look with a probability of 1 - alpha.

    A control unit weighs as much as treated ones are drawn for one of its kind: with one share for all that is the
    plain mean, and a share that was changed on the way does not mix cheap days with dear ones.
    """
    treated = [unit.amount for unit in units if unit.arm == "treated"]
    control: dict[Decimal, list[Decimal]] = defaultdict(list)
    for unit in units:
        if unit.arm == "control":
            control[unit.propensity].append(unit.amount)
    held_out = [amount for group in control.values() for amount in group]
    weights = {share: (1 - Fraction(share)) / Fraction(share) for share in control}
    weight = sum((one * len(control[share]) for share, one in weights.items()), Fraction(0))
    total = sum((one * Fraction(add(control[share])) for share, one in weights.items()), Fraction(0))
    baseline = total / weight if weight else None
    mean = Fraction(add(treated)) / len(treated) if treated else None
    low = high = None
    if min(len(treated), len(held_out)) >= LEAST and baseline is not None and mean is not None:
        # What each unit moves the estimate by: its residual, weighted as it is counted.
        centre, usual, count = float(baseline), float(mean), len(treated) + len(held_out)
        squares = math.fsum((float(amount) - usual) ** 2 for amount in treated)
        for share, group in control.items():
            squares += float(weights[share]) ** 2 * math.fsum((float(amount) - centre) ** 2 for amount in group)
        wide = halfwidth(count, math.sqrt(squares / (count - 1)) * count / len(treated), alpha)
        low, high = centre - usual - wide, centre - usual + wide
    return Difference(
        treated=len(treated), control=len(held_out), baseline=baseline, mean=mean, low=low, high=high,
        heaviest=max(_heaviest(held_out), _heaviest(treated)),
    )  # fmt: skip


def halfwidth(count: int, deviation: float, alpha: float) -> float:
    """Return half the width of the asymptotic confidence sequence of a mean of `count` values."""
    said = -2 * math.log(alpha)
    rho = (said + math.log(said) + 1) / TUNED_FOR
    grown = count * rho + 1
    return deviation * math.sqrt(2 * grown / (count * count * rho) * math.log(math.sqrt(grown) / alpha))


def _heaviest(amounts: Sequence[Decimal]) -> float:
    total = add(amounts)
    return float(max(amounts) / total) if total > 0 else 0.0
