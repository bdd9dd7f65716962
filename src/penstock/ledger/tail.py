"""Events that are still in logs, as Arrow. Each byte is decoded once; asking again decodes what came since."""

import threading
from pathlib import Path

import msgspec
import pyarrow as pa

from penstock.errors import LedgerError
from penstock.ledger.columns import SCHEMA, rounded, to_arrow
from penstock.ledger.frames import Frame
from penstock.ledger.log import LogHeader, read_log
from penstock.metering.event import UsageEvent

EMPTY = pa.Table.from_batches([], SCHEMA)  # not empty_table(): that would import pandas
MOST_CHUNKS = 64
_decode = msgspec.msgpack.Decoder(UsageEvent).decode


class Unreadable(msgspec.Struct, frozen=True):
    """A sound frame whose body is no event that this version understands."""

    sequence: int
    problem: str


def decode_frames(header: LogHeader, frames: list[Frame]) -> tuple[pa.Table, list[Unreadable]]:
    """Turn frames into a table; what cannot be decoded is reported, not guessed."""
    events, seqs, unreadable = [], [], []
    for frame in frames:
        try:
            events.append(_decode(frame.body))
            seqs.append(frame.sequence)
        except msgspec.MsgspecError as error:
            unreadable.append(Unreadable(frame.sequence, str(error)))
    try:
        table = to_arrow(events, header.writer, seqs)
    except LedgerError:
        table = to_arrow([rounded(event) for event in events], header.writer, seqs)
    return table, unreadable


class _Log:
    """One log's decoded events so far."""

    def __init__(self) -> None:
        self.offset = 0
        self.table = EMPTY

    def read(self, path: Path) -> pa.Table:
        part = read_log(path, self.offset)
        if part.frames:
            table, _ = decode_frames(part.header, part.frames)
            self.table = pa.concat_tables([self.table, table])
            if self.table.column(0).num_chunks > MOST_CHUNKS:
                self.table = self.table.combine_chunks()
        self.offset = part.end
        return self.table


class Tails:
    """A cache of decoded logs, one a ledger; safe to use from several threads."""

    def __init__(self) -> None:
        self._logs: dict[Path, _Log] = {}
        self._lock = threading.Lock()

    def read(self, paths: list[Path]) -> pa.Table:
        """Return the events of these logs; forget all others. Raise FileNotFoundError when one is gone."""
        with self._lock:
            self._logs = {path: self._logs.get(path) or _Log() for path in paths}
            return pa.concat_tables([EMPTY, *(log.read(path) for path, log in self._logs.items())])
