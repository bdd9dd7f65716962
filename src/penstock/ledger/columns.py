"""The columns of the ledger: `UsageEvent` field by field, `usage` flattened to one column a bucket."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from operator import attrgetter
from typing import Any, get_type_hints

import msgspec
import pyarrow as pa

from penstock.errors import LedgerError
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage

MONEY = pa.decimal128(38, 18)
"""Dollars: twenty digits before the point, eighteen behind it, exact."""

EXACT = Context(prec=76)
"""For sums and differences: the default context rounds to 28 digits."""

PLACES = Decimal(1).scaleb(-18)
TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us"),
    Decimal | None: MONEY,
    dict[str, str]: pa.map_(pa.string(), pa.string()),
}
"""Times are UTC without saying so: an aware column would need a time zone database in every engine."""

BUCKETS: tuple[str, ...] = Usage.__struct_fields__
"""Columns of `usage`."""
TOTALS = ("input_tokens", "output_tokens")
"""Columns computed from `usage`, for those who ask."""
PLACE = ("writer", "seq")
"""Which log an event came through and its number there: gaps show."""


def _fields() -> dict[str, pa.DataType]:
    hints = get_type_hints(UsageEvent)
    fields: dict[str, pa.DataType] = {}
    for name in UsageEvent.__struct_fields__:
        if name == "usage":
            fields |= dict.fromkeys((*BUCKETS, *TOTALS), pa.int64())
        else:
            fields[name] = TYPES.get(hints[name], pa.string())  # what is left are Literals
    return fields | {"writer": pa.string(), "seq": pa.int64()}


SCHEMA = pa.schema([pa.field(name, kind) for name, kind in _fields().items()])
"""Of every table and every Parquet part. A new field of an event is a new column; old parts get its default."""

_PLAIN = tuple(name for name in UsageEvent.__struct_fields__ if name != "usage")
_EVENT_DEFAULTS = {
    name: default
    for name, default in zip(
        reversed(UsageEvent.__struct_fields__), reversed(UsageEvent.__struct_defaults__), strict=False
    )
    if default is not msgspec.NODEFAULT
}


def default_of(column: str) -> str:
    """Return, as an SQL literal, what a part from before this column existed says."""
    kind = SCHEMA.field(column).type
    if kind == pa.int64():
        return str(int(_EVENT_DEFAULTS.get(column, 0)))
    if kind == pa.bool_():
        return "false"
    if kind == pa.string():
        return "'" + str(_EVENT_DEFAULTS.get(column, "")) + "'"
    if pa.types.is_map(kind):
        return "MAP([]::VARCHAR[], []::VARCHAR[])"
    return f"NULL::{'TIMESTAMP' if pa.types.is_timestamp(kind) else 'DECIMAL(38,18)'}"


def to_arrow(events: Sequence[UsageEvent], writer: str, seqs: Sequence[int]) -> pa.Table:
    """Turn events into a table of `SCHEMA`. Money that does not fit exactly is a `LedgerError` that names it."""
    usages = list(map(attrgetter("usage"), events))
    arrays: dict[str, pa.Array] = {}
    for name in SCHEMA.names:
        kind = SCHEMA.field(name).type
        if name in BUCKETS or name in TOTALS:
            arrays[name] = pa.array(map(attrgetter(name), usages), kind, size=len(usages))
        elif name == "writer":
            arrays[name] = pa.repeat(pa.scalar(writer), len(events))
        elif name == "seq":
            arrays[name] = pa.array(seqs, kind)
        elif kind == MONEY:
            arrays[name] = _money(events, name)
        else:
            arrays[name] = pa.array(map(attrgetter(name), events), kind, size=len(events))
    return pa.table(arrays, schema=SCHEMA)


def _money(events: Sequence[UsageEvent], name: str) -> pa.Array:
    amounts = list(map(attrgetter(name), events))
    try:
        return pa.array(amounts, MONEY)
    except pa.ArrowInvalid:
        for event, amount in zip(events, amounts, strict=True):
            if amount is not None and not fits(amount):
                raise LedgerError(
                    f"Event {event.id}: {name} {amount} does not fit into 20 digits and 18 decimals. Round it first."
                ) from None
        raise


def fits(amount: Decimal) -> bool:
    """Whether the ledger can hold this amount exactly."""
    try:
        pa.scalar(amount, MONEY)
    except pa.ArrowInvalid:
        return False
    return True


def rounded(event: UsageEvent) -> UsageEvent:
    """Return the event with money rounded to 18 decimals: less than a billionth of a billionth of a dollar."""
    changes = {
        name: amount.quantize(PLACES, context=EXACT)
        for name in ("cost", "provider_cost")
        if (amount := getattr(event, name)) is not None and not fits(amount)
    }
    return msgspec.structs.replace(event, **changes)


def to_events(table: pa.Table) -> list[UsageEvent]:
    """Turn a table back into the events it was made of."""
    columns = {name: table.column(name).to_pylist() for name in (*_PLAIN, *BUCKETS)}
    for name, convert in _BACK.items():
        columns[name] = list(map(convert, columns[name]))
    usages = (Usage(**dict(zip(BUCKETS, row, strict=True))) for row in zip(*(columns[b] for b in BUCKETS), strict=True))
    rows = zip(usages, *(columns[name] for name in _PLAIN), strict=True)
    return [UsageEvent(usage=usage, **dict(zip(_PLAIN, row, strict=True))) for usage, *row in rows]


def plain_amount(amount: Decimal | None) -> Decimal | None:
    """Strip the zeros that a column of fixed scale adds: 0.100000000000000000 is 0.1."""
    if amount is None:
        return None
    short = EXACT.normalize(amount)
    return EXACT.quantize(short, Decimal(1)) if short == short.to_integral_value() else short


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)


_BACK: dict[str, Callable[[Any], Any]] = {
    "at": _aware, "recorded_at": _aware, "cost": plain_amount, "provider_cost": plain_amount, "tags": dict,
}  # fmt: skip
