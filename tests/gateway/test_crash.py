"""A worker is killed under load: what was acknowledged stays, what was torn is set aside, and service goes on."""

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal

import pytest
from tests.gateway.conftest import SANDBOX
from tests.gateway.soak import Acknowledged, Lost, compare, one_run

from penstock.metering.event import UsageEvent, utc_now

BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hold?"}], "max_tokens": 5})
STREAM = json.dumps({**json.loads(BODY), "stream": True})


async def one_call(port: int, body: str, begun: Callable[[], None] = lambda: None) -> str | None:
    """Return the request's id once its reply has ended as it should; None if it did not. `begun`: its head is here."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    try:
        writer.write(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        begun()
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        if b"content-length" in fields:
            await reader.readexactly(int(fields[b"content-length"]))
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        return fields[b"x-penstock-request-id"].decode() if b" 200 " in head.split(b"\r\n")[0] else None
    except (OSError, asyncio.IncompleteReadError):
        return None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("seed", [1, 2])
def test_killing_workers_under_load_loses_nothing_acknowledged_and_each_call_on_the_bill_is_accounted_for(
    tmp_path, seed
):
    found = one_run(tmp_path, random.Random(seed), kills=2)
    assert found.problems == []
    assert found.kills > 0
    assert found.acknowledged > 20
    assert found.ledger + found.lost_cost == found.bill
    assert "started again" in (tmp_path / "server.log").read_text()


def event(call: str, cost: str = "2", **more) -> UsageEvent:
    now = utc_now()
    return UsageEvent(
        id=f"{call}-{cost}", at=now, recorded_at=now, request_id=f"r-{call}", run=call, provider="p", model="m",
        price_state="priced", cost=Decimal(cost), **more,
    )  # fmt: skip


def entry(call: str, cost: str = "2") -> dict[str, str]:
    return {"client_request_id": call, "cost": cost}


ANSWERED = {"a": Acknowledged("r-a", Decimal(2))}
HELD = {"a": "worker 7, kill 1"}


@pytest.mark.parametrize(
    ("events", "bill", "answered", "held"),
    [
        ([], [entry("a")], {}, {}),
        ([], [entry("a")], ANSWERED, HELD),
        ([], [entry("a"), entry("a")], {}, HELD),
        ([], [], ANSWERED, HELD),
        ([event("a")], [], {}, HELD),
        ([event("a"), event("a")], [entry("a")], {}, HELD),
        ([event("a")], [entry("a"), entry("a")], {}, HELD),
        ([event("a", "2.0000000001")], [entry("a")], {}, {}),
        ([event("a", "3")], [entry("a", "3")], ANSWERED, {}),
        ([event("a")], [entry("a")], {"a": Acknowledged("another", None)}, {}),
        ([event("a", "0")], [entry("a", "0.1")], {}, {}),
        ([event("b")], [entry("a")], {}, HELD),
    ],
)
def test_a_difference_between_ledger_and_bill_that_no_kill_explains_is_found(events, bill, answered, held):
    assert compare(events, bill, answered, held)[1]


def test_a_call_that_died_with_its_worker_is_named_with_what_it_cost():
    failed = event("b", "0", outcome="error", status=0, error="connection")
    assert compare([event("c"), failed], [entry("a"), entry("c")], {}, HELD) == (
        [Lost("a", Decimal(2), "worker 7, kill 1")],
        [],
    )


def test_a_torn_last_record_is_set_aside_and_said(start):
    server = start(f"[ledger]\ncompact_seconds = 3600\n{SANDBOX}")
    for _ in range(3):
        assert server.post("/v1/chat/completions", BODY.encode())[0] == 200
    server.stop()
    log = max((server.data / "log").glob("worker-1-*.log"), key=lambda file: file.stat().st_mtime)
    whole = log.read_bytes()
    log.write_bytes(whole[:-7])
    compacted = subprocess.run(
        [sys.executable, "-m", "penstock", "ledger", "compact", "--data", str(server.data)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert compacted.returncode == 0, compacted.stderr
    assert list((server.data / "torn").iterdir())
    report = json.loads(
        subprocess.run(
            [sys.executable, "-m", "penstock", "report", "--json", "--data", str(server.data)],
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout
    )  # fmt: skip
    assert sum(row["events"] for row in report["rows"]) == 2


def test_a_server_that_is_told_to_stop_ends_its_calls_first(start):
    sandbox = '[[providers]]\nname = "s"\nkind = "sandbox"\nbills_as = "openai"\n[sandbox]\ntoken_ms = 15\n'
    server = start(sandbox)

    async def story() -> str | None:
        begun = asyncio.Event()
        body = STREAM.replace('"max_tokens": 5', '"max_tokens": 60')
        call = asyncio.create_task(one_call(server.port, body, begun.set))
        await begun.wait()
        server.process.send_signal(signal.SIGTERM)
        return await call

    assert asyncio.run(story())
    assert server.process.wait(60) == 0
