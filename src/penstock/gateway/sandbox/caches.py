"""Prompt caches, as the providers keep them: which part of a prompt was seen a short while ago."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from penstock.gateway.sandbox.ask import Segment
from penstock.gateway.sandbox.models import Model
from penstock.gateway.sandbox.prices import Metered
from penstock.gateway.sandbox.tokens import count_text

BLOCK = 256
"""Bytes of a prompt whose digest is kept at a time."""
STEP = 128
"""OpenAI's cache grows in steps of so many tokens."""
OPENAI_LIFE = 600
LIVES = {"5m": 300, "1h": 3600}
"""Seconds for which a prefix stays warm; a read refreshes it."""


class PromptCache:
    """Digests of prompt prefixes with the instant at which they go cold; the oldest leave when it is full."""

    def __init__(self, limit: int = 500_000) -> None:
        self._limit = limit
        self._cold: OrderedDict[bytes, float] = OrderedDict()

    def openai(self, model: Model, owner: str, segments: Sequence[Segment], prompt: int, now: float) -> Metered:
        """Read what is warm and warm the rest; `prompt` is the number of tokens sent."""
        if not model.cache_minimum or prompt < model.cache_minimum:
            return Metered(input=prompt)
        text = b"\n".join(segment.text for segment in segments)
        chain = _chain(f"{model.name}/{owner}", [text[at : at + BLOCK] for at in range(0, len(text), BLOCK)])
        warm = 0
        for place, digest in enumerate(chain, start=1):
            if not self._is_warm(digest, now):
                break
            warm = place
        for digest in chain:
            self._keep(digest, now + OPENAI_LIFE)
        cached = 0
        if warm:
            known = count_text(model.name, text[: warm * BLOCK].decode(errors="ignore"))
            cached = min(known, prompt - 1) // STEP * STEP
        cached = cached if cached >= model.cache_minimum else 0
        return Metered(input=prompt - cached, cached=cached)

    def anthropic(self, model: Model, owner: str, segments: Sequence[Segment], prompt: int, now: float) -> Metered:
        """Read up to the last warm breakpoint, write from there to the last breakpoint."""
        places = [place for place, segment in enumerate(segments) if segment.mark][-4:]
        if not places:
            return Metered(input=prompt)
        chain = _chain(f"{model.name}/{owner}", [segment.text for segment in segments])
        ends: list[int] = []
        total = 0
        for segment in segments:
            total = min(total + count_text(model.name, segment.said), prompt)
            ends.append(total)
        places = [place for place in places if ends[place] >= model.cache_minimum]
        if not places:
            return Metered(input=prompt)
        warm = self._warmest(chain, places, now)
        cached = ends[warm] if warm >= 0 else 0
        writes = {"5m": 0, "1h": 0}
        done = cached
        for place in places:
            mark = segments[place].mark
            if place <= warm:
                self._keep(chain[place], now + LIVES[mark])
                continue
            writes[mark] += ends[place] - done
            done = ends[place]
            self._keep(chain[place], now + LIVES[mark])
        return Metered(input=prompt - done, cached=cached, write_5m=writes["5m"], write_1h=writes["1h"])

    def _warmest(self, chain: list[bytes], places: list[int], now: float) -> int:
        """Find the longest warm prefix; each breakpoint looks back over 20 blocks."""
        for place in reversed(places):
            for earlier in range(place, max(-1, place - 20), -1):
                if self._is_warm(chain[earlier], now):
                    return earlier
        return -1

    def _is_warm(self, digest: bytes, now: float) -> bool:
        return digest in self._cold and self._cold[digest] >= now

    def _keep(self, digest: bytes, until: float) -> None:
        self._cold[digest] = max(until, self._cold.get(digest, until))
        self._cold.move_to_end(digest)
        if len(self._cold) > self._limit:
            self._cold.popitem(last=False)


def _chain(seed: str, parts: Sequence[bytes]) -> list[bytes]:
    """Digest every prefix of the parts."""
    digests = []
    before = seed.encode()
    for part in parts:
        before = hashlib.blake2b(before + part, digest_size=16).digest()
        digests.append(before)
    return digests
