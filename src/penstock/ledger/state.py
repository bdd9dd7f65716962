"""Small state in SQLite: settings, the import register, archived books, the manifest's tables, keys, alerts, ..."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from penstock.errors import LedgerError
from penstock.metering.event import utc_now

STATE_FILE = "state.sqlite"
"""Its name in the ledger's folder."""

MIGRATIONS: tuple[tuple[str, str], ...] = (
    (
        "settings, imports, books",
        """
        CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE imports (digest TEXT PRIMARY KEY, name TEXT NOT NULL, source TEXT NOT NULL, at TEXT NOT NULL,
                              new INTEGER NOT NULL, duplicates INTEGER NOT NULL);
        CREATE TABLE books (id TEXT PRIMARY KEY, at TEXT NOT NULL, body BLOB NOT NULL);
        """,
    ),
    (
        "manifest",
        """
        CREATE TABLE parts (number INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL, kind TEXT NOT NULL,
                            day TEXT NOT NULL, remote TEXT NOT NULL, format INTEGER NOT NULL, columns TEXT NOT NULL,
                            rows INTEGER NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL, bytes INTEGER NOT NULL,
                            sha256 TEXT NOT NULL, cost TEXT NOT NULL, sources TEXT NOT NULL, added TEXT NOT NULL,
                            dropped TEXT, UNIQUE (path, remote));
        CREATE INDEX parts_in_force ON parts (kind, day) WHERE dropped IS NULL;
        CREATE TABLE part_columns (key TEXT PRIMARY KEY, names TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE compacted (log TEXT PRIMARY KEY, rows INTEGER NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE writers (writer TEXT PRIMARY KEY, name TEXT NOT NULL, last INTEGER NOT NULL,
                              rows INTEGER NOT NULL, retired INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
        """,
    ),
    (
        "rollups",
        """
        CREATE TABLE rollups (part TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, rows INTEGER NOT NULL,
                              file TEXT NOT NULL, PRIMARY KEY (part, kind)) WITHOUT ROWID;
        """,
    ),
    (
        "alerts",
        """
        CREATE TABLE alerts (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, kind TEXT NOT NULL,
                             subject TEXT NOT NULL, period TEXT NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL,
                             severity TEXT NOT NULL, addressed INTEGER NOT NULL DEFAULT 0,
                             UNIQUE (kind, subject, period));
        CREATE TABLE alert_deliveries (alert INTEGER NOT NULL, channel TEXT NOT NULL, state TEXT NOT NULL,
                                       attempts INTEGER NOT NULL, due TEXT NOT NULL, error TEXT NOT NULL,
                                       PRIMARY KEY (alert, channel)) WITHOUT ROWID;
        """,
    ),
    (
        "keys",
        """
        CREATE TABLE keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, team TEXT NOT NULL,
                           app TEXT NOT NULL, feature TEXT NOT NULL, user TEXT NOT NULL, tags TEXT NOT NULL,
                           models TEXT NOT NULL, providers TEXT NOT NULL, created TEXT NOT NULL, expires TEXT,
                           revoked TEXT, last_used TEXT) WITHOUT ROWID;
        CREATE TABLE key_secrets (number INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE,
                                  key TEXT NOT NULL, made TEXT NOT NULL, until TEXT);
        """,
    ),
    (
        "business metrics",
        """
        CREATE TABLE business_metrics (day TEXT NOT NULL, metric TEXT NOT NULL, dimensions TEXT NOT NULL,
                                       value TEXT NOT NULL, recorded TEXT NOT NULL,
                                       PRIMARY KEY (metric, day, dimensions)) WITHOUT ROWID;
        """,
    ),
    (
        "reports",
        """
        ALTER TABLE alerts ADD COLUMN html TEXT NOT NULL DEFAULT '';
        ALTER TABLE alerts ADD COLUMN channels TEXT NOT NULL DEFAULT '[]';
        """,
    ),
    (
        "followups",
        """
        CREATE TABLE followups (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL,
                                at TEXT NOT NULL, status TEXT NOT NULL, owner TEXT NOT NULL, note TEXT NOT NULL,
                                by TEXT NOT NULL);
        CREATE INDEX followups_of ON followups (kind, subject);
        """,
    ),
)
"""Applied in order, each once, each in one transaction. Add at the end; never change what was released."""


class ImportRecord(Struct, frozen=True, kw_only=True):
    """One file that was imported."""

    digest: str
    """SHA-256 of the file."""
    name: str
    source: str
    at: datetime
    new: int
    duplicates: int


class State:
    """A SQLite file that many processes read and, one after the other, briefly write."""

    def __init__(self, path: Path, *, patience: float = 30.0) -> None:
        """Open the file; `patience` is how many seconds a write waits for another writer."""
        self.path = path
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._share()
            self._connection.execute("PRAGMA synchronous = FULL")  # a log is dropped on the word of the manifest
            self._migrate()
            self._connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        except sqlite3.Error as error:
            raise LedgerError(
                f"Cannot open {path}: {error}. Is it a ledger's state file, and may it be written?"
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def version(self) -> tuple[int, int]:
        """Return what changes whenever anybody, in this process or another, commits something."""
        with self._lock:
            ((others,),) = self._connection.execute("PRAGMA data_version").fetchall()
            return int(others), self._connection.total_changes

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All reads in the block see the same instant; nobody waits for it."""
        with self._lock:
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write: all of the block or, on an exception, nothing. Waits for another writer, but not for ever."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise LedgerError(f"{self.path} is busy or cannot be written: {error}. Try again.") from error
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise LedgerError(f"Cannot write {self.path}: {error}. Nothing was changed; try again.") from error
                raise

    def get(self, key: str, default: str = "") -> str:
        """Return a setting."""
        rows = self.read("SELECT value FROM settings WHERE key = ?", key)
        return str(rows[0][0]) if rows else default

    def set(self, key: str, value: str) -> None:
        """Keep a setting."""
        with self.transaction() as write:
            write.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))

    def record_import(self, *, digest: str, name: str, source: str, new: int, duplicates: int) -> None:
        """Enter a file in the import register; a second time replaces the entry."""
        with self.transaction() as write:
            write.execute(
                "INSERT OR REPLACE INTO imports VALUES (?, ?, ?, ?, ?, ?)",
                (digest, name, source, utc_now().isoformat(), new, duplicates),
            )

    def find_import(self, digest: str) -> ImportRecord | None:
        """Look a file up in the import register by its SHA-256."""
        return next((record for record in self.imports() if record.digest == digest), None)

    def imports(self) -> list[ImportRecord]:
        """List the import register, oldest first."""
        rows = self.read("SELECT digest, name, source, at, new, duplicates FROM imports ORDER BY at")
        return [
            ImportRecord(digest=d, name=n, source=s, at=datetime.fromisoformat(at), new=new, duplicates=again)
            for d, n, s, at, new, again in rows
        ]

    def _share(self) -> None:
        """Let readers go on beside a writer. Where several open a new file at once, SQLite fails instead of waiting."""
        deadline = time.monotonic() + 30
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _migrate(self) -> None:
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, at TEXT NOT NULL)"
        )
        done = self._version()
        if done > len(MIGRATIONS):
            raise LedgerError(
                f"{self.path} was written by a newer Penstock (state version {done}; this one: {len(MIGRATIONS)}). "
                "Upgrade this one; nothing was changed."
            )
        for version in range(done + 1, len(MIGRATIONS) + 1):
            with self.transaction() as write:
                if self._version() >= version:  # another process was quicker
                    continue
                name, script = MIGRATIONS[version - 1]
                for statement in filter(str.strip, script.split(";")):
                    write.execute(statement)
                write.execute("INSERT INTO migrations VALUES (?, ?, ?)", (version, name, utc_now().isoformat()))

    def _version(self) -> int:
        return int(self._connection.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()[0])
