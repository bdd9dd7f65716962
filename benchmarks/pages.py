"""How long the server takes for each page over a large ledger, in a process of its own, without a network.

python -m benchmarks.pages [--events 1000000] [--days 90] [--folder KEEP] [--rounds 5] [--write table.md]

Beside what the clock says stands the time of the processors: on a busy machine it is the better figure.
`first` is a page that nobody has asked for yet (what is kept for half a minute has to be made), `again` the median of
the rounds after it, `filtered` the median with a team and a model in the address, each of them a question of its own.
`own` is what the thread that made the page did, without what is looked for beside the pages and the engine's helpers.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

from httpx2 import Response
from starlette.testclient import TestClient

from benchmarks.ledger_fill import START, fill
from benchmarks.results import grid
from penstock.dashboard.app import make_app
from penstock.dashboard.pages import PAGES
from penstock.ledger.store import Ledger

PROMISE = 300
"""Milliseconds."""
SETTLING = 2.0
"""Seconds after the start in which templates are compiled."""
VALUES = {"/chargeback/statement": {"name": "team-3"}}
"""What a page cannot be asked without."""


Took = tuple[float, float, float]
"""Milliseconds: by the clock, of all processors, of the threads that make pages."""


def milliseconds(client: TestClient, path: str, fields: dict[str, str]) -> Took:
    """Ask for a page."""
    begin, worked, made = time.perf_counter(), time.process_time(), page_threads()
    reply = client.get(path, params=fields)
    took, work = time.perf_counter() - begin, time.process_time() - worked
    assert reply.status_code == 200, f"{path}: {reply.status_code}"
    return took * 1000, work * 1000, (page_threads() - made) * 1000


def page_threads() -> float:
    """Return the seconds of processor that all threads which make pages have had."""
    threads = (one for one in threading.enumerate() if one.name.startswith("pages") and one.ident is not None)
    return sum(time.clock_gettime(time.pthread_getcpuclockid(one.ident)) for one in threads if one.ident is not None)


def is_pending(reply: Response) -> bool:
    """Whether something is still looked for beside the pages."""
    return "refresh" in reply.headers or "Still looking" in reply.text


def median(found: Iterable[Took]) -> Took:
    times, works, own = zip(*found, strict=True)
    return statistics.median(times), statistics.median(works), statistics.median(own)


def measure(folder: Path, events: int, days: int, rounds: int) -> str:
    """Visit every page, and return the table."""
    if not (folder / "state.sqlite").exists():
        fill(folder, events, days, say=lambda _said: None)
    with Ledger.open(folder) as ledger:
        ledger.compact()
        newest = ledger.events(limit=1, newest_first=True)[0]
    now = START + timedelta(days=days, hours=-9)
    slow: list[str] = []
    lines: list[list[str]] = []
    with TestClient(make_app(folder, now=lambda: now)) as client:
        time.sleep(SETTLING)
        paths = [*((page.path, page.alone) for page in PAGES), (f"/requests/{newest.request_id}", True)]
        for path, is_alone in paths:
            fields = VALUES.get(path, {})
            first = milliseconds(client, path, fields)
            while is_pending(client.get(path, params=fields)):
                time.sleep(0.5)
            again = median(milliseconds(client, path, fields) for _ in range(rounds))
            asked = [fields | {"team": f"team-{n}", "model": "gpt-4o"} for n in range(1, rounds + 1)]
            is_one = is_alone or path in VALUES
            filtered = None if is_one else median(milliseconds(client, path, one) for one in asked)
            cells = [f"{cell:,.0f}" if one else "–" for one in (first, again, filtered) for cell in one or (0.0,) * 3]
            lines.append(["/requests/..." if path.startswith("/requests/") else path, *cells])
            print(", ".join(lines[-1]), file=sys.stderr, flush=True)
            slow += [path] if max(first[2], again[1]) > PROMISE else []
    columns = ("page", "first", "CPU", "own", "again", "CPU", "own", "filtered", "CPU", "own")
    verdict = f"Not met: {', '.join(slow)}" if slow else "Met."
    return (
        "# Pages over a large ledger\n\n"
        f"Made by `python -m benchmarks.pages --events {events} --days {days} --rounds {rounds}`: {events:,} events in "
        f"{days} days; milliseconds of the server, the last 30 days asked for.\n\n"
        f"- **first**: nobody has asked for it yet, {SETTLING:g} s after the start; **again**: the median of the "
        "rounds after it; **filtered**: with a team and a model in the address, each of them a question of its own\n"
        "- **CPU**: of all threads; **own**: of the thread that made the page, without what is looked for beside the "
        f"pages and the engine's helpers\n\nPromise: every page within {PROMISE} ms of a processor, at its first view "
        f"and after it. {verdict}\n\n{grid(columns, lines)}\n"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--days", type=int, default=90)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--folder", type=Path, help="Keep the ledger there, and use it again.")
    options.add_argument("--write", type=Path, help="Write the table there, as Markdown.")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() if chosen.folder is None else nullcontext(str(chosen.folder)) as name:
        text = measure(Path(name), chosen.events, chosen.days, chosen.rounds)
    print(text)
    if chosen.write:
        chosen.write.write_text(text)


if __name__ == "__main__":
    main()
