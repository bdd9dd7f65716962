"""`penstock prices`: list, show, compare and change prices."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from penstock.cli.options import Common, console, print_json
from penstock.errors import InputError

if TYPE_CHECKING:
    from penstock.pricing.book import Book, PriceRow
    from penstock.pricing.catalog import Catalog
    from penstock.settings import Settings

HELP = """
Prices come in layers; the first that has a row for a call decides: a scenario, the contract prices of the settings,
your own book (`prices set`), newer Azure lists (`prices update`), the Azure book of the package, and genai-prices for
direct providers. Rates are dollars per 1M tokens. A call that no row fits is unpriced, never $0.

Examples:

- `penstock prices list --model gpt-4o`
- `penstock prices show gpt-4.1 --provider azure`
- `penstock prices diff guide-2026-03 azure`
- `penstock prices set gpt-4o --provider azure --input 2.10 --cache-read 1.05 --output 8.40 --from 2026-12-01`
"""

app = App(name="prices", help_epilogue=HELP, default_parameter=Parameter(show_default=False))
for _name, _help in {
    "set": "Write a price of your own: a new dated row in `prices/own.csv` of the data folder.",
    "update": "Fetch Azure's public price list, show what would change, and write it as a new dated book.",
    "check": "Check the prices: slips, old read dates, retired models, unpriced traffic in the ledger.",
}.items():
    app.command(f"penstock.cli.prices_{_name}:app", name=_name, help=_help)

Provider = Annotated[str, Parameter(help="Who bills: azure, openai, anthropic, ...; `all` for every one.")]
Model = Annotated[str, Parameter(help="Part of the model's name.")]
WholeModel = Annotated[str, Parameter(help="The model's name.")]
At = Annotated[datetime | None, Parameter(help="As of this day or instant (UTC); by default now.")]


@app.command(name="list", help_epilogue="")
def list_(
    *,
    provider: Provider = "",
    model: Model = "",
    deployment_type: Annotated[str, Parameter(help="global, data_zone, regional, global_ptu, ...")] = "",
    mode: Annotated[str, Parameter(help="standard, batch, flex, priority.")] = "",
    at: At = None,
    common: Common | None = None,
) -> None:
    """List the prices in force, one row a line, without the ones that a higher layer hides.

    Without `--provider`: Azure and whatever your own books name.

    Example: `penstock prices list --provider azure --deployment-type data_zone --mode batch`
    """
    from penstock.cli.prices_show import footer, on_day, row_json, row_table

    common, day = common or Common(), instant(at)
    catalog = catalog_of(settings_of(common))
    rows = [
        row
        for row in in_force(catalog, rows_of(catalog, provider), day)
        if model.lower() in row.model.lower()
        and row.deployment_type.startswith(deployment_type)
        and mode in {"", row.mode}
    ]
    if not rows:
        raise InputError(
            "No price in force fits these filters; leave one out, or try: penstock prices list --provider all"
        )
    if common.json:
        print_json({"at": day, "rows": [row_json(row) for row in rows]})
    else:
        console.print(row_table(rows, f"Prices in force on {on_day(day)}"))
        console.print(footer(rows), highlight=False, soft_wrap=True)


@app.command(help_epilogue="")
def show(
    model: WholeModel,
    *,
    provider: Provider = "",
    at: At = None,
    common: Common | None = None,
) -> None:
    """Show every row of one model, in force or hidden, with book, source and the day on which it was read.

    Rows stand in order of precedence; the last column says which row decides, and what hides the others.

    Example: `penstock prices show gpt-4o --provider azure`
    """
    from penstock.cli.prices_show import footer, on_day, row_json, row_table
    from penstock.pricing.finetune import shipped_finetunes
    from penstock.pricing.lifecycle import retirement

    common, day = common or Common(), instant(at)
    catalog = catalog_of(settings_of(common))
    rows = known(catalog, provider, model)
    standings = [standing(catalog, row, day) for row in rows]
    retired = [found for one in sorted({row.provider for row in rows}) if (found := retirement(one, model))]
    tuning = shipped_finetunes().get(model) if any(row.provider == "azure" for row in rows) else None
    if common.json:
        print_json({
            "at": day, "model": model, "retirements": retired, "fine_tuning": tuning,
            "rows": [{**row_json(row), "standing": word} for row, word in zip(rows, standings, strict=True)],
        })  # fmt: skip
        return
    console.print(row_table(rows, f"{model} on {on_day(day)}", "standing", standings))
    console.print(footer(rows), highlight=False, soft_wrap=True)
    for row in rows:
        console.print(
            f"[bold]{row.id}[/bold] of {row.book}, read {row.read or 'on an unknown day'}: {row.source}",
            highlight=False,
        )
    for one in retired:
        console.print(f"Retires at {one.provider} on {one.retires} ({one.source}).", highlight=False)
    if tuning:
        rates = f"${tuning.training_per_million} per 1M training tokens, ${tuning.hosting_per_hour} per hour of hosting"
        console.print(f"Fine-tuning: {rates} ({tuning.source}).", highlight=False)


@app.command(help_epilogue="")
def history(model: WholeModel, *, provider: Provider = "", common: Common | None = None) -> None:
    """Show how a model's prices changed: all rows of all books, each kind together, the oldest first.

    Example: `penstock prices history gpt-5.6-luna --provider azure`
    """
    from penstock.cli.prices_show import footer, row_json, row_table

    common = common or Common()
    rows = known(catalog_of(settings_of(common)), provider, model)
    rows.sort(
        key=lambda row: (
            row.provider,
            row.deployment_type,
            row.region,
            row.mode,
            row.version,
            row.context_over,
            row.hours,
            row.valid_from,
        )
    )
    if common.json:
        print_json({"model": model, "rows": [row_json(row) for row in rows]})
    else:
        console.print(row_table(rows, f"History of {model}"))
        console.print(footer(rows), highlight=False, soft_wrap=True)


@app.command(help_epilogue="")
def diff(
    old: Annotated[str, Parameter(help="A book (azure, guide-2026-03, genai-prices), a book file, or a day.")],
    new: Annotated[str, Parameter(help="The same, to compare with.")],
    *,
    model: Model = "",
    every: Annotated[bool, Parameter(name="--all", help="Show also what only one side prices.", negative="")] = False,
    common: Common | None = None,
) -> None:
    """Show what two books, two files or two days price differently.

    A day stands for all your books as of that day (Azure and own prices). A call is priced on both sides as the gateway
    would price it, so a row for every version answers for each version.

    Examples: `penstock prices diff guide-2026-03 azure`, `penstock prices diff 2026-07-01 2026-11-23 --model gpt-5`
    """
    from penstock.cli.prices_show import PER, change_json, change_table
    from penstock.pricing.diff import changes, places

    common = common or Common()
    settings = settings_of(common)
    sides = [side(name, settings) for name in (old, new)]
    rows = [row for catalog, _ in sides for book in catalog.books for row in book.rows]
    asked = places(row for row in rows if model.lower() in row.model.lower())
    found = list(changes(asked, *sides[0], *sides[1]))
    both = [change for change in found if every or (change.old_row and change.new_row)]
    rest = len({(change.key, change.context_over, change.hours) for change in found if change not in both})
    if common.json:
        print_json({"old": old, "new": new, "changes": [change_json(change) for change in both], "only_one_side": rest})
        return
    console.print(change_table(both, f"{old} against {new}", old, new) if both else "No rate differs.")
    if both:
        console.print(PER, highlight=False)
    if rest:
        console.print(f"{rest} more are priced by one side only; see them with --all.", highlight=False)


def settings_of(common: Common) -> "Settings":
    """Read the settings that the common options name."""
    from penstock.settings import load

    return load(common.config, data=common.data)


def catalog_of(settings: "Settings") -> "Catalog":
    """Stack the books that the settings and their data folder name."""
    from penstock.pricing.books import catalog_in

    prices = settings.prices
    return catalog_in(settings.data, prices=prices.rows, discounts=prices.discounts, scenario=prices.scenario)


def instant(at: datetime | None) -> datetime:
    """Return the instant meant; now, where none is given."""
    if at is None:
        return datetime.now(UTC)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def rows_of(catalog: "Catalog", provider: str) -> "list[PriceRow]":
    """Return the rows of a provider, in order of precedence; the direct ones only when they are asked for."""
    if provider not in {"", "azure"}:
        catalog.load()
    return [row for book in catalog.books for row in book.rows if provider in {"", "all", row.provider}]


def in_force(catalog: "Catalog", rows: "Iterable[PriceRow]", at: datetime) -> "list[PriceRow]":
    """Keep the rows that would price a call at `at`."""
    from penstock.pricing.diff import answer, places

    return [
        row
        for row in rows
        if (found := answer(catalog, places([row])[0], at)) and (found.book, found.id) == (row.book, row.id)
    ]


def known(catalog: "Catalog", provider: str, model: str) -> "list[PriceRow]":
    """Return every row of a model. Raises InputError, with what may be meant, where there is none."""
    from difflib import get_close_matches

    rows = rows_of(catalog, provider)
    found = [row for row in rows if row.model.lower() == model.lower()]
    if not found and not provider:
        rows = rows_of(catalog, "all")
        found = [row for row in rows if row.model.lower() == model.lower()]
    if not found:
        near = get_close_matches(model.lower(), sorted({row.model.lower() for row in rows}), n=3)
        hint = f" Is it one of {', '.join(near)}?" if near else ""
        raise InputError(
            f"No book has a price for {model}.{hint} Add one with: penstock prices set {model} --provider …"
        )
    return found


def standing(catalog: "Catalog", row: "PriceRow", at: datetime) -> str:
    """Say whether a row decides at `at`, and if not, why."""
    from penstock.cli.prices_show import short
    from penstock.pricing.diff import answer, places

    found = answer(catalog, places([row])[0], at)
    if found and (found.book, found.id) == (row.book, row.id):
        return "in force" if at >= row.valid_from else "stands in, the earliest known"
    if row.valid_from > at:
        return f"begins {row.valid_from:%Y-%m-%d}"
    if row.valid_to is not None and row.valid_to <= at:
        return f"ended {row.valid_to:%Y-%m-%d}"
    if found and found.book == row.book:
        return f"replaced {found.valid_from:%Y-%m-%d}"
    return f"hidden by {short(found.book)}" if found else "not in force"


def side(name: str, settings: "Settings") -> "tuple[Catalog, datetime]":
    """Return one side of a comparison: a book by name or file, or every book as of a day."""
    from penstock.pricing.catalog import Catalog

    try:
        return catalog_of(settings), instant(datetime.fromisoformat(name))
    except ValueError:
        return Catalog([book_called(name, settings.data)]), datetime.now(UTC)


def book_called(name: str, data_folder: Path) -> "Book":
    """Find a book of the package, one in the data folder, or a file."""
    from penstock.pricing.folder import own_file, read_book
    from penstock.pricing.genai import genai_book
    from penstock.pricing.shipped import SCENARIOS, shipped_book

    if name in {"azure", *SCENARIOS}:
        return shipped_book(name)
    if name == "genai-prices":
        return genai_book()
    files = [own_file(data_folder) if name == "own" else data_folder / "prices" / f"{name}.json", Path(name)]
    for file in files:
        if file.is_file():
            return read_book(file)
    known = ", ".join(["azure", *SCENARIOS, "genai-prices", "own"])
    raise InputError(f"There is no book {name!r}: name one of {known}, a book file, or a day such as 2026-11-23")
