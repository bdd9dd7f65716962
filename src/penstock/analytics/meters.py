"""Which lines of a bill and which part of the ledger are the same meter, though neither names it as the other does."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

from penstock.analytics.bill import BillLine, name_of

LEVELS: dict[str, tuple[tuple[str, ...], ...]] = {
    "focus": (("version", "deployment_type", "mode"), ("deployment_type", "mode"), ("mode",)),
    "openai_costs": (("version",), ()),
    "anthropic_costs": (("version", "mode"), ("mode",)),
}
"""What must be the same beside provider, model and kind of token: first all that a kind of bill says, then less."""
NAMES = 3
"""Meters that are named where several cannot be told apart."""


class Slice(Struct, frozen=True, kw_only=True):
    """What the ledger holds of one kind of token on one day. Dollars."""

    day: date
    provider: str
    model: str
    version: str
    deployment_type: str
    mode: str
    unit: str
    """The bucket of usage; empty: dollars that no bucket accounts for."""
    priced: int
    """How many have a price."""
    unpriced: int
    cost: Decimal

    @property
    def rate(self) -> Fraction | None:
        """Dollars for one of those that have a price."""
        return Fraction(self.cost) / self.priced if self.priced else None


class Meter(Struct, frozen=True, kw_only=True):
    """Lines and slices that are of one meter; one of the two may be missing."""

    name: str
    lines: tuple[BillLine, ...]
    slices: tuple[Slice, ...]

    @property
    def provider(self) -> str:
        """Who sells it."""
        return self.lines[0].provider if self.lines else self.slices[0].provider

    @property
    def days(self) -> list[date]:
        """The days of either, in order."""
        return sorted({line.day for line in self.lines} | {one.day for one in self.slices})


def matched(lines: Iterable[BillLine], slices: Iterable[Slice], format_: str) -> list[Meter]:
    """Put lines and slices of one meter together.

    Whoever finds no partner where version, deployment type and mode are the same looks for one where less is. So a
    slice whose version nobody noted goes to the meter of its model; where that has several meters, they become one.
    """
    groups = _whole_lines(list(lines), list(slices))
    for level in LEVELS.get(format_, LEVELS["focus"]):
        by_key: dict[tuple[str, ...], list[_Group]] = defaultdict(list)
        for group in groups:
            for key in group.keys(level):
                by_key[key].append(group)
        for some in by_key.values():
            found = list({id(group.head): group.head for group in some}.values())
            lonely = [group for group in found if not (group.lines and group.slices)]
            is_pair = any(group.lines for group in found) and any(group.slices for group in found)
            if lonely and is_pair and found[0].unit_is_known:
                for other in found[1:]:
                    found[0].take(other)
        groups = list({id(group.head): group.head for group in groups}.values())
    return [Meter(name=group.name, lines=tuple(group.lines), slices=tuple(group.slices)) for group in groups]


class _Group:
    """Lines and slices that are one meter so far."""

    def __init__(self, lines: Sequence[BillLine] = (), slices: Sequence[Slice] = ()) -> None:
        self.lines, self.slices = list(lines), list(slices)
        self.into: _Group | None = None

    @property
    def head(self) -> "_Group":
        """The group that this one became part of."""
        return self if self.into is None else self.into.head

    @property
    def every(self) -> list[BillLine | Slice]:
        return [*self.lines, *self.slices]

    def take(self, other: "_Group") -> None:
        if other is not self:
            self.lines += other.lines
            self.slices += other.slices
            other.into = self

    def keys(self, level: Sequence[str]) -> set[tuple[str, ...]]:
        """Return how it is called where only `level` counts."""
        names = ("provider", "model", "unit", *level)
        return {tuple(getattr(one, name) for name in names) for one in self.every}

    @property
    def unit_is_known(self) -> bool:
        return all(one.unit not in ("", "*") for one in self.every)

    @property
    def name(self) -> str:
        names = list(dict.fromkeys(line.meter for line in self.lines))
        if not names:
            names = list(
                dict.fromkeys(
                    name_of(one.model, one.version, one.deployment_type, one.mode, one.unit) for one in self.slices
                )
            )
        more = [f"{len(names) - NAMES} more"] if len(names) > NAMES else []
        return " + ".join((*names[:NAMES], *more))


def _whole_lines(lines: Sequence[BillLine], slices: Sequence[Slice]) -> list[_Group]:
    """Start with one group for each name; a line for all models of a provider takes what the ledger has of it."""
    groups: dict[tuple[str, ...], _Group] = defaultdict(_Group)
    whole = {line.provider for line in lines if line.unit == "*"}
    names = ("provider", "model", "unit", "version", "deployment_type", "mode")
    for line in lines:
        key = tuple(getattr(line, name) for name in names)
        # Two meters may say the same of themselves: long and short contexts. The ledger cannot tell them apart.
        groups[(line.provider,) if line.provider in whole else key if line.unit else ("", line.meter)].lines.append(
            line
        )
    for one in slices:
        key = tuple(getattr(one, name) for name in names)
        groups[(one.provider,) if one.provider in whole else key].slices.append(one)
    return list(groups.values())
