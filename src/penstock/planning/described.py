"""How the fields of a calculator are named and explained: for the command line, and for forms."""

from functools import cache
from typing import Any

from docstring_parser import parse_from_object

ACRONYMS = {
    name.lower(): name
    for name in (
        "PTU", "PTUs", "ROI", "GPU", "GPUs", "VM", "MCP", "TPM", "LoRA", "QLoRA", "MFU", "AI", "P50", "P95", "P99",
    )
}  # fmt: skip


def title(name: str) -> str:
    """Turn a field's name into words: `monthly_cost` is `Monthly cost`."""
    words = [ACRONYMS.get(word, word) for word in name.strip("_").split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


@cache
def documentation(shape: Any) -> dict[str, str]:
    """Return the sentence under each field of a dataclass."""
    return {item.arg_name: (item.description or "").replace("\n", " ") for item in parse_from_object(shape).params}
