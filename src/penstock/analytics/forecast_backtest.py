"""How well a method would have done on this very history: forecasts of the past, held against what came."""

import math
import statistics
from collections.abc import Callable, Sequence

from msgspec import Struct

from penstock.analytics.forecast_methods import LEAST_FOR_WEEKDAYS, WEEK, Outlook, Values, plain_rule

WINDOWS = 8
"""Pasts that are forecast, a week apart."""

Method = Callable[[Values, int], Outlook]


class Backtest(Struct, frozen=True, kw_only=True):
    """Errors are fractions: 0.05 is 5%."""

    windows: int
    days: int
    """Length of each window."""
    error: float
    """Median error of a window's total."""
    worst: float
    plain_error: float
    """The same of the plain rule (x 30) on the same windows."""
    wape: float
    """Errors of all days, over the sum of all days."""
    inside: int
    """Windows whose total lay in the interval, as the method alone gives it."""
    level: float
    strain: float
    """How many times larger the errors were than the intervals allow for; above 1 the forecast's own is widened."""


def backtest(values: Values, ahead: int, method: Method, level: float) -> Backtest | None:
    """Forecast the last windows from what was known before each; `None` where history is too short for one."""
    days = min(ahead, len(values) - LEAST_FOR_WEEKDAYS)
    if days < 1 or (days < WEEK and days < ahead):
        return None
    starts = range(len(values) - days, LEAST_FOR_WEEKDAYS - 1, -WEEK)[:WINDOWS]
    errors, plain, off, of, strains = [], [], 0.0, 0.0, []
    inside = 0
    for start in starts:
        actual = values[start : start + days]
        there = [n for n, value in enumerate(actual) if value is not None]
        total = sum(value for value in actual if value is not None)
        if total <= 0 or len(there) * 2 < days:
            continue
        found = method(values[:start], days)
        said = _of(found, there)
        errors.append(abs(said - total) / total)
        plain.append(abs(_of(plain_rule(values[:start], days), there) - total) / total)
        off += sum(abs(found.days[n] - (actual[n] or 0.0)) for n in there)
        of += total
        low, high = found.sum_between(level)
        inside += low <= total * days / len(there) <= high
        if said > 0 and found.spread > 0:
            strains.append(math.log(said / total) / found.spread)
    if not errors:
        return None
    strain = math.sqrt(statistics.fmean(one * one for one in strains)) if strains else 1.0
    return Backtest(
        windows=len(errors), days=days, error=statistics.median(errors), worst=max(errors),
        plain_error=statistics.median(plain), wape=off / of, inside=inside, level=level, strain=strain,
    )  # fmt: skip


def _of(found: Outlook, there: Sequence[int]) -> float:
    return sum(found.days[n] for n in there)
