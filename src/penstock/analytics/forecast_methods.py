"""How a daily series may go on: our own method, the plain rule, and statsforecast's AutoTheta.

Statistics are done in floats; money is a Decimal again where a forecast leaves the room (`forecast`).
A series is a value for each day, oldest first, `None` where nothing is known; all days of a place in the week are
7 apart. Source of the comparison: `python -m benchmarks.forecast_error`.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import NormalDist

from msgspec import Struct

from penstock.errors import InputError

WEEK = 7
LEAST_FOR_WEEKDAYS = 14
"""Known days before weekdays can be told apart; below that the plain rule answers."""
DRIFT_SHARE = 0.9
"""Of the drift that was seen, the part that goes on: growth slows more often than it quickens."""
SPORADIC = 0.4
"""Share of days with spend below which days are not forecast one by one."""
SMOOTHING = (0.02, 0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8)
"""How much of a day's surprise the level may follow; the one with the smallest errors is taken."""
WILD = 3.0
"""Robust deviations from the fortnight around, beyond which a day is an accident."""
USUAL_DRIFT = 0.006
"""A day: 20% a month."""
LEAST_JUMP = 0.15
"""Of the logarithm: a lasting change below 15% is left to the drift."""
CERTAIN = 25.0
"""How many times better a line with a jump must fit, in variances of a day, to be believed."""
MOST_LIFT = 1.1
"""Of the logarithm, so 3 times: the most that one day lifts the mean; an accident is not expected again in full."""
CAUTION = 1.6
"""Intervals are this much wider than the sum of what is known to be uncertain: measured, see the benchmark."""
HISTORY = 180
"""Newest days that are looked at."""

Values = Sequence[float | None]


class Outlook(Struct, frozen=True, kw_only=True):
    """What a method says: a value for each day ahead, and how uncertain their sum is."""

    method: str
    """The method that answered, which is the plain rule where there is too little to go by."""
    days: tuple[float, ...]
    spreads: tuple[float, ...]
    """Standard deviation of the logarithm of the sum of the first 1, 2, ... days: 0.1 is about 10%."""
    reason: str = ""
    """Why another method answered than the one that was asked for."""

    @property
    def spread(self) -> float:
        """That of the sum of all days."""
        return self.spreads[-1] if self.spreads else 0.0

    def sum_between(self, level: float) -> tuple[float, float]:
        """Return the interval that should hold the sum of all days, at a level such as 0.8."""
        return between(sum(self.days), self.spread, level)


def between(total: float, spread: float, level: float) -> tuple[float, float]:
    """Return the interval around a sum; in the logarithm it is as wide upwards as downwards."""
    wide = math.exp(NormalDist().inv_cdf(0.5 + level / 2) * spread)
    return min(total / wide, total * wide), max(total / wide, total * wide)


def drift(values: Values, ahead: int) -> Outlook:
    """Go on from the latest level with most of the drift, in the shape of the week.

    Days are divided by their weekday's usual share of a week; the level follows by exponential smoothing on a
    logarithmic scale (asinh, which takes zero and negative days as they are); drift is the trimmed mean of
    week-on-week changes. Median and trimming keep a launch or a correction from being taken for growth.
    """
    values = values[-HISTORY:]
    known = [value for value in values if value is not None]
    if len(known) < LEAST_FOR_WEEKDAYS:
        some = "1 day" if len(known) == 1 else f"{len(known)} days"
        return plain_rule(values, ahead, f"{some} of history; weekdays need {LEAST_FOR_WEEKDAYS}")
    if sum(value > 0 for value in known) < SPORADIC * len(known):
        return plain_rule(values[-4 * WEEK :], ahead, "spend is sporadic: most days have none")
    shape = weekday_shape(values)
    flat = [value / shape[n % WEEK] if value is not None and shape[n % WEEK] > 0.02 else None
            for n, value in enumerate(values)]  # fmt: skip
    there = [value for value in flat if value is not None]
    unit = statistics.median(abs(value) for value in there) / 50 or 1.0
    scaled = [None if value is None else math.asinh(value / unit) for value in flat]
    calm = _calmed(scaled)
    level_now, line = _without_step(calm)
    step = line.slope * DRIFT_SHARE * line.trust
    alpha = min(SMOOTHING, key=lambda one: sum(error * error for error in _smoothed(level_now, one, step)[1]))
    level, errors = _smoothed(level_now, alpha, step)
    noise = statistics.fmean(error**2 for error in errors) ** 0.5
    wild = [raw - quiet for raw, quiet in zip(scaled, calm, strict=True) if raw is not None and quiet is not None]
    surprises = [error + more for error, more in zip(errors, wild, strict=True)][-8 * WEEK :]
    noise = math.hypot(noise, statistics.fmean(min(abs(one), 1.0) ** 2 for one in wild) ** 0.5)
    lift = statistics.fmean(math.exp(min(one, MOST_LIFT)) for one in surprises)
    days = tuple(unit * math.sinh(level + step * n) * lift * shape[(len(values) + n) % WEEK] for n in range(ahead))
    unsure = math.hypot(line.error, line.slope - step)
    return Outlook(
        method="drift",
        days=days,
        spreads=tuple(_spread(noise, alpha, unsure, n, len(known)) for n in range(1, ahead + 1)),
    )


def plain_rule(values: Values, ahead: int, reason: str = "") -> Outlook:
    """Take the mean of all known days for every day ahead: the guide's x 30."""
    known = [value for value in values if value is not None]
    mean = statistics.fmean(known) if known else 0.0
    deviation = statistics.stdev(known) / abs(mean) if len(known) > 1 and mean else 1.0
    caution = 1 + LEAST_FOR_WEEKDAYS / max(1, len(known)) / 4
    # Some days say little of a month: what they do not show is taken to be as large as what they do.
    spreads = tuple(
        math.hypot(0.25, deviation * math.sqrt(1 / max(1, len(known)) + 1 / n)) * caution for n in range(1, ahead + 1)
    )
    return Outlook(method="x30", days=(mean,) * ahead, spreads=spreads, reason=reason)


def auto_theta(values: Values, ahead: int) -> Outlook:
    """Ask statsforecast's AutoTheta with a season of a week; the spread is that of our own method."""
    try:
        import numpy as np  # noqa: PLC0415 - an optional extra of half a gigabyte
        from statsforecast.models import AutoTheta  # noqa: PLC0415
    except ImportError:
        raise InputError("--method autotheta needs the extra: pip install 'penstock[forecast]'") from None
    ours = drift(values, ahead)
    known = [value for value in values[-HISTORY:] if value is not None]
    if ours.method != "drift":
        return ours
    filled = _filled(values[-HISTORY:])
    positive = min(known) > 0
    model = AutoTheta(season_length=WEEK, decomposition_type="multiplicative" if positive else "additive")
    found = model.forecast(np.array(filled, dtype=float), h=ahead)["mean"]
    return Outlook(method="autotheta", days=tuple(float(value) for value in found), spreads=ours.spreads)


METHODS: dict[str, Callable[[Values, int], Outlook]] = {"drift": drift, "x30": plain_rule, "autotheta": auto_theta}
"""Name -> method; the first one is the default."""


def weekday_shape(values: Values) -> list[float]:
    """Return what each place in the week spends, as a multiple of the mean day: medians against the week around."""
    ratios: list[list[float]] = [[] for _ in range(WEEK)]
    for n in range(3, len(values) - 3):
        around = [value for value in values[n - 3 : n + 4] if value is not None]
        value = values[n]
        if value is not None and len(around) == WEEK and (mean := sum(around) / WEEK) > 0:
            ratios[n % WEEK].append(value / mean)
    shape = [max(0.0, statistics.median(one)) if one else 1.0 for one in ratios]
    mean = sum(shape) / WEEK
    return [one / mean for one in shape] if mean > 0 else [1.0] * WEEK


def _calmed(scaled: Values) -> list[float | None]:
    """Bring single wild days to the edge of what is usual around them (Hampel's filter); a lasting change stays."""
    calm: list[float | None] = []
    for n, value in enumerate(scaled):
        around = [one for one in scaled[max(0, n - WEEK) : n + WEEK + 1] if one is not None]
        if value is None:
            calm.append(None)
            continue
        middle = statistics.median(around)
        reach = WILD * max(0.1, 1.4826 * statistics.median(abs(one - middle) for one in around))
        calm.append(max(middle - reach, min(middle + reach, value)))
    return calm


class _Line(Struct, frozen=True):
    slope: float
    error: float
    """Standard error of the slope."""

    @property
    def trust(self) -> float:
        """How much of the slope is likely to be real: against its own error, and against drifts that are usual."""
        noise = self.error**2
        return (
            (self.slope**2 / (self.slope**2 + noise) if self.slope else 0.0) * USUAL_DRIFT**2 / (USUAL_DRIFT**2 + noise)
        )


def _without_step(scaled: Values) -> tuple[list[float | None], _Line]:
    """Lift the days before a launch, or another lasting jump, to the level after it; return the slope beside them."""
    points = [(n, value) for n, value in enumerate(scaled) if value is not None]
    (slope, _), least = _fit(points, None)
    at, jump, without = None, 0.0, least
    for day in range(WEEK, len(scaled) - WEEK + 1):
        (_, found), left = _fit(points, day)
        if left < least:
            at, jump, least = day, found, left
    freedom = max(1, len(points) - 4)
    memory = _memory(points, at)
    if at is None or abs(jump) < LEAST_JUMP or without - least < CERTAIN * memory * least / freedom:
        at, jump, least, memory = None, 0.0, without, _memory(points, None)
    else:
        (slope, _), _ = _fit(points, at)
    error = math.sqrt(memory * least / freedom * 12 / len(points) ** 3) * (1 if at is None else 2)
    moved = [value + jump if value is not None and at is not None and n < at else value
             for n, value in enumerate(scaled)]  # fmt: skip
    return moved, _Line(slope, error)


def _memory(points: Sequence[tuple[int, float]], at: int | None) -> float:
    """Return by how much the variance of a slope grows because a day's error resembles that of the day before."""
    (slope, jump), _ = _fit(points, at)
    left = [y - slope * x - (jump if at is not None and x >= at else 0.0) for x, y in points]
    mean = statistics.fmean(left)
    left = [value - mean for value in left]
    squares = sum(value * value for value in left)
    alike = sum(before * now for before, now in pairwise(left)) / squares if squares else 0.0
    alike = min(0.9, max(0.0, alike))
    return (1 + alike) / (1 - alike)


def _fit(points: Sequence[tuple[int, float]], at: int | None) -> tuple[tuple[float, float], float]:
    """Fit a line by least squares, with a jump at a day if one is given: (slope, jump), and what is left."""
    sides = [points] if at is None else [[p for p in points if p[0] < at], [p for p in points if p[0] >= at]]
    sides = [side for side in sides if side]
    sxx = sxy = syy = 0.0
    means = []
    for side in sides:
        mx = sum(x for x, _ in side) / len(side)
        my = sum(y for _, y in side) / len(side)
        means.append((mx, my))
        sxx += sum((x - mx) ** 2 for x, _ in side)
        sxy += sum((x - mx) * (y - my) for x, y in side)
        syy += sum((y - my) ** 2 for _, y in side)
    slope = sxy / sxx if sxx else 0.0
    jump = 0.0
    if len(means) == 2:
        (x0, y0), (x1, y1) = means
        jump = y1 - y0 - slope * (x1 - x0)
    return (slope, jump), max(0.0, syy - slope * sxy)


def _smoothed(scaled: Values, alpha: float, step: float) -> tuple[float, list[float]]:
    """Return the level of the next day, and the error of each day's forecast from the day before."""
    known = [value for value in scaled[: 2 * WEEK] if value is not None]
    level = statistics.median(known) if known else 0.0
    errors = []
    for value in scaled:
        if value is not None:
            errors.append(value - level)
            level += alpha * errors[-1]
        level += step
    return level, errors


def _spread(noise: float, alpha: float, drift_error: float, ahead: int, known: int) -> float:
    """Put together the noise of days, the walk of the level, and what is not known of the drift."""
    of_days = noise / math.sqrt(ahead)
    walk = alpha * noise * math.sqrt(ahead / 3)
    now = alpha * noise
    of_drift = drift_error * ahead / 2
    return math.sqrt(of_days**2 + walk**2 + now**2 + of_drift**2) * CAUTION * math.sqrt(1 + LEAST_FOR_WEEKDAYS / known)


def _robust_deviation(values: Sequence[float]) -> float:
    """Return 1.4826 x the median distance from the median: a standard deviation that outliers do not move."""
    if not values:
        return 0.0
    middle = statistics.median(values)
    return 1.4826 * statistics.median(abs(value - middle) for value in values)


def _filled(values: Values) -> list[float]:
    """Put the same weekday's latest value where nothing is known."""
    filled: list[float] = []
    known = [value for value in values if value is not None]
    for n, value in enumerate(values):
        filled.append(value if value is not None else filled[n - WEEK] if n >= WEEK else known[0])
    return filled
