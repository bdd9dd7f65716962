"""How good answers were: scores of requests, and judged pairs, in a SQLite file of their own beside the events.

They are apart from the small state, whose every change makes all workers look: outcomes come as often as calls.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from penstock.errors import LedgerError

OUTCOMES_FILE = "outcomes.sqlite"
"""Its name in the ledger's folder."""

KEEP_AUTOMATIC = timedelta(days=90)
"""How long scores are kept that nobody reported."""

Reported = Literal["user", "human", "rule", "judge"]
"""Who reported a score: the one who got the answer; a reviewer; a check of one's own; a model."""
Source = Literal[Reported, "auto:schema", "auto:truncated", "auto:refusal", "auto:retry", "auto:escalation"]
"""Who scored: one of those, or nobody: the answer, or what came after it, showed it by itself."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS outcomes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL,
    score REAL NOT NULL, at TEXT NOT NULL, key TEXT NOT NULL, team TEXT NOT NULL, UNIQUE (request_id, source, name)
);
CREATE TABLE IF NOT EXISTS pairs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE, lever TEXT NOT NULL, key TEXT NOT NULL,
    model TEXT NOT NULL, baseline TEXT NOT NULL, judge TEXT NOT NULL, first REAL NOT NULL, second REAL NOT NULL,
    at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS pairs_of ON pairs (lever, key, at);
CREATE INDEX IF NOT EXISTS reported_by_number ON outcomes (number) WHERE substr(source, 1, 5) <> 'auto:';
CREATE VIEW IF NOT EXISTS reported AS SELECT * FROM outcomes WHERE substr(source, 1, 5) <> 'auto:';
"""
ALL = (
    "SELECT request_id, score, source, name, at, key, team, number FROM outcomes WHERE number > ? AND at >= ? "
    "ORDER BY number LIMIT ?"
)
THOSE_REPORTED = ALL.replace("outcomes", "reported")


class Scored(Struct, frozen=True, kw_only=True):
    """One score of one request."""

    request_id: str
    score: float
    """From 0 (useless) to 1 (as good as can be)."""
    source: Source
    name: str = ""
    """Which reviewer or rule, where one request gets several of one source; of automatic ones the model."""
    at: datetime
    key: str = ""
    """Id of the virtual key that reported it, and its team: a score counts only for requests of these."""
    team: str = ""
    number: int = 0
    """Grows with each change; set by the store."""


class Pair(Struct, frozen=True, kw_only=True):
    """Two answers to one request, judged blind, in both orders."""

    request_id: str
    lever: str
    key: str
    """Of the lever's decision."""
    model: str
    """Whose answer the client got, and below it the one who would have answered without the lever."""
    baseline: str
    judge: str
    first: float
    """Score of what was served, shown first: 1 it is better, 0.5 no difference that matters, 0 it is worse."""
    second: float
    """The same, shown second."""
    at: datetime
    number: int = 0

    @property
    def score(self) -> float:
        """Of what was served, in [0, 1]; a judge who changes the mind with the order has seen no difference."""
        return (self.first + self.second) / 2

    @property
    def loss(self) -> float:
        """Score of the baseline less score of what was served, in [-1, 1]."""
        return 1 - 2 * self.score


class Outcomes:
    """The store. Several processes may write to it; each change is on the disk when it returns."""

    def __init__(self, folder: Path) -> None:
        """Open or make the file in the ledger's folder. Raises LedgerError."""
        self.path = folder / OUTCOMES_FILE
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            for statement in filter(str.strip, SCHEMA.split(";")):
                self._connection.execute(statement)
        except sqlite3.Error as error:
            raise LedgerError(
                f"Cannot open {self.path}: {error}. Is it a Penstock file, and may it be written?"
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def score(self, outcomes: Iterable[Scored]) -> int:
        """Keep scores, all or none; return how many changed something.

        The same score of the same request, source and name again changes nothing; another one takes its place.
        """
        changed = 0
        with self._writing() as write:
            for one in outcomes:
                # A changed row gets a new number, so that who follows the numbers sees it again.
                write.execute(
                    "DELETE FROM outcomes WHERE request_id = ? AND source = ? AND name = ? AND score <> ?",
                    (one.request_id, one.source, one.name, one.score),
                )
                changed += write.execute(
                    "INSERT OR IGNORE INTO outcomes (request_id, source, name, score, at, key, team) "
                    "VALUES (?,?,?,?,?,?,?)",
                    (one.request_id, one.source, one.name, one.score, one.at.isoformat(), one.key, one.team),
                ).rowcount
        return changed

    def judge(self, *pairs: Pair) -> int:
        """Keep judged pairs, all or none; return how many are new. The first verdict about a request stands."""
        new = 0
        with self._writing() as write:
            for pair in pairs:
                new += write.execute(
                    "INSERT OR IGNORE INTO pairs (request_id, lever, key, model, baseline, judge, first, second, at) "
                    "VALUES (?,?,?,?,?,?,?,?,?)",
                    (
                        pair.request_id, pair.lever, pair.key, pair.model, pair.baseline, pair.judge, pair.first,
                        pair.second, pair.at.isoformat(),
                    ),
                ).rowcount  # fmt: skip
        return new

    def scores(
        self, *, after: int = 0, limit: int = -1, automatic: bool = False, since: datetime | None = None
    ) -> list[Scored]:
        """Return the scores whose number is above `after`, in the order in which they came.

        `automatic`: those that nobody reported, too; they are no evidence of a proof.
        """
        begin = since.isoformat() if since else ""
        rows = self._read(ALL if automatic else THOSE_REPORTED, after, begin, limit)
        return [
            Scored(request_id=r, score=s, source=source, name=name, at=_time(at), key=key, team=team, number=number)
            for r, s, source, name, at, key, team, number in rows
        ]

    def pairs(
        self, *, lever: str = "", key: str | None = None, since: datetime | None = None, after: int = 0
    ) -> list[Pair]:
        """Return judged pairs in the order in which they were judged; `key` None: of every key."""
        rows = self._read(
            "SELECT request_id, lever, key, model, baseline, judge, first, second, at, number FROM pairs "
            "WHERE number > ? AND lever = coalesce(?, lever) AND key = coalesce(?, key) AND at >= ? ORDER BY number",
            after, lever or None, key, since.isoformat() if since else "",
        )  # fmt: skip
        names = ("request_id", "lever", "key", "model", "baseline", "judge", "first", "second", "at", "number")
        return [Pair(**dict(zip(names, (*row[:8], _time(row[8]), row[9]), strict=True))) for row in rows]

    def forget(self, now: datetime, *, keep: timedelta | None = None) -> int:
        """Drop scores that are older than `keep` (None: none of those that were reported); return their number.

        Automatic ones come as often as calls: they go after `KEEP_AUTOMATIC` at the latest. Judged pairs stay.
        """
        automatic = now - min(keep or KEEP_AUTOMATIC, KEEP_AUTOMATIC)
        old = "DELETE FROM outcomes WHERE at < CASE substr(source, 1, 5) WHEN 'auto:' THEN ? ELSE ? END"
        with self._writing() as write:
            return write.execute(old, (automatic.isoformat(), (now - keep).isoformat() if keep else "")).rowcount

    def newest(self) -> tuple[int, int]:
        """Return the numbers of the newest score that was reported and the newest pair."""
        ((scores, pairs),) = self._read(
            "SELECT (SELECT coalesce(max(number), 0) FROM reported), (SELECT coalesce(max(number), 0) FROM pairs)"
        )
        return int(scores), int(pairs)

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise LedgerError(f"Cannot read {self.path}: {error}.") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise LedgerError(f"Cannot write {self.path}: {error}. Nothing was changed.") from error
                raise


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def has_outcomes(folder: Path) -> bool:
    """Whether anybody has scored anything here."""
    return (folder / OUTCOMES_FILE).exists()


def forget_old_scores(folder: Path, now: datetime, *, keep: timedelta | None) -> int:
    """Drop scores of a ledger's folder as `Outcomes.forget` does."""
    if not has_outcomes(folder):
        return 0
    store = Outcomes(folder)
    try:
        return store.forget(now, keep=keep)
    finally:
        store.close()


def newest_outcome(folder: Path) -> tuple[int, int]:
    """Return the numbers of the newest score and the newest pair: what differs once there are new ones."""
    if not has_outcomes(folder):
        return 0, 0
    store = Outcomes(folder)
    try:
        return store.newest()
    finally:
        store.close()
