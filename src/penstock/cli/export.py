"""`penstock export`: the ledger for other tools."""

import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from penstock.cli import export_files
from penstock.cli.export_options import BookRates
from penstock.cli.options import Common, answer_no, console, counted, dollars, print_json

HELP = """
FOCUS files hold one row a day, payer, price and kind of token, for FinOps tools; `csv`, `parquet` and `jsonl` hold the
events themselves, with every digit of every amount. Traffic that several sources recorded stands in a FOCUS file once,
as in `penstock report`.

An event without a price cannot stand in a FOCUS file, where a cost is never empty, and is never written as zero: it is
left out and counted, and the exit code is 1 unless `--allow-unpriced` is given.

Examples:

- `penstock export march.csv --format focus-1.2 --from 2026-03 --to 2026-03`
- `penstock export march.parquet --format focus-1.4 --from 2026-03 --to 2026-03 --billing-account "Contoso EA"`
- `penstock export events.parquet --from 7d`
- `penstock export star powerbi --from 2026-03 --to 2026-03`
- `penstock export grafana dashboards`
"""

app = App(name="export", help_epilogue=HELP, default_parameter=Parameter(show_default=False))
for _command, _example in (
    (export_files.star, "star powerbi --grain hour --from 2026-03"),
    (export_files.grafana, "grafana dashboards"),
    (export_files.alerts, "alerts /etc/prometheus"),
    (export_files.kql, "kql queries"),
):
    app.command(_command, help_epilogue=f"Example:\n\n- `penstock export {_example}`")

Form = Literal["focus-1.2", "focus-1.4", "csv", "parquet", "jsonl"]
SUFFIXES: dict[str, Any] = {".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@app.default
def export(
    file: Annotated[Path, Parameter(help="File to write; FOCUS is CSV, or Parquet where the name ends in .parquet.")],
    *,
    format_: Annotated[Form | None, Parameter(name="--format", help="By default what the name ends in.")] = None,
    from_: Annotated[str, Parameter(name="--from", help="Begin: 2026-03-14, 2026-03, 7d, today, month, ...")] = "",
    to: Annotated[str, Parameter(name="--to", help="End; a day or month named here is included.")] = "",
    billing_account: Annotated[str, Parameter(help="FOCUS's BillingAccountId; by default penstock.")] = "penstock",
    allow_unpriced: Annotated[bool, Parameter(help="Exit code 0 though events have no price.", negative="")] = False,
    common: Common | None = None,
) -> None:
    """Write the ledger for other tools: FOCUS 1.2 or 1.4, or its events."""
    from penstock.analytics.periods import between
    from penstock.app import ledger_for
    from penstock.errors import InputError
    from penstock.metering.event import utc_now
    from penstock.settings import load

    common = common or Common()
    chosen = format_ or SUFFIXES.get(file.suffix)
    if chosen is None:
        raise InputError(f"{file}: the name does not say which format. Add --format, as in: --format focus-1.2")
    settings, now = load(common.config, data=common.data), utc_now()
    since, until = between(from_, to, now)
    with ledger_for(settings, create=False) as ledger:
        if chosen in ("csv", "parquet", "jsonl"):
            events = ledger.extract(file, chosen, since=since, until=until)
            _say(common, {"file": file, "format": chosen, "events": events}, f"{events:,} events written to {file}")
            return
        from penstock.analytics.committed import committed
        from penstock.analytics.overlap import Once, counted_events
        from penstock.app import catalog_for
        from penstock.ledger.columns import EXACT
        from penstock.ledger.exporters.charges import Charge, Unpriced, charges
        from penstock.ledger.exporters.focus import row_of, rows_of, write

        left, total, ptus = Unpriced(), Decimal(0), Decimal(0)
        version: Any = chosen.removeprefix("focus-")

        def row(charge: Charge) -> dict[str, Any]:
            nonlocal total
            total += charge.cost
            return row_of(charge, version, billing_account)

        source = Once(ledger.moment())

        def capacity() -> Iterator[dict[str, Any]]:
            nonlocal ptus
            for one in settings.commitments:
                days = list(committed(source, one, catalog_for(settings), since=since, until=until, now=now))
                ptus += sum((EXACT.multiply(day.rate, day.hours) for day in days), Decimal(0))
                yield from rows_of(days, version, billing_account)

        found = charges(counted_events(source, since=since, until=until), BookRates(ledger), left)
        form: Any = "parquet" if file.suffix == ".parquet" else "csv"
        rows = write(file, chain(map(row, found), capacity()), version, form)
    document = {
        "file": file, "format": chosen, "rows": rows, "cost": total, "commitments": ptus,
        "unpriced_events": left.events, "unpriced_tokens": left.tokens, "from": since, "to": until,
    }  # fmt: skip
    paid = f" and {dollars(ptus)} of commitments" if ptus else ""
    _say(common, document, f"{counted(rows, 'row')} of {chosen}, {dollars(total)}{paid}, written to {file}")
    if left.events:
        some = counted(left.events, "event", "have")
        print(f"{some} no price and {'is' if left.events == 1 else 'are'} not in the file ({left.tokens:,} tokens). "
              "See penstock report; add prices, then penstock ledger reprice.", file=sys.stderr)  # fmt: skip
        if not allow_unpriced:
            answer_no()


def _say(common: Common, document: dict[str, Any], sentence: str) -> None:
    if common.json:
        print_json(document)
    else:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
