"""A worker is killed under load: what was acknowledged stays, what was torn is set aside, and service goes on."""

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.gateway.conftest import SANDBOX
from tests.gateway.soak import one_run

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
def test_killing_workers_under_load_loses_nothing_acknowledged_and_the_ledger_is_the_bill(tmp_path, seed):
    found = one_run(tmp_path, random.Random(seed), kills=2)
    assert found.problems == []
    assert found.kills > 0
    assert found.acknowledged > 20
    assert "started again" in (tmp_path / "server.log").read_text()


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
