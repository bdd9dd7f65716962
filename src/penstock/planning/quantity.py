"""What a number of a plan means: its unit and its bounds, read by the checks, the command line and the forms."""

import dataclasses
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from penstock.errors import PlanError


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a field and the bounds it must keep; None: no bound."""

    name: str
    low: Decimal | None = None
    high: Decimal | None = None


_ZERO, _ONE = Decimal(0), Decimal(1)
Dollars = Annotated[Decimal, Unit("$", _ZERO)]
Balance = Annotated[Decimal, Unit("$")]
"""Dollars that may be negative: a saving that is a loss."""
Rate = Annotated[Decimal, Unit("rate", _ZERO)]
"""Dollars for one unit, as the price list has them: never rounded to cents."""
Share = Annotated[Decimal, Unit("%", _ZERO, _ONE)]
"""A part of a whole: 0.25 or 25%."""
Growth = Annotated[Decimal, Unit("%", Decimal(-1))]
"""A change: 0.1 is 10 % more, -0.1 is 10 % less; may exceed one."""
Saved = Annotated[Decimal, Unit("%")]
"""A part that is saved; below zero it is lost, and that may be more than there was."""
Ratio = Annotated[Decimal, Unit("x", _ZERO)]
Amount = Annotated[Decimal, Unit("", _ZERO)]
Hours = Annotated[Decimal, Unit("h", _ZERO)]
Months = Annotated[Decimal, Unit("months", _ZERO)]
Minutes = Annotated[Decimal, Unit("min", _ZERO)]
Gigabytes = Annotated[Decimal, Unit("GB", _ZERO)]
Tokens = Annotated[int, Unit("tokens", _ZERO)]
Count = Annotated[int, Unit("", _ZERO)]
AtLeastOne = Annotated[int, Unit("", _ONE)]
Days = Annotated[int, Unit("days", _ONE, Decimal(366))]
Horizon = Annotated[int, Unit("months", _ONE, Decimal(600))]
"""Months to look ahead: fifty years are enough."""
Runs = Annotated[int, Unit("", _ONE, Decimal(1_000_000))]

LARGEST = Decimal(10) ** 15
"""No input is larger: sums stay within the digits that money keeps."""

MONTH_DAYS = 30
"""Days of a month in token formulas: the guide's convention (section 7.2)."""
MONTH_HOURS = 730
"""Hours of a month for what is billed by the hour (PTU, VMs): the convention of Azure's price pages, 8,760 / 12."""
MONTH_MINUTES = MONTH_HOURS * 60


@cache
def units(shape: Any) -> dict[str, Unit]:
    """Return the unit of each field of a dataclass that has one; of `X | None` and `tuple[X, ...]` that of X."""
    found = {}
    for name, hint in get_type_hints(shape, include_extras=True).items():
        for part in (hint, *get_args(hint)):
            if unit := next((meta for meta in getattr(part, "__metadata__", ()) if isinstance(meta, Unit)), None):
                found[name] = unit
                break
    return found


@cache
def choices(shape: Any) -> dict[str, tuple[Any, ...]]:
    """Return the allowed values of each field that has a fixed set of them."""
    hints = get_type_hints(shape)
    return {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}


class Inputs:
    """Base of every calculator's inputs: a frozen dataclass whose values keep their bounds."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Refuse a value outside its unit's bounds or its choices, in one sentence that names the field."""
        shape: Any = type(self)
        for name, unit in units(shape).items():
            value = getattr(self, name)
            for item in value if isinstance(value, tuple) else (value,):
                if item is not None:
                    _check(name, item, unit)
        for name, allowed in choices(shape).items():
            if getattr(self, name) not in allowed:
                raise PlanError(name, f"{getattr(self, name)!r} is not one of {', '.join(map(str, allowed))}")


def _check(name: str, value: Decimal | int, unit: Unit) -> None:
    if not Decimal(value).is_finite():
        raise PlanError(name, f"{value} is not a number")
    if abs(Decimal(value)) > LARGEST:
        raise PlanError(name, f"{value} is too large to mean anything")
    if unit.name == "%" and unit.high is not None and not _ZERO <= value <= unit.high:
        raise PlanError(name, f"{percent(Decimal(value))} is not a share between 0 % and 100 %")
    if unit.low is not None and value < unit.low:
        raise PlanError(name, f"{value} is less than {unit.low}")
    if unit.high is not None and value > unit.high:
        raise PlanError(name, f"{value} is more than {unit.high}")


def cents(amount: Decimal) -> Decimal:
    """Round dollars to cents, half up, as an invoice does."""
    return amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def exact(amount: Decimal) -> Decimal:
    """Drop the zeros that carry nothing, but keep cents: `2.5500` is `2.55`, `42.5` is `42.50`."""
    trimmed = amount.normalize()
    exponent = trimmed.as_tuple().exponent
    return amount.quantize(Decimal("0.01")) if isinstance(exponent, int) and exponent > -2 else trimmed


def ratio(part: Decimal | int, whole: Decimal | int) -> Decimal:
    """Divide to six decimal places, half up; nothing of nothing is 0."""
    if not whole:
        return _ZERO
    return (Decimal(part) / Decimal(whole)).quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP).normalize() + 0


def quotient(part: Decimal | int, whole: Decimal | int) -> Decimal | None:
    """Divide to six decimal places; None where there is nothing to divide by: the figure does not exist."""
    return ratio(part, whole) if whole else None


def ceil_to(value: Decimal, step: int, least: int = 0) -> int:
    """Round up to a multiple of `step`, at least `least`; the multiples count from `least`."""
    if value <= least:
        return least
    return least + int(((value - least) / step).to_integral_value(rounding=ROUND_CEILING)) * step


def percent(share: Decimal) -> str:
    """Write a share for people, with as many decimals as it needs up to two: `94 %`, `62.5 %`."""
    text = f"{(share * 100).quantize(Decimal('0.01'), rounding=ROUND_HALF_UP):,f}".rstrip("0").rstrip(".")
    return f"{text} %"


def price_of(rate: Decimal) -> str:
    """Write a price of a list for people: every decimal that it has, cents at least."""
    return f"${exact(rate):,f}"


def money(amount: Decimal) -> str:
    """Write dollars for people: cents, and down to a millionth for less than a dollar."""
    places = "0.01" if abs(amount) >= 1 or not amount else "0.00000001"
    text = f"{exact(amount.quantize(Decimal(places), rounding=ROUND_HALF_UP)):,f}"
    return f"-${text[1:]}" if text.startswith("-") else f"${text}"
