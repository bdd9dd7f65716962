"""Which vocabulary, ratio and picture rule serve a model: dated rows of data, found by the longest prefix."""

import tomllib
from collections.abc import Sequence
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal, Protocol, TypeVar

import msgspec
from msgspec import Struct

from penstock.metering.vocabulary import Vocabulary

VENDORS = ("claude", "gpt-oss", "llama", "mistral", "deepseek", "qwen", "gemini")
"""Names that others put a prefix to: `us.anthropic.claude-...`, `azure_ai/meta-llama-3...`."""


class Tokenizer(Struct, frozen=True, forbid_unknown_fields=True):
    """How the tokens of a family of models are counted."""

    prefixes: tuple[str, ...]
    vocabulary: Vocabulary
    exact: bool = False
    """The vocabulary is the model's own."""
    hidden_reasoning: bool = False
    """Part of the output is never sent."""
    family: str = "openai"
    ratios: dict[str, float] = {}
    """Tokens of the family for one of the vocabulary, by class of content; `prose` stands for those not named."""
    band: float = 0.0
    """Relative error within which 95 of 100 documents lie."""
    ctok: str = ""
    """Version that the package ctok counts by."""
    splintr: str = ""
    """Name of the family's own vocabulary in the package splintr."""
    message: int = 3
    """Tokens around each message, in OpenAI's protocol."""
    tool_system: int = 0
    tool_each: int = 0
    """Tokens that tools add beside their JSON: once, and for each."""


class Picture(Struct, frozen=True, forbid_unknown_fields=True):
    """How many tokens a picture takes."""

    prefixes: tuple[str, ...]
    rule: Literal["tiles", "patches", "cells", "squares"]
    base: int = 0
    each: int = 0
    fit: int = 2048
    short: int = 768
    factor: Decimal = Decimal(1)
    most: int = 0
    most_original: int = 0
    """Most patches at `detail: original`; 0: that detail is unknown to the model."""
    side: int = 0
    small: int = 0
    guess: bool = False


class _Row(Protocol):
    @property
    def prefixes(self) -> tuple[str, ...]: ...


Row = TypeVar("Row", bound=_Row)


@cache
def tokenizers() -> tuple[Tokenizer, ...]:
    """Return all rows of data/tokenizers.toml."""
    return msgspec.convert(_table("tokenizers.toml")["tokenizer"], tuple[Tokenizer, ...])


@cache
def pictures() -> tuple[Picture, ...]:
    """Return all rows of data/images.toml."""
    return msgspec.convert(_table("images.toml")["picture"], tuple[Picture, ...])


@lru_cache(maxsize=1024)
def tokenizer_of(model: str) -> Tokenizer:
    """Find how the tokens of `model` are counted; a name that nobody knows is a guess of its own."""
    return _longest(tokenizers(), plain_name(model))


@lru_cache(maxsize=1024)
def picture_of(model: str) -> Picture:
    """Find how many tokens a picture takes at `model`."""
    return _longest(pictures(), plain_name(model))


def plain_name(model: str) -> str:
    """Strip what stands around a model's own name: a path, a cloud's prefix, `ft:`."""
    name = model.lower().rsplit("/", 1)[-1].removeprefix("ft:")
    for vendor in VENDORS:
        if vendor in name:
            return name[name.index(vendor) :]
    return name


def _longest(rows: Sequence[Row], name: str) -> Row:
    found = [(len(prefix), row) for row in rows for prefix in row.prefixes if name.startswith(prefix)]
    return max(found, key=lambda pair: pair[0])[1]


def _table(file: str) -> dict[str, object]:
    return tomllib.loads((files("penstock.metering") / "data" / file).read_text(encoding="utf-8"))
