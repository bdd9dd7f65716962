"""OpenAI's vocabularies, shipped with Penstock: exact counts without a network.

`tiktoken.get_encoding` would download them; it is never called. See data/NOTICE.txt for their licence, and
tools/pack_vocabularies.py for how the files are made.
"""

import hashlib
import lzma
from functools import cache
from importlib.resources import files
from typing import Literal

import tiktoken

from penstock.errors import InputError

Vocabulary = Literal["o200k_base", "cl100k_base"]

LONGEST_PIECE = 400_000
"""Characters tokenised at a time. Beyond about a million spaces the regex engine of tiktoken 0.14 panics, with an
exception that `except Exception` does not catch. A cut costs at most one token."""

CONTENT = {
    "o200k_base": "bac143fe7fe950090c6e4ed9a2f80de5412a92495758b52becbbe5a7eea25ecb",
    "cl100k_base": "6bfd43f7b31b50b645b3228413547e662af1ae4801e9b192b9791680a71d650c",
}
"""SHA-256 of the unpacked files."""

_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PATTERNS = {
    "o200k_base": "|".join(
        [
            rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}",
            rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]
    ),
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
}
"""How text is cut before pairs are merged: facts of the vocabulary, as tiktoken 0.14 states them."""


def ranks(name: Vocabulary) -> dict[bytes, int]:
    """Unpack a vocabulary: token -> rank. InputError when the file is not the one that was shipped."""
    content = lzma.decompress((files("penstock.metering") / "data" / f"{name}.xz").read_bytes())
    if hashlib.sha256(content).hexdigest() != CONTENT[name]:
        raise InputError(f"The vocabulary file {name}.xz is damaged: its SHA-256 differs. Install Penstock anew.")
    found: dict[bytes, int] = {}
    place = 0
    while place < len(content):
        end = place + 1 + content[place]
        found[content[place + 1 : end]] = len(found)
        place = end
    return found


@cache
def encoding(name: Vocabulary) -> tiktoken.Encoding:
    """Load a vocabulary once; about half a second, so not on the event loop.

    It knows no special tokens: a text that spells `<|endoftext|>` is text. So the one for gpt-oss (o200k_harmony,
    which adds nothing but special tokens) counts the same as o200k_base.
    """
    found = tiktoken.Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=ranks(name), special_tokens={})
    found._mergeable_ranks = {}  # noqa: SLF001  # a second copy, 20 MB, of what its core has; counting needs the core
    return found


def encode(name: Vocabulary, text: str) -> list[int]:
    """Turn text into ranks. Lone surrogates count as U+FFFD."""
    exact = encoding(name)
    if len(text) <= LONGEST_PIECE:
        return exact.encode_ordinary(text)
    pieces = (text[start : start + LONGEST_PIECE] for start in range(0, len(text), LONGEST_PIECE))
    return [rank for piece in pieces for rank in exact.encode_ordinary(piece)]


def count(name: Vocabulary, text: str) -> int:
    """Count the tokens of `text`, exactly."""
    return len(encode(name, text))
