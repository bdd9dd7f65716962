"""Which parts may hold an id: digests of the ids of parts, kept while a process books again and again."""
# ruff: noqa: S608  # quoted paths; no values

import threading
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import duckdb

from penstock.ledger.engine import quoted
from penstock.ledger.manifest import Part

MOST = 8_000_000
"""Digests that are kept, eight bytes each."""
AT_ONCE = 500_000
"""Digests that one booking reads in, so that none waits for all."""


class KnownIds:
    """Narrows a search for ids down to the parts that may hold one. Parts never change, so what is kept stays true.

    Nothing is assumed of ids: a digest may be that of two of them, and then the search itself decides.
    """

    def __init__(self, folder: Path, *, most: int = MOST, at_once: int = AT_ONCE) -> None:
        self._folder, self._most, self._at_once = folder, most, at_once
        self._digests: dict[str, array[int]] = {}
        self._lock = threading.Lock()
        self._is_first = True

    def may_hold(self, engine: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> list[Part]:
        """Return those of the parts that may hold an id of the relation `staged`.

        The first time that is all of them: a process that books once would read digests for nothing.
        """
        with self._lock:
            if self._is_first:
                self._is_first = False
                return list(parts)
            self._read_in(engine, parts)
            wanted = [digest for (digest,) in engine.execute("SELECT hash(id) FROM staged").fetchall()]
            return [part for part in parts if self._may(part, wanted)]

    def _may(self, part: Part, wanted: list[int]) -> bool:
        there = self._digests.get(part.path)
        if there is None:
            return True
        return any((at := bisect_left(there, digest)) < len(there) and there[at] == digest for digest in wanted)

    def _read_in(self, engine: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> None:
        used = {part.path for part in parts}
        if len(self._digests) > 2 * len(used):  # merged and dropped since, for the most
            self._digests = {path: there for path, there in self._digests.items() if path in used}
        room = min(self._most - sum(map(len, self._digests.values())), self._at_once)
        lacking: dict[str, Part] = {}
        for part in sorted(parts, key=lambda part: part.rows):
            if not part.remote and part.path not in self._digests and part.rows <= room:
                room -= part.rows
                lacking[str(self._folder / part.path)] = part
        if lacking:
            files = ", ".join(map(quoted, lacking))
            found = engine.execute(
                f"SELECT filename, list(hash(id) ORDER BY hash(id)) FROM read_parquet([{files}], filename = true, "
                "hive_partitioning = false) GROUP BY filename"
            ).fetchall()
            self._digests |= {lacking[file].path: array("Q", digests) for file, digests in found}
