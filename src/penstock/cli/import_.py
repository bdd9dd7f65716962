"""`penstock import`: usage from files into the ledger."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from penstock.cli.options import Common, answer_no, console, counted, dollars, print_json

if TYPE_CHECKING:
    from penstock.ledger.importers.run import Imported
    from penstock.ledger.store import Ledger

HELP = """
The format is guessed from the beginning of a file, and the guess is shown with its reason. Rows that cannot be booked
go to a file in `rejects/` beside the ledger, with line number and reason; the others are booked. Importing a file
again changes nothing, also when it was renamed or packed anew. Exit code 1: a file was cut off, or nothing in it
could be booked.

Formats: logs of requests (litellm, langfuse, helicone, otlp, bedrock, apim_llm, azure_diagnostics, traces, csv,
parquet), aggregates (openai_usage, anthropic_usage, azure_metrics, otlp_metrics, vllm, m365_copilot), bills
(openai_costs, anthropic_costs, focus). The same traffic may come from several of them: reports count it once, by the
best source.

Examples:

- `penstock import azure_llm_2023_conv.csv.gz --provider azure --model gpt-4o --deployment-type global`
- `penstock import march.csv april.csv --team support`
- `penstock import usage_completions.json costs.json --dry-run`
- `penstock import azure_cost_export.parquet`
- `penstock import spend_logs.jsonl.gz --format litellm --data ./ledger`
"""

MODELS = 20
"""Models without a price that are named."""

app = App(name="import", help_epilogue=HELP, default_parameter=Parameter(show_default=False))


@app.default
def import_(
    *files: Annotated[Path, Parameter(help="Files to book; gzip is unpacked on the way.")],
    format_: Annotated[
        str, Parameter(name="--format", help="Name of a format (see docs/importing.md); else a guess.")
    ] = "",
    provider: Annotated[str, Parameter(help="Who served rows that do not say it: azure, openai, ...")] = "",
    model: Annotated[str, Parameter(help="The model of rows that name none.")] = "",
    deployment_type: Annotated[str, Parameter(help="global, data_zone, regional, or one of these with _ptu.")] = "",
    region: Annotated[str, Parameter(help="Region or zone of rows that name none: swedencentral, eu, ...")] = "",
    mode: Annotated[str, Parameter(help="standard, batch, flex or priority, for rows that do not say it.")] = "",
    team: Annotated[str, Parameter(help="Team of rows that name none.")] = "",
    app_: Annotated[str, Parameter(name="--app", help="App of rows that name none.")] = "",
    shift_to: Annotated[str, Parameter(help="Move a trace so that its first row falls on this instant.")] = "",
    dry_run: Annotated[bool, Parameter(help="Say what would be booked, and book nothing.", negative="")] = False,
    common: Common | None = None,
) -> None:
    """Book usage from files: logs of other gateways, reports and bills of providers, traces, CSV."""
    from penstock.app import catalog_for, keep_books, ledger_for
    from penstock.errors import InputError
    from penstock.ledger.importers.drafts import Assumed
    from penstock.ledger.importers.fields import DEPLOYMENT_TYPES
    from penstock.ledger.importers.fields import deployment_type as plain_type
    from penstock.ledger.importers.formats import choose
    from penstock.ledger.importers.run import import_file
    from penstock.metering.event import utc_now
    from penstock.settings import load

    common = common or Common()
    if not files:
        raise InputError("Name the files to import: penstock import FILE...")
    if deployment_type and plain_type(deployment_type) not in DEPLOYMENT_TYPES:
        known = ", ".join(DEPLOYMENT_TYPES)
        raise InputError(f"--deployment-type: there is no {deployment_type!r}, use one of {known}")
    now = utc_now()
    assumed = Assumed(
        provider=provider.lower(), model=model, deployment_type=plain_type(deployment_type), region=region, mode=mode,
        team=team, app=app_, shift_to=_shift(shift_to, now),
    )  # fmt: skip
    chosen = [(file, choose(file, assumed, format_)) for file in files]  # all of them, before the first is booked
    settings = load(common.config, data=common.data)
    outcomes = []
    with nullcontext() if dry_run else ledger_for(settings) as ledger:
        catalog = catalog_for(settings) if ledger is None else keep_books(settings, ledger)
        for file, format_and_reason in chosen:
            with _progress(file) as progress:
                outcome = import_file(
                    file, format_and_reason,
                    assumed=assumed, catalog=catalog, now=now, ledger=ledger, progress=progress,
                )  # fmt: skip
            outcomes.append(outcome)
            found = _covered(ledger, outcome) if ledger else []
            outcome.notes += found
            if not common.json:
                _show(outcome, dry_run)
    if common.json:
        print_json({"dry_run": dry_run, "files": [_document(outcome) for outcome in outcomes]})
    if not all(outcome.complete for outcome in outcomes):
        answer_no()


def _covered(ledger: "Ledger", outcome: "Imported") -> list[str]:
    """Say where other sources hold the same models on the same days, and which of them counts in reports."""
    from datetime import timedelta

    from penstock.analytics.overlap import overlaps

    if outcome.first is None or outcome.last is None:
        return []
    found: dict[tuple[str, tuple[str, ...]], set[tuple[str, str]]] = {}
    for cell in overlaps(ledger.moment(), since=outcome.first, until=outcome.last + timedelta(microseconds=1)):
        beside = tuple(source for source in cell.counted if source != outcome.format)
        said: list[tuple[str, tuple[str, ...]]] = []
        if outcome.format in cell.counted:
            said = [("counts beside", beside), ("counts instead of", tuple(cell.left_out))]
        elif outcome.format in cell.left_out:
            said = [("is left out of reports in favour of", beside)]
        for verdict, named in said:
            if named:
                found.setdefault((verdict, named), set()).add((cell.model, cell.day))
    notes = []
    for (verdict, named), cells in sorted(found.items()):
        days = counted(len({day for _model, day in cells}), "day", "are")
        models = ", ".join(sorted({model for model, _day in cells})[:5])
        what = f"{outcome.format} {verdict} {' and '.join(named)}"
        notes.append(f"{days} recorded by other sources, too ({models}): {what}; see penstock report")
    return notes


def _shift(text: str, now: datetime) -> datetime | None:
    from penstock.analytics.periods import since

    return since(text, now) if text else None


@contextmanager
def _progress(file: Path) -> Iterator[Any]:
    """Show how far reading is, on a terminal and nowhere else."""
    if not sys.stderr.isatty():
        yield lambda _position: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(file.name, total=file.stat().st_size)
        yield lambda position: bars.update(task, completed=position)


def _document(outcome: "Imported") -> dict[str, Any]:
    return {
        "file": outcome.file, "format": outcome.format, "why": outcome.why,
        "events": outcome.read, "new": outcome.new, "duplicates": outcome.duplicates,
        "from": outcome.first, "to": outcome.last, "cost": outcome.cost,
        "unpriced_events": sum(outcome.unpriced.values()), "unpriced": outcome.unpriced,
        "stand_in_prices": outcome.early, "charges": outcome.charges, "charged_only": outcome.charged,
        "provider_cost": outcome.provider_cost, "provider_cost_compared_with": outcome.compared,
        "rejected": sum(outcome.rejected.values()), "rejected_for": outcome.rejected, "rejects": outcome.rejects,
        "complete": outcome.complete, "notes": outcome.notes,
    }  # fmt: skip


def _show(outcome: "Imported", dry_run: bool) -> None:
    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    say(f"{outcome.file}", "bold")
    say(f"  format    {outcome.format}: {outcome.why}")
    if outcome.first and outcome.last:
        say(f"  period    {outcome.first:%Y-%m-%d %H:%M:%S} to {outcome.last:%Y-%m-%d %H:%M:%S} UTC")
    _show_events(outcome, dry_run, say)
    if outcome.provider_cost is not None:
        gap = outcome.provider_cost - outcome.compared
        say(f"  compare   the source says {dollars(outcome.provider_cost)}, the prices {dollars(outcome.compared)}"
            f" for the same events: {dollars(gap)} apart")  # fmt: skip
    if outcome.charges:
        say(f"  charged   the source says {dollars(outcome.charges)} for events without a price of ours: in no total")
    for row, count in outcome.early.items():
        say(f"  note      {counted(count, 'event', 'are')} older than any price known; the first one stands in: {row}")
    for note in outcome.notes:
        say(f"  note      {note}")
    for model, count in outcome.charged.items():
        say(f"  note      {counted(count, 'charge')} without quantities: {model}")
    for model, count in outcome.unpriced.most_common(MODELS):
        some = counted(count, "event", "have")
        how = f"penstock prices set {model} --provider … --input … --output …"
        say(f"  unpriced  {some} no price: model {model}. Add one with: {how}", "yellow")
    if (more := len(outcome.unpriced) - MODELS) > 0:
        say(f"  unpriced  {counted(more, 'more model')}: see penstock report --by model", "yellow")
    _show_rejects(outcome, dry_run, say)


def _show_events(outcome: "Imported", dry_run: bool, say: Any) -> None:
    if not outcome.books:
        say("  events    none: this format holds no usage, so nothing is booked")
        return
    booked = "nothing booked (dry run)" if dry_run else f"{outcome.new:,} new, {outcome.duplicates:,} already there"
    say(f"  events    {outcome.read:,}: {booked}")
    priceless = sum(outcome.unpriced.values()) + sum(outcome.charged.values())
    if outcome.read and priceless == outcome.read:
        say("  cost      not known: no event has a price")
    elif outcome.read:
        say(f"  cost      {dollars(outcome.cost)}{f' for {outcome.read - priceless:,} of them' if priceless else ''}")


def _show_rejects(outcome: "Imported", dry_run: bool, say: Any) -> None:
    if not outcome.rejected:
        return
    kinds = ", ".join(f"{count:,} {code}" for code, count in outcome.rejected.most_common())
    say(f"  rejected  {counted(sum(outcome.rejected.values()), 'row')}: {kinds}", "yellow")
    for row in outcome.examples:
        say(f"            line {row.line}: {row.reason}" if row.line else f"            {row.reason}")
    if outcome.rejects:
        say(f"            all of them, with line and reason: {outcome.rejects}")
    elif dry_run:
        say("            without --dry-run all of them go to a file beside the ledger")
