"""What rollups say of some parts, as SQL: which files to read, and which of their rows."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from penstock.ledger.engine import quoted
from penstock.ledger.manifest import Part, Rollup
from penstock.ledger.rollups import rollup_files, rollup_path


class Sums:
    """The rollups that are noted and whose files are there, as of one instant."""

    def __init__(self, folder: Path, noted: Mapping[str, Mapping[str, Rollup]]) -> None:
        self.folder, self._noted = folder, noted
        self._there: dict[str, frozenset[str]] = {}
        self._held: dict[str, dict[str, set[int]]] = {}

    def of(self, part: Part, kind: str) -> Rollup | None:
        """Return the rollup of a part, if there is one, and if nobody has deleted its file."""
        made = self._noted.get(part.path)
        found = made.get(kind) if made else None
        if found is None or found.rows < 0 or (found.file and found.file not in self._files(kind)):
            return None
        return found

    def source(self, kind: str, parts: Iterable[Part], others: Iterable[Part] = ()) -> tuple[str, str]:
        """Return SQL: files with the rollups of these parts, and the condition that a row is of one of them.

        Rows of `others` need not be told apart: the question has another condition that none of them meets.
        Most often no row must be, and then the condition costs nothing.
        """
        rollups = [self._noted[part.path][kind] for part in parts]
        files = sorted({one.file for one in rollups} - {""})
        if not files:
            return "", "false"
        held = set[int]().union(*(self._numbers(kind)[file] for file in files))
        wanted = {one.number for one in rollups if one.file}
        ignored = {one.number for part in others if (one := self._noted.get(part.path, {}).get(kind))}
        unwanted = held - wanted - ignored
        condition = "true"
        if unwanted:
            few, sign = (unwanted, "NOT IN") if len(unwanted) < len(wanted) else (wanted, "IN")
            condition = f"number {sign} ({', '.join(map(str, sorted(few)))})"
        paths = ", ".join(quoted(str(self.folder / rollup_path(kind, file))) for file in files)
        return f"read_parquet([{paths}], hive_partitioning = false)", condition

    def _files(self, kind: str) -> frozenset[str]:
        if kind not in self._there:
            self._there[kind] = rollup_files(self.folder, kind)
        return self._there[kind]

    def _numbers(self, kind: str) -> dict[str, set[int]]:
        """Return the numbers of all parts that stand in each file, also of those that are gone."""
        if kind not in self._held:
            self._held[kind] = {}
            for made in self._noted.values():
                if kind in made and made[kind].file:
                    self._held[kind].setdefault(made[kind].file, set()).add(made[kind].number)
        return self._held[kind]
