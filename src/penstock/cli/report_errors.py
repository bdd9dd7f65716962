"""`penstock report errors`: how often attempts fail, and what that cost."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, console, counted, table
from penstock.cli.report import amount, known_amount
from penstock.cli.report_options import (
    Asked,
    grid_by,
    heads,
    nothing_found,
    put,
    say,
    show,
    tell,
    total_heads,
    whole_and_rows,
)

if TYPE_CHECKING:
    from penstock.analytics.failures import Failures

HELP = """
Shows, for each model (or what `--by` names), how many attempts ended without an answer, why, what they cost all the
same, how long callers waited for them, and how many of their requests another attempt answered.

Examples:

- `penstock report errors --from 7d`
- `penstock report errors --by deployment --from today`
- `penstock report errors --by app,model --only provider=azure --json`
"""

app = App(name="errors", help_epilogue=HELP, default_parameter=Parameter(show_default=False))

MOST_CAUSES = 10


@app.default
def errors(
    *,
    by: Annotated[str, Parameter(help="Dimensions, as in deployment,model.")] = "model",
    asked: Asked | None = None,
    common: Common | None = None,
) -> None:
    """Say how often attempts fail, why, and what that cost."""
    from penstock.analytics.failures import failures

    answer = put(failures, by, asked, common)
    tell(answer, common, fields=whole_and_rows, show=_show, nothing=nothing_found(answer))


def _show(found: "list[Failures]", names: tuple[str, ...]) -> None:
    numbers = ("attempts", "failed", "rate", "client left", "wasted", "of cost", "waited", "answered later")
    grid = grid_by(names, numbers)
    total, *rows = found
    for one in rows if names else []:
        grid.add_row(*heads(one.group, names), *_cells(one))
    if names:
        grid.add_section()
    grid.add_row(*total_heads(names), *_cells(total), style="bold")
    show(grid, ("client left", "waited", "of cost", "answered later"))
    if total.unpriced_failed:
        some = counted(total.unpriced_failed, "failed attempt", "have")
        say(f"Warning: {some} no price; what they wasted is unknown.", "yellow")
    if total.causes:
        causes = table("cause", "status", "attempts", "cost", numbers=("status", "attempts", "cost"))
        for cause in total.causes[:MOST_CAUSES]:
            name = "client left" if cause.outcome == "aborted" and not cause.error else cause.error or "(no code)"
            causes.add_row(escape(name), str(cause.status or "-"), f"{cause.events:,}", amount(cause.cost, 4))
        console.print()
        console.print(causes)
        if len(total.causes) > MOST_CAUSES:
            say(f"{len(total.causes) - MOST_CAUSES} more causes; see --json", "dim")


def _cells(one: "Failures") -> list[str]:
    later = f"{one.answered_later:,} of {one.failed_requests:,}" if one.failed_requests else "-"
    wasted = known_amount(one.wasted, one.unpriced_failed, 2 if one.wasted >= 100 else 4)
    return [
        f"{one.events:,}", f"{one.failed:,}", _percent(one.failed_share), f"{one.aborted:,}",
        wasted, _percent(one.wasted_share), f"{one.wasted_seconds:,.1f} s", later,
    ]  # fmt: skip


def _percent(share: Decimal | None) -> str:
    return "-" if share is None else f"{share:.2%}"
