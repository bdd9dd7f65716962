"""The fake upstream where there is no C compiler: the same wire and bill as `upstream.c`, slower."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httptools
import uvloop

from benchmarks.replies import FIRST_SEED, REPLIES, STREAM_CHUNKS

BILL = dict.fromkeys(("requests", "streams", "prompt_tokens", "cached_tokens", "completion_tokens"), 0)
PACE = {"stream": 0.0, "answer": 0.0}
JSON_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: %d\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


def book(usage: dict[str, Any], *, stream: bool) -> None:
    """Put one reply on the bill."""
    BILL["requests"] += 1
    BILL["streams"] += stream
    BILL["prompt_tokens"] += usage["prompt_tokens"]
    BILL["cached_tokens"] += usage["prompt_tokens_details"]["cached_tokens"]
    BILL["completion_tokens"] += usage["completion_tokens"]


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """One client's connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url, self.body = b"", []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        if self.parser.get_method() == b"GET":
            self._control(self.url.decode())
            return
        document = json.loads(b"".join(self.body))
        reply = REPLIES[document["seed"] - FIRST_SEED]
        loop = asyncio.get_running_loop()
        if not document.get("stream"):
            loop.call_later(PACE["answer"], self._answer, reply.plain, reply.usage) if PACE["answer"] else self._answer(
                reply.plain, reply.usage
            )
            return
        asked = document.get("stream_options", {}).get("include_usage")
        events = [event for event in (reply.asked if asked else reply.unasked) if event]
        self.transport.write(STREAM_HEAD)
        self._go_on(events, 0, reply.usage, loop.time())

    def _control(self, path: str) -> None:
        if path.startswith("/pace/"):
            stream, answer = path.removeprefix("/pace/").split("/")
            PACE.update(stream=int(stream) / 1e6, answer=int(answer) / 1e6)
        self._answer(json.dumps(BILL).encode(), None)

    def _answer(self, body: bytes, usage: dict[str, Any] | None) -> None:
        if usage:
            book(usage, stream=False)
        self.transport.write((JSON_HEAD % len(body)).encode() + body)

    def _go_on(self, events: list[bytes], at: int, usage: dict[str, Any], due: float) -> None:
        """Send the next event, or all at once where there is no pace; those behind the content come together."""
        if PACE["stream"] and at + 1 < STREAM_CHUNKS:
            self.transport.write(_chunk(events[at]))
            due += PACE["stream"]
            asyncio.get_running_loop().call_at(due, self._go_on, events, at + 1, usage, due)
            return
        book(usage, stream=True)
        self.transport.write(b"".join(map(_chunk, events[at:])) + b"0\r\n\r\n")


async def main() -> None:
    """Serve on a free loopback port until ended; the argument is ignored, the replies are known."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    assert Path(sys.argv[1]).exists()
    uvloop.run(main())
