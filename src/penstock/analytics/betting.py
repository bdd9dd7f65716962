"""How sure a mean of bounded scores is, at every look: tests and intervals by betting.

A loss is score of the baseline less score of what was served, so it lies in [-1, 1]. Whoever doubts that the mean loss
is as large as `margin` bets against it, never more than they have; if the doubt is wrong, their money grows by chance
only, and reaches 1/alpha with a probability of at most alpha, however often one looks (Ville). Nothing is assumed of
the losses but that they are bounded and that, given the past, their mean stays the same: no normal approximation, no
least number. Method: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting (JRSS B 2024);
sequences of claims: Angelopoulos and others, Learn then Test (2021).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from statistics import NormalDist

BOLDNESS = tuple(0.005 * 1.2**step for step in range(29))
"""Shares that are staked of what can be lost at most, 0.5 to 82 %, each by one of the bettors whose mean wealth counts.
With many losses a small stake wins, with few a large one; nobody knows beforehand, and the mean of all is a fair bet.
"""
STEPS = 60
MOST_STAKED = 0.75


def log_wealth(losses: Mapping[float, int], margin: float) -> float:
    """Return the logarithm of what a stake of 1 has become by betting that the mean loss is below `margin`.

    `losses` are counts by value: their order does not matter.
    """
    if margin >= 1:
        return math.inf if losses else 0.0
    if margin < -1:
        return -math.inf if losses else 0.0
    room = (1 - margin) / 2
    steps = [((loss - margin) / 2 / room, count) for loss, count in losses.items()]
    logs = [sum(count * math.log1p(-bold * step) for step, count in steps) for bold in BOLDNESS]
    most = max(logs)
    return most + math.log(sum(math.exp(one - most) for one in logs) / len(logs))


def p_value(losses: Iterable[float], margin: float) -> float:
    """Return the p-value of `the mean loss is at least margin`, valid at every look."""
    return math.exp(min(0.0, -log_wealth(Counter(losses), margin)))


def planned_p_value(losses: Sequence[float], margin: float, *, alpha: float = 0.05) -> float:
    """Return the p-value of `the mean loss is at least margin`, where it is looked at once, after all of `losses`.

    One bettor, whose stake is made for this many losses; the best moment counts. Stronger than `p_value`, which must
    be ready for any number. `losses` stand in the order in which they were drawn.
    """
    room, pace = (1 - margin) / 2, 2 * math.log(1 / alpha) / max(1, len(losses))
    wealth = best = 0.0
    total, squares = 0.5, 0.25
    for number, loss in enumerate(losses, start=1):
        stake = min(math.sqrt(pace * number / squares), MOST_STAKED / room)  # by what is known before this loss
        score = (loss + 1) / 2
        wealth += math.log1p(-stake * (loss - margin) / 2)
        best = max(best, wealth)
        total += score
        squares += (score - total / (number + 1)) ** 2
    return math.exp(-best)


def bounds(losses: Mapping[float, int], alpha: float) -> tuple[float, float]:
    """Return an interval that holds the mean loss at every look, with a probability of at least 1 - alpha.

    Each bound alone holds with 1 - alpha/2. Without losses it is [-1, 1].
    """
    mirrored = {-loss: count for loss, count in losses.items()}
    return -_upper(mirrored, alpha / 2), _upper(losses, alpha / 2)


def _upper(losses: Mapping[float, int], alpha: float) -> float:
    """Return the smallest margin that is ruled out. Wealth only grows with the margin, so halving finds it."""
    low, high, enough = -1.0, 1.0, math.log(1 / alpha)
    if not losses:
        return high
    for _ in range(STEPS):
        middle = (low + high) / 2
        if log_wealth(losses, middle) >= enough:
            high = middle
        else:
            low = middle
    return high


def fixed_sequence(p_values: Iterable[float], alpha: float) -> int:
    """Return how many of the claims hold, tested from the safest on until one fails (Learn then Test).

    That any false claim is among them has a probability of at most `alpha`: no correction for their number is needed.
    """
    return sum(1 for _ in takewhile(lambda p: p <= alpha, p_values))


def spent(alpha: float, times: int) -> float:
    """Return the level of the `times`-th claim about one thing (1, 2, ...), so that all of them together keep alpha."""
    return 6 * alpha / (math.pi * times) ** 2


def pairs_needed(
    losses: Mapping[float, float], margin: float, *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Return how many judged pairs a certificate will take, with that power; None: it will never come.

    `losses` are the weights of the values that a loss takes: what was seen so far, or a guess. The bettor's gain a pair
    has a mean and a spread; the number is where mean x n - spread x sqrt(n) reaches what must be won.
    """
    weight = sum(losses.values())
    if not weight:
        return None
    room = (1 - margin) / 2
    steps = [((loss - margin) / 2 / room, count / weight) for loss, count in losses.items() if count]
    gains = [(sum(share * math.log1p(-bold * step) for step, share in steps), bold) for bold in BOLDNESS]
    gain, bold = max(gains)
    if gain <= 0:
        return None
    spread = math.sqrt(sum(share * (math.log1p(-bold * step) - gain) ** 2 for step, share in steps))
    shared = [one for one, _ in gains if one > gain / 2]  # bettors who win too make what the mean loses less
    enough = math.log(1 / alpha) + math.log(len(BOLDNESS) / len(shared))
    z = NormalDist().inv_cdf(power) * spread
    root = (z + math.sqrt(z * z + 4 * gain * enough)) / (2 * gain)
    return max(1, math.ceil(root * root))


def alarm(losses: Iterable[float], margin: float) -> float:
    """Return how loud the alarm is, at its loudest, that the mean loss has risen above `margin` at some moment.

    Every moment begins a bet of its own that it has, and the alarm is the sum of all their wealth (a Shiryaev-Roberts
    e-detector: Shin, Ramdas and Rinaldo, 2023). While the mean is at most the margin, it takes on average at least `x`
    losses until the alarm is as loud as `x`; after a change it grows exponentially.
    """
    room = (1 + margin) / 2
    sums, loudest = [0.0] * len(BOLDNESS), 0.0
    for loss in losses:
        step = (loss - margin) / 2 / room
        sums = [(one + 1) * (1 + bold * step) for one, bold in zip(sums, BOLDNESS, strict=True)]
        loudest = max(loudest, sum(sums) / len(sums))
        if loudest > LOUD:
            break
    return loudest


LOUD = 1e12
"""Beyond any threshold: what is louder need not be counted."""
