"""Ten thousand mixed calls: what the ledger adds up to is what the provider says it billed, to the last digit."""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from decimal import Decimal

from penstock.ledger.store import Ledger

SETTINGS = """
[[providers]]
name = "openai"
kind = "sandbox"
bills_as = "openai"
[[providers]]
name = "anthropic"
kind = "sandbox"
bills_as = "anthropic"
[[providers]]
name = "azure"
kind = "sandbox"
bills_as = "azure"
models = []
[[deployments]]
name = "first-choice"
provider = "openai"
model = "gpt-4o"
[[deployments]]
name = "second-choice"
provider = "openai"
model = "gpt-4.1"
[[deployments]]
name = "sweden"
provider = "azure"
model = "gpt-4o-mini"
deployment_type = "global"
[[routes]]
model = "best"
deployments = ["first-choice", "second-choice"]
"""
CALLS = 10_000
AT_ONCE = 50
LONG = "This passage is part of a prefix that many calls share, so that the prompt cache has work to do. " * 80


def chat(model: str, prompt: str, **more) -> tuple[str, dict]:
    return "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": prompt}], **more}


def message(model: str, prompt: str, **more) -> tuple[str, dict]:
    body = {"model": model, "max_tokens": 60, "messages": [{"role": "user", "content": prompt}], **more}
    return "/v1/messages", body


def draw(chance: random.Random, number: int) -> tuple[str, dict, str, int | None]:
    """Return path, body, mishap, and after how many bytes the client leaves (None: it stays)."""
    prompt = f"{LONG if chance.random() < 0.1 else ''}Question {number}: why does the gate hold?"
    stream = chance.random() < 0.5
    model = chance.choice(["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-nano", "gpt-5-mini", "o4-mini"])
    cached = [
        {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": chance.choice(["5m", "1h"])}}
    ]
    path, body = chance.choice(
        [
            lambda: chat(model, prompt, stream=stream),
            lambda: chat(model, prompt, stream=stream, stream_options={"include_usage": True} if stream else None),
            lambda: chat("best", prompt, stream=stream),
            lambda: chat("sweden", prompt, stream=stream),
            lambda: chat("gpt-4o", prompt, n=2, max_tokens=20),
            lambda: ("/v1/responses", {"model": model, "input": prompt, "stream": stream}),
            lambda: (
                "/v1/embeddings",
                {"model": "text-embedding-3-small", "input": [prompt, "and more"], "dimensions": 8},
            ),
            lambda: message("claude-sonnet-4-5", prompt, stream=stream),
            lambda: message("claude-sonnet-4-5", prompt, stream=stream, system=cached),
            lambda: chat("gpt-4o", prompt, service_tier=chance.choice(["default", "priority"])),
        ]
    )()
    body = {name: value for name, value in body.items() if value is not None}
    dice = chance.random()
    leaves = chance.randint(100, 2500) if dice < 0.06 else None
    mishap = ""
    if 0.06 < dice < 0.10:
        mishap = f"error={chance.choice(['429', '500', '503'])};retry_after=0;times=1;id=n{number}"
    elif 0.10 < dice < 0.12:
        mishap = "error=400"
    elif 0.12 < dice < 0.14:
        mishap = f"cut=head;times=1;id=n{number}"
    elif 0.14 < dice < 0.17 and body["model"] == "best":
        mishap = "error=503;only=gpt-4o"
    return path, body, mishap, leaves


async def call(server, path: str, body: dict, mishap: str, leaves: int | None) -> str:
    """Make one call; return what became of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    data = json.dumps(body).encode()
    version = "anthropic-version: 2023-06-01\r\n" if path == "/v1/messages" else ""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{version}"
    sandbox = f"x-sandbox: {mishap}\r\n" if mishap else ""
    writer.write(f"{head}{sandbox}connection: close\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
    try:
        if leaves is not None:
            await reader.read(leaves)
            return "left"
        answer = await asyncio.wait_for(reader.read(), 60)
        return answer.split(b" ", 2)[1].decode()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def run(server) -> Counter:
    chance = random.Random(11)
    todo = [draw(chance, number) for number in range(CALLS)]
    became: Counter = Counter()

    async def client() -> None:
        while todo:
            became[await call(server, *todo.pop())] += 1

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return became


def settled(server) -> tuple[dict, dict]:
    """Wait until abandoned streams have been read to their end; return the ledger's sum and the bill."""
    deadline, before = time.monotonic() + 60, None
    while True:
        spend, bill = server.get("/api/spend?by=model"), server.bill()
        now = (spend["total"], bill["totals"]["cost"])
        if (now == before and Decimal(now[0]) == Decimal(now[1])) or time.monotonic() > deadline:
            return spend, bill
        before = now
        time.sleep(0.5)


def test_the_ledger_adds_up_to_the_bill_over_ten_thousand_calls(start):
    server = start(SETTINGS)
    became = asyncio.run(run(server))
    spend, bill = settled(server)
    assert became["200"] > CALLS * 0.85, became
    assert became["400"] > 100
    assert became["left"] > 300
    assert set(became) <= {"200", "400", "left"}, became
    assert Decimal(spend["total"]) == Decimal(bill["totals"]["cost"])
    assert Decimal(spend["total"]) > 0
    assert spend["unpriced_events"] == 0
    mine = {row["model"]: Decimal(row["cost"]) for row in spend["rows"] if Decimal(row["cost"])}
    theirs: Counter = Counter()
    for model, cost in bill["totals"]["cost_by_model"].items():
        plain = next(name for name in sorted(mine, key=len, reverse=True) if model.startswith(name))
        theirs[plain] += Decimal(cost)
    assert mine == theirs
    _assert_all_are_timed(server)


def _assert_all_are_timed(server) -> None:
    """However quickly an answer came: what took no time counts in no figure of latency."""
    with Ledger.open(server.data, create=False) as ledger:
        query = "SELECT count(*) AS n, count(*) FILTER (duration_us <= 0) AS untimed FROM events"
        [counts] = ledger.moment().select(query, columns=("duration_us",)).to_pylist()
    assert counts["n"] > CALLS
    assert counts["untimed"] == 0
