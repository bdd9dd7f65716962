"""Sample traffic of an invented company, for the demo: who asks what of which model, and when.

The same workloads make a month of history (events, metered and priced like real ones) and live requests.
"""

import math
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import Struct, structs

from penstock.gateway.endpoints import CHAT, EMBEDDINGS, MESSAGES, RESPONSES, Endpoint
from penstock.ledger.business_metrics import Observation
from penstock.metering.attribution import Attribution
from penstock.metering.event import UsageEvent, new_id
from penstock.metering.meter import Attempt, Meter, Served
from penstock.metering.reading import Reading
from penstock.pricing.catalog import Catalog
from penstock.pricing.usage import Usage


class Workload(Struct, frozen=True, kw_only=True):
    """One use of one model by one team. Token counts are medians; real ones scatter around them."""

    team: str
    app: str
    feature: str
    endpoint: Endpoint
    provider: str
    """As the price books name it."""
    model: str
    served: str
    per_day: int
    input: int
    output: int
    cached: float = 0.0
    """Share of the input that the provider's prompt cache serves."""
    reasoning: float = 0.0
    """Share of the output that is hidden reasoning."""
    stream: bool = False
    agent: bool = False
    """Whether an agent calls: what it does for one user on one day is a run."""
    growth: float = 0.0
    """Relative growth of a month."""
    system: str = ""
    prompts: tuple[str, ...] = ("",)


WORKLOADS = (
    Workload(
        team="support", app="helpdesk", feature="answer", endpoint=CHAT, provider="openai", model="gpt-4o-mini",
        served="gpt-4o-mini-2024-07-18", per_day=260, input=520, output=290, stream=True, growth=0.3,
        system="Contoso support agent. Be concise. If unsure, direct to a person.",
        prompts=("Where is my order 4711?", "How do I reset the router?", "I was charged twice last month."),
    ),
    Workload(
        team="support", app="helpdesk", feature="triage", endpoint=CHAT, provider="openai", model="gpt-4.1-nano",
        served="gpt-4.1-nano-2025-04-14", per_day=300, input=180, output=8,
        system="Classify the ticket: billing, delivery, defect, other. One word.",
        prompts=("My parcel came open.", "The invoice has the wrong address.", "It does not switch on."),
    ),
    Workload(
        team="research", app="library", feature="rag", endpoint=RESPONSES, provider="openai", model="gpt-4.1",
        served="gpt-4.1-2025-04-14", per_day=90, input=6200, output=420, cached=0.45, stream=True, growth=0.6,
        system="Answer from the passages only, and cite them.",
        prompts=("What does the 2025 report say about churn?", "Compare the two retention policies."),
    ),
    Workload(
        team="research", app="library", feature="index", endpoint=EMBEDDINGS, provider="openai",
        model="text-embedding-3-small", served="text-embedding-3-small", per_day=110, input=2400, output=0,
        prompts=("Retention policy, section 4: records are kept for seven years ...",),
    ),
    Workload(
        team="platform", app="reviewer", agent=True, feature="pull-request", endpoint=MESSAGES, provider="anthropic",
        model="claude-sonnet-5", served="claude-sonnet-5", per_day=70, input=9400, output=900,
        cached=0.6, stream=True, growth=0.2, system="Review the change. Name only what matters.",
        prompts=("Review: rename the queue and move its tests.", "Review: retry on 429 with jitter."),
    ),
    Workload(
        team="platform", app="reviewer", agent=True, feature="plan", endpoint=CHAT, provider="openai",
        model="gpt-5-mini",
        served="gpt-5-mini-2025-08-07", per_day=40, input=2100, output=1400, reasoning=0.6,
        prompts=("Plan the migration of the job queue in five steps.",),
    ),
    Workload(
        team="finance", app="close", feature="extract", endpoint=CHAT, provider="openai", model="gpt-4o",
        served="gpt-4o-2024-08-06", per_day=60, input=1700, output=350,
        system="Extract the invoice as JSON: number, date, total.",
        prompts=("Invoice 2031 of 3 November over 1,250.00 EUR", "Rechnung Nr. 88, 12.11., 310,50 EUR"),
    ),
    Workload(
        team="", app="notebook", feature="", endpoint=CHAT, provider="openai", model="sandbox-mystery-1",
        served="sandbox-mystery-1", per_day=6, input=700, output=200, prompts=("Try the new model on this.",),
    ),
)  # fmt: skip

DAYS = 30
BUSY_HOURS = tuple(0.15 + max(0.0, math.sin((hour - 6) / 13 * math.pi)) ** 1.5 for hour in range(24))
"""Weight of each hour (UTC) of a working day."""


def history(catalog: Catalog, until: datetime, *, seed: int = 7) -> Iterator[UsageEvent]:
    """Yield a month of events that ends at `until`, priced by the rows in force at the time of each."""
    chance = random.Random(seed)  # noqa: S311  # sample data, and the same each time
    meter = Meter(catalog)
    start = (until - timedelta(days=DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(DAYS + 1):
        midnight = start + timedelta(days=day)
        weekday = 1.0 if midnight.weekday() < 5 else 0.3
        for workload in WORKLOADS:
            expected = workload.per_day * weekday * (1 + workload.growth * day / DAYS)
            for _ in range(round(expected * chance.uniform(0.85, 1.15))):
                hour = chance.choices(range(24), BUSY_HOURS)[0]
                at = midnight + timedelta(hours=hour, seconds=chance.uniform(0, 3600))
                if at < until:
                    yield _event(meter, workload, at, chance)


def orders(until: datetime, *, seed: int = 7) -> list[Observation]:
    """Say how many orders the company took on each whole day of the month that ends at `until`."""
    chance = random.Random(seed)  # noqa: S311  # as above
    days = [until.date() - timedelta(days=ago) for ago in range(DAYS, 0, -1)]
    taken = [round((420 if day.weekday() < 5 else 150) * chance.uniform(0.9, 1.1)) for day in days]
    return [
        Observation(day=day, metric="orders", value=Decimal(number), group={})
        for day, number in zip(days, taken, strict=True)
    ]


def _event(meter: Meter, workload: Workload, at: datetime, chance: random.Random) -> UsageEvent:
    sent = max(1, round(workload.input * chance.lognormvariate(0, 0.35)))
    cached = int(sent * workload.cached) // 128 * 128 if chance.random() < 0.8 and sent >= 1024 else 0
    received = round(workload.output * chance.lognormvariate(0, 0.4)) if workload.output else 0
    failed = chance.random() < 0.012
    usage = Usage() if failed else Usage(
        input=sent - cached, cache_read=cached, output=received, reasoning=int(received * workload.reasoning)
    )  # fmt: skip
    reading = Reading(
        usage=usage, usage_source="none" if failed else "provider", model=workload.served,
        finish_reason="" if failed else "stop", error="rate_limit_exceeded" if failed else "",
    )  # fmt: skip
    duration = int(350_000 + received * 14_000 * chance.uniform(0.7, 1.4))
    served = Served(workload.provider, "sandbox", workload.model, False, "global", "")
    attempt = Attempt(
        request_id=new_id(at.timestamp()), number=1, purpose="call", at=at, recorded_at=at,
        endpoint=workload.endpoint.name, requested_model=workload.model, outcome="error" if failed else "ok",
        status=429 if failed else 200, error="", stream=workload.stream, duration_us=90_000 if failed else duration,
        first_token_us=0 if failed else 350_000, decision="sample history",
    )  # fmt: skip
    who = attribution(workload, chance)
    if workload.agent:
        who = structs.replace(who, run=f"{workload.app}-{at:%m%d}-{who.user}")
    return meter.event(served, attempt, reading, who)


def attribution(workload: Workload, chance: random.Random) -> Attribution:
    """Say who pays for one request of a workload."""
    return Attribution(
        team=workload.team, app=workload.app, feature=workload.feature, user=f"user-{chance.randint(1, 25):02d}",
        tags={"sandbox": "yes"},
    )  # fmt: skip


def live_request(chance: random.Random) -> tuple[str, dict[str, str], dict[str, object]]:
    """Return path, headers and body of one request, drawn by how often each workload asks."""
    workload = chance.choices(WORKLOADS, [workload.per_day for workload in WORKLOADS])[0]
    prompt = chance.choice(workload.prompts)
    who = attribution(workload, chance)
    headers = {f"x-penstock-{name}": getattr(who, name) for name in ("team", "app", "feature", "user")}
    # A prefix as long as a real one, so that the provider's prompt cache has something to serve.
    system = f"{workload.system}\n" + "House rules apply to every answer. " * (
        round(workload.input * workload.cached) // 6
    )
    limit = max(16, round(workload.output * 1.2))
    messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    endpoint = workload.endpoint
    if endpoint is EMBEDDINGS:
        return "/v1/embeddings", headers, {"model": workload.model, "input": prompt * 40}
    if endpoint is MESSAGES:
        headers["anthropic-version"] = "2023-06-01"
        cached = [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]
        return "/v1/messages", headers, {
            "model": workload.model, "max_tokens": limit, "stream": workload.stream, "system": cached,
            "messages": messages[1:],
        }  # fmt: skip
    if endpoint is RESPONSES:
        return "/v1/responses", headers, {
            "model": workload.model, "input": messages, "stream": workload.stream, "max_output_tokens": limit,
        }  # fmt: skip
    cap = "max_completion_tokens" if workload.reasoning else "max_tokens"
    return "/v1/chat/completions", headers, {
        "model": workload.model, "messages": messages, "stream": workload.stream, cap: limit,
    }  # fmt: skip
