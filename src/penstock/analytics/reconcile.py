"""The ledger against a provider's bill: what differs, by meter and day, and why, in dollars that add up."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import asdict, replace

from penstock.analytics.attempts import attempts_of
from penstock.analytics.bill import BILLS, Aside, Bill, BillLine
from penstock.analytics.change import Rates, dollars_by_unit, rounded
from penstock.analytics.meters import Meter, Slice, matched
from penstock.analytics.overlap import Once
from penstock.analytics.question import EXACT, chosen, table_of, trimmed
from penstock.analytics.spend import add
from penstock.analytics.tables import local
from penstock.analytics.zones import zone
from penstock.errors import InputError
from penstock.ledger.moment import Moment
from penstock.pricing.usage import PRICED

Effect = Literal[
    "rounding", "time_shift", "price", "quantity", "unpriced", "bill_only", "ledger_only", "unquantified"
]  # fmt: skip
EXPLAINED: tuple[Effect, ...] = ("rounding", "time_shift", "price", "unpriced")
"""Effects whose cause is known. The others say where dollars are apart, and not why."""
LEAST_BOUND = Decimal("0.0000005")
"""Dollars of a row that are rounding, however many decimals a bill has: it is made with floats."""
DAY = timedelta(days=1)
PLACES = Decimal(1).scaleb(-18)


class Effects(Struct, frozen=True, kw_only=True):
    """Why a bill differs: dollars of the bill less those of the ledger, in parts that add up to it exactly."""

    rounding: Decimal = Decimal(0)
    """The bill's amounts are rounded to its decimals."""
    time_shift: Decimal = Decimal(0)
    """The bill counts it on the day before or after."""
    price: Decimal = Decimal(0)
    """Another rate for the same tokens: the billed quantity, at the bill's rate less the ledger's."""
    quantity: Decimal = Decimal(0)
    """More or fewer tokens than the ledger holds, at the ledger's rate."""
    unpriced: Decimal = Decimal(0)
    """The ledger holds these tokens, and no price for them."""
    bill_only: Decimal = Decimal(0)
    """A meter, or a day of it, that the ledger has nothing of."""
    ledger_only: Decimal = Decimal(0)
    """A meter, or a day of it, that the bill has nothing of; below zero."""
    unquantified: Decimal = Decimal(0)
    """Rates or tokens: the bill names no quantity, so nobody can say."""


NAMES: tuple[Effect, ...] = Effects.__struct_fields__  # type: ignore[assignment]


class Reconciled(Struct, frozen=True, kw_only=True):
    """One meter on one day, or in the whole period. Dollars."""

    provider: str
    """Empty: all of the bill."""
    meter: str
    day: date | None
    """None: the whole period."""
    billed: Decimal
    ledger: Decimal
    difference: Decimal
    """Billed less ledger."""
    billed_quantity: int | None
    """Tokens, or what the meter counts; None: the bill does not say it."""
    ledger_quantity: int
    effects: Effects
    unexplained: Decimal
    """Dollars that are apart without a known cause, up and down alike."""


class Reconciliation(Struct, frozen=True, kw_only=True):
    """The answer. `total` is the bill without what was left aside."""

    bill: str
    format: str
    since: datetime
    until: datetime
    invoice: Decimal
    """All that the bill charges, `aside` included; of services other than AI, where it says so."""
    aside: tuple[Aside, ...]
    total: Reconciled
    meters: tuple[Reconciled, ...]
    """The largest difference first."""
    days: tuple[Reconciled, ...]
    """Each meter on each day, in order of days."""
    explained: tuple[Effect, ...]
    unknown_rates: int
    """Requests whose price row nobody knows any more: their dollars are spread evenly over their tokens."""
    flat_rate_tokens: int
    """Of the ledger, free or paid by the hour: in no figure."""
    unfinished: int
    rejected: int
    examples: tuple[str, ...]
    notes: tuple[str, ...]

    def within(self, tolerance: Decimal) -> bool:
        """Whether bill and ledger agree, but for so many dollars, and the whole bill could be read."""
        return self.total.unexplained <= tolerance and not self.rejected


def reconcile(
    bill: Bill,
    source: Moment | Once,
    *,
    rates: Rates,
    since: datetime | None = None,
    until: datetime | None = None,
    time_zone: str = "UTC",
    where: Sequence[tuple[str, str]] = (),
    explained: Sequence[Effect] = EXPLAINED,
) -> Reconciliation:
    """Hold a bill against what the ledger has of its providers, by default in the bill's own period.

    Imported bills are no part of the ledger's side. Days are those of `time_zone`. `where` keeps a part of the ledger,
    for bills of one account. Raises InputError where the bill has no line of that time.
    """
    _check(explained)
    place = zone(time_zone)
    first, last = bill.period(place)
    since, until = since or first, until or last
    inside = [line for line in bill.lines if _day(since, place) <= line.day < _day(until, place)]
    if not inside:
        raise InputError(f"{bill.name} has no line between {since:%Y-%m-%d} and {until:%Y-%m-%d}: it is of "
                         f"{first:%Y-%m-%d} to {last - DAY:%Y-%m-%d}")  # fmt: skip
    booked = _Booked(rates, {line.provider for line in inside})
    slices = booked.slices(_ledger_side(source, since, until, where), since, until, place, where)
    bound = max(Decimal(5).scaleb(-bill.decimals - 1), LEAST_BOUND)
    rows = [
        _reconciled(meter, day, effects, tuple(explained))
        for meter in matched(inside, slices, bill.format)
        for day, effects in sorted(_effects(meter, bound).items())
    ]
    rows = [row for row in rows if row.billed or row.ledger or row.billed_quantity or row.ledger_quantity]
    by_meter: dict[tuple[str, str], list[Reconciled]] = defaultdict(list)
    for row in rows:
        by_meter[row.provider, row.meter].append(row)
    meters = [_summed(some, *names) for names, some in by_meter.items()]
    total = _summed(rows)
    return Reconciliation(
        bill=bill.name, format=bill.format, since=since, until=until,
        invoice=trimmed(add((total.billed, *(one.charged for one in bill.aside)))), aside=bill.aside, total=total,
        meters=tuple(sorted(meters, key=lambda row: (-abs(row.difference), -row.billed, row.meter, row.provider))),
        days=tuple(sorted(rows, key=lambda row: (str(row.day), row.meter, row.provider))), explained=tuple(explained),
        unknown_rates=booked.unknown, flat_rate_tokens=booked.flat, unfinished=bill.unfinished,
        rejected=bill.rejected, examples=bill.examples, notes=bill.notes,
    )  # fmt: skip


def _check(explained: Iterable[str]) -> None:
    for name in explained:
        if name not in NAMES:
            raise InputError(f"There is no effect {name!r}: use {', '.join(NAMES)}")


def _day(at: datetime, place: tzinfo) -> date:
    return at.astimezone(place).date()


def _ledger_side(source: Moment | Once, since: datetime, until: datetime, where: Sequence[tuple[str, str]]) -> Any:
    """Return the events that count, without those of bills, and without what corrects these."""
    table = table_of(chosen(source, since=since, until=until, where=where), since=since, until=until)
    billed = table.source.isin(BILLS)
    gone = table.filter(billed).select(gone="id").gone
    return table.filter(~billed, ~table.corrects.isin(gone))


class _Booked:
    """What the ledger holds of some providers."""

    def __init__(self, rates: Rates, providers: set[str]) -> None:
        self._rates, self._providers = rates, sorted(providers)
        self.unknown = self.flat = 0

    def slices(
        self, table: Any, since: datetime, until: datetime, place: tzinfo, where: Sequence[tuple[str, str]]
    ) -> list[Slice]:
        """Sum up by day, by what a meter is about, and by kind of token, with the dollars of each kind."""
        events = attempts_of(table, since=since, until=until, where=where)
        events = events.filter(events.provider.isin(self._providers))
        events = events.mutate(day=local(events.at, place, since, until).truncate("D"))
        names = ("day", "provider", "model", "version", "deployment_type", "mode")
        sums = {name: events[name].sum() for name in ("requests", "cost", *PRICED)}
        found: dict[tuple[Any, ...], list[Any]] = defaultdict(lambda: [0, 0, Decimal(0)])
        rows = events.group_by([*names, "price_book", "price_row", "price_state"]).aggregate(**sums)
        for row in rows.to_pyarrow().to_pylist():
            key = (row["day"].date(), *(row[name] for name in names[1:]))
            units = {unit: int(row[unit]) for unit in PRICED if row[unit]}
            if row["price_state"] == "unpriced":
                for unit, n in units.items():
                    found[*key, unit][1] += n
            elif row["price_state"] != "priced" and not row["cost"]:
                self.flat += sum(units.values())
            else:
                self._put(found, key, row, units)
        return [
            Slice(**dict(zip((*names, "unit"), key, strict=True)), priced=priced, unpriced=unpriced, cost=cost)
            for key, (priced, unpriced, cost) in found.items()
        ]

    def _put(
        self, found: dict[tuple[Any, ...], list[Any]], key: tuple[Any, ...], row: dict[str, Any], units: dict[str, int]
    ) -> None:
        """Add what each kind of token cost; what no kind accounts for stands under no unit."""
        cost = row["cost"] or Decimal(0)
        known = self._rates(row["price_book"], row["price_row"]) if cost else {}
        self.unknown += int(row["requests"]) if known is None else 0
        left = cost
        for unit, amount in dollars_by_unit(units, cost, known).items():
            part = EXACT.quantize(EXACT.divide(Decimal(amount.numerator), Decimal(amount.denominator)), PLACES)
            found[*key, unit][0] += units[unit]
            found[*key, unit][2] = add((found[*key, unit][2], part))
            left = EXACT.subtract(left, part)
        if left:
            found[*key, ""][2] = add((found[*key, ""][2], left))


class _Day:
    """One meter on one day."""

    def __init__(self, lines: Sequence[BillLine], slices: Sequence[Slice]) -> None:
        self.billed = add(line.charged for line in lines)
        self.ledger = add(one.cost for one in slices)
        self.rows = sum(line.rows for line in lines)
        self.priced, self.unpriced = sum(one.priced for one in slices), sum(one.unpriced for one in slices)
        self.quantity = sum(line.quantity or 0 for line in lines)
        listed = [line.listed for line in lines if line.listed is not None]
        self.listed = Fraction(add(listed)) if len(listed) == len(lines) else None
        self.has_lines, self.has_slices = bool(lines), bool(slices)
        self.effects: dict[Effect, Fraction] = defaultdict(Fraction)

    @property
    def rate(self) -> Fraction | None:
        """The ledger's dollars for one."""
        return Fraction(self.ledger) / self.priced if self.priced else None

    def settle(self, bound: Decimal, *, is_counted: bool) -> None:
        """Say why it differs, before one looks at the days beside it."""
        difference = Fraction(self.billed) - Fraction(self.ledger)
        bounds = Fraction(bound) * max(self.rows, 1)
        if not self.has_lines:
            self.effects["ledger_only"] = difference
        elif not self.has_slices:
            self.effects["bill_only"] = difference
        elif self.unpriced and not self.priced:
            self.effects["unpriced"] = difference
        elif not is_counted or self.rate is None:
            self.effects["rounding" if abs(difference) <= bounds else "unquantified"] = difference
        else:
            self._split(self.rate, bounds)

    def _split(self, rate: Fraction, bounds: Fraction) -> None:
        self.effects["unpriced"] = self.unpriced * rate
        self.effects["quantity"] = (self.quantity - self.priced - self.unpriced) * rate
        above = Fraction(self.billed) - self.quantity * rate
        self._put_price(above, bounds)

    def _put_price(self, above: Fraction, bounds: Fraction) -> None:
        """Tell a rate that differs from an amount that was rounded."""
        rounding = Fraction(0)
        if abs(above) <= bounds:
            rounding = above
        elif self.listed is not None and abs(Fraction(self.billed) - self.listed) <= bounds:
            rounding = Fraction(self.billed) - self.listed
        self.effects["rounding"] += rounding
        self.effects["price"] += above - rounding


def _effects(meter: Meter, bound: Decimal) -> dict[date, _Day]:
    """Say for each day of a meter why bill and ledger differ."""
    is_counted = all(line.quantity is not None for line in meter.lines)
    days = {
        day: _Day(
            [line for line in meter.lines if line.day == day], [one for one in meter.slices if one.day == day]
        )
        for day in meter.days
    }  # fmt: skip
    for one in days.values():
        one.settle(bound, is_counted=is_counted)
    if meter.lines and meter.slices:
        _shift(days, bound, is_counted=is_counted)
    return days


def _shift(days: dict[date, _Day], bound: Decimal, *, is_counted: bool) -> None:
    """Where one day has too much and its neighbour too little, take it that the bill cuts the days elsewhere."""
    surplus = {day: _surplus(one, is_counted=is_counted) for day, one in days.items()}
    for day in sorted(days):
        following = day + DAY
        if following not in days or surplus[day] * surplus[following] >= 0:
            continue
        moved = min(abs(surplus[day]), abs(surplus[following]))
        billed, booked = (day, following) if surplus[day] > 0 else (following, day)
        _move(days[billed], days[booked], moved, bound, is_counted=is_counted)
        surplus[billed] -= moved
        surplus[booked] += moved


def _surplus(one: _Day, *, is_counted: bool) -> Fraction:
    """Return what the bill has more of than the ledger: tokens, or dollars where it names none."""
    if one.unpriced or (one.has_slices and is_counted and one.rate is None):
        return Fraction(0)
    if is_counted:
        return Fraction(one.quantity - one.priced)
    return one.effects["unquantified"] + one.effects["bill_only"] + one.effects["ledger_only"]


def _move(billed: _Day, booked: _Day, moved: Fraction, bound: Decimal, *, is_counted: bool) -> None:
    """Turn so many tokens (or dollars) that one day was billed, and another one booked, into a shift."""
    rate = Fraction(1) if not is_counted else booked.rate
    if rate is None:
        return
    amiss: Effect = "quantity" if is_counted else "unquantified"
    booked.effects["ledger_only" if not booked.has_lines else amiss] += moved * rate
    booked.effects["time_shift"] -= moved * rate
    if not is_counted:
        its_rate = Fraction(1)
    elif billed.has_slices:
        its_rate = billed.rate or rate
    else:
        its_rate = Fraction(billed.billed) / billed.quantity
    billed.effects["bill_only" if not billed.has_slices else amiss] -= moved * its_rate
    billed.effects["time_shift"] += moved * rate
    above = moved * (its_rate - rate)
    is_rounded = abs(above) <= Fraction(bound) * billed.rows
    billed.effects["rounding" if is_rounded else "price"] += above


def _reconciled(meter: Meter, day: date, one: _Day, explained: tuple[Effect, ...]) -> Reconciled:
    difference = EXACT.subtract(one.billed, one.ledger)
    effects = Effects(**dict(zip(NAMES, rounded([one.effects[effect] for effect in NAMES], difference), strict=True)))
    is_counted = all(line.quantity is not None for line in meter.lines)
    return Reconciled(
        provider=meter.provider, meter=meter.name, day=day,
        billed=trimmed(one.billed), ledger=trimmed(one.ledger), difference=trimmed(difference),
        billed_quantity=one.quantity if is_counted else None, ledger_quantity=one.priced + one.unpriced,
        effects=effects,
        unexplained=trimmed(add(abs(getattr(effects, effect)) for effect in NAMES if effect not in explained)),
    )  # fmt: skip


def _summed(rows: Sequence[Reconciled], provider: str = "", meter: str = "") -> Reconciled:
    counts = [row.billed_quantity for row in rows]
    every = [asdict(row.effects) for row in rows]
    return Reconciled(
        provider=provider, meter=meter, day=None,
        **{
            field: trimmed(add(getattr(row, field) for row in rows))
            for field in ("billed", "ledger", "difference", "unexplained")
        },
        billed_quantity=None if None in counts else sum(n for n in counts if n is not None),
        ledger_quantity=sum(row.ledger_quantity for row in rows),
        effects=Effects(**{effect: trimmed(add(one[effect] for one in every)) for effect in NAMES}),
    )  # fmt: skip


def by_day(rows: Iterable[Reconciled]) -> tuple[Reconciled, ...]:
    """Sum up all meters of each day."""
    days: dict[date, list[Reconciled]] = defaultdict(list)
    for row in rows:
        if row.day is not None:
            days[row.day].append(row)
    return tuple(replace(_summed(some), day=day) for day, some in sorted(days.items()))


def as_dollars(text: str, of: Decimal) -> Decimal:
    """Read a tolerance: dollars, or a share of the bill as in `0.5%`. Raises InputError."""
    word = text.strip().removeprefix("$")
    try:
        number = Decimal(word.removesuffix("%"))
    except ArithmeticError:
        number = Decimal("nan")
    if not number.is_finite() or number < 0:
        raise InputError(f"tolerance: {text!r} is neither dollars (0.50) nor a share of the bill (0.5%)")
    return number * of / 100 if word.endswith("%") else number
