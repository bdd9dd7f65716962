"""A ledger of three days, and the bill for it: small, and every figure worked out by hand."""

import csv
import io
import json
from typing import Any

USAGE = (
    "at,provider,model,deployment_type,input_tokens,output_tokens,team\n"
    "2026-03-14T09:00Z,azure,gpt-4o-mini,global,1234567,100000,support\n"  # 0.18518505 and 0.06
    "2026-03-15T09:00Z,azure,gpt-4o-mini,global,1000000,200000,support\n"  # 0.15 and 0.12
    "2026-03-16T09:00Z,azure,gpt-4o-mini,global,1000000,0,support\n"  # 0.15, not on the bill
    "2026-03-14T23:30Z,azure,gpt-4o,global,1000000,0,sales\n"  # 2.50, on the bill a day later
    "2026-03-14T09:00Z,azure,house-model,global,1000,0,sales\n"  # no price
    "2026-03-14T09:00Z,openai,gpt-4o,global,1000000,0,sales\n"  # another provider's bill
)

COLUMNS = (
    "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "BilledCost", "BillingCurrency", "PricingQuantity",
    "PricingUnit", "ContractedUnitPrice", "SkuMeter", "SkuPriceDetails", "ServiceCategory", "ServiceName",
    "ProviderName",
)  # fmt: skip


def charge(day: int, meter: str, millions: str, price: str, billed: str, **fields: Any) -> dict[str, Any]:
    """Make a row of a FOCUS export: a token meter on a day of March."""
    plain = {
        "ChargePeriodStart": f"2026-03-{day:02}T00:00:00Z", "ChargePeriodEnd": f"2026-03-{day + 1:02}T00:00:00Z",
        "ChargeCategory": "Usage", "BilledCost": billed, "BillingCurrency": "USD", "PricingQuantity": millions,
        "PricingUnit": "1M Tokens", "ContractedUnitPrice": price, "SkuMeter": meter,
        "ServiceCategory": "AI and Machine Learning", "ServiceName": "Azure OpenAI", "ProviderName": "Microsoft",
    }  # fmt: skip
    return plain | fields


MINI_IN, MINI_OUT = "gpt 4o mini 0718 Inp glbl Tokens", "gpt 4o mini 0718 Outp glbl Tokens"
UNKNOWN = "gpt 9 turbo Inp glbl Tokens"
HOUSE = json.dumps({"x_ModelId": "house-model", "x_TokenType": "Input", "x_DeploymentType": "GlobalStandard"})
CHARGES = [
    charge(14, MINI_IN, "1.234567", "0.15", "0.19"),  # 0.18518505, rounded
    charge(14, MINI_OUT, "0.1", "0.60", "0.06"),
    charge(15, MINI_IN, "1", "0.12", "0.12"),  # by contract 0.12, not 0.15
    charge(15, MINI_OUT, "0.25", "0.60", "0.15"),  # 50,000 tokens more than the ledger holds
    charge(17, MINI_OUT, "0.1", "0.60", "0.06"),  # a day that the ledger has nothing of
    charge(15, "gpt 4o 0806 Inp glbl Tokens", "1", "2.50", "2.50"),
    charge(14, UNKNOWN, "1", "3", "3.00"),
    charge(14, "house-model Input", "0.001", "400", "0.40", SkuPriceDetails=HOUSE),
    charge(14, "Tax", "", "", "0.50", ChargeCategory="Tax"),
    charge(14, "Credit", "", "", "-1.00", ChargeCategory="Credit"),
    charge(14, "D2s v5", "24", "0.29", "7.00", ServiceCategory="Compute", ServiceName="Virtual Machines"),
]  # fmt: skip


def focus(*charges: dict[str, Any]) -> str:
    """Write charges as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(charges)
    return out.getvalue()
