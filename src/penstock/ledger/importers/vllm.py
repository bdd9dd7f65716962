"""vLLM's metrics, scraped again and again into one file: what the counters grew by is what was used.

Convention (vLLM V1): `prompt_tokens_total` holds what the prefix cache served (`prefix_cache_hits_total`). A counter
that falls was reset by a restart: what it shows since is what it grew by. The first scrape is where counting begins.
A scrape's time stands in a line `# at 2026-03-14T10:00:00Z` before it, or behind each sample (milliseconds).
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO

from penstock.errors import UsageError
from penstock.ledger.importers.documents import refused
from penstock.ledger.importers.drafts import Assumed, Draft, Format, Guess, Note, Rejected, Sample, recognise
from penstock.ledger.importers.fields import RowError, instant, label, whole
from penstock.ledger.importers.lines import lines
from penstock.metering.event import UsageEvent
from penstock.pricing.usage import Usage, part_of

COUNTERS = {
    "vllm:prompt_tokens_total": "input", "vllm:generation_tokens_total": "output",
    "vllm:request_success_total": "requests", "vllm:prefix_cache_hits_total": "cached",
}  # fmt: skip
AT = re.compile(r"#\s*at\s+(\S+)", re.IGNORECASE)
LINE = re.compile(r"(?P<name>[a-z_:]+)\{(?P<labels>.*)\}\s+(?P<value>\S+)(\s+(?P<at>\d+))?\s*")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Engine = tuple[str, str]
"""Model and engine."""


class Scrapes:
    """The counters as of the last good scrape, and the scrape that is being read."""

    def __init__(self) -> None:
        self.at: datetime | None = None
        """Of the scrape that is being read; None: none is, or it is left out."""
        self.before: datetime | None = None
        """Of the last good one."""
        self.count = 0
        self._seen: dict[tuple[str, str], int] = {}
        self._read: dict[tuple[str, str], int] = {}

    def begin(self, at: datetime) -> None:
        """Begin the next scrape."""
        if self.before is not None and at < self.before:
            before = f"{self.before:%Y-%m-%d %H:%M:%S}"
            raise RowError("not_a_time", f"a scrape of {at:%Y-%m-%d %H:%M:%S} after one of {before}")
        self.at = at
        self.count += 1

    def take(self, name: str, labels: str, value: int) -> None:
        """Take one sample."""
        self._read[name, labels] = value

    def leave_out(self) -> None:
        """Forget this scrape: what it would have said is in the next one. Half of it would be booked as the whole."""
        self.at = None
        self._read.clear()

    def end(self) -> list[tuple[Engine, dict[str, int]]]:
        """End this scrape; return what each engine did since the one before."""
        grown: dict[Engine, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        if self.before is not None:
            for (name, labels), value in self._read.items():
                last, found = self._seen.get((name, labels)), dict(LABEL.findall(labels))
                if last is not None:
                    engine = (label(found.get("model_name")), label(found.get("engine")))
                    grown[engine][COUNTERS[name]] += value - last if value >= last else value
        self._seen |= self._read
        self._read.clear()
        self.before, self.at = self.at or self.before, None
        return [(engine, counts) for engine, counts in grown.items() if any(counts.values())]


def sniff(sample: Sample, _assumed: Assumed) -> Guess:
    """Recognise vLLM's counters."""
    return recognise(sample, "vLLM's counters", "vllm:prompt_tokens_total", "vllm:generation_tokens_total")


def read(stream: BinaryIO, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected | Note]:
    """Make one event of each engine and each time between two scrapes."""
    scrapes = Scrapes()
    begun, stamped, is_told = 1, "", False
    for line in lines(stream):
        if isinstance(line, Rejected):
            yield line
            if line.code == "truncated_file" or any(name in line.row for name in COUNTERS):
                scrapes.leave_out()
            continue
        try:
            found, sample = AT.match(line.text), LINE.fullmatch(line.text)
            if found is None and (sample is None or sample["name"] not in COUNTERS):
                continue
            stamp = found[1] if found else sample["at"] if sample else None
            if stamp and (found or stamp != stamped):
                stamped, is_told = stamp, True
                yield from _drafts(scrapes, begun, assumed, now)  # before this time is known to be a good one
                begun = line.number
                scrapes.begin(instant(stamp, "the scrape's time", now))
            if sample is None or found:
                continue
            if scrapes.at is not None:
                scrapes.take(sample["name"], sample["labels"], whole(sample["value"], sample["name"]))
            elif not is_told:
                is_told = True
                raise RowError(
                    "missing_value", "a scrape without its time: write '# at 2026-03-14T10:00:00Z' before it"
                )
        except RowError as error:
            yield refused(line.number, error, line.text)
            scrapes.leave_out()
    yield from _drafts(scrapes, begun, assumed, now)
    if scrapes.count == 1:
        yield Note("one scrape says only where counting begins: add a second one, and what lies between them is usage")


def _drafts(scrapes: Scrapes, number: int, assumed: Assumed, now: datetime) -> Iterator[Draft | Rejected]:
    before, at = scrapes.before, scrapes.at
    for engine, counts in scrapes.end():
        try:
            assert before is not None
            assert at is not None
            yield _draft((before, at), engine, counts, assumed, now)
        except (RowError, UsageError) as error:
            yield refused(number, error, f"{engine} {dict(counts)}")


def _draft(
    span: tuple[datetime, datetime], engine: Engine, counts: dict[str, int], assumed: Assumed, now: datetime
) -> Draft:
    model, name = engine
    if not (model or assumed.model):
        raise RowError("missing_value", "model_name is empty: say --model NAME")
    fresh = part_of(counts["input"], counts["cached"], "prefix_cache_hits_total of prompt_tokens_total")
    event = UsageEvent(
        id="", request_id="", at=span[0], recorded_at=now, price_state="unpriced",
        provider=assumed.provider or "vllm", model=model or assumed.model, deployment=name,
        deployment_type=assumed.deployment_type or "global", region=assumed.region, mode=assumed.mode or "standard",
        requests=counts["requests"], usage=Usage(input=fresh, cache_read=counts["cached"], output=counts["output"]),
        team=assumed.team, app=assumed.app,
    )  # fmt: skip
    own = f"{model}\x1f{name}\x1f{span[0].isoformat()}\x1f{span[1].isoformat()}"
    return Draft(event, f"{own}\x1f{sorted(counts.items())}", own)


FORMAT = Format("vllm", "vLLM's /metrics, two scrapes or more in one file", sniff, read, kind="aggregate")
