"""Logs into parts, small parts into larger ones, parts into object storage; files that nobody needs go.

Every step writes first, then commits to the manifest, then deletes: a crash in between leaves files that a later
run removes, never an event lost or doubled. One compaction at a time; nobody waits for it, and it waits for nobody.
"""

import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa
from msgspec import Struct, structs

from penstock.errors import LedgerError
from penstock.ledger.engine import Relation
from penstock.ledger.log import LogPart, list_logs, read_log
from penstock.ledger.logfile import is_live
from penstock.ledger.manifest import ConflictError, Manifest, Part, Writer
from penstock.ledger.objects import object_store
from penstock.ledger.parts import Staging, staging
from penstock.ledger.rollups import KINDS, consolidate, lacking, roll_up, rollup_files
from penstock.ledger.tail import decode_frames
from penstock.metering.event import utc_now

ROUND_BYTES = 128 << 20
"""Logs that are turned into parts together: about a quarter of a million events."""
CHUNK = 50_000
"""Frames decoded at a time."""
READERS_GRACE = timedelta(minutes=15)
"""How long a replaced part stays for readers that began before it was replaced."""
ORPHANS_GRACE = timedelta(days=1)
"""How long a file that no manifest knows stays: its maker may still be at work."""
SMALL = 1_000_000
"""Rows below which a part of a past day is merged with its like."""
TIER = 8
"""Parts of like size that today may have before they are merged."""
FAR_LARGER = 8
"""How many times more rows a part of a past day must have to be left alone by smaller ones."""
CHEAP = 10_000
"""Rows of a part that are written anew without a second thought."""
MERGE_ROWS = 4_000_000
"""Rows rewritten in one run at most."""
ROLLED_ROWS = 4_000_000
ROLLED_AT_ONCE = 1_000_000
"""Rows read for rollups in one run, and together; or one part more."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


class Compacted(Struct, kw_only=True):
    """What a compaction did."""

    busy: bool = False
    """Another compaction is running: this one did nothing."""
    logs: int = 0
    events: int = 0
    parts: int = 0
    """Parts written."""
    merged: int = 0
    """Small parts that became larger ones."""
    rolled_up: int = 0
    """Parts whose sums were written beside them."""
    uploaded: int = 0
    removed: int = 0
    """Files deleted."""
    torn: list[str] = []
    """Torn ends of logs (a write that never finished, never acknowledged), set aside under these names."""
    problems: list[str] = []
    """Damage: events that cannot be read. What is left of them is set aside too."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Report nothing."""


def compact(folder: Path, manifest: Manifest, *, objects: str = "", progress: Progress = silent) -> Compacted:
    """Tidy the ledger up; with `objects` (an address) parts of past days move there."""
    done = Compacted()
    with alone(folder) as mine:
        if not mine:
            return Compacted(busy=True)
        try:
            _remove_leftovers(folder, manifest, done)
            _take_logs(folder, manifest, done, progress)
            _merge(folder, manifest, done, progress)
            _roll_up(folder, manifest, done, progress)
            if objects:
                _upload(folder, manifest, objects, done, progress)
            _remove_leftovers(folder, manifest, done)
        except (OSError, pa.ArrowException, duckdb.Error, sqlite3.Error) as error:
            raise LedgerError(
                f"Compaction of {folder} stopped: {error}. Nothing is lost; events stay in their logs, and the next "
                "run goes on from here. If the disk is full, free some space."
            ) from error
    return done


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Say whether this is the only compaction; never wait."""
    fd = os.open(folder / "compaction.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def _take_logs(folder: Path, manifest: Manifest, done: Compacted, progress: Progress) -> None:
    """Turn the logs that nobody writes any more into parts, some at a time."""
    known = manifest.compacted()
    logs = [log for log in list_logs(folder) if log.name not in known and not is_live(log)]
    waiting = list(logs)
    while waiting:
        size, some = 0, list[Path]()
        while waiting and (not some or size < ROUND_BYTES):
            some.append(waiting.pop(0))
            size += some[-1].stat().st_size
        _take_round(folder, manifest, some, done)
        progress("Logs", len(logs) - len(waiting), len(logs))


def _take_round(folder: Path, manifest: Manifest, logs: list[Path], done: Compacted) -> None:
    rows: dict[str, int] = {}
    writers: list[Writer] = []
    with staging(folder) as stage:
        for log in logs:
            try:
                part = read_log(log)
            except LedgerError as error:  # of a newer version: it stays where it is
                done.problems.append(str(error))
                continue
            before = stage.rows
            _stage_log(folder, log, part, stage, done)
            rows[log.name] = stage.rows - before
            last = max((frame.sequence for frame in part.frames), default=part.header.first - 1)
            writers.append(
                Writer(writer=part.header.writer, name=part.header.name, last=last, rows=stage.rows - before)
            )
        stage.ready()
        parts = stage.write('SELECT * FROM staged ORDER BY "at", writer, seq') if stage.rows else []
        manifest.commit(add=parts, logs=rows, writers=writers)
    for log in logs:
        if log.name in rows:
            log.unlink()
            done.removed += 1
    manifest.forget(logs=rows)
    done.logs += len(rows)
    done.events += sum(rows.values())
    done.parts += len(parts)


def _stage_log(folder: Path, log: Path, part: LogPart, stage: Staging, done: Compacted) -> None:
    for start in range(0, len(part.frames), CHUNK):
        frames = part.frames[start : start + CHUNK]
        table, unreadable = decode_frames(part.header, frames)
        stage.put(table)
        bodies = {frame.sequence: frame.body for frame in frames}
        for event in unreadable:
            place = _set_aside(folder, f"{log.stem}.event-{event.sequence}", bodies[event.sequence])
            done.problems.append(f"{log.name}: event {event.sequence} cannot be understood ({event.problem}): {place}")
    if not part.damages:
        return
    with log.open("rb") as file:
        for damage in part.damages:
            file.seek(damage.start)
            place = _set_aside(folder, f"{log.stem}.byte-{damage.start}", file.read(damage.end - damage.start))
            if damage.torn:
                done.torn.append(place)
            else:
                done.problems.append(f"{log.name}: bytes {damage.start} to {damage.end} are damaged: {place}")


def _set_aside(folder: Path, name: str, data: bytes) -> str:
    place = folder / "torn" / name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(data)
    return str(place.relative_to(folder))


def _merge(folder: Path, manifest: Manifest, done: Compacted, progress: Progress) -> None:
    """Write small parts of a day together: for past days all of them, for today those of like size."""
    today = utc_now().date()
    groups = [
        group
        for day, parts in groupby(manifest.parts(), key=lambda part: part.day)
        for group in _mergeable(day, list(parts), today)
    ]
    budget = MERGE_ROWS
    for number, group in enumerate(groups, 1):
        budget -= sum(part.rows for part in group)
        if budget < 0:
            break
        _merge_group(folder, manifest, group, done)
        progress("Days", number, len(groups))


def _mergeable(day: date, parts: list[Part], today: date) -> list[list[Part]]:
    small = [part for part in parts if part.rows < SMALL]
    if day < today:
        return _of_past_day(small)
    tiers: dict[int, list[Part]] = {}
    for part in small:
        tiers.setdefault(part.rows.bit_length() // 3, []).append(part)  # of like size: within a factor of eight
    return [tier for tier in tiers.values() if len(tier) >= TIER]


def _of_past_day(small: list[Part]) -> list[list[Part]]:
    """Take the smallest parts, and larger ones as long as these are not far larger than all before them together.

    A few corrections do not make a whole day be written anew; and of a day there are never more than a handful.
    """
    group, rows = list[Part](), 0
    for part in sorted(small, key=lambda part: part.rows):
        if group and part.rows > max(FAR_LARGER * rows, CHEAP):
            if len(group) > 1:
                break
            group, rows = [], 0
        group.append(part)
        rows += part.rows
    return [group] if len(group) > 1 else []


def _merge_group(folder: Path, manifest: Manifest, group: list[Part], done: Compacted) -> None:
    with staging(folder) as stage:
        relation = Relation(stage.engine, folder, group)
        parts = stage.write(f'{relation.sql} ORDER BY "at", writer, seq')
        try:
            manifest.commit(add=parts, drop=group)
        except ConflictError:  # retention took one of them: what was written is not needed
            for part in parts:
                (folder / part.path).unlink()
            return
    done.merged += len(group)
    done.parts += len(parts)


def _roll_up(folder: Path, manifest: Manifest, done: Compacted, progress: Progress) -> None:
    """Make the rollups that parts lack, some parts at a time and in each run."""
    _remove_rollups(folder, manifest, done)
    known, today = manifest.rollups(), utc_now().date()
    parts = [part for part in manifest.parts() if lacking(part, known, today)]
    wanted, budget = len(parts), ROLLED_ROWS
    while parts and budget > 0:
        some, rows = list[Part](), 0
        while parts and (not some or rows < ROLLED_AT_ONCE):
            some.append(parts.pop(0))
            rows += some[-1].rows
        roll_up(folder, manifest, some, today)
        budget -= rows
        done.rolled_up += len(some)
        progress("Rollups", wanted - len(parts), wanted)
    for kind in KINDS:
        consolidate(folder, manifest, kind)


def _remove_rollups(folder: Path, manifest: Manifest, done: Compacted) -> None:
    """Delete files of rollups that nobody needs any more; forget rollups whose part or file is gone.

    While others still need its file, what it holds of a part that is gone stays noted: readers pass over just that.
    """
    there = {kind: rollup_files(folder, kind) for kind in KINDS}
    paths = manifest.known_paths(anywhere=True)
    noted = [one for made in manifest.rollups().values() for one in made.values()]
    used = {one.file for one in noted if one.part in paths} - {""}
    gone = [
        one
        for one in noted
        if one.kind not in there
        or (one.file and one.file not in there[one.kind])
        or (one.part not in paths and one.file not in used)
    ]
    if gone:
        manifest.note_rollups(gone=gone)
    limit = time.time() - READERS_GRACE.total_seconds()
    for place in folder.glob("rollups/*"):
        if place.name not in KINDS:
            shutil.rmtree(place, ignore_errors=True)
            continue
        for name in there[place.name] - used:
            if (place / name).stat().st_mtime <= limit:
                (place / name).unlink()
                done.removed += 1


def _upload(folder: Path, manifest: Manifest, objects: str, done: Compacted, progress: Progress) -> None:
    """Move parts of past days into object storage: there first, and read back; only then the manifest says so."""
    store = object_store(objects)
    today = utc_now().date()
    parts = [part for part in manifest.parts() if not part.remote and part.day < today]
    for number, part in enumerate(parts, 1):
        store.upload(folder / part.path, part.path, part.sha256)
        manifest.commit(add=[structs.replace(part, remote=objects)], drop=[part])
        done.uploaded += 1
        progress("Uploads", number, len(parts))


def _remove_leftovers(folder: Path, manifest: Manifest, done: Compacted) -> None:
    """Delete what nobody needs: compacted logs, parts long replaced, work that a crash left half done."""
    known = manifest.compacted()
    for log in known:
        if (folder / "log" / log).exists():
            (folder / "log" / log).unlink()
            done.removed += 1
    manifest.forget(logs=known)
    old = manifest.dropped(older_than=READERS_GRACE)
    for path, remote in old:
        if remote:
            object_store(remote).delete(path)
        else:
            (folder / path).unlink(missing_ok=True)
        done.removed += 1
    manifest.forget(old)
    working = {place for place in folder.glob("tmp/*") if place.is_dir() and is_live(place)}
    parts = [] if working else [*folder.glob("events/day=*/*"), *folder.glob("summary/day=*/*")]
    limit = time.time() - ORPHANS_GRACE.total_seconds()
    wanted = manifest.known_paths()
    for place in [*parts, *folder.glob("tmp/*")]:
        if place in working or str(place.relative_to(folder)) in wanted or place.stat().st_mtime > limit:
            continue
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink()
        done.removed += 1
