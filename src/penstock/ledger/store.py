"""The ledger: one folder that many processes write, read and tidy up at the same time."""
# ruff: noqa: S608  # SQL is put together from names of columns and quoted paths; values are bound

import threading
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

import duckdb
import pyarrow as pa
from msgspec import Struct

from penstock.errors import InputError
from penstock.ledger.columns import SCHEMA, to_arrow, to_events
from penstock.ledger.compaction import Compacted, Progress, compact, silent
from penstock.ledger.engine import Relation, between, connect, quoted
from penstock.ledger.extract import Form, extract
from penstock.ledger.log import list_logs
from penstock.ledger.manifest import ConflictError, Manifest, Part, Writer
from penstock.ledger.parts import Staging, staging
from penstock.ledger.repricing import SOURCE, Repricing, corrections
from penstock.ledger.retention import RETIRED, SUMMARY, Retained, retain
from penstock.ledger.snapshot import Snapshot, take_snapshot, within
from penstock.ledger.state import State
from penstock.ledger.tail import Tails
from penstock.ledger.verification import Verified, verify
from penstock.metering.event import UsageEvent, new_id, utc_now
from penstock.pricing.book import Book
from penstock.pricing.catalog import Catalog

if TYPE_CHECKING:
    import ibis

CHUNK = 50_000
"""Events turned into Arrow at a time."""
TRIES = 5
KEPT_VIEWS = 32
"""Tables of `Ledger.table()` that stay usable in a thread; the 33rd call ends the first one."""


class Added(Struct, frozen=True):
    """What an import did."""

    new: int
    duplicates: int


class Ledger:
    """Events in Parquet parts and append logs, small state in SQLite. Reading never makes a writer wait."""

    def __init__(self, folder: Path, state: State) -> None:
        self.folder, self.state, self.manifest = folder, state, Manifest(state)
        self._tails = Tails()
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
        snapshot = self.snapshot()
        wanted = f"request_id = {quoted(request_id)}" if request_id else "true"
        span = between(since, until)
        order = "DESC" if newest_first else "ASC"
        cursor = self._engine.cursor()
        try:
            booked = Relation(cursor, self.folder, within(snapshot.parts, since, until), snapshot.tail)
            query = (
                f"SELECT * FROM ({booked.sql}) WHERE {wanted} "
                f'AND {span} ORDER BY "at" {order}, id {order} {"" if limit is None else f"LIMIT {int(limit)}"}'
            )
            return to_events(cursor.sql(query).to_arrow_table().cast(SCHEMA))
        finally:
            cursor.close()

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

    def summary(self) -> "ibis.Table":
        """Return the totals of retired days by month, as an Ibis table; columns as `retention.SUMMARY`."""
        return self._views().make(self.manifest.parts("summary"), SUMMARY.empty_table(), SUMMARY)

    def _views(self) -> "Views":
        if not hasattr(self._threads, "views"):
            self._threads.views = Views(self._engine.cursor(), self.folder)
        views: Views = self._threads.views
        return views


class Views:
    """The tables that one thread asked for: views over parts and tail, the youngest of which are kept."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, folder: Path) -> None:
        import ibis  # noqa: PLC0415  # takes half a second: only those who ask questions wait for it

        self._operations, self._schema_of = ibis.expr.operations, ibis.Schema.from_pyarrow
        self._cursor, self._folder, self._count = cursor, folder, 0
        self._backend = ibis.duckdb.from_connection(cursor)
        self._kept: deque[tuple[str, Relation]] = deque()

    def make(self, parts: Iterable[Part], tail: pa.Table, schema: pa.Schema = SCHEMA) -> "ibis.Table":
        """Make a view and return it as an Ibis table."""
        self._count += 1
        name = f"events_{self._count}"
        relation = Relation(
            self._cursor, self._folder, parts, tail, columns=schema.names, schema=schema, name=f"of_{name}"
        )
        self._cursor.execute(f"CREATE TEMP VIEW {name} AS {relation.sql}")
        self._kept.append((name, relation))
        if len(self._kept) > KEPT_VIEWS:
            old, of_old = self._kept.popleft()
            self._cursor.execute(f"DROP VIEW {old}")
            of_old.release()
        return self._operations.DatabaseTable(  # as backend.table() does, less a query for the columns
            name, schema=self._schema_of(schema), source=self._backend, namespace=self._operations.Namespace()
        ).to_expr()


def _chunks(events: Iterable[UsageEvent], size: int) -> Iterator[list[UsageEvent]]:
    iterator = iter(events)
    while chunk := list(islice(iterator, size)):
        yield chunk
