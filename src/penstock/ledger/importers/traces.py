"""Request traces: CSV of instant, input tokens, output tokens, and nothing about model or caller.

The form of the Azure LLM inference traces (Azure/AzurePublicDataset, CC-BY 4.0): `TIMESTAMP` in UTC, `ContextTokens`,
`GeneratedTokens`. Convention: context tokens are all input, none is known to be cached.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import BinaryIO

from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Rejected, Sample
from penstock.ledger.importers.fields import RowError, instant, whole
from penstock.ledger.importers.lines import SHOWN, lines
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

HEADER = ("timestamp", "contexttokens", "generatedtokens")


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise the header."""
    if _cells(sample.header.lower()) == HEADER:
        return Guess(True, "its columns are TIMESTAMP, ContextTokens, GeneratedTokens")
    return Guess(False, "the first line is not TIMESTAMP,ContextTokens,GeneratedTokens")


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected]:
    """Make one event a row, of the provider and model that the user names."""
    shift = timedelta(0) if assumed.shift_to is None else None
    for line in lines(stream):
        if isinstance(line, Rejected):
            yield line
            continue
        cells = _cells(line.text)
        if cells[0].lower() == HEADER[0]:
            continue  # the header, also of a second trace glued to the first
        try:
            at, usage = _row(cells, now)
            if shift is None and assumed.shift_to is not None:
                shift = assumed.shift_to - at
            if shift:
                at = instant((at + shift).isoformat(), "TIMESTAMP moved by --shift-to", now)
            yield _draft(cells, at, usage, assumed, now)
        except RowError as error:
            yield Rejected(line.number, error.problem, str(error), line.text[:SHOWN])


def _cells(text: str) -> tuple[str, ...]:
    return tuple(cell.strip().strip('"') for cell in text.split(","))


def _row(cells: tuple[str, ...], now: datetime) -> tuple[datetime, Usage]:
    if len(cells) != 3:
        raise RowError("wrong_columns", f"{len(cells)} columns where TIMESTAMP, ContextTokens, GeneratedTokens belong")
    if not cells[1] or not cells[2]:
        raise RowError("missing_value", "a token count is empty")
    usage = Usage(input=whole(cells[1], "ContextTokens"), output=whole(cells[2], "GeneratedTokens"))
    return instant(cells[0], "TIMESTAMP", now), usage


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


FORMAT = Format("traces", "CSV of TIMESTAMP, ContextTokens, GeneratedTokens", sniff, read, needs=("provider", "model"))
