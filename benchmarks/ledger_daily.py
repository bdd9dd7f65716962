"""Daily questions to a large ledger: from rollups, from all events, and in one run. Answers must be equal.

python -m benchmarks.ledger_daily [--events 20000000] [--days 90] [--folder KEEP] [--json raw.json] [--write table.md]
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
    }


def timed(ask: Callable[[], Spend], rounds: int) -> tuple[float, float, Spend]:
    """Return median milliseconds of the clock and of CPU, warm, and the answer."""
    answer = ask()
    found = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        ask()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return statistics.median(row[0] for row in found) * 1e3, statistics.median(row[1] for row in found) * 1e3, answer


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
        for title, question in questions(days).items():
            quick, quick_cpu, answer = timed(lambda question=question: spend(ledger.moment(), **question), 7)
            slow, slow_cpu, same = timed(lambda question=question: spend(ledger.table(), **question), 1)
            rows.append({
                "question": title, "rows": len(answer.rows), "rollups_ms": quick, "rollups_cpu_ms": quick_cpu,
                "events_ms": slow, "events_cpu_ms": slow_cpu, "equal": answer == same,
            })  # fmt: skip
            say(f"{title}: {quick:.0f} ms from rollups, {slow:.0f} ms from events")
    return rows


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=20_000_000)
    options.add_argument("--days", type=int, default=90)
    options.add_argument("--folder", type=Path, help="Keep the ledger there, and use it again.")
    options.add_argument("--json", type=Path, help="Write everything that was measured there.")
    options.add_argument("--write", type=Path, help="Write the table there, as Markdown.")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() if chosen.folder is None else nullcontext(str(chosen.folder)) as name:
        rows = measure(Path(name), chosen.events, chosen.days)
    lines = [
        [row["question"], f"{row['rows']:,}", f"{row['rollups_ms']:.0f}", f"{row['rollups_cpu_ms']:.0f}",
         f"{row['events_ms']:,.0f}", f"{row['events_ms'] / row['rollups_ms']:.1f}", "yes" if row["equal"] else "NO"]
        for row in rows
    ]  # fmt: skip
    columns = ("question", "rows", "rollups ms", "CPU ms", "all events ms", "x", "equal")
    text = f"## {chosen.events:,} events in {chosen.days} days\n\n{grid(columns, lines)}\n"
    print(text)
    if chosen.write:
        chosen.write.write_text(text)
    if chosen.json:
        document = {"machine": facts(), "events": chosen.events, "days": chosen.days, "rows": rows}
        chosen.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if all(row["equal"] for row in rows) else 1


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
