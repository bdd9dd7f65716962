"""How often a certificate is false, and how much it lets through: `python -m benchmarks.certificates`.

Needs a folder of per-query results of several models (see its README): by default that of PENSTOCK_ROUTING_DATA. The
router is the plain table: tags ranked by the mean gain of the strong model on the training rows; the claims are "with
the first 5, 10, ... 100 % of calls on the weak model, the mean score is at most 2 points lower". False: what was
certified loses more than that on all rows that are not for training.
"""

import gzip
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Any

from cyclopts import App, Parameter
from msgspec import Struct

from benchmarks.results import grid
from penstock.analytics.betting import fixed_sequence, log_wealth, p_value, planned_p_value

app = App(name="python -m benchmarks.certificates")

MARGIN, ALPHA, STEPS = 0.02, 0.05, 20
Test = Callable[[Sequence[float]], float]


class Row(Struct, frozen=True):
    """One question: what both models made of it, and what they cost."""

    tag: str
    weak: float
    strong: float
    weak_cost: float
    strong_cost: float


class Rated(Struct, frozen=True):
    """A pair of models, their prices (any unit) a token in and out, and where their results are."""

    name: str
    file: str
    weak: str
    strong: str
    weak_price: tuple[float, float]
    strong_price: tuple[float, float]


PAIRS = (
    Rated(
        "MMLU-Pro, Gemini 1.5 Flash -> Pro", "mmlupro", "gemini-1.5-flash-002", "gemini-1.5-pro-002",
        (0.075, 0.30), (1.25, 5.0),
    ),
    Rated(
        "14 tasks, Llama 8B -> 51B", "llmrouter_mix", "llama-3.1-8b-instruct", "llama-3.1-nemotron-51b-instruct",
        (0.22, 0.22), (1.0, 1.0),
    ),
)  # fmt: skip
USUAL_OUTPUT = 256
"""Tokens, where the source does not say."""


def normal(losses: Sequence[float]) -> float:
    """The p-value of a one-sided z-test: what is usually done."""
    mean = sum(losses) / len(losses)
    variance = sum((one - mean) ** 2 for one in losses) / max(1, len(losses) - 1)
    if not variance:
        return 0.0 if mean < MARGIN else 1.0
    return 0.5 * math.erfc((MARGIN - mean) / math.sqrt(2 * variance / len(losses)))


def hoeffding(losses: Sequence[float]) -> float:
    """The p-value by Hoeffding's inequality."""
    short = MARGIN - sum(losses) / len(losses)
    return math.exp(-len(losses) * short * short / 2) if short > 0 else 1.0


TESTS: dict[str, Test] = {
    "betting, planned": lambda losses: planned_p_value(losses, MARGIN, alpha=ALPHA),
    "betting, every look": lambda losses: p_value(losses, MARGIN),
    "normal": normal,
    "Hoeffding": hoeffding,
}


def read(folder: Path, pair: Rated) -> tuple[list[Row], list[Row]]:
    """Return the rows for training, and all others."""
    rows: tuple[list[Row], list[Row]] = ([], [])
    with gzip.open(folder / f"{pair.file}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for one in map(json.loads, lines):
            if pair.weak not in one["s"] or pair.strong not in one["s"]:
                continue
            costs = [
                tokens(one["i"], model) * price[0] + tokens(one.get("o"), model) * price[1]
                for model, price in ((pair.weak, pair.weak_price), (pair.strong, pair.strong_price))
            ]
            row = Row(one["cat"], one["s"][pair.weak], one["s"][pair.strong], *costs)
            rows[one["split"] != "train"].append(row)
    return rows


def tokens(said: Any, model: str) -> float:
    """Read a count, of this model or of all."""
    return USUAL_OUTPUT if said is None else float(said[model] if isinstance(said, dict) else said)


def ranked(train: Sequence[Row], rows: Sequence[Row], draw: Random) -> list[Row]:
    """Put the rows first whose tag loses least by the weak model, as the training rows say; ties by lot."""
    gains: dict[str, list[float]] = defaultdict(list)
    for row in train:
        gains[row.tag].append(row.strong - row.weak)
    usual = sum(map(sum, gains.values())) / len(train)
    table = {tag: (sum(some) + 10 * usual) / (len(some) + 10) for tag, some in gains.items()}
    return sorted(rows, key=lambda row: (table.get(row.tag, usual), draw.random()))


def measure(order: Sequence[Row], count: int, runs: int, seed: int) -> list[tuple[str, float, float, float]]:
    """Return for each test: the saving it certifies, its share of the allowed one, and how often it is false.

    The first row is what would be allowed if everything were known.
    """
    size, whole = len(order), sum(row.strong_cost for row in order)
    cuts = [size * step // STEPS for step in range(1, STEPS + 1)]
    lost = [sum(row.strong - row.weak for row in order[:cut]) / size for cut in cuts]
    saved = [sum(row.strong_cost - row.weak_cost for row in order[:cut]) / whole for cut in cuts]
    allowed = max((saving for saving, loss in zip(saved, lost, strict=True) if loss <= MARGIN), default=0.0)
    found = [("allowed", allowed, 1.0, 0.0)]
    for name, test in TESTS.items():
        draw, got, false = Random(seed), 0.0, 0
        for _ in range(runs):
            sample = draw.sample(range(size), count)
            losses = [(place, order[place].strong - order[place].weak) for place in sample]
            p_values = (test([loss if place < cut else 0.0 for place, loss in losses]) for cut in cuts)
            held = fixed_sequence(p_values, ALPHA)
            got += saved[held - 1] if held else 0.0
            false += bool(held) and lost[held - 1] > MARGIN
        found.append((name, got / runs, got / runs / allowed if allowed else 0.0, false / runs))
    return found


def bad_router(runs: int, count: int, seed: int, *, share: float, loss: float) -> dict[str, float]:
    """Return how often a router is certified that loses `loss`, just beyond the margin, whatever its threshold.

    `share` of its answers differ from the strong model's. "Every 20th": the test is read after each 20 more pairs.
    """
    weights = (share / 2 + loss / 2, 1 - share, share / 2 - loss / 2)
    false: Counter[str] = Counter()
    for run in range(runs):
        losses = Random(seed * 1_000_003 + run).choices((1.0, 0.0, -1.0), weights, k=count)
        for name, test in TESTS.items():
            false[name] += test(losses) <= ALPHA
        seen: Counter[float] = Counter()
        looked = dict.fromkeys(("betting, every look, read every 20th", "normal, read every 20th"), False)
        for end in range(20, count + 1, 20):
            seen.update(losses[end - 20 : end])
            looked["betting, every look, read every 20th"] |= log_wealth(seen, MARGIN) >= -math.log(ALPHA)
            looked["normal, read every 20th"] |= end >= 100 and normal(losses[:end]) <= ALPHA
        false.update({name: 1 for name, wrong in looked.items() if wrong})
    return {name: false[name] / runs for name in (*TESTS, *looked)}


@app.default
def main(
    *,
    data: Annotated[Path | None, Parameter(help="Folder of the results.")] = None,
    runs: int = 1_000,
    samples: Annotated[int, Parameter(help="Calibration samples of the real rows.")] = 200,
    count: Annotated[int, Parameter(help="Judged pairs in each.")] = 1_000,
    seed: int = 1,
) -> None:
    """Measure, and print two tables."""
    print(
        f"A bad router: loses 2.1 points where 2 are allowed; {runs:,} runs of {count:,} pairs; at most 5 % allowed\n"
    )
    shares = (0.1, 0.25)
    columns = [bad_router(runs, count, seed, share=share, loss=0.021) for share in shares]
    rows = [(name, *(f"{one[name]:.1%}" for one in columns)) for name in columns[0]]
    print(grid(("test", *(f"{share:.0%} of answers differ" for share in shares)), rows))
    folder = data or Path(os.environ.get("PENSTOCK_ROUTING_DATA", ""))
    if not (folder / f"{PAIRS[0].file}.jsonl.gz").exists():
        print("\nNo results of models found; name their folder with --data.")
        return
    for pair in PAIRS:
        train, others = read(folder, pair)
        order = ranked(train, others, Random(seed))
        print(
            f"\n{pair.name}: {len(train):,} rows for the table, {len(order):,} others, {samples} samples of {count:,}\n"
        )
        print(grid(
            ("test", "saving certified", "of the allowed", "false"),
            [(name, f"{got:.3f}", f"{share:.0%}", f"{false:.1%}")
             for name, got, share, false in measure(order, count, samples, seed)],
        ))  # fmt: skip


if __name__ == "__main__":
    app()
