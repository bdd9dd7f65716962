"""Which values of a series are out of the usual: our robust detector, and the guide's rule of three.

A series is a value for each day or hour, oldest first, `None` where nothing is known. Every value is judged by what
came before it alone, as it would have been on the day. Statistics are floats, on a logarithmic scale (asinh).
Source of the comparison: `python -m benchmarks.anomaly_detection`.
"""

import math
import statistics
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, cycle, islice, repeat
from typing import Literal

from msgspec import Struct

from penstock.errors import InputError

Values = Sequence[float | None]
Kind = Literal["spike", "level shift up", "level shift down"]

THRESHOLD = 4.5
"""Robust standard deviations from the expected value."""
LEAST_NOISE = 0.06
"""A series that never moved by more than that is still allowed to move by that."""
RULE_OF_THREE = 3.0
RESTS = 0.02
"""A slot with less of a mean value has no spend worth a word: a weekend, a night."""
FLATTERED = 1.7
LEAST_RUN = 4


class Pace(Struct, frozen=True, kw_only=True):
    """How long things take in a series of days or hours."""

    season: int
    """Values after which the clock looks the same: 7 days, 168 hours."""
    day: int
    """Values of a day."""
    warm: int
    """Values before the first one is judged."""
    memory: int
    """Values that the level is the median of."""
    settle: int
    """Length of a run out of the usual that is a new usual."""
    patience: float
    """Sum of deviations, each beyond one, at which a quiet change of level is believed (CUSUM) ..."""
    least: int
    """... and the values that it must have gone on for."""


DAYS = Pace(season=7, day=1, warm=14, memory=14, settle=4, patience=10.0, least=5)
HOURS = Pace(season=168, day=24, warm=336, memory=168, settle=48, patience=80.0, least=48)


class Flag(Struct, frozen=True, kw_only=True):
    """A run of values [start, end) out of the usual. Sums are of the run."""

    start: int
    end: int
    kind: Kind
    observed: float
    expected: float
    low: float
    """What is still usual, between low and high."""
    high: float


class _Judged(Struct, frozen=True):
    n: int
    value: float
    expected: float
    low: float
    high: float
    score: float


def robust(values: Values, pace: Pace, *, floor: float = 0.0, threshold: float = THRESHOLD) -> list[Flag]:
    """Judge each value by the level, the noise and the shape of the week before it.

    A run of values above is a spike, unless it lasts (`Pace.settle`) or adds up (CUSUM): then it is a change of level,
    announced once, and what follows is judged by the new one. Runs with an excess of less than `floor` dollars, and
    single values below, are not reported; they are left out of what later values are judged by.
    """
    known = [abs(value) for value in values if value]
    unit = statistics.median(known) / 50 if known else 1.0
    clean: list[float | None] = list(values[: pace.warm])
    noise: list[float] = []
    flags: list[Flag] = []
    run: list[_Judged] = []
    drift = _Drift(1), _Drift(-1)
    shape: list[float] = []
    recent = _Window(())
    deviation = LEAST_NOISE
    for n in range(min(pace.warm, len(values)), len(values)):
        value = values[n]
        if value is None or (not value and shape and shape[n % pace.season] < RESTS):
            clean.append(value)  # nothing is known, or nothing is spent where nothing ever is: it says nothing
            continue
        if not shape or n % pace.day == 0:
            shape = _shape(clean[-8 * pace.season :], n, pace.season)
            noise = noise or _errors(clean, shape, unit, pace)
            deviation = max(LEAST_NOISE, _deviation(noise[-4 * pace.season :]))
            recent = _Window(_recent(clean, shape, pace))
        usual = shape[n % pace.season]
        level = recent.median
        middle = math.asinh(level * usual / unit)
        far = threshold * deviation
        error = math.asinh(value / unit) - middle
        judged = _Judged(n, value, level * usual, unit * math.sinh(middle - far),
                         unit * math.sinh(middle + far), error / deviation)  # fmt: skip
        out = abs(judged.score) > threshold
        noise.append(max(-far, min(far, error)))
        if run and (not out or (judged.score > 0) != (run[-1].score > 0)):
            flags += _spike(run, floor)
            run = []
        clean.append(None if out else value)
        if out:
            run.append(judged)
        elif usual >= RESTS:
            recent.add(value / usual, pace.memory)
        moved = _cusum(drift, judged, pace)
        lasting = run if _lasts(run, pace) else moved
        if lasting:
            flag = _shift(lasting, values, shape, pace)
            if flag is None:
                continue
            if abs(flag.observed - flag.expected) >= floor:
                flags.append(flag)
            _settle(clean, values, lasting[0].n, shape, pace)
            recent = _Window(_recent(clean, shape, pace))
            run, drift = [], (_Drift(1), _Drift(-1))
    return flags + _spike(run, floor)


def rule_of_three(values: Values, pace: Pace, *, floor: float = 0.0) -> list[Flag]:
    """Flag what is more than three times the mean of all values that are older than a day: the guide's rule."""
    flags: list[Flag] = []
    for n, value in enumerate(values):
        before = [one for one in values[: max(0, n - pace.day + 1)] if one is not None]
        if value is None or len(before) < pace.warm:
            continue
        mean = statistics.fmean(before)
        if value > RULE_OF_THREE * mean and value - mean >= floor:
            flags.append(
                Flag(start=n, end=n + 1, kind="spike", observed=value, expected=mean, low=0.0,
                     high=RULE_OF_THREE * mean)
            )  # fmt: skip
    return flags


def detect(detector: str, values: Values, pace: Pace, *, floor: float, threshold: float) -> list[Flag]:
    """Judge by the detector of that name."""
    if detector == "robust":
        return robust(values, pace, floor=floor, threshold=threshold)
    if detector == "3x":
        return rule_of_three(values, pace, floor=floor)
    raise InputError(f"There is no detector {detector!r}: use robust or 3x")


def _shape(values: Values, end: int, season: int) -> list[float]:
    """Return each slot's usual multiple of the mean of a season around it; slots are counted from the series' begin."""
    size = len(values)
    start, latest, length = end - size, max(0, size - season), min(size, season)
    sums = list(accumulate((value or 0.0 for value in values), initial=0.0))
    counts = list(accumulate((value is not None for value in values), initial=0))
    means = [
        (sums[first + length] - sums[first]) / there if (there := counts[first + length] - counts[first]) * 2 >= season
        else 0.0
        for first in range(latest + 1)
    ]  # fmt: skip
    around = chain(repeat(means[0], season // 2), means, repeat(means[-1]))
    ratios: list[list[float]] = [[] for _ in range(season)]
    for value, mean, slot in zip(values, around, islice(cycle(ratios), start % season, None), strict=False):
        if value is not None and mean > 0:
            slot.append(value / mean)
    shape = [max(0.0, _median(sorted(one))) if one else 1.0 for one in ratios]
    mean = sum(shape) / season
    return [one / mean for one in shape] if mean > 0 else [1.0] * season


def _recent(clean: Values, shape: Sequence[float], pace: Pace) -> list[float]:
    """Return the latest values in units of their slot, in order of time."""
    found: list[float] = []
    for n in range(len(clean) - 1, -1, -1):
        value, usual = clean[n], shape[n % pace.season]
        if value is not None and usual >= RESTS:
            found.append(value / usual)
            if len(found) == pace.memory:
                break
    return found[::-1]


def _level(clean: Values, shape: Sequence[float], pace: Pace) -> float:
    """Return the median of the latest values in units of their slot."""
    return _median(sorted(_recent(clean, shape, pace)))


class _Window:
    """The latest values, kept in order of size as well."""

    def __init__(self, values: Iterable[float]) -> None:
        self._values = deque(values)
        self._ordered = sorted(self._values)

    @property
    def median(self) -> float:
        """Of all that is held; of nothing, 0."""
        return _median(self._ordered)

    def add(self, value: float, most: int) -> None:
        """Take one in, and let the oldest go where there are more than so many."""
        self._values.append(value)
        insort(self._ordered, value)
        if len(self._values) > most:
            del self._ordered[bisect_left(self._ordered, self._values.popleft())]


def _median(ordered: Sequence[float]) -> float:
    """Return the median of sorted values as `statistics` does, a few times sooner; of nothing, 0."""
    half = len(ordered) // 2
    if not ordered:
        return 0.0
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _errors(clean: Values, shape: Sequence[float], unit: float, pace: Pace) -> list[float]:
    """Return what the first values were off, judged by all of them: there is nothing before them.

    A value that takes part in its own judgement is off by less than a new one will be: with two of a slot, by half.
    """
    level = _level(clean, shape, pace)
    return [
        FLATTERED * (math.asinh(value / unit) - math.asinh(level * shape[n % pace.season] / unit))
        for n, value in enumerate(clean)
        if value is not None
    ]


def _deviation(errors: Sequence[float]) -> float:
    middle = _median(sorted(errors))
    return 1.4826 * _median(sorted(abs(error - middle) for error in errors))


def _spike(run: Sequence[_Judged], floor: float) -> list[Flag]:
    if not run or run[0].score < 0:
        return []
    flag = _flag(run, "spike")
    return [flag] if flag.observed - flag.expected >= floor else []


def _flag(run: Sequence[_Judged], kind: Kind) -> Flag:
    return Flag(
        start=run[0].n, end=run[-1].n + 1, kind=kind, observed=sum(one.value for one in run),
        expected=sum(one.expected for one in run), low=max(0.0, sum(one.low for one in run)),
        high=sum(one.high for one in run),
    )  # fmt: skip


def _lasts(run: Sequence[_Judged], pace: Pace) -> bool:
    return len(run) >= LEAST_RUN and run[-1].n - run[0].n + 1 >= pace.settle


class _Drift:
    """Values on one side of the usual, and what they add up to."""

    def __init__(self, side: int) -> None:
        self.side, self.total, self.held = side, 0.0, list[_Judged]()

    def add(self, judged: _Judged) -> None:
        """Add one, no single one counting for much; begin anew where all of them come to nothing."""
        self.held.append(judged)
        self.total += max(-3.0, min(3.0, self.side * judged.score)) - 1.0
        if self.total <= 0:
            self.total, self.held = 0.0, []


def _cusum(drift: Sequence[_Drift], judged: _Judged, pace: Pace) -> list[_Judged]:
    """Collect values on each side of the usual; return those of one once they add up."""
    for side in drift:
        side.add(judged)
        if side.total > pace.patience and len(side.held) >= pace.least:
            return side.held
    return []


def _shift(run: Sequence[_Judged], values: Values, shape: Sequence[float], pace: Pace) -> Flag | None:
    """Make the announcement of a new level, unless the values have no level at all."""
    slots = [one.value / shape[one.n % pace.season] for one in run if shape[one.n % pace.season] >= RESTS]
    if not slots or not values:
        return None
    return _flag(run, "level shift up" if sum(one.score for one in run) > 0 else "level shift down")


def _settle(clean: list[float | None], values: Values, start: int, shape: Sequence[float], pace: Pace) -> None:
    """Take the values from `start` on as usual, and lift those before to their level, so that the noise stays known."""
    before = _level(clean[:start], shape, pace)
    clean[start:] = list(values[start : len(clean)])
    after = _level(clean[start:], [shape[(start + n) % pace.season] for n in range(pace.season)], pace)
    if before > 0 and after > 0:
        lift = after / before
        for n in range(max(0, start - 9 * pace.season), start):
            value = clean[n]
            if value is not None:
                clean[n] = value * lift
