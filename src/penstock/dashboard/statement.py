"""One payer's statement of a period: on paper, as PDF, as CSV."""

from decimal import Decimal

from msgspec import Struct

from penstock.analytics.chargeback import Statement
from penstock.dashboard.asked import Asked
from penstock.dashboard.chargeback import charged_by, rules_of
from penstock.dashboard.figure import Card, Column, Figure, Row
from penstock.dashboard.house import House, NotFoundError
from penstock.dashboard.page import Page, Shown
from penstock.dashboard.words import exact, money, share, stamp
from penstock.errors import InputError

LINES = ("app", "model", "feature")


class Bill(Struct, frozen=True, kw_only=True):
    """What a statement says, whatever it is printed on."""

    payer: str
    """The dimension that is charged."""
    statement: Statement
    lines: Figure
    shares: Figure


def bill(house: House, asked: Asked) -> Bill:
    """Make out the statement that the address names."""
    rules = rules_of(house, asked)
    name = asked.fields.get("name")
    if name is None:
        raise InputError(f"Say whose statement it shall be: /chargeback/statement?name=... (a {rules.by}).")
    found = charged_by(house, asked, rules, tuple(line for line in LINES if line != rules.by))
    one = next((one for one in found.statements if one.name == name), None)
    if one is None:
        raise NotFoundError(f"Nothing is charged to the {rules.by} {name[:200]!r} in this period ({asked.label}).")
    return Bill(payer=rules.by, statement=one, lines=_lines(asked, rules.by, one), shares=_shares(one))


def gather(house: House, asked: Asked) -> Shown:
    """Gather the page."""
    made = bill(house, asked)
    one = made.statement
    return Shown(
        cards=[
            Card(name="To pay", said=money(one.total), exact=exact(one.total), sub=f"exactly {exact(one.total)}"),
            Card(name="Direct", said=money(one.direct), exact=exact(one.direct), sub=f"{one.events:,} events"),
            Card(
                name="Shared costs", said=money(one.shared), exact=exact(one.shared),
                sub=f"{len(one.shares)} share{'' if len(one.shares) == 1 else 's'}",
            ),
        ],
        figures=[made.lines, made.shares],
        notes=(
            [f"Events without a price yet, which are not charged: {one.unpriced_events:,}."]
            if one.unpriced_events else ()
        ),
        more={
            "made": made, "period": (asked.since, asked.until), "written": stamp(asked.now),
            "pdf": asked.link().replace("/chargeback/statement", "/chargeback/statement.pdf", 1),
        },
    )  # fmt: skip


def _lines(asked: Asked, payer: str, one: Statement) -> Figure:
    names = tuple(one.lines[0].group) if one.lines else LINES
    return Figure(
        name="lines", title="Direct costs",
        columns=(
            *(Column(name, name.capitalize()) for name in names), Column("requests", "Requests", "count"),
            Column("input_tokens", "Input", "count", less=True), Column("output_tokens", "Output", "count", less=True),
            Column("cost", "Cost", "exact"), Column("unpriced_events", "Unpriced", "count", hidden=True),
        ),
        rows=[
            Row(
                (
                    *row.group.values(), row.requests, row.input_tokens, row.output_tokens,
                    None if row.unpriced_events and not row.cost else row.cost, row.unpriced_events,
                ),
                href=asked.narrowed("/requests", {payer: one.name} | row.group),
            )
            for row in one.lines
        ],
        total=("Direct", *[""] * (len(names) + 2), one.direct, "") if one.lines else (),
        empty="No cost of its own in this period.", shown=500,
    )  # fmt: skip


def _shares(one: Statement) -> Figure:
    return Figure(
        name="shares", title="Shares of what all use",
        columns=(
            Column("pool", "Pool"), Column("split", "Split"), Column("share", "Share", "share"),
            Column("amount", "Amount", "exact"),
        ),
        rows=[Row((part.pool, part.split, part.share, part.amount)) for part in one.shares],
        total=("Shared", "", "", one.shared) if one.shares else (), empty="No shared cost falls to it.", shown=500,
    )  # fmt: skip


def said_of(value: Decimal | str | int | None, kind: str) -> str:
    """Write a cell of a statement on paper."""
    match value:
        case None:
            return "unknown"
        case Decimal() if kind == "share":
            return share(value, 1)
        case Decimal():
            return exact(value)
        case int():
            return f"{value:,}"
    return str(value)


PAGE = Page(
    path="/chargeback/statement", name="Statement", group="Spend", gather=gather, template="statement.html",
    own=("name", "payer", "untagged"), filters=False, listed=False,
)  # fmt: skip
