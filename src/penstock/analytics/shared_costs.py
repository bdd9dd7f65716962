"""Who is charged, and what is shared: the rules of a chargeback, as `penstock.toml` has them."""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from penstock.errors import InputError

Split = Literal["proportional", "even", "fixed", "keep"]
"""By direct cost; the same for each; by weights; not at all."""
UNTAGGED = "untagged"


class SharedCost(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[chargeback.shared]]`: a cost that several share, and how it is split."""

    name: str
    match: dict[str, str] = {}
    """Dimensions and their values: spend in the ledger that has all of them is shared."""
    amount: Decimal = Decimal(0)
    """Dollars beside the ledger for the period asked: a PTU commitment, a platform's fee."""
    split: Split = "proportional"
    weights: dict[str, Decimal] = {}
    """Name -> weight, for `fixed`; with another split, only those named here take part."""


class Chargeback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[chargeback]`: who is charged, and what is shared."""

    by: str = "team"
    """The dimension whose values are charged."""
    untagged: Split = "keep"
    """What happens to spend without that dimension."""
    shared: tuple[SharedCost, ...] = ()


def check_rules(rules: Chargeback) -> None:
    """Refuse rules that contradict themselves."""
    if rules.by in ("hour", "day", "week", "month"):
        raise InputError(f"Time cannot be charged: {rules.by!r} is no payer. Use team, app, key, tag:NAME, ...")
    seen = {UNTAGGED}
    if rules.untagged == "fixed":
        raise InputError("Untagged spend has no weights: split it proportional or even, or keep it")
    for pool in rules.shared:
        if pool.name in seen:
            raise InputError(f"There are two shared costs of the name {pool.name!r}: give each its own")
        seen.add(pool.name)
        if not pool.match and not pool.amount:
            raise InputError(f"The shared cost {pool.name!r} has neither a match in the ledger nor an amount")
        if pool.amount < 0 or any(weight < 0 for weight in pool.weights.values()):
            raise InputError(f"The shared cost {pool.name!r} has an amount or a weight below zero")
        if pool.split == "fixed" and not any(pool.weights.values()):
            raise InputError(f"The shared cost {pool.name!r} is split by fixed weights: name some, as in red=2,blue=1")
        if (shared := pool.match.get(rules.by)) and shared in pool.weights:
            raise InputError(f"{shared!r} is shared as {pool.name!r} and cannot have a weight in it")
