"""What to do next: findings from own traffic, and the plan that people make of them."""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec import Struct, structs

from penstock.analytics.spend import SpendRow, add
from penstock.dashboard.asked import Asked
from penstock.dashboard.asked import asked as read
from penstock.dashboard.charts import ranked
from penstock.dashboard.figure import Card, Column, Figure, Row
from penstock.dashboard.figures_of import by_payer
from penstock.dashboard.followups import from_form
from penstock.dashboard.house import House
from penstock.dashboard.page import Page, Shown
from penstock.dashboard.words import exact, money
from penstock.ledger.followups import STATUSES, Followup, Followups, unfollowed
from penstock.optimization.findings import Finding, find

OPEN = ("open", "planned")
"""Statuses of findings that are still to be acted on."""
CERTAINTY = {"measured": "measured", "estimate": "estimate", "unknown": "dollars unknown"}
MARKS = {
    "unpriced": {"price_state": "unpriced"}, "failed": {"outcome": "error"}, "cut": {"finish_reason": "length"},
}  # fmt: skip
"""By what the requests of a kind of finding are found, beside its dimensions."""
BARS = 10
UNKNOWN = "–"
NOTHING = "Nothing was found in this period: no waste, no gaps, and no cheaper way at today's prices."
NO_TRAFFIC = "Nothing was booked in this period, so there is nothing to be found in it."
NOT_YET = "The traffic is being looked through. It takes some seconds; the page comes again by itself."
KEPT = 60.0
"""Seconds."""


class Followed(Struct, frozen=True, kw_only=True):
    """A finding, and what people made of it."""

    finding: Finding
    history: tuple[Followup, ...]
    """The newest first; the first one holds."""

    @property
    def now(self) -> Followup:
        """What holds."""
        return self.history[0] if self.history else unfollowed("finding", self.finding.id)


class Top(Struct, frozen=True, kw_only=True):
    """A finding as the summary tells it."""

    finding: Finding
    href: str
    """Where it stands in the action plan."""
    requests: str
    """Address of what it is about."""


def findings(house: House, asked: Asked, *, patience: float | None = None) -> list[Finding] | None:
    """Find what there is to do in a page's period; kept for a while, since it reads all of it. None: not done yet.

    `patience` is as for `House.later`.
    """
    until = min(asked.until, asked.now)

    def ask() -> list[Finding]:
        sums = by_payer(house, asked)
        return find(house.source(), house.catalog, until, since=asked.since, where=asked.where, spent=sums)

    return house.later(("findings", asked.since, asked.until, asked.where), ask, KEPT, patience=patience)


def followed(house: House, found: Sequence[Finding]) -> list[Followed]:
    """Return findings with what people made of them: first those that are still to be acted on."""
    known = Followups(house.ledger.state).by_subject("finding")
    rows = [Followed(finding=one, history=tuple(reversed(known.get(one.id, ())))) for one in found]
    return sorted(rows, key=lambda one: one.now.status not in OPEN)


def top(house: House, asked: Asked, count: int) -> list[Top] | None:
    """Return what is to be done first, of what is still to be done; None: it is not found yet."""
    listed = findings(house, asked)
    if listed is None:
        return None
    ahead = [one for one in followed(house, listed) if one.now.status in OPEN][:count]
    page = asked.to("/recommendations")
    return [
        Top(finding=one.finding, href=f"{page}#finding-{n}", requests=requests_of(asked, one.finding))
        for n, one in enumerate(ahead, 1)
    ]  # fmt: skip


def requests_of(asked: Asked, one: Finding) -> str:
    """Return the address of the requests that a finding is about."""
    return asked.narrowed("/requests", one.group, **MARKS.get(one.kind, {}))


def nothing(traffic: Sequence[SpendRow]) -> str:
    """Say why nothing was found in what was booked."""
    return NOTHING if traffic else NO_TRAFFIC


def gather(house: House, asked: Asked) -> Shown:
    """Gather the page's figures."""
    listed = findings(house, asked)
    found = followed(house, listed or ())
    return Shown(
        cards=_cards(found, is_known=listed is not None),
        figures=[_figure(found, NOT_YET if listed is None else nothing(by_payer(house, asked).rows))],
        notes=[NOT_YET] if listed is None else (),
        pending=listed is None,
        more={
            "found": found, "statuses": STATUSES["finding"], "certainties": CERTAINTY,
            "requests_of": partial(requests_of, asked),
        },
    )  # fmt: skip


def _cards(found: Sequence[Followed], *, is_known: bool) -> list[Card]:
    ahead = [one for one in found if one.now.status in OPEN]
    sums = {
        certainty: add(one.finding.saving or Decimal(0) for one in ahead if one.finding.certainty == certainty)
        for certainty in ("measured", "estimate")
    }
    gaps = sum(one.finding.saving is None for one in ahead)
    said = [money(sums["measured"]), money(sums["estimate"]), f"{len(ahead)}"] if is_known else [UNKNOWN] * 3
    return [
        Card(name="Wasted, a month", said=said[0], exact=exact(sums["measured"]) if is_known else "",
             sub="measured in the ledger"),
        Card(name="Could be saved, a month", said=said[1], exact=exact(sums["estimate"]) if is_known else "",
             sub="estimates; some are about the same dollars"),
        Card(name="To do", said=said[2],
             sub=f"{gaps} without a saving of their own · {len(found) - len(ahead)} done or dismissed"),
    ]  # fmt: skip


def _figure(found: list[Followed], empty: str) -> Figure:
    drawn = [(one.finding.title, one.finding.saving) for one in found if one.finding.saving and one.now.status in OPEN]
    return Figure(
        name="findings", title="Findings", note="Dollars for 30 days like those of this period. No sum: two findings "
        "may be about the same dollars. An estimate is usage at other prices; only a trial beside a control group "
        "proves a saving.",
        columns=(
            Column("title", "Finding", "sentence"), Column("kind", "Kind", less=True), Column("certainty", "Certainty"),
            Column("saving", "Saving", "money"), Column("at_stake", "Spent on it", "money", less=True),
            Column("effort", "Effort", less=True), Column("status", "Status"), Column("owner", "Owner", less=True),
            Column("evidence", "Evidence", hidden=True), Column("command", "Command", hidden=True),
            Column("id", "Id", hidden=True),
        ),
        rows=[
            Row(
                (
                    one.finding.title, one.finding.kind.replace("_", " "), CERTAINTY[one.finding.certainty],
                    one.finding.saving, one.finding.at_stake, one.finding.effort, one.now.status,
                    one.now.owner or None, one.finding.evidence, one.finding.command, one.finding.id,
                ),
                href=f"#finding-{n}",
            )
            for n, one in enumerate(found, 1)
        ],
        chart=ranked(
            drawn[:BARS], say=lambda amount, _places: money(amount), title="Savings a month by finding: "
            + ", ".join(f"{name} {money(amount)}" for name, amount in drawn[:BARS]),
        ) if len(drawn) > 1 else None,
        open=True, shown=40,
        empty=empty,
    )  # fmt: skip


def act(house: House, form: dict[str, str], who: str) -> str:
    """Keep what a form says of a finding."""
    from_form(house, "finding", form, who)
    return form.get("next", "/recommendations")


def get_recommendations(house: House, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `GET /api/recommendations`: the document of `penstock recommend --json`, with what people made of it."""
    question = read("/api/recommendations", fields, house.now())
    until = min(question.until, question.now)
    found = find(house.source(), house.catalog, until, since=question.since, where=question.where)
    rows = [
        structs.asdict(one.finding)
        | {"status": one.now.status, "owner": one.now.owner, "note": one.now.note if one.history else ""}
        for one in followed(house, found)
    ]
    return {"from": question.since, "to": until, "findings": rows}


PAGE = Page(
    path="/recommendations", name="Recommendations", group="Improve", gather=gather, act=act,
    template="recommendations.html",
    lead="What to do next, found in your own traffic: what it is worth, what was seen, and the command to go on with.",
)  # fmt: skip
