"""The receiver as an app, where the ledger is away or too much waits."""

import asyncio
import json
from concurrent.futures import Future

import pytest

from penstock.errors import LedgerError
from penstock.gateway.keyring import Keyring
from penstock.gateway.telemetry.receiver import Receiver
from penstock.ledger.importers.live import Booked, FullError, Intake
from penstock.policies.keys import KeySettings


class Answering(Intake):
    """An intake that answers as it is told."""

    def __init__(self, outcome: Booked | Exception, *, full: bool = False) -> None:
        super().__init__(lambda: pytest.fail("no ledger"), None, max_body=100, max_waiting=0 if full else 100)
        self.outcome = outcome

    def take(self, arrival):
        done: Future[Booked] = Future()
        done.set_exception(self.outcome) if isinstance(self.outcome, Exception) else done.set_result(self.outcome)
        return done


async def others(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"the app"})


@pytest.fixture
def ask(tmp_path):
    """Put a request to a receiver; return status, headers, body."""
    keyring = Keyring(tmp_path / "state.sqlite", KeySettings())

    def asked(intake: Intake | None, path: str = "/v1/traces", body: bytes = b"{}", query: bytes = b""):
        sent: list[dict] = []

        async def receive() -> dict:
            return {"type": "http.request", "body": body}

        async def send(message) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        scope = {"type": "http", "method": "POST", "path": path, "query_string": query, "headers": headers}
        asyncio.run(Receiver(others, intake, keyring, max_body=100)(scope, receive, send))
        if intake:
            intake.close()
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    yield asked
    keyring.close()


def test_a_ledger_that_is_away_is_a_503_that_is_tried_again(ask):
    status, headers, body = ask(Answering(LedgerError("The disk is full.")))
    assert (status, headers[b"retry-after"]) == (503, b"5")
    assert json.loads(body) == {"code": 14, "message": "The disk is full."}


def test_a_full_queue_is_a_429_that_is_tried_again(ask):
    intake = Answering(Booked())
    with intake.room(99):
        status, headers, body = ask(intake)
    assert (status, headers[b"retry-after"]) == (429, b"2")
    assert json.loads(body)["code"] == 8
    assert "99 bytes of telemetry wait" in json.loads(body)["message"]
    assert ask(Answering(FullError("The server is being stopped; send this again.")))[0] == 429


def test_a_mistake_of_ours_is_a_500_that_is_not_tried_again(ask):
    status, headers, body = ask(Answering(ZeroDivisionError()))
    assert (status, b"retry-after" in headers, json.loads(body)["code"]) == (500, False, 13)


def test_what_is_switched_off_says_so_and_other_paths_go_on(ask):
    status, _headers, body = ask(None)
    assert (status, json.loads(body)["message"]) == (
        404, "This server takes no telemetry: [telemetry] receive is false.",
    )  # fmt: skip
    assert ask(None, "/v1/tracesx")[::2] == (299, b"the app")


def test_a_body_longer_than_it_said_and_a_key_in_the_address_are_refused(ask):
    assert ask(Answering(Booked()), body=b"x" * 101)[0] == 413
    secret = b"key=psk_00000000_" + b"a" * 43
    assert ask(Answering(Booked()), query=secret)[0] == 400
