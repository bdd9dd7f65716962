"""Request traces: instant, input tokens, output tokens, and nothing about model or caller.

The forms of the Azure LLM inference traces (Azure/AzurePublicDataset, CC-BY 4.0), a CSV of `TIMESTAMP` in UTC,
`ContextTokens`, `GeneratedTokens`; and of Mooncake's (kvcache-ai/Mooncake, Apache-2.0), JSON lines of `timestamp` in
milliseconds from the trace's start, `input_length`, `output_length`. Convention: what was sent is all input, none is
known to be cached; equal `hash_ids` say what a cache could have held, not that it did.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import BinaryIO

from penstock.ledger.importers.documents import decoded
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Rejected, Sample
from penstock.ledger.importers.fields import EARLIEST, RowError, instant, mapping, micros, whole
from penstock.ledger.importers.lines import SHOWN, lines
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

HEADER = ("timestamp", "contexttokens", "generatedtokens")
LENGTHS = ("timestamp", "input_length", "output_length")
NO_START = "its times count from the trace's start: say when that was, as in --shift-to 2026-03-01"


def sniff(sample: Sample, assumed: Assumed) -> Guess:
    """Recognise the header, or the names in JSON lines."""
    if _cells(sample.header.lower()) == HEADER:
        return Guess(True, "its columns are TIMESTAMP, ContextTokens, GeneratedTokens")
    if sample.header.startswith("{") and all(f'"{name}"' in sample.header for name in LENGTHS):
        return Guess(bool(assumed.shift_to), f"it holds {', '.join(LENGTHS)}" if assumed.shift_to else NO_START, 0.95)
    return Guess(False, "the first line is not TIMESTAMP,ContextTokens,GeneratedTokens")


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected]:
    """Make one event a row, of the provider and model that the user names."""
    shift = timedelta(0) if assumed.shift_to is None else None
    for line in lines(stream):
        if isinstance(line, Rejected):
            yield line
            continue
        try:
            in_json = line.text.lstrip().startswith("{")
            cells = _lengths(line.text) if in_json else _cells(line.text)
            if cells[0].lower() == HEADER[0]:
                continue  # the header, also of a second trace glued to the first
            if in_json and assumed.shift_to is None:
                raise RowError("missing_value", NO_START)
            at, usage = _row(cells, now, in_json=in_json)
            if shift is None and assumed.shift_to is not None:
                shift = assumed.shift_to - at
            if shift:
                at = instant((at + shift).isoformat(), "TIMESTAMP moved by --shift-to", now)
            yield _draft(cells, at, usage, assumed, now)
        except RowError as error:
            yield Rejected(line.number, error.problem, str(error), line.text[:SHOWN])


def _cells(text: str) -> tuple[str, ...]:
    return tuple(cell.strip().strip('"') for cell in text.split(","))


def _lengths(text: str) -> tuple[str, ...]:
    fields = mapping(decoded(text))
    return tuple("" if fields.get(name) is None else str(fields[name]) for name in LENGTHS)


def _row(cells: tuple[str, ...], now: datetime, *, in_json: bool) -> tuple[datetime, Usage]:
    if len(cells) != 3:
        raise RowError("wrong_columns", f"{len(cells)} columns where TIMESTAMP, ContextTokens, GeneratedTokens belong")
    if not cells[1] or not cells[2]:
        raise RowError("missing_value", "a token count is empty")
    sent, received = LENGTHS[1:] if in_json else ("ContextTokens", "GeneratedTokens")
    usage = Usage(input=whole(cells[1], sent), output=whole(cells[2], received))
    if not in_json:
        return instant(cells[0], "TIMESTAMP", now), usage
    if not cells[0]:
        raise RowError("missing_value", "timestamp is empty: when was it?")
    return EARLIEST + timedelta(microseconds=micros(cells[0], "timestamp")), usage  # it is moved from there


def _draft(cells: tuple[str, ...], at: datetime, usage: Usage, assumed: Assumed, now: datetime) -> Draft:
    event = UsageEvent(
        id="", request_id="", at=at, recorded_at=now, price_state="unpriced", usage=usage,
        provider=assumed.provider, model=assumed.model, deployment_type=assumed.deployment_type or "global",
        region=assumed.region, mode=assumed.mode or "standard", team=assumed.team, app=assumed.app,
    )  # fmt: skip
    # A trace names no model: the same rows read as another model, or moved in time, are other events.
    moved = f"shifted to {assumed.shift_to.isoformat()}" if assumed.shift_to else ""
    row = (cells[0], str(usage.input), str(usage.output))
    return Draft(event, "\x1f".join((assumed.provider, assumed.model, moved, *row)))


FORMAT = Format(
    "traces", "CSV of TIMESTAMP, ContextTokens, GeneratedTokens, or JSON lines of lengths", sniff, read,
    needs=("provider", "model"),
)  # fmt: skip
