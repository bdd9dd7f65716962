# ruff: noqa: INP001, S314, S603, T201  # a script that runs programs of its own folder, reads what they wrote, and prints
"""Export FOCUS files and ask the official validators about them; exit 1 where one finds what is not waived.

`make focus` runs it. 1.2, as CSV and as Parquet, goes to the FinOps Foundation's focus-validator, which ends with 0
also where rules fail: its XML is read. It has no rules for 1.4, which goes to focus-data-toolkit.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

from penstock.cli.main import main

IGNORES = "it wants a status in every row and ignores its own condition, that there is an id"
FOLLOWS = "it is made of others, of which one is waived"
WAIVED = {
    "InvoiceId-C-005-C": "InvoiceId must not be null; InvoiceId-C-004 wants it null, and the ledger knows no invoices",
    "CapacityReservationStatus-C-004-C": IGNORES,
    "CommitmentDiscountStatus-C-004-C": IGNORES,
    "CapacityReservationStatus-C-000-C": FOLLOWS,
    "CapacityReservationStatus-C-002-C": FOLLOWS,
    "CommitmentDiscountStatus-C-000-C": FOLLOWS,
    "CommitmentDiscountStatus-C-002-C": FOLLOWS,
    "CostAndUsage-D-000-M": FOLLOWS,
    "CostAndUsage-D-002-M": FOLLOWS,
}
"""Rules that fail whatever is written, and why."""
DATA = Path(__file__).parents[1] / "tests/data"
LOGS = ("litellm_spend_logs.jsonl", "openai_costs.json", "anthropic_usage.json", "azure_metrics.json")
PTUS = """at,provider,model,deployment_type,region,deployment,team,key,input_tokens,output_tokens
2026-03-14T10:00:00Z,azure,gpt-4.1,global_ptu,,ptu,red,k1,120000,7500
2026-03-14T11:00:00Z,azure,gpt-4.1,global,eastus2,spill,red,k1,50000,5000
"""
COMMITMENTS = """
[[commitments]]
name = "reserved"
model = "gpt-4.1"
ptus = 50
from = 2026-03-13
to = 2026-03-16

[[commitments]]
name = "by the hour"
model = "gpt-4o"
ptus = 15
term = "hourly"
from = 2026-03-14
to = 2026-03-14
"""


def penstock(folder: Path, *words: str) -> None:
    """Run a command on the ledger of this check."""
    try:
        main([*words, "--data", str(folder / "ledger"), "--config", str(folder / "penstock.toml")])
    except SystemExit as end:
        if end.code:
            sys.exit(f"penstock {' '.join(words)}: exit code {end.code}")


def failures(validator: Path, file: Path) -> set[str]:
    """Return the rules of 1.2 that a file fails."""
    report = file.with_suffix(f"{file.suffix}.xml")
    [rules] = validator.parent.parent.glob("lib/python*/site-packages/focus_validator")
    subprocess.run(
        [validator, "--data-file", file, "--validate-version", "1.2.0.1", "--block-download",
         "--applicability-criteria", "ALL",  # or else rules for commitments, regions, ... are passed over
         "--output-type", "unittest", "--output-destination", report],
        cwd=rules.parent, check=True, stdout=subprocess.DEVNULL,  # it opens its tables relative to that folder
    )  # fmt: skip
    root = ET.parse(report).getroot()
    if not root.findall(".//testcase"):
        sys.exit(f"{file.name}: the validator checked nothing")
    return {str(one.get("name")) for one in root.iter("failure")}


def check(tools: Path, folder: Path) -> bool:
    """Say whether all files are as they should be."""
    (folder / "penstock.toml").write_text(COMMITMENTS)
    (folder / "ptu.csv").write_text(PTUS)
    penstock(folder, "import", str(folder / "ptu.csv"), *(str(DATA / name) for name in LOGS), "--json")
    well = True
    for name in ("focus-1.2.csv", "focus-1.2.parquet"):
        penstock(folder, "export", str(folder / name), "--format", "focus-1.2")
        found = failures(tools / "focus-validator", folder / name)
        for rule in sorted(WAIVED.keys() ^ found):
            print(f"{name}: {rule} {'passes now and need not be waived' if rule in WAIVED else 'fails'}")
        print(f"{name}: fails {len(found)} rules, {len(WAIVED.keys() & found)} of them waived")
        well = well and found == WAIVED.keys()
    file = folder / "focus-1.4.csv"
    penstock(folder, "export", str(file), "--format", "focus-1.4")
    lint = subprocess.run([tools / "focus-toolkit", "validate", file, "--dataset", "cost-and-usage"], check=False)
    return well and lint.returncode == 0


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        sys.exit(0 if check(Path(sys.argv[1]).resolve(), Path(place)) else 1)
