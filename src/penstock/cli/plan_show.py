"""An answer for people: the sentence, its figures, a table for each list, and what it rests on."""

import dataclasses
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from rich.markup import escape
from rich.table import Table

from penstock.cli.options import console, table
from penstock.planning.answer import Answer, Correction
from penstock.planning.described import ACRONYMS, title
from penstock.planning.prices import PriceUsed
from penstock.planning.quantity import Unit, money, percent, price_of, units
from penstock.planning.sensitivity import Swing

ROOM = 120
"""Columns, where nobody says how many there are."""

LONGEST_TABLE = 60
"""Rows shown of one list; `--json` has all of them."""


WIDEST_TABLE = 7
"""Columns; a short list with more of them is turned: a line a field."""


def show(answer: Answer, draw: Callable[[int], str] | None = None) -> None:
    """Print the answer; what is not a terminal (a pipe, a file) has room. A drawing stands under the sentence."""
    if not console.is_terminal:
        console.width = max(console.width, ROOM)
    console.print(answer.answer, style="bold", markup=False, highlight=False)
    if draw:
        console.print(f"\n{draw(console.width)}", markup=False, highlight=False, soft_wrap=True)
    _figures(answer)
    for field in _own(answer):
        value = getattr(answer, field)
        if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            _rows(title(field), value)
    _lines("Notes", answer.notes)
    _sensitivity(answer.sensitivity, answer.moved)
    _lines("Assumptions", answer.assumptions)
    _prices(answer.prices)
    _corrections(answer.corrections)


def _print(grid: Table) -> None:
    """Print a table after an empty line."""
    console.print()
    console.print(grid)


def written(value: Any, unit: Unit | None) -> str:
    """Write one value with its unit, safe to print: brackets in names are no markup."""
    return escape(_written(value, unit))


def _written(value: Any, unit: Unit | None) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal | int) and unit is not None:
        if unit.name == "$":
            return money(Decimal(value))
        if unit.name == "rate":
            return price_of(Decimal(value))
        if unit.name == "%":
            return percent(Decimal(value))
        number = f"{value:,}" if isinstance(value, int) else f"{value.quantize(Decimal('0.001')).normalize():,f}"
        return number if unit.name in ("", "tokens") else f"{number} {unit.name}"
    if isinstance(value, Decimal):
        return f"{value:,f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


def _own(answer: Answer) -> list[str]:
    base = {field.name for field in dataclasses.fields(Answer)}
    return [field.name for field in dataclasses.fields(answer) if field.name not in base]


def _figures(answer: Answer) -> None:
    shape: Any = type(answer)
    known = units(shape)
    grid = table("", "", numbers=("",))
    grid.show_header = False
    for name in _own(answer):
        value = getattr(answer, name)
        if isinstance(value, tuple) and (not value or dataclasses.is_dataclass(value[0])):
            continue
        if value != "":
            grid.add_row(title(name), written(value, known.get(name)))
    if grid.row_count:
        _print(grid)


def _rows(heading: str, rows: Sequence[Any]) -> None:
    shape: Any = type(rows[0])
    known = units(shape)
    names = [field.name for field in dataclasses.fields(shape)]
    names = [name for name in names if any(getattr(row, name) not in ("", None, ()) for row in rows)]
    if len(names) > WIDEST_TABLE and len(rows) <= 4:
        _turned(heading, names, rows, known)
        return
    numbers = tuple(title(name) for name in names if isinstance(getattr(rows[0], name), Decimal | int))
    grid = table(*map(title, names), title=heading, numbers=numbers)
    for column, name in zip(grid.columns, names, strict=True):
        column.no_wrap = name == names[0] or title(name) in numbers
    for row in rows[:LONGEST_TABLE]:
        grid.add_row(*(written(getattr(row, name), known.get(name)) for name in names))
    _print(grid)
    if len(rows) > LONGEST_TABLE:
        console.print(f"... and {len(rows) - LONGEST_TABLE} more; --json has all of them.")


def _turned(heading: str, names: Sequence[str], rows: Sequence[Any], known: dict[str, Unit]) -> None:
    """Print a line a field and a column a row; the first field heads the columns."""
    first, *others = names
    heads = [escape(str(getattr(row, first))) for row in rows]
    grid = table("", *heads, title=heading, numbers=tuple(heads))
    for name in others:
        grid.add_row(title(name), *(written(getattr(row, name), known.get(name)) for row in rows))
    _print(grid)


def _lines(heading: str, lines: Sequence[str]) -> None:
    if lines:
        console.print(f"\n[bold]{heading}[/bold]")
        for line in lines:
            console.print(f"- {line}", highlight=False, markup=False)


def _sensitivity(swings: Sequence[Swing], moved: str) -> None:
    if not swings:
        return
    console.print(f"\nWhat moves {escape(moved)} most", style="italic", highlight=False)
    grid = table("Input", "10 % less", "10 % more", numbers=("10 % less", "10 % more"))
    for swing in swings[:5]:
        low, high = (money(end) if swing.unit == "$" else f"{end:,.0f} {swing.unit}" for end in (swing.low, swing.high))
        grid.add_row(escape(title(swing.input)), low, high)
    console.print(grid)


def _corrections(corrections: Sequence[Correction]) -> None:
    if not corrections:
        return
    grid = table("Section", "The guide says", "Computed", "Why", title="Where the guide says something else")
    for each in corrections:
        grid.add_row(*map(escape, (each.section, each.says, each.computed, each.why)))
    _print(grid)


def _prices(prices: Sequence[PriceUsed]) -> None:
    """Name each row with the day since which it holds, its rates, and where and when they were read."""
    _lines(
        "Prices used",
        [
            f"{price.id}: {rates_of(price)}. {price.source}{f' (read {price.read})' if price.read else ''}"
            for price in prices
        ],
    )


TOKENS = {"input": "input", "cache_read": "cached", "cache_write": "written", "output": "output"}


def rates_of(price: PriceUsed) -> str:
    """Write a row's rates: tokens by the million, all else by the unit in its name."""
    tokens = [f"{TOKENS[name]} {price_of(rate)}" for name, rate in price.rates.items() if name in TOKENS]
    lines = [f"{', '.join(tokens)} per million tokens"] if tokens else []
    for name, rate in price.rates.items():
        words = " ".join(ACRONYMS.get(word, word) for word in name.split("_"))
        if name == "input_tokens_per_minute":
            lines.append(f"{rate:,} {words} and PTU")
        elif name.endswith(("_low", "_high")):
            lines.append(f"{words} {price_of(rate)}")
        elif name not in TOKENS:
            lines.append(f"{price_of(rate)} per {words}")
    return ", ".join(lines)
