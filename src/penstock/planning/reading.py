"""A calculator's inputs from text, field by field: each that cannot be used has a sentence of its own."""

import dataclasses
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation, Overflow
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from penstock.errors import PlanError
from penstock.planning.quantity import Inputs, Unit, units

YES = ("yes", "true", "1", "on")
NO = ("no", "false", "0", "off", "")


def read(shape: type[Inputs], given: Mapping[str, str]) -> tuple[Inputs | None, dict[str, str]]:
    """Make the inputs; or say of each field why it cannot be used. Empty text stands for the default."""
    values, wrong = {}, {}
    fields: Any = dataclasses.fields(shape)  # type: ignore[arg-type]
    for field in fields:
        text = given.get(field.name, "").strip()
        if not text:
            if is_required(field):
                wrong[field.name] = "is missing"
            continue
        try:
            values[field.name] = value_of(shape, field.name, text)
        except PlanError as error:
            wrong[field.name] = error.problem
    if wrong:
        return None, wrong
    try:
        return msgspec.convert(values, shape, strict=False), {}
    except PlanError as error:
        return None, {error.field: error.problem}
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$.")
        return None, {place.rstrip("`").partition("[")[0]: problem[:1].lower() + problem[1:]}


def is_required(field: "dataclasses.Field[Any]") -> bool:
    """Say whether a field has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def table_of(shape: Any, name: str) -> Any:
    """Return the dataclass of a field that holds tables, else None."""
    hint = get_type_hints(shape)[name]
    inner = get_args(hint)[0] if get_origin(hint) is tuple else None
    return inner if dataclasses.is_dataclass(inner) else None


def value_of(shape: Any, name: str, text: str) -> Any:
    """Read one field's text. Raises PlanError that names the field."""
    hint = get_type_hints(shape)[name]
    kinds = {kind for kind in (hint, *get_args(hint)) if isinstance(kind, type)}
    if table_of(shape, name):
        return [_table(name, line) for line in text.splitlines() if line.strip()]
    if get_origin(hint) is Literal or kinds == {str}:
        return text
    if bool in kinds:
        if text.lower() not in (*YES, *NO):
            raise PlanError(name, f"{text!r} is neither yes nor no")
        return text.lower() in YES
    if Decimal in kinds or int in kinds:
        number = _number(name, text)
        if Decimal in kinds:
            return number
        if number != number.to_integral_value():
            raise PlanError(name, f"{text!r} is not a whole number")
        return int(number)
    return text


def _number(name: str, text: str) -> Decimal:
    plain = text.removesuffix("%").strip().removeprefix("$").replace(",", "").replace("_", "")
    try:
        number = Decimal(plain) / (100 if text.endswith("%") else 1)
    except (InvalidOperation, Overflow):
        raise PlanError(name, f"{text[:60]!r} is not a number") from None
    if not number.is_finite() or abs(number) > 10**15:
        raise PlanError(name, f"{text[:60]!r} is too large to mean anything")
    return number


def _table(name: str, line: str) -> dict[str, str]:
    parts = [part.partition("=") for part in line.split(",")]
    if not all(equals for _, equals, _ in parts):
        raise PlanError(name, f"{line[:60]!r} is not of the form name=value,name=value")
    return {key.strip(): value.strip() for key, _, value in parts}


def written(shape: Any, name: str, value: Any) -> str:
    """Write a value as `read` reads it: shares as per cent, tables a line each."""
    unit: Unit | None = units(shape).get(name)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        plain = value * 100 if unit and unit.name == "%" else value
        text = f"{plain.normalize():f}"
        return f"{text}%" if unit and unit.name == "%" else text
    if isinstance(value, tuple):
        return "\n".join(_line(item) for item in value)
    return str(value)


def _line(item: Any) -> str:
    if not dataclasses.is_dataclass(item):
        return str(item)
    parts = []
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if value not in (field.default, ""):
            parts.append(f"{field.name}={value}")
    return ",".join(parts)
