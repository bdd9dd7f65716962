"""Which input moves a result most: each number alone, ten percent down and ten percent up."""

import dataclasses
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import Any, TypeVar

from penstock.errors import PlanError
from penstock.planning.quantity import Balance, Inputs, exact, units

STEP = Decimal("0.1")
LEAST = Decimal("1e-9")
"""Dollars: a smaller swing is rounding in the last digits, not an effect."""

T = TypeVar("T", bound=Inputs)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """What the result is when one input is 10 % lower and 10 % higher."""

    input: str
    unit: str = "$"
    """Of the result; the command line shows dollars where it is `$`."""
    low: Balance
    """The result with the input 10 % lower."""
    high: Balance
    """The result with the input 10 % higher."""
    swing: Balance
    """How far the two lie apart."""


def sensitivity(
    inputs: T, result: Callable[[T], Decimal], *, leave_out: tuple[str, ...] = (), unit: str = "$"
) -> tuple[Swing, ...]:
    """Vary each numeric input by 10 % (whole numbers rounded, by one at least), the widest swing first.

    An input that is zero stays; a value that leaves its bounds is cut to the nearest one that works: the base.
    """
    base = result(inputs)

    def moved(change: Callable[[int], Any]) -> Swing | None:
        low, high = (_result_of(change, sign, result, base) for sign in (-1, 1))
        if max(abs(low - base), abs(high - base)) < LEAST:
            return None
        return Swing(input="", unit=unit, low=exact(low), high=exact(high), swing=exact(abs(high - low)))

    swings = []
    for name, change in _changes(inputs, leave_out):
        if swing := moved(change):
            swings.append(dataclasses.replace(swing, input=name))
    return tuple(sorted(swings, key=lambda swing: swing.swing, reverse=True))


def _changes(inputs: Any, leave_out: tuple[str, ...] = ()) -> Iterator[tuple[str, Callable[[int], Any]]]:
    """Yield each number of the inputs, and of the tables inside them, with a function that moves it one step."""
    shape: Any = type(inputs)
    numeric = units(shape)
    for field in dataclasses.fields(inputs):
        value = getattr(inputs, field.name)
        if field.name in leave_out:
            continue
        if field.name in numeric and isinstance(value, int | Decimal) and value:
            yield field.name, partial(_with, inputs, field.name, value)
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                if isinstance(item, Inputs):
                    label = getattr(item, "name", index)
                    for name, change in _changes(item):
                        yield f"{name} of {label}", partial(_inside, inputs, field.name, index, change)


def _with(inputs: Any, name: str, value: int | Decimal, sign: int) -> Any:
    return dataclasses.replace(inputs, **{name: _moved(value, sign)})


def _inside(inputs: Any, name: str, index: int, change: Callable[[int], Any], sign: int) -> Any:
    items = list(getattr(inputs, name))
    items[index] = change(sign)
    return dataclasses.replace(inputs, **{name: tuple(items)})


def _result_of(change: Callable[[int], Any], sign: int, result: Callable[[Any], Decimal], base: Decimal) -> Decimal:
    try:
        return result(change(sign))
    except PlanError:  # outside its bounds: this side of the input does not exist
        return base


def _moved(value: int | Decimal, sign: int) -> int | Decimal:
    if isinstance(value, Decimal):
        return value * (1 + sign * STEP)
    return value + sign * max(1, int((abs(value) * STEP).to_integral_value(rounding=ROUND_HALF_UP)))
