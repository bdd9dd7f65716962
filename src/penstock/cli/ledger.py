"""`penstock ledger`: look after the book."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from penstock.cli.options import Common, answer_no, console, dollars, print_json, table

if TYPE_CHECKING:
    from rich.progress import TaskID

    from penstock.ledger.compaction import Progress
    from penstock.ledger.extract import Form
    from penstock.ledger.repricing import Repricing
    from penstock.ledger.store import Ledger

app = App(name="ledger", default_parameter=Parameter(show_default=False))

From = Annotated[str, Parameter(name="--from", help="Begin: 2026-03-14, 2026-03, 7d, today, month, ...")]
To = Annotated[str, Parameter(name="--to", help="End; a day or month named here is included.")]
DryRun = Annotated[bool, Parameter(help="Say what would happen, and change nothing.", negative="")]


def examples(*lines: str) -> str:
    """Write the examples below a command's help."""
    return "\n".join(["Examples:", "", *(f"- `penstock ledger {line}`" for line in lines)])


@app.command(help_epilogue=examples("status", "status --data /var/lib/penstock --json"))
def status(*, common: Common | None = None) -> None:
    """Say what the ledger holds: days, events, files, and logs that wait to be compacted."""
    common = common or Common()
    with _open(common) as ledger:
        found = ledger.status()
    if common.json:
        print_json(found)
        return
    rows = table("", "")
    span = f"{found.first:%Y-%m-%d %H:%M} to {found.last:%Y-%m-%d %H:%M} UTC" if found.first and found.last else "-"
    rows.add_row("folder", str(found.folder))
    rows.add_row("events", f"{found.events:,}")
    rows.add_row("span", span)
    rows.add_row("in parts", f"{found.parts_events:,} events, {found.parts} files, {found.parts_bytes:,} bytes")
    rows.add_row("in logs", f"{found.logs_events:,} events, {found.live_logs} live and {found.closed_logs} closed logs")
    rows.add_row("object storage", f"{found.remote_parts} parts at {found.objects}" if found.objects else "none")
    rows.add_row("retired", f"all before {found.retired_before}" if found.retired_before else "nothing")
    rows.add_row("set aside", f"{found.torn} pieces in {found.folder / 'torn'}" if found.torn else "nothing")
    console.print(rows)


@app.command(help_epilogue=examples("verify", "verify --json"))
def verify(*, common: Common | None = None) -> None:
    """Check every checksum, sequence, id, column and sum of the ledger. Exit code 1 if anything is wrong.

    Looks for damaged or missing events in logs, gaps and duplicates, Parquet files that are not as they were
    written, and amounts that do not add up to what was noted. Nothing is changed.
    """
    common = common or Common()
    with _open(common) as ledger, _bars(common) as progress:
        found = ledger.verify(progress=progress)
    if common.json:
        print_json(
            {"sound": found.sound, "events": found.events, "parts": found.parts, "logs": found.logs,
             "cost": found.cost, "problems": found.problems, "notes": found.notes}
        )  # fmt: skip
    else:
        for problem in found.problems:
            _say(f"{problem.kind}: {problem.place}: {problem.detail}", "red")
        for note in found.notes:
            _say(f"Note: {note}")
        verdict = "sound" if found.sound else f"NOT sound: {len(found.problems)} problems"
        _say(f"{found.events:,} events, {found.parts} parts, {found.logs} logs, {dollars(found.cost)}: {verdict}")
    if not found.sound:
        answer_no()


@app.command(help_epilogue=examples("compact"))
def compact(*, common: Common | None = None) -> None:
    """Turn finished logs into Parquet, merge small files, and delete what is no longer needed.

    `penstock serve` does this by itself every few seconds. Logs that are being written are left alone. Where
    `[ledger] objects` names an object storage, files of past days move there.
    """
    common = common or Common()
    with _open(common) as ledger, _bars(common) as progress:
        done = ledger.compact(progress=progress)
    if common.json:
        print_json(done)
    elif done.busy:
        _say("Another compaction is running; this one did nothing.")
    else:
        _say(
            f"{done.events:,} events of {done.logs} logs into {done.parts} parts; {done.merged} small parts merged, "
            f"{done.uploaded} uploaded, {done.removed} files removed."
        )
        for place in done.torn:
            _say(f"Torn end of a log (a write that never finished) set aside: {place}")
        for problem in done.problems:
            _say(f"Damage: {problem}", "red")
    if done.busy or done.problems:
        answer_no()


@app.command(
    help_epilogue=examples(
        "export march.parquet --from 2026-03 --to 2026-03", "export today.csv --from today", "export all.jsonl"
    )
)
def export(
    file: Path,
    *,
    form: Annotated[
        Literal["parquet", "csv", "jsonl"] | None, Parameter(name="--format", help="By default what the name ends in.")
    ] = None,
    from_: From = "",
    to: To = "",
    common: Common | None = None,
) -> None:
    """Write events to a file: Parquet, CSV or JSON lines. Every amount keeps every digit.

    In Parquet an amount is DECIMAL(38,18), in CSV and JSON a decimal text. Times are UTC.
    """
    from penstock.analytics.periods import between
    from penstock.errors import InputError
    from penstock.metering.event import utc_now

    common = common or Common()
    forms: dict[str, Form] = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    chosen = form or forms.get(file.suffix)
    if chosen is None:
        raise InputError(f"{file}: the name does not say which format. Add --format parquet, csv or jsonl.")
    since, until = between(from_, to, utc_now())
    with _open(common) as ledger, _bars(common) as progress:
        events = ledger.extract(file, chosen, since=since, until=until, progress=progress)
    if common.json:
        print_json({"file": file, "format": chosen, "events": events, "from": since, "to": until})
    else:
        _say(f"{events:,} events written to {file}")


@app.command(help_epilogue=examples("retention --days 400 --dry-run", "retention --days 400 --yes"))
def retention(
    *,
    days: Annotated[int, Parameter(help="Whole days (UTC) to keep, before today.")],
    dry_run: DryRun = False,
    yes: Annotated[bool, Parameter(help="Drop without asking.", negative="")] = False,
    common: Common | None = None,
) -> None:
    """Drop events older than that many days; their totals by month, model and payer stay.

    Nothing older than the days that were dropped can be imported afterwards: it would count twice.
    """
    from penstock.errors import InputError

    common = common or Common()
    if days < 1:
        raise InputError("--days must be 1 or more: today is never dropped.")
    if days > 36_500:
        raise InputError("--days must be 36500 at most: nobody has been billed for tokens for a hundred years.")
    with _open(common) as ledger, _bars(common) as progress:
        found = ledger.retain(days=days, dry_run=True)
        what = f"{found.events:,} events of {found.days} days before {found.before}, {dollars(found.cost)}"
        if found.events and not dry_run and (yes or _agreed(f"Drop {what}?")):
            found = ledger.retain(days=days, progress=progress)
    if common.json:
        print_json(found)
    elif not found.events:
        _say(f"Nothing is older than {found.before}.")
    else:
        verb = "Would drop" if found.dry_run else "Dropped"
        _say(f"{verb} {what}. Monthly totals {'would stay' if found.dry_run else 'stay'}.")


@app.command(help_epilogue=examples("reprice --dry-run", "reprice --from 2026-03 --yes"))
def reprice(
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, Parameter(help="Book the corrections without asking.", negative="")] = False,
    from_: From = "",
    to: To = "",
    common: Common | None = None,
) -> None:
    """Price the events anew with today's books; book the differences as corrections. Nothing is edited.

    Each event is priced as of its own time. Events without a price get one if there is one now. Doing it twice
    changes nothing the second time.
    """
    from penstock.analytics.periods import between
    from penstock.app import keep_books
    from penstock.metering.event import utc_now
    from penstock.settings import load

    common = common or Common()
    since, until = between(from_, to, utc_now())
    with _open(common) as ledger, _bars(common) as progress:
        catalog = keep_books(load(common.config, data=common.data), ledger)
        found = ledger.reprice(catalog, since=since, until=until, progress=progress)
        if not common.json:
            _show(found)
        if found.models and not dry_run and (yes or _agreed("Book these corrections?")):
            found = ledger.reprice(catalog, since=since, until=until, dry_run=False, progress=progress)
            if not common.json:
                _say(f"{found.written:,} corrections booked.")
    if common.json:
        print_json(
            {"events": found.looked_at, "corrections_written": found.written, "kept_without_price": found.lost,
             "difference": found.difference, "models": [
                {"provider": row.provider, "model": row.model, "events": row.events, "were_unpriced": row.were_unpriced,
                 "old": row.old, "new": row.new, "difference": row.difference} for row in found.models.values()
             ]}
        )  # fmt: skip


def _say(text: str, style: str = "") -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _show(found: "Repricing") -> None:
    numbers = ("events", "were unpriced", "old", "new", "difference")
    rows = table("provider", "model", *numbers, numbers=numbers)
    for row in sorted(found.models.values(), key=lambda row: -abs(row.difference)):
        rows.add_row(
            row.provider, row.model, f"{row.events:,}", f"{row.were_unpriced:,}",
            dollars(row.old), dollars(row.new), dollars(row.difference),
        )  # fmt: skip
    if found.models:
        console.print(rows)
    changed = sum(row.events for row in found.models.values())
    _say(f"{found.looked_at:,} events looked at, {changed:,} differ by {dollars(found.difference)} together.")
    if found.lost:
        _say(f"{found.lost:,} events have a price that no book knows today: they keep it.")


@contextmanager
def _open(common: Common) -> Iterator["Ledger"]:
    from penstock.ledger.store import Ledger
    from penstock.settings import load

    settings = load(common.config, data=common.data)
    with Ledger.open(settings.data, create=False, objects=settings.ledger.objects or None) as ledger:
        yield ledger


def _agreed(question: str) -> bool:
    """Ask; where nobody can answer, the answer is an error that names the option."""
    from penstock.errors import InputError

    if not sys.stdin.isatty():
        raise InputError(f"{question} Nobody is there to answer: add --yes, or --dry-run to look only.")
    return console.input(f"{question} [y/N] ", markup=False).strip().lower() in {"y", "yes"}


@contextmanager
def _bars(common: Common) -> Iterator["Progress"]:
    """Show how far long work is, on a terminal and nowhere else."""
    if common.json or not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show
