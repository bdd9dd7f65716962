"""FOCUS exports (1.0 to 1.4) of Azure, of other clouds and of Penstock itself: CSV or Parquet, what was charged by day.

Convention: a row is one meter of one resource in one day. Of the many services only AI is read. A token meter's tokens
are `PricingQuantity` times the size of `PricingUnit` (or `x_PricingBlockSize`); what is charged is `BilledCost` in
dollars, or `x_BilledCostInUsd`. Meters are named as in Azure's price list, or by `x_ModelId` and `x_TokenType` in
`SkuPriceDetails`. Any other charge (provisioned hours, purchases, credits) is kept as a mere charge.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, BinaryIO

from penstock.errors import UsageError
from penstock.ledger.exporters.focus import KINDS
from penstock.ledger.importers.documents import Row, refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample
from penstock.ledger.importers.equal_rows import EqualRows
from penstock.ledger.importers.fields import RowError, decimal, deployment_type, instant, label, mapping, money, whole
from penstock.ledger.importers.tables import any_rows
from penstock.metering.event import UsageEvent
from penstock.pricing.azure_meters import read_meter
from penstock.pricing.usage import PRICED, Usage
from penstock.pricing.zones import plain_region

MARKS = ("ChargePeriodStart", "ChargeCategory", "BilledCost")
AI = re.compile(
    r"openai|foundry|cognitive services|ai services|bedrock|anthropic|generative ai|vertex ai", re.IGNORECASE
)
"""In the names of services and meters that are AI, where the category does not say it."""
UNIT = re.compile(r"(?P<size>[\d,]*)\s*(?P<scale>[km])?\s*(tokens?|units?)?", re.IGNORECASE)
SCALES = {"": 1, "k": 1_000, "m": 1_000_000}
PROVIDERS = {
    "microsoft": "azure", "microsoft azure": "azure", "aws": "aws", "amazon web services": "aws",
    "google cloud": "google", "google": "google",
}  # fmt: skip
TOKEN_TYPES = {kind.lower(): unit for unit, kind in KINDS.items()} | {"cacheread": "cache_read"}
"""As Penstock's own export writes them."""
DIMENSIONS = (
    "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ChargeClass", "ChargeDescription", "PricingCategory",
    "SkuPriceId", "SkuId", "SkuMeter", "x_SkuMeterId", "x_SkuMeterName", "ResourceId", "RegionId", "SubAccountId",
    "CommitmentDiscountId", "CommitmentDiscountStatus", "SkuPriceDetails", "Tags",
)  # fmt: skip
"""What tells the rows of a day apart, without what they cost."""
SETTLED = timedelta(days=3)
"""Azure may still change a day's charges within 72 hours."""


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise the columns of a charge."""
    lacking = [mark for mark in MARKS if mark not in sample.header]
    if not lacking:
        return Guess(True, f"its columns are FOCUS's: {', '.join(MARKS)}")
    return Guess(False, f"FOCUS exports have {', '.join(lacking)}", 1 - len(lacking) / len(MARKS))


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event of each charge for AI."""
    others, charged = 0, Decimal(0)
    with EqualRows() as seen:
        for row in any_rows(stream):
            if isinstance(row, Rejected):
                yield row
                continue
            if not _is_ai(row.fields):
                others += 1
                charged += _charged_or_nothing(row.fields)
                continue
            try:
                yield _draft(row, seen, assumed, now)
            except (RowError, UsageError) as error:
                yield refused(row.number, error, row.text)
    if others:
        yield Note(f"{others:,} rows of other services than AI", charged, others)


def _is_ai(fields: dict[str, Any]) -> bool:
    if label(fields.get("ServiceCategory")) == "AI and Machine Learning":
        return True
    names = ("ServiceName", "x_SkuMeterCategory", "x_SkuMeterSubcategory", "ServiceSubcategory")
    return any(AI.search(label(fields.get(name))) for name in names)


def _draft(row: Row, seen: EqualRows, assumed: Assumed, now: datetime) -> Draft:
    fields = row.fields
    at = instant(fields.get("ChargePeriodStart"), "ChargePeriodStart", now)
    _refuse_unsettled(fields.get("ChargePeriodEnd"), now)
    charged, details, tags = _charged(fields), _object(fields.get("SkuPriceDetails")), _object(fields.get("Tags"))
    usage, model, version, kind, mode = _metered(fields, details, charged)
    seller = label(fields.get("ServiceProviderName") or fields.get("ProviderName")).lower()
    resource = label(fields.get("ResourceId"))
    event = UsageEvent(
        id="", request_id="", at=at, recorded_at=now, price_state="unpriced",
        provider=PROVIDERS.get(seller, seller) or assumed.provider or "azure", model=model, version=version,
        deployment=resource.partition("/deployments/")[2], deployment_type=kind or assumed.deployment_type or "global",
        region=plain_region(label(fields.get("RegionId"))) or assumed.region, mode=mode or assumed.mode or "standard",
        endpoint=label(fields.get("ChargeCategory")).lower(), requests=0, usage=usage,
        usage_source="provider" if usage.units() else "none", provider_cost=charged,
        team=label(tags.get("team") or fields.get("x_CostCenter")) or assumed.team,
        app=label(tags.get("app")) or assumed.app, feature=label(tags.get("feature")),
        key=label(fields.get("SubAccountId")),
        tags={label(name): label(value) for name, value in tags.items() if name not in ("team", "app", "feature")},
    )  # fmt: skip
    own = "\x1f".join(label(fields.get(name)) for name in DIMENSIONS)
    own = f"{own}\x1f{seen.ordinal(own)}"
    return Draft(
        event, f"{own}\x1f{charged}\x1f{fields.get('PricingQuantity')}", own, only_charged=not usage.units(),
        meter=_meter(fields), unit_price=_unit_price(fields),
    )  # fmt: skip


def _meter(fields: dict[str, Any]) -> str:
    names = ("x_SkuMeterName", "SkuMeter", "ChargeDescription", "ServiceName")
    return next((name for field in names if (name := label(fields.get(field)))), "AI")


def _unit_price(fields: dict[str, Any]) -> Decimal | None:
    """Return dollars for one token: what was agreed, before what is listed."""
    size = _size(label(fields.get("PricingUnit")))
    said = next((fields[name] for name in ("ContractedUnitPrice", "ListUnitPrice") if fields.get(name)), None)
    if not size or said is None or label(fields.get("BillingCurrency")).upper() not in ("", "USD"):
        return None
    return decimal(said, "unit price") / size


def _charged_or_nothing(fields: dict[str, Any]) -> Decimal:
    """Return what a row charged that is not read; one that does not say it counts in no sum."""
    try:
        return _charged(fields)
    except RowError:
        return Decimal(0)


def _refuse_unsettled(end: Any, now: datetime) -> None:
    try:
        over = instant(end, "ChargePeriodEnd", now) + SETTLED <= now
    except RowError as error:
        if error.problem != "future_date":
            raise
        over = False
    if not over:
        raise RowError("unfinished_bucket", "charges may change for 3 days after their period: export it again later")


def _charged(fields: dict[str, Any]) -> Decimal:
    dollars = fields.get("x_BilledCostInUsd")
    currency = label(fields.get("BillingCurrency")).upper()
    if dollars in (None, "") and currency not in ("", "USD"):
        raise RowError("wrong_currency", f"BillingCurrency is {currency}, and there is no x_BilledCostInUsd")
    charged = money(fields.get("BilledCost") if dollars in (None, "") else dollars, "BilledCost")
    if charged is None:
        raise RowError("missing_value", "BilledCost is empty")
    return charged


def _metered(fields: dict[str, Any], details: dict[str, Any], charged: Decimal) -> tuple[Usage, str, str, str, str]:
    """Return usage, model, version, deployment type and mode; no usage where the row is no token meter."""
    meter, name = label(fields.get("x_SkuMeterName") or fields.get("SkuMeter")), _meter(fields)
    tokens = _tokens(fields) if label(fields.get("ChargeCategory")) == "Usage" and charged >= 0 else None
    if model := label(details.get("x_ModelId")):
        said = re.sub(r"[^a-z0-9_]", "", label(details.get("x_TokenType")).lower())
        unit = TOKEN_TYPES.get(said, said)
        kind, mode = (
            deployment_type(label(details.get("x_DeploymentType"))),
            label(details.get("x_ProcessingMode")).lower(),
        )
        version = label(details.get("x_ModelVersion"))
        usage = Usage(**{unit: tokens}) if tokens and unit in PRICED else Usage()
        return usage, model, version, kind, mode
    product = label(fields.get("x_SkuMeterSubcategory") or fields.get("x_SkuDescription"))
    found = read_meter(meter, product)
    if isinstance(found, str) or not tokens:
        return Usage(), name, "", "", ""
    return Usage(**{found.unit: tokens}), found.model, found.version, found.deployment_type, found.mode


def _tokens(fields: dict[str, Any]) -> int | None:
    """Return how many tokens a row is about; None where its units do not say it."""
    size = _size(label(fields.get("PricingUnit"))) or whole(fields.get("x_PricingBlockSize"), "x_PricingBlockSize")
    quantity = fields.get("PricingQuantity")
    if quantity in (None, "") or not size:
        size, quantity = _size(label(fields.get("ConsumedUnit"))), fields.get("ConsumedQuantity")
    if quantity in (None, "") or not size:
        return None
    tokens = (decimal(quantity, "quantity") * size).to_integral_value()
    if tokens < 0 and label(fields.get("ChargeClass")) != "Correction":
        raise RowError("negative_number", f"quantity is {quantity}: only a correction or a credit can be negative")
    return whole(f"{tokens:.0f}", "tokens") if tokens >= 0 else None


def _size(unit: str) -> int:
    found = UNIT.fullmatch(unit.strip())
    if found is None or not unit.strip():
        return 0
    return int(found["size"].replace(",", "") or 1) * SCALES[(found["scale"] or "").lower()]


def _object(value: Any) -> dict[str, Any]:
    """Read an object that CSV holds as a text of JSON, with or without its braces, as Azure writes tags."""
    if isinstance(value, str) and value.strip():
        text = value.strip()
        try:
            value = json.loads(text if text.startswith("{") else f"{{{text}}}")
        except (ValueError, RecursionError):
            return {}
    return mapping(value)


FORMAT = Format("focus", "FOCUS exports of costs, as CSV or Parquet", sniff, read, kind="bill")
