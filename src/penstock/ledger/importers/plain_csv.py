"""The documented CSV: one row a request (or an aggregate of requests), columns by name, aliases understood.

Convention: `input_tokens` is everything sent, `cached_tokens` and `cache_write_tokens` are parts of it, and
`reasoning_tokens` is a part of `output_tokens`; `cost` is in US dollars and is the source's own figure.
"""

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO, NamedTuple

from penstock.errors import InputError, UsageError
from penstock.ledger.importers.documents import refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample
from penstock.ledger.importers.fields import RowError, deployment_type, instant, label, micros, money, whole
from penstock.ledger.importers.lines import Line, lines
from penstock.metering.event import Outcome, UsageEvent
from penstock.pricing.usage import Usage, part_of

COLUMNS: dict[str, tuple[str, ...]] = {
    "at": ("timestamp", "time", "date", "datetime", "created_at", "start_time", "started_at", "timegenerated"),
    "provider": ("vendor", "custom_llm_provider"),
    "model": ("model_name", "modelname", "served_model", "response_model"),
    "version": ("model_version", "modelversion"),
    "deployment": ("deployment_name", "deploymentname", "model_deployment_name"),
    "deployment_type": ("sku", "deployment_sku"),
    "region": ("location",),
    "mode": ("service_tier", "tier", "processing_mode"),
    "endpoint": ("operation", "call_type", "api"),
    "input_tokens": ("prompt_tokens", "tokens_in", "contexttokens", "context_tokens", "prompttokens"),
    "cached_tokens": ("cached_input_tokens", "cache_read_tokens", "cache_read_input_tokens", "input_cached_tokens"),
    "cache_write_tokens": ("cache_creation_tokens", "cache_creation_input_tokens"),
    "output_tokens": ("completion_tokens", "tokens_out", "generatedtokens", "generated_tokens", "completiontokens"),
    "reasoning_tokens": ("output_reasoning_tokens",),
    "requests": ("num_model_requests", "request_count", "calls"),
    "cost": ("cost_usd", "costusd", "spend", "amount_usd", "provider_cost"),
    "request_id": ("id", "correlation_id", "correlationid", "requestid"),
    "attempt": (),
    "team": ("team_id", "department", "cost_center", "cost_centre"),
    "app": ("application", "project", "project_id", "service"),
    "feature": ("use_case", "usecase"),
    "user": ("user_id", "end_user", "username"),
    "run": ("session_id", "conversation_id", "trace_id"),
    "key": ("key_id", "api_key_id"),
    "status": ("http_status", "status_code", "response_status"),
    "duration_ms": ("latency_ms", "response_time_ms", "duration"),
    "first_token_ms": ("ttft_ms", "time_to_first_token_ms"),
    "currency": (),
}
"""Column -> other names that mean the same. Case, spaces, dots and hyphens do not matter."""

NAMES = {alias: column for column, aliases in COLUMNS.items() for alias in (column, *aliases)}
TAG = "tag:"
DELIMITERS = ",;\t|"
NEAREST = 0.9
"""How near a header is that has columns of ours and is not enough."""
MODES = {"": "standard", "default": "standard", "auto": "standard", "on_demand": "standard"}


class Header(NamedTuple):
    """Columns of a file by position; "" where the column is not one of ours."""

    delimiter: str
    columns: tuple[str, ...]
    ignored: tuple[str, ...]


def header_of(text: str) -> Header:
    """Understand a header line; two columns of one meaning are an InputError that names both."""
    delimiter = max(DELIMITERS, key=text.count)
    columns: list[str] = []
    ignored: list[str] = []
    for cell in next(csv.reader([text], delimiter=delimiter), []):
        name = cell.strip().lower()
        plain = name.replace(" ", "_").replace("-", "_").replace(".", "_")
        column = name if name.startswith(TAG) and len(name) > len(TAG) else NAMES.get(plain, "")
        if column and column in columns:
            raise InputError(f"the header has two columns that mean {column}; the second is {cell!r}: rename one")
        if not column and name:
            ignored.append(cell.strip())
        columns.append(column)
    return Header(delimiter, tuple(columns), tuple(ignored))


def missing(header: Header, assumed: Assumed) -> list[str]:
    """Return the columns without which no row can be booked, and that the user does not stand in for."""
    need = ["at"] + [name for name in ("provider", "model") if not getattr(assumed, name)]
    lacking = [column for column in need if column not in header.columns]
    tokens = ("input_tokens", "output_tokens")
    return lacking + ([] if set(tokens) & set(header.columns) else list(tokens))


def sniff(sample: Sample, assumed: Assumed) -> Guess:
    """Recognise a header with a time, a model and tokens."""
    return Guess(False, "it is a Parquet file") if sample.is_parquet else lacks(sample, assumed)


def lacks(sample: Sample, assumed: Assumed) -> Guess:
    """Say which columns a header lacks, or that it has all that is needed."""
    try:
        header = header_of(sample.header)
    except InputError as error:
        return Guess(False, str(error), NEAREST)
    except csv.Error as error:
        return Guess(False, f"the header is not CSV: {error}")
    lacking = missing(header, assumed)
    if lacking:
        stand_in = [f"--{name} NAME" for name in lacking if name in ("provider", "model")]
        or_say = f" (or say {' '.join(stand_in)})" if stand_in else ""
        near = (len(header.columns) > 1) / 100 + sum(bool(column) for column in header.columns) / 20
        return Guess(False, f"its header has no column {', '.join(lacking)}{or_say}", min(near, NEAREST))
    return Guess(True, f"its header has {', '.join(column for column in header.columns if column)}")


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event a row; a row stands on one line."""
    header: Header | None = None
    for line in lines(stream):
        if isinstance(line, Rejected):
            yield line
        elif header is None:
            header = header_of(line.text)
            if lacking := missing(header, assumed):
                raise InputError(f"the header has no column {', '.join(lacking)}")
            if header.ignored:
                yield Note(f"columns not read: {', '.join(header.ignored)}")
        else:
            try:
                yield draft_of(_cells(line, header), assumed, now, line.number)
            except (RowError, UsageError) as error:
                yield refused(line.number, error, line.text)


def _cells(line: Line, header: Header) -> dict[str, str]:
    try:
        cells = next(csv.reader([line.text], delimiter=header.delimiter, strict=True))
    except csv.Error as error:
        raise RowError("wrong_csv", f"not a row of CSV on one line: {error}") from None
    if len(cells) != len(header.columns):
        raise RowError("wrong_columns", f"{len(cells)} columns where the header has {len(header.columns)}")
    return {column: label(cell) for column, cell in zip(header.columns, cells, strict=True) if column}


def draft_of(row: dict[str, str], assumed: Assumed, now: datetime, line: int) -> Draft:
    """Make an event of the cells of a row, by column."""

    def said(column: str) -> str:
        return row.get(column) or str(getattr(assumed, column))

    def count(column: str) -> int:
        return whole(row.get(column), column)

    model, provider = said("model"), said("provider").lower()
    if not model or not provider:
        raise RowError("missing_value", f"{'provider' if model else 'model'} is empty: whose price applies?")
    if row.get("currency", "").upper() not in ("", "USD", "US$", "$"):
        raise RowError("wrong_currency", f"currency is {row['currency']}: the ledger is in US dollars")
    mode = said("mode").lower()
    usage, status = _usage(row), count("status") or 200
    event = UsageEvent(
        id="", request_id=row.get("request_id", ""), at=instant(row.get("at"), "at", now), recorded_at=now,
        price_state="unpriced", provider=provider, model=model, version=row.get("version", ""),
        deployment=row.get("deployment", ""), deployment_type=deployment_type(said("deployment_type")) or "global",
        region=said("region"), mode=MODES.get(mode, mode), endpoint=row.get("endpoint", ""),
        attempt=count("attempt") or 1, requests=count("requests") or 1, usage=usage,
        status=status, outcome=_outcome(status), error="" if status < 400 else f"http_{status}",
        duration_us=micros(row.get("duration_ms"), "duration_ms"),
        first_token_us=micros(row.get("first_token_ms"), "first_token_ms"),
        provider_cost=money(row.get("cost"), "cost"), team=said("team"), app=said("app"),
        feature=row.get("feature", ""), user=row.get("user", ""), run=row.get("run", ""), key=row.get("key", ""),
        tags={name[len(TAG) :]: value for name, value in row.items() if name.startswith(TAG) and value},
    )  # fmt: skip
    content = "\x1f".join(f"{column}={value}" for column, value in sorted(row.items()) if value)
    content += f"\x1f{assumed.provider}\x1f{assumed.model}"
    source_id = f"{event.request_id}\x1f{event.attempt}" if event.request_id else ""
    return Draft(event, content, source_id, line)


def _usage(row: dict[str, str]) -> Usage:
    sent, read_, written, received, thought = (
        whole(row.get(column), column)
        for column in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    )
    if not row.get("input_tokens") and not row.get("output_tokens"):
        raise RowError("missing_value", "neither input_tokens nor output_tokens is filled in")
    part_of(received, thought, "reasoning_tokens of output_tokens")
    fresh = part_of(sent, read_ + written, "cached_tokens and cache_write_tokens of input_tokens")
    return Usage(input=fresh, cache_read=read_, cache_write=written, output=received, reasoning=thought)


def _outcome(status: int) -> Outcome:
    return "aborted" if status == 499 else "error" if status >= 400 else "ok"


FORMAT = Format("csv", "CSV with at, provider, model, input_tokens, output_tokens, ... by name", sniff, read)
