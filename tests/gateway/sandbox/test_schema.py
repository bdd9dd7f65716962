import datetime as dt
import enum
import re
import uuid
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.gateway.sandbox.schema import fit


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Tree(pydantic.BaseModel):
    name: str
    children: list["Tree"]
    parent: "Tree | None" = None


class Everything(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    text: Annotated[str, pydantic.Field(min_length=3, max_length=5)]
    long: Annotated[str, pydantic.Field(min_length=40)]
    code: Annotated[str, pydantic.Field(pattern=r"^[A-Z]{3}$")]
    whole: Annotated[int, pydantic.Field(ge=7, lt=9)]
    part: Annotated[float, pydantic.Field(gt=0, le=1)]
    even: Annotated[int, pydantic.Field(multiple_of=4, ge=10, le=13)]
    flag: bool
    nothing: None
    colour: Colour
    fixed: Literal["only"]
    either: int | str
    maybe: float | None
    items: Annotated[list[int], pydantic.Field(min_length=2, max_length=3)]
    pair: tuple[int, str]
    table: dict[str, int]
    tree: Tree
    day: dt.date
    moment: dt.datetime
    id: uuid.UUID


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=64))
def test_what_is_made_fits_a_rich_schema(digest: bytes) -> None:
    made = fit(Everything.model_json_schema(), digest)
    Everything.model_validate_json(msgspec.json.encode(made))


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=64))
def test_the_same_digest_makes_the_same_value(digest: bytes) -> None:
    schema = Everything.model_json_schema()
    assert fit(schema, digest) == fit(schema, digest)


@pytest.mark.parametrize(
    ("schema", "check"),
    [
        ({}, lambda value: isinstance(value, str)),
        ({"type": "string", "pattern": r"^\d{4}$"}, lambda value: re.fullmatch(r"\d{4}", value)),
        ({"type": ["null", "integer"]}, lambda value: isinstance(value, int)),
        ({"type": "null"}, lambda value: value is None),
        ({"properties": {"a": True}, "required": ["a", "b"]}, lambda value: set(value) == {"a", "b"}),
        ({"allOf": [{"properties": {"a": {"type": "null"}}, "required": ["a"]}]}, lambda value: value == {"a": None}),
        ({"type": "number", "minimum": 0.1, "maximum": 0.2}, lambda value: 0.1 <= value <= 0.2),
        ({"type": "integer", "exclusiveMaximum": 0}, lambda value: value < 0),
    ],
)
def test_small_schemas(schema: dict[str, Any], check: Any) -> None:
    assert check(fit(schema, b"x"))
