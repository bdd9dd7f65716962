"""Every question behind the pages and the API, put to one large ledger: is each answered within a second?

python -m benchmarks.analytics [--events 5000000] [--days 90] [--rounds 5] [--folder KEEP] [--only WORD]
    [--json raw.json] [--write table.md]

The ledger holds runs, errors and spikes as well (`ledger_fill`), and is as `penstock serve` leaves it: compacted and
rolled up. Each question is asked once to warm up, as a running dashboard is, and then `--rounds` times. Beside what the
clock says stands the time of the processors: on a busy machine it is the better figure. Exit code 1 where a question
took longer than a second.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.ledger_fill import START, fill
from benchmarks.machine import facts
from benchmarks.results import grid
from penstock.analytics.anomalies import anomalies
from penstock.analytics.budget_outlook import Allowance, budget_outlook
from penstock.analytics.change import change, rates_in
from penstock.analytics.chargeback import chargeback
from penstock.analytics.efficiency import efficiency
from penstock.analytics.failures import failures
from penstock.analytics.forecast import forecast
from penstock.analytics.latency import latency
from penstock.analytics.overlap import counted
from penstock.analytics.requests import explain, latest
from penstock.analytics.runs import iterations
from penstock.analytics.shared_costs import Chargeback, SharedCost
from penstock.analytics.unit_economics import Observation, unit_economics
from penstock.dashboard.asked import asked
from penstock.dashboard.house import House
from penstock.dashboard.page import Page
from penstock.dashboard.requests_ import PAGE as REQUESTS
from penstock.dashboard.summary import PAGE as SUMMARY
from penstock.ledger.store import Ledger

LIMIT = 1.0
"""Seconds that a question may take."""
Ask = Callable[[], Any]


def questions(ledger: Ledger, house: House, days: int) -> dict[str, Ask]:
    """Return what pages and API ask, with what they ask by default and with what is worst for them."""
    end = START + timedelta(days=days)
    month = {"since": end - timedelta(days=30), "until": end}
    periods = {"before": (end - timedelta(days=60), end - timedelta(days=30)), "after": (end - timedelta(days=30), end)}
    rates = rates_in(ledger, lambda: None)
    moment = ledger.moment
    spend = {
        f"spend by {by}{', 30 days' if span else ''}": lambda by=by, span=span: counted(
            moment(), by=tuple(filter(None, by.split(","))), **(month if span else {})
        )
        for by in (
            "", "model", "day,model", "hour", "week", "month", "team,app", "user", "key", "feature", "deployment",
            "tag:product", "outcome", "run",
        )
        for span in (False, True)
    }  # fmt: skip
    rules = Chargeback(shared=(SharedCost(name="platform", match={"team": "team-1"}),))
    of_all = ("team", "key", "app", "user")
    budgets = [
        Allowance(scope=str(where), per="month", dollars=Decimal(100_000), hard=True, where=where, each=each,
                  time_zone="UTC", since=datetime(end.year, end.month, 1, tzinfo=UTC) - timedelta(days=31),
                  until=end + timedelta(days=2), rolls=False)
        for where, each in (((), ()), ((("team", "team-3"),), ()))
    ]  # fmt: skip
    first = latest(ledger.table(since=end - timedelta(hours=1)), limit=1)[0][0].request_id
    return {
        "first page": lambda: looked_at(house, SUMMARY, {}),
        "first page, 90 days": lambda: looked_at(house, SUMMARY, {"period": "90d"}),
        **spend,
        "spend by day in Berlin": lambda: counted(moment(), by=("day", "model"), time_zone="Europe/Berlin"),
        "change by model, 30 days": lambda: change(moment(), by=("model",), rates=rates, **periods),
        "change by team and app, 30 days": lambda: change(moment(), by=("team", "app"), rates=rates, **periods),
        "chargeback by team, 30 days": lambda: chargeback(
            moment(), rules, lines=("model",), **month
        ),
        "tokens by model, 30 days": lambda: efficiency(moment(), **month),
        "tokens by model": lambda: efficiency(moment()),
        "errors by model": lambda: failures(moment()),
        "errors by team, 30 days": lambda: failures(moment(), by=("team",), **month),
        "latency by model": lambda: latency(moment()),
        "latency by model, 30 days": lambda: latency(moment(), **month),
        "runs": lambda: iterations(moment()),
        "runs, 30 days": lambda: iterations(moment(), **month),
        "forecast": lambda: forecast(moment(), end),
        "forecast by team": lambda: forecast(moment(), end, by=("team",)),
        "forecast of budgets": lambda: budget_outlook(moment(), end, lambda _at: budgets),
        "anomalies": lambda: anomalies(moment(), end),
        "anomalies of every value": lambda: anomalies(moment(), end, by=of_all, floor=Decimal(0)),
        "cost per outcome by day": lambda: unit_economics(moment(), metrics(end), "answers", per="day", **month),
        "requests: newest": lambda: looked_at(house, REQUESTS, {}),
        "requests: page 100": lambda: looked_at(house, REQUESTS, {"page": "100"}),
        "requests: of a day": lambda: looked_at(house, REQUESTS, {"from": f"{end - timedelta(days=40):%Y-%m-%d}",
                                                         "to": f"{end - timedelta(days=40):%Y-%m-%d}"}),
        "requests: of a user": lambda: looked_at(house, REQUESTS, {"user": "user-77"}),
        "requests: of nobody": lambda: looked_at(house, REQUESTS, {"user": "nobody"}),
        "requests: unpriced": lambda: looked_at(house, REQUESTS, {"price_state": "unpriced"}),
        "one request": lambda: explain(ledger, first),
    }  # fmt: skip


def looked_at(house: House, shown: Page, fields: dict[str, str]) -> Any:
    """Ask what a page asks."""
    return shown.gather(house, asked(shown.path, fields, house.now(), shown.own))


def metrics(end: datetime) -> list[Observation]:
    """A thousand answers a day."""
    return [
        Observation(day=(end - timedelta(days=n)).date(), metric="answers", value=Decimal(1000), group={})
        for n in range(1, 31)
    ]


def measure(folder: Path, count: int, days: int, rounds: int, only: str) -> list[dict[str, Any]]:
    """Fill the ledger if it is empty, roll it up, and ask everything."""
    if not (folder / "state.sqlite").exists():
        fill(folder, count, days, say)
    end = datetime.combine((START + timedelta(days=days)).date(), clock_time(), UTC)
    house = House(folder, None, {}, lambda: end)
    rows = []
    with Ledger.open(folder) as ledger:
        while (done := ledger.compact()).rolled_up or done.merged:
            say(f"compaction: {done.merged} parts merged, {done.rolled_up} rolled up")
        ledger.table()  # imports what only tables need
        for title, ask in questions(ledger, house, days).items():
            if only not in title:
                continue
            first, *again = (timed(ask) for _ in range(rounds + 1))
            took, worked = zip(*again, strict=True)
            row = {
                "question": title, "first_ms": first[0], "median_ms": statistics.median(took), "min_ms": min(took),
                "max_ms": max(took), "cpu_ms": statistics.median(worked),
            }  # fmt: skip
            rows.append(row)
            say(", ".join(f"{name} {value:.0f}" if name != "question" else value for name, value in row.items()))
    house.close()
    return rows


def timed(ask: Ask) -> tuple[float, float]:
    """Return what the clock says, and what the processors did, in milliseconds."""
    begin, worked = time.perf_counter(), time.process_time()
    ask()
    return (time.perf_counter() - begin) * 1e3, (time.process_time() - worked) * 1e3


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=5_000_000)
    options.add_argument("--days", type=int, default=90)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--folder", type=Path, help="Keep the ledger there, and use it again.")
    options.add_argument("--only", default="", help="Only the questions with that word.")
    options.add_argument("--json", type=Path, help="Write everything that was measured there.")
    options.add_argument("--write", type=Path, help="Write the table there, as Markdown.")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() if chosen.folder is None else nullcontext(str(chosen.folder)) as name:
        rows = measure(Path(name), chosen.events, chosen.days, chosen.rounds, chosen.only)
    slow = [row["question"] for row in rows if row["max_ms"] > LIMIT * 1e3]
    machine = facts()
    text = page(rows, chosen, machine)
    print(text)
    if chosen.write:
        chosen.write.write_text(text)
    if chosen.json:
        document = {"machine": machine, "events": chosen.events, "days": chosen.days, "rows": rows}
        chosen.json.write_text(json.dumps(document, indent=1) + "\n")
    for question in slow:
        say(f"longer than {LIMIT:g} s: {question}")
    return 1 if slow else 0


def page(rows: list[dict[str, Any]], chosen: Any, machine: dict[str, Any]) -> str:
    """Write the table as a page."""
    columns = ("cpu_ms", "min_ms", "median_ms", "max_ms", "first_ms")
    lines = [[row["question"], *(f"{row[name]:,.0f}" for name in columns)] for row in rows]
    about = "\n".join(f"- {name}: {value}" for name, value in machine.items() if not isinstance(value, dict))
    slow, dear = ([row["question"] for row in rows if row[name] > LIMIT * 1e3] for name in ("max_ms", "cpu_ms"))
    verdict = (
        f"Longer than a second by the clock, at least once: {', '.join(slow) or 'none'}. "
        f"More than a second of the processors: {', '.join(dear) or 'none'}."
    )
    return (
        "# What pages and API ask of a large ledger\n\n"
        f"Made by `python -m benchmarks.analytics --events {chosen.events} --days {chosen.days} "
        f"--rounds {chosen.rounds}`: {chosen.events:,} events in {chosen.days} days, each question asked once to warm "
        f"up and then {chosen.rounds} times.\n{verdict}\n\n{about}\n\n"
        f"{grid(('question', 'CPU ms', 'least ms', 'median ms', 'most ms', 'first ms'), lines)}\n"
    )


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
