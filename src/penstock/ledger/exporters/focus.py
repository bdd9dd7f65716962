"""FOCUS 1.2 and 1.4 (Cost and Usage): the ledger's charges in the columns that FinOps tools share.

Columns as the FinOps Foundation's specification has them (CC-BY 4.0). Neither version has columns for tokens: the kind
of token and the model stand in `SkuPriceDetails` and `SkuMeter`, quantities in `Tokens`, prices for 1,000,000 of them.
"""

import csv
import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.errors import InputError
from penstock.ledger.columns import EXACT, MONEY
from penstock.ledger.exporters.charges import Charge, first_of_month

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
    begin, end = first_of_month(day)
    seller, service = SELLERS.get(group["provider"], (group["provider"], group["provider"]))
    metered = charge.unit != ""
    unit, size = OTHERS.get(charge.unit, ("Tokens", 1_000_000))
    price = None if charge.rate is None else EXACT.multiply(charge.rate, Decimal(size))
    quantity = EXACT.divide(Decimal(charge.quantity), Decimal(size)) if metered else None
    kind = KINDS.get(charge.unit, charge.unit)
    served = f"{group['model']} {group['deployment_type']} {group['mode']}"
    sku = f"{group['provider']}/{group['model']}/{group['deployment_type']}/{group['mode']}/{charge.unit}"
    found: dict[str, Any] = dict.fromkeys(columns(version))
    found |= {
        "BilledCost": charge.cost, "ContractedCost": charge.cost, "EffectiveCost": charge.cost, "ListCost": charge.cost,
        "PricingCurrencyEffectiveCost": charge.cost, "BillingAccountId": account, "BillingAccountName": account,
        "BillingAccountType": "Ledger", "BillingCurrency": "USD", "PricingCurrency": "USD",
        "BillingPeriodStart": begin, "BillingPeriodEnd": end, "ChargePeriodStart": day,
        "ChargePeriodEnd": day + timedelta(days=1), "ChargeCategory": "Usage" if metered else "Adjustment",
        "ChargeFrequency": "Usage-Based" if metered else "One-Time",
        "ChargeDescription": f"{served}: {kind}" if metered else f"{served}: corrections of prices",
        "InvoiceIssuerName": seller, "RegionId": group["region"] or None, "RegionName": group["region"] or None,
        "ServiceCategory": "AI and Machine Learning", "ServiceSubcategory": "Generative AI", "ServiceName": service,
        "Tags": _json({name: group[name] for name in ("team", "app", "feature") if group[name]}),
        "ProviderName": seller, "PublisherName": seller, "HostProviderName": seller, "ServiceProviderName": seller,
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
    return {name: found[name] for name in columns(version)}


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
