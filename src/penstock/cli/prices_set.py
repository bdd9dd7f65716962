"""`penstock prices set`: a dated row in the user's own book."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from msgspec.structs import replace

from penstock.cli.options import Common, console, print_json
from penstock.cli.prices import catalog_of, rows_of, settings_of
from penstock.cli.prices_show import footer, row_json, row_table
from penstock.errors import InputError, PriceBookError
from penstock.ledger.log import list_logs
from penstock.ledger.logfile import is_live
from penstock.pricing.book import KEY, Book, PriceRow
from penstock.pricing.diff import key_of
from penstock.pricing.fields import COLUMNS, row_from_fields, rows_from_table, table_of
from penstock.pricing.folder import own_book, own_file
from penstock.pricing.sanity import suspects

HELP = """
Rows are added and never edited: a change is a row with a later `--from`, so that an old event keeps its price. The
first price of something that had none, given without `--from`, stands in for older days too. `*` as the model prices
everything of that provider that has no row of its own.

Examples:

- `penstock prices set gpt-4o --provider azure --input 2.10 --output 8.40 --from 2026-12-01`
- `penstock prices set gpt-4o --provider azure --mode batch --input 1.05 --output 4.20 --source "contract 17"`
- `penstock prices set gpt-realtime --provider openai --input 4 --output 16 --rate input_audio=32`
- `penstock prices set "*" --provider vllm --flat-rate`
"""

app = App(name="set", help_epilogue=HELP, default_parameter=Parameter(show_default=False))

Dollars = Annotated[str, Parameter(help="Dollars per 1M tokens.")]


@app.default
def set_(
    model: Annotated[str, Parameter(help="The model's name at that provider; * for all that have no row.")],
    *,
    provider: Annotated[str, Parameter(help="Who bills: azure, openai, anthropic, ...")],
    input: Dollars = "",  # noqa: A002 (named like the unit)
    output: Dollars = "",
    cache_read: Dollars = "",
    cache_write: Dollars = "",
    rate: Annotated[
        tuple[str, ...],
        Parameter(
            help="Any other unit, as in input_audio=40 (per 1M) or web_searches=10 (per 1,000). May be repeated.",
            negative="",
        ),
    ] = (),
    version: Annotated[str, Parameter(help="Only this version of the model: 2024-08-06.")] = "",
    deployment_type: Annotated[str, Parameter(help="global (the default), data_zone or regional.")] = "global",
    region: Annotated[str, Parameter(help="A region (swedencentral) or a zone (us, eu, apac).")] = "",
    mode: Annotated[str, Parameter(help="standard (the default), batch, flex or priority.")] = "standard",
    context_over: Annotated[int, Parameter(help="Only calls with more input tokens than this.")] = 0,
    hours: Annotated[str, Parameter(help="Only in this window of the day, UTC: 16:30-00:30.")] = "",
    from_: Annotated[str, Parameter(name="--from", help="First day (or instant) of the price; by default today.")] = "",
    to: Annotated[str, Parameter(help="First day on which it no longer counts.")] = "",
    free: Annotated[bool, Parameter(help="The provider charges nothing.", negative="")] = False,
    flat_rate: Annotated[bool, Parameter(help="Paid by the hour or month: a call adds nothing.", negative="")] = False,
    source: Annotated[str, Parameter(help="Where the price stands: a contract, a page.")] = "",
    common: Common | None = None,
) -> None:
    """Write a price of your own: a new dated row in `prices/own.csv` of the data folder."""
    common = common or Common()
    today = datetime.now(UTC).date().isoformat()
    given = dict([_pair(text) for text in rate]) | {
        "provider": provider, "model": model, "version": version, "deployment_type": deployment_type, "region": region,
        "mode": mode, "context_over": context_over or "", "hours": hours, "from": from_ or today, "to": to,
        "free": "yes" if free else "", "flat_rate": "yes" if flat_rate else "", "input": input, "output": output,
        "cache_read": cache_read, "cache_write": cache_write, "source": source or "set on the command line",
        "read": today,
    }  # fmt: skip
    row = row_from_fields(given, "own", "prices set")
    if not (row.rates or free or flat_rate):
        raise InputError("Give at least one rate, such as --input 2.10, or --free, or --flat-rate")
    settings = settings_of(common)
    before = catalog_of(settings)
    if not from_ and before.row(key_of(row), row.valid_from, row.context_over + 1) is None:
        row = replace(row, earliest=True)  # the first price of this kind: it stands in for the days before
    file = own_file(settings.data)
    written = append(file, row)
    peers = [one for one in rows_of(before, provider) if one.model.lower() == model.lower()]
    doubts = [found.problem for found in suspects([written], peers, at=written.valid_from)]
    hidden = before.row(key_of(written), written.valid_from, written.context_over + 1)
    if hidden and (lost := sorted(hidden.rates.keys() - written.rates.keys())) and not (free or flat_rate):
        doubts.append(f"no rate for {', '.join(lost)}, which {hidden.book} has: calls that use them will be unpriced")
    if common.json:
        print_json({"file": file, "row": row_json(written), "doubts": doubts})
        return
    console.print(row_table([written], f"Written to {file}"))
    console.print(footer([written]), highlight=False, soft_wrap=True)
    for doubt in doubts:
        console.print(f"[yellow]Is this right?[/yellow] {doubt}", highlight=False)
    if any(is_live(log) for log in list_logs(settings.data)):
        console.print("A server runs on this ledger: it takes the price when it reads its settings again (kill -HUP).")


def append(file: Path, row: PriceRow) -> PriceRow:
    """Add a row to the own book and return it as the book holds it.

    The file is replaced as a whole, so that a reader sees the old book or the new one. Raises PriceBookError when the
    book has a row of that key and instant already.
    """
    rows = rows_from_table(file.read_text(encoding="utf-8"), file.name) if file.exists() else []
    same = [
        one for one in rows if one.valid_from == row.valid_from and all(getattr(one, f) == getattr(row, f) for f in KEY)
    ]
    if same:
        raise PriceBookError(
            file.name, row.model, f"there is a price from {row.valid_from:%Y-%m-%d} on already; rows are never edited: "
            "give a later --from (an instant such as 2026-12-01T09:30 will do)",
        )  # fmt: skip
    fresh = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(table_of([*rows, row], COLUMNS), encoding="utf-8")
        book: Book = own_book(fresh)
        with fresh.open("rb") as written:
            os.fsync(written.fileno())
        fresh.replace(file)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}; is --data right?") from None
    return book.rows[-1]


def _pair(text: str) -> tuple[str, str]:
    unit, equals, amount = text.partition("=")
    if not equals:
        raise InputError(f"--rate {text!r}: write it as unit=dollars, such as input_audio=40")
    return unit, amount
