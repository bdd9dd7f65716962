"""Which input moves a result most: each number alone, ten percent down and ten percent up."""

import dataclasses
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeVar

from penstock.errors import PlanError
from penstock.planning.quantity import Balance, Inputs, exact, units

STEP = Decimal("0.1")

T = TypeVar("T", bound=Inputs)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """What the result is when one input is 10 % lower and 10 % higher."""

    input: str
    low: Balance
    """The result with the input 10 % lower."""
    high: Balance
    """The result with the input 10 % higher."""
    swing: Balance
    """How far the two lie apart."""


def sensitivity(inputs: T, result: Callable[[T], Decimal], *, leave_out: tuple[str, ...] = ()) -> tuple[Swing, ...]:
    """Vary each numeric input by 10 % (whole numbers rounded, by one at least), the widest swing first.

    An input that is zero stays; a value that leaves its bounds is cut to the nearest one that works: the base.
    """
    base = result(inputs)

    def moved(name: str, sign: int) -> Decimal:
        try:
            return result(dataclasses.replace(inputs, **{name: _moved(getattr(inputs, name), sign)}))  # type: ignore[type-var]
        except PlanError:  # outside its bounds: this side of the input does not exist
            return base

    shape: Any = type(inputs)
    swings = []
    for name in units(shape):
        value = getattr(inputs, name)
        if name in leave_out or not isinstance(value, int | Decimal) or isinstance(value, bool) or not value:
            continue
        low, high = moved(name, -1), moved(name, 1)
        if low != high or low != base:
            swings.append(Swing(input=name, low=exact(low), high=exact(high), swing=exact(abs(high - low))))
    return tuple(sorted(swings, key=lambda swing: swing.swing, reverse=True))


def _moved(value: int | Decimal, sign: int) -> int | Decimal:
    if isinstance(value, Decimal):
        return value * (1 + sign * STEP)
    return value + sign * max(1, int((abs(value) * STEP).to_integral_value(rounding=ROUND_HALF_UP)))
