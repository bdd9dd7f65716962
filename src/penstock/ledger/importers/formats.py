"""Every format that can be imported, and the guess which one a file is."""

from pathlib import Path

from penstock.errors import InputError
from penstock.ledger.importers import (
    anthropic_costs,
    anthropic_usage,
    apim_llm,
    azure_diagnostics,
    azure_metrics,
    bedrock,
    focus,
    helicone,
    langfuse,
    litellm,
    m365_copilot,
    openai_costs,
    openai_usage,
    otlp,
    otlp_metrics,
    plain_csv,
    plain_parquet,
    traces,
    vllm,
)
from penstock.ledger.importers.drafts import Assumed, Format
from penstock.ledger.importers.lines import sample

ORDER = (
    traces, litellm, langfuse, helicone, otlp, otlp_metrics, bedrock, apim_llm, azure_diagnostics, azure_metrics,
    openai_usage, openai_costs, anthropic_usage, anthropic_costs, vllm, m365_copilot, focus, plain_csv, plain_parquet,
)  # fmt: skip
FORMATS = {module.FORMAT.name: module.FORMAT for module in ORDER}
"""By name, the most particular first: the first one that fits is taken."""

PRICES = ('"retailPrice"', '"unitOfMeasure"')
"""What pages of Azure's price list hold: prices, and no usage."""

NEAREST = 3
"""Formats that are named where none fits."""


def choose(path: Path, assumed: Assumed, name: str = "") -> tuple[Format, str]:
    """Return the format of a file, by its name or by a look at its beginning, and why it is that one.

    Raises InputError when nothing fits, with what each format looked for.
    """
    if name and name not in FORMATS:
        raise InputError(f"There is no format {name!r}: use one of {', '.join(FORMATS)}")
    head = sample(path)
    if name:
        guess = FORMATS[name].sniff(head, assumed)
        if not guess.fits:
            raise InputError(f"{path}: not readable as {name}: {guess.why}")
        return _with_needs(path, FORMATS[name], assumed), "you said so"
    refused: list[tuple[float, str]] = []
    for format_ in FORMATS.values():
        guess = format_.sniff(head, assumed)
        if guess.fits:
            return _with_needs(path, format_, assumed), guess.why
        refused.append((guess.near, f"  {format_.name}: {guess.why}"))
    if all(mark in head.text for mark in PRICES):
        raise InputError(f"{path}: this is Azure's price list and holds no usage: it is read by penstock prices update")
    nearest = sorted(refused, key=lambda one: -one[0])[:NEAREST]
    raise InputError(
        f"{path}: no known format. The nearest:\n"
        + "\n".join(line for _near, line in nearest)
        + f"\nAll that can be read, for --format: {', '.join(FORMATS)}"
    )


def _with_needs(path: Path, format_: Format, assumed: Assumed) -> Format:
    """Refuse a file whose rows mean nothing without what the user has not said."""
    lacking = [f"--{name}" for name in format_.needs if not getattr(assumed, name)]
    if "provider" in format_.needs and assumed.provider == "azure" and not assumed.deployment_type:
        lacking.append("--deployment-type")  # Azure has a price for each
    if lacking:
        example = "--provider azure --model gpt-4o --deployment-type global"
        raise InputError(f"{path}: its rows do not say whose they are, so say {', '.join(lacking)}, as in: {example}")
    if assumed.shift_to and format_.name != traces.FORMAT.name:
        raise InputError(f"{path}: --shift-to moves traces; {format_.name} holds real dates")
    return format_
