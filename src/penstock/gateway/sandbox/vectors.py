"""Embeddings: texts that share words lie near each other, and the same text is always at the same place."""

import base64
import hashlib
import math
import re
from array import array
from functools import lru_cache

_WORD = re.compile(r"\w+")


@lru_cache(maxsize=10_000)
def _places(word: str) -> tuple[tuple[int, float], ...]:
    digest = hashlib.blake2b(word.encode(), digest_size=24).digest()
    return tuple(
        (int.from_bytes(digest[at : at + 2]), 1.0 if digest[at + 2] & 1 else -1.0) for at in range(0, len(digest), 3)
    )


def embed(text: str, dimensions: int) -> "array[float]":
    """Return a vector of length 1: single-precision numbers, as the real ones are."""
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.lower()) or [text]:
        for place, sign in _places(word):
            vector[place % dimensions] += sign
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return array("f", [value / length for value in vector])


def encoded(vector: "array[float]") -> str:
    """Return the vector as the clients ask for it: little-endian floats in base64."""
    return base64.b64encode(vector.tobytes()).decode()
