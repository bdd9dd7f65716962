"""A provider that answers with recorded bytes, and remembers what it was sent: a function from request to reply."""

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from http.client import parse_headers
from io import BytesIO
from typing import NamedTuple


class Asked(NamedTuple):
    """One request, as the provider got it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Scripted:
    """Serves on a free loopback port; `answer` returns the pieces to send, head and all.

    None closes the connection, a number is a pause in seconds. `early` may answer a head before its body is read.
    """

    def __init__(
        self,
        answer: Callable[[Asked], Iterable[bytes | float | None]],
        early: Callable[[Asked], Iterable[bytes | float | None]] = lambda _: (),
    ) -> None:
        self.asked: list[Asked] = []
        self.sent = 0
        """Bytes that the system took."""
        self._lines: list[socket.socket] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def setup(self) -> None:
                super().setup()
                outer._lines.append(self.connection)

            def handle(self) -> None:
                try:
                    while line := self.rfile.readline():
                        if not self.one(line):
                            return
                except OSError:
                    return

            def one(self, line: bytes) -> bool:
                method, target, _ = line.decode().split(" ")
                raw = b""
                while (header := self.rfile.readline()) not in (b"\r\n", b""):
                    raw += header
                headers = {name.lower(): value for name, value in parse_headers(BytesIO(raw + b"\r\n")).items()}
                said = False
                for piece in early(Asked(method, target, headers, b"")):
                    said = True
                    if not self.say(piece):
                        return False
                asked = Asked(method, target, headers, self.rfile.read(int(headers.get("content-length", 0))))
                outer.asked.append(asked)
                return said or all(self.say(piece) for piece in answer(asked))

            def say(self, piece: bytes | float | None) -> bool:
                if piece is None:
                    return False
                if isinstance(piece, float):
                    time.sleep(piece)
                else:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    outer.sent += len(piece)
                return True

        class Threaded(socketserver.ThreadingTCPServer):
            daemon_threads = False  # closing waits for them
            allow_reuse_address = True

        self._server = Threaded(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Hang up, and leave no thread behind: DuckDB complains of threads that outlive the interpreter."""
        self._server.shutdown()
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()


def whole(body: bytes, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> list[bytes]:
    """Return a reply with a length."""
    return [f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{extra}content-length: {len(body)}\r\n\r\n".encode() + body]


def stream(pieces: list[bytes], *, end: bool = True, extra: str = "") -> list[bytes | None]:
    """Return a chunked event stream; without `end` the connection is cut instead."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{extra}transfer-encoding: chunked\r\n\r\n".encode()
    chunks: list[bytes | None] = [head, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)]
    return [*chunks, b"0\r\n\r\n"] if end else [*chunks, None]
