"""The control plane as an ASGI app: pages for people, documents for programs. It reads, but for keys and metrics."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from msgspec import Struct
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.dashboard import (
    api,
    budgets,
    business_metrics,
    condition,
    followups,
    keys,
    openapi,
    outlook,
    plan,
    recommendations,
    reports,
    savings,
)
from penstock.dashboard.asked import FORM, FURTHER, PERIODS, Asked, asked, kept
from penstock.dashboard.documents import encode
from penstock.dashboard.doorkeeper import ADMIN_NEEDED, Access, Doorkeeper, Show, Visitor, for_programs, own_path
from penstock.dashboard.house import PATIENCE, House, NotFoundError, checked
from penstock.dashboard.known import known_values
from penstock.dashboard.metrics import beside, scrape
from penstock.dashboard.page import Page, Told
from penstock.dashboard.pages import PAGES
from penstock.dashboard.request import one_request
from penstock.dashboard.runs import one_run
from penstock.dashboard.scheduled import preview
from penstock.dashboard.statement import PAGE as STATEMENT
from penstock.dashboard.statement_pdf import statement_pdf
from penstock.errors import InputError, PenstockError
from penstock.ledger.exporters.totals import Totals
from penstock.metering.event import utc_now
from penstock.pricing.catalog import Catalog

Endpoint = Callable[[Request], Awaitable[Response]]
Gather = Callable[[House, dict[str, str]], dict[str, Any]]

LONGEST_BODY = 65_536
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
LETTER_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of a scheduled report's preview: it holds styles, and nothing that runs or loads."""


def make_app(
    ledger_folder: Path,
    *,
    catalog: Catalog | None = None,
    info: dict[str, Any] | None = None,
    now: Callable[[], datetime] = utc_now,
    access: Access | None = None,
    patience: float = PATIENCE,
) -> Starlette:
    """Make the app over a ledger's folder. `info["sandbox"]`: traffic may be invented, and the pages say so.

    `access` says where the pages are and who must sign in; without it they are taken to be on this machine alone.
    A page waits for `patience` seconds for what is made beside it.
    """
    house = House(ledger_folder, catalog, info or {}, now, pages=PAGES, patience=patience)
    totals = Totals(house.ledger, beside(house).settings)
    access = access or Access()
    door = Doorkeeper(ledger_folder, access, _shown(house))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        house.prepare()
        yield
        door.close()
        totals.close()
        house.close()

    return Starlette(
        routes=[
            *(Route(page.path, _page(house, page, scheme="https" if access.tls else "http")) for page in PAGES),
            *(Route(page.path, _acted(house, page), methods=["POST"]) for page in PAGES if page.act is not None),
            Route("/requests/{request_id:path}", _one_page(house, "request.html", one_request)),
            Route("/runs/{run:path}", _one_page(house, "run.html", one_run)),
            Route("/chargeback/statement.pdf", _statement_pdf(house)),
            Route("/figures/{page}/{figure}.csv", _figure(house)),
            Route("/scheduled/{name:path}", _letter_page(house)),
            Route("/api/requests", _json(house, api.get_requests)),
            Route("/api/requests/{request_id:path}", _request_json(house)),
            Route("/api/spend", _spend(house)),
            Route("/api/reports/change", _json(house, reports.get_change)),
            Route("/api/reports/chargeback", _json(house, reports.get_chargeback)),
            Route("/api/reports/errors", _json(house, reports.get_errors)),
            Route("/api/reports/latency", _json(house, reports.get_latency)),
            Route("/api/reports/ptu", _json(house, reports.get_ptu)),
            Route("/api/reports/reconcile", _json(house, reports.get_reconcile)),
            Route("/api/reports/runs", _json(house, reports.get_runs)),
            Route("/api/reports/unit", _json(house, reports.get_unit)),
            Route("/api/reports/tokens", _json(house, reports.get_tokens)),
            Route("/api/business-metrics", _json(house, business_metrics.get_metrics)),
            Route(
                "/api/business-metrics",
                _done(
                    house,
                    lambda house, act: business_metrics.put_metrics(house, act.body),
                    longest=business_metrics.LONGEST_BODY,
                ),
                methods=["POST"],
            ),
            Route("/api/anomalies", _json(house, outlook.get_anomalies)),
            Route("/api/forecast", _json(house, outlook.get_forecast)),
            Route("/api/savings", _json(house, outlook.get_savings)),
            Route("/api/keys", _json(house, lambda house, _fields: keys.get_keys(house))),
            Route("/api/keys", _done(house, lambda house, act: keys.make_key(house, act.body), 201), methods=["POST"]),
            Route(
                "/api/keys/{id}/rotate",
                _done(house, lambda house, act: keys.rotate_key(house, act.name, act.body)),
                methods=["POST"],
            ),
            Route(
                "/api/keys/{id}/revoke",
                _done(house, lambda house, act: keys.revoke_key(house, act.name, act.body)),
                methods=["POST"],
            ),
            Route("/api/budgets", _json(house, budgets.get_budgets)),
            Route(
                "/api/budgets/freeze",
                _done(house, lambda house, act: budgets.freeze(house, act.body)),
                methods=["POST"],
            ),
            Route(
                "/api/budgets/unfreeze",
                _done(house, lambda house, act: budgets.unfreeze(house, act.body)),
                methods=["POST"],
            ),
            Route("/api/savings/realised", _json(house, savings.get_realised)),
            Route("/api/condition", _json(house, condition.get_condition)),
            Route("/api/plan/{calculator}", _plan(house)),
            Route("/api/recommendations", _json(house, recommendations.get_recommendations)),
            Route("/api/followups", _json(house, followups.get_followups)),
            Route(
                "/api/followups",
                _done(house, lambda house, act: followups.add_followup(house, act.body, act.who), 201),
                methods=["POST"],
            ),
            Route("/api/prices", _json(house, api.get_prices)),
            Route("/api/health", _json(house, lambda house, _fields: api.get_health(house))),
            Route("/api/openapi.json", _json(house, lambda _house, _fields: openapi.document())),
            Route("/metrics", _metrics(house, totals)),
            Mount("/static", _Kept(directory=str(files("penstock.dashboard") / "static"))),
        ],
        exception_handlers={PenstockError: _told(house), HTTPException: _told(house)},
        middleware=[Middleware(_Guarded), Middleware(_AtTheDoor, door=door)],
        lifespan=lifespan,
    )


def _page(house: House, page: Page, *, scheme: str) -> Endpoint:
    def shown(request: Request) -> tuple[str, bool]:
        question = _question(house, page, request)
        found = page.gather(house, question)
        said = house.render(
            page.template, page=page, asked=question, here=page.path, shown=found,
            kept={} if page.alone else question.kept,
            known=known_values(house) if page.filters else {}, span=house.ledger.moment().span(),
            form_names=FORM, more_names=FURTHER, period_names=PERIODS,
            base_url=str(request.base_url.replace(scheme=scheme)),
            visitor=request.scope.get("visitor"), **found.more,
        )  # fmt: skip
        return said, found.pending

    async def show(request: Request) -> Response:
        said, pending = await house.ask(shown, request)
        response = _html(said)
        if pending:
            response.headers["refresh"] = "2"
        return response

    return show


def _question(house: House, page: Page, request: Request) -> Asked:
    fields = dict(request.query_params)
    if page.alone:
        return replace(asked(page.path, {}, house.now()), fields=checked(fields, page.own))
    return asked(page.path, fields, house.now(), page.own)


def _figure(house: House) -> Endpoint:
    """Answer the rows behind a figure as CSV: the page's own question, and its own answer."""

    def rows(request: Request) -> str:
        page = next((page for page in PAGES if page.slug == request.path_params["page"]), None)
        if page is None:
            raise NotFoundError(f"There is no page {request.path_params['page'][:200]!r}.")
        question = _question(house, page, request)
        while (found := page.gather(house, question)).pending:
            time.sleep(0.1)
        name = request.path_params["figure"]
        figure = next((figure for figure in found.figures if figure.name == name), None)
        if figure is None:
            names = ", ".join(figure.name for figure in found.figures)
            raise NotFoundError(f"The page has no figure {name[:200]!r}: there are {names}.")
        return figure.csv()

    async def answer(request: Request) -> Response:
        return Response(
            await house.ask(rows, request), 200, {"cache-control": "no-store"}, media_type="text/csv; charset=utf-8"
        )

    return answer


def _statement_pdf(house: House) -> Endpoint:
    def made(request: Request) -> bytes:
        fields = dict(request.query_params)
        return statement_pdf(house, asked(STATEMENT.path, fields, house.now(), STATEMENT.own))

    async def answer(request: Request) -> Response:
        return Response(
            await house.ask(made, request), 200, {"cache-control": "no-store"}, media_type="application/pdf"
        )

    return answer


def _one_page(house: House, template: str, gather: Callable[[House, str], dict[str, Any]]) -> Endpoint:
    """Show the page of one thing, whose name is the end of the address."""

    async def show(request: Request) -> Response:
        [name] = request.path_params.values()
        who, along = request.scope.get("visitor"), kept(dict(request.query_params))
        return _html(await house.ask(lambda: house.render(template, visitor=who, kept=along, **gather(house, name))))

    return show


def _letter_page(house: House) -> Endpoint:
    """Show a scheduled report as it is sent; its styles are inline, as mail programs want them."""

    async def show(request: Request) -> Response:
        name, fields = request.path_params["name"], dict(request.query_params)
        page = _html(await house.ask(lambda: preview(house, name, fields)))
        page.headers["content-security-policy"] = LETTER_POLICY
        return page

    return show


def _json(house: House, gather: Gather) -> Endpoint:
    async def answer(request: Request) -> Response:
        fields = dict(request.query_params)
        return _document(await house.ask(lambda: encode(gather(house, fields))))

    return answer


def _request_json(house: House) -> Endpoint:
    async def answer(request: Request) -> Response:
        request_id = request.path_params["request_id"]
        return _document(await house.ask(lambda: encode(api.get_request(house, request_id))))

    return answer


def _plan(house: House) -> Endpoint:
    async def answer(request: Request) -> Response:
        name, fields = request.path_params["calculator"], dict(request.query_params)
        return _document(await house.ask(lambda: encode(plan.get_plan(house, name, fields))))

    return answer


def _spend(house: House) -> Endpoint:
    async def answer(request: Request) -> Response:
        kind, body = await house.ask(api.get_spend, house, dict(request.query_params))
        return Response(body, media_type=kind)

    return answer


def _metrics(house: House, totals: Totals) -> Endpoint:
    async def answer(request: Request) -> Response:
        body, kind = await house.ask(scrape, house, totals, request.headers.get("accept", ""))
        return Response(body, headers={"cache-control": "no-store", "vary": "accept", "content-type": kind})

    return answer


class Act(Struct, frozen=True):
    """What a program asks to be done."""

    name: str
    """Of what it is about, as the path has it."""
    body: bytes
    who: str
    """The name of the admin's key."""


def _done(
    house: House, act: Callable[[House, Act], dict[str, Any]], status: int = 200, *, longest: int = LONGEST_BODY
) -> Endpoint:
    async def answer(request: Request) -> Response:
        visitor: Visitor | None = request.scope["visitor"]
        if visitor is None or visitor.key.role != "admin":
            return _document(_error(ADMIN_NEEDED.code, ADMIN_NEEDED.sentence), ADMIN_NEEDED.status)
        asked_for = Act(request.path_params.get("id", ""), await _body(request, longest), visitor.key.name)
        return _document(await house.ask(lambda: encode(act(house, asked_for))), status)

    return answer


def _acted(house: House, page: Page) -> Endpoint:
    """Do what a page's form asks for, and lead back to the page."""
    act = page.act
    assert act is not None

    async def answer(request: Request) -> Response:
        visitor: Visitor | None = request.scope["visitor"]
        if visitor is None or visitor.key.role != "admin":
            said = house.render(
                "error.html", here=page.path, heading="Not allowed", sentence=ADMIN_NEEDED.sentence, back=page
            )
            return _html(said, ADMIN_NEEDED.status)
        text = (await _body(request)).decode("utf-8", "replace")
        form = {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
        done = await house.ask(act, house, form, visitor.key.name)
        if isinstance(done, Told):
            along = {"here": page.path, "page": page, "visitor": visitor}
            return _html(await house.ask(lambda: house.render(done.template, **along, **done.values)))
        return RedirectResponse(own_path(done), 303)

    return answer


async def _body(request: Request, longest: int = LONGEST_BODY) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > longest:
            raise InputError(f"The body is longer than {longest:,} bytes.")
    return body


def _shown(house: House) -> Show:
    """Make what the door answers with: a page; without a template, a refusal for people or for programs."""

    def show(template: str, status: int, values: dict[str, Any]) -> Response:
        if template:
            return _html(house.render(template, here="", pages=(), **values), status)
        if for_programs(values["path"]):
            return _document(_error(values["code"], values["sentence"]), status)
        page = house.render(
            "error.html", here="", pages=(), heading="Not open", sentence=values["sentence"], back=PAGES[0]
        )
        return _html(page, status)

    return show


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
        if for_programs(request.url.path):
            return _document(_error(code, sentence), status)
        heading = {404: "Not found", 400: "That does not work"}.get(status, "The page cannot be shown")
        back = next((page for page in PAGES if page.listed and page.path == request.url.path), PAGES[0])
        return _html(house.render("error.html", here="", heading=heading, sentence=sentence, back=back), status)

    return answer


def _error(code: str, sentence: str) -> bytes:
    return encode({"error": {"code": code, "message": sentence}})


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


class _AtTheDoor:
    """Asks the doorkeeper first."""

    def __init__(self, app: ASGIApp, door: Doorkeeper) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (answer := await self._door.answer(Request(scope, receive))) is not None:
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _Guarded:
    """Adds to every reply what tells browsers to load nothing from elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)
