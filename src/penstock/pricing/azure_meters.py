"""Meter names of the Azure retail price list: one thing is spelled in many ways, and no spelling is guessed.

`gpt 4o 1120 cached Inp glbl Tokens`, `gpt-4o-mini-0718-Outp-glbl Tokens`, `gpt 4o mini0718 BatchOutp DataZone Tokens`,
`5.6 luna ShortCo Cd Wr Std DZ 1M Tokens`: a model, perhaps a version, then words from a small vocabulary. A meter with
any other word in it is not understood, and is listed.
"""

import re
from typing import Literal

from msgspec import Struct

LONG_CONTEXT = 272_000
"""Input tokens above which the `LongCo` meters bill (price maps' `_above_272k_tokens`, read 2026-11-23)."""

OPENAI, DEEPSEEK, PHI = "openai", "deepseek", "phi"

MODELS: dict[str, tuple[str, str, dict[str, str]]] = {
    "gpt 4o mini": ("gpt-4o-mini", OPENAI, {"0718": "2024-07-18"}),
    "gpt 4o": ("gpt-4o", OPENAI, {"0513": "2024-05-13", "0806": "2024-08-06", "1120": "2024-11-20"}),
    "gpt 4.1 mini": ("gpt-4.1-mini", OPENAI, {"0414": "2025-04-14"}),
    "gpt 4.1 nano": ("gpt-4.1-nano", OPENAI, {"0414": "2025-04-14"}),
    "gpt 4.1": ("gpt-4.1", OPENAI, {"0414": "2025-04-14"}),
    "o1": ("o1", OPENAI, {"1217": "2024-12-17"}),
    "o3 mini": ("o3-mini", OPENAI, {"0131": "2025-01-31"}),
    "o3": ("o3", OPENAI, {"0416": "2025-04-16"}),
    "o4 mini": ("o4-mini", OPENAI, {"0416": "2025-04-16"}),
    "5": ("gpt-5", OPENAI, {"0807": "2025-08-07"}),
    "5 mini": ("gpt-5-mini", OPENAI, {"0807": "2025-08-07"}),
    "5 nano": ("gpt-5-nano", OPENAI, {"0807": "2025-08-07"}),
    "5.1": ("gpt-5.1", OPENAI, {}),
    "5.2": ("gpt-5.2", OPENAI, {}),
    "5.4 mini": ("gpt-5.4-mini", OPENAI, {}),
    "5.4": ("gpt-5.4", OPENAI, {}),
    "5.5": ("gpt-5.5", OPENAI, {}),
    "5.6 luna": ("gpt-5.6-luna", OPENAI, {}),
    "5.6 terra": ("gpt-5.6-terra", OPENAI, {}),
    "5.6 sol": ("gpt-5.6-sol", OPENAI, {}),
    "6 sol": ("gpt-6-sol", OPENAI, {}),
    "6 astra": ("gpt-6-astra", OPENAI, {}),
    "text embedding 3 small": ("text-embedding-3-small", OPENAI, {}),
    "text embedding 3 large": ("text-embedding-3-large", OPENAI, {}),
    "r1": ("DeepSeek-R1", DEEPSEEK, {}),
    "phi 4": ("Phi-4", PHI, {}),
}
"""By the way a name begins, in plain words: model, maker, and the versions that its meters name by month and day."""

EMBEDDINGS = ("text embedding",)

WORDS = {
    **dict.fromkeys(("inp", "inpt", "input"), "input"),
    **dict.fromkeys(("outp", "outpt", "opt", "output"), "output"),
    **dict.fromkeys(("cached", "cchd", "cd"), "cached"),
    "wr": "write",
    "batch": "batch",
    "pp": "priority",
    "std": "standard",
    **dict.fromkeys(("glbl", "global", "gl"), "global"),
    **dict.fromkeys(("data zone", "dzone", "dz"), "data_zone"),
    **dict.fromkeys(("regnl", "regional", "rgnl"), "regional"),
    "short co": "short",
    "long co": "long",
}
"""What each word of a meter name says. `1M` and `1K` repeat the unit, which is read from its own field."""

NOT_TOKENS = {
    "ft": "fine-tuning",
    "hosting": "fine-tuning",
    "grdr": "fine-tuning (grader)",
    "provisioned": "provisioned capacity, paid by the hour",
    "spot": "a Spot price",
    "low priority": "a low-priority price",
    "aud": "audio",
    "img": "images",
}
"""Words of meters that are no text tokens, and what those meters are for."""


class Meter(Struct, frozen=True, kw_only=True):
    """What a meter name says."""

    model: str
    version: str
    deployment_type: str
    mode: Literal["standard", "batch", "priority"]
    context_over: int
    unit: str
    """The bucket of `Usage`."""


def plain_words(name: str) -> str:
    """Write a meter name in lower-case words: `gpt-4o-mini0718 BatchOutp` is `gpt 4o mini 0718 batch outp`."""
    text = re.sub(r"\s+(Tokens|Unit)$", "", name.strip())
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    text = re.sub(r"[-_\s]+", " ", text).lower()
    text = re.sub(r"(?<=[a-z]{3})(?=\d{4}\b)", " ", text)
    return re.sub(r" ?\b1[mk]\b", "", text).strip()


def read_meter(name: str, product: str) -> Meter | str:
    """Read a meter name; a sentence, where it is not understood or not about text tokens."""
    words = plain_words(name)
    for word, what in NOT_TOKENS.items():
        if re.search(rf"\b{word}\b", words):
            return what
    found = _model(words, product)
    if found is None:
        return "a model that is not known here"
    stem, model, maker, versions = found
    rest = (words if words.startswith(stem) else words.removeprefix("gpt "))[len(stem) :].strip()
    version = ""
    said: set[str] = set()
    while rest:
        word = next((one for one in WORDS if re.match(rf"{one}(\s|$)", rest)), rest.split()[0])
        rest = rest.removeprefix(word).strip()
        if word in versions:
            version = versions[word]
        elif word in WORDS:
            said.add(WORDS[word])
        else:
            return f"the word {word!r} is not known"
    return _meter(model, version, maker, said, embedding=stem.startswith(EMBEDDINGS))


def _model(words: str, product: str) -> tuple[str, str, str, dict[str, str]] | None:
    maker = next((one for one in (DEEPSEEK, PHI) if one in product.lower()), OPENAI)
    for stem in sorted(MODELS, key=len, reverse=True):
        model, its_maker, versions = MODELS[stem]
        # "5 mini" stands as "5 mini" or "gpt 5 mini"
        if its_maker == maker and re.match(rf"(gpt )?{re.escape(stem)}(\s|$)", words):
            return stem, model, maker, versions
    return None


def _meter(model: str, version: str, maker: str, said: set[str], *, embedding: bool) -> Meter | str:
    types = said & {"global", "data_zone", "regional"}
    if len(types) > 1:
        return f"it names {' and '.join(sorted(types))}"
    if not types and maker == OPENAI:
        return "it names no deployment type"
    if {"batch", "priority"} <= said:
        return "it names batch and priority"
    if {"short", "long"} <= said:
        return "it names short and long context"
    unit = _unit(said, embedding=embedding)
    if unit is None:
        return "it does not say which tokens it bills"
    return Meter(
        model=model,
        version=version,
        # other makers' meters carry no zone: the list prices them once, wherever they run
        deployment_type=next(iter(types), "global"),
        mode="batch" if "batch" in said else "priority" if "priority" in said else "standard",
        context_over=LONG_CONTEXT if "long" in said else 0,
        unit=unit,
    )


def _unit(said: set[str], *, embedding: bool) -> str | None:
    kinds = said & {"input", "output", "cached", "write"}
    if embedding and kinds <= {"input"}:
        return "input"
    return {
        frozenset({"input"}): "input",
        frozenset({"output"}): "output",
        frozenset({"cached", "input"}): "cache_read",
        frozenset({"cached"}): "cache_read",
        frozenset({"cached", "write"}): "cache_write",
        frozenset({"cached", "write", "input"}): "cache_write",
    }.get(frozenset(kinds))
