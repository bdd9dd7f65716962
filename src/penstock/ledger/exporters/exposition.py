"""Prometheus' text format and OpenMetrics 1.0: the same families in both spellings."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

Kind = Literal["counter", "gauge", "histogram"]
Number = int | float | Decimal

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Sample(Struct, frozen=True, gc=False):
    """One line."""

    value: Number
    labels: Mapping[str, str] = {}
    suffix: str = ""
    """`_bucket`, `_sum`, `_count` of a histogram."""


class Family(Struct, frozen=True, kw_only=True):
    """All samples of one name. A counter's name ends in `_total`, and a unit stands at the end of the name."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...] = ()
    unit: str = ""


def exposition(families: Iterable[Family], *, open_metrics: bool) -> bytes:
    """Write the families, in OpenMetrics or in the older text format."""
    lines = [line for family in families for line in _lines(family, open_metrics)]
    if open_metrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode()


def _lines(family: Family, open_metrics: bool) -> Iterator[str]:
    counter = family.kind == "counter"
    name = family.name.removesuffix("_total") if counter and open_metrics else family.name
    yield f"# HELP {name} {_escaped(family.help, quotes=open_metrics)}"
    yield f"# TYPE {name} {family.kind}"
    if family.unit and open_metrics:
        yield f"# UNIT {name} {family.unit}"
    for sample in family.samples:
        yield f"{family.name}{sample.suffix}{_labels(sample.labels)} {_number(sample.value)}"


def _labels(labels: Mapping[str, str]) -> str:
    """An empty value and no label are the same to Prometheus: the label is left out."""
    said = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items() if value)
    return f"{{{said}}}" if said else ""


def _escaped(text: str, *, quotes: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: Number) -> str:
    """Write a number with all its digits; who reads it makes a 64-bit float of it."""
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return repr(value)


def wants_open_metrics(accept: str) -> bool:
    """Tell whether who sent this `Accept` header would rather have OpenMetrics 1.0 than the older text format."""
    open_metrics = text = 0.0
    for offer in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in offer.split(";"))
        said = dict(part.partition("=")[::2] for part in parameters)
        try:
            weight = float(said.get("q", "1"))
        except ValueError:
            continue
        if kind == "application/openmetrics-text" and said.get("version", "1.0.0") == "1.0.0":
            open_metrics = max(open_metrics, weight)
        elif kind in ("text/plain", "text/*", "*/*"):
            text = max(text, weight)
    return open_metrics > 0 and open_metrics >= text


def histogram(
    bounds: tuple[float, ...], counts: Iterable[int], total: Number, labels: Mapping[str, str]
) -> list[Sample]:
    """Make the samples of one histogram; `counts` are cumulative, one a bound, and the last one is that of all."""
    *within, every = counts
    found = [
        Sample(count, {**labels, "le": repr(float(bound))}, "_bucket")
        for bound, count in zip(bounds, within, strict=True)
    ]
    every_one = [Sample(every, {**labels, "le": "+Inf"}, "_bucket"), Sample(total, labels, "_sum")]
    return [*found, *every_one, Sample(every, labels, "_count")]
