"""One import: a file in, priced events out, bad rows set aside. Importing it again changes nothing."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from penstock.errors import InputError
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Note, Rejected
from penstock.ledger.importers.equal_rows import EqualRows
from penstock.ledger.importers.lines import open_stream
from penstock.ledger.store import Ledger
from penstock.metering.event import UsageEvent
from penstock.pricing.catalog import Catalog, PriceKey
from penstock.pricing.cost import Cost, cost_of

EXAMPLES = 5
"""Rejected rows that are kept in memory, to be shown."""


KEYS = 10_000
"""Price keys remembered, so that a file of strange names does not fill the memory."""


@dataclass
class Imported:
    """What came of one file. Money is in dollars; `cost` covers the priced events read, new or known."""

    file: Path
    format: str
    why: str
    books: bool = True
    """Whether a file of this format holds events at all."""
    read: int = 0
    """Events that the file holds."""
    new: int = 0
    duplicates: int = 0
    """Events that the ledger had already."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Rows that are not booked, by the code of the reason."""
    examples: list[Rejected] = field(default_factory=list)
    rejects: Path | None = None
    """Where the rejected rows are, with line number and reason."""
    notes: list[str] = field(default_factory=list)
    cost: Decimal = Decimal(0)
    unpriced: Counter[str] = field(default_factory=Counter)
    """Events without a price, by model."""
    early: Counter[str] = field(default_factory=Counter)
    """Events older than every price known, by the row that stands in."""
    provider_cost: Decimal | None = None
    """What the source says was charged, where it says so and the price books do, too ..."""
    compared: Decimal = Decimal(0)
    """... and what the price books say for those same events."""
    charged: Counter[str] = field(default_factory=Counter)
    """Events that say what was charged and nothing that could be priced, by model."""
    charges: Decimal = Decimal(0)
    """What the source says was charged for all events without a price of ours: it is in no total."""
    first: datetime | None = None
    last: datetime | None = None

    @property
    def complete(self) -> bool:
        """Whether the file was read to its end, and anything in it could be booked."""
        return (self.read > 0 or not self.books) and "truncated_file" not in self.rejected


def import_file(
    path: Path,
    chosen: tuple[Format, str],
    *,
    assumed: Assumed,
    catalog: Catalog,
    now: datetime,
    ledger: Ledger | None,
    progress: Callable[[int], None] = lambda _position: None,
) -> Imported:
    """Read `path` in the format chosen for it and book its events; without a ledger only say what would come.

    `progress` is told how many bytes of the file have been read.
    """
    format_, why = chosen
    outcome = Imported(path, format_.name, why, format_.books)
    stream, raw = open_stream(path)
    with raw, stream, EqualRows() as seen, closing(Rejects(outcome, ledger.folder if ledger else None)) as rejects:
        events = _events(format_.read(stream, assumed, now), Pricing(catalog), seen, rejects, outcome)
        watched = _watched(events, raw.tell, progress)
        try:
            if ledger:
                added = ledger.add(watched, source=format_.name)
                outcome.new, outcome.duplicates = added.new, added.duplicates
            else:
                deque(watched, maxlen=0)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return outcome


def _watched(
    events: Iterator[UsageEvent], position: Callable[[], int], progress: Callable[[int], None]
) -> Iterator[UsageEvent]:
    for number, event in enumerate(events):
        if number % 1000 == 0:
            progress(position())
        yield event


def _events(
    items: Iterator[Draft | Rejected | Note],
    pricing: "Pricing",
    seen: EqualRows,
    rejects: "Rejects",
    outcome: Imported,
) -> Iterator[UsageEvent]:
    """Turn drafts into events: name them, price them, count them."""
    for item in items:
        if isinstance(item, Note):
            outcome.notes.append(item.text)
        elif isinstance(item, Rejected):
            rejects.add(item)
        elif item.source_id and seen.contradicts(item.source_id, item.content):
            name = item.source_id.replace("\x1f", " ").strip()
            reason = f"the id {name} stood in this file before, with other values: give attempts numbers of their own"
            rejects.add(Rejected(item.line, "repeated_id", reason, item.content.replace("\x1f", " ")))
        else:
            event = pricing.priced(
                item.event, id=_id(outcome.format, item, seen), source=outcome.format, only_charged=item.only_charged
            )
            _count(event, pricing, outcome)
            yield event


def _id(format_name: str, draft: Draft, seen: EqualRows) -> str:
    """Digest what stays the same when the file is renamed, packed anew or reordered."""
    if draft.source_id:
        return id_of(format_name, "id", draft.source_id)
    return id_of(format_name, "row", draft.content, str(seen.ordinal(draft.content)))


def id_of(format_name: str, *own: str) -> str:
    """Return an event's id: 32 hex digits, made of what the source says."""
    return sha256("\x1e".join((format_name, *own)).encode()).hexdigest()[:32]


def _count(event: UsageEvent, pricing: "Pricing", outcome: Imported) -> None:
    outcome.read += 1
    outcome.first = min(outcome.first or event.at, event.at)
    outcome.last = max(outcome.last or event.at, event.at)
    if event.cost is None:
        only_charged = event.provider_cost is not None and not event.usage.units()
        (outcome.charged if only_charged else outcome.unpriced)[event.model] += 1
        outcome.charges += event.provider_cost or Decimal(0)
    else:
        outcome.cost += event.cost
    if event.price_row and event.at < pricing.starts[event.price_row]:
        outcome.early[event.price_row] += 1
    if event.provider_cost is not None and event.cost is not None:
        outcome.provider_cost = (outcome.provider_cost or Decimal(0)) + event.provider_cost
        outcome.compared += event.cost


class Pricing:
    """Puts a price on drafts, each as of its own instant."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._keys: dict[tuple[str, ...], PriceKey] = {}
        self.starts: dict[str, datetime] = {}
        """When the rows that were used come into force."""

    def priced(
        self,
        event: UsageEvent,
        *,
        id: str,  # noqa: A002  # its field's name
        source: str,
        only_charged: bool = False,
    ) -> UsageEvent:
        """Name the event, and the model as the books do, and price the usage; a mere charge has none to price."""
        key = self.key(event)
        cost = Cost(state="unpriced", total=None) if only_charged else self._cost(key, event)
        return replace(
            event, id=id, source=source, request_id=event.request_id or id, model=key.model, version=key.version,
            price_state=cost.state, cost=cost.total, price_book=cost.book, price_row=cost.row, price_hash=cost.row_hash,
        )  # fmt: skip

    def key(self, event: UsageEvent) -> PriceKey:
        """Name what was used as the price books do."""
        said = (event.provider, event.model, event.version, event.deployment_type, event.region, event.mode)
        key = self._keys.get(said)
        if key is None:
            model, version = self._catalog.identify(event.provider, event.model)
            key = PriceKey(
                provider=event.provider, model=model, version=event.version or version,
                deployment_type=event.deployment_type, region=event.region, mode=event.mode,
            )  # fmt: skip
            if len(self._keys) < KEYS:
                self._keys[said] = key
        return key

    def _cost(self, key: PriceKey, event: UsageEvent) -> Cost:
        # The context tier is that of one call: an aggregate is priced by the size of its average call, and as an
        # ordinary call where nobody says how many it holds.
        size = event.usage.input_tokens // event.requests if event.requests else 0
        row = self._catalog.row(key, event.at, size)
        if row is None:
            return self._catalog.price(key, event.usage, event.at)
        self.starts[row.id] = row.valid_from
        return cost_of(event.usage, row)


class Rejects:
    """Writes rejected rows beside the ledger; the file is named by what it holds, so that a second import adds none."""

    def __init__(self, outcome: Imported, folder: Path | None) -> None:
        self._outcome = outcome
        self._folder = folder / "rejects" if folder else None
        self._file: BinaryIO | None = None
        self._digest = sha256()

    def add(self, row: Rejected) -> None:
        """Count a row and write it down."""
        self._outcome.rejected[row.code] += 1
        if len(self._outcome.examples) < EXAMPLES:
            self._outcome.examples.append(row)
        if self._folder is None:
            return
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = (self._folder / f".{self._outcome.file.name}.{os.getpid()}").open("wb")
        data = msgspec.json.encode(row) + b"\n"
        self._digest.update(data)
        self._file.write(data)

    def close(self) -> None:
        """Give the file its name."""
        if self._folder is None or self._file is None:
            return
        self._file.close()
        name = f"{self._outcome.file.name}-{self._digest.hexdigest()[:12]}.jsonl"
        self._outcome.rejects = Path(self._file.name).replace(self._folder / name)
        self._file = None
