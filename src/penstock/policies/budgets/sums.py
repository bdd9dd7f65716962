"""What the ledger says every counter should be: counters are derived, and can be made anew at any time."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import ibis

from penstock.ledger.store import Ledger
from penstock.policies.budgets.counters import atto
from penstock.policies.budgets.rules import Rule, Rules
from penstock.policies.budgets.scopes import BETWEEN


def ledger_sums(
    ledger: Ledger, rules: Rules, *, now: datetime, cut: datetime | None = None
) -> dict[str, tuple[int, int]]:
    """Return counter -> (atto-dollars, when it is forgotten) for the windows that hold `now`.

    Of everything in the ledger, whichever door it came through; with `cut`, of what was recorded before it.
    """
    found: dict[str, tuple[int, int]] = {}
    for budget in rules.budgets:
        rule = Rule(budget)
        window = rule.window(now)
        table = ledger.table(since=window.start if window.end else None)
        for amount, labels, value in _grouped(table, rule, cut, since=window.start if window.end else None):
            label = labels if window.piece else window.label
            found[f"{rule.id}/{label}/{value}"] = amount, window.forgotten
    return found


def _grouped(table: Any, rule: Rule, cut: datetime | None, since: datetime | None) -> Iterable[tuple[int, str, str]]:
    """Yield (amount, piece, value) for each counter of a rule; amounts are exact."""
    kept = [table.cost.notnull()]
    if since is not None:
        kept.append(table.at >= _naive(since))
    if cut is not None:
        kept.append(table.recorded_at < _naive(cut))
    kept += [table[name] == value for name, value in rule.scope.fixed]
    if "run" in rule.scope.each:
        kept.append(table.run != "")
    names = [f"by_{n}" for n in range(len(rule.scope.each))]
    events = table.filter(*kept).mutate(
        **{name: table[dimension] for name, dimension in zip(names, rule.scope.each, strict=True)}
    )
    window = rule.window(datetime.now(UTC))
    if window.piece:
        events = events.mutate(piece=events.at.epoch_seconds() // window.piece)
        names = [*names, "piece"]
    sums = events.aggregate(by=names, cost=events.cost.sum())
    for row in sums.to_pyarrow().to_pylist():
        if row["cost"]:
            values = [row[name] or "" for name in names if name != "piece"]
            yield atto(row["cost"]), str(row.get("piece", "")), BETWEEN.join(values)


def _naive(at: datetime) -> Any:
    return ibis.timestamp(at.astimezone(UTC).replace(tzinfo=None).isoformat())
