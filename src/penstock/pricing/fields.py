"""A price row as people write it: rates per 1M tokens, as providers quote them; dates as days."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import partial

from penstock.errors import PriceBookError
from penstock.pricing.book import DECIMALS, KEY, SINCE_EVER, PriceRow
from penstock.pricing.timeline import Hours
from penstock.pricing.usage import PRICED
from penstock.pricing.zones import plain_region

QUOTED = {unit: Decimal(1_000_000) for unit in PRICED} | {
    "web_searches": Decimal(1_000),
    "file_searches": Decimal(1_000),
    "pages": Decimal(1_000),
    "seconds": Decimal(1),
}
"""How many units a quoted rate buys: a million tokens or characters, a thousand searches or pages, one second."""

MOST = 1_000_000_000
"""The highest rate that is believed, in dollars for as much as a quoted rate buys."""

COLUMNS = (*KEY, "from", "to", "earliest", "free", "flat_rate", *PRICED, "source", "read")
MODES = ("standard", "batch", "flex", "priority", "fast")
DEPLOYMENT_TYPES = ("global", "data_zone", "regional", "global_ptu", "data_zone_ptu", "regional_ptu")


def row_from_fields(fields: Mapping[str, object], book: str, place: str) -> PriceRow:
    """Read one row. `from` (a day, or an instant) may be missing: then the row has always been in force.

    Raises PriceBookError that names `place` and the field.
    """
    given = {name: value for name, value in fields.items() if value is not None and value != ""}

    def wrong(field: str, problem: str) -> PriceBookError:
        return PriceBookError(book, f"{place}, {field}" if field else place, problem)

    for unknown in given.keys() - set(COLUMNS):
        raise wrong(unknown, f"there is no such field; there are {', '.join(COLUMNS)}")
    for needed in ("provider", "model"):
        if needed not in given:
            raise wrong(needed, "it is missing")
    for field, allowed in (("mode", MODES), ("deployment_type", DEPLOYMENT_TYPES)):
        if given.get(field, allowed[0]) not in allowed:
            raise wrong(field, f"{given[field]!r} is none of {', '.join(allowed)}")
    tokens = str(given.get("context_over", "0"))
    if not tokens.isdecimal():
        raise wrong("context_over", f"{tokens!r} is not a number of tokens")
    rates = {unit: _rate(given[unit], QUOTED[unit], partial(wrong, unit)) for unit in PRICED if unit in given}
    free, flat_rate = _flag(given.get("free")), _flag(given.get("flat_rate"))
    if (free and flat_rate) or ((free or flat_rate) and rates):
        said = [name for name, given_ in (("free", free), ("flat_rate", flat_rate)) if given_] + list(rates)
        raise wrong(said[0], f"it excludes {' and '.join(said[1:])}: calls are free, or paid flat, or cost their rates")
    hours = str(given.get("hours", ""))
    if hours:
        try:
            Hours(hours)
        except PriceBookError as error:
            raise wrong("hours", f"{hours!r}: {error.problem}") from None
    start = instant(given.get("from"), partial(wrong, "from")) or SINCE_EVER
    end = instant(given.get("to"), partial(wrong, "to"))
    if end is not None and end <= start:
        raise wrong("to", f"{end:%Y-%m-%d} is not after the first day {start:%Y-%m-%d}")
    read = instant(given.get("read"), partial(wrong, "read"))
    return PriceRow(
        provider=str(given["provider"]),
        model=str(given["model"]),
        version=str(given.get("version", "")),
        deployment_type=str(given.get("deployment_type", "global")),
        region=plain_region(str(given.get("region", ""))),
        mode=str(given.get("mode", "standard")),
        context_over=int(tokens),
        hours=hours,
        valid_from=start,
        valid_to=end,
        rates=rates,
        free=free,
        flat_rate=flat_rate,
        earliest=_flag(given.get("earliest")),
        source=str(given.get("source", "")),
        read=read.date() if read else None,
    )


def rows_from_table(text: str, book: str) -> list[PriceRow]:
    """Read rows from CSV with the header `COLUMNS` (any order, any subset)."""
    reader = csv.DictReader(io.StringIO(text), strict=True)
    rows = []
    try:
        for fields in reader:
            if None in fields:
                raise PriceBookError(book, f"line {reader.line_num}", "it has more fields than the first line")
            rows.append(row_from_fields(fields, book, f"line {reader.line_num}"))
    except csv.Error as error:
        raise PriceBookError(book, f"line {reader.line_num}", f"not CSV: {error}") from error
    return rows


def table_of(rows: Iterable[PriceRow], columns: Sequence[str] = COLUMNS, *, header: bool = True) -> str:
    """Write rows as CSV that `rows_from_table` reads back to the same rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    for row in rows:
        fields = {name: getattr(row, name) or "" for name in (*KEY, "source")}
        flags = {name: "yes" if getattr(row, name) else "" for name in ("earliest", "free", "flat_rate")}
        dates = {
            "from": day_of(row.valid_from),
            "to": day_of(row.valid_to),
            "read": row.read.isoformat() if row.read else "",
        }
        rates = {unit: plain_number(rate * QUOTED[unit]) for unit, rate in row.rates.items()}
        writer.writerow({name: value for name, value in (fields | flags | dates | rates).items() if name in columns})
    return text.getvalue()


def quoted(unit: str, rate: Decimal) -> Decimal:
    """Turn a rate for one unit into the form that providers quote."""
    return rate * QUOTED[unit]


def day_of(at: datetime | None) -> str:
    """Write an instant as its day where it is midnight; empty: always, or open."""
    if at is None or at == SINCE_EVER:
        return ""
    at = at.astimezone(UTC)
    return at.date().isoformat() if at.hour == at.minute == at.second == 0 else at.isoformat()


def plain_number(value: Decimal) -> str:
    """Write a decimal without exponent and without needless zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rate(value: object, per: Decimal, wrong: Callable[[str], PriceBookError]) -> Decimal:
    # a float comes from settings only; its shortest form is what the user wrote there
    text = repr(value) if isinstance(value, float) else str(value).strip().lstrip("$")
    try:
        quote = Decimal(text)
    except InvalidOperation:
        raise wrong(f"{value!r} is not an amount of dollars") from None
    if not quote.is_finite() or quote < 0:
        raise wrong(f"{value!r}: a rate is zero or more dollars")
    if quote > MOST:
        raise wrong(f"{text[:20]}: more than {MOST:,} dollars for {per:,} cannot be right")
    rate = quote / per
    if rate * per != quote or -int(rate.normalize().as_tuple().exponent) > DECIMALS:
        raise wrong(f"{value!r} has more decimals than the ledger keeps ({DECIMALS} for one unit)")
    return rate.normalize()


def instant(value: object, wrong: Callable[[str], PriceBookError]) -> datetime | None:
    """Read a day (its midnight) or an instant, in UTC where it names no zone; raises what `wrong` makes of trouble."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        raise wrong(f"{value!r} is not a day like 2026-11-23") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _flag(value: object) -> bool:
    return value is True or str(value).lower() in {"yes", "true", "1"}
