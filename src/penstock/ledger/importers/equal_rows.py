"""Which of several equal rows this one is: counted on disk, so that a file of any length fits."""

import sqlite3
from hashlib import blake2b
from types import TracebackType
from typing import Self


class EqualRows:
    """Counts rows by content, and notices one id with two contents; SQLite's private file spills past its cache."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, n INTEGER, content BLOB) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._db.close()

    def ordinal(self, content: str) -> int:
        """Count this row; the first of its kind is 1."""
        sql = "INSERT INTO seen VALUES (?, 1, NULL) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n"
        return int(self._db.execute(sql, (_digest(content),)).fetchone()[0])

    def contradicts(self, source_id: str, content: str) -> bool:
        """Say whether this id came before with another content."""
        sql = "INSERT INTO seen VALUES (?, 1, ?) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING content"
        mine = _digest(content)
        return bool(self._db.execute(sql, (_digest(f"id\x1f{source_id}"), mine)).fetchone()[0] != mine)


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
