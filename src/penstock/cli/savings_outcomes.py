"""`penstock savings outcomes`: what came of answers, by route, model and source."""

from typing import Annotated

from cyclopts import App, Parameter

from penstock.cli.options import Common, console, counted, print_json, table

HELP = """
`auto:` sources are signs that answers show by themselves; their share is how often one was seen. A schema that was kept
is booked too: there the mean score is the share that was. Of reported scores, the share says how many answers have one.

Examples:

- `penstock savings outcomes`
- `penstock savings outcomes --from 30d --json`
"""

app = App(name="outcomes", help_epilogue=HELP, default_parameter=Parameter(show_default=False))


@app.default
def outcomes(
    *,
    from_: Annotated[str, Parameter(name="--from", help="Calls since: 2026-03-14, 30d, month; by default all.")] = "",
    to: Annotated[str, Parameter(help="Calls until: 2026-03-31, today, ...")] = "",
    common: Common | None = None,
) -> None:
    """List what came of answers: reported scores and automatic outcomes, by route and model."""
    from penstock.analytics import periods
    from penstock.analytics.savings_book import rates_of
    from penstock.app import ledger_for
    from penstock.metering.event import utc_now
    from penstock.settings import load

    common = common or Common()
    now = utc_now()
    since = periods.since(from_, now) if from_ else None
    until = periods.until(to, now) if to else None
    with ledger_for(load(common.config, data=common.data), create=False) as ledger:
        found = rates_of(ledger, since=since, until=until)
    if common.json:
        print_json({"from": since, "to": until, "outcomes": found.rows, "elsewhere": found.elsewhere})
        return
    if found.rows:
        numbers = ("outcomes", "answers", "share", "mean score")
        grid = table("route", "model", "source", *numbers, numbers=numbers)
        for row in found.rows:
            figures = (f"{row.outcomes:,}", f"{row.answers:,}", f"{row.share:.1%}", f"{row.mean_score:.2f}")
            grid.add_row(row.route, row.model, row.source, *figures)
        console.print(grid, markup=False)
    else:
        said = "No outcome of these calls is known. Report scores by POST /v1/outcomes, or route calls."
        console.print(said, highlight=False, soft_wrap=True)
    if found.elsewhere:
        console.print(
            f"Not counted: {counted(found.elsewhere, 'outcome')} whose id no call of the period has, or a call of "
            "somebody else.", style="dim", markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
