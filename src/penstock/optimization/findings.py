"""What to do next: findings from own traffic, those that save most first."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from penstock.analytics.overlap import Once
from penstock.analytics.spend import Spend, spend
from penstock.ledger.moment import Moment
from penstock.optimization.finding import MONTH, Finding, Seen
from penstock.optimization.gaps import retiring, unattributed, unpriced
from penstock.optimization.levers import batch, cheaper_model, deployment, prompt_cache
from penstock.optimization.provisioned import ptu_use, worth_ptus
from penstock.optimization.traffic import traffic
from penstock.optimization.waste import cut, failed
from penstock.pricing.catalog import Catalog

__all__ = ["RULES", "Finding", "find"]

RULES: tuple[Callable[[Seen], Iterable[Finding]], ...] = (
    unpriced, failed, cut, prompt_cache, cheaper_model, batch, deployment, worth_ptus, ptu_use, retiring, unattributed,
)  # fmt: skip
"""Each yields findings of one kind. Of equal dollars, those of an earlier rule go first."""
LEAST_SHARE = Decimal("0.001")
"""Of all spend: what is about less is left out."""


def find(
    source: Moment | Once,
    catalog: Catalog | None,
    now: datetime,
    *,
    since: datetime | None = None,
    where: Sequence[tuple[str, str]] = (),
    spent: Spend | None = None,
) -> list[Finding]:
    """Look at the traffic of [since, now); without `since`, of 30 days. What saves most goes first.

    What has no price goes before all else: every other figure leaves it out. `catalog` prices what-ifs at `now`;
    without one there are none. Savings are no sum: two findings may be about the same dollars. `source` is a
    `Ledger.moment()`, or an `overlap.Once`, which counts traffic once that several sources recorded; `spent`: its
    sums of that time by team and app, not `brief`, where they are known already.
    """
    since = since or now - MONTH
    moment = source.selecting(since=since, until=now, where=where) if isinstance(source, Once) else source
    lines = traffic(moment, since=since, until=now, where=where)
    if not lines:
        return []
    spent = spent or spend(source, by=("team", "app"), since=since, until=now, where=where)
    begin, end = moment.span() or (since, now)
    span = min(now, end) - max(since, begin)
    days = max(Decimal(1), Decimal(span / timedelta(seconds=1)) / 86_400).quantize(Decimal("0.01"))
    seen = Seen(
        moment=moment, spent=spent, lines=lines, catalog=catalog and catalog.load(), since=since, until=now,
        days=days, where=tuple(where),
    )  # fmt: skip
    least = seen.monthly(sum((line.cost for line in lines), Decimal(0))) * LEAST_SHARE
    found = [one for rule in RULES for one in rule(seen) if _matters(one, least)]
    return sorted(found, key=lambda one: (one.kind != "unpriced", -(one.saving or 0), -(one.at_stake or 0)))


def _matters(one: Finding, least: Decimal) -> bool:
    amount = one.saving if one.saving is not None else one.at_stake
    return amount is None or amount > least
