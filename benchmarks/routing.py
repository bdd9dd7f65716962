"""How well routing tells who needs the better model: `python -m benchmarks.routing`; exit 1 where a bar is missed.

Public results of two models on the same questions, in PENSTOCK_ROUTING_DATA or ../shared/data/routing. APGR: area under
the share of the quality gap that is closed, over the share of calls that go to the strong model; chance: 0.5.

- `table`, `words`: five folds by question over all rows, as the research's figures beside them were made. A bar counts
  as reached where it is at the two decimals that it is given with.
- `test`: learned from the training and calibration part, asked about the test part. Nothing was chosen by it: the
  scorer's settings were tuned with `--split train`, which reads the training part alone.
- `labels shuffled`: the same with scores that belong to other questions, which must fall back to chance.
- Answers: how well the scorer of answers tells wrong ones (AUROC, five folds), and what a cascade by it reaches.
- Decisions: CPU and wall time from the body to the choice, with the scorer at work, on the questions of the test part,
  and on conversations of 1 and 8 KB of mathematics, whose many short words take longest.
"""

import argparse
import gc
import gzip
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.results import grid
from penstock.metering.attribution import Attribution
from penstock.policies.deployments import Routing
from penstock.policies.routing.answer import Answer
from penstock.policies.routing.answer_scorer import AnswerScorer, answer_features, read_part, signs_of
from penstock.policies.routing.asked import read_asked
from penstock.policies.routing.memory import Memory
from penstock.policies.routing.router import Rates, Router
from penstock.policies.routing.table import Key, Table
from penstock.policies.routing.tasks import task_of
from penstock.policies.routing.text import Features, TextScorer, features

FOLDS, AT = 5, 1_760_000_000.0


@dataclass(frozen=True)
class Pair:
    """Two models on one set, and what the research's tag table and hashed regression reach there."""

    name: str
    file: str
    weak: str
    strong: str
    tag: float | None
    words: float


PAIRS = (
    Pair("MMLU, Mixtral > GPT-4", "routellm_mmlu", "mixtral-8x7b-instruct", "gpt-4-1106-preview", 0.67, 0.64),
    Pair("GSM8K, Mixtral > GPT-4", "routellm_gsm8k", "mixtral-8x7b-instruct", "gpt-4-1106-preview", None, 0.64),
    Pair("MMLU-Pro, Flash > Pro", "mmlupro", "gemini-1.5-flash-002", "gemini-1.5-pro-002", 0.80, 0.74),
    Pair("MMLU-Pro, Llama 8B > 70B", "mmlupro", "llama-3.1-8b-instruct", "llama-3.1-70b-instruct", 0.51, 0.51),
    Pair("maths, 3.5 > 4o", "zeroeval", "gpt-3.5-turbo-0125", "gpt-4o-2024-08-06", 0.61, 0.63),
    Pair("14 tasks, Mistral > 51B", "llmrouter_mix", "mistral-7b-instruct-v0.3", "llama-3.1-nemotron-51b-instruct",
         0.73, 0.71),
    Pair("14 tasks, Llama 8B > 51B", "llmrouter_mix", "llama-3.1-8b-instruct", "llama-3.1-nemotron-51b-instruct",
         0.82, 0.73),
    Pair("tools, 3.5 > 4o", "bfcl_tools", "gpt-3.5-turbo-0125", "gpt-4o-2024-08-06", 1.09, 0.93),
)  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """A pair whose weak answers are kept, and what the research's scorer of prompt and answer reaches."""

    pair: Pair
    auroc: float
    apgr: float


@dataclass(frozen=True)
class Row:
    """One question: its tag, its fold, what both answers scored, and in which part of the data it is."""

    text: str
    tag: str
    fold: int
    weak: float
    strong: float
    split: str = "train"
    answer: str = ""
    """Of the weak model, where it is kept."""


def folder() -> Path:
    return Path(os.environ.get("PENSTOCK_ROUTING_DATA") or Path(__file__).parents[2] / "shared/data/routing")


def read(pair: Pair, most: int = 0, split: str = "") -> list[Row]:
    """Read the rows of a pair: `most` of them (0: all), of one part of the data (empty: of all)."""
    rows = []
    for row in _lines(folder() / f"{pair.file}.jsonl.gz"):
        if split in ("", row["split"]):
            scores, fold = row["s"], int(row["group"], 16) % FOLDS
            rows.append(Row(row["prompt"], row["cat"], fold, scores[pair.weak], scores[pair.strong], row["split"]))
    return rows[:most] if most else rows


def read_answered(pair: Pair, split: str = "") -> list[Row]:
    """Read the rows of a pair whose weak answer is kept, with it."""
    answers = {row["id"]: row for row in _lines(folder() / "responses" / f"{pair.file}.{pair.weak}.jsonl.gz")}
    rows = []
    for row in _lines(folder() / f"{pair.file}.jsonl.gz"):
        if split in ("", row["split"]) and row["id"] in answers:
            scores, fold = row["s"], int(row["group"], 16) % FOLDS
            rows.append(
                Row(row["prompt"], row["cat"], fold, scores[pair.weak], scores[pair.strong], row["split"],
                    str(answers[row["id"]]["text"]))
            )  # fmt: skip
    return rows


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def apgr(rows: Sequence[Row], gains: Sequence[float]) -> float:
    """Return the area; rows of equal gain go in any order, so their middle is taken."""
    weak, strong = (statistics.fmean(getattr(row, which) for row in rows) for which in ("weak", "strong"))
    steps: dict[float, list[float]] = {}
    for row, gain in zip(rows, gains, strict=True):
        steps.setdefault(gain, []).append((row.strong - row.weak) / len(rows))
    area, now = 0.0, weak
    for gain in sorted(steps, reverse=True):
        after = now + sum(steps[gain])
        area += (now + after) / 2 * len(steps[gain]) / len(rows)
        now = after
    return (area - weak) / (strong - weak)


Gains = Callable[[Sequence[Row], Sequence[Row]], list[float]]


def by_table(trained: Sequence[Row], asked: Sequence[Row]) -> list[float]:
    """Say what the strong model adds, by the keyed table."""
    table = Table({"weak": "mini", "strong": "premium"})
    for row in trained:
        key = Key("", row.tag, "unknown")
        table.learn(key, "weak", row.weak, AT)
        table.learn(key, "strong", row.strong, AT)
    gain = {tag: _gain(table, Key("", tag, "unknown")) for tag in {row.tag for row in asked}}
    return [gain[row.tag] for row in asked]


def _gain(table: Table, key: Key) -> float:
    return table.quality(key, "strong", AT).mean - table.quality(key, "weak", AT).mean


def by_words(trained: Sequence[Row], asked: Sequence[Row]) -> list[float]:
    """Say it by the text scorer, which sees every answer once."""
    scorer = TextScorer()
    for row in trained:
        text = features(row.text)
        scorer.learn(text, "weak", row.weak, 0.5)
        scorer.learn(text, "strong", row.strong, 0.5)
    found = [scorer.scores(features(row.text), ("weak", "strong")) for row in asked]
    return [one["strong"] - one["weak"] for one in found]


def folded(rows: Sequence[Row], method: Gains, *, shuffled: bool = False) -> float:
    """Return the area by `folded_gains`."""
    return apgr(rows, folded_gains(rows, method, shuffled=shuffled))


def folded_gains(rows: Sequence[Row], method: Gains, *, shuffled: bool = False) -> list[float]:
    """Learn from four folds, ask about the fifth, five times."""
    gains = [0.0] * len(rows)
    for fold in range(FOLDS):
        trained = [row for row in rows if row.fold != fold]
        draw = Random(fold)
        draw.shuffle(trained)
        if shuffled:
            scores = [(row.weak, row.strong) for row in trained]
            draw.shuffle(scores)
            trained = [Row(row.text, row.tag, row.fold, *two) for row, two in zip(trained, scores, strict=True)]
        places = [number for number, row in enumerate(rows) if row.fold == fold]
        found = method(trained, [rows[number] for number in places])
        for number, gain in zip(places, found, strict=True):
            gains[number] = gain
    return gains


TASKS = {
    "agentverse-mgsm": "maths", "gsm8k": "maths", "math": "maths", "mbpp": "code", "human_eval": "code",
    "commongen": "writing", "natural_qa": "question", "trivia_qa": "question", "mmlu": "question", "gpqa": "question",
    "commonsense_qa": "question", "openbook_qa": "question", "arc_challenge": "question",
}  # fmt: skip


def accuracy() -> tuple[float, float, int]:
    """Return the share of questions whose task is named right, of those where it is not known, and their number."""
    right = unknown = count = 0
    for row in read(PAIRS[5]):
        if row.tag in TASKS:
            found = task_of(read_asked(json.dumps({"messages": [{"role": "user", "content": row.text}]}).encode()))
            right, unknown, count = right + (found == TASKS[row.tag]), unknown + (found == "unknown"), count + 1
    return right / count, unknown / count, count


def by_answers(trained: Sequence[Row], asked: Sequence[Row]) -> list[float]:
    """Say how likely the weak answer is wrong, by what stands in it."""
    scorer = AnswerScorer()
    for row in trained:
        scorer.learn(_features_of(row), "weak", row.weak, 0.5)
    found = [scorer.chance(_features_of(row), "weak") for row in asked]
    return [0.0 if chance is None else -chance for chance in found]


def _features_of(row: Row) -> Features:
    return answer_features(row.text, read_part(row.answer), signs_of(Answer(row.answer, finish="stop")))


def auroc(rows: Sequence[Row], gains: Sequence[float]) -> float:
    """Return how often a wrong answer is ranked above a right one; of equal ranks the half."""
    ordered = sorted(zip(gains, (row.weak for row in rows), strict=True))
    wrong = right = pairs = 0.0
    for _, group in groupby(ordered, key=itemgetter(0)):
        scores = [score for _, score in group]
        bad = sum(score < 0.5 for score in scores)
        pairs += bad * (right + (len(scores) - bad) / 2)
        wrong, right = wrong + bad, right + len(scores) - bad
    return pairs / (wrong * right)


def tested(rows: Sequence[Row], method: Gains) -> float | None:
    """Learn from the training and calibration part, ask about the test part; None: a part is missing."""
    trained = [row for row in rows if row.split != "test"]
    asked = [row for row in rows if row.split == "test"]
    if not trained or not asked:
        return None
    Random(0).shuffle(trained)
    return apgr(asked, method(trained, asked))


NAMES = ("nano", "mini", "standard", "premium")


@dataclass(frozen=True)
class Speed:
    """Milliseconds of a decision: CPU at the median and at the 99th percentile, and wall time at both."""

    cpu: tuple[float, float]
    wall: tuple[float, float]


def bodies(rows: Sequence[Row], size: int, count: int = 400) -> list[bytes]:
    """Make requests of about that many bytes out of real texts: a quarter of it the application's prompt, which is the
    same for all, a quarter earlier turns, and half of it the question."""
    made, texts = [], " ".join(row.text for row in rows[: count * 4])
    quarter, system = size // 4 - 40, texts[:size][: size // 4 - 40]
    for number in range(count):
        start = (number * 2_311) % (len(texts) - size)
        turns = texts[start : start + quarter]
        messages = [
            {"role": "system", "content": system},
            {"role": "user", "content": turns[: quarter // 2]},
            {"role": "assistant", "content": turns[quarter // 2 :]},
            {"role": "user", "content": texts[start + quarter : start + 3 * quarter]},
        ]
        made.append(json.dumps({"model": "auto", "messages": messages, "temperature": 0.2}).encode())
    return made


def questions(count: int = 400) -> list[bytes]:
    """Make requests of the questions of all sets' test part, as they are."""
    files = {pair.file: pair for pair in PAIRS}.values()
    texts = [row.text for pair in files for row in read(pair, split="test")]
    step = max(1, len(texts) // count)
    return [
        json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}], "temperature": 0.2}).encode()
        for text in texts[::step]
    ]


def speed(rows: Sequence[Row], made: Sequence[bytes], candidates: int) -> Speed:
    """Measure whole decisions, from a body to the choice, with the scorer of words at work."""
    names = tuple(f"{NAMES[place % 4]}{place // 4 or ''}" for place in range(candidates))
    memory = Memory({name: NAMES[place % 4] for place, name in enumerate(names)})
    router = Router(Routing(), names[-1], memory)
    rates = {name: Rates(1e-7 * 2**n, 5e-8 * 2**n, 4e-7 * 2**n) for n, name in enumerate(names)}
    who = Attribution(team="support", feature="help")
    key = router.key_of(read_asked(made[0]), who)
    # Scores that follow from a word: the scorer is better than the table, and so it is asked at every decision.
    for number, row in enumerate(rows[: 300 * candidates]):
        model, good = names[number % candidates], number // candidates % 2
        memory.decided(str(number), key, f"{'simple' if good else 'involved'} {row.text}", model)
        memory.learn(str(number), float(good), AT)
    if not memory.by_words(key, "what is the capital of the moon", names):
        raise AssertionError("the scorer of words is not at work, so this measures nothing")
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # as a worker does
    cpu, wall = [], []
    for turn in range(5):
        for number, body in enumerate(made):
            began, spent = time.perf_counter(), time.process_time()
            asked = read_asked(body)
            router.key_of(asked, who)
            router.decide(f"{turn}.{number}", asked, who, rates, AT, key=key)  # the key that has scores, at any rate
            cpu.append((time.process_time() - spent) * 1000)
            wall.append((time.perf_counter() - began) * 1000)
    return Speed(_middle_and_late(cpu), _middle_and_late(wall))


def _middle_and_late(times: list[float]) -> tuple[float, float]:
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100]


ANSWERS = (
    Answered(PAIRS[2], 0.75, 0.97),
    Answered(PAIRS[4], 0.84, 0.63),
)


class Bars:
    """What is to be reached, and what was missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def hold(self, name: str, value: float | None, bar: float | None) -> None:
        """Take a figure that is to be at least the bar, at the bar's two decimals."""
        if value is not None and bar is not None and round(value, 3) + 0.005 < bar - 1e-9:
            self.missed.append(f"{name}: {value:.3f}, and {bar:.2f} is to be reached")

    def stay(self, name: str, value: float, most: float) -> None:
        """Take a figure that is to be below a limit."""
        if value >= most:
            self.missed.append(f"{name}: {value:.3f}, and it must stay below {most:g}")


def main() -> int:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--rows", type=int, default=0, help="rows of each set, at most; 0: all")
    options.add_argument("--split", default="", help="only this part of the data: train, cal or test")
    options.add_argument("--only", default="", help="pairs whose name holds this")
    options.add_argument("--skip", default="", help="leave out: any of quality, answers, speed, with commas")
    given = options.parse_args()
    if not folder().is_dir():
        print(f"skipped: the public results are not in {folder()}; name their folder in PENSTOCK_ROUTING_DATA",
              file=sys.stderr)  # fmt: skip
        return 0
    bars, skip = Bars(), given.skip.split(",")
    pairs = [pair for pair in PAIRS if given.only in pair.name]
    if "quality" not in skip and pairs:
        print(quality(pairs, bars, given.rows, given.split))
    if "answers" not in skip:
        print(answers([one for one in ANSWERS if given.only in one.pair.name], bars, given.split))
    if "speed" not in skip:
        print(decisions(bars))
    for line in bars.missed:
        print(f"missed: {line}")
    return 1 if bars.missed else 0


def quality(pairs: Sequence[Pair], bars: Bars, most: int, split: str) -> str:
    """Measure table and words on each pair."""
    lines, reached = [], {"table": [], "words": [], "shuffled": []}
    for pair in pairs:
        rows = read(pair, most, split)
        table = folded(rows, by_table) if pair.tag else None
        words, shuffled = folded(rows, by_words), folded(rows, by_words, shuffled=True)
        reached["words"].append(words)
        reached["shuffled"].append(shuffled)
        if table is not None:
            reached["table"].append(table)
        bars.hold(f"{pair.name}, table", table, pair.tag)
        bars.hold(f"{pair.name}, words", words, pair.words)
        test_table = tested(rows, by_table) if pair.tag else None
        lines.append((pair.name, str(len(rows)), _said(table), _said(pair.tag), _said(test_table), _said(words),
                      _said(pair.words), _said(tested(rows, by_words)), _said(shuffled)))  # fmt: skip
        print(" ".join(lines[-1]), file=sys.stderr, flush=True)
    means = [statistics.fmean(some) if some else None for some in reached.values()]
    lines.append(("mean", "", _said(means[0]), "", "", _said(means[1]), "", "", _said(means[2])))
    bars.stay("labels shuffled, distance of the mean from chance", abs((means[2] or 0.5) - 0.5), 0.05)
    right, unknown, count = accuracy()
    head = ("APGR", "n", "table", "research", "test", "words", "research", "test", "labels shuffled")
    said = f"task named right: {right:.1%} of {count:,} questions of 13 tasks; said unknown: {unknown:.1%}"
    return f"{grid(head, lines)}\n{said}\n"


def answers(some: Sequence[Answered], bars: Bars, split: str) -> str:
    """Measure the scorer of answers."""
    lines = []
    for one in some:
        rows = read_answered(one.pair, split)
        gains = folded_gains(rows, by_answers)
        found, area = auroc(rows, gains), apgr(rows, gains)
        bars.hold(f"{one.pair.name}, answers", found, one.auroc)
        lines.append((one.pair.name, str(len(rows)), _said(found), _said(one.auroc), _said(area), _said(one.apgr)))
        print(" ".join(lines[-1]), file=sys.stderr, flush=True)
    return grid(("answers", "n", "AUROC", "research", "APGR", "research"), lines) + "\n"


def decisions(bars: Bars) -> str:
    """Measure how long decisions take."""
    rows, lines = read(PAIRS[2]), []
    prompts = {
        "test questions": questions(),
        "1 KB of maths": bodies(rows, 1_000),
        "8 KB of maths": bodies(rows, 8_000),
    }
    for name, made in prompts.items():
        for candidates in (2, 4, 8):
            found = speed(rows, made, candidates)
            lines.append((name, str(candidates), *(f"{one:.3f}" for one in (*found.cpu, *found.wall))))
            if name == "test questions":  # what is promised; mathematics is nothing but short words, and the worst
                bars.stay(f"a decision on {name} among {candidates}, median ms of CPU", found.cpu[0], 0.3)
            bars.stay(f"a decision on {name} among {candidates}, p99 ms of CPU", found.cpu[1], 1.0)
    head = ("prompt", "candidates", "CPU ms", "p99", "wall ms", "p99")
    return f"{grid(head, lines)}\nload of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"


def _said(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
