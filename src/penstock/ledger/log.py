"""The append log of one process: what the gateway writes while it serves. Nobody waits for anybody."""

import errno
import os
import threading
import time
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from penstock.errors import LedgerError
from penstock.ledger.frames import Damage, Frame, frame_of, read_frames
from penstock.ledger.logfile import LogFile
from penstock.metering.event import UsageEvent, new_id

FORMAT = 1
"""Of the file: frames, header, bodies. A log of a newer format is left alone."""


MAX_RETIRED = 4
"""Full files that may wait for a sync that never comes."""


class LogHeader(Struct, frozen=True, kw_only=True):
    """First frame of a log."""

    format: int
    writer: str
    """32 hex digits, new for each `LogWriter`: sequence numbers count within it, across its files."""
    name: str
    first: int
    """Sequence number of the first event in this file."""
    started: float
    """Seconds since 1970."""
    pid: int


class LogWriter:
    """Append-only writer, one a process: `append` to memory, `write` to the file, `sync` to the disk.

    After `write` an event survives the death of the process, after `sync` the loss of power.
    Who must not wait for a slow disk splits `write`: `take` puts aside what was appended, `put` writes that, in any
    thread; one `put` at a time. All else belongs to one thread, but `sync` may run beside it. Files change by size
    and age.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        rotate_bytes: int = 32 << 20,
        rotate_seconds: float = 300,
        buffer_bytes: int = 64 << 20,
    ) -> None:
        self.folder, self.name, self.writer = folder / "log", name, new_id()
        self.sequence = 0
        """Of the last event appended."""
        self._rotate_bytes, self._rotate_seconds, self._buffer_bytes = rotate_bytes, rotate_seconds, buffer_bytes
        self._buffer, self._taken = bytearray(), bytearray()
        self._last_taken = 0
        self._encode = msgspec.msgpack.Encoder().encode
        self._syncing = threading.Lock()
        self._changing = threading.Lock()
        self._retired: list[LogFile] = []
        self._number = 0
        self._written = 0
        self._closed = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = self._next_file()
        except OSError as error:
            raise _failed("open a log in", self.folder, error) from error

    @property
    def path(self) -> Path:
        """The file being written."""
        return self._file.path

    @property
    def pending(self) -> int:
        """Bytes that wait for `write`."""
        return len(self._buffer) + len(self._taken)

    @property
    def written(self) -> int:
        """Number of the last event that the file holds."""
        return self._written

    def append(self, event: UsageEvent) -> int:
        """Encode into the buffer, and return the event's number; nothing is on disk yet.

        Raise `LedgerError` when the buffer is full.
        """
        if len(self._buffer) > self._buffer_bytes:
            raise LedgerError(
                f"The ledger's buffer is full: {self.pending:,} bytes wait for {self.path}. The disk is full, "
                "failing or too slow; free or mend it, and writing goes on. Nothing acknowledged is lost."
            )
        sequence = self.sequence + 1
        self._buffer += frame_of(sequence, self._encode(event))
        self.sequence = sequence
        return sequence

    def take(self) -> bool:
        """Put aside what was appended since, for `put`; what an earlier `put` could not write comes first.

        Return whether there is anything to put.
        """
        if not self._taken and self._buffer:
            self._taken, self._buffer = self._buffer, bytearray()
            self._last_taken = self.sequence
        return bool(self._taken)

    def put(self) -> None:
        """Hand what was taken to the operating system. On an error it stays: call again to try again."""
        if self._closed:
            raise LedgerError(f"The log {self.path} is closed. Open a new LogWriter.")
        if not self._taken:
            return
        try:
            if self._is_full():
                self._rotate()
            self._file.write(self._taken)
        except OSError as error:
            raise _failed("write to", self.path, error) from error
        self._taken = bytearray()
        self._written = self._last_taken

    def write(self) -> None:
        """Hand everything to the operating system. On an error the buffer stays: call again to try again."""
        self.take()
        self.put()
        if self.take():  # there was something left of an earlier try
            self.put()

    def sync(self) -> None:
        """Wait until everything that was written before this call is on the disk."""
        with self._syncing:
            if self._closed:
                return
            with self._changing:
                current, retired = self._file, self._retired.copy()
            try:
                for file in retired:
                    file.sync()
                    self._retired.remove(file)
                    file.close()
                current.sync()
            except OSError as error:
                raise _failed("sync", self.path, error) from error

    def close(self) -> None:
        """Write and sync what is left, and let go of the file: it may be compacted now."""
        if self._closed:
            return
        self.write()
        self.sync()
        with self._syncing:
            self._closed = True
            self._file.close()

    def rescue(self, folder: Path) -> Path:
        """Write what cannot get into the log as a log of its own into another folder, and give up on this one.

        Moved into the ledger's `log` folder, it is as good as the rest.
        """
        header = self._header()
        path = folder / f"{self.name}-{self.writer}-{self._number + 1:06d}.log"
        with path.open("xb") as file:
            file.write(frame_of(0, msgspec.msgpack.encode(header)) + self._taken + self._buffer)
            file.flush()
            os.fsync(file.fileno())
        self._closed = True
        self._file.close()
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_full(self) -> bool:
        """Whether the file has events, and enough of them or for long enough."""
        file = self._file
        old = time.monotonic() - file.opened >= self._rotate_seconds
        return self._written >= self._first and (old or file.size >= self._rotate_bytes)

    def _rotate(self) -> None:
        """Take a new file; the old one stays open until it is synced."""
        fresh = self._next_file()
        with self._changing:
            self._retired.append(self._file)
            self._file = fresh
        if len(self._retired) > MAX_RETIRED and self._syncing.acquire(blocking=False):
            try:  # nobody syncs: the policy is `never`, and the operating system writes in its own time
                self._retired.pop(0).close()
            finally:
                self._syncing.release()

    def _next_file(self) -> LogFile:
        self._number += 1
        self._first = self._written + 1
        path = self.folder / f"{self.name}-{self.writer}-{self._number:06d}.log"
        return LogFile(path, frame_of(0, msgspec.msgpack.encode(self._header())))

    def _header(self) -> LogHeader:
        return LogHeader(
            format=FORMAT, writer=self.writer, name=self.name, first=self._written + 1, started=time.time(),
            pid=os.getpid(),
        )  # fmt: skip


class LogPart(Struct, frozen=True, kw_only=True):
    """What a log holds from some offset on."""

    header: LogHeader
    frames: list[Frame]
    damages: list[Damage]
    end: int
    """Offset behind the last sound frame: where to go on reading."""


def list_logs(folder: Path) -> list[Path]:
    """List the logs of a ledger, oldest name first."""
    return sorted((folder / "log").glob("[!.]*.log"))


def read_log(path: Path, offset: int = 0) -> LogPart:
    """Read the sound frames of a log, and where it is damaged. Raise FileNotFoundError when it is gone.

    With an `offset` (a frame's end) only what came since is read.
    """
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(offset)
        data = file.read()
    frames: list[Frame] = []
    damages: list[Damage] = []
    end = offset
    for item in read_frames(data):
        if isinstance(item, Damage):
            damages.append(Damage(item.start + offset, item.end + offset, item.torn))
            continue
        end = item.end + offset
        if item.sequence:
            frames.append(item)
    return LogPart(header=_header(path, head), frames=frames, damages=damages, end=end)


def _header(path: Path, head: bytes) -> LogHeader:
    """Decode the first frame; where it is damaged, the file's name knows the writer."""
    first = next(read_frames(head), None)
    if isinstance(first, Frame) and first.sequence == 0:
        header = msgspec.msgpack.decode(first.body, type=LogHeader)
        if header.format > FORMAT:
            raise LedgerError(f"{path} was written by a newer Penstock (log format {header.format}). Upgrade this one.")
        return header
    name, writer, _ = path.stem.rsplit("-", 2)
    return LogHeader(format=FORMAT, writer=writer, name=name, first=1, started=path.stat().st_mtime, pid=0)


def _failed(what: str, path: Path, error: OSError) -> LedgerError:
    advice = {
        errno.ENOSPC: "Free some space; writing goes on by itself.",
        errno.EDQUOT: "Raise the quota or free some space; writing goes on by itself.",
        errno.EACCES: "Let this user write there, or choose another folder with --data.",
        errno.EROFS: "Mount it for writing, or choose another folder with --data.",
    }.get(error.errno or 0, "Look at the disk; what is not yet written waits in memory.")
    return LedgerError(f"Cannot {what} {path}: {error.strerror}. {advice}")
