"""Text and JSON values -> numbers, instants, money; what cannot be one is a `RowError`."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation, localcontext
from functools import cache
from typing import Any

from penstock.errors import InputError

MOST = 10**15
"""More tokens than this in one row is a mistake of the source, not usage."""
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
"""Before that nobody sold tokens: such a date is seconds read as milliseconds, or an empty spreadsheet cell."""
SKEW = timedelta(days=1)
"""How far ahead a source's clock, or its unmarked local time, may be."""
SCALE = Decimal("1E-18")
"""The ledger's last decimal of a dollar."""

DEPLOYMENT_TYPES = ("global", "data_zone", "regional", "global_ptu", "data_zone_ptu", "regional_ptu")
"""Those that prices know."""
TYPES = {
    "globalstandard": "global", "standard": "regional", "datazonestandard": "data_zone", "globalbatch": "global",
    "datazonebatch": "data_zone", "globalprovisionedmanaged": "global_ptu", "provisionedmanaged": "regional_ptu",
    "datazoneprovisionedmanaged": "data_zone_ptu", "datazone": "data_zone",
}  # fmt: skip
"""Azure's own names of deployment types."""


class RowError(InputError):
    """One row cannot be booked; `problem` is a stable code."""

    code = "wrong_row"

    def __init__(self, problem: str, sentence: str) -> None:
        self.problem = problem
        super().__init__(sentence)


def whole(value: Any, name: str) -> int:
    """Read a count: `374`, `374.0`, 374. Nothing at all is zero, as exports leave zeros out."""
    if value is None or value == "":
        return 0
    text = str(value).strip()
    if not text.isdecimal():
        number = decimal(text, name)
        if number < 0:
            raise RowError("negative_number", f"{name} is {text}: a count cannot be negative")
        if number != number.to_integral_value():
            raise RowError("not_a_number", f"{name} is {text}: a count has no fraction")
        text = f"{number:.0f}"
    if len(text) > 16 or int(text) > MOST:
        raise RowError("too_large", f"{name} is {text[:40]}: more than {MOST:.0e} in one row cannot be right")
    return int(text)


def micros(value: Any, name: str) -> int:
    """Read milliseconds, with a fraction or without, as whole microseconds; nothing at all is zero."""
    if value is None or value == "":
        return 0
    number = decimal(value, name)
    if number < 0:
        raise RowError("negative_number", f"{name} is {number}: a time cannot be negative")
    return whole((number * 1000).to_integral_value(), name)


def decimal(value: Any, name: str) -> Decimal:
    """Read a number exactly, as it is written."""
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise RowError("not_a_number", f"{name} is {str(value)[:40]!r}: not a number") from None
    if not number.is_finite() or number.adjusted() > 18:
        raise RowError("not_a_number", f"{name} is {str(value)[:40]!r}: not a usable number")
    return number


def money(value: Any, name: str) -> Decimal | None:
    """Read dollars, to the ledger's 18 decimals; nothing at all is None, which is not zero."""
    if value is None or value == "":
        return None
    with localcontext() as context:
        context.prec = 60
        return decimal(str(value).strip().removeprefix("$"), name).quantize(SCALE)


def instant(value: Any, name: str, now: datetime) -> datetime:
    """Read a time: ISO 8601 (without an offset it is UTC), or seconds, milliseconds or microseconds since 1970."""
    text = str(value or "").strip()
    if not text:
        raise RowError("missing_value", f"{name} is empty: when was it?")
    try:
        at = _since_1970(text) if text.replace(".", "", 1).isdecimal() else datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise RowError("not_a_time", f"{name} is {text[:40]!r}: write it like 2026-03-14T10:00:00Z") from None
    if at > now + SKEW:
        raise RowError("future_date", f"{name} is {at:%Y-%m-%d %H:%M:%S} UTC: that is still to come")
    if at < EARLIEST:
        raise RowError("too_old", f"{name} is {at:%Y-%m-%d %H:%M:%S} UTC: before {EARLIEST:%Y} no tokens were sold")
    return at


def _since_1970(text: str) -> datetime:
    """Take seconds, milliseconds or microseconds: their sizes do not overlap after 1973."""
    number = Decimal(text)
    for unit, size in ((1_000_000, 10**14), (1_000, 10**11)):
        if number >= size:
            number /= unit
            break
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(number * 1_000_000))


def label(value: Any) -> str:
    """Read a name: no line ends or other control characters, nothing that UTF-8 cannot hold, at most 512 characters."""
    if value is None:
        return ""
    text = str(value).encode("utf-8", "replace").decode().strip()[:512]
    return text if text.isprintable() else "".join(character for character in text if character.isprintable())


def mapping(value: Any) -> dict[str, Any]:
    """Read a JSON object; anything else that stands in its place, as null or a text, counts as empty."""
    return value if isinstance(value, dict) else {}


@cache
def deployment_type(text: str) -> str:
    """Read a deployment type, by our name or by Azure's: `GlobalStandard` is `global`, `Standard` is `regional`."""
    plain = text.lower().replace("-", "_").replace(" ", "_")
    return TYPES.get(plain.replace("_", ""), plain)
