"""Two plan files, run and compared: what was changed, and what that does."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from penstock.cli.options import Common, console, print_json, table
from penstock.cli.plan_command import (
    Command,
    Drawn,
    PlanOptions,
    build,
    fields_of,
    inputs_of,
    prices_for,
    read_plan,
    run,
)
from penstock.cli.plan_show import written
from penstock.errors import InputError
from penstock.planning.described import title
from penstock.planning.quantity import Unit, percent, ratio, units

LEFT_OUT = frozenset({"answer", "notes", "prices", "assumptions", "corrections", "sensitivity"})


def diff(first: Path, second: Path, calculators: dict[str, Command[Any]], options: PlanOptions, common: Common) -> None:
    """Run both plans and print the inputs and figures that differ."""
    before, after = (_result(path, calculators, options, common) for path in (first, second))
    if before["calculator"] != after["calculator"]:
        raise InputError(f"{second}: a plan for {after['calculator']}, and {first} is one for {before['calculator']}")
    known = before["units"]
    inputs = _changes(before["inputs"], after["inputs"])
    figures = _changes(before["figures"], after["figures"])
    if common.json:
        print_json({"calculator": before["calculator"], "first": str(first), "second": str(second), "inputs": inputs,
                    "figures": figures})  # fmt: skip
        return
    _print("Inputs that differ", inputs, (first, second), known)
    _print("Figures that differ", figures, (first, second), known)
    if not inputs and not figures:
        console.print("The plans are equal.")


def _result(path: Path, calculators: dict[str, Command[Any]], options: PlanOptions, common: Common) -> dict[str, Any]:
    document = read_plan(path)
    name = document.get("calculator", "")
    if name not in calculators:
        raise InputError(f'{path}, calculator: {name!r} is none; write for example: calculator = "month"')
    calculator = calculators[name]
    inputs = build(calculator.inputs, inputs_of(document), path, frozenset())
    extras = calculator.extras() if calculator.extras else None
    found = run(calculator, inputs, prices_for(document, options, common), extras, common)
    answer = found.answer if isinstance(found, Drawn) else found
    figures = {field: value for field, value in fields_of(answer).items() if field not in LEFT_OUT}
    shapes: tuple[Any, ...] = (calculator.inputs, type(answer))
    known = {field: unit for shape in shapes for field, unit in units(shape).items()}
    return {
        "calculator": name, "inputs": dict(_flat("", inputs)), "figures": dict(_flat("", figures)), "units": known,
    }  # fmt: skip


def _flat(place: str, value: Any) -> list[tuple[str, Any]]:
    """List every single value with its place; a line of a table goes by its first field."""
    if hasattr(value, "__dataclass_fields__"):
        value = {field: getattr(value, field) for field in value.__dataclass_fields__}
    if isinstance(value, dict):
        return [pair for name, item in value.items() for pair in _flat(f"{place}.{name}" if place else name, item)]
    if isinstance(value, tuple | list):
        found = []
        for index, item in enumerate(value):
            fields = getattr(item, "__dataclass_fields__", None)
            label = getattr(item, next(iter(fields))) if fields else index
            found += _flat(f"{place}[{label}]", item)
        return found
    return [(place, value)]


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    lines = []
    for place in dict.fromkeys((*before, *after)):
        old, new = before.get(place), after.get(place)
        if old != new:
            change = None
            if isinstance(old, Decimal | int) and isinstance(new, Decimal | int):
                change = Decimal(new) - Decimal(old)
            lines.append({"place": place, "first": old, "second": new, "change": change})
    return lines


def _print(heading: str, lines: list[dict[str, Any]], paths: tuple[Path, Path], known: dict[str, Unit]) -> None:
    """Print the single values that differ, with their units; lines of tables are only counted."""
    if not lines:
        return
    first, second = paths
    one, two = (first.name, second.name) if first.name != second.name else (str(first), str(second))
    grid = table("", one, two, "Change", title=heading, numbers=(one, two, "Change"))
    single = [line for line in lines if "[" not in line["place"]]
    for line in single:
        change = line["change"]
        unit = known.get(line["place"])
        share = f" ({percent(ratio(change, line['first']))})" if change is not None and line["first"] else ""
        shown = "" if change is None else f"{'+' if change > 0 else ''}{written(change, unit)}{share}"
        grid.add_row(title(line["place"]), written(line["first"], unit), written(line["second"], unit), shown)
    console.print(grid)
    if len(lines) > len(single):
        console.print(f"... and {len(lines) - len(single)} values in tables; --json has them.")
    console.print()
