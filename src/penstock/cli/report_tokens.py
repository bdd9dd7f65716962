"""`penstock report tokens`: how well tokens are used."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from penstock.cli.options import Common, counted
from penstock.cli.report import amount
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
    from penstock.analytics.efficiency import Efficiency

HELP = """
Shows, for each model (or what `--by` names): tokens per request with their trend and their days, output tokens for each
input token, the share of input read from the prompt cache, hidden reasoning, retries and fallbacks, answers that were
cut because no more tokens were allowed, and what failed attempts cost all the same.

Examples:

- `penstock report tokens --from 30d`
- `penstock report tokens --by app,feature --from month`
- `penstock report tokens --by feature --only model=gpt-4o --json`
"""

app = App(name="tokens", help_epilogue=HELP, default_parameter=Parameter(show_default=False))

LEVELS = "▁▂▃▄▅▆▇█"
MOST_DAYS = 20


@app.default
def tokens(
    *,
    by: Annotated[str, Parameter(help="Dimensions, as in app,feature.")] = "model",
    asked: Asked | None = None,
    common: Common | None = None,
) -> None:
    """Say how well tokens are used: cache, length and its trend, retries, cut answers, waste."""
    from penstock.analytics.efficiency import efficiency

    answer = put(efficiency, by, asked, common)
    tell(
        answer, common, fields=whole_and_rows, show=_show, nothing=nothing_found(answer), note="; days are UTC"
    )  # fmt: skip


def _show(found: "list[Efficiency]", names: tuple[str, ...]) -> None:
    numbers = ("requests", "tokens/req", "trend", "out:in", "cached", "hidden", "retried", "cut", "failed", "wasted",
               "$/1M")  # fmt: skip
    total, *rows = found
    days = total.days[-MOST_DAYS:] if len(total.days) > 2 else ()
    grid = grid_by(names, numbers, *(["by day"] if days else []))
    for one in [*rows, total] if names else [total]:
        if one is total and names:
            grid.add_section()
        grid.add_row(
            *(total_heads(names) if one is total else heads(one.group, names)),
            f"{one.requests:,}", _number(one.tokens_per_request), _percent(one.trend, "+"),
            "-" if one.output_per_input is None else f"{one.output_per_input:.3f}", _percent(one.cached_share),
            _percent(one.reasoning_share), f"{one.retries + one.fallbacks:,}", _percent(one.cut_share),
            _percent(one.failed_share), amount(one.wasted, 2 if one.wasted >= 100 else 4),
            "-" if one.cost_per_million is None else amount(one.cost_per_million, 2),
            *([_spark(one)] if days else []), style="bold" if one is total else "",
        )  # fmt: skip
    show(grid, ("by day", "hidden", "retried", "out:in", "cut", "$/1M", "wasted", "failed", "cached", "trend"))
    if total.unpriced_events:
        some = counted(total.unpriced_events, "event", "have")
        say(f"Warning: {some} no price: in no dollars. See: penstock report --by model", "yellow")
    if total.reused:
        say(f"Note: {counted(total.reused, 'call', 'were')} answered from a response cache "
            f"({_percent(total.reused_share)}), without a provider.", "dim")  # fmt: skip
    if total.beside:
        beside = counted(total.beside, "attempt", "are")
        say(
            f"Note: {beside} no answers (classifiers, judges, shadow calls, probes): {amount(total.beside_cost, 4)}.",
            "dim",
        )


def _spark(one: "Efficiency") -> str:
    """Draw tokens per request of the last days; a day without requests is a gap."""
    values = [day.tokens_per_request for day in one.days[-MOST_DAYS:]]
    most = max((value for value in values if value is not None), default=Decimal(0))
    return "".join(
        " " if value is None else LEVELS[min(7, int(value / most * 8))] if most else LEVELS[0] for value in values
    )


def _number(value: Decimal | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _percent(value: Decimal | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.1%}"
