"""`penstock export grafana|alerts|kql|star`: folders of files for other tools."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from penstock.cli.options import Common, console, counted, print_json

Folder = Annotated[Path, Parameter(help="Folder to write into; it is made where it is missing.")]


def grafana(folder: Folder, *, common: Common | None = None) -> None:
    """Write dashboards for Grafana, over the metrics of GET /metrics."""
    from penstock.ledger.exporters.written import dashboards

    _put(
        folder,
        dashboards(),
        "dashboard",
        "Import them, or provision the folder; the data source is Prometheus.",
        common,
    )


def alerts(folder: Folder, *, common: Common | None = None) -> None:
    """Write alert rules for Prometheus, over the metrics of GET /metrics."""
    from penstock.ledger.exporters.written import alert_rules

    _put(folder, alert_rules(), "file", "Name it under rule_files in prometheus.yml.", common)


def kql(folder: Folder, *, common: Common | None = None) -> None:
    """Write KQL queries for Azure Monitor: tokens, requests, spikes and anomalies, without Penstock's ledger."""
    from penstock.ledger.exporters.written import kql_queries

    _put(folder, kql_queries(), "query", "Each says in its first lines which table it needs.", common)


def _put(folder: Path, texts: Mapping[str, str], noun: str, following: str, common: Common | None) -> None:
    from penstock.ledger.exporters.written import put

    written = put(folder, texts)
    if common is not None and common.json:
        print_json({"folder": folder, "files": [file.name for file in written]})
        return
    plural = f"{len(written)} {noun.removesuffix('y')}ies" if noun.endswith("y") else counted(len(written), noun)
    _print(f"{plural} written to {folder}. {following}")
    for file in written:
        _print(f"  {file.name}")


def star(
    folder: Folder,
    *,
    grain: Annotated[Literal["day", "hour", "event"], Parameter(help="What a row of fact_usage sums up.")] = "day",
    from_: Annotated[str, Parameter(name="--from", help="Begin: 2026-03-14, 2026-03, 7d, today, month, ...")] = "",
    to: Annotated[str, Parameter(name="--to", help="End; a day or month named here is included.")] = "",
    common: Common | None = None,
) -> None:
    """Write a star schema in Parquet: facts of usage and charges, and their dimensions, as for Power BI."""
    from penstock.analytics.attempts import attempts_of
    from penstock.analytics.overlap import Once, counted_events
    from penstock.analytics.periods import between
    from penstock.app import ledger_for
    from penstock.cli.export_options import BookRates
    from penstock.ledger.exporters.charges import Unpriced, charges
    from penstock.ledger.exporters.star import write
    from penstock.metering.event import utc_now
    from penstock.settings import load

    common = common or Common()
    since, until = between(from_, to, utc_now())
    left = Unpriced()
    with ledger_for(load(common.config, data=common.data), create=False) as ledger:
        table = counted_events(Once(ledger.moment()), since=since, until=until)
        written = write(folder, attempts_of(table, rates=True), charges(table, BookRates(ledger), left), grain)
    if common.json:
        print_json({"folder": folder, "grain": grain, "tables": written.tables, "unpriced_events": left.events,
                    "from": since, "to": until})  # fmt: skip
        return
    from penstock.cli.options import table as grid

    rows = grid("table", "rows", numbers=("rows",))
    for name, count in written.tables.items():
        rows.add_row(name, f"{count:,}")
    console.print(rows)
    _print(f"Written to {folder}. relations.json says how the tables belong together.")
    if left.events:
        _print(f"{counted(left.events, 'event', 'have')} no price: in fact_usage without a cost, in no charge.")


def _print(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
