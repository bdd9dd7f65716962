"""The line to one caller: read, wait, notice that it hung up, cut it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from penstock.gateway.sandbox.failures import Dialect, Failed

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

CUT = "penstock.sandbox.cut"
"""Key of the scope's extensions under which the server offers a way to close the connection."""

JSON = ((b"content-type", b"application/json"),)
EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
_MANNERS: dict[Dialect, Headers] = {
    "openai": [
        (b"openai-organization", b"penstock-sandbox"),
        (b"openai-version", b"2020-10-01"),
        (b"x-ratelimit-limit-requests", b"10000"),
        (b"x-ratelimit-remaining-requests", b"9999"),
        (b"x-ratelimit-limit-tokens", b"2000000"),
        (b"x-ratelimit-remaining-tokens", b"1999000"),
        (b"x-ratelimit-reset-requests", b"6ms"),
        (b"x-ratelimit-reset-tokens", b"30ms"),
    ],
    "azure": [
        (b"x-ms-region", b"Sandbox"),
        (b"x-ratelimit-remaining-requests", b"9999"),
        (b"x-ratelimit-remaining-tokens", b"1999000"),
    ],
    "anthropic": [
        (b"anthropic-organization-id", b"penstock-sandbox"),
        (b"anthropic-ratelimit-requests-limit", b"10000"),
        (b"anthropic-ratelimit-requests-remaining", b"9999"),
        (b"anthropic-ratelimit-tokens-limit", b"2000000"),
        (b"anthropic-ratelimit-tokens-remaining", b"1999000"),
    ],
}


def manners(dialect: Dialect, request_id: str, took_ms: int) -> Headers:
    """Return the headers that a provider's replies carry, and the sandbox's own label."""
    number = request_id.encode()
    own: dict[Dialect, Headers] = {
        "openai": [(b"x-request-id", number), (b"openai-processing-ms", str(took_ms).encode())],
        "azure": [(b"x-request-id", number), (b"apim-request-id", number)],
        "anthropic": [(b"request-id", number)],
    }
    return [(b"x-sandbox", b"1"), *own[dialect], *_MANNERS[dialect]]


class Line:
    """One request's connection."""

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._gone: asyncio.Future[None] | None = None

    def header(self, name: bytes) -> str:
        """Return a header of the request, or nothing."""
        return self._headers.get(name, b"").decode("latin-1")

    async def read(self, limit: int) -> bytes:
        """Read the request's body."""
        parts = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return b""
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise Failed("413")
            if not message.get("more_body"):
                return b"".join(parts)

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send the head."""
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def body(self, data: bytes, *, more: bool = False) -> None:
        """Send a part of the body, the last one unless there is more."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def listen(self) -> asyncio.Future[None]:
        """Return what is done once the caller has hung up."""
        if self._gone is None:
            self._gone = asyncio.ensure_future(self._leave())
        return self._gone

    async def wait(self, seconds: float) -> bool:
        """Wait; True: the caller hung up meanwhile."""
        if not seconds:
            return False
        done, _ = await asyncio.wait({self.listen()}, timeout=seconds)
        return bool(done)

    async def cut(self) -> None:
        """Close the connection as a failing network would."""
        offered = self._scope.get("extensions", {}).get(CUT)
        if offered is None:
            raise ConnectionAbortedError("The sandbox was asked to cut, and this server offers no way to.")
        offered["close"]()
        await self.listen()

    def hang_up(self) -> None:
        """Listen no more."""
        if self._gone is not None:
            self._gone.cancel()

    async def _leave(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
