"""The calculators as forms: inputs in the address, the answer below them, what moves it most as a chart."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, get_type_hints

from msgspec import Struct

from penstock.analytics.spend import spend
from penstock.dashboard.asked import Asked
from penstock.dashboard.charts import ranked
from penstock.dashboard.figure import Column, Figure, Kind, Row, Value
from penstock.dashboard.house import House, NotFoundError, checked
from penstock.dashboard.page import Page, Shown
from penstock.dashboard.words import exact as all_digits
from penstock.dashboard.words import money as dollars
from penstock.errors import InputError, PlanError
from penstock.optimization.finding import command
from penstock.planning.answer import Answer
from penstock.planning.calculators import CALCULATORS, Calculator
from penstock.planning.described import documentation, title
from penstock.planning.prices import Prices
from penstock.planning.quantity import Unit, choices, percent, units
from penstock.planning.reading import is_required, read, table_of, written
from penstock.planning.sensitivity import Swing
from penstock.pricing.catalog import Catalog
from penstock.pricing.lifecycle import shipped_lifecycle

BACK = timedelta(days=30)
NAMES = tuple(calculator.name for calculator in CALCULATORS)
INPUTS = tuple(
    dict.fromkeys(
        field.name
        for calculator in CALCULATORS
        for field in dataclasses.fields(calculator.inputs)  # type: ignore[arg-type]
        if field.name not in calculator.leave_out
    )
)
OWN = ("calculator", "provider", *INPUTS)
PROVIDER = "azure"


class Entry(Struct, frozen=True, kw_only=True):
    """One field of a form."""

    name: str
    label: str
    about: str
    value: str
    unit: str
    choices: tuple[str, ...] = ()
    rows: int = 0
    """Lines of a field that holds a table; 0: a single line."""
    required: bool = False
    wrong: str = ""
    """Why it cannot be used."""


class Plan(Struct, frozen=True, kw_only=True):
    """A form, and its answer where the inputs can be used."""

    calculator: Calculator
    provider: str
    entries: tuple[Entry, ...]
    inputs: Any
    answer: Answer | None
    wrong: str
    """What is wrong with no single field."""
    prefilled: str
    """Where inputs came from that nobody gave."""


def worked_out(house: House, name: str, fields: Mapping[str, str]) -> Plan:
    """Read a calculator's inputs, and compute."""
    calculator = next((one for one in CALCULATORS if one.name == name), None)
    if calculator is None:
        raise NotFoundError(f"There is no calculator {name[:100]!r}: there are {', '.join(NAMES)}.")
    given = {key: value for key, value in fields.items() if key not in ("calculator", "provider")}
    provider, prefilled = fields.get("provider", ""), ""
    if not given:
        given, provider, prefilled = _begun(house, calculator, provider)
    provider = provider or PROVIDER
    inputs, wrong = read(calculator.inputs, given)
    answer, general = None, ""
    if inputs is not None:
        prices = Prices(house.catalog or Catalog([]), house.now(), provider, shipped_lifecycle())
        try:
            answer = calculator.compute(inputs, prices)
        except PlanError as error:
            wrong = {error.field: error.problem}
        except ArithmeticError:
            general = "The numbers are too large to be worked out; check the zeros."
    entries = _entries(calculator, given, wrong)
    known = {entry.name for entry in entries}
    general = general or "; ".join(f"{title(key)}: {said}" for key, said in wrong.items() if key not in known)
    return Plan(
        calculator=calculator, provider=provider, entries=entries, inputs=inputs, answer=answer, wrong=general,
        prefilled=prefilled,
    )  # fmt: skip


def _begun(house: House, calculator: Calculator, provider: str) -> tuple[dict[str, str], str, str]:
    """Fill a form in: with the busiest model of the ledger where it has one with a price, else with an example."""
    shape: Any = calculator.inputs
    fields = {field.name for field in dataclasses.fields(shape)}
    required = {field.name for field in dataclasses.fields(shape) if is_required(field)}
    if house.catalog is None or not {"model", "requests_per_day"} <= fields:
        return dict(calculator.example), provider, ""
    rows = house.remember("a usual day", lambda: _usual(house))
    for row in rows:
        if provider and row.group["provider"] != provider:
            continue
        found = Prices(house.catalog, house.now(), row.group["provider"]).find(row.group["model"])
        if found is None or not {"input", "output"} <= found.rates.keys():
            continue
        requests = max(1, row.requests)
        first, last = house.ledger.moment().span() or (house.now(), house.now())
        days = max(1.0, min(BACK, last - max(first, house.now() - BACK)) / timedelta(days=1))
        traffic = {
            "model": row.group["model"], "requests_per_day": str(max(1, round(row.requests / days))),
            "input_tokens": str(round(row.input_tokens / requests)),
            "output_tokens": str(round(row.output_tokens / requests)),
            "cached_share": f"{Decimal(row.cached_tokens) * 100 / max(1, row.input_tokens):.1f}%",
        }  # fmt: skip
        needed = {name: value for name, value in calculator.example if name in required}
        given = needed | {name: value for name, value in traffic.items() if name in fields}
        said = f"Filled in from the ledger: {row.group['model']} at {row.group['provider']}, its last 30 days."
        return given, row.group["provider"], said
    return dict(calculator.example), provider, ""


def _usual(house: House) -> Sequence[Any]:
    return spend(house.source(), by=("provider", "model"), since=house.now() - BACK).rows


def _entries(calculator: Calculator, given: Mapping[str, str], wrong: Mapping[str, str]) -> tuple[Entry, ...]:
    shape: Any = calculator.inputs
    known, allowed, about = units(shape), choices(shape), documentation(shape)
    entries = []
    for field in dataclasses.fields(shape):
        if field.name in calculator.leave_out:
            continue
        hint = get_type_hints(shape)[field.name]
        is_table = table_of(shape, field.name) is not None
        default = "" if is_required(field) else written(shape, field.name, field.default)
        value = given.get(field.name, default) or default
        picks = ("no", "yes") if hint is bool else allowed.get(field.name, ())
        unit = known.get(field.name)
        entries.append(
            Entry(
                name=field.name,
                label=title(field.name),
                about=about.get(field.name, ""),
                value=value,
                unit=_unit(unit),
                choices=tuple(map(str, picks)),
                rows=max(3, value.count("\n") + 1) if is_table else 0,
                required=is_required(field),
                wrong=wrong.get(field.name, ""),
            )
        )
    return tuple(entries)


def _unit(unit: Unit | None) -> str:
    if unit is None or unit.name in ("", "x"):
        return ""
    return {"%": "0.25 or 25%", "$": "$", "rate": "$"}.get(unit.name, unit.name)


# The answer, as figures


def gather(house: House, asked: Asked) -> Shown:
    """Gather the page."""
    name = asked.fields.get("calculator", NAMES[0])
    plan = worked_out(house, name, asked.fields)
    answer = plan.answer
    return Shown(
        figures=_figures(answer) if answer is not None else (),
        more={
            "plan": plan, "calculators": CALCULATORS, "answer": answer,
            "facts": _facts(answer) if answer is not None else [], "providers": _providers(house),
            "share_address": _address(asked, plan), "command": _command(plan),
        },
    )  # fmt: skip


def _providers(house: House) -> list[str]:
    layers = house.catalog.load().books if house.catalog else ()
    return sorted({row.provider for book in layers for row in book.rows} | {PROVIDER})


def _address(asked: Asked, plan: Plan) -> str:
    return asked.link(calculator=plan.calculator.name, provider=plan.provider,
                      **{entry.name: entry.value for entry in plan.entries})  # fmt: skip


def _command(plan: Plan) -> str:
    """Write the same as a command."""
    words: list[str] = ["plan", plan.calculator.name, "--provider", plan.provider]
    shape: Any = plan.calculator.inputs
    defaults = {field.name: field for field in dataclasses.fields(shape)}
    for entry in plan.entries:
        field = defaults[entry.name]
        if not entry.value or (not is_required(field) and entry.value == written(shape, entry.name, field.default)):
            continue
        option = f"--{entry.name.replace('_', '-')}"
        if entry.choices == ("no", "yes"):
            words += [option] if entry.value == "yes" else []
            continue
        for line in entry.value.splitlines() if entry.rows else (entry.value,):
            words += [option, line]
    return command(*words)


def _own(answer: Answer) -> list[str]:
    base = {field.name for field in dataclasses.fields(Answer)}
    return [field.name for field in dataclasses.fields(answer) if field.name not in base]


def _facts(answer: Answer) -> list[tuple[str, str, str]]:
    """Return an answer's own figures: name, as it is written, exact."""
    shape: Any = type(answer)
    known = units(shape)
    rows = []
    for name in _own(answer):
        value = getattr(answer, name)
        if isinstance(value, tuple) and (not value or dataclasses.is_dataclass(value[0])):
            continue
        if value not in ("", None):
            rows.append((title(name), said(value, known.get(name)), _exactly(value)))
    return rows


def said(value: Any, unit: Unit | None) -> str:
    """Write one figure of an answer."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if not isinstance(value, int | Decimal):
        return str(value)
    match unit.name if unit else "":
        case "$":
            return dollars(Decimal(value), 2 if value == 0 or abs(Decimal(value)) >= 1 else 6)
        case "rate":
            return all_digits(Decimal(value))
        case "%":
            return percent(Decimal(value))
        case name:
            number = f"{value:,}" if isinstance(value, int) else f"{value.quantize(Decimal('0.001')).normalize():,f}"
            return number if name in ("", "tokens", "x") else f"{number} {name}"


def _exactly(value: Any) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else ""


def _figures(answer: Answer) -> list[Figure]:
    found = []
    for name in _own(answer):
        value = getattr(answer, name)
        if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            found.append(_table(name, value))
    if answer.sensitivity:
        found.append(_sensitivity(answer.sensitivity, answer.moved))
    return found


KINDS: dict[str, Kind] = {"$": "money", "rate": "exact", "%": "share"}


def _table(name: str, rows: Sequence[Any]) -> Figure:
    shape: Any = type(rows[0])
    known = units(shape)
    names = [field.name for field in dataclasses.fields(shape)]
    names = [one for one in names if any(getattr(row, one) not in ("", None, ()) for row in rows)]
    columns = tuple(
        Column(
            one,
            title(one),
            _kind(known.get(one), [getattr(row, one) for row in rows]),
            less=n > 5,
            fine=one.startswith("per_"),
        )
        for n, one in enumerate(names)
    )
    return Figure(
        name=name.replace("_", "-"), title=title(name), period=" ", columns=columns, shown=40,
        rows=[Row(tuple(_cell(getattr(row, one)) for one in names)) for row in rows],
    )  # fmt: skip


def _kind(unit: Unit | None, values: Sequence[Any]) -> Kind:
    numbers = [value for value in values if isinstance(value, int | Decimal) and not isinstance(value, bool)]
    if not numbers:
        return "text"
    if unit is not None and unit.name in KINDS and None not in values:
        return KINDS[unit.name]
    return "count" if all(isinstance(value, int) for value in numbers) else "number"


def _cell(value: Any) -> Value:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return None if value == "" else value


def _sensitivity(swings: Sequence[Swing], moved: str) -> Figure:
    is_money = swings[0].unit == "$"
    drawn = [(title(swing.input), swing.swing) for swing in swings[:8]]
    return Figure(
        name="sensitivity", title=f"What moves {moved or 'the result'} most", period=" ",
        note="Each input alone, ten per cent down and ten per cent up.",
        columns=(
            Column("input", "Input"), Column("low", "10 % less", "money" if is_money else "number"),
            Column("high", "10 % more", "money" if is_money else "number"),
            Column("swing", "Apart", "money" if is_money else "number"),
        ),
        rows=[Row((title(swing.input), swing.low, swing.high, swing.swing)) for swing in swings],
        chart=ranked(
            drawn,
            title=f"How far {moved or 'the result'} moves between ten per cent less and more of each input: "
            + ", ".join(f"{name} {_swing(amount, 2, is_money=is_money)}" for name, amount in drawn),
            say=lambda amount, places: _swing(amount, places, is_money=is_money),
        ),
    )  # fmt: skip


def _swing(amount: Decimal, places: int, *, is_money: bool) -> str:
    return dollars(amount, places) if is_money else f"{amount:,.{min(places, 2)}f}"


def get_plan(house: House, name: str, fields: dict[str, str]) -> dict[str, Any]:
    """Answer `GET /api/plan/{calculator}`: the document of `penstock plan CALCULATOR --json`."""
    plan = worked_out(house, name, checked(fields, OWN[1:]))
    if plan.answer is None:
        wrong = next((f"{entry.name}: {entry.wrong}" for entry in plan.entries if entry.wrong), plan.wrong)
        raise InputError(wrong)
    base = [field.name for field in dataclasses.fields(Answer) if field.name != "answer"]
    figures = {name: getattr(plan.answer, name) for name in ("answer", *_own(plan.answer), *base)}
    return {
        "calculator": name, "inputs": dataclasses.asdict(plan.inputs),
        **{key: _plain(value) for key, value in figures.items()},
    }  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


PAGE = Page(
    path="/plan", name="Plan", group="Improve", gather=gather, template="plan.html", own=OWN, filters=False,
    alone=True, lead="Work out what something would cost before it is built. All inputs stand in the address.",
)  # fmt: skip
