"""`penstock report reconcile`: the ledger against a provider's bill."""

import csv
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, answer_no, counted, plain, print_json, table
from penstock.cli.report import amount
from penstock.cli.report_change import signed
from penstock.cli.report_options import Asked, dimensions, say, show

if TYPE_CHECKING:
    from penstock.analytics.bill import Bill
    from penstock.analytics.reconcile import Effect, Reconciled, Reconciliation
    from penstock.ledger.store import Ledger
    from penstock.settings import Settings

HELP = """
Holds a bill (a FOCUS export of Azure or others, OpenAI's costs, Anthropic's cost report) against the ledger, by meter
and day, and says why the two differ, in dollars of the bill less those of the ledger that add up to the difference:

- rounding: the bill's amounts are rounded;
- shift: the bill counts it on the day before or after (`--time-zone` says where its days begin);
- price: another rate for the same tokens, such as a contract's;
- unpriced: the ledger holds the tokens and has no price for them;
- quantity: more or fewer tokens than the ledger holds, at its rate;
- bill only, ledger only: a meter, or a day of it, that the other one has nothing of;
- no quantity: rates or tokens, the bill does not say which.

The first four are explained. What the others come to is unexplained: above `--tolerance` the exit code is 1. Taxes,
credits, purchases and services other than AI are left aside, and listed. Nothing is booked; a bill that was imported
before is asked for with `--bill`. The period is the bill's own, unless `--from` and `--to` say another.

Examples:

- `penstock report reconcile --invoice focus-2026-03.csv`
- `penstock report reconcile --invoice costs.json --by meter,day --time-zone America/Los_Angeles`
- `penstock report reconcile --bill focus --from 2026-03 --to 2026-03 --tolerance 0.5% --json`
- `penstock report reconcile --invoice focus.csv.gz --aside provisioned --explained rounding,time_shift --csv`
"""

app = App(name="reconcile", help_epilogue=HELP, default_parameter=Parameter(show_default=False, negative=""))

LABELS = {
    "rounding": "rounding", "time_shift": "shift", "price": "price", "quantity": "quantity", "unpriced": "unpriced",
    "bill_only": "bill only", "ledger_only": "ledger only", "unquantified": "no quantity",
}  # fmt: skip
By = Literal["meter", "day", "meter,day"]


@app.default
def reconcile(
    *,
    invoice: Annotated[tuple[Path, ...], Parameter(help="The bill's file; several where it came in pages.")] = (),
    bill: Annotated[str, Parameter(help="A bill that was imported: focus, openai_costs, anthropic_costs.")] = "",
    format_: Annotated[str, Parameter(name="--format", help="Format of the file, where it is not recognised.")] = "",
    by: Annotated[By, Parameter(help="Lines of the table: meter, day, or meter,day.")] = "meter",
    tolerance: Annotated[str, Parameter(help="Unexplained dollars, or share, that are let pass; 0.01.")] = "0.01",
    explained: Annotated[str, Parameter(help="Effects that count as explained.")] = "",
    aside: Annotated[tuple[str, ...], Parameter(help="Leave aside meters whose name holds this. Repeatable.")] = (),
    csv_: Annotated[bool, Parameter(name="--csv", help="Print CSV: each meter on each day.")] = False,
    asked: Asked | None = None,
    common: Common | None = None,
) -> None:
    """Hold a bill against the ledger, and say why they differ."""
    from penstock.analytics.change import rates_in
    from penstock.analytics.reconcile import EXPLAINED, as_dollars
    from penstock.analytics.reconcile import reconcile as hold_against
    from penstock.app import catalog_for, ledger_for
    from penstock.errors import InputError
    from penstock.metering.event import utc_now
    from penstock.settings import load

    asked, common = asked or Asked(), common or Common()
    if csv_ and common.json:
        raise InputError("--csv and --json are two forms of the same answer: choose one")
    if bool(invoice) == bool(bill):
        raise InputError("Say which bill: --invoice FILE, or --bill focus for one that was imported")
    settings = load(common.config, data=common.data)
    since, until = asked.bounds(utc_now())
    names: Any = dimensions(explained) or EXPLAINED
    with ledger_for(settings, create=False) as ledger:
        found = hold_against(
            _bill(ledger, settings, asked, invoice=invoice, bill=bill, format_=format_, aside=aside),
            asked.source(ledger), rates=rates_in(ledger, lambda: catalog_for(settings)), since=since, until=until,
            time_zone=asked.time_zone, where=asked.where, explained=names,
        )  # fmt: skip
    allowed = as_dollars(tolerance, found.total.billed)
    if common.json:
        print_json(document(found) | {"tolerance": allowed, "agrees": found.within(allowed)})
    elif csv_:
        _print_csv(found)
    else:
        _show(found, by, allowed, asked)
    if not found.within(allowed):
        answer_no()


def _bill(
    ledger: "Ledger", settings: "Settings", asked: Asked, *, invoice: tuple[Path, ...], bill: str, format_: str,
    aside: tuple[str, ...],
) -> "Bill":  # fmt: skip
    from penstock.analytics.bill import booked_bill, read_bill
    from penstock.analytics.zones import zone
    from penstock.app import catalog_for
    from penstock.metering.event import utc_now

    now, place = utc_now(), zone(asked.time_zone)
    if not invoice:
        since, until = asked.bounds(now)
        return booked_bill(ledger.moment(), bill, since=since, until=until, place=place, aside=aside)
    return read_bill(invoice, catalog_for(settings), now, format_name=format_, place=place, aside=aside)


def document(found: "Reconciliation") -> dict[str, Any]:
    """Lay the answer out as JSON."""
    from msgspec.structs import asdict

    fields = asdict(found)
    return {"from": fields.pop("since"), "to": fields.pop("until")} | fields


def _print_csv(found: "Reconciliation") -> None:
    from penstock.analytics.reconcile import NAMES

    writer = csv.writer(sys.stdout)
    figures = ("billed", "ledger", "difference", "billed_quantity", "ledger_quantity")
    writer.writerow(["day", "provider", "meter", *figures, *NAMES, "unexplained"])
    for row in found.days:
        effects = [getattr(row.effects, name) for name in NAMES]
        values = [
            row.day,
            row.provider,
            row.meter,
            *(getattr(row, name) for name in figures),
            *effects,
            row.unexplained,
        ]
        writer.writerow([plain(value) for value in values])


def _show(found: "Reconciliation", by: By, allowed: Decimal, asked: Asked) -> None:
    from penstock.analytics.reconcile import NAMES, by_day

    rows = {"meter": found.meters, "day": by_day(found.days), "meter,day": found.days}[by]
    used: list[Effect] = [name for name in NAMES if any(getattr(row.effects, name) for row in (*rows, found.total))]
    heads = by.split(",")
    numbers = ("billed", "ledger", "difference", *(LABELS[name] for name in used))
    grid = table(*heads, *numbers, numbers=numbers)
    for column in grid.columns:
        column.no_wrap = column.header != "meter"
    places = 2 if found.total.billed >= 100 else 4
    for row in rows:
        grid.add_row(*[escape(_name(row, found)) if head == "meter" else str(row.day) for head in heads],
                     *_cells(row, used, places))  # fmt: skip
    grid.add_section()
    grid.add_row("total", *[""] * (len(heads) - 1), *_cells(found.total, used, places), style="bold")
    if show(grid, ("rounding", "shift", "ledger", "billed", "price", "unpriced", "quantity")):
        causes = [f"{LABELS[name]} {signed(getattr(found.total.effects, name), places)}" for name in used]
        say(f"In all the bill is {signed(found.total.difference, places)} apart: {', '.join(causes)}")
    say(f"{found.bill} ({found.format}): {asked.said(found.since, found.until)}", "dim")
    _say_aside(found, places)
    _say_gaps(found)
    _say_verdict(found, allowed, places)


def _name(row: "Reconciled", found: "Reconciliation") -> str:
    """Name a meter, and who sells it where the bill is of several."""
    several = len({one.provider for one in found.meters}) > 1
    return f"{row.meter} ({row.provider})" if several else row.meter


def _cells(row: "Reconciled", used: "list[Effect]", places: int) -> list[str]:
    effects = [signed(getattr(row.effects, name), places) for name in used]
    return [amount(row.billed, places), amount(row.ledger, places), signed(row.difference, places), *effects]


def _say_aside(found: "Reconciliation", places: int) -> None:
    for one in found.aside:
        say(f"Left aside: {counted(one.rows, 'row')} of {one.kind}, {amount(one.charged, places)}", "dim")
    if found.aside:
        say(f"With them the bill comes to {amount(found.invoice, places)}.", "dim")


def _say_gaps(found: "Reconciliation") -> None:
    """Say what the answer does not hold."""
    for note in found.notes:
        say(f"Note: {note}", "dim")
    if found.unfinished:
        say(f"Note: {counted(found.unfinished, 'row', 'are')} of days whose charges may still change: not read.", "dim")
    if found.flat_rate_tokens:
        say(f"Note: {found.flat_rate_tokens:,} tokens of the ledger are free or paid by the hour: not compared.", "dim")
    if found.unknown_rates:
        say(f"Note: of {counted(found.unknown_rates, 'request')} the price row is not known any more; their dollars "
            "are spread evenly over their tokens.", "dim")  # fmt: skip
    if found.rejected:
        say(
            f"Warning: {counted(found.rejected, 'row')} of the bill cannot be read: it is not compared whole.", "yellow"
        )
    for example in found.examples:
        say(f"  {example}", "yellow")


def _say_verdict(found: "Reconciliation", allowed: Decimal, places: int) -> None:
    effects = found.total.effects
    if effects.bill_only > 0:
        say(f"Only on the bill: {amount(effects.bill_only, places)}. Traffic that passes the gateway by? Import its "
            "usage, or leave a meter aside with --aside NAME.", "yellow")  # fmt: skip
    if effects.unpriced:
        say(
            "The ledger lacks prices. Add them with: penstock prices set MODEL, then: penstock ledger reprice", "yellow"
        )
    verdict = "within" if found.total.unexplained <= allowed else "above"
    over = "" if verdict == "within" else "yellow"
    left = amount(found.total.unexplained, places)
    say(f"Unexplained: {left}, {verdict} the tolerance of {amount(allowed, places)}.", over)
