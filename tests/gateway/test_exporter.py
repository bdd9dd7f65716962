"""What is sent to a collector that is away, that refuses, or that comes back."""

import asyncio
import logging
import re
from datetime import UTC, datetime

import pytest
from tests.gateway.collector import Collector

from penstock.errors import InputError
from penstock.gateway.telemetry import exporter
from penstock.gateway.telemetry.exporter import Exporter, headers_of
from penstock.gateway.telemetry.settings import TelemetrySettings
from penstock.gateway.telemetry.told import Told
from penstock.metering.event import new_id

AT = datetime(2026, 11, 26, tzinfo=UTC)


def told() -> Told:
    return Told(
        new_id(), "/v1/chat/completions", "chat", "gpt-4o", AT, 0.5, 200, "", b"", b"", "search", "", "", "", "",
        "a#1", (),
    )  # fmt: skip


def settings(url: str, **more) -> TelemetrySettings:
    return TelemetrySettings(otlp_endpoint=url, batch_seconds=0.02, metrics=False, **more)


@pytest.fixture
def collector():
    one = Collector()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(exporter, "FIRST_WAIT", 0.01)


async def until(done) -> None:
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.01)


def test_what_a_collector_does_not_take_is_sent_again(collector):
    collector.answers = [503, 429]

    async def tell() -> None:
        one = Exporter(settings(collector.url), asyncio.get_running_loop(), "worker-1")
        one.start()
        one.notes.add(told())
        await until(lambda: len(collector.spans) == 1)
        one.notes.add(told())
        await one.close()  # sends what is left

    asyncio.run(tell())
    assert [status for _path, _headers, status in collector.headers] == [503, 429, 200, 200]
    assert len(collector.spans) == 2
    assert collector.resources[0]["penstock.worker"] == "worker-1"


def test_what_a_collector_refuses_is_dropped_and_told(collector, caplog):
    collector.answers = [400]

    async def tell() -> None:
        one = Exporter(settings(collector.url), asyncio.get_running_loop(), "worker-1")
        one.start()
        one.notes.add(told())
        await until(lambda: len(collector.headers) == 1)
        await one.close()

    with caplog.at_level(logging.WARNING, "penstock"):
        asyncio.run(tell())
    assert collector.spans == []
    [said] = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
    assert said == f"telemetry: requests dropped from the traces: 1; {collector.url} answered 400 to /v1/traces"


def test_without_a_collector_memory_is_bounded_and_the_loss_is_told(caplog):
    async def tell() -> None:
        one = Exporter(settings("http://127.0.0.1:9", max_queue=5), asyncio.get_running_loop(), "worker-1")
        one.start()
        for _time in range(9):
            one.notes.add(told())
        assert len(one.notes) == 5
        await until(lambda: not len(one.notes))
        await one.close()

    with caplog.at_level(logging.WARNING, "penstock"):
        asyncio.run(tell())
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "Cannot connect to 127.0.0.1:9" in said
    assert sum(map(int, re.findall(r"traces: (\d+)", said))) == 9


def test_headers_come_from_the_environment():
    said = {"H": "Authorization=Bearer%20abc, x-scope-orgid=7"}
    assert headers_of("H", said) == {"authorization": "Bearer abc", "x-scope-orgid": "7"}
    assert headers_of("H", {}) == {}
    for wrong in ("no-value", "bad name=1", "host=elsewhere", "a=b%0d%0ac: d"):
        with pytest.raises(InputError, match="H must look like"):
            headers_of("H", {"H": wrong})
