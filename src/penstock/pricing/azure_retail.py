"""The Azure Retail Prices API: its pages as dated price rows, and every item that is none, with the reason.

What the list does that a reader must know: one meter has several live prices by region; several effective dates stay
in it; a Reservation row carries the whole term's total under an hourly unit; Spot and Windows rows share a machine's
name; units are 1K, 1M and hours; batch meters are rounded. So every region and date is kept apart, no price is derived
from another, and what is not understood is listed: a silent skip would be $0 against a real invoice.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
from msgspec import Struct

from penstock.errors import PriceBookError
from penstock.pricing.azure_meters import Meter, read_meter
from penstock.pricing.book import SINCE_EVER, PriceRow
from penstock.pricing.catalog import Catalog
from penstock.pricing.diff import key_of
from penstock.pricing.zones import plain_region, zone_of

NAME = "azure-retail"
"""Name of the books that are made from the list; `azure` is the one of the package."""

URL = "https://prices.azure.com/api/retail/prices"
QUERY = {
    "api-version": "2023-01-01-preview",
    "currencyCode": "'USD'",
    "$filter": "serviceName eq 'Foundry Models' or contains(productName, 'Azure OpenAI')",
}

SOURCE = "Azure Retail Prices API: "

TOKENS = {"1K": 1_000, "1M": 1_000_000}
"""How many tokens a unit of measure is."""


class Item(Struct, frozen=True, kw_only=True, rename="camel"):
    """One price of the list."""

    meter_name: str
    product_name: str
    retail_price: Decimal
    unit_of_measure: str
    type: str
    currency_code: str
    effective_start_date: datetime
    effective_end_date: datetime | None = None
    arm_region_name: str = ""
    sku_name: str = ""
    tier_minimum_units: Decimal = Decimal(0)


class Page(Struct, frozen=True, kw_only=True):
    """One answer of the API."""

    items: list[Item] = msgspec.field(name="Items")
    next_link: str | None = msgspec.field(name="NextPageLink", default=None)


class Left(Struct, frozen=True, kw_only=True):
    """A meter that became no price row."""

    meter: str
    product: str
    why: str
    items: int = 1
    """How many items of the list have this meter: regions, dates."""


class Prices(Struct, frozen=True, kw_only=True):
    """What the list says about tokens, and what else stands in it."""

    rows: tuple[PriceRow, ...]
    left: tuple[Left, ...]


Place = tuple[Meter, str]
"""A meter without its unit, and a region, a zone, or nothing: everywhere."""

Steps = dict[datetime, Decimal | None]
"""The rate for one token from each instant on; None: no longer offered."""


def read_page(body: bytes) -> Page:
    """Read one answer. Raises PriceBookError when it is cut off or not a page of the API."""
    try:
        return msgspec.json.decode(body, type=Page)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PriceBookError(NAME, "a page of the API", f"it is not a whole page of prices: {error}") from error


def read_prices(items: Iterable[Item], read: date) -> Prices:
    """Turn the items of all pages into rows; `read` is the day on which they were fetched."""
    left: Counter[tuple[str, str, str]] = Counter()
    seen: dict[tuple[Meter, str], dict[datetime, set[Decimal]]] = defaultdict(lambda: defaultdict(set))
    ends: dict[tuple[Meter, str], dict[datetime, None]] = defaultdict(dict)
    names: dict[Meter, str] = {}
    for item in items:
        meter = _meter(item)
        if isinstance(meter, str):
            left[item.meter_name, item.product_name, meter] += 1
            continue
        region = plain_region(item.arm_region_name)
        names[meter] = item.meter_name
        seen[meter, region][_utc(item.effective_start_date)].add(item.retail_price / TOKENS[item.unit_of_measure])
        if item.effective_end_date is not None:
            ends[meter, region][_utc(item.effective_end_date)] = None
    steps: dict[Meter, dict[str, Steps]] = defaultdict(dict)
    for (meter, region), dates in seen.items():
        if any(len(prices) > 1 for prices in dates.values()):
            left[names[meter], "", f"two prices for one day in {region or 'no region'}: neither is taken"] += 1
            continue
        last: Steps = {**ends[meter, region], **{start: prices.pop() for start, prices in dates.items()}}
        steps[meter][region] = dict(sorted(last.items()))
    rows, incomplete = _rows(steps, names, read)
    left.update(incomplete)
    return Prices(
        rows=tuple(rows),
        left=tuple(Left(meter=m, product=p, why=why, items=n) for (m, p, why), n in sorted(left.items())),
    )


def _meter(item: Item) -> Meter | str:
    """Say what an item prices, or why it prices no token."""
    if item.currency_code != "USD":
        return f"its price is in {item.currency_code}; dollars are the price, others are for reference"
    if item.type == "Reservation":
        return "a reservation: the total of its whole term, not a rate"
    if item.type != "Consumption":
        return f"a {item.type} price"
    if item.product_name.startswith("Virtual Machines"):
        return "a Windows machine" if item.product_name.endswith("Windows") else "a virtual machine, not a model"
    meter = read_meter(item.meter_name, item.product_name)
    if isinstance(meter, str):
        return meter
    if item.unit_of_measure not in TOKENS:
        return f"its unit is {item.unit_of_measure!r}, not tokens"
    if item.tier_minimum_units:
        return f"a volume tier above {item.tier_minimum_units} units"
    return meter


def _rows(
    steps: Mapping[Meter, Mapping[str, Steps]], names: Mapping[Meter, str], read: date
) -> tuple[list[PriceRow], Counter[tuple[str, str, str]]]:
    """Join the units of each key and place; half a price (input without output) is left out, not taken for a whole."""
    whole: dict[Place, dict[str, Steps]] = defaultdict(dict)
    spelled: dict[Place, list[str]] = defaultdict(list)
    for meter, regions in steps.items():
        key = msgspec.structs.replace(meter, unit="")
        for place, one in _places(meter.deployment_type, regions).items():
            whole[key, place][meter.unit] = one
            spelled[key, place].append(names[meter])
    rows: list[PriceRow] = []
    left: Counter[tuple[str, str, str]] = Counter()
    for (key, place), units in whole.items():
        needed = {"input"} if "embedding" in key.model else {"input", "output"}
        if missing := needed - units.keys():
            for name in spelled[key, place]:
                left[name, "", f"no meter for {' and '.join(sorted(missing))} beside it: half a price is left out"] += 1
            continue
        template = PriceRow(
            provider="azure",
            model=key.model,
            version=key.version,
            deployment_type=key.deployment_type,
            region=place,
            mode=key.mode,
            context_over=key.context_over,
            valid_from=SINCE_EVER,
            source=f"{SOURCE}{', '.join(sorted(set(spelled[key, place])))}",
            read=read,
        )
        rows += _dated(template, units, needed)
    return rows, left


def _places(deployment_type: str, regions: Mapping[str, Steps]) -> dict[str, Steps]:
    """Join regions that ask the same: all of them for Global, those of a zone for a data zone, none for regional."""
    groups: dict[str, list[str]] = defaultdict(list)
    for region in regions:
        wide = {"global": "", "data_zone": zone_of(region) or region}.get(deployment_type, region)
        groups[wide].append(region)
    places: dict[str, Steps] = {}
    for wide, members in groups.items():
        joined = _joined([regions[region] for region in members])
        places.update({wide: joined} if joined else {region: regions[region] for region in members})
    return places


def _joined(some: list[Steps]) -> Steps | None:
    """Make one history of several that never contradict each other; None, where they do."""
    joined: Steps = {}
    for at in sorted({at for steps in some for at in steps}):
        rates = {rate for steps in some if (rate := _at(steps, at)) is not None}
        if len(rates) > 1:
            return None
        rate = rates.pop() if rates else None
        if not joined or list(joined.values())[-1] != rate:
            joined[at] = rate
    return joined


def _at(steps: Steps, at: datetime) -> Decimal | None:
    return next((rate for start, rate in sorted(steps.items(), reverse=True) if start <= at), None)


def _dated(template: PriceRow, units: Mapping[str, Steps], needed: set[str]) -> Iterable[PriceRow]:
    """Yield a row for each instant at which a rate changes, with every rate in force then."""
    changes = sorted({at for steps in units.values() for at in steps})
    for start, end in zip(changes, [*changes[1:], None], strict=True):
        rates = {unit: rate.normalize() for unit, steps in units.items() if (rate := _at(steps, start)) is not None}
        if needed <= rates.keys():
            yield msgspec.structs.replace(template, valid_from=start, valid_to=end, rates=rates)


def without_losses(prices: Prices, present: Catalog, at: datetime) -> Prices:
    """Leave out the rows that lack a rate which the present books have for their key: a gap must not hide a price."""
    rows, left = [], list(prices.left)
    for row in prices.rows:
        known = present.row(key_of(row), max(at, row.valid_from), row.context_over + 1)
        lost = sorted(known.rates.keys() - row.rates.keys()) if known else []
        if lost:
            meters = row.source.removeprefix(SOURCE)
            left.append(
                Left(meter=meters, product="", why=f"no meter for {', '.join(lost)}, which the present price has")
            )
        else:
            rows.append(row)
    return Prices(rows=tuple(rows), left=tuple(left))


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
