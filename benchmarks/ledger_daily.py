"""Daily questions to large ledgers: from rollups, and from all events (the baseline) in one run. Answers must be equal.

python -m benchmarks.ledger_daily [--events 5000000 20000000] [--days 90] [--folder KEEP] [--json raw.json]
    [--write table.md]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.ledger_fill import START, fill
from benchmarks.machine import facts
from benchmarks.results import grid
from penstock.analytics.spend import Spend, spend
from penstock.ledger.store import Ledger


def questions(days: int) -> dict[str, dict[str, Any]]:
    """What the first page and the usual reports ask."""
    end = START + timedelta(days=days)
    month = {"since": end - timedelta(days=30), "until": end}
    return {
        "spend by day and model": {"by": ("day", "provider", "model")},
        "the same in Berlin's days": {"by": ("day", "provider", "model"), "time_zone": "Europe/Berlin"},
        "charge-back by team and app, 30 days": {"by": ("team", "app"), **month},
        "users, 30 days": {"by": ("user",), **month},
        "cache share by day": {"by": ("day",)},
        "total, and what has no price": {},
        "report by model": {"by": ("model",)},
        "month to date by team": {"by": ("team",), "since": month["since"] + timedelta(days=1)},
        "trend by week": {"by": ("week",)},
        "one team by model": {"by": ("model",), "where": (("team", "team-3"),)},
    }


def timed(ask: Callable[[], Spend], rounds: int) -> tuple[dict[str, float], Spend]:
    """Return milliseconds, the least and the median, of the clock and of CPU, and the answer; warm if in rounds."""
    answer = ask() if rounds > 1 else None
    found = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = ask()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    assert answer is not None
    return {
        f"{what}{kind}_ms": choose(row[n] for row in found) * 1e3
        for what, choose in (("least_", min), ("", statistics.median))
        for n, kind in enumerate(("wall", "cpu"))
    }, answer


def measure(folder: Path, count: int, days: int) -> list[dict[str, Any]]:
    """Fill the ledger if it is empty, roll it up, and ask everything both ways."""
    if not (folder / "state.sqlite").exists():
        fill(folder, count, days, say)
    rows = []
    with Ledger.open(folder) as ledger:
        begin = time.perf_counter()

        def took() -> float:
            return time.perf_counter() - begin

        while (done := ledger.compact()).rolled_up or done.merged:
            say(f"compaction: {done.merged} parts merged, {done.rolled_up} rolled up, {took():.0f} s")
        ledger.table()  # imports what only tables need
        for title, question in questions(days).items():
            quick, answer = timed(lambda question=question: spend(ledger.moment(), **question), 9)
            slow, same = timed(lambda question=question: spend(ledger.table(), **question), 1)
            equal = answer == same
            rows.append(
                {"question": title, "rows": len(answer.rows), "rollups": quick, "all_events": slow, "equal": equal}
            )
            say(f"{title}: {quick['wall_ms']:.0f} ms from rollups, {slow['wall_ms']:.0f} ms from all events")
    return rows


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, nargs="+", default=[20_000_000])
    options.add_argument("--days", type=int, default=90)
    options.add_argument("--folder", type=Path, help="Keep the ledger there, and use it again.")
    options.add_argument("--json", type=Path, help="Write everything that was measured there.")
    options.add_argument("--write", type=Path, help="Write the table there, as Markdown.")
    chosen = options.parse_args()
    if chosen.folder is not None and len(chosen.events) > 1:
        options.error("--folder keeps one ledger: name one number of --events")
    measured, texts = [], []
    for count in chosen.events:
        with tempfile.TemporaryDirectory() if chosen.folder is None else nullcontext(str(chosen.folder)) as name:
            rows = measure(Path(name), count, chosen.days)
        measured.append({"events": count, "rows": rows})
        texts.append(f"## {count:,} events in {chosen.days} days\n\n{table(rows)}\n")
        print(texts[-1], flush=True)
    if chosen.write:
        chosen.write.write_text("\n".join(texts))
    if chosen.json:
        document = {"machine": facts(), "days": chosen.days, "ledgers": measured}
        chosen.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if all(row["equal"] for one in measured for row in one["rows"]) else 1


def table(rows: list[dict[str, Any]]) -> str:
    """Lay the answers out; the ratio is that of CPU, which does not depend on who else is at work."""
    columns = ("question", "rows", "ms, least", "median", "CPU ms", "all events: ms", "CPU ms", "CPU ratio", "equal")
    lines = []
    for row in rows:
        quick, slow = row["rollups"], row["all_events"]
        lines.append([
            row["question"], f"{row['rows']:,}", f"{quick['least_wall_ms']:.0f}", f"{quick['wall_ms']:.0f}",
            f"{quick['cpu_ms']:.0f}", f"{slow['wall_ms']:,.0f}", f"{slow['cpu_ms']:,.0f}",
            f"{slow['cpu_ms'] / quick['cpu_ms']:.1f}", "yes" if row["equal"] else "NO",
        ])  # fmt: skip
    return grid(columns, lines)


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
