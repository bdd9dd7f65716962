"""The ledger: one folder that many processes write, read and tidy up at the same time."""
# ruff: noqa: S608  # SQL is put together from names of columns and quoted paths; values are bound

import threading
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from penstock.errors import InputError
from penstock.ledger.columns import to_arrow
from penstock.ledger.compaction import Compacted, Progress, compact, silent
from penstock.ledger.engine import Relation, connect
from penstock.ledger.extract import Form, extract
from penstock.ledger.known_ids import KnownIds
from penstock.ledger.log import list_logs
from penstock.ledger.logfile import is_live
from penstock.ledger.lookup import find_events
from penstock.ledger.manifest import ConflictError, Manifest, Part, Writer
from penstock.ledger.moment import Moment
from penstock.ledger.objects import object_store
from penstock.ledger.parts import Staging, staging
from penstock.ledger.repriced import Repriced
from penstock.ledger.repricing import SOURCE, Repricing, corrections
from penstock.ledger.retention import RETIRED, SUMMARY, Retained, retain
from penstock.ledger.settled import Settled
from penstock.ledger.snapshot import Snapshot, take_snapshot, within
from penstock.ledger.state import State
from penstock.ledger.sums import Sums
from penstock.ledger.tail import Tails
from penstock.ledger.verification import Verified, verify
from penstock.ledger.views import Views
from penstock.metering.event import UsageEvent, new_id, utc_now
from penstock.pricing.book import Book
from penstock.pricing.catalog import Catalog

if TYPE_CHECKING:
    import ibis

CHUNK = 50_000
"""Events turned into Arrow at a time."""
TRIES = 5
FEW = 20_000
"""Events whose ids are looked up one by one; more of them are held against all that is there."""


class Added(Struct, frozen=True):
    """What an import did."""

    new: int
    duplicates: int


class Status(Struct, frozen=True, kw_only=True):
    """What a ledger holds, without reading it all."""

    folder: Path
    events: int
    first: datetime | None
    last: datetime | None
    parts: int
    parts_events: int
    parts_bytes: int
    remote_parts: int
    logs_events: int
    live_logs: int
    closed_logs: int
    imports: int
    torn: int
    objects: str
    retired_before: str


class Ledger:
    """Events in Parquet parts and append logs, small state in SQLite. Reading never makes a writer wait."""

    def __init__(self, folder: Path, state: State) -> None:
        self.folder, self.state, self.manifest = folder, state, Manifest(state)
        self._tails, self._known = Tails(), KnownIds(folder)
        self._settled, self._repriced = Settled(), Repriced()
        self._engine = connect(folder)
        self._threads = threading.local()

    @classmethod
    def open(cls, folder: Path, *, create: bool = True, objects: str | None = None) -> "Ledger":
        """Open the ledger in `folder`, bringing an older one up to date; nothing in it is ever destroyed by that.

        `objects` is the address of an object storage for parts of past days; the ledger remembers it.
        """
        if not create and not (folder / "state.sqlite").exists() and not list_logs(folder):
            raise InputError(f"There is no ledger in {folder}. Name its folder with --data, or import something first.")
        try:
            for name in ("log", "events", "tmp"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"Cannot make a ledger in {folder}: {error.strerror}.") from error
        if objects:
            object_store(objects)  # an address that cannot be one is refused before anything depends on it
        ledger = cls(folder, State(folder / "state.sqlite"))
        if objects is not None and objects != ledger.state.get("objects"):
            ledger.state.set("objects", objects)
        return ledger

    def close(self) -> None:
        """Let go of the files."""
        self._engine.close()
        self.state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def snapshot(self) -> Snapshot:
        """Take everything that is in the ledger now, each event once, whatever others do meanwhile."""
        return take_snapshot(self.folder, self.manifest, self._tails)

    def add(self, events: Iterable[UsageEvent], *, source: str) -> Added:
        """Book imported events: those whose id is new, all of them or (on an error) none.

        `source` names the import's door; an id counts as known where any of the events' own sources holds it.
        """
        with staging(self.folder) as stage:
            batch = new_id()
            sources: set[str] = set()
            for chunk in _chunks(events, CHUNK):
                first = stage.rows + 1
                self._refuse_retired(chunk)
                stage.put(to_arrow(chunk, batch, range(first, first + len(chunk))))
                sources.update(event.source for event in chunk)
            if not stage.rows:
                return Added(0, 0)
            stage.ready()
            for _ in range(TRIES):
                newest = self.manifest.newest()
                parts = self._write_unknown(stage, sources)
                if not parts:
                    return Added(0, stage.rows)
                rows = sum(part.rows for part in parts)
                writer = Writer(writer=batch, name=source, last=rows, rows=rows)
                try:
                    self.manifest.commit(add=parts, writers=[writer], unless_added=(newest, frozenset(sources)))
                except ConflictError:
                    for part in parts:
                        (self.folder / part.path).unlink()
                    continue
                return Added(rows, stage.rows - rows)
            raise ConflictError(f"Other imports of {', '.join(sorted(sources))} keep coming first. Run it again.")

    def _refuse_retired(self, events: list[UsageEvent]) -> None:
        retired = self.state.get(RETIRED)
        if retired and (oldest := min(event.at for event in events)) < datetime.fromisoformat(f"{retired}T00:00:00Z"):
            raise InputError(
                f"An event of {oldest:%Y-%m-%d} cannot be booked: days before {retired} were retired, and only their "
                "totals are kept. It may be in them already. Import only what is younger."
            )

    def _write_unknown(self, stage: Staging, sources: set[str]) -> list[Part]:
        """Write the staged events whose id no part and no log holds yet."""
        snapshot = self.snapshot()
        parts = [part for part in snapshot.parts if sources.intersection(part.sources)]
        if stage.rows <= FEW:
            parts = self._known.may_hold(stage.engine, parts)
        booked = Relation(stage.engine, self.folder, parts, snapshot.tail, columns=["id"])
        known = f"SELECT id FROM ({booked.sql}) WHERE id IN (SELECT id FROM staged)"
        stage.engine.execute(
            "CREATE OR REPLACE TEMP TABLE fresh AS SELECT min(seq) AS seq FROM staged "
            f"WHERE id NOT IN ({known}) GROUP BY id"
        )
        return stage.write(
            'SELECT * FROM staged WHERE seq IN (SELECT seq FROM fresh) ORDER BY "at", seq', renumber=True
        )

    def events(
        self,
        *,
        request_id: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[UsageEvent]:
        """Return events by `at` (`since` included, `until` not), oldest first, or all events of one request."""
        cursor = self._engine.cursor()
        try:
            return find_events(
                cursor, self.folder, self.snapshot(),
                request_id=request_id, since=since, until=until, limit=limit, newest_first=newest_first,
            )  # fmt: skip
        finally:
            cursor.close()

    def status(self) -> Status:
        """Say what is there."""
        snapshot = self.snapshot()
        parts, tail = snapshot.parts, snapshot.tail
        logs = [is_live(log) for log in list_logs(self.folder)]
        span = pc.min_max(tail.column("at")).as_py()
        times = [part.first for part in parts] + [part.last for part in parts]
        times += [at.replace(tzinfo=UTC) for at in span.values() if at]
        booked = sum(part.rows for part in parts)
        return Status(
            folder=self.folder, events=booked + tail.num_rows, first=min(times, default=None),
            last=max(times, default=None), parts=len(parts), parts_events=booked,
            parts_bytes=sum(part.bytes for part in parts), remote_parts=sum(bool(part.remote) for part in parts),
            logs_events=tail.num_rows, live_logs=sum(logs), closed_logs=len(logs) - sum(logs),
            imports=len(self.state.imports()), torn=len(list((self.folder / "torn").glob("*"))),
            objects=self.state.get("objects"), retired_before=self.state.get(RETIRED),
        )  # fmt: skip

    def compact(self, *, progress: Progress = silent) -> Compacted:
        """Turn finished logs into parts, merge small parts, move old ones to object storage, delete leftovers.

        Logs whose writer lives are left alone. Two at once: one works, the other returns `busy`.
        """
        return compact(self.folder, self.manifest, objects=self.state.get("objects"), progress=progress)

    def verify(self, *, progress: Progress = silent) -> Verified:
        """Check everything: checksums, gaps, duplicates, columns, sums. Nothing is changed."""
        return verify(self.folder, self.manifest, progress=progress)

    def retain(self, *, days: int, dry_run: bool = False, progress: Progress = silent) -> Retained:
        """Drop the days that are older than that many days; their monthly totals stay, in `summary()`."""
        return retain(self.folder, self.manifest, days=days, dry_run=dry_run, progress=progress)

    def reprice(
        self,
        catalog: Catalog,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        dry_run: bool = True,
        progress: Progress = silent,
    ) -> Repricing:
        """Compare every event with what `catalog` says of it; unless `dry_run`, book the differences as corrections."""
        report = Repricing()
        found = corrections(
            self.folder, self.snapshot(), catalog, report, now=utc_now(), since=since, until=until, progress=progress
        )
        if dry_run:
            deque(found, maxlen=0)
        else:
            report.written = self.add(found, source=SOURCE).new
        return report

    def extract(
        self,
        file: Path,
        form: Form,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        progress: Progress = silent,
    ) -> int:
        """Write the events of a span to a file, oldest first, money exact; return how many."""
        return extract(self.folder, self.snapshot(), file, form, since=since, until=until, progress=progress)

    def archive_book(self, book: Book) -> None:
        """Keep a price book that events name, so that they can be explained when the package has moved on."""
        if not self.state.read("SELECT 1 FROM books WHERE id = ?", book.id):
            with self.state.transaction() as write:
                body = zlib.compress(book.to_bytes())
                write.execute("INSERT OR IGNORE INTO books VALUES (?, ?, ?)", (book.id, utc_now().isoformat(), body))

    def load_book(self, book_id: str) -> bytes | None:
        """Return an archived book as bytes for `Book.from_bytes`; None: it was never archived."""
        rows = self.state.read("SELECT body FROM books WHERE id = ?", book_id)
        return zlib.decompress(rows[0][0]) if rows else None

    def table(self, *, since: datetime | None = None, until: datetime | None = None) -> "ibis.Table":
        """Return all events as an Ibis table, as of now; with times, parts that lie outside are not even opened.

        One row an event, columns as `columns.SCHEMA`. Each thread has an engine connection of its own.
        """
        snapshot = self.snapshot()
        return self._views().make(within(snapshot.parts, since, until), snapshot.tail)

    def moment(self) -> Moment:
        """Return the ledger as of now, for questions about sums that shall agree with each other."""
        sums = Sums(self.folder, self.manifest.everything()[1])
        return Moment(
            self.snapshot(), sums, settled=self._settled, repriced=self._repriced, cursor=self._cursor,
            views=self._views,
        )  # fmt: skip

    def summary(self) -> "ibis.Table":
        """Return the totals of retired days by month, as an Ibis table; columns as `retention.SUMMARY`."""
        return self._views().make(self.manifest.parts("summary"), pa.Table.from_batches([], SUMMARY), SUMMARY)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        if not hasattr(self._threads, "cursor"):
            self._threads.cursor = self._engine.cursor()
        cursor: duckdb.DuckDBPyConnection = self._threads.cursor
        return cursor

    def _views(self) -> Views:
        if not hasattr(self._threads, "views"):
            self._threads.views = Views(self._cursor(), self.folder)
        views: Views = self._threads.views
        return views


def _chunks(events: Iterable[UsageEvent], size: int) -> Iterator[list[UsageEvent]]:
    iterator = iter(events)
    while chunk := list(islice(iterator, size)):
        yield chunk
