"""Who may look: sign-in with a session cookie for people, `Authorization` for programs, and the rules for both."""

import asyncio
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from penstock.ledger.state import STATE_FILE, State
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import MARK, VirtualKey

LOOKERS = ("viewer", "admin")
COOKIE = "penstock_session"
SESSION_SECONDS = 12 * 3600
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
ALWAYS_OPEN = ("/api/health", SIGN_IN, SIGN_OUT)
LONGEST_FORM = 4_096
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
WRONG_SECONDS = 1.0
"""A wrong key is answered this much later. A right one never waits, so nobody can lock others out."""
MOST_WRONG = 16
"""Wrong keys that may wait for their answer at a time; more are turned away at once."""


class Access(Struct, frozen=True, kw_only=True):
    """Where the pages are, and what the settings say of signing in."""

    local: bool = True
    """Only this machine reaches the server."""
    sign_in: bool | None = None
    """`[keys] sign_in`."""
    tls: bool = False


class Visitor(Struct, frozen=True):
    """Who looks."""

    key: VirtualKey
    number: int
    """Of the secret that was shown."""


class Refusal(Struct, frozen=True):
    """Why somebody may not."""

    status: int
    code: str
    sentence: str


ADMIN_NEEDED = Refusal(
    403, "admin_needed", "This takes a key of the role admin; make one with: penstock keys create NAME --role admin"
)

Show = Callable[[str, int, dict[str, Any]], Response]
"""Makes a page: template, status, values."""

NO_KEY_YET = (
    "These pages can be reached from other machines, and nobody has a key to sign in with yet. "
    "Make one on the server: penstock keys create NAME --role admin"
)
ELSEWHERE = "This was sent by a page of another site, so it is not done."


class Doorkeeper:
    """Lets those in who may look."""

    def __init__(self, folder: Path, access: Access, show: Show) -> None:
        self._access, self._show = access, show
        self._state = State(folder / STATE_FILE)  # of its own: no question of a page makes it wait
        self._store = KeyStore(self._state)
        self._signing_key = signing_key(folder)
        self._wrong = 0

    async def answer(self, request: Request) -> Response | None:
        """Refuse or answer; None: let it pass, with the visitor (or None) in `scope["visitor"]`."""
        request.scope["visitor"] = None
        path = request.url.path
        if request.method not in SAFE and from_elsewhere(request):
            return self._refused(request, Refusal(403, "from_elsewhere", ELSEWHERE))
        if path == SIGN_IN:
            return await self._sign_in(request)
        if path == SIGN_OUT and request.method == "POST":
            return self._leave(RedirectResponse("/", 303))
        if path in ALWAYS_OPEN or path.startswith("/static/"):
            return None
        visitor = self._visitor(request)
        if isinstance(visitor, Refusal):
            return await self._wrong_key(request, visitor)
        request.scope["visitor"] = visitor
        if request.method not in SAFE and visitor is not None and visitor.key.role != "admin":
            return self._refused(request, ADMIN_NEEDED)
        if visitor is not None or not self._guarded():
            return None
        if not self._store.has(LOOKERS):
            return self._refused(request, Refusal(403, "no_key_yet", NO_KEY_YET))
        if for_programs(path):
            sentence = "Send a key of the role viewer or admin: Authorization: Bearer psk_..."
            return self._refused(request, Refusal(401, "sign_in_needed", sentence))
        below = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{SIGN_IN}?next={quote(below, safe='')}" if below != "/" else SIGN_IN, 303)

    def _guarded(self) -> bool:
        if self._access.sign_in is not None:
            return self._access.sign_in
        return not self._access.local or self._store.has(LOOKERS)

    def _visitor(self, request: Request) -> Visitor | Refusal | None:
        scheme, _, secret = request.headers.get("authorization", "").strip().partition(" ")
        if scheme.lower() == "bearer" and secret.strip().startswith(MARK.decode()):  # others are a proxy's business
            return self._owner(secret.strip())
        number = self._session(request.headers.get("cookie", ""))
        found = self._store.still(number) if number else None
        return Visitor(found[0], number) if found and found[0].role in LOOKERS else None

    def _owner(self, secret: str) -> Visitor | Refusal:
        found = self._store.who(secret.encode())
        if found is None:
            return Refusal(401, "key_unknown", "This key is not known here, or it has ended.")
        if found[0].role not in LOOKERS:
            sentence = "This key is for AI calls. To look, make one with: penstock keys create NAME --role viewer"
            return Refusal(403, "key_for_calls", sentence)
        return Visitor(found[0], found[1].number)

    # Signing in and out

    async def _sign_in(self, request: Request) -> Response:
        if request.method in SAFE:
            following = own_path(request.query_params.get("next", "/"))
            if self._guarded() and not self._store.has(LOOKERS):
                return self._refused(request, Refusal(403, "no_key_yet", NO_KEY_YET))
            return self._form(following, "", 200)
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST_FORM:
                return self._form("/", "That is too long to be a key.", 413)
        fields = {name: values[-1] for name, values in parse_qs(body.decode("latin-1")).items()}
        following = own_path(fields.get("next", "/"))
        owner = self._owner(fields.get("key", "").strip())
        if isinstance(owner, Refusal):
            return await self._wrong_key(request, owner, following)
        response = RedirectResponse(following, 303)
        response.set_cookie(
            COOKIE, self._signed(owner.number), max_age=SESSION_SECONDS, path="/", secure=self._access.tls,
            httponly=True, samesite="strict",
        )  # fmt: skip
        return response

    async def _wrong_key(self, request: Request, why: Refusal, following: str | None = None) -> Response:
        """Answer a wrong key, slowly."""
        if self._wrong >= MOST_WRONG:
            response = self._refused(
                request, Refusal(429, "too_many_wrong_keys", "Too many wrong keys; wait a moment.")
            )
            response.headers["retry-after"] = "2"
            return response
        self._wrong += 1
        try:
            await asyncio.sleep(WRONG_SECONDS)
        finally:
            self._wrong -= 1
        return self._refused(request, why) if following is None else self._form(following, why.sentence, why.status)

    def _form(self, following: str, problem: str, status: int) -> Response:
        return self._show("sign_in.html", status, {"following": following, "problem": problem})

    def _leave(self, response: Response) -> Response:
        response.delete_cookie(COOKIE, path="/", secure=self._access.tls, httponly=True, samesite="strict")
        return response

    def _refused(self, request: Request, why: Refusal) -> Response:
        response = self._show("", why.status, {"code": why.code, "sentence": why.sentence, "path": request.url.path})
        if why.status == 401:
            response.headers["www-authenticate"] = "Bearer"
        return response

    # Sessions: the number of the secret that was shown, an end, and a signature

    def _signed(self, number: int) -> str:
        said = f"{number}.{int(time.time()) + SESSION_SECONDS}.{secrets.token_hex(8)}"
        return f"{said}.{self._signature(said)}"

    def _session(self, header: str) -> int:
        """Return the number of the secret that a good session was opened with; 0: there is none."""
        try:
            cookie = SimpleCookie(header).get(COOKIE)
        except CookieError:
            return 0
        said, _, signature = (cookie.value if cookie else "").rpartition(".")
        if not said or not hmac.compare_digest(signature.encode(), self._signature(said).encode()):
            return 0
        number, end, _ = said.split(".")
        return int(number) if int(end) > time.time() else 0

    def _signature(self, said: str) -> str:
        return hmac.new(self._signing_key, said.encode(), hashlib.sha256).hexdigest()

    def close(self) -> None:
        """Let go of the file."""
        self._state.close()


def for_programs(path: str) -> bool:
    """Tell whether programs ask for this path: they are told in a document what is wrong, and never sent to a form."""
    return path.startswith("/api/") or path == "/metrics"


def from_elsewhere(request: Request) -> bool:
    """Tell whether a page of another site sent this. Browsers say where a form comes from; programs need not."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")


def own_path(path: str) -> str:
    """Return where to go next: a path here, never another site."""
    fine = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if fine and not path.startswith((SIGN_IN, SIGN_OUT)) else "/"


def signing_key(folder: Path) -> bytes:
    """Return what sessions are signed with: 256 random bits in a file that only its owner can read."""
    file = folder / "session-key"
    try:
        if file.stat().st_mode & 0o077 == 0 and len(key := file.read_bytes()) == 32:
            return key
        file.unlink()
    except OSError:
        pass
    part = folder / f"session-key.{os.getpid()}.part"
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:  # noqa: PTH123  # with a mode
        out.write(secrets.token_bytes(32))
    try:
        os.link(part, file)  # the first of two processes wins
    except FileExistsError:
        pass
    finally:
        part.unlink()
    return file.read_bytes()
