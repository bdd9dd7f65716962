"""How well tokens are used: in to out, cache share, cut answers, retries, and dollars that bought no answer."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct

from penstock.analytics.attempts import group_of, sums_of
from penstock.analytics.question import trimmed
from penstock.analytics.spend import add

SUMS = (
    "events", "requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "retries", "fallbacks",
    "failed", "cut", "beside", "reused", "unpriced_events", "unpriced_tokens",
)  # fmt: skip
MONEY = ("cost", "wasted", "cut_cost", "beside_cost")


class Day(Struct, frozen=True, kw_only=True):
    """Tokens of one day (UTC)."""

    day: date
    requests: int
    tokens: int

    @property
    def tokens_per_request(self) -> Decimal | None:
        """None: no request."""
        return ratio(self.tokens, self.requests)


class Efficiency(Struct, frozen=True, kw_only=True):
    """One group, or all. Tokens are counts, money is dollars, shares are of 1 and None where there is no whole."""

    group: dict[str, str]
    events: int
    """Attempts; corrections change amounts and not this count."""
    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    """Of the output, those that nobody sees."""
    cost: Decimal
    """Without unpriced events."""
    retries: int
    """Attempts of the purpose `retry`."""
    fallbacks: int
    """Attempts at another deployment, or of a cascade's next step."""
    failed: int
    """Attempts that ended without an answer: `error`, or the client left (`aborted`)."""
    wasted: Decimal
    """What failed attempts cost all the same."""
    cut: int
    """Answers that ended because no more tokens were allowed."""
    cut_cost: Decimal
    beside: int
    """Attempts that are no answers: classifiers, judges, shadow calls, cache probes."""
    beside_cost: Decimal
    reused: int
    """Calls that a cache of whole answers answered (LiteLLM's, Helicone's): no provider was asked."""
    tokens_per_request: Decimal | None
    output_per_input: Decimal | None
    cached_share: Decimal | None
    """Of the input tokens."""
    reasoning_share: Decimal | None
    """Of the output tokens."""
    failed_share: Decimal | None
    """Of the attempts."""
    cut_share: Decimal | None
    reused_share: Decimal | None
    """Of the attempts."""
    cost_per_million: Decimal | None
    """Dollars for a million tokens that have a price, in and out."""
    unpriced_events: int
    unpriced_tokens: int
    """Tokens whose cost nobody knows: in no figure of money."""
    trend: Decimal | None
    """Tokens per request in the second half of the days against the first: 0.1 is a tenth more."""
    days: tuple[Day, ...]


def efficiency(
    source: Any,
    *,
    by: Sequence[str] = ("model",),
    since: datetime | None = None,
    until: datetime | None = None,
    where: Sequence[tuple[str, str]] = (),
) -> list[Efficiency]:
    """Return the whole first, then its groups, the most expensive first. `source` is as for `spend`.

    Days are UTC. The halves of the trend are those of the time in which there were events, the middle day belonging
    to the second one.
    """
    names = tuple(dict.fromkeys(by))
    rows = _daily(source, names, since, until, where)
    if not rows:
        return []
    first, last = (end(row["day"] for row in rows) for end in (min, max))
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(group_of(row, names).values())].append(row)
    found = [_summed(dict(zip(names, values, strict=True)), parts, first, last) for values, parts in groups.items()]
    found.sort(key=lambda one: (-one.cost, -one.input_tokens, *one.group.values()))
    return [_summed({}, rows, first, last), *found]


def _daily(
    source: Any,
    names: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    where: Sequence[tuple[str, str]],
) -> list[dict[str, Any]]:
    tokens = ("unpriced_input_tokens", "unpriced_output_tokens")
    asked = (*(name for name in SUMS if name != "unpriced_tokens"), *tokens, *MONEY)
    rows = sums_of(source, asked, by=names, daily=True, since=since, until=until, where=where)
    return [row | {"unpriced_tokens": sum(int(row[name] or 0) for name in tokens)} for row in rows]


def _summed(group: dict[str, str], rows: Sequence[dict[str, Any]], first: date, last: date) -> Efficiency:
    sums: dict[str, Any] = {name: sum(int(row[name] or 0) for row in rows) for name in SUMS}
    money: dict[str, Any] = {name: trimmed(add(row[name] for row in rows if row[name] is not None)) for name in MONEY}
    tokens = sums["input_tokens"] + sums["output_tokens"]
    by_day: dict[date, list[int]] = {first + timedelta(days=n): [0, 0] for n in range((last - first).days + 1)}
    for row in rows:
        day = by_day[row["day"]]
        day[0] += int(row["requests"])
        day[1] += int(row["input_tokens"]) + int(row["output_tokens"])
    days = tuple(Day(day=at, requests=requests, tokens=n) for at, (requests, n) in sorted(by_day.items()))
    return Efficiency(
        group=group, **sums, **money,
        tokens_per_request=ratio(tokens, sums["requests"]),
        output_per_input=ratio(sums["output_tokens"], sums["input_tokens"]),
        cached_share=ratio(sums["cached_tokens"], sums["input_tokens"]),
        reasoning_share=ratio(sums["reasoning_tokens"], sums["output_tokens"]),
        failed_share=ratio(sums["failed"], sums["events"]),
        cut_share=ratio(sums["cut"], sums["events"]),
        reused_share=ratio(sums["reused"], sums["events"]),
        cost_per_million=ratio(money["cost"] * 1_000_000, tokens - sums["unpriced_tokens"]),
        trend=_trend(days), days=days,
    )  # fmt: skip


def _trend(days: Sequence[Day]) -> Decimal | None:
    halves = days[: len(days) // 2], days[len(days) // 2 :]
    before, after = (ratio(sum(day.tokens for day in half), sum(day.requests for day in half)) for half in halves)
    return ratio(after - before, before) if before and after is not None else None


def ratio(part: Decimal | int, whole: Decimal | int) -> Decimal | None:
    """Divide, to six decimals; None where there is no whole."""
    return (Decimal(part) / Decimal(whole)).quantize(Decimal("0.000001")) if whole else None
