"""What an importer makes of a file: drafts of events, and rows it refuses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import BinaryIO, Literal

from msgspec import Struct

from penstock.metering.event import UsageEvent


class Draft(Struct, frozen=True, gc=False):
    """A usage event that has neither an id nor a price yet; `event.model` is the name that the source uses."""

    event: UsageEvent
    content: str
    """The row in a form that survives renaming, re-compression and other line ends of its file."""
    source_id: str = ""
    """The source's own id of the row; empty: equal rows are told apart by counting them."""
    line: int = 0
    """Where it stands, as in `Rejected`; 0 where a row of the file is more or less than one event."""
    only_charged: bool = False
    """The row says what was charged and not what was used: no price of ours can be put on it."""
    meter: str = ""
    """What a bill calls this charge: its meter, SKU or line item."""
    unit_price: Decimal | None = None
    """Dollars for one token, where a bill says them."""


class Rejected(Struct, frozen=True, gc=False):
    """A row that is not booked: where it stands, a stable code, a sentence, and the row itself."""

    line: int
    """Line of the file, from 1; for one JSON document the ordinal of its result, from 1."""
    code: str
    reason: str
    row: str = ""


class Note(Struct, frozen=True, gc=False):
    """Something about the whole file that its user should know."""

    text: str
    charged: Decimal | None = None
    """Dollars of rows that are not read, where a bill says them ..."""
    rows: int = 0
    """... and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What the user says about rows that do not say it themselves; the row's own word comes first."""

    provider: str = ""
    model: str = ""
    deployment_type: str = ""
    region: str = ""
    mode: str = ""
    team: str = ""
    app: str = ""
    shift_to: datetime | None = None
    """Move a trace in time so that its first row falls on this instant."""


@dataclass(frozen=True)
class Sample:
    """The beginning of a file, as a format's `sniff` sees it."""

    text: str
    """Of a Parquet file: the names of its columns, as the header of a CSV."""
    is_parquet: bool = False

    @property
    def header(self) -> str:
        """The first line that is not empty."""
        return next((line.strip() for line in self.text.splitlines() if line.strip()), "")


@dataclass(frozen=True)
class Guess:
    """Whether a file is of a format, and the sentence that says why, or why not."""

    fits: bool
    why: str
    near: float = 0.0
    """How much of what it looked for is there, from 0 to 1: what to name where nothing fits."""


def recognise(sample: Sample, what: str, *marks: str) -> Guess:
    """Look for all of `marks` in the beginning of a text file."""
    lacking = [mark for mark in marks if mark not in sample.text]
    shown = ", ".join(mark.strip('"') for mark in marks if len(mark) > 1)
    if sample.is_parquet:
        return Guess(False, "it is a Parquet file")
    if not lacking:
        return Guess(True, f"it holds {what}: {shown}")
    return Guess(False, f"{what} have {', '.join(lacking)}", 1 - len(lacking) / len(marks))


Kind = Literal["log", "aggregate", "bill"]
"""What a row is: one request; the sum of many; what was charged."""


@dataclass(frozen=True)
class Format:
    """One kind of file: how to recognise it and how to read it."""

    name: str
    about: str
    sniff: Callable[[Sample, Assumed], Guess]
    read: Callable[[BinaryIO, Assumed, datetime], Iterator[Draft | Rejected | Note]]
    """From an open byte stream, what the user assumes, and the present instant."""
    kind: Kind = "log"
    books: bool = True
    """Whether its rows are events; else only what they say is said."""
    needs: tuple[str, ...] = ()
    """Fields of `Assumed` without which its rows mean nothing."""
