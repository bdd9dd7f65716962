"""Which levers are off for which key: rows of the small state, which workers watch."""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

from penstock.errors import InputError
from penstock.ledger.state import State

PREFIX = "lever:"
PAST = "lever;"
"""The first text after every one that begins with the prefix."""


class Standing(Struct, frozen=True, kw_only=True):
    """Where a lever stands for one key. What has no row is on, and always was."""

    lever: str
    key: str
    state: Literal["on", "rolled_back"]
    at: datetime
    """Since when; only what was judged from then on counts for a lever that was taken up again."""
    reason: str = ""
    times: int = 1
    """How many proofs were begun: each later one must be surer, so that all together keep their level."""


def standings(state: State) -> dict[tuple[str, str], Standing]:
    """Return every row, by lever and key."""
    rows = state.read("SELECT value FROM settings WHERE key >= ? AND key < ?", PREFIX, PAST)
    found = [msgspec.json.decode(text, type=Standing) for (text,) in rows]
    return {(one.lever, one.key): one for one in found}


def roll_back(state: State, lever: str, key: str, *, reason: str, at: datetime) -> bool:
    """Take a lever back for one key; False where it is back already. Running workers see it within a second."""
    return _set(state, lever, key, "rolled_back", reason=reason, at=at)


def resume(state: State, lever: str, key: str, *, at: datetime) -> Standing:
    """Let a lever act again, and begin its proof anew. Raises InputError where it is not rolled back."""
    before = standings(state).get((lever, key))
    if before is None or before.state != "rolled_back":
        raise InputError(f"{lever} is not rolled back for the key {key!r}. See: penstock savings")
    _set(state, lever, key, "on", reason="", at=at)
    return standings(state)[lever, key]


def _set(state: State, lever: str, key: str, to: Literal["on", "rolled_back"], *, reason: str, at: datetime) -> bool:
    name = f"{PREFIX}{lever}:{key}"
    with state.transaction() as write:
        row = write.execute("SELECT value FROM settings WHERE key = ?", (name,)).fetchone()
        before = msgspec.json.decode(row[0], type=Standing) if row else None
        if before is not None and before.state == to:
            return False
        times = before.times if before else 1
        after = Standing(
            lever=lever, key=key, state=to, at=at, reason=reason, times=times + (to == "on" and before is not None)
        )
        write.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, msgspec.json.encode(after).decode()))
    return True


class LeverWatch:
    """What is rolled back, as a worker knows it; `look` reads again only when somebody has committed something."""

    def __init__(self, state: State) -> None:
        """Read it once. Raises LedgerError where it cannot be read."""
        self._state = state
        self._version: object = None
        self.off: frozenset[tuple[str, str]] = frozenset()
        self.look()

    def is_off(self, lever: str, key: str) -> bool:
        """Whether `lever` must leave calls of `key` alone."""
        return (lever, key) in self.off

    def look(self) -> None:
        """Take the rows anew if anything has changed."""
        version = self._state.version()
        if version != self._version:
            self._version = version
            self.off = frozenset(name for name, one in standings(self._state).items() if one.state == "rolled_back")
