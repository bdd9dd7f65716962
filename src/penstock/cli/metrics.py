"""`penstock metrics`: business metrics that the ledger keeps."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, counted, print_json, table
from penstock.cli.report_options import say, show

HELP = """
What spend is held against by `penstock report unit`: tickets, orders, dollars of revenue, a value a day, for all or by
team, app, feature. A day, metric and dimensions have one value; to write it again replaces it.
"""

app = App(
    name="metrics",
    help=f"Keep business metrics: what spend is held against.\n{HELP}",
    default_parameter=Parameter(show_default=False),
)


@app.command(
    name="import",
    help_epilogue="Examples:\n\n- `penstock metrics import kpi.csv`\n- `penstock metrics import q1.csv q2.csv --json`",
)
def import_(
    *files: Annotated[Path, Parameter(help="CSV with the columns date, metric, value, and dimensions.")],
    common: Common | None = None,
) -> None:
    """Keep the metrics of CSV files: all of a file, or none of it."""
    from msgspec.structs import asdict

    from penstock.analytics.unit_economics import metrics_in
    from penstock.app import ledger_for
    from penstock.errors import InputError
    from penstock.ledger.business_metrics import MetricStore
    from penstock.settings import load

    common = common or Common()
    if not files:
        raise InputError("Name a CSV file with the columns date, metric, value, as in: penstock metrics import kpi.csv")
    results = []
    with ledger_for(load(common.config, data=common.data)) as ledger:
        for file in files:
            try:
                kept = MetricStore(ledger.state).put(metrics_in(file))
            except InputError as error:
                text = str(error)
                raise InputError(text if text.startswith(str(file)) else f"{file}, {text}") from None
            results.append({"file": file, **asdict(kept)})
            if not common.json:
                say(f"{file}: {kept.new:,} new, {kept.replaced:,} replaced, {kept.unchanged:,} already there")
    if common.json:
        print_json({"files": results})


@app.command(
    name="list",
    help_epilogue="Examples:\n\n- `penstock metrics list`\n- `penstock metrics list --metric tickets --from 2026-03`\n"
    "- `penstock metrics list --json`",
)
def list_(
    *,
    metric: Annotated[str, Parameter(help="Show each day of this one.")] = "",
    from_: Annotated[str, Parameter(name="--from", help="First day: 2026-03-14, 2026-03, 7d, ...")] = "",
    to: Annotated[str, Parameter(help="Last day.")] = "",
    common: Common | None = None,
) -> None:
    """List what is kept: each metric, or each day of one."""
    from datetime import timedelta

    from penstock.analytics import periods
    from penstock.app import state_for
    from penstock.ledger.business_metrics import MetricStore
    from penstock.metering.event import utc_now
    from penstock.settings import load

    common, now = common or Common(), utc_now()
    since = periods.since(from_, now).date() if from_ else None
    until = (periods.until(to, now) - timedelta(microseconds=1)).date() if to else None
    store = MetricStore(state_for(load(common.config, data=common.data), create=False))
    summaries, rows = store.summaries(), store.all(metric=metric, since=since, until=until)
    if common.json:
        listed = [{"date": one.day, "metric": one.metric, "value": one.value} | one.group for one in rows]
        print_json({"metrics": summaries, "rows": listed})
    elif not summaries:
        say("No metrics are kept. Add some with: penstock metrics import kpi.csv")
    elif metric or from_ or to:
        names = tuple(dict.fromkeys(name for one in rows for name in one.group))
        grid = table("date", "metric", *names, "value", numbers=("value",))
        for one in rows:
            groups = [escape(one.group.get(name, "")) for name in names]
            grid.add_row(str(one.day), escape(one.metric), *groups, f"{one.value:,f}")
        show(grid, ())
    else:
        grid = table("metric", "days", "from", "to", "rows", "total", "by", numbers=("days", "rows", "total"))
        for each in summaries:
            grid.add_row(escape(each.metric), f"{each.days:,}", str(each.first), str(each.last), f"{each.rows:,}",
                         f"{each.total:,f}", escape(", ".join(each.dimensions)) or "-")  # fmt: skip
        show(grid, ("rows", "total"))


@app.command(
    help_epilogue="Examples:\n\n- `penstock metrics remove tickets`\n- `penstock metrics remove tickets --json`"
)
def remove(
    metric: Annotated[str, Parameter(help="The metric whose days are all forgotten.")], *, common: Common | None = None
) -> None:
    """Forget a metric, all its days."""
    from penstock.app import state_for
    from penstock.ledger.business_metrics import MetricStore
    from penstock.settings import load

    common = common or Common()
    gone = MetricStore(state_for(load(common.config, data=common.data), create=False)).remove(metric)
    if common.json:
        print_json({"metric": metric, "removed": gone})
    else:
        say(f"Forgot {counted(gone, 'row')} of {metric}.")
