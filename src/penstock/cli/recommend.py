"""`penstock recommend`: what to do next."""

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, counted, print_json, table
from penstock.cli.report_options import Asked, say, say_nothing_found, show

if TYPE_CHECKING:
    from penstock.optimization.findings import Finding

HELP = """
Looks through the ledger of the last 30 days (or of what `--from` names) for dollars that bought nothing, for what keeps
the bill from being known, and for cheaper ways: prompts that could be cached, jobs that could wait for a batch, models
and deployments that cost less for the same tokens, provisioned capacity. Dollars are for 30 days like those. What is
measured is the ledger's own; an estimate is your usage at other prices, and only a trial proves it.

Examples:

- `penstock recommend`
- `penstock recommend --from 7d --only team=support`
- `penstock recommend --json`
"""

app = App(name="recommend", help_epilogue=HELP, default_parameter=Parameter(show_default=False))


@app.default
def recommend(*, asked: Asked | None = None, common: Common | None = None) -> None:
    """Say what to do next, what it is worth, and the command to go on with."""
    from penstock.app import catalog_for, ledger_for
    from penstock.metering.event import utc_now
    from penstock.optimization.finding import MONTH
    from penstock.optimization.findings import find
    from penstock.settings import load

    asked, common = asked or Asked(), common or Common()
    settings, now = load(common.config, data=common.data), utc_now()
    since, until = asked.bounds(now)
    until = min(until or now, now)
    since = since or until - MONTH
    with ledger_for(settings, create=False) as ledger:
        found = find(asked.source(ledger), catalog_for(settings), until, since=since, where=asked.where)
        span = ledger.moment().span()
    if common.json:
        print_json({"from": since, "to": until, "findings": found})
    elif span is None or span[1] < since or span[0] >= until:
        say_nothing_found(asked, since, until)
    else:
        _show(found)
        days = (until - since) / timedelta(days=1)
        say(f"{counted(len(found), 'finding')} in {days:,.0f} days. Savings are no sum: two findings may be about the "
            "same dollars.", "dim")  # fmt: skip


def _show(found: "list[Finding]") -> None:
    if not found:
        say("Nothing was found: no waste, no gaps, and no cheaper way at today's prices.", "green")
        return
    numbers = ("saves a month", "spent on it")
    grid = table("", "finding", *numbers, "which is", "effort", numbers=numbers)
    for number, one in enumerate(found, 1):
        grid.add_row(
            str(number), escape(one.title), _dollars(one.saving), _dollars(one.at_stake), one.certainty, one.effort
        )
    show(grid, ("effort", "spent on it"))
    for number, one in enumerate(found, 1):
        say(f"\n{number}. {one.title}", "bold")
        say(f"   {one.evidence}")
        say(f"   {one.next}")
        say(f"   $ {one.command}", "cyan")
    say("")


def _dollars(amount: Decimal | None) -> str:
    return "-" if amount is None else f"${amount:,.2f}"
