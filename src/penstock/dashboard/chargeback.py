"""Who pays what: direct costs, shares of what all use, and what nobody can be charged with."""

from collections.abc import Sequence
from decimal import Decimal

from msgspec.structs import replace

from penstock.analytics.chargeback import Charged, chargeback
from penstock.analytics.question import trimmed
from penstock.analytics.shared_costs import Chargeback
from penstock.analytics.spend import SpendRow, add
from penstock.dashboard.asked import NONE, Asked
from penstock.dashboard.charts import ranked
from penstock.dashboard.figure import SHOWN, Card, Column, Figure, Row
from penstock.dashboard.figures_of import BARS, FEW_SECONDS, by, per_day, spent, summed
from penstock.dashboard.house import House
from penstock.dashboard.page import Field, Page, Shown
from penstock.dashboard.words import exact, money, share

PAYERS = ("team", "app", "feature", "user", "key")
UNTAGGED = (
    ("keep", "shown apart"),
    ("proportional", "shared by direct cost"),
    ("even", "shared evenly"),
)
OWNERS = ("team", "app", "feature")


def rules_of(house: House, asked: Asked) -> Chargeback:
    """Return the rules of the settings, with what the address changes in them."""
    rules: Chargeback = house.info.get("chargeback") or Chargeback()
    payer = asked.own("payer", (rules.by, *(name for name in PAYERS if name != rules.by)))
    untagged = asked.own("untagged", (rules.untagged, "keep", "proportional", "even"))
    return replace(rules, by=payer, untagged=untagged)


def charged_by(house: House, asked: Asked, rules: Chargeback, lines: Sequence[str] = ("model",)) -> Charged:
    """Charge the page's period."""
    moment = house.source()
    return chargeback(moment, rules, lines=lines, since=asked.since, until=asked.until, where=asked.where)


def gather(house: House, asked: Asked) -> Shown:
    """Gather the page's figures."""
    rules = rules_of(house, asked)
    found = charged_by(house, asked, rules)
    owned = spent(house, asked, ("provider", "model", *OWNERS), seconds=FEW_SECONDS).rows
    daily = spent(house, asked, ("day", rules.by), seconds=FEW_SECONDS).rows
    users = spent(house, asked, ("user",), seconds=FEW_SECONDS).rows
    untagged = next((pool for pool in found.pools if pool.name == "untagged"), None)
    missing = untagged.ledger if untagged else Decimal(0)
    return Shown(
        cards=[
            Card(
                name="Charged", said=money(found.charged), exact=exact(found.charged),
                sub=f"to {_counted(len(found.statements), rules.by)}",
            ),
            Card(
                name="Shared costs", said=money(shared := add(one.shared for one in found.statements)),
                exact=exact(shared), sub=f"split from {_counted(len(rules.shared), 'pool')}",
            ),
            Card(
                name=f"Without a {rules.by}", said=share(missing, found.ledger), exact=exact(missing),
                sub=f"{money(missing)} of {money(found.ledger)}", tone="warn" if missing else "",
                href=asked.to("/requests", **{rules.by: NONE}) if missing else "",
            ),
            Card(
                name="Charged to nobody", said=money(found.unallocated), exact=exact(found.unallocated),
                sub="with the charged part it adds up to the ledger, exactly",
            ),
        ],
        figures=[
            _statements(asked, rules, found),
            per_day(asked, daily, rules.by, title=f"Spend per day, by {rules.by}"),
            _pools(found),
            *(by(asked, (name,), summed(owned, (name,)), title=f"By {name}") for name in OWNERS),
            by(asked, ("user",), users, title="By user"),
            _coverage(asked, owned, users),
        ],
        unpriced=[row for row in summed(owned, ("provider", "model")) if row.unpriced_events],
    )  # fmt: skip


def _statements(asked: Asked, rules: Chargeback, found: Charged) -> Figure:
    rule = {name: asked.fields[name] for name in ("payer", "untagged") if name in asked.fields}
    drawn = [(one.name, one.total) for one in found.statements if one.total][:BARS]
    return Figure(
        name="statements", title=f"Statements, by {rules.by}", open=True,
        note="Each name leads to its statement, to print or as PDF.",
        columns=(
            Column(rules.by, rules.by.capitalize()), Column("events", "Events", "count", less=True),
            Column("direct", "Direct", "money"), Column("shared", "Shared", "money"),
            Column("total", "Total", "money", bar=True), Column("share", "Of all", "share", less=True),
            Column("unpriced_events", "Unpriced", "count", hidden=True),
        ),
        rows=[
            Row(
                (
                    one.name, one.events, one.direct, one.shared, one.total,
                    one.total / found.charged if found.charged else None, one.unpriced_events,
                ),
                href=asked.to("/chargeback/statement", name=one.name, **rule) if n < SHOWN else "",
                badge=f"{one.unpriced_events:,} unpriced" if one.unpriced_events else "",
            )
            for n, one in enumerate(found.statements)
        ],
        total=("All", sum(one.events for one in found.statements), *_sums(found), "", "")
        if found.statements else (),
        chart=ranked(drawn, title=f"Charged by {rules.by}, {asked.label}: {money(found.charged)} in all.")
        if len(drawn) > 1 else None,
        empty=f"Nobody can be charged: no event of this period names a {rules.by}. Keys carry it, or the header "
        f"x-penstock-{rules.by}.",
    )  # fmt: skip


def _sums(found: Charged) -> tuple[Decimal, Decimal, Decimal]:
    direct, shared = (trimmed(add(getattr(one, name) for one in found.statements)) for name in ("direct", "shared"))
    return direct, shared, found.charged


def _pools(found: Charged) -> Figure:
    return Figure(
        name="shared-costs", title="Shared costs, and what has no payer",
        columns=(
            Column("pool", "Pool"), Column("split", "Split"), Column("amount", "Amount", "money"),
            Column("ledger", "Of the ledger", "money", less=True), Column("unallocated", "Charged to nobody", "money"),
            Column("note", "Note", less=True),
        ),
        rows=[
            Row((pool.name, pool.split, pool.amount, pool.ledger, pool.unallocated, pool.note or "–"))
            for pool in found.pools
        ],
        empty="Everything has a payer, and nothing is shared. Shared costs (a PTU commitment, a platform's fee) are "
        "named in [[chargeback.shared]] of penstock.toml.",
    )  # fmt: skip


def _coverage(asked: Asked, owned: Sequence[SpendRow], users: Sequence[SpendRow]) -> Figure:
    total = add(row.cost for row in owned)
    rows = []
    for name in (*OWNERS, "user"):
        lacking = [row for row in (users if name == "user" else owned) if not row.group[name]]
        cost = add(row.cost for row in lacking)
        rows.append(
            Row(
                (name, total - cost, cost, cost / total if total else None, sum(row.requests for row in lacking)),
                href=asked.to("/requests", **{name: NONE}) if lacking else "",
            )
        )
    return Figure(
        name="untagged", title="What is not attributed", half=True,
        note="Keys carry team and app; the headers x-penstock-team, -app, -feature and -user say it call by call.",
        columns=(
            Column("dimension", "Dimension"), Column("attributed", "Attributed", "money"),
            Column("untagged", "Untagged", "money"), Column("untagged_share", "Share", "share"),
            Column("requests", "Requests", "count", less=True),
        ),
        rows=rows if owned else (),
    )  # fmt: skip


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


PAGE = Page(
    path="/chargeback", name="Chargeback", group="Spend", gather=gather, own=("payer", "untagged"),
    lead="Who pays what: every dollar of the ledger is charged to somebody, or shown as charged to nobody.",
    fields=(
        Field("payer", "Charge by", tuple((name, name) for name in PAYERS), blank=False),
        Field("untagged", "Untagged spend", UNTAGGED, blank=False),
    ),
)  # fmt: skip
