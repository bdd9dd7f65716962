"""A command from a calculator: each input of its dataclass is an option named like the field, or a line of a file."""

import dataclasses
import inspect
import tomllib
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation, Overflow
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from cyclopts import App, Parameter, Token

from penstock.cli.options import Common, print_json
from penstock.cli.plan_show import show
from penstock.errors import InputError, PlanError
from penstock.planning.answer import Answer
from penstock.planning.described import documentation
from penstock.planning.prices import Prices
from penstock.planning.quantity import LARGEST, Inputs, units

ABOUT_THE_PLAN = ("calculator", "book", "at", "provider")
"""Lines of a plan file that are not inputs."""


def _instant(_type: Any, tokens: tuple[Token, ...]) -> Any:
    return _time(tokens[0].value, tokens[0].keyword or "value")


@Parameter(name="*", group="Prices and plan")
@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Options of every calculator."""

    plan: Annotated[Path | None, Parameter(name="--from", help="Plan file (TOML); options given here win.")] = None
    book: Annotated[str | None, Parameter(help="Scenario price book; guide-2026-03 is the guide's own table.")] = None
    provider: Annotated[str | None, Parameter(help="Who bills: azure (default), openai, anthropic, ...")] = None
    at: Annotated[
        datetime | None,
        Parameter(help="Prices as of this day (UTC); by default now.", converter=_instant),
    ] = None


T = TypeVar("T", bound=Inputs)


@dataclasses.dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """One `penstock plan` command: its inputs, its function, and an example that stands in its help."""

    name: str
    inputs: type[T]
    compute: Callable[..., "Answer | Drawn"]
    about: str
    example: str
    extras: type[Any] | None = None
    """Options of the command line alone (files to read or write); `compute` gets them and the common ones as well."""


@dataclasses.dataclass(frozen=True, slots=True)
class Drawn:
    """An answer that people also want to look at."""

    answer: Answer
    draw: Callable[[int], str]
    """Draws for a terminal with that many columns."""


def declare(app: App, calculator: Command[Any]) -> None:
    """Add the calculator's command to `app`."""

    def command(**given: Any) -> None:
        common, options = given.pop("common", Common()), given.pop("options", PlanOptions())
        extras = given.pop("extras", calculator.extras() if calculator.extras else None)
        document = read_plan(options.plan, calculator) if options.plan else {}
        chosen = {name: value for name, value in given.items() if value is not None}
        inputs = build(calculator.inputs, {**inputs_of(document), **chosen}, options.plan, frozenset(chosen))
        prices = prices_for(document, options, common)
        found = run(calculator, inputs, prices, extras, common)
        answer = found.answer if isinstance(found, Drawn) else found
        if common.json:
            print_json({"calculator": calculator.name, "inputs": inputs, **fields_of(answer)})
        else:
            show(answer, found.draw if isinstance(found, Drawn) else None)

    parameters = [_option(calculator.inputs, field) for field in dataclasses.fields(calculator.inputs)]
    parameters += [_flat("options", PlanOptions), _flat("common", Common)]
    if calculator.extras:
        parameters.append(_flat("extras", calculator.extras))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = f"{calculator.about}\n\nExample: `{calculator.example}`"
    app.command(command, name=calculator.name)


def run(calculator: Command[Any], inputs: Inputs, prices: Prices, *given: Any) -> Answer | Drawn:
    """Compute; a wrong input is named as the option that a user types."""
    try:
        return calculator.compute(inputs, prices, *(given if calculator.extras else ()))
    except ArithmeticError as error:
        raise InputError("the numbers are too large to be worked out; check the zeros") from error
    except PlanError as error:
        raise InputError(f"--{error.field.replace('_', '-')}: {error.problem}") from error


def fields_of(answer: Answer) -> dict[str, Any]:
    """Return the fields of an answer, its own figures before what every answer has."""
    base = {field.name for field in dataclasses.fields(Answer)}
    own = {name.name: getattr(answer, name.name) for name in dataclasses.fields(answer) if name.name not in base}
    return {
        "answer": answer.answer,
        **own,
        **{name: getattr(answer, name) for name in base_order() if name != "answer"},
    }


def base_order() -> list[str]:
    """Return the names of what every answer has, in their order."""
    return [field.name for field in dataclasses.fields(Answer)]


def read_plan(path: Path, calculator: Command[Any] | None = None) -> dict[str, Any]:
    """Read a plan file; numbers with a point stay exact. Raises InputError that names the file."""
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text, parse_float=Decimal)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from error
    if not document:
        raise InputError(f"{path}: the file is empty; write inputs such as: requests_per_day = 10000")
    for name in ("calculator", "book", "provider"):
        if not isinstance(document.get(name, ""), str):
            raise InputError(f'{path}, {name}: {document[name]} is not a name; write it in quotes: {name} = "..."')
    if not isinstance(document.get("at", ""), str | date):
        raise InputError(f"{path}, at: {document['at']} is not a day such as 2026-11-23")
    if calculator and document.get("calculator", calculator.name) != calculator.name:
        raise InputError(f"{path}: a plan for {document['calculator']}; use: penstock plan {document['calculator']}")
    return document


def inputs_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a plan file says about the calculator's inputs."""
    return {name: value for name, value in document.items() if name not in ABOUT_THE_PLAN}


def prices_for(document: dict[str, Any], options: PlanOptions, common: Common) -> Prices:
    """Load the books and the contract prices of the settings; options win over the plan file, and it over settings."""
    from penstock.pricing.books import catalog_in
    from penstock.pricing.lifecycle import shipped_lifecycle
    from penstock.settings import load

    at = _time(options.at or document.get("at") or datetime.now(UTC), "at")
    settings = load(common.config, data=common.data)
    scenario = options.book or document.get("book") or settings.prices.scenario
    catalog = catalog_in(
        settings.data, prices=settings.prices.rows, discounts=settings.prices.discounts, scenario=scenario
    )
    return Prices(catalog, at, options.provider or document.get("provider", "azure"), shipped_lifecycle())


def _day(text: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{where}: {text!r} is not a day such as 2026-11-23") from error


def build(shape: type[Inputs], given: dict[str, Any], path: Path | None, options: frozenset[str]) -> Inputs:
    """Make the inputs. Raises InputError that names the option, or the file and its line's name."""

    def where(name: str) -> str:
        return _place(name, path, options)

    for name in given:
        _refuse_unknown(shape, name, where(name))
    given = {name: _parsed(shape, name, value, where(name)) for name, value in given.items()}
    for name, value in given.items():
        inner = _table_shape(shape, name)
        for table in value if inner and isinstance(value, list | tuple) else ():
            for key in table if isinstance(table, dict) else ():
                _refuse_unknown(inner, key, where(name))
    try:
        return msgspec.convert(given, shape, strict=False)
    except PlanError as error:
        hints = get_type_hints(shape)
        table = next((name for name in given if error.field not in hints and _table_shape(shape, name)), "")
        place = f"{where(table)}, {error.field}" if table else where(error.field)
        raise InputError(f"{place}: {error.problem}") from error
    except msgspec.ValidationError as error:
        raise InputError(_complaint(str(error), where)) from error


def _refuse_unknown(shape: Any, name: str, where: str) -> None:
    names = [field.name for field in dataclasses.fields(shape)]
    if name not in names:
        near = get_close_matches(name, names, n=1)
        what = "" if where.endswith((name, name.replace("_", "-"))) else f" {name}"
        raise InputError(f"{where}: no such input{what}{f'; did you mean {near[0]}?' if near else ''}")


def _table_shape(shape: type[Inputs], name: str) -> Any:
    """Return the dataclass of a field that holds tables, else None."""
    hint = get_type_hints(shape)[name]
    inner = get_args(hint)[0] if get_origin(hint) is tuple else None
    return inner if dataclasses.is_dataclass(inner) else None


def _place(name: str, path: Path | None, options: frozenset[str]) -> str:
    return f"{path}, {name}" if path and name not in options else f"--{name.replace('_', '-')}"


def _complaint(text: str, where: Callable[[str], str]) -> str:
    if text.startswith("Object missing required field"):
        name = text.split("`")[1]
        return f"{where(name)} is missing: give the option, or the line {name} = ... in a plan file"
    problem, _, place = text.partition(" - at `$.")
    name, _, rest = place.rstrip("`").partition("[")
    return f"{where(name)}{f' [{rest}' if rest else ''}: {problem[:1].lower()}{problem[1:]}"


def _parsed(shape: type[Inputs], name: str, value: Any, where: str) -> Any:
    """Turn `50%` into 0.5, and `name=triage,model=gpt-4.1-nano` into a table."""
    unit = units(shape).get(name)  # type: ignore[arg-type]
    if isinstance(value, str) and unit and value.strip().endswith("%"):
        return _number(value, where)
    if isinstance(value, list | tuple) and _table_shape(shape, name):
        return [_table(item, where) if isinstance(item, str) and "=" in item else item for item in value]
    if datetime in get_args(get_type_hints(shape)[name]):
        return _time(value, where)
    return value


def _time(value: Any, where: str) -> Any:
    """Turn a day or a time, written or of a plan file, into a time in UTC."""
    value = _day(value, where) if isinstance(value, str) else value
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and not value.tzinfo else value


def _table(text: str, where: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(",")]
    if not all(equals for _, equals, _ in parts):
        raise InputError(f"{where}: {text!r} is not of the form name=value,name=value")
    return {name.strip(): value.strip() for name, _, value in parts}


def _number(text: str, where: str) -> Decimal:
    try:
        return Decimal(text.strip().removesuffix("%").strip()) / (100 if text.strip().endswith("%") else 1)
    except InvalidOperation as error:
        raise InputError(f"{where}: {text!r} is not a number") from error
    except Overflow as error:
        raise InputError(f"{where}: {text} is too large to mean anything") from error


def _decimal(_type: Any, tokens: tuple[Token, ...]) -> Decimal:
    return _number(tokens[0].value, tokens[0].keyword or "value")


def _whole(_type: Any, tokens: tuple[Token, ...]) -> int:
    text, where = tokens[0].value, tokens[0].keyword or "value"
    number = _number(text, where)
    if number.is_finite() and abs(number) > LARGEST:
        raise InputError(f"{where}: {text} is too large to mean anything")
    if not number.is_finite() or number != number.to_integral_value():
        raise InputError(f"{where}: {text!r} is not a whole number")
    return int(number)


def _choice(allowed: tuple[str, ...], _type: Any, tokens: tuple[Token, ...]) -> str:
    text = tokens[0].value
    if text not in allowed:
        where = tokens[0].keyword or "value"
        near = get_close_matches(text.lower(), allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{where}: {text!r} is not one of {', '.join(allowed)}{hint}")
    return text


def _option(shape: Any, field: dataclasses.Field[Any]) -> inspect.Parameter:
    """Describe one input as an option that may be left out, since a plan file may give it."""
    hint = get_type_hints(shape)[field.name]
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    about = documentation(shape).get(field.name, "")
    unit = units(shape).get(field.name)
    if unit and unit.name:
        about = f"{about.rstrip('.')} ({'share, 0.25 or 25%' if unit.name == '%' else unit.name})."
    settings: dict[str, Any] = {"help": f"{about} (required)" if required else about, "negative": ()}
    if not required and field.default not in ("", (), None, dataclasses.MISSING):
        shown = str(field.default)
        settings["show_default"] = lambda _value: shown
    parts = {part for part in get_args(hint) if part is not type(None)} if type(None) in get_args(hint) else {hint}
    if parts == {Decimal}:
        settings.update(converter=_decimal, allow_leading_hyphen=True)
    if parts == {int}:
        settings.update(converter=_whole, allow_leading_hyphen=True)
    if get_origin(hint) is Literal:
        settings.update(converter=partial(_choice, get_args(hint)))
    if datetime in parts:
        settings.update(converter=_instant)
    if _table_shape(shape, field.name):
        hint = list[str]
    annotation = Annotated[hint | None, Parameter(**settings)]  # type: ignore[valid-type]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _flat(name: str, shape: type[Any]) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=shape(), annotation=shape)
