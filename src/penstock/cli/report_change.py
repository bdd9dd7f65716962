"""`penstock report change`: why spend changed."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, counted, print_json, table
from penstock.cli.report_options import Asked, dimensions, say, say_nothing_found, show

if TYPE_CHECKING:
    from penstock.analytics.change import Change, Moved

HELP = """
Splits the change of spend between two periods into five effects, which add up to it exactly:

- volume: more or fewer requests in all, at the old mix and prices;
- mix: requests that moved between models (or what `--by` names), new and gone ones included;
- length: more or fewer tokens per request;
- kinds: another share of cached or output tokens (a lost prompt cache shows here, never as a price);
- price: other rates for the same tokens.

Without `--against` the period is held against the one right before: a month against the month before, otherwise as
long a time. Without `--from` it is the last seven days.

Examples:

- `penstock report change`
- `penstock report change --from 2026-03 --to 2026-03`
- `penstock report change --from 2026-03 --to 2026-03 --against 2025-03 --by team,model`
- `penstock report change --from 2026-03-09 --to 2026-03-15 --against 2026-03-02..2026-03-08 --json`
"""

app = App(name="change", help_epilogue=HELP, default_parameter=Parameter(show_default=False))

LABELS = {"volume": "volume", "mix": "mix", "tokens_per_request": "length", "token_kinds": "kinds", "price": "price"}


@app.default
def change(
    *,
    by: Annotated[str, Parameter(help="Dimensions of the lines, as in team,model.")] = "model",
    against: Annotated[str, Parameter(help="The earlier period: 2026-02, 2026-W08, 2026-02-01..2026-02-14.")] = "",
    asked: Asked | None = None,
    common: Common | None = None,
) -> None:
    """Say why spend changed between two periods: volume, mix, tokens, price."""
    from penstock.analytics import periods
    from penstock.analytics.change import change as decompose
    from penstock.analytics.change import document, rates_in
    from penstock.analytics.zones import zone
    from penstock.app import catalog_for, ledger_for
    from penstock.errors import InputError
    from penstock.metering.event import utc_now
    from penstock.settings import load

    asked, common = asked or Asked(), common or Common()
    now, place = utc_now(), zone(asked.time_zone)
    since, until = asked.bounds(now)
    after = (since or periods.since("7d", now, place), until or now)
    if after[0] >= after[1]:
        raise InputError(f"--from {asked.from_} is not before now: there is no time between them")
    before = periods.named(against, now, place) if against else periods.previous(*after, place)
    if before[0] >= before[1]:
        raise InputError(f"--against {against}: there is no time in it; write a month, or two ends as in 7d..now")
    names = dimensions(by)
    settings = load(common.config, data=common.data)
    with ledger_for(settings, create=False) as ledger:
        rates = rates_in(ledger, lambda: catalog_for(settings))
        found = decompose(asked.source(ledger), by=names, before=before, after=after, rates=rates, where=asked.where)
        begins = periods.late_begin(ledger.moment().span(), before)
    if common.json:
        print_json(document(found, names, before, after, begins))
    else:
        _show(found, names, before, after, asked, begins=begins)


def _show(
    found: "Change",
    names: tuple[str, ...],
    before: tuple[datetime, datetime],
    after: tuple[datetime, datetime],
    asked: Asked,
    *,
    begins: datetime | None,
) -> None:
    if not found.lines:
        say_nothing_found(asked, min(before[0], after[0]), max(before[1], after[1]))
        return
    most = max(found.total.before, found.total.after)
    places = 2 if most >= 100 else 4
    numbers = ("before", *LABELS.values(), "after", "change")
    grid = table(*names, *numbers, "", numbers=numbers)
    for column in grid.columns:
        column.no_wrap = column.header in numbers
    for line in found.lines:
        marks = {"new": "new", "gone": "gone"}.get(line.status, "")
        grid.add_row(*[escape(line.group[name]) or "(none)" for name in names], *_cells(line.moved, places), marks)
    if names:
        grid.add_section()
        grid.add_row("total", *[""] * (len(names) - 1), *_cells(found.total, places), "", style="bold")
    if show(grid, ("", "before", "after", "price", "length", "kinds", "mix", "volume")):
        effects = ", ".join(f"{label} {signed(getattr(found.total, name), places)}" for name, label in LABELS.items())
        say(f"In all ${found.total.before:,.{places}f} became ${found.total.after:,.{places}f}: {effects}")
    say(f"before: {asked.said(*before)}; after: {asked.said(*after)}", "dim")
    days = [(end - begin).total_seconds() / 86400 for begin, end in (before, after)]
    if abs(days[0] - days[1]) > 0.5:
        say(f"Note: the periods have {days[0]:.0f} and {days[1]:.0f} days; the difference is volume.", "dim")
    if begins:
        say(f"Warning: the ledger begins on {begins.astimezone(before[0].tzinfo):%Y-%m-%d}, so that the period before "
            "is not whole: not like with like.", "yellow")  # fmt: skip
    if found.unpriced_before or found.unpriced_after:
        gaps = f"{counted(found.unpriced_before, 'event')} before, {counted(found.unpriced_after, 'event')} after"
        say(f"Warning: without a price, and left out: {gaps}. See: penstock report --by model", "yellow")
    if found.unknown_rates:
        say(f"Note: of {counted(found.unknown_rates, 'request')} the price row is not known any more; shifts between "
            "their kinds of tokens count as price.", "dim")  # fmt: skip


def _cells(moved: "Moved", places: int) -> list[str]:
    effects = [signed(getattr(moved, name), places) for name in LABELS]
    return [f"${moved.before:,.{places}f}", *effects, f"${moved.after:,.{places}f}", signed(moved.change, places)]


def signed(amount: Decimal, places: int) -> str:
    """Write a difference of dollars with its sign; nothing is a dash."""
    text = f"{amount:+,.{places}f}"
    return f"{text[0]}${text[1:]}" if amount else "-"
