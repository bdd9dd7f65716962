"""A provider's bill, line by line: read from its file, or from the ledger where it was imported."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from penstock.analytics.overlap import within
from penstock.analytics.question import trimmed
from penstock.analytics.spend import add
from penstock.errors import InputError
from penstock.ledger.columns import to_events
from penstock.ledger.importers.drafts import Assumed, Draft, Note, Rejected
from penstock.ledger.importers.formats import FORMATS, choose
from penstock.ledger.importers.lines import open_stream
from penstock.ledger.importers.run import Pricing
from penstock.ledger.moment import Moment
from penstock.metering.event import UsageEvent
from penstock.pricing.catalog import Catalog

BILLS = tuple(name for name, format_ in FORMATS.items() if format_.kind == "bill")
"""Formats, and sources of events, that are bills."""
WHOLE = ("all line items", "all usage")
"""What the importers call a line that is the sum of all models."""
TOKEN_TYPES = {
    "uncached_input_tokens": "input", "output_tokens": "output", "cache_read_input_tokens": "cache_read",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h", "web_search": "web_searches",
}  # fmt: skip
"""Anthropic's kinds of cost that name no quantity -> the bucket they charge for."""
LEAST_DECIMALS = 2
EXAMPLES = 5


class BillLine(Struct, frozen=True, kw_only=True):
    """What one meter charged for one day. Dollars."""

    day: date
    meter: str
    """As the bill names it."""
    provider: str
    model: str
    version: str
    deployment_type: str
    mode: str
    unit: str
    """The bucket of usage; empty: the meter is none that is known; `*`: all of them."""
    quantity: int | None
    """None: the bill does not say it."""
    charged: Decimal
    listed: Decimal | None
    """Quantity times the unit price that the bill states, unrounded."""
    rows: int
    """Of the bill: each may be rounded on its own."""


class Aside(Struct, frozen=True, kw_only=True):
    """Charges that no call of a model caused: taxes, credits, purchases, other services."""

    kind: str
    rows: int
    charged: Decimal


class Bill(Struct, frozen=True, kw_only=True):
    """A bill."""

    name: str
    format: str
    lines: tuple[BillLine, ...]
    aside: tuple[Aside, ...] = ()
    decimals: int = LEAST_DECIMALS
    """Behind the point of its amounts."""
    unfinished: int = 0
    """Rows of days that may still change: not read."""
    rejected: int = 0
    """Rows that cannot be read."""
    examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def period(self, place: tzinfo) -> tuple[datetime, datetime]:
        """Return the first instant of its first day, and the first one after its last."""
        if not self.lines:
            raise InputError(f"{self.name} has no line that could be compared: {self.why_not}")
        days = [line.day for line in self.lines]
        first, last = datetime.combine(min(days), time(), place), max(days) + timedelta(days=1)
        return first, datetime.combine(last, time(), place)

    @property
    def why_not(self) -> str:
        """Say what became of its rows."""
        aside = ", ".join(f"{one.rows:,} of {one.kind}" for one in self.aside)
        said = [f"left aside {aside}" if aside else "", *self.examples[:1]]
        if self.unfinished:
            said.append(f"{self.unfinished:,} rows are of days that may still change")
        return "; ".join(word for word in said if word) or "it is empty"


class _Key(NamedTuple):
    day: date
    meter: str
    provider: str
    model: str
    version: str
    deployment_type: str
    mode: str
    unit: str


class _Sum:
    def __init__(self) -> None:
        self.quantity, self.charged, self.rows = 0, Decimal(0), 0
        self.is_counted, self.listed = True, Decimal(0)
        self.is_listed = True


class _Lines:
    """Sums the rows of a bill up to one line a meter and day."""

    def __init__(self, place: tzinfo, aside: Sequence[str]) -> None:
        self._place, self._aside = place, tuple(word.lower() for word in aside)
        self._sums: dict[_Key, _Sum] = defaultdict(_Sum)
        self.aside: dict[str, tuple[int, Decimal]] = {}
        self.decimals = LEAST_DECIMALS

    def add(self, event: UsageEvent, meter: str, unit_price: Decimal | None = None) -> None:
        """Take in one row, `model` and `version` as the price books name them."""
        charged = event.provider_cost or Decimal(0)
        self.decimals = max(self.decimals, -int(charged.normalize().as_tuple().exponent))
        units = event.usage.units()
        unit, quantity = next(iter(units.items())) if len(units) == 1 else (_unit_of(event), None)
        if kind := self._left_aside(event, meter, charged):
            self.put_aside(kind, charged)
            return
        one = self._sums[
            _Key(
                _day(event.at, self._place), meter, event.provider, event.model, event.version,
                event.deployment_type, event.mode, unit,
            )
        ]  # fmt: skip
        one.quantity += quantity or 0
        one.is_counted = one.is_counted and quantity is not None
        one.listed += (quantity or 0) * (unit_price or 0)
        one.is_listed = one.is_listed and unit_price is not None
        one.charged, one.rows = add((one.charged, charged)), one.rows + 1

    def put_aside(self, kind: str, charged: Decimal, rows: int = 1) -> None:
        """Count what is not compared."""
        before, amount = self.aside.get(kind, (0, Decimal(0)))
        self.aside[kind] = before + rows, add((amount, charged))

    def _left_aside(self, event: UsageEvent, meter: str, charged: Decimal) -> str:
        """Say what kind of charge it is that no call of a model caused; nothing, where one may have."""
        if event.endpoint in ("tax", "credit", "adjustment", "purchase"):
            return event.endpoint
        if any(word in meter.lower() for word in self._aside):
            return meter
        return "credit" if charged < 0 else ""

    def bill(self, name: str, format_: str, **more: object) -> Bill:
        """Return what came together."""
        lines = tuple(
            BillLine(
                **key._asdict(), quantity=one.quantity if one.is_counted else None, charged=trimmed(one.charged),
                listed=one.listed if one.is_listed and one.is_counted else None, rows=one.rows,
            )
            for key, one in sorted(self._sums.items())
        )  # fmt: skip
        aside = tuple(
            Aside(kind=kind, rows=rows, charged=trimmed(charged)) for kind, (rows, charged) in self.aside.items()
        )
        return Bill(name=name, format=format_, lines=lines, aside=aside, decimals=self.decimals, **more)  # type: ignore[arg-type]


def read_bill(
    files: Sequence[Path], catalog: Catalog, now: datetime, *, format_name: str = "", place: tzinfo = UTC,
    aside: Sequence[str] = (),
) -> Bill:  # fmt: skip
    """Read the files of one bill: FOCUS, OpenAI's costs, Anthropic's cost report. Nothing is booked.

    Meters whose name holds one of `aside` are left aside. Raises InputError for a file that is no bill, or not in
    US dollars.
    """
    lines, pricing = _Lines(place, aside), Pricing(catalog)
    rejected: Counter[str] = Counter()
    examples, notes, formats = list[str](), list[str](), list[str]()
    for file in files:
        format_, _why = choose(file, Assumed(), format_name)
        if format_.name not in BILLS:
            raise InputError(f"{file} is {format_.about}, and no bill: a bill is one of {', '.join(BILLS)}")
        formats.append(format_.name)
        stream, raw = open_stream(file)
        with raw, stream:
            for item in format_.read(stream, Assumed(), now):
                if isinstance(item, Draft):
                    lines.add(_named(item.event, pricing), item.meter, item.unit_price)
                elif isinstance(item, Rejected):
                    _refuse_currency(file, item)
                    rejected[item.code] += 1
                    if item.code != "unfinished_bucket" and len(examples) < EXAMPLES:
                        examples.append(f"{file}, row {item.line}: {item.reason}")
                elif item.charged is not None:
                    lines.put_aside("other services than AI", item.charged, item.rows)
                elif isinstance(item, Note):
                    notes.append(item.text)
    if len(set(formats)) > 1:
        raise InputError(f"The files are different bills ({', '.join(sorted(set(formats)))}): reconcile each by itself")
    unfinished = rejected.pop("unfinished_bucket", 0)
    return lines.bill(
        ", ".join(map(str, files)), formats[0], unfinished=unfinished, rejected=rejected.total(),
        examples=tuple(examples), notes=tuple(notes),
    )  # fmt: skip


def booked_bill(
    moment: Moment, source: str, *, since: datetime | None = None, until: datetime | None = None, place: tzinfo = UTC,
    aside: Sequence[str] = (),
) -> Bill:  # fmt: skip
    """Return a bill that was imported: the events of that source. Meters have the names that the ledger keeps."""
    if source not in BILLS:
        raise InputError(f"source: {source!r} is no bill: use one of {', '.join(BILLS)}")
    lines = _Lines(place, aside)
    if source in moment.sources(since=since, until=until):
        for event in _events_of(moment, source, since, until):
            units = event.usage.units()
            of = (
                (event.version, event.deployment_type, event.mode, *units)
                if units
                else (event.endpoint.removeprefix("usage"),)
            )
            lines.add(event, name_of(event.model, *of))
    return lines.bill(source, source)


def name_of(*words: str) -> str:
    """Name a meter that no bill names."""
    return " ".join(word for word in words if word)


def _events_of(moment: Moment, source: str, since: datetime | None, until: datetime | None) -> Iterable[UsageEvent]:
    table = within(moment.table(since=since, until=until), since, until)
    return to_events(table.filter(table.source == source, table.corrects == "").to_pyarrow())


def _named(event: UsageEvent, pricing: Pricing) -> UsageEvent:
    """Name model and version as the ledger does."""
    key = pricing.key(event)
    return replace(event, model=key.model, version=key.version)


def _refuse_currency(file: Path, item: Rejected) -> None:
    if item.code == "wrong_currency":
        raise InputError(
            f"{file}, row {item.line}: {item.reason}. The ledger is in US dollars: export the bill in them (Azure: "
            "with the column x_BilledCostInUsd)"
        )


def _unit_of(event: UsageEvent) -> str:
    """Return the bucket of a charge without a quantity, as far as it says it."""
    return "*" if event.model in WHOLE else TOKEN_TYPES.get(event.endpoint, "")


def _day(at: datetime, place: tzinfo) -> date:
    """Return the day of a line: midnight of UTC is how bills write a date, wherever their days begin."""
    midnight = at.astimezone(UTC).time() == time()
    return at.astimezone(UTC if midnight else place).date()
