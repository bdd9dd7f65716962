"""OTLP over HTTP, the receiving end: answers as OpenTelemetry's exporters expect them.

It is part of the control process. Who may make calls may say what calls were made: the same keys, the same headers.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from penstock.errors import PenstockError, RefusedError
from penstock.gateway.keyring import Keyring, secrets_in
from penstock.ledger.importers.live import Arrival, FullError, Intake, TooLargeError, too_large
from penstock.ledger.importers.otlp_wire import (
    NO_PROTOBUF,
    Form,
    Signal,
    WireError,
    answer_of,
    has_protobuf,
    status_of,
)
from penstock.metering.attribution import Attribution, attribute
from penstock.metering.request import RequestHead
from penstock.policies.keys import SECRET

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SIGNALS: dict[str, Signal] = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
FORMS: dict[str, Form] = {"application/json": "json", "application/x-protobuf": "protobuf"}
CONTENT_TYPES: dict[Form, bytes] = {form: kind.encode() for kind, form in FORMS.items()}
PACKED = {"": False, "identity": False, "gzip": True, "x-gzip": True, "deflate": True}
"""Content encodings, and whether there is something to unpack."""
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 3, 415: 3, 429: 8, 503: 14}
"""HTTP status -> code of `google.rpc.Status`."""
INTERNAL = 13
FULL_SECONDS, LEDGER_SECONDS = 2.0, 5.0
"""When an exporter should try again."""


class _GoneError(Exception):
    """The client left in the middle of its request."""


class Receiver:
    """Three routes beside an app; everything else goes to the app. Without an intake they are closed."""

    def __init__(self, app: App, intake: Intake | None, keyring: Keyring, *, max_body: int) -> None:
        self._app, self._intake, self._keyring, self._max_body = app, intake, keyring, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        signal = SIGNALS.get(scope.get("path", "")) if scope["type"] == "http" else None
        if signal is None:
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        form = FORMS.get(kind)
        more = b""
        try:
            body = await self._answer(scope, receive, signal, form, headers)
            status = 200
        except _GoneError:
            return
        except RefusedError as error:
            status, body = error.status, status_of(form or "json", CODES[error.status], str(error))
            if error.retry_after is not None:
                more = b"%d" % math.ceil(error.retry_after)
        except PenstockError as error:
            status, body, more = 503, status_of(form or "json", CODES[503], str(error)), b"%d" % LEDGER_SECONDS
        except Exception:  # noqa: BLE001  # the intake has written down what it was
            status, body = 500, status_of(form or "json", INTERNAL, "Penstock could not book this; its log says why.")
        lines = [
            (b"content-type", CONTENT_TYPES[form or "json"]),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        if more:
            lines.append((b"retry-after", more))
        if status == 401:
            lines.append((b"www-authenticate", b"Bearer"))
        if status == 405:
            lines.append((b"allow", b"POST"))
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: Scope, receive: Receive, signal: Signal, form: Form | None, headers: dict[bytes, bytes]
    ) -> bytes:
        """Book a request and return the answer's body. Raises RefusedError, or what the ledger raises."""
        if self._intake is None:
            raise RefusedError(404, "not_received", "This server takes no telemetry: [telemetry] receive is false.")
        if scope["method"] != "POST":
            raise RefusedError(405, "not_received", f"Send telemetry with POST, not {scope['method']}.")
        payer, otherwise = self._who(scope, headers)
        packed = _understood(form, headers)
        assert form is not None
        length = headers.get(b"content-length", b"").decode("latin-1")
        size = int(length) if length.isdecimal() else self._max_body
        if size > self._max_body:
            raise RefusedError(413, "body_too_large", too_large(self._max_body))
        try:
            with self._intake.room(size):
                body = await _read(receive, self._max_body)
                arrival = Arrival(signal, form, body, packed, payer, otherwise)
                booked = await asyncio.wrap_future(self._intake.take(arrival))
        except FullError as error:
            raise RefusedError(429, error.code, str(error), retry_after=FULL_SECONDS) from None
        except TooLargeError as error:
            raise RefusedError(413, error.code, str(error)) from None
        except WireError as error:
            raise RefusedError(400, error.code, str(error)) from None
        return answer_of(signal, form, booked.rejected, booked.message)

    def _who(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[Attribution, Attribution]:
        """Say who pays by the key, and by the headers. Raises RefusedError."""
        if SECRET.search(scope.get("query_string", b"")):
            raise RefusedError(400, "key_in_address", "Send a key in a header: addresses end up in logs.")
        holder = self._keyring.ring.holder_of(secrets_in(scope["headers"]))
        otherwise = attribute(headers, RequestHead())
        if holder is None:
            return Attribution(), otherwise
        holder.used = True
        return holder.attribution, otherwise


def _understood(form: Form | None, headers: dict[bytes, bytes]) -> bool:
    """Tell whether the body is packed. Raises RefusedError for what cannot be read here."""
    if form is None:
        said = headers.get(b"content-type", b"").decode("latin-1")[:100]
        sentence = f"The content-type {said!r} is not OTLP's: use application/x-protobuf or application/json."
        raise RefusedError(415, "unknown_content", sentence)
    if form == "protobuf" and not has_protobuf():
        raise RefusedError(415, "unknown_content", NO_PROTOBUF)
    encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
    if encoding not in PACKED:
        sentence = f"The content-encoding {encoding[:100]!r} is not known here: use gzip, deflate or none."
        raise RefusedError(415, "unknown_content", sentence)
    return PACKED[encoding]


async def _read(receive: Receive, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise RefusedError(413, "body_too_large", too_large(most))
        if not message.get("more_body"):
            return b"".join(parts)
