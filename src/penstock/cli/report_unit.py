"""`penstock report unit`: what an outcome costs and earns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, counted, print_json, table
from penstock.cli.report import amount, known_amount
from penstock.cli.report_options import Asked, dimensions, dollars_of, flat, say, show

if TYPE_CHECKING:
    from penstock.analytics.unit_economics import Economics, Unit

HELP = """
Holds the spend of each day against a business metric of that day: one that the ledger keeps (`penstock metrics`, or
POST /api/business-metrics), or one of a CSV file of yours:

    date,metric,value,app
    2026-03-14,tickets,1200,helpdesk
    2026-03-14,revenue,3000,helpdesk

Columns beside date, metric and value are dimensions (team, app, feature, tag:NAME, ...) for `--by` and `--only`.
Days with spend and without the metric count in no figure: they are named, with their spend.

Examples:

- `penstock report unit --metrics kpi.csv --metric tickets --value-each 2.50`
- `penstock report unit --metrics kpi.csv --metric tickets --value-metric revenue --by app --only app=helpdesk`
- `penstock report unit --metrics kpi.csv --metric tickets --value-each 2.50 --investment 20000 --per month --json`
"""

app = App(name="unit", help_epilogue=HELP, default_parameter=Parameter(show_default=False))


@app.default
def unit(
    *,
    metrics: Annotated[
        Path | None,
        Parameter(
            help="CSV file: date, metric, value, dimensions; by default what the ledger keeps, and the settings' file."
        ),
    ] = None,
    metric: Annotated[str, Parameter(help="What counts as outcomes: tickets, orders; by default the first one.")] = "",
    by: Annotated[str, Parameter(help="Dimensions, which must be columns of the file.")] = "",
    per: Annotated[Literal["day", "week", "month", "all"], Parameter(help="A row for each day, week, month.")] = "all",
    value_each: Annotated[str, Parameter(help="Dollars that an outcome is worth.")] = "",
    value_metric: Annotated[str, Parameter(help="The metric that holds dollars of value, in place of it.")] = "",
    cost_metric: Annotated[str, Parameter(help="The metric that holds dollars of other costs: hosting, search.")] = "",
    investment: Annotated[str, Parameter(help="Dollars spent once, for the payback period.")] = "",
    asked: Asked | None = None,
    common: Common | None = None,
) -> None:
    """Say what an outcome costs and earns: cost per outcome, margin, ROI, payback."""
    from penstock.analytics.unit_economics import metrics_in, unit_economics
    from penstock.app import ledger_for
    from penstock.errors import InputError
    from penstock.ledger.business_metrics import MetricStore, together
    from penstock.metering.event import utc_now
    from penstock.settings import load

    asked, common = asked or Asked(), common or Common()
    if value_each and value_metric:
        raise InputError("--value-each and --value-metric are two ways to say the same: choose one")
    settings = load(common.config, data=common.data)
    of_file = metrics_in(file) if (file := metrics or settings.unit_economics.file) else []
    since, until = asked.bounds(utc_now())
    names = dimensions(by)
    with ledger_for(settings, create=False) as ledger:
        observations = of_file if metrics else together(MetricStore(ledger.state).all(), of_file)
        if not observations and not file:
            raise InputError(
                "There are no metrics: give --metrics FILE, or keep them with penstock metrics import FILE"
            )
        found = unit_economics(
            asked.source(ledger), observations, metric, by=names, per=per, since=since, until=until,
            time_zone=asked.time_zone, where=asked.where,
            value_each=dollars_of(value_each, "--value-each") if value_each else None, value_metric=value_metric,
            cost_metric=cost_metric, investment=dollars_of(investment or "0", "--investment"),
        )  # fmt: skip
    if common.json:
        print_json(document(found) | {"by": names, "per": per})
    else:
        _show(found, names, per)


def document(found: "Economics") -> dict[str, object]:
    """Lay the answer out as JSON."""
    from msgspec.structs import asdict

    return asdict(found) | {"rows": [flat(one) for one in found.rows]}


def _show(found: "Economics", names: tuple[str, ...], per: str) -> None:
    numbers = ("days", found.metric, "cost", "each", "value", "net", "margin", "ROI", "cost/value")
    heads = ([] if per == "all" else [per]) + list(names)
    grid = table(*heads, *numbers, numbers=numbers)
    for column in grid.columns:
        column.no_wrap = column.header not in names
    for row in found.rows:
        begin = [] if per == "all" else [_begin(row, per)]
        grid.add_row(*begin, *[escape(row.group[name]) or "(none)" for name in names], *_cells(row))
    if heads:
        grid.add_section()
        grid.add_row("total", *[""] * (len(heads) - 1), *_cells(found.total), style="bold")
    else:
        grid.add_row(*_cells(found.total))
    show(grid, ("cost/value", "days", "margin", "value", "net"))
    if found.total.first and found.total.last:
        say(f"{found.total.first} to {found.total.last}; each: spend and other costs for one of {found.metric}", "dim")
    if found.investment:
        months = found.payback_months
        end = f"is paid back after {months} months of 30 days" if months is not None else "is never paid back like this"
        say(f"The investment of {amount(found.investment, 2)} {end}.")
    for gap in found.missing:
        of = f" of {', '.join(value or '(none)' for value in gap.group.values())}" if gap.group else ""
        days = ", ".join(map(str, gap.days[:5])) + (f" and {len(gap.days) - 5} more" if len(gap.days) > 5 else "")
        say(f"Warning: {counted(len(gap.days), 'day')}{of} without {found.metric}, left out with "
            f"{amount(gap.spend, 4)} of spend: {days}", "yellow")  # fmt: skip
    if found.idle:
        say(f"Note: {counted(found.idle, 'day', 'have')} {found.metric} and no spend.", "dim")
    if found.total.unpriced_events:
        some = counted(found.total.unpriced_events, "event", "have")
        say(f"Warning: {some} no price; costs are too low by them. See: penstock report --by model", "yellow")


def _begin(row: "Unit", per: str) -> str:
    return f"{row.first:%Y-%m}" if per == "month" else str(row.first)


def _cells(row: "Unit") -> list[str]:
    cost = row.spend + row.other_cost
    return [
        str(row.days), f"{row.outcomes:,f}", known_amount(cost, row.unpriced_events, 2 if cost >= 100 else 4),
        "-" if row.cost_per_outcome is None else known_amount(row.cost_per_outcome, row.unpriced_events, 6),
        "-" if row.value is None else amount(row.value, 2), "-" if row.net is None else amount(row.net, 2),
        "-" if row.margin is None else f"{row.margin:.2%}",
        "-" if row.roi_multiple is None else f"{row.roi_multiple:,.1f}x",
        "-" if row.cost_share is None else f"{row.cost_share:.2%}",
    ]  # fmt: skip
