"""What questions cost: Ibis over the ledger beside plain SQL on the same files, in one run.

python -m benchmarks.ledger_query [--events 1000000] [--days 90] [--folder KEEP]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import ibis

from benchmarks.ledger_write import START, sample
from penstock.ledger.engine import OFFLINE
from penstock.ledger.log import LogWriter
from penstock.ledger.store import Ledger

PLAIN = {
    "spend by model and day": """
        SELECT model, date_trunc('day', "at"), sum(cost), count(*) FROM events GROUP BY ALL ORDER BY ALL""",
    "charge-back team/app, 30 d": """
        SELECT team, app, sum(cost), sum(input_tokens) FROM events WHERE "at" >= TIMESTAMP '{month}'
        GROUP BY ALL ORDER BY ALL""",
    "top 20 users, 30 d": """
        SELECT "user", sum(cost) AS c FROM events WHERE "at" >= TIMESTAMP '{month}'
        GROUP BY ALL ORDER BY c DESC, 1 LIMIT 20""",
    "p95 duration by model, 7 d": """
        SELECT model, quantile_cont(duration_us, 0.95) FROM events WHERE "at" >= TIMESTAMP '{week}'
        GROUP BY ALL ORDER BY ALL""",
    "distinct requests": "SELECT count(DISTINCT request_id) FROM events",
    "one team, 24 h": "SELECT count(*), sum(cost) FROM events WHERE team = 'team-3' AND \"at\" >= TIMESTAMP '{day}'",
}


def questions(month: Any, week: Any, day: Any) -> dict[str, Callable[[Any], Any]]:
    """The same questions as expressions."""
    _ = ibis._
    return {
        "spend by model and day": lambda t: (
            t.group_by("model", day=t["at"].truncate("D")).aggregate(c=_.cost.sum(), n=_.count())
            .order_by("model", "day")
        ),
        "charge-back team/app, 30 d": lambda t: (
            t.filter(t["at"] >= month).group_by("team", "app").aggregate(c=_.cost.sum(), i=_.input_tokens.sum())
            .order_by("team", "app")
        ),
        "top 20 users, 30 d": lambda t: (
            t.filter(t["at"] >= month).group_by("user").aggregate(c=_.cost.sum())
            .order_by(ibis.desc("c"), "user").limit(20)
        ),
        "p95 duration by model, 7 d": lambda t: (
            t.filter(t["at"] >= week).group_by("model").aggregate(p=_.duration_us.quantile(0.95)).order_by("model")
        ),
        "distinct requests": lambda t: t.aggregate(n=_.request_id.nunique()),
        "one team, 24 h": lambda t: (
            t.filter((t.team == "team-3") & (t["at"] >= day)).aggregate(n=_.count(), c=_.cost.sum())
        ),
    }  # fmt: skip


def clock(work: Callable[[], Any], rounds: int = 5) -> float:
    """Median milliseconds, warm."""
    work()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def fill(folder: Path, count: int, days: int) -> None:
    """Import all but the last thousand events; these stay in a live log."""
    begin = time.perf_counter()
    with Ledger.open(folder) as ledger:
        added = ledger.add((sample(n, days=days, count=count) for n in range(count)), source="bench")
        took = time.perf_counter() - begin
        size = sum(part.bytes for part in ledger.manifest.parts())
        print(f"import: {added.new:,} events in {took:.1f} s ({count / took:,.0f}/s), {size / count:.0f} B/event")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--days", type=int, default=90)
    options.add_argument("--folder", type=Path, help="Keep the ledger there, and use it again.")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() if chosen.folder is None else nullcontext(str(chosen.folder)) as name:
        measure(Path(name), chosen.events, chosen.days)


def measure(folder: Path, count: int, days: int) -> None:
    if not (folder / "state.sqlite").exists():
        fill(folder, count, days)
    end = START + timedelta(days=days)
    month, week, day = (end.replace(tzinfo=None) - timedelta(days=n) for n in (30, 7, 1))
    with LogWriter(folder, "live") as writer, Ledger.open(folder) as ledger:
        for n in range(1000):
            writer.append(sample(count - n, days=days, count=count))
        writer.write()
        ledger.table()
        parts = ledger.manifest.parts()
        rows = sum(part.rows for part in parts)
        print(f"{rows:,} events in {len(parts)} parts of {days} days, 1,000 in a live log; median of 5, warm, ms\n")
        plain = duckdb.connect(config=OFFLINE)
        files = ", ".join(f"'{folder / part.path}'" for part in parts)
        plain.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet([{files}], hive_partitioning = false)")
        print(f"{'question':<32}{'plain SQL':>11}{'ledger':>11}{'ratio':>8}{'ibis compiles':>15}")
        for title, question in questions(month, week, day).items():
            sql = PLAIN[title].format(month=month, week=week, day=day)
            bare = clock(lambda sql=sql: plain.sql(sql).to_arrow_table())
            ours = clock(lambda question=question: question(ledger.table()).to_pyarrow())
            table = ledger.table()
            compiling = clock(lambda question=question, table=table: ibis.to_sql(question(table)))
            print(f"{title:<32}{bare:>11.1f}{ours:>11.1f}{ours / bare:>8.2f}{compiling:>15.1f}")
        one = ledger.events(limit=1, newest_first=True)[0]
        print(f"\nthe newest 50 events            {clock(lambda: ledger.events(limit=50, newest_first=True)):>11.1f}")
        print(f"one request by id               {clock(lambda: ledger.events(request_id=one.request_id)):>11.1f}")
        begin = time.perf_counter()
        found = ledger.verify()
        print(f"verify, all                     {(time.perf_counter() - begin) * 1000:>11.1f}   sound: {found.sound}")
    for module in ("duckdb", "pyarrow", "ibis", "penstock.ledger.log", "penstock.ledger.store"):
        code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        took = min(
            float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
            for _ in range(3)
        )
        print(f"import {module:<25}{took * 1000:>11.1f}")


if __name__ == "__main__":
    main()
