"""Demand by the minute: from a trace file, or from the ledger."""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from penstock.errors import InputError
from penstock.planning.demand import Minute
from penstock.planning.quantity import ratio

COLUMNS = {
    "time": ("timestamp", "time", "at"),
    "input": ("contexttokens", "input_tokens", "prompt_tokens"),
    "output": ("generatedtokens", "output_tokens", "completion_tokens"),
}
"""Names of the columns that are read, in lower case; the first ones are those of Azure's public inference traces."""


@Parameter(name="*", group="Chart")
@dataclass(frozen=True, kw_only=True)
class ChartOptions:
    """Where the chart of the demand goes."""

    chart: Annotated[Path | None, Parameter(help="Write demand, PTUs and spill-over as an SVG drawing.")] = None


def minutes_of_trace(path: Path) -> tuple[Minute, ...]:
    """Add a trace up by the minute, quiet minutes included. Raises InputError that names file and line."""
    inputs: Counter[str] = Counter()
    outputs: Counter[str] = Counter()
    requests: Counter[str] = Counter()
    for minute, received, sent in _lines(path):
        inputs[minute] += sent
        outputs[minute] += received
        requests[minute] += 1
    if not requests:
        raise InputError(f"{path}: there is no request in it")
    try:
        first, last = (datetime.fromisoformat(end) for end in (min(requests), max(requests)))
    except ValueError as error:
        raise InputError(f"{path}: a time is not of the form 2026-11-23T10:00:00 ({error})") from error
    count = _count(path, first, last)
    names = [(first + timedelta(minutes=step)).strftime("%Y-%m-%d %H:%M") for step in range(count)]
    return tuple(Minute(inputs[name], outputs[name], requests[name]) for name in names)


LONGEST = timedelta(days=366)


def _count(where: Path, first: datetime, last: datetime) -> int:
    """Count the minutes from the first request to the last one, quiet ones included."""
    if last - first > LONGEST:
        raise InputError(f"{where}: its requests lie {(last - first).days:,} days apart; plan with a year or less")
    return int((last - first) / timedelta(minutes=1)) + 1


def _lines(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield minute, output tokens and input tokens of each request."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            lines = csv.reader(file)
            header = [name.strip().lower() for name in next(lines, [])]
            if not header:
                raise InputError(f"{path}: the file is empty")
            time, sent, received = (_column(path, header, names) for names in COLUMNS.values())
            for number, line in enumerate(lines, start=2):
                if not line:
                    continue
                try:
                    minute, output, tokens = line[time][:16].replace("T", " "), int(line[received]), int(line[sent])
                except (ValueError, IndexError) as error:
                    raise InputError(
                        f"{path}, line {number}: not a request with whole token counts: {_short(line)}"
                    ) from error
                if min(output, tokens) < 0:
                    raise InputError(f"{path}, line {number}: a token count is negative: {_short(line)}")
                yield minute, output, tokens
    except (OSError, ValueError, EOFError, csv.Error, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def _short(line: list[str]) -> str:
    text = ",".join(line)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


SHOWN = 80
"""Characters of a wrong line that an error shows."""


def _column(path: Path, header: list[str], names: tuple[str, ...]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise InputError(f"{path}: no column {' or '.join(names)}; its columns are {', '.join(header)}")


def minutes_of_ledger(
    folder: Path, model: str, since: datetime | None, until: datetime | None
) -> tuple[tuple[Minute, ...], Decimal]:
    """Add a model's events up by the minute, quiet minutes included; return the share of cached input as well."""
    from penstock.ledger.store import Ledger

    with Ledger.open(folder, create=False) as ledger:
        table = ledger.table()
        table = table.filter(table.model.lower() == model.lower())
        if since:
            table = table.filter(table.at >= _naive(since))
        if until:
            table = table.filter(table.at < _naive(until))
        by_minute = table.group_by(minute=table.at.truncate("m")).aggregate(
            sent=table.input_tokens.sum(),
            received=table.output_tokens.sum(),
            requests=table.count(),
            cached=table.cache_read.sum(),
        )
        rows = by_minute.order_by("minute").to_pyarrow().to_pylist()
    if not rows:
        raise InputError(f"{folder}: the ledger has no events of {model} in this time")
    found = {row["minute"]: Minute(int(row["sent"]), int(row["received"]), row["requests"]) for row in rows}
    first, last = rows[0]["minute"], rows[-1]["minute"]
    count = _count(folder, first, last)
    minutes = tuple(found.get(first + timedelta(minutes=step), Minute()) for step in range(count))
    cached, sent = (sum(int(row[name]) for row in rows) for name in ("cached", "sent"))
    return minutes, ratio(cached, sent)


def _naive(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
