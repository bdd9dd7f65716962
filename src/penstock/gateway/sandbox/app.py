"""The sandbox as an ASGI app: plain ASGI without a framework, so that it is faster than what is tested with it."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from penstock.gateway.sandbox.control import Control
from penstock.gateway.sandbox.desk import Desk, embeddings, model_list, wire_of
from penstock.gateway.sandbox.failures import Failed, shape
from penstock.gateway.sandbox.line import EVENTS, JSON, Headers, Line, Message, Receive, Send, manners
from penstock.gateway.sandbox.routes import Route, route
from penstock.gateway.sandbox.settings import SandboxSettings
from penstock.gateway.sandbox.streaming import Stream
from penstock.gateway.sandbox.tokens import count_request

App = Callable[[Message, Receive, Send], Awaitable[None]]


def make_app(settings: SandboxSettings | None = None) -> App:
    """Make a sandbox with a bill of its own."""
    desk = Desk(settings or SandboxSettings())

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(desk, scope, Line(scope, receive, send)).run()
        elif scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                while (await receive())["type"] != f"lifespan.{step}":
                    pass
                await send({"type": f"lifespan.{step}.complete"})

    return app


class _Exchange:
    """One request and its reply."""

    def __init__(self, desk: Desk, scope: Message, line: Line) -> None:
        self._desk, self._line = desk, line
        self._method: str = scope["method"]
        self._path: str = scope["path"]
        self._query: bytes = scope["query_string"]
        self._began = time.perf_counter()
        found = route(self._path, anthropic=bool(line.header(b"anthropic-version")))
        self._route = found or Route("openai", what="nothing")

    async def run(self) -> None:
        try:
            await self._answer(await self._line.read(self._desk.settings.body_limit))
        except Failed as failed:
            await self._fail(failed)
        finally:
            self._line.hang_up()

    async def _answer(self, raw: bytes) -> None:
        match self._route.what:
            case "nothing":
                raise Failed("404", f"There is nothing at {self._path}.")
            case "bill":
                await self._bill()
            case "models":
                self._check_key()
                anthropic = self._route.dialect == "anthropic"
                await self._reply(200, model_list(self._route.deployment, anthropic=anthropic))
            case "count":
                self._check_form()
                await self._count(raw)
            case _:
                self._check_form()
                await self._work(self._desk.decode(raw), raw)

    async def _work(self, body: dict[str, Any], raw: bytes) -> None:
        """Do what is billed, or what goes wrong with it."""
        name = str(self._route.deployment or body.get("model"))
        anthropic = self._route.dialect == "anthropic"
        control = self._desk.control(self._line.header(b"x-sandbox"), name, anthropic=anthropic)
        if control.error:
            raise Failed(control.error, retry_after=control.retry_after)
        if self._desk.bill.full:
            raise Failed("507")
        if self._route.flavour == "openai.embeddings":
            await self._embed(body, raw, control)
        else:
            await self._generate(body, raw, control)

    async def _generate(self, body: dict[str, Any], raw: bytes, control: Control) -> None:
        desk, line = self._desk, self._line
        ask = desk.ask(self._route, body)
        owner = line.header(b"authorization") or line.header(b"x-api-key") or line.header(b"api-key")
        call = desk.call(self._route, self._path, ask, control, owner=owner, raw=raw)
        wire = wire_of(call)
        first, each = self._pace(control)
        if await self._lost(control, first):
            return
        client_id = line.header(b"x-client-request-id")
        if call.stream:
            await line.start(200, [*EVENTS, *self._manners(call.request_id)])
            await Stream(desk, line, call, wire, client_id).run(each)
        elif not await line.wait(each * call.metered.output):
            desk.charge(call, wire, call.metered, client_id)
            desk.remember(call, wire)
            await self._reply(200, wire.body(), call.request_id)

    async def _embed(self, body: dict[str, Any], raw: bytes, control: Control) -> None:
        desk = self._desk
        model = desk.model(self._route.deployment or body.get("model"), "embeddings")
        document, tokens = embeddings(model, body, raw)
        if await self._lost(control, self._pace(control)[0]):
            return
        if control.usage != "none":
            document["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        number = desk.new_id()
        client_id = self._line.header(b"x-client-request-id")
        desk.charge_embedding(model, self._route, path=self._path, number=number, tokens=tokens, client_id=client_id)
        await self._reply(200, document, f"req_{number}")

    async def _count(self, raw: bytes) -> None:
        asked = msgspec.structs.replace(self._route, flavour="anthropic.messages")
        ask = self._desk.ask(asked, {"max_tokens": 1} | self._desk.decode(raw))
        await self._reply(200, {"input_tokens": count_request(ask.flavour, ask.model.name, raw)})

    async def _lost(self, control: Control, first: float) -> bool:
        """Wait for the first token; True: there is nobody left to answer, and nothing to bill."""
        stall = control.stall if control.after < 0 else 0
        if await self._line.wait(first + stall):
            return True
        if control.cut == "head":
            await self._line.cut()
            return True
        return False

    def _pace(self, control: Control) -> tuple[float, float]:
        """Return seconds to the first token, and between two."""
        settings = self._desk.settings
        first = settings.first_token_ms if control.first_ms < 0 else control.first_ms
        each = settings.token_ms if control.token_ms < 0 else control.token_ms
        return first / 1000, each / 1000

    def _check_form(self) -> None:
        """Check what a call needs before its body is looked at."""
        self._check_key()
        if self._method != "POST":
            raise Failed("405")
        if self._route.deployment and b"api-version=" not in self._query:
            raise Failed("404", "The query names no api-version.")
        if self._route.dialect == "anthropic" and not self._line.header(b"anthropic-version"):
            raise Failed("400", "The header anthropic-version is missing.")

    def _check_key(self) -> None:
        wanted = self._desk.settings.api_key
        bearer = self._line.header(b"authorization").removeprefix("Bearer ")
        if wanted and wanted not in (bearer, self._line.header(b"x-api-key"), self._line.header(b"api-key")):
            raise Failed("401")

    async def _bill(self) -> None:
        if self._method == "DELETE":
            self._desk.bill.entries.clear()
        elif self._method != "GET":
            raise Failed("405")
        await self._reply(200, self._desk.bill.document())

    async def _fail(self, failed: Failed) -> None:
        number = f"req_{self._desk.new_id()}"
        answered = shape(failed, self._route.dialect, number)
        wait = [(b"retry-after", f"{failed.retry_after:g}".encode())] if answered.status in (429, 503) else []
        await self._reply(answered.status, answered.body, number, wait)

    async def _reply(
        self, status: int, document: dict[str, Any], request_id: str = "", extra: Headers | None = None
    ) -> None:
        body = msgspec.json.encode(document)
        length = (b"content-length", str(len(body)).encode())
        number = request_id or f"req_{self._desk.new_id()}"
        await self._line.start(status, [*JSON, length, *self._manners(number), *(extra or ())])
        await self._line.body(body)

    def _manners(self, request_id: str) -> Headers:
        took = int((time.perf_counter() - self._began) * 1000)
        return manners(self._route.dialect, request_id, took)
