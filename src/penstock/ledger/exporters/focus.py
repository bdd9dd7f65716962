"""FOCUS 1.2 and 1.4 (Cost and Usage): the ledger's charges in the columns that FinOps tools share.

Columns as the FinOps Foundation's specification has them (CC-BY 4.0). Neither version has columns for tokens: the kind
of token and the model stand in `SkuPriceDetails` and `SkuMeter`, quantities in `Tokens`, prices for 1,000,000 of them.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.errors import InputError
from penstock.ledger.columns import EXACT, MONEY
from penstock.ledger.exporters.charges import Charge, Committed, first_of_month

DAY = timedelta(days=1)
Version = Literal["1.2", "1.4"]
Form = Literal["csv", "parquet"]

MONEYS = (
    "BilledCost", "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "ListCost", "ListUnitPrice",
    "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice",
    "PricingQuantity", "ConsumedQuantity", "CommitmentDiscountQuantity",
)  # fmt: skip
TIMES = ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart")
COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd",
    "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice", "EffectiveCost",
    "InvoiceId", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory", "PricingCurrency",
    "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice",
    "PricingQuantity", "PricingUnit", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType",
    "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId",
    "SubAccountId", "SubAccountName", "SubAccountType", "Tags", "CommitmentDiscountCategory", "CommitmentDiscountId",
    "CommitmentDiscountName", "CommitmentDiscountQuantity", "CommitmentDiscountStatus", "CommitmentDiscountType",
    "CommitmentDiscountUnit", "CapacityReservationId", "CapacityReservationStatus", "AvailabilityZone",
)  # fmt: skip
"""Of both versions; each adds its names for who sells and who runs."""
OWN: dict[Version, tuple[str, ...]] = {
    "1.2": ("ProviderName", "PublisherName", "x_Requests"),
    "1.4": ("HostProviderName", "ServiceProviderName", "InvoiceDetailId", "x_Requests"),
}
SELLERS = {
    "azure": ("Microsoft", "Azure OpenAI"), "openai": ("OpenAI", "OpenAI API"),
    "anthropic": ("Anthropic", "Claude API"), "aws": ("AWS", "Amazon Bedrock"),
    "google": ("Google Cloud", "Gemini API"),
}  # fmt: skip
"""Provider -> who sells, and the name of the service."""
KINDS = {
    "input": "Input", "cache_read": "CachedInput", "cache_write": "CacheWrite", "cache_write_1h": "CacheWrite1h",
    "output": "Output", "input_audio": "InputAudio", "cache_read_audio": "CachedInputAudio",
    "output_audio": "OutputAudio", "input_image": "InputImage", "cache_read_image": "CachedInputImage",
    "output_image": "OutputImage", "input_video": "InputVideo", "tokens": "All",
}  # fmt: skip
OTHERS = {
    "web_searches": ("Searches", 1_000), "file_searches": ("Searches", 1_000), "characters": ("Characters", 1_000_000),
    "pages": ("Pages", 1_000), "seconds": ("Seconds", 1),
}  # fmt: skip
"""Units that are no tokens, and how many of them one price is for."""


def columns(version: Version) -> tuple[str, ...]:
    """Return the columns of a version, in the order in which they are written."""
    return (*COLUMNS, *OWN[version])


def row_of(charge: Charge, version: Version, account: str) -> dict[str, Any]:
    """Write a charge in the columns of a version; None is null."""
    group = charge.group
    day: datetime = group["day"]
    metered = charge.unit != ""
    unit, size = OTHERS.get(charge.unit, ("Tokens", 1_000_000))
    price = None if charge.rate is None else EXACT.multiply(charge.rate, Decimal(size))
    quantity = EXACT.divide(Decimal(charge.quantity), Decimal(size)) if metered else None
    kind = KINDS.get(charge.unit, charge.unit)
    served = f"{group['model']} {group['deployment_type']} {group['mode']}"
    sku = f"{group['provider']}/{group['model']}/{group['deployment_type']}/{group['mode']}/{charge.unit}"
    found = _frame(version, account, (day, day + DAY), provider=group["provider"], region=group["region"])
    found |= {
        "BilledCost": charge.cost, "ContractedCost": charge.cost, "EffectiveCost": charge.cost, "ListCost": charge.cost,
        "PricingCurrencyEffectiveCost": charge.cost, "ChargeCategory": "Usage" if metered else "Adjustment",
        "ChargeFrequency": "Usage-Based" if metered else "One-Time",
        "ChargeDescription": f"{served}: {kind}" if metered else f"{served}: corrections of prices",
        "Tags": _json({name: group[name] for name in ("team", "app", "feature") if group[name]}),
        "x_Requests": charge.requests,
    }  # fmt: skip
    if group["key"]:
        found |= {"SubAccountId": group["key"], "SubAccountName": group["key"], "SubAccountType": "Key"}
    if group["deployment"]:
        found |= {
            "ResourceId": f"{group['provider']}/{group['deployment']}", "ResourceName": group["deployment"],
            "ResourceType": "Model deployment",
        }  # fmt: skip
    if metered:
        found |= {
            "ConsumedQuantity": Decimal(charge.quantity), "ConsumedUnit": unit, "PricingQuantity": quantity,
            "PricingUnit": unit if size == 1 else f"{size} {unit}", "PricingCategory": "Standard",
            "ContractedUnitPrice": price, "ListUnitPrice": price, "PricingCurrencyContractedUnitPrice": price,
            "PricingCurrencyListUnitPrice": price, "SkuId": sku, "SkuMeter": f"{group['model']} {kind} {unit}",
            "SkuPriceId": f"{group['price_row']}/{charge.unit}",
            "SkuPriceDetails": _json({
                "x_ModelId": group["model"], "x_ModelVersion": group["version"], "x_TokenType": kind,
                "x_DeploymentType": group["deployment_type"], "x_ProcessingMode": group["mode"],
                "x_PriceState": group["price_state"], "x_PriceBook": group["price_book"],
            }),
        }  # fmt: skip
    return found


def _frame(
    version: Version, account: str, period: tuple[datetime, datetime], *, provider: str, region: str
) -> dict[str, Any]:
    """Return a row with what it says whatever it charges for; all else is null."""
    first, after = first_of_month(period[0])
    seller, service = SELLERS.get(provider, (provider, provider))
    sellers = dict.fromkeys((name for name in OWN[version] if name.endswith(("ProviderName", "PublisherName"))), seller)
    return dict.fromkeys(columns(version)) | sellers | {
        "BillingAccountId": account, "BillingAccountName": account, "BillingAccountType": "Ledger",
        "BillingCurrency": "USD", "PricingCurrency": "USD", "BillingPeriodStart": first, "BillingPeriodEnd": after,
        "ChargePeriodStart": period[0], "ChargePeriodEnd": period[1], "InvoiceIssuerName": seller,
        "RegionId": region or None, "RegionName": region or None, "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI", "ServiceName": service,
    }  # fmt: skip


def rows_of(days: Sequence[Committed], version: Version, account: str) -> Iterator[dict[str, Any]]:
    """Write one commitment: its used and unused hours of each day, and what was bought of each month.

    Where it was bought, the purchase is billed and the hours are not; the hours are where its cost is effective. So
    both columns add up to what it costs.
    """
    for one in days:
        if one.term == "hourly":
            yield _hours(one, one.hours, "", version, account)
            continue
        for status, hours in (("Used", one.used), ("Unused", one.hours - one.used)):
            if hours:
                yield _hours(one, hours, status, version, account)
    bought = (one for one in days if one.term != "hourly")
    for _month, some in groupby(bought, key=lambda one: first_of_month(one.day)[0]):
        yield _purchase(list(some), version, account)


def _hours(one: Committed, hours: Decimal, status: str, version: Version, account: str) -> dict[str, Any]:
    cost = EXACT.multiply(one.rate, hours)
    found = _capacity(one, hours, one.day + DAY, version, account) | {
        "BilledCost": Decimal(0) if status else cost, "EffectiveCost": cost, "PricingCurrencyEffectiveCost": cost,
        "ListUnitPrice": one.list_rate, "PricingCurrencyListUnitPrice": one.list_rate,
        "ListCost": EXACT.multiply(one.list_rate, hours), "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based",
        "ChargeDescription": f"{one.name}: {status.lower() or 'provisioned'} hours of {one.model}",
        "PricingCategory": "Committed" if status else "Standard", "CommitmentDiscountStatus": status or None,
    }  # fmt: skip
    if status != "Unused":
        found |= {"ConsumedQuantity": hours, "ConsumedUnit": "PTU-Hours"}
    return found


def _purchase(days: Sequence[Committed], version: Version, account: str) -> dict[str, Any]:
    first, hours = days[0], sum((one.hours for one in days), Decimal(0))
    cost = EXACT.multiply(first.rate, hours)
    return _capacity(first, hours, days[-1].day + DAY, version, account) | {
        "BilledCost": cost, "EffectiveCost": Decimal(0), "PricingCurrencyEffectiveCost": Decimal(0), "ListCost": cost,
        "ListUnitPrice": first.rate, "PricingCurrencyListUnitPrice": first.rate, "ChargeCategory": "Purchase",
        "ChargeFrequency": "Recurring", "ChargeDescription": f"{first.name}: {first.term} of PTUs for {first.model}",
        "PricingCategory": "Standard",
    }  # fmt: skip


def _capacity(one: Committed, hours: Decimal, until: datetime, version: Version, account: str) -> dict[str, Any]:
    """Return what rows of provisioned capacity have in common."""
    sku = f"azure/{one.deployment_type}/{one.term}"
    found = _frame(version, account, (one.day, until), provider="azure", region=one.region) | {
        "ContractedCost": EXACT.multiply(one.rate, hours), "ContractedUnitPrice": one.rate,
        "PricingCurrencyContractedUnitPrice": one.rate, "PricingQuantity": hours, "PricingUnit": "PTU-Hours",
        "SkuId": sku, "SkuPriceId": sku, "SkuMeter": f"Provisioned {one.deployment_type.removesuffix('_ptu')} PTU",
        "SkuPriceDetails": _json({"x_ModelId": one.model, "x_DeploymentType": one.deployment_type}), "Tags": "{}",
        "x_Requests": 0,
    }  # fmt: skip
    if one.term != "hourly":
        found |= {
            "CommitmentDiscountCategory": "Usage", "CommitmentDiscountId": one.name, "CommitmentDiscountName": one.name,
            "CommitmentDiscountQuantity": hours, "CommitmentDiscountType": "Reservation",
            "CommitmentDiscountUnit": "PTU-Hours",
        }  # fmt: skip
    return found


def write(file: Path, rows: Iterable[dict[str, Any]], version: Version, form: Form) -> int:
    """Write `file` whole or not at all; return the number of rows."""
    part = file.with_name(f".{file.name}.part")
    count = 0
    try:
        with ExitStack() as files:
            put = (_csv if form == "csv" else _parquet)(part, version, files)
            iterator = iter(rows)
            while chunk := list(islice(iterator, 10_000)):
                put(chunk)
                count += len(chunk)
            if not count:
                put([])
        part.replace(file)
    except OSError as error:
        raise InputError(f"Cannot write {file}: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    return count


def _csv(part: Path, version: Version, files: ExitStack) -> Callable[[list[dict[str, Any]]], None]:
    out = files.enter_context(part.open("w", encoding="utf-8", newline=""))
    writer = csv.DictWriter(out, columns(version), lineterminator="\n")
    writer.writeheader()

    def put(rows: list[dict[str, Any]]) -> None:
        writer.writerows({name: _text(name, value) for name, value in row.items()} for row in rows)

    return put


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text if "." in text or name not in MONEYS else f"{text}.0"  # a validator takes 5 for no decimal
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return str(value)


def _parquet(part: Path, version: Version, files: ExitStack) -> Callable[[list[dict[str, Any]]], None]:
    schema = pa.schema([(name, _kind(name)) for name in columns(version)])
    writer = files.enter_context(pq.ParquetWriter(part, schema, compression="zstd"))
    return lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _kind(name: str) -> pa.DataType:
    if name in MONEYS:
        return MONEY
    if name in TIMES:
        return pa.timestamp("us", "UTC")
    return pa.int64() if name == "x_Requests" else pa.string()


def _json(found: dict[str, str]) -> str:
    return json.dumps({name: value for name, value in found.items() if value}, ensure_ascii=False)
