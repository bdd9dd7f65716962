"""What keeps a bill from being known, or from going on: no price, no payer, no future."""

from collections.abc import Iterator
from datetime import UTC, timedelta
from decimal import Decimal

from penstock.analytics.spend import add
from penstock.optimization.finding import Finding, Seen, command, named, per_cent, workload
from penstock.pricing.lifecycle import retirement

SOON = timedelta(days=180)
"""A model that retires sooner than this wants a successor."""
RATES = "--input DOLLARS --output DOLLARS"
"""To be filled in: a price that nobody gave is never suggested."""
MOST_UNATTRIBUTED = Decimal("0.05")
"""Share of spend without a team that is worth a word."""


def unpriced(seen: Seen) -> Iterator[Finding]:
    """Find models whose cost nobody knows."""
    for one in seen.spent.unpriced:
        group = {"provider": one.provider, "model": one.model}
        yield Finding(
            id=named("unpriced", group), kind="unpriced", title=f"{one.model or 'A model'} has no price",
            saving=None, at_stake=None, certainty="unknown",
            evidence=f"{one.events:,} event{' has' if one.events == 1 else 's have'} no price "
            f"({one.input_tokens:,} tokens in and {one.output_tokens:,} out): what was spent is unknown, and every sum "
            "leaves it out.",
            effort="low", next="Give the model a price, then price its events again.",
            command=f"{command('prices', 'set', one.model, '--provider', one.provider)} {RATES}",
            group=group,
        )  # fmt: skip


def unattributed(seen: Seen) -> Iterator[Finding]:
    """Find spend that no team answers for."""
    rows = seen.spent.rows
    nobody = [row for row in rows if not row.group["team"]]
    whole, theirs = add(row.cost for row in rows), add(row.cost for row in nobody)
    if not whole or theirs < whole * MOST_UNATTRIBUTED:
        return
    apps = ", ".join(row.group["app"] or "no app" for row in nobody[:3])
    yield Finding(
        id="unattributed", kind="unattributed", title="Spend that no team answers for", saving=None,
        at_stake=seen.monthly(theirs), certainty="measured",
        evidence=f"${theirs:,.2f} ({per_cent(theirs, whole)} of all) has no team: most of it {apps}.",
        effort="low", next="Give each app a key of its own that names its team.",
        command=command("keys", "create", "NAME", "--team", "TEAM", "--app", "APP"), group={"team": ""},
    )  # fmt: skip


def retiring(seen: Seen) -> Iterator[Finding]:
    """Find models in use that will soon no longer answer, or that have retired already."""
    told = set()
    today = seen.until.astimezone(UTC).date()
    for line in seen.lines:
        known = retirement(line.provider, line.model, line.version)
        name = (line.provider, line.model, line.version if known and known.version else "")
        if known is None or known.retires > today + SOON or name in told:
            continue
        told.add(name)
        some = [
            one
            for one in seen.lines
            if (one.provider, one.model) == name[:2] and (not name[2] or one.version == name[2])
        ]
        cost = add(one.cost for one in some)
        group = {"provider": line.provider, "model": line.model}
        spelled = f"{line.model} {name[2]}".strip()
        left = (known.retires - today).days
        when = f"retires in {left} days" if left > 0 else "has retired"
        apps = ", ".join(sorted({one.app or "no app" for one in some})[:5])
        yield Finding(
            id=named("retiring", group | ({"version": name[2]} if name[2] else {})), kind="retiring",
            title=f"{spelled} {when}", saving=None, at_stake=seen.monthly(cost), certainty="measured",
            evidence=f"It retires on {known.retires} ({known.source}). "
            f"{sum(one.requests for one in some):,} requests of {apps} depend on it.",
            effort="high", next="Choose a successor, and try it on your own prompts before that day.",
            command=command("plan", "month", "--provider", line.provider, "--model", line.model, *workload(seen, some)),
            group=group,
        )  # fmt: skip
