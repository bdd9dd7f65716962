"""The control plane as an ASGI app: pages for people, documents for programs. It only reads."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.dashboard import api, openapi
from penstock.dashboard.house import House, NotFoundError
from penstock.dashboard.overview import overview
from penstock.dashboard.prices import price_list
from penstock.dashboard.request import one_request
from penstock.dashboard.requests_ import explorer
from penstock.errors import InputError, PenstockError
from penstock.metering.event import utc_now
from penstock.pricing.catalog import Catalog

Endpoint = Callable[[Request], Awaitable[Response]]
Gather = Callable[[House, dict[str, str]], dict[str, Any]]

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def make_app(
    ledger_folder: Path,
    *,
    catalog: Catalog | None = None,
    info: dict[str, Any] | None = None,
    now: Callable[[], datetime] = utc_now,
) -> Starlette:
    """Make the app over a ledger's folder. `info["sandbox"]`: traffic may be invented, and the pages say so."""
    house = House(ledger_folder, catalog, info or {}, now)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        house.close()

    return Starlette(
        routes=[
            Route("/", _page(house, "overview.html", overview)),
            Route("/requests", _page(house, "requests.html", explorer)),
            Route("/requests/{request_id:path}", _request_page(house)),
            Route("/prices", _page(house, "prices.html", price_list)),
            Route("/api/requests", _json(house, api.get_requests)),
            Route("/api/requests/{request_id:path}", _request_json(house)),
            Route("/api/spend", _spend(house)),
            Route("/api/prices", _json(house, api.get_prices)),
            Route("/api/health", _json(house, lambda house, _fields: api.get_health(house))),
            Route("/api/openapi.json", _json(house, lambda _house, _fields: openapi.document())),
            Mount("/static", _Kept(directory=str(files("penstock.dashboard") / "static"))),
        ],
        exception_handlers={PenstockError: _told(house), HTTPException: _told(house)},
        middleware=[Middleware(_Guarded)],
        lifespan=lifespan,
    )


def _page(house: House, template: str, gather: Gather) -> Endpoint:
    async def show(request: Request) -> Response:
        fields = dict(request.query_params)
        page = await house.ask(lambda: house.render(template, base_url=str(request.base_url), **gather(house, fields)))
        return _html(page)

    return show


def _request_page(house: House) -> Endpoint:
    async def show(request: Request) -> Response:
        request_id = request.path_params["request_id"]
        return _html(await house.ask(lambda: house.render("request.html", **one_request(house, request_id))))

    return show


def _json(house: House, gather: Gather) -> Endpoint:
    async def answer(request: Request) -> Response:
        fields = dict(request.query_params)
        return _document(await house.ask(lambda: api.encode(gather(house, fields))))

    return answer


def _request_json(house: House) -> Endpoint:
    async def answer(request: Request) -> Response:
        request_id = request.path_params["request_id"]
        return _document(await house.ask(lambda: api.encode(api.get_request(house, request_id))))

    return answer


def _spend(house: House) -> Endpoint:
    async def answer(request: Request) -> Response:
        kind, body = await house.ask(api.get_spend, house, dict(request.query_params))
        return Response(body, media_type=kind)

    return answer


def _told(house: House) -> Callable[[Request, Exception], Response]:
    """Answer an error with its sentence: to programs as a document, to people as a page."""

    def answer(request: Request, error: Exception) -> Response:
        match error:
            case HTTPException():
                status, code, sentence = error.status_code, "not_found", f"There is no page {request.url.path[:200]!r}."
                if status != 404:
                    code, sentence = "refused", error.detail
            case NotFoundError():
                status, code, sentence = 404, error.code, str(error)
            case InputError():
                status, code, sentence = 400, error.code, str(error)
            case PenstockError():
                status, code, sentence = 503, error.code, str(error)
            case _:
                raise error
        if request.url.path.startswith("/api/"):
            return _document(api.encode({"error": {"code": code, "message": sentence}}), status)
        heading = {404: "Not found", 400: "That does not work"}.get(status, "The page cannot be shown")
        return _html(house.render("error.html", here="", heading=heading, sentence=sentence), status)

    return answer


def _html(page: str, status: int = 200) -> Response:
    return Response(page, status, {"cache-control": "no-store"}, media_type="text/html")


def _document(body: bytes, status: int = 200) -> Response:
    return Response(body, status, {"cache-control": "no-store"}, media_type="application/json")


class _Kept(StaticFiles):
    """Static files; their address holds the version, so browsers may keep them."""

    def file_response(self, *values: Any, **named: Any) -> Response:
        response = super().file_response(*values, **named)
        response.headers["cache-control"] = "public, max-age=86400"
        return response


class _Guarded:
    """Adds to every reply what tells browsers to load nothing from elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)
