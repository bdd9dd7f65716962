"""Rules made by command, and where running gateways say how far their counters are."""

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from penstock.ledger.state import State
from penstock.policies.budgets.rules import Rules

KEY = "governance"
PUBLISHED = "budgets.json"
FRESH_SECONDS = 10.0


def made_rules(state: State) -> Rules:
    """Return the rules made by command that this ledger's state holds."""
    text = state.get(KEY)
    return msgspec.json.decode(text, type=Rules) if text else Rules()


def keep_rules(state: State, rules: Rules) -> None:
    """Keep the rules made by command; running workers see them within a second."""
    state.set(KEY, msgspec.json.encode(rules).decode())


class Published(Struct, frozen=True, kw_only=True):
    """The counters of a worker that keeps them in its own memory, as of a moment ago."""

    at: float
    """Unix time."""
    pid: int
    rebuilt: int
    """The number of the last rebuilding that was asked for and is done."""
    budgets: tuple[str, ...]
    """Ids of the budgets whose counters it keeps."""
    spent: dict[str, str]
    """Counter -> atto-dollars, as text: they are larger than JSON's numbers."""
    reserved: dict[str, str]
    workers: int = 1
    """Several, each with counters of its own: no call under a budget or limit is let through."""

    @property
    def age(self) -> float:
        """Seconds since."""
        return datetime.now(UTC).timestamp() - self.at


def publish(folder: Path, published: Published) -> None:
    """Write it where `penstock budgets status` and the control process look."""
    file = folder / PUBLISHED
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(msgspec.json.encode(published))
    part.replace(file)


def published(folder: Path) -> Published | None:
    """Read what a worker published; None where none is running."""
    try:
        found = msgspec.json.decode((folder / PUBLISHED).read_bytes(), type=Published)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.age < FRESH_SECONDS else None
