"""A whole gateway on a disk that is full, or that hangs: clear answers, nothing acknowledged lost, and it recovers."""

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from tests.gateway.conftest import SANDBOX
from tests.ledger.disks import disk_that_freezes, freeze, small_disk, thaw

from penstock.ledger.store import Ledger

PATH = "/v1/chat/completions"
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hold?"}], "max_tokens": 5}


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def fill(file: Path) -> None:
    """Write until there is no room for another byte."""
    with file.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while out.write(bytes(4096)):
            pass
    assert shutil.disk_usage(file.parent).free == 0


class Calls:
    """Calls one after the other: what they were told, and what was acknowledged at what cost."""

    def __init__(self, server) -> None:
        self._server = server
        self.acknowledged: dict[str, Decimal] = {}
        self.refused: list[dict] = []

    def one(self) -> int:
        status, headers, body = self._server.post(PATH, BODY)
        if status == 200:
            self.acknowledged[headers["x-penstock-request-id"]] = Decimal(headers["x-penstock-cost"])
        else:
            assert status == 503, body
            self.refused.append(json.loads(body)["error"])
        return status


def booked(folder) -> dict[str, Decimal]:
    with Ledger.open(folder) as ledger:
        events = ledger.events()
        assert ledger.verify().problems == []
    assert len({event.id for event in events}) == len(events)
    costs: dict[str, Decimal] = {}
    for event in events:
        costs[event.request_id] = costs.get(event.request_id, Decimal(0)) + (event.cost or Decimal(0))
    return costs


@pytest.mark.parametrize("fsync", ["always", "interval"])
def test_a_full_disk_refuses_calls_loses_nothing_and_is_left_behind_when_there_is_room(start, tmp_path, fsync):
    with small_disk(tmp_path / "disk", 24) as disk:
        settings = f'[ledger]\ndata = "{disk / "data"}"\nfsync = "{fsync}"\ncompact_seconds = 0.5\n{SANDBOX}'
        server = start(settings, data=disk / "data")
        calls = Calls(server)
        for _ in range(20):
            assert calls.one() == 200
        filler = disk / "filler"
        fill(filler)
        until(lambda: calls.one() == 503)
        assert calls.refused[-1]["code"] == "ledger_unavailable"
        assert "No space left on device. Free some space" in calls.refused[-1]["message"]
        assert all(calls.one() == 503 for _ in range(3))
        filler.unlink()
        until(lambda: calls.one() == 200)
        assert all(calls.one() == 200 for _ in range(20))
        server.stop()
        assert "Traceback" not in server.log.read_text()
        costs = booked(disk / "data")
        assert calls.acknowledged.items() <= costs.items()
        assert sum(costs.values()) == Decimal(server.last_bill)


@pytest.mark.parametrize("answer", ["wait", "refuse"])
def test_a_disk_that_hangs_gets_a_bounded_queue_and_the_configured_answer(start, tmp_path, answer):
    with disk_that_freezes(tmp_path / "disk", tmp_path / "image") as disk:
        ledger = f'data = "{disk / "data"}"\nmax_waiting = 10\nmax_waiting_seconds = 60\nwhen_behind = "{answer}"\n'
        server = start(f"[ledger]\n{ledger}compact_seconds = 3600\n{SANDBOX}", data=disk / "data")
        calls = Calls(server)
        assert calls.one() == 200
        freeze(disk)
        late: list[int] = []
        try:
            if answer == "refuse":
                until(lambda: calls.one() == 503)
                assert calls.refused[-1]["code"] == "ledger_behind"
                assert "events wait for it" in calls.refused[-1]["message"]
                assert len(calls.acknowledged) <= 12
            else:
                thread = threading.Thread(target=lambda: late.extend(calls.one() for _ in range(16)))
                thread.start()
                thread.join(5)
                assert thread.is_alive()  # it waits at the door
                assert len(calls.acknowledged) <= 12
        finally:
            thaw(disk)
        if answer == "wait":
            thread.join(60)
            assert late == [200] * 16
        until(lambda: calls.one() == 200)
        server.stop()
        costs = booked(disk / "data")
        assert calls.acknowledged.items() <= costs.items()
        assert sum(costs.values()) == Decimal(server.last_bill)
