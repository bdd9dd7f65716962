"""Who pays what: direct costs, shares of what all use, and what nobody can be charged with. Exact to the last digit."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

from msgspec import Struct

from penstock.analytics.question import EXACT, trimmed
from penstock.analytics.shared_costs import UNTAGGED, Chargeback, SharedCost, Split, check_rules
from penstock.analytics.spend import Spend, SpendRow, add, check, spend

CENT = Decimal("0.01")
FINEST = Decimal(1).scaleb(-18)


class Share(Struct, frozen=True, kw_only=True):
    """A part of a shared cost that one has to bear."""

    pool: str
    split: Split
    share: Decimal
    """Of the pool: 0.25 is a quarter, rounded to six digits."""
    amount: Decimal
    """Dollars."""


class Statement(Struct, frozen=True, kw_only=True):
    """What one is charged, in dollars: `total` is `direct` and all shares, to the last digit."""

    name: str
    total: Decimal
    direct: Decimal
    shared: Decimal
    events: int
    lines: tuple[SpendRow, ...]
    """Direct costs in detail."""
    shares: tuple[Share, ...]
    unpriced_events: int


class Pool(Struct, frozen=True, kw_only=True):
    """One shared cost as it was found: `amount` is what was split, `unallocated` what nobody was charged with."""

    name: str
    amount: Decimal
    ledger: Decimal
    """Of the amount, what the ledger holds; the rest was given."""
    split: Split
    unallocated: Decimal
    note: str = ""


class Charged(Struct, frozen=True, kw_only=True):
    """All statements, the most expensive first. Totals and `unallocated` add up to `ledger` and `extra`."""

    statements: tuple[Statement, ...]
    pools: tuple[Pool, ...]
    total: Decimal
    ledger: Decimal
    """What the ledger holds for the period."""
    extra: Decimal
    """Amounts beside the ledger."""
    charged: Decimal
    unallocated: Decimal
    rounding: Decimal
    """With whole cents: what the ledger's total was rounded by. Zero otherwise."""
    unpriced_events: int


def chargeback(
    source: Any,
    rules: Chargeback,
    *,
    lines: Sequence[str] = ("model",),
    since: datetime | None = None,
    until: datetime | None = None,
    where: Sequence[tuple[str, str]] = (),
    cents: bool = False,
) -> Charged:
    """Charge every event of [since, until) to a value of `rules.by`, and split what is shared.

    An event belongs to the first shared cost that it matches. Splits by direct cost do not see each other's results,
    so the order of the pools does not matter for them. `lines` are the dimensions in which statements list direct
    costs. With `cents` every amount is whole cents; by the largest remainder they still add up to the rounded total.
    Raises InputError for rules that contradict themselves.
    """
    check_rules(rules)
    matched = [name for pool in rules.shared for name in pool.match]
    names = tuple(dict.fromkeys((rules.by, *lines, *matched)))
    check(names, grains=())
    found = spend(source, by=names, since=since, until=until, where=where)
    direct: dict[str, list[SpendRow]] = defaultdict(list)
    pooled: dict[str, list[SpendRow]] = defaultdict(list)
    for row in found.rows:
        pool = next((one for one in rules.shared if one.match and one.match.items() <= row.group.items()), None)
        if pool is not None:
            pooled[pool.name].append(row)
        elif owner := row.group[rules.by]:
            direct[owner].append(row)
        else:
            pooled[UNTAGGED].append(row)
    return _charged(rules, found, direct, pooled, lines=tuple(lines), unit=CENT if cents else FINEST)


def divide(amount: Decimal, weights: Mapping[str, Decimal], unit: Decimal = FINEST) -> dict[str, Decimal]:
    """Split an amount of dollars by weights, in whole units, so that the parts add up to it exactly.

    Each part is rounded down to the unit; units left over go one each to the largest remainders, of equal ones to
    the heaviest, then by name. What is finer than a unit goes to the first of them.
    """
    whole = sum((Fraction(weight) for weight in weights.values()), Fraction(0))
    ranked: list[tuple[Fraction, Decimal, str]] = []
    parts: dict[str, Decimal] = {}
    for name, weight in weights.items():
        exact = Fraction(amount) * Fraction(weight) / whole / Fraction(unit)
        parts[name] = EXACT.multiply(Decimal(exact.__floor__()), unit)
        ranked.append((exact - exact.__floor__(), weight, name))
    left = EXACT.subtract(amount, add(parts.values()))
    for _, _, name in sorted(ranked, key=lambda one: (-one[0], -one[1], one[2])):
        if left <= 0:
            break
        piece = min(unit, left)
        parts[name], left = EXACT.add(parts[name], piece), EXACT.subtract(left, piece)
    return {name: trimmed(part) for name, part in parts.items()}


def _charged(
    rules: Chargeback,
    found: Spend,
    direct: Mapping[str, Sequence[SpendRow]],
    pooled: Mapping[str, Sequence[SpendRow]],
    *,
    lines: tuple[str, ...],
    unit: Decimal,
) -> Charged:
    pools = [*rules.shared, SharedCost(name=UNTAGGED, split=rules.untagged)]
    booked = {pool.name: add(row.cost for row in pooled[pool.name]) for pool in pools}
    owed = {name: add(row.cost for row in rows) for name, rows in direct.items()}
    exact = add((found.total, *(pool.amount for pool in pools)))
    if unit == CENT:
        # All amounts at once: rounded each on its own, they would not add up to the rounded total.
        amounts = {("direct", name): cost for name, cost in owed.items()}
        amounts |= {("pool", pool.name): add((booked[pool.name], pool.amount)) for pool in pools}
        cents = _to_cents(amounts)
        owed = {name: cents["direct", name] for name in owed}
        sizes = {pool.name: cents["pool", pool.name] for pool in pools}
    else:
        sizes = {pool.name: add((booked[pool.name], pool.amount)) for pool in pools}
    shares: dict[str, list[Share]] = defaultdict(list)
    told = []
    for pool in pools:
        size = sizes[pool.name]
        if not size and not pooled[pool.name] and pool.name == UNTAGGED:
            continue
        weights, note = _weights(pool, owed)
        parts = divide(size, weights, unit) if weights and size > 0 else {}
        whole = add(weights.values()) if weights else Decimal(1)
        for name, part in parts.items():
            share = EXACT.quantize(EXACT.divide(weights[name], whole), Decimal("0.000001"))
            shares[name].append(Share(pool=pool.name, split=pool.split, share=share, amount=part))
        left = EXACT.subtract(size, add(parts.values()))
        told.append(
            Pool(
                name=pool.name, amount=trimmed(size), ledger=trimmed(booked[pool.name]), split=pool.split,
                unallocated=trimmed(left), note=note,
            )
        )  # fmt: skip
    statements = [
        _statement(name, owed.get(name, Decimal(0)), direct.get(name, ()), shares[name], lines)
        for name in dict.fromkeys((*owed, *shares))
    ]
    charged = trimmed(add(one.total for one in statements))
    unallocated = trimmed(add(pool.unallocated for pool in told))
    total = trimmed(add((charged, unallocated)))
    return Charged(
        statements=tuple(sorted(statements, key=lambda one: (-one.total, one.name))), pools=tuple(told),
        total=total, ledger=found.total, extra=trimmed(add(pool.amount for pool in pools)), charged=charged,
        unallocated=unallocated, rounding=trimmed(EXACT.subtract(total, exact)), unpriced_events=found.unpriced_events,
    )  # fmt: skip


def _statement(
    name: str, direct: Decimal, rows: Sequence[SpendRow], shares: Sequence[Share], lines: tuple[str, ...]
) -> Statement:
    grouped: dict[tuple[str, ...], list[SpendRow]] = defaultdict(list)
    for row in rows:
        grouped[tuple(row.group[line] for line in lines)].append(row)
    found = [
        SpendRow(
            group=dict(zip(lines, values, strict=True)),
            cost=trimmed(add(row.cost for row in parts)),
            **{
                count: sum(getattr(row, count) for row in parts)
                for count in SpendRow.__struct_fields__
                if count not in ("group", "cost")
            },
        )
        for values, parts in grouped.items()
    ]
    shared = add(share.amount for share in shares)
    return Statement(
        name=name, direct=trimmed(direct), shared=trimmed(shared), total=trimmed(EXACT.add(direct, shared)),
        events=sum(row.events for row in rows),
        lines=tuple(sorted(found, key=lambda row: (-row.cost, *row.group.values()))), shares=tuple(shares),
        unpriced_events=sum(row.unpriced_events for row in rows),
    )  # fmt: skip


def _weights(pool: SharedCost, owed: Mapping[str, Decimal]) -> tuple[dict[str, Decimal], str]:
    """Say who takes part in a pool, with which weights, and what is to be known about it."""
    if pool.split == "keep":
        return {}, "not split"
    if pool.split == "fixed":
        return {name: weight for name, weight in pool.weights.items() if weight}, ""
    among = {name: owed.get(name, Decimal(0)) for name in (pool.weights or owed)}
    if not among:
        return {}, "nobody to share it among"
    if pool.split == "even":
        return dict.fromkeys(among, Decimal(1)), ""
    costs = {name: cost for name, cost in among.items() if cost > 0}
    if not costs:
        return dict.fromkeys(among, Decimal(1)), "nobody has direct costs: split evenly"
    return costs, ""


def _to_cents(amounts: Mapping[tuple[str, str], Decimal]) -> dict[tuple[str, str], Decimal]:
    """Round all amounts to cents so that they add up to their rounded sum."""
    floors = {key: amount.quantize(CENT, ROUND_FLOOR, context=EXACT) for key, amount in amounts.items()}
    total = EXACT.quantize(add(amounts.values()), CENT)
    left = int(EXACT.subtract(total, add(floors.values())) / CENT)
    ranked = sorted(amounts, key=lambda key: (-(amounts[key] - floors[key]), -amounts[key], key))
    return {key: EXACT.add(floors[key], CENT if key in ranked[:left] else Decimal(0)) for key in amounts}
