"""How many spikes and new levels are found, and how many false alarms: `python -m benchmarks.anomaly_detection`.

Made-up days: a weekly shape, slow growth, noise of 6 to 22%; into them spikes of 1.8 to 8 times, a lasting change, or
neither. A flagged day without a spike is a false alarm; so is a new level where there is none.
"""

import argparse
import math
import time
from collections.abc import Callable
from random import Random

from penstock.analytics.anomalies_detect import DAYS, HOURS, Flag, Pace, robust, rule_of_three

DETECTORS: dict[str, Callable[..., list[Flag]]] = {"robust": robust, "3x": rule_of_three}
LENGTH = 120


def made(seed: int, *, spikes: int, shift: bool) -> tuple[list[float], set[int], int | None]:
    """Return days, which of them are spikes, and where a new level begins."""
    draw = Random(seed)
    base, weekend = math.exp(draw.uniform(math.log(20), math.log(5000))), draw.uniform(0.25, 0.9)
    shape = [draw.uniform(0.9, 1.1) for _ in range(5)] + [weekend, weekend]
    drift, noise = draw.gauss(0.003, 0.003), draw.uniform(0.06, 0.22)
    values = [base * math.exp(drift * n + draw.gauss(0, noise)) * shape[n % 7] for n in range(LENGTH)]
    at = draw.randrange(35, LENGTH - 12) if shift else None
    if at is not None:
        size = math.exp(draw.choice((-1, 1)) * draw.uniform(0.35, 0.9))
        values = [value * size if n >= at else value for n, value in enumerate(values)]
    where: set[int] = set()
    while len(where) < spikes:
        day = draw.randrange(30, LENGTH - 1)
        if all(abs(day - other) > 7 for other in (*where, *([at] if at is not None else []))):
            where.add(day)
    for day in where:
        values[day] *= math.exp(draw.uniform(math.log(1.8), math.log(8)))
    return values, where, at


def hours(seed: int) -> list[float]:
    """Return four weeks of quiet hours: office hours on weekdays, a tenth of it otherwise."""
    draw = Random(seed)
    noise = draw.uniform(0.1, 0.3)
    return [
        (50.0 if 8 <= n % 24 < 18 and n // 24 % 7 < 5 else 5.0) * math.exp(draw.gauss(0, noise)) for n in range(28 * 24)
    ]


def measure(name: str, kind: str, count: int, *, spikes: int, shift: bool) -> None:
    """Print one row."""
    hit = missed = false = shifts = 0
    repeats = 0
    start = time.perf_counter()
    for seed in range(count):
        values, where, at = made(seed, spikes=spikes, shift=shift)
        flags = DETECTORS[name](values, DAYS)
        flagged = {n for one in flags if one.kind == "spike" for n in range(one.start, one.end)}
        hit, missed = hit + len(flagged & where), missed + len(where - flagged)
        false += len(flagged - where)
        near = [one for one in flags if one.kind != "spike" and at is not None and at - 2 <= one.start <= at + 7]
        shifts += bool(near)
        false += sum(one.kind != "spike" for one in flags) - bool(near)
        repeats += len([n for n in flagged if at is not None and n >= at])
    months = count * (LENGTH - 14) / 30
    took = (time.perf_counter() - start) / count * 1000
    precision = f"{hit / (hit + false):9.0%}" if hit + false and spikes else f"{'-':>9}"
    recall = f"{hit / (hit + missed):6.0%}" if spikes else f"{'-':>6}"
    told = f"{shifts / count:9.0%}" if shift else f"{'-':>9}"
    print(f"{kind:24} {name:7} {precision} {recall} {told} {false / months:12.2f} {took:9.1f} ms")


def main() -> None:
    """Measure both detectors on the same series."""
    options = argparse.ArgumentParser()
    options.add_argument("--series", type=int, default=100)
    count = options.parse_args().series
    print(f"{count} series of {LENGTH} days; false alarms by series and month")
    print(f"{'':24} {'':7} precision recall new level false alarms  a series")
    for kind, spikes, shift in (
        ("3 spikes", 3, False), ("3 spikes and a new level", 3, True), ("a new level", 0, True), ("quiet", 0, False),
    ):  # fmt: skip
        for name in DETECTORS:
            measure(name, kind, count, spikes=spikes, shift=shift)
    quiet = max(1, count // 5)
    for name, pace in (("robust", HOURS), ("3x", HOURS)):
        measure_hours(name, pace, quiet)


def measure_hours(name: str, pace: Pace, count: int) -> None:
    """Print the false alarms of quiet hours."""
    months = count * (28 * 24 - pace.warm) / 720
    for what, floor in (("quiet hours", 0.0), ("the same, default floor", 57.0)):  # a tenth of a usual day
        flags = [DETECTORS[name](hours(seed), pace, floor=floor) for seed in range(count)]
        print(f"{what:24} {name:7} {'-':>9} {'-':>6} {'-':>9} {sum(map(len, flags)) / months:12.2f}")


if __name__ == "__main__":
    main()
