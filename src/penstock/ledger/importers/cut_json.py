"""What stands whole in a JSON document that ends early, or breaks somewhere."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

Lists = Mapping[str, tuple[str, ...]]
"""Name of a list whose elements may stand alone -> names that its object must have before it, for them to be exact."""
NO_LISTS: Lists = {}
DEEPEST = 8
"""Objects in lists in objects that are looked into."""

SPACE = re.compile(r"[ \t\r\n]*")
DECODER = json.JSONDecoder(parse_float=Decimal)


def whole_parts(text: str, at: int, lists: Lists, depth: int = 0) -> tuple[Any, int]:
    """Read the broken value at `at`: what may be kept of it (None: nothing), and where it breaks.

    Kept are the whole elements of an array, and an object as far as the last of `lists` in it. Whatever was open where
    the text breaks, and is in no such list, is dropped: its second half might have said something else.
    """
    begin = text[at : at + 1]
    if begin == "[" and not depth:
        return _elements(text, at, lists, depth)
    return _members(text, at, lists, depth) if begin == "{" and depth < DEEPEST else (None, at)


def _elements(text: str, at: int, lists: Lists, depth: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    while True:
        at = _skip(text, at + 1)  # the bracket, or a comma
        try:
            value, end = DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            value, end = whole_parts(text, at, lists, depth + 1)
            return found + ([] if value is None else [value]), end
        found.append(value)
        at = _skip(text, end)
        if text[at : at + 1] != ",":
            return found, at


def _members(text: str, at: int, lists: Lists, depth: int) -> tuple[dict[str, Any] | None, int]:
    found: dict[str, Any] = {}
    kept: dict[str, Any] | None = None
    while True:
        at = _skip(text, at + 1)  # the brace, or a comma
        try:
            name, end = DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return kept, at
        end = _skip(text, end)
        if not isinstance(name, str) or text[end : end + 1] != ":":
            return kept, at
        at = _skip(text, end + 1)
        may_stand = name in lists and text[at : at + 1] == "[" and all(need in found for need in lists[name])
        try:
            found[name], end = DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            if not may_stand:
                return kept, at
            found[name], end = _elements(text, at, lists, depth)
            return found, end
        if may_stand:
            kept = dict(found)
        at = _skip(text, end)
        if text[at : at + 1] != ",":
            return kept, at


def _skip(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return found.end() if found else at
