"""`penstock report chargeback`: who pays what."""

import csv
import sys
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from rich.markup import escape

from penstock.cli.options import Common, console, counted, plain, print_json, table
from penstock.cli.report import amount, known_amount
from penstock.cli.report_options import Asked, dimensions, dollars_of, flat, pairs, say, say_nothing_found

if TYPE_CHECKING:
    from penstock.analytics.chargeback import Charged, Statement
    from penstock.analytics.shared_costs import Chargeback

HELP = """
Charges every dollar of the ledger to a team (or an app, a key, a tag), splits what is shared, and shows what nobody was
charged with. Statements, and what is unallocated, add up to the ledger and the amounts given, to the last digit.

Shared costs stand in `penstock.toml` ([chargeback]) or in options. Splits: `proportional` to direct cost, `even`,
`fixed` by weights, or `keep`: shown and not split. Spend without a team is kept unless `--untagged` says otherwise.

Examples:

- `penstock report chargeback --from 2026-03 --to 2026-03`
- `penstock report chargeback --shared team=platform --untagged proportional --cents`
- `penstock report chargeback --extra "PTU commitment=3900" --split fixed --weight red=2 --weight blue=1`
- `penstock report chargeback --statement support --lines app,model`
- `penstock report chargeback --by tag:cost_center --csv`
"""

app = App(name="chargeback", help_epilogue=HELP, default_parameter=Parameter(show_default=False, negative=""))

Split = Literal["proportional", "even", "fixed", "keep"]


@app.default
def chargeback(
    *,
    by: Annotated[
        str, Parameter(help="The dimension that is charged; by default team, or what the settings say.")
    ] = "",
    shared: Annotated[
        tuple[str, ...], Parameter(help="Spend of the ledger that all share, as in team=platform. May be repeated.")
    ] = (),
    extra: Annotated[
        tuple[str, ...], Parameter(help="Dollars beside the ledger, as in PTU=3900. May be repeated.")
    ] = (),
    split: Annotated[Split, Parameter(help="How --shared and --extra are split.")] = "proportional",
    weight: Annotated[
        tuple[str, ...], Parameter(help="Who takes part, and with what weight: red=2. May be repeated.")
    ] = (),
    untagged: Annotated[
        Literal["keep", "proportional", "even"] | None, Parameter(help="What happens to spend without a payer.")
    ] = None,
    lines: Annotated[str, Parameter(help="Dimensions in which a statement lists direct costs.")] = "model",
    statement: Annotated[str, Parameter(help="Show the statement of one payer, line by line.")] = "",
    cents: Annotated[bool, Parameter(help="Charge whole cents; they add up to the rounded total.")] = False,
    csv_: Annotated[bool, Parameter(name="--csv", help="Print CSV, one line a charge.")] = False,
    asked: Asked | None = None,
    common: Common | None = None,
) -> None:
    """Say who pays what: direct costs, shares of shared costs, and what is unallocated."""
    from penstock.analytics.chargeback import chargeback as charge
    from penstock.app import ledger_for
    from penstock.errors import InputError
    from penstock.metering.event import utc_now
    from penstock.settings import load

    asked, common = asked or Asked(), common or Common()
    if csv_ and common.json:
        raise InputError("--csv and --json are two forms of the same answer: choose one")
    settings = load(common.config, data=common.data)
    rules = _rules(settings.chargeback, by, untagged, _given(shared, extra, split, weight))
    since, until = asked.bounds(utc_now())
    with ledger_for(settings, create=False) as ledger:
        found = charge(
            asked.source(ledger),
            rules,
            lines=dimensions(lines),
            since=since,
            until=until,
            where=asked.where,
            cents=cents,
        )
    chosen = [one for one in found.statements if not statement or one.name == statement]
    if statement and not chosen:
        names = ", ".join(one.name for one in found.statements) or "nobody"
        raise InputError(f"There is no statement for {rules.by} {statement!r} in that time; charged are {names}")
    if common.json:
        print_json({"by": rules.by, "from": since, "to": until, **document(found, chosen)})
    elif csv_:
        _print_csv(found, chosen, rules.by, whole=not statement)
    elif not found.statements and not found.total:
        say_nothing_found(asked, since, until)
    elif statement:
        _show_statement(chosen[0], asked.said(since, until), cents=cents)
    else:
        _show(found, rules.by, asked, (since, until), cents=cents)


def _given(
    shared: tuple[str, ...], extra: tuple[str, ...], split: Split, weight: tuple[str, ...]
) -> list[dict[str, object]]:
    """Turn options into shared costs as the settings have them."""
    from penstock.errors import InputError

    weights = {
        name: dollars_of(value, "--weight") for name, value in pairs(weight, "--weight", "a name and a number", "red=2")
    }
    if weights and not shared and not extra:
        raise InputError("--weight says how --shared or --extra is split: give one of them")
    how: dict[str, object] = {"split": split, "weights": weights}
    found: list[dict[str, object]] = [
        {"name": f"{name}={value}", "match": {name: value}, **how}
        for name, value in pairs(shared, "--shared", "a dimension and a value", "team=platform")
    ]
    found += [
        {"name": name, "amount": dollars_of(value, "--extra"), **how}
        for name, value in pairs(extra, "--extra", "a name and dollars", "PTU=3900")
    ]
    return found


def _rules(settings: "Chargeback", by: str, untagged: Split | None, given: list[dict[str, object]]) -> "Chargeback":
    """Lay the options over the settings."""
    from msgspec import convert
    from msgspec.structs import replace

    from penstock.analytics.shared_costs import SharedCost

    added = tuple(convert(one, SharedCost) for one in given)
    return replace(
        settings, by=by or settings.by, untagged=untagged or settings.untagged, shared=(*settings.shared, *added)
    )


def document(found: "Charged", chosen: "list[Statement]") -> dict[str, object]:
    """Lay the answer out as JSON."""
    from msgspec.structs import asdict

    statements = [asdict(one) | {"lines": [flat(row) for row in one.lines]} for one in chosen]
    return asdict(found) | {"statements": statements}


def _print_csv(found: "Charged", chosen: "list[Statement]", by: str, *, whole: bool) -> None:
    """Print one line for each charge; the column `amount` adds up to the total."""
    writer = csv.writer(sys.stdout)
    writer.writerow([by, "kind", "item", "share", "amount"])
    for one in chosen:
        for row in one.lines:
            cost = "" if row.unpriced_events and not row.cost else plain(row.cost)
            writer.writerow([one.name, "direct", " / ".join(row.group.values()), "", cost])
        if rounded := one.direct - sum((row.cost for row in one.lines), Decimal(0)):
            writer.writerow([one.name, "rounding", "to whole cents", "", plain(rounded)])
        for share in one.shares:
            writer.writerow([one.name, "shared", share.pool, plain(share.share), plain(share.amount)])
    for pool in found.pools if whole else ():
        if pool.unallocated:
            writer.writerow(["", "unallocated", pool.name, "", plain(pool.unallocated)])


def _show(
    found: "Charged", by: str, asked: Asked, period: tuple[datetime | None, datetime | None], *, cents: bool
) -> None:
    places = 2 if cents or found.total >= 100 else 4
    grid = table(by, "direct", "shared", "total", "share", numbers=("direct", "shared", "total", "share"))
    for one in found.statements:
        grid.add_row(
            escape(one.name), amount(one.direct, places), amount(one.shared, places), amount(one.total, places),
            _share(one.total, found.total),
        )  # fmt: skip
    grid.add_row("(unallocated)", "", "", amount(found.unallocated, places), _share(found.unallocated, found.total))
    grid.add_section()
    grid.add_row("total", "", "", amount(found.total, places), _share(found.total, found.total), style="bold")
    console.print(grid)
    if found.pools:
        pools = table("shared cost", "amount", "split", "unallocated", "", numbers=("amount", "unallocated"))
        for pool in found.pools:
            left = amount(pool.unallocated, places)
            pools.add_row(escape(pool.name), amount(pool.amount, places), pool.split, left, pool.note)
        console.print()
        console.print(pools)
    say(asked.said(*period), "dim")
    beside = f" and {amount(found.extra, places)} beside it" if found.extra else ""
    say(f"The ledger holds {amount(found.ledger, places)}{beside}.", "dim")
    if found.unpriced_events:
        say(f"Warning: {counted(found.unpriced_events, 'event', 'have')} no price and could not be charged to anybody. "
            "See: penstock report --by model", "yellow")  # fmt: skip


def _show_statement(one: "Statement", period: str, *, cents: bool) -> None:
    places = 2 if cents or one.total >= 100 else 4
    grid = table("item", "events", "input", "output", "amount", numbers=("events", "input", "output", "amount"))
    say(f"Statement for {one.name}, {period}")
    for row in one.lines:
        counts = [f"{n:,}" for n in (row.events, row.input_tokens, row.output_tokens)]
        item = " / ".join(value or "(none)" for value in row.group.values()) or "direct"
        grid.add_row(escape(item), *counts, known_amount(row.cost, row.unpriced_events, places))
    for share in one.shares:
        grid.add_row(
            f"{share.share:.2%} of {escape(share.pool)} ({share.split})", "", "", "", amount(share.amount, places)
        )
    grid.add_section()
    grid.add_row("total", f"{one.events:,}", "", "", amount(one.total, places), style="bold")
    console.print(grid)
    if one.unpriced_events:
        say(f"Warning: {counted(one.unpriced_events, 'event', 'have')} no price: not in the total.", "yellow")


def _share(part: Decimal, whole: Decimal) -> str:
    return f"{part / whole:.1%}" if whole else "-"
