"""The door of outcomes: what a client may report, and what is kept without a report."""

import asyncio
from datetime import UTC, datetime

import pytest

from penstock.errors import InputError
from penstock.gateway import outcome_door
from penstock.gateway.outcome_door import OutcomeDoor, read_reports
from penstock.ledger.outcomes import Outcomes, Scored

NOON = datetime.now(UTC).replace(microsecond=0)


def noted(number: int) -> Scored:
    return Scored(request_id=f"r{number}", score=0.0, source="auto:refusal", name="m", at=NOON)


def kept(folder) -> list[str]:
    store = Outcomes(folder)
    try:
        return [one.request_id for one in store.scores(automatic=True)]
    finally:
        store.close()


def test_a_client_cannot_report_as_nobody() -> None:
    with pytest.raises(InputError, match="auto:refusal"):
        read_reports(b'{"id": "r", "score": 0, "source": "auto:refusal"}')


def test_a_report_may_be_named_as_it_likes() -> None:
    (one,) = read_reports(b'{"id": "r", "score": 0, "name": "outcomes"}')
    assert one.name == "outcomes"
    assert len(read_reports(b' {"outcomes": [{"id": "r", "score": 0}, {"id": "s", "score": 1}]}')) == 2


def test_automatic_scores_that_wait_are_on_the_disk_when_the_door_closes(tmp_path) -> None:
    async def work() -> None:
        door = OutcomeDoor(tmp_path)
        for number in range(3):
            door.note(noted(number))
        door.close()

    asyncio.run(work())
    assert kept(tmp_path) == ["r0", "r1", "r2"]


def test_they_are_written_together_a_moment_later(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(outcome_door, "NOTE_SECONDS", 0)

    async def work() -> list[str]:
        door = OutcomeDoor(tmp_path)
        door.note(noted(1))
        door.note(noted(2))
        for _ in range(5):
            await asyncio.sleep(0)
        door._thread.submit(lambda: None).result()  # what was handed over before has been done
        found = kept(tmp_path)
        door.close()
        return found

    assert asyncio.run(work()) == ["r1", "r2"]


def test_a_flood_is_cut_off_and_nobody_waits(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(outcome_door, "MOST_NOTED", 2)

    async def work() -> None:
        door = OutcomeDoor(tmp_path)
        for number in range(5):
            door.note(noted(number))
        door.close()

    asyncio.run(work())
    assert kept(tmp_path) == ["r0", "r1"]
