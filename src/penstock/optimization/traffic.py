"""The traffic that findings look at: one line for each app on each model, wherever and however it is served."""
# ruff: noqa: S608  # names of columns; values are bound

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from penstock.analytics.question import EXACT, TAG, trimmed
from penstock.analytics.spend import add, check, dimension
from penstock.ledger.measures import CUT
from penstock.ledger.moment import Moment
from penstock.pricing.book import PriceRow
from penstock.pricing.usage import PRICED

SERVED = ("provider", "model", "version", "deployment_type", "region", "mode")
SHORT = Decimal("0.05")
"""The shortest prompts are those that so many of all do not exceed: one stray call decides nothing."""
HOURS = 24


class Line(Struct, frozen=True, kw_only=True):
    """An app's traffic on a model. Dollars are exact, as they were booked."""

    provider: str
    model: str
    version: str
    deployment_type: str
    region: str
    mode: str
    app: str
    events: int
    requests: int
    cost: Decimal
    usage: dict[str, int]
    """Quantities by unit of price."""
    failed: int
    """Attempts without an answer."""
    wasted: Decimal
    """What they cost all the same."""
    cut: int
    """Answers that ended because no more tokens were allowed."""
    cut_cost: Decimal
    shortest: int
    """Input tokens that 95 % of the prompts have at least; 0 where prompts are not booked one by one."""
    whole: dict[str, int]
    """Usage of the calls that were answered in one piece, and booked one by one."""
    by_hour: tuple[int, ...]
    """Those calls by their hour of the day (UTC)."""

    @property
    def input_tokens(self) -> int:
        """All tokens sent."""
        return sum(n for unit, n in self.usage.items() if unit in _INPUT)


_INPUT = ("input", "cache_read", "cache_write", "cache_write_1h")
WHOLE = ("input", "cache_read", "cache_write", "cache_write_1h", "output")


def traffic(
    moment: Moment, *, since: datetime, until: datetime, where: Sequence[tuple[str, str]] = ()
) -> list[Line]:  # fmt: skip
    """Sum up the events that began in [since, until), the most expensive line first."""
    check([name for name, _value in where], grains=())
    keys = (*SERVED, "app")
    given = [f"{dimension(name)} = ${n}" for n, (name, _value) in enumerate(where, 1)]
    listed = ", ".join(f"'{word}'" for word in CUT)
    one, failed = "corrects = ''", "outcome IN ('error', 'aborted')"
    whole = f"{one} AND NOT stream AND requests = 1 AND outcome = 'ok'"
    sums = [
        f"count(*) FILTER ({one}) AS events", "sum(requests)::VARCHAR AS requests", "sum(cost)::VARCHAR AS cost",
        f"count(*) FILTER ({one} AND {failed}) AS failed", f"(sum(cost) FILTER ({failed}))::VARCHAR AS wasted",
        f"count(*) FILTER ({one} AND finish_reason IN ({listed})) AS cut",
        f"(sum(cost) FILTER (finish_reason IN ({listed})))::VARCHAR AS cut_cost",
        f"quantile_disc(input_tokens, {SHORT}) FILTER ({one} AND requests = 1 AND outcome = 'ok') AS shortest",
        *(f'sum("{unit}")::VARCHAR AS "{unit}"' for unit in PRICED),
        *(f'(sum("{unit}") FILTER ({whole}))::VARCHAR AS "whole_{unit}"' for unit in WHOLE),
        f'histogram(hour("at")) FILTER ({whole}) AS by_hour',
    ]  # fmt: skip
    table = moment.select(
        f"SELECT {', '.join((*keys, *sums))} FROM events WHERE {' AND '.join(given) or 'true'} GROUP BY ALL",
        [value for _name, value in where],
        columns=(
            *keys, *PRICED, "cost", "corrects", "requests", "outcome", "finish_reason", "stream", "input_tokens",
            *("tags" if name.startswith(TAG) else name for name, _value in where),
        ),
        since=since, until=until,
    )  # fmt: skip
    lines = [_line(row) for row in table.to_pylist()]
    return sorted(lines, key=lambda line: (-line.cost, line.provider, line.model, line.app))


def _line(row: dict[str, Any]) -> Line:
    served: dict[str, Any] = {name: row[name] or "" for name in (*SERVED, "app")}
    by_hour = dict(row["by_hour"] or ())
    dollars: dict[str, Any] = {name: trimmed(Decimal(row[name] or 0)) for name in ("cost", "wasted", "cut_cost")}
    return Line(
        **served, **dollars,
        events=row["events"], requests=int(row["requests"] or 0), failed=row["failed"], cut=row["cut"],
        shortest=int(row["shortest"] or 0),
        usage={unit: n for unit in PRICED if (n := int(row[unit] or 0))},
        whole={unit: n for unit in WHOLE if (n := int(row[f"whole_{unit}"] or 0))},
        by_hour=tuple(by_hour.get(n, 0) for n in range(HOURS)),
    )  # fmt: skip


def priced(usage: dict[str, int], row: PriceRow) -> Decimal | None:
    """Price quantities by a row; None where it cannot price one of them.

    Cached tokens without a rate of their own cost what plain input does.
    """
    total = []
    for unit, quantity in usage.items():
        rate = row.rates.get(unit, row.rates.get("input") if unit in _INPUT else None)
        if rate is None:
            return None
        total.append(EXACT.multiply(rate, Decimal(quantity)))
    return add(total)
