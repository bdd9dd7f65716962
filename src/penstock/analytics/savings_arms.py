"""What the ledger holds of a lever: its attempts by key, unit and arm, and which unit each request belongs to."""
# ruff: noqa: S608  # names of columns

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import ibis
import pyarrow as pa
from msgspec import Struct

from penstock.analytics.attempts import attempts_of
from penstock.analytics.spend import add, dimension
from penstock.ledger.moment import Moment

TAGS = ("tag:penstock.lever", "tag:penstock.key", "tag:penstock.arm", "tag:penstock.propensity", "tag:penstock.unit")
LEVER, KEY, ARM, PROPENSITY, UNIT = (f"by_{n}" for n in range(len(TAGS)))
PROOF = ("shadow", "judge")
"""Purposes of attempts that are made to prove something."""
OWN = ("classifier", "cache_probe")
"""Purposes of attempts that the lever itself needs."""

Arm = Literal["treated", "control"]


class UnitCost(Struct):
    """What one unit cost under one key of a lever."""

    arm: Arm | Literal["both", ""] = ""
    """`both`: it has changed arms, so it counts in neither; empty: no call of it was answered yet."""
    propensity: Decimal = Decimal(1)
    serving: Decimal = Decimal(0)
    lever: Decimal = Decimal(0)
    proof: Decimal = Decimal(0)
    calls: int = 0
    unpriced: int = 0


class KeyCosts(Struct):
    """All units under one key of a lever."""

    units: dict[str, UnitCost] = {}
    since: datetime | None = None
    until: datetime | None = None


def costs_of(
    source: Any, *, since: datetime | None = None, until: datetime | None = None
) -> dict[tuple[str, str], KeyCosts]:
    """Add up every attempt that a lever decided about, exactly, by lever and key."""
    if isinstance(source, Moment) and not _is_any(source, since, until):
        return {}
    events = _units(attempts_of(source, by=TAGS, since=since, until=until))
    groups = events.group_by([LEVER, KEY, ARM, PROPENSITY, "unit", "purpose"]).aggregate(
        cost=events.cost.sum(), calls=events.request_id.nunique(where=events.is_event == 1),
        unpriced=events.is_unpriced.sum(), first=events.at.min(), last=events.at.max(),
    )  # fmt: skip
    found: dict[tuple[str, str], KeyCosts] = defaultdict(KeyCosts)
    # In order: the sums are exact, but which of two arms is met first must not depend on the engine.
    for row in groups.order_by([LEVER, KEY, "unit", "first"]).to_pyarrow().to_pylist():
        costs = found[row[LEVER], row[KEY]]
        costs.since = min(costs.since or row["first"], row["first"])
        costs.until = max(costs.until or row["last"], row["last"])
        _add(costs.units.setdefault(row["unit"], UnitCost()), row)
    return dict(found)


def _is_any(moment: Moment, since: datetime | None, until: datetime | None) -> bool:
    """Whether a lever decided about anything: sums by tags know it."""
    found = moment.ask(
        f"SELECT 1 FROM facts WHERE {dimension(TAGS[0])} <> '' LIMIT 1",
        columns=("tags",), measures=("events",), since=since, until=until,
    )  # fmt: skip
    return bool(found.num_rows)


def _add(unit: UnitCost, row: dict[str, Any]) -> None:
    cost = row["cost"] or Decimal(0)
    unit.unpriced += int(row["unpriced"])
    if row["purpose"] in PROOF:
        unit.proof = add((unit.proof, cost))
        return
    if row["purpose"] in OWN:
        unit.lever = add((unit.lever, cost))
    else:
        unit.serving = add((unit.serving, cost))
        unit.calls += row["calls"] if row["purpose"] == "call" else 0
    arm = row[ARM]
    if arm in ("treated", "control") and unit.arm != arm:
        unit.arm = "both" if unit.arm else arm
        unit.propensity = _probability(row[PROPENSITY])


def _probability(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except ArithmeticError:
        return Decimal(1)
    return value if 0 < value <= 1 else Decimal(1)


def _units(events: Any) -> Any:
    """Keep what a lever decided about, and name the unit as `policies.holdout.unit_of` does."""
    chosen = events.filter(events[LEVER] != "")
    named = [chosen[UNIT], chosen.run.fill_null(""), chosen.user.fill_null("")]
    return chosen.mutate(unit=ibis.coalesce(*(one.nullif("") for one in named), chosen.request_id))


class Answered(Struct, frozen=True):
    """A request that a lever decided about."""

    lever: str
    key: str
    arm: str
    propensity: Decimal
    unit: str
    model: str
    payer: tuple[str, str]
    """The virtual key and the team that it was booked to."""
    route: str
    """What was asked for."""


def answered(
    source: Any, request_ids: Collection[str], *, since: datetime | None = None, until: datetime | None = None
) -> dict[str, Answered]:
    """Look requests up; those that no lever decided about are left out."""
    if not request_ids:
        return {}
    events = _units(attempts_of(source, by=TAGS, since=since, until=until))
    events = events.filter(events.corrects == "", events[ARM].isin(("treated", "control")))
    wanted = ibis.memtable(pa.table({"request_id": list(request_ids)}))
    columns = ("request_id", "attempt", LEVER, KEY, ARM, PROPENSITY, "unit", "model", "key", "team", "requested_model")
    rows: Iterable[dict[str, Any]] = events.semi_join(wanted, "request_id").select(*columns).to_pyarrow().to_pylist()
    return {
        row["request_id"]: Answered(
            row[LEVER], row[KEY], row[ARM], _probability(row[PROPENSITY]), row["unit"], row["model"],
            (row["key"] or "", row["team"] or ""), row["requested_model"] or row["model"],
        )
        for row in sorted(rows, key=lambda row: int(row["attempt"]))
    }  # fmt: skip
