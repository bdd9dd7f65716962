"""The whole ledger at one instant, while others write and tidy up."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from msgspec import Struct

from penstock.ledger.log import list_logs
from penstock.ledger.manifest import Manifest, Part
from penstock.ledger.tail import Tails


class Snapshot(Struct, frozen=True):
    """Parts, and the rows that are still in logs: together each event once."""

    parts: list[Part]
    tail: pa.Table


def take_snapshot(folder: Path, manifest: Manifest, tails: Tails) -> Snapshot:
    """Take everything that is in the ledger now, each event once, whatever others do meanwhile.

    Logs are listed before the manifest is read: a log that is compacted in between is in the manifest, and one
    that vanishes before it is read means only that everything must be looked at again.
    """
    while True:
        logs = list_logs(folder)
        parts, compacted = manifest.snapshot()
        try:
            return Snapshot(parts, tails.read([log for log in logs if log.name not in compacted]))
        except FileNotFoundError:
            continue


def within(parts: Iterable[Part], since: datetime | None, until: datetime | None) -> list[Part]:
    """Keep the parts that may hold events from `since` on and before `until`."""
    return [
        part
        for part in parts
        if (since is None or part.last >= since) and (until is None or part.first < until)
    ]  # fmt: skip
