"""How far forecasts are off: `python -m benchmarks.forecast_error [--series N]`. Made-up series; ratios of one run.

Daily spend with a weekly shape and noise; the first kind has growth, and a launch or a cut in 35% of the series. Of 120
days 90 are known. The other kinds are what our method was not made for. Errors are those of the total.
"""

import argparse
import importlib.util
import math
import statistics
import time
from collections.abc import Sequence
from random import Random

from penstock.analytics.forecast_methods import METHODS, Outlook, Values, plain_rule

AHEAD = 30


def growing(seed: int, known: int = 90) -> list[float]:
    """Make the research's kind: drift around 0.6% a day, and 35% with a step."""
    draw = Random(seed)
    base = math.exp(draw.uniform(math.log(20), math.log(5000)))
    weekend = draw.uniform(0.25, 0.9)
    shape = [draw.uniform(0.9, 1.1) for _ in range(5)] + [weekend * draw.uniform(0.9, 1.1) for _ in range(2)]
    drift, noise, days = draw.gauss(0.006, 0.004), draw.uniform(0.06, 0.22), known + AHEAD
    steps = draw.random() < 0.35
    at, size = draw.randrange(known * 2 // 9, known - 5), math.exp(draw.choice((-1, 1, 1)) * draw.uniform(0.3, 0.9))
    return [
        base * math.exp(drift * n + draw.gauss(0, noise)) * shape[n % 7] * (size if steps and n >= at else 1)
        for n in range(days)
    ]


def plain(seed: int, known: int, *, drift: float = 0.0, noise: float = 0.15, spikes: float = 0.0, walk: float = 0.0):
    """Make a series with one trait."""
    draw = Random(seed)
    base, weekend, level = math.exp(draw.uniform(2, 8)), draw.uniform(0.2, 0.9), 0.0
    values = []
    for n in range(known + AHEAD):
        level += draw.gauss(0, walk)
        spike = draw.uniform(2, 6) if draw.random() < spikes else 1
        values.append(base * math.exp(drift * n + level + draw.gauss(0, noise)) * (weekend if n % 7 > 4 else 1) * spike)
    return values


KINDS = {
    "growth and launches, 90 days": (90, growing),
    "growth and launches, 35 days": (35, lambda seed: growing(seed, 35)),
    "neither growth nor launch, 90 days": (90, lambda seed: plain(seed, 90)),
    "neither, 20 days": (20, lambda seed: plain(seed, 20)),
    "neither, 7 days": (7, lambda seed: plain(seed, 7)),
    "noisy (40%), 90 days": (90, lambda seed: plain(seed, 90, noise=0.4)),
    "a spike in 3% of the days, 90 days": (90, lambda seed: plain(seed, 90, spikes=0.03)),
    "random walk (3% a day), 90 days": (90, lambda seed: plain(seed, 90, walk=0.03)),
}


def seasonal_naive(values: Values, ahead: int) -> Outlook:
    """Repeat the last week."""
    last = [value or 0.0 for value in values[-7:]]
    return Outlook(method="last week", days=tuple(last[n % 7] for n in range(ahead)), spreads=())


def measure(name: str, method, series: Sequence[tuple[list[float], list[float]]]) -> float:
    """Print a row, and return the median error."""
    errors, daily, inside = [], [], {0.8: 0, 0.95: 0}
    start = time.perf_counter()
    for known, truth in series:
        found, total = method(known, AHEAD), sum(truth)
        errors.append(abs(sum(found.days) - total) / total)
        daily.append(sum(abs(a - b) for a, b in zip(found.days, truth, strict=True)) / total)
        for level in inside:
            low, high = found.sum_between(level)
            inside[level] += bool(found.spreads) and low <= total <= high
    took = (time.perf_counter() - start) / len(series) * 1000
    errors.sort()
    held = "  ".join(f"{count / len(series):5.0%}" for count in inside.values()) if found.spreads else "    -      -"
    middle = statistics.median(errors)
    print(f"  {name:12} {middle:7.1%} {errors[len(errors) * 9 // 10]:7.1%} {statistics.mean(daily):7.3f}  {held} "
          f"{took:8.1f} ms")  # fmt: skip
    return middle


def main() -> None:
    """Measure every method on every kind."""
    options = argparse.ArgumentParser()
    options.add_argument("--series", type=int, default=150)
    count = options.parse_args().series
    methods = {"drift": METHODS["drift"], "x30": plain_rule, "last week": seasonal_naive}
    if importlib.util.find_spec("statsforecast"):
        methods["autotheta"] = METHODS["autotheta"]
    else:
        print("autotheta is left out: statsforecast is not installed (pip install 'penstock[forecast]')")
    print(f"{'':14} {'median':>7} {'p90':>7} {'WAPE':>7}  in 80%  in 95%  a series")
    for kind, (known, make) in KINDS.items():
        made = [make(seed) for seed in range(count)]
        series = [(values[:known], values[known:]) for values in made]
        print(f"{kind}, {count} series")
        medians = {name: measure(name, method, series) for name, method in methods.items()}
        others = [name for name in medians if name != "drift"]
        ratios = ", ".join(f"{medians['drift'] / medians[name]:.2f} x {name}" for name in others)
        print(f"  drift's median error is {ratios}")


if __name__ == "__main__":
    main()
