"""What one finding says, and what all of them are found in."""

import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from penstock.analytics.question import EXACT
from penstock.analytics.spend import Spend
from penstock.ledger.moment import Moment
from penstock.optimization.traffic import Line
from penstock.pricing.book import PriceKey, PriceRow
from penstock.pricing.catalog import Catalog

Kind = Literal[
    "unpriced", "retiring", "unattributed", "failed", "cut", "prompt_cache", "batch", "cheaper_model", "deployment",
    "ptu", "ptu_use",
]  # fmt: skip
Certainty = Literal["measured", "estimate", "unknown"]
Effort = Literal["low", "medium", "high"]
MONTH = timedelta(days=30)
CENTS = Decimal("0.01")


class Finding(Struct, frozen=True, kw_only=True):
    """Something worth doing. Dollars are for 30 days like those that were looked at."""

    id: str
    """The same for as long as it is about the same thing: `prompt_cache:openai:gpt-4o:helpdesk`."""
    kind: Kind
    title: str
    saving: Decimal | None
    """None: it saves nothing by itself, or nobody knows how much."""
    at_stake: Decimal | None
    """What is spent on what it is about; None: unknown."""
    certainty: Certainty
    """`measured`: the ledger's own dollars; `estimate`: usage at other prices; `unknown`: no dollars are known."""
    evidence: str
    """What was seen, in figures."""
    effort: Effort
    next: str
    """What to do, in a sentence."""
    command: str
    """What to run next."""
    group: dict[str, str]
    """Dimensions that its requests have."""


class Seen(Struct, frozen=True, kw_only=True):
    """What findings look at: the traffic of a time, and the prices in force at its end."""

    moment: Moment
    """For questions by `Moment.select`."""
    spent: Spend
    """By team and app."""
    lines: Sequence[Line]
    catalog: Catalog | None
    since: datetime
    until: datetime
    days: Decimal
    """Days with traffic, from the first one on: what figures of a month are scaled by."""
    where: tuple[tuple[str, str], ...] = ()

    def monthly(self, amount: Decimal) -> Decimal:
        """Scale dollars of the time to 30 days, to cents."""
        return EXACT.divide(EXACT.multiply(amount, Decimal(30)), self.days).quantize(CENTS, context=EXACT)

    def row(self, line: Line, **changes: str) -> PriceRow | None:
        """Return the price in force for a line served as it is, or otherwise; None: there is none by the token."""
        if self.catalog is None:
            return None
        wanted = {name: getattr(line, name) for name in _KEY} | changes
        each = line.input_tokens // line.requests if line.requests > 0 else 0
        found = self.catalog.row(PriceKey(**wanted), self.until, each)
        return found if found is not None and not found.flat_rate and not found.free and found.rates else None


_KEY = ("provider", "model", "version", "deployment_type", "region", "mode")


def named(kind: Kind, group: dict[str, str]) -> str:
    """Make a finding's id."""
    return ":".join((kind, *(value or "(none)" for value in group.values())))


def command(*words: str | int) -> str:
    """Write a command that a shell takes as it is meant, whatever signs names have."""
    return " ".join(shlex.quote(str(word)) for word in ("penstock", *words))


def per_cent(part: Decimal | int, whole: Decimal | int) -> str:
    """Write a share for a sentence."""
    if not whole:
        return "0 %"
    share = Decimal(part) * 100 / Decimal(whole)
    return "under 1 %" if 0 < share < 1 else f"{share:.0f} %"


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Add exactly."""
    found = Decimal(0)
    for amount in amounts:
        found = EXACT.add(found, amount)
    return found


def workload(seen: Seen, lines: Sequence[Line]) -> tuple[str, ...]:
    """Write traffic as a calculator takes it: requests a day, tokens in and out of one."""
    requests = sum(line.requests for line in lines)
    sent = sum(line.input_tokens for line in lines)
    received = sum(line.usage.get("output", 0) for line in lines)
    each = max(1, requests)
    return (
        "--requests-per-day", str(max(1, round(requests / seen.days))),
        "--input-tokens", str(round(sent / each)), "--output-tokens", str(round(received / each)),
    )  # fmt: skip
