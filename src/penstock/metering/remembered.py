"""Counts remembered by digest: agents send the same messages again with every turn."""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

SHORT = 64
"""Characters up to which the text itself is the key."""


class Remembered(Generic[T]):
    """At most `most` results of a function of (name, text), the least used one forgotten first. For any thread."""

    def __init__(self, count: Callable[[str, str], T], most: int = 65_536) -> None:
        self._count = count
        self._most = most
        self._known: OrderedDict[tuple[str, bytes | str], T] = OrderedDict()
        self._lock = Lock()

    def __call__(self, name: str, text: str) -> T:
        """Return the count of `text` under `name`, made once."""
        key = (name, text if len(text) <= SHORT else digest(text))
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        made = self._count(name, text)
        with self._lock:
            self._known[key] = made
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return made

    def __len__(self) -> int:
        return len(self._known)


def digest(text: str) -> bytes:
    """Digest text, lone surrogates and all: 16 bytes."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
