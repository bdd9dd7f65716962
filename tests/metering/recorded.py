"""The recorded provider bodies, each with the reading that it must yield."""

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from penstock.metering.reading import Flavour, Reading

FOLDER = Path(__file__).parents[1] / "recorded"


@dataclass(frozen=True)
class Case:
    """One recorded reply."""

    name: str
    flavour: Flavour
    content: bytes
    expected: dict[str, Any]
    text: str
    sdk: str | None
    deviation: str

    @property
    def streamed(self) -> bool:
        return self.name.endswith(".sse")


def cases() -> list[Case]:
    found = []
    for file in sorted(FOLDER.glob("*/*.expected.json")):
        document = json.loads(file.read_text(encoding="utf-8"))
        for name, case in document["cases"].items():
            found.append(
                Case(
                    name=f"{file.parent.name}/{name}",
                    flavour=document["flavour"],
                    content=(file.parent / name).read_bytes(),
                    expected=case["reading"],
                    text=case.get("text", ""),
                    sdk=case["sdk"],
                    deviation=case.get("deviation", ""),
                )
            )
    return found


CASES = cases()
STREAMS = [case for case in CASES if case.streamed]
BODIES = [case for case in CASES if not case.streamed]


def shown(reading: Reading) -> dict[str, Any]:
    """Give a reading the form of an expected one: only what differs from the default, and `usage_source`."""
    plain = {name: value for name, value in msgspec.structs.asdict(reading).items() if value}
    plain["usage"] = {name: n for name, n in msgspec.structs.asdict(reading.usage).items() if n}
    if isinstance(reading.provider_cost, Decimal):
        plain["provider_cost"] = format(reading.provider_cost, "f")
    return plain
