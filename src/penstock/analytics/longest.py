"""The requests that sent most: where long prompts come from."""
# ruff: noqa: S608  # names of columns; values are bound

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct

from penstock.analytics.question import TAG, trimmed
from penstock.analytics.spend import check, given
from penstock.ledger.moment import Moment

FIELDS = (
    "request_id", "at", "provider", "model", "team", "app", "feature", "input_tokens", "cache_read", "output_tokens",
    "cost",
)  # fmt: skip


class Prompt(Struct, frozen=True, kw_only=True):
    """One attempt. `cost` is None where it had no price when it was booked."""

    request_id: str
    at: datetime
    provider: str
    model: str
    team: str
    app: str
    feature: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: Decimal | None


def longest_prompts(
    moment: Moment,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    where: Sequence[tuple[str, str]] = (),
    limit: int = 20,
) -> list[Prompt]:
    """Return the attempts with the most input tokens; imported aggregates of many requests are none."""
    check([name for name, _value in where], grains=())
    listed = ", ".join(f'"{name}"' for name in FIELDS)
    found = moment.select(
        f"SELECT {listed} FROM events WHERE corrects = '' AND requests = 1 AND input_tokens > 0 AND {given(where)} "
        f'ORDER BY input_tokens DESC, "at", request_id LIMIT {limit:d}',
        [value for _name, value in where],
        columns=(*FIELDS, "corrects", "requests", *("tags" if n.startswith(TAG) else n for n, _ in where)),
        since=since, until=until,
    )  # fmt: skip
    return [
        Prompt(
            at=row.pop("at").replace(tzinfo=UTC), cached_tokens=row.pop("cache_read"),
            cost=None if (cost := row.pop("cost")) is None else trimmed(cost), **row,
        )
        for row in found.to_pylist()
    ]  # fmt: skip
