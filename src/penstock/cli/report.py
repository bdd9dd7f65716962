"""`penstock report`: what was spent."""

import csv
import sys
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, console, counted, plain, print_json, table
from penstock.cli.report_options import Asked, dimensions

if TYPE_CHECKING:
    from penstock.analytics.overlap import Counted
    from penstock.analytics.spend import Spend, SpendRow

HELP = """
Sums what the ledger holds, the most expensive first; with a grain of time, in its order. Events without a price are
never counted as zero: they are named below the table, with their tokens. A day or month named in `--to` is included.

Where several sources recorded a model on a day, the best one counts: the gateway before logs before aggregates before
bills. What is left out stands below the table. `--sources all` adds everything up; `--sources litellm,langfuse` says
which one comes first.

Dimensions: model, version, provider, deployment, deployment_type, region, mode, endpoint, team, app, feature, user,
key, run, source, outcome, purpose, price_state, tag:NAME, and the grains hour, day, week, month.

Examples:

- `penstock report`
- `penstock report --by team,model --from month`
- `penstock report --by day --from 2026-03-01 --to 2026-03-31 --time-zone Europe/Berlin`
- `penstock report --by tag:product --only team=support --json`
- `penstock report --by source,model --sources all`
"""

app = App(name="report", help_epilogue=HELP, default_parameter=Parameter(show_default=False))

QUESTIONS = {
    "change": "Say why spend changed between two periods: volume, mix, tokens, price.",
    "tokens": "Say how well tokens are used: cache, length and its trend, retries, cut answers, waste.",
    "unit": "Say what an outcome costs and earns: cost per outcome, margin, ROI, payback.",
    "errors": "Say how often attempts fail, why, and what that cost.",
    "latency": "Say how long answers take, beside what they cost.",
    "runs": "Say how many steps agents' runs take and cost, and which went furthest.",
    "ptu": "Say what PTUs were used for: utilisation, coverage, waste, savings.",
    "reconcile": "Hold a provider's bill against the ledger, and say why they differ.",
    "chargeback": "Say who pays what: direct costs, shares of shared costs, and what is unallocated.",
    "send": "Send a scheduled report now, or look at it.",
}
"""Reports that ask more than what was spent; each has a file of its own."""

for _name, _help in QUESTIONS.items():
    app.command(f"penstock.cli.report_{_name}:app", name=_name, help=_help)

BAR = 32
"""Characters of the longest bar on a wide screen."""


@app.default
def report(
    *,
    by: Annotated[
        str, Parameter(help="Dimensions, as in team,model; grains of time: hour, day, week, month.")
    ] = "model",
    csv_: Annotated[bool, Parameter(name="--csv", help="Print CSV instead of a table.", negative="")] = False,
    asked: Asked | None = None,
    common: Common | None = None,
) -> None:
    """Say what was spent, by model or any other dimensions."""
    from penstock.analytics.overlap import counted as count_once
    from penstock.app import ledger_for
    from penstock.errors import InputError
    from penstock.metering.event import utc_now
    from penstock.settings import load

    asked, common = asked or Asked(), common or Common()
    if csv_ and common.json:
        raise InputError("--csv and --json are two forms of the same answer: choose one")
    since, until = asked.bounds(utc_now())
    names, time_zone = dimensions(by), asked.time_zone
    with ledger_for(load(common.config, data=common.data), create=False) as ledger:
        question: dict[str, Any] = {
            "by": names, "since": since, "until": until, "time_zone": time_zone, "where": asked.where,
        }  # fmt: skip
        answer = count_once(asked.source(ledger), **question)
    found = answer.spend
    if common.json:
        left_out = {"left_out": answer.left_out, "recorded_twice": answer.twice}
        print_json(_document(found, names, since, until, time_zone) | left_out)
    elif csv_:
        _print_csv(found, names)
        _say_overlaps(answer, sys.stderr)
    else:
        _show(found, names, since, until, time_zone)
        _say_overlaps(answer, None)


def _fields(row: "SpendRow") -> dict[str, Any]:
    return row.group | {
        "events": row.events, "requests": row.requests, "input_tokens": row.input_tokens,
        "cached_tokens": row.cached_tokens, "output_tokens": row.output_tokens, "cost": row.cost,
        "unpriced_events": row.unpriced_events,
    }  # fmt: skip


def _document(
    found: "Spend", names: tuple[str, ...], since: datetime | None, until: datetime | None, time_zone: str
) -> dict[str, Any]:
    return {
        "total": found.total, "unpriced_events": found.unpriced_events,
        "rows": [_fields(row) for row in found.rows],
        "by": names, "from": since or found.first, "to": until or found.last, "time_zone": time_zone,
        "events": found.events, "requests": found.requests, "input_tokens": found.input_tokens,
        "cached_tokens": found.cached_tokens, "output_tokens": found.output_tokens,
        "unpriced": found.unpriced, "stand_in_prices": found.early,
    }  # fmt: skip


def _print_csv(found: "Spend", names: tuple[str, ...]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow([*names, "events", "requests", "input_tokens", "cached_tokens", "output_tokens", "cost",
                     "unpriced_events"])  # fmt: skip
    for row in found.rows:
        writer.writerow([plain(value) for value in _fields(row).values()])
    _warn(found, sys.stderr)


def _show(
    found: "Spend", names: tuple[str, ...], since: datetime | None, until: datetime | None, time_zone: str
) -> None:
    from penstock.analytics.question import GRAINS
    from penstock.analytics.zones import zone

    size = min(BAR, console.width - 74) if len(names) == 1 and names[0] in GRAINS else 0
    bars = size >= 5
    numbers = ("events", "input", "cached", "output", "cost", "share")
    grid = table(*names, *numbers, *([""] if bars else []), numbers=numbers)
    for column in grid.columns:
        column.no_wrap = column.header not in names or column.header in GRAINS
    most = max((row.cost for row in found.rows), default=Decimal(0))
    places = 2 if most >= 100 else 4
    for row in found.rows:
        cells = [escape(row.group[name]) or "(none)" for name in names]
        counts = [f"{row.events:,}", f"{row.input_tokens:,}", _share(row.cached_tokens, row.input_tokens)]
        cost = known_amount(row.cost, row.unpriced_events, places)
        money = [f"{row.output_tokens:,}", cost, _share(row.cost, found.total)]
        grid.add_row(*cells, *counts, *money, *([bar(row.cost, most, size)] if bars else []))
    if names:
        grid.add_section()
        grid.add_row(
            "total", *[""] * (len(names) - 1), f"{found.events:,}", f"{found.input_tokens:,}",
            _share(found.cached_tokens, found.input_tokens), f"{found.output_tokens:,}", amount(found.total, places),
            _share(found.total, found.total), style="bold",
        )  # fmt: skip
    place = zone(time_zone)

    def moment(at: datetime | None) -> str:
        return f"{at.astimezone(place):%Y-%m-%d %H:%M}" if at else "?"

    if not found.rows:
        where = f" from {moment(since)} to {moment(until)}" if since or until else ""
        console.print(
            f"No events{where}. Serve calls with: penstock serve, or book files with: penstock import FILE..."
        )
        return
    console.print(grid)
    console.print(f"{moment(since or found.first)} to {moment(until or found.last)} {time_zone}", style="dim")
    _warn(found, None)


def _share(part: Decimal | int, whole: Decimal | int) -> str:
    return f"{Decimal(part) / Decimal(whole):.1%}" if whole else "-"


def known_amount(cost: Decimal, unpriced: int, places: int) -> str:
    """Write dollars; where nothing is known but that events have no price, zero would be a claim."""
    return "unpriced" if unpriced and not cost else amount(cost, places)


def amount(cost: Decimal, places: int) -> str:
    """Write dollars so that they stand one below the other."""
    return f"${cost:,.{places}f}".replace("$-", "-$")


def bar(cost: Decimal, most: Decimal, size: int) -> str:
    """Draw dollars as a bar of up to `size` characters, to an eighth of one."""
    if most <= 0 or cost <= 0:
        return ""
    eighths = round(cost / most * size * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "") or "▏"


def _warn(found: "Spend", file: Any) -> None:
    """Say what the total does not hold."""

    def say(text: str, style: str = "") -> None:
        if file is not None:
            print(text, file=file)
        else:
            console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    if found.unpriced_events:
        tokens = sum(row.input_tokens + row.output_tokens for row in found.unpriced)
        some = counted(found.unpriced_events, "event", "have")
        say(f"Warning: {some} no price; the total leaves out {tokens:,} tokens:", "yellow")
    for row in found.unpriced:
        if not row.input_tokens and not row.output_tokens:
            what = counted(row.events, "charge")
            say(f"  {what} without quantities that could be priced: {row.model} at {row.provider}", "yellow")
            continue
        how = f"penstock prices set {row.model} --provider {row.provider} --input … --output …"
        say(f"  {row.events:,} of model {row.model} at {row.provider}: {row.input_tokens:,} tokens in, "
            f"{row.output_tokens:,} out. Add a price with: {how}", "yellow")  # fmt: skip
    for early in found.early:
        older = f"{counted(early.events, 'event', 'are')} older than any price known for {early.model}"
        say(f"Note: {older}; the first one stands in: {early.price_row}", "dim")


def _say_overlaps(answer: "Counted", file: Any) -> None:
    """Say what several sources recorded, and which of them counts."""

    def say(text: str, style: str) -> None:
        if file is not None:
            print(text, file=file)
        else:
            console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    for one in answer.left_out:
        where = f"{counted(one.models, 'model')} on {counted(one.days, 'day')}"
        charged = "" if one.provider_cost is None else f"; it says {amount(one.provider_cost, 4)} was charged"
        best, counts = " and ".join(one.instead), "counts" if len(one.instead) == 1 else "count"
        say(f"Left out: {counted(one.events, 'event')} of {one.source}, {amount(one.cost, 4)}{charged}: "
            f"{best} {counts} for the same {where}, {amount(one.counted_cost, 4)}", "dim")  # fmt: skip
        tokens = one.input_tokens + one.output_tokens
        if tokens > one.counted_tokens:
            say(f"  {one.source} holds more tokens ({tokens:,}, not {one.counted_tokens:,}): some traffic seems to "
                f"pass {best} by. To count {one.source} instead: --sources {one.source}", "yellow")  # fmt: skip
    for twice in answer.twice:
        every = "both" if len(twice.sources) == 2 else "all"
        say(f"Warning: {' and '.join(twice.sources)} {every} hold {', '.join(twice.models[:5])} on "
            f"{counted(twice.days, 'day')}, and all of it counts. If these are the same calls: "
            f"--sources {','.join(twice.sources)}", "yellow")  # fmt: skip
