"""From a request to a call with its answer: everything but the network."""

import hashlib
import os
import time
from collections import OrderedDict
from typing import Any

import msgspec

from penstock.errors import InputError
from penstock.gateway.sandbox import ask as asks
from penstock.gateway.sandbox.answer import answer, tokens_of
from penstock.gateway.sandbox.ask import Ask
from penstock.gateway.sandbox.bill import Bill, BillEntry
from penstock.gateway.sandbox.caches import PromptCache
from penstock.gateway.sandbox.call import Call, Wire
from penstock.gateway.sandbox.control import Control, Mishaps
from penstock.gateway.sandbox.failures import Failed
from penstock.gateway.sandbox.models import MODELS, Model, find
from penstock.gateway.sandbox.prices import Metered, cost, sells
from penstock.gateway.sandbox.routes import Route
from penstock.gateway.sandbox.settings import SandboxSettings
from penstock.gateway.sandbox.tokens import count_request, count_text
from penstock.gateway.sandbox.vectors import embed, encoded
from penstock.gateway.sandbox.wire_chat import ChatWire
from penstock.gateway.sandbox.wire_completions import CompletionsWire
from penstock.gateway.sandbox.wire_messages import MessagesWire
from penstock.gateway.sandbox.wire_responses import ResponsesWire

_HISTORIES = 1_000
"""Responses remembered for `previous_response_id`."""


class Desk:
    """Holds what outlives a call: the bill, the prompt cache, the conversations, the mishaps."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.bill = Bill(settings.bill_limit)
        self._cache = PromptCache()
        self._mishaps = Mishaps(settings)
        self._histories: OrderedDict[str, list[Any]] = OrderedDict()
        self._start = os.urandom(8)
        self._count = 0

    def new_id(self) -> str:
        """Return 24 hex digits that no other call has."""
        self._count += 1
        return hashlib.blake2b(self._count.to_bytes(8), key=self._start, digest_size=12).hexdigest()

    def control(self, header: str, name: str, *, anthropic: bool) -> Control:
        """Decide what goes wrong with a call."""
        try:
            return self._mishaps.decide(header, name, anthropic=anthropic)
        except InputError as error:
            raise Failed("400", str(error)) from error

    def decode(self, raw: bytes) -> dict[str, Any]:
        """Read a request's body."""
        try:
            body = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Failed("400", f"The body is not JSON: {error}.") from error
        if not isinstance(body, dict):
            raise Failed("400", "The body must be a JSON object.")
        return body

    def model(self, name: Any, kind: str) -> Model:
        """Find the model that a name or a deployment stands for."""
        found = find(self.settings.deployments.get(str(name), str(name)))
        if found is None or (found.vendor == "anthropic") is not (kind == "messages"):
            raise Failed("404", f"There is no model {name!r} here.", code="model_not_found", param="model")
        if found.kind != {"embeddings": "embedding", "completions": "completion"}.get(kind, "chat"):
            raise Failed("400", f"{found.name} does not work at this endpoint.", param="model")
        return found

    def ask(self, route: Route, body: dict[str, Any]) -> Ask:
        """Read what is asked."""
        flavour = route.flavour or ""
        model = self.model(route.deployment or body.get("model"), flavour.partition(".")[2])
        if body.get("stream_options") and not body.get("stream"):
            raise Failed("400", "stream_options needs stream to be true.", param="stream_options")
        try:
            match flavour:
                case "openai.chat":
                    return asks.from_chat(body, model)
                case "openai.completions":
                    return asks.from_completions(body, model)
                case "openai.responses":
                    return asks.from_responses(body, model, self._history(body))
                case _:
                    if not isinstance(body.get("max_tokens"), int):
                        raise Failed("400", "max_tokens is missing.")
                    return asks.from_messages(body, model)
        except (KeyError, TypeError, AttributeError) as error:
            raise Failed("400", f"The request has not the form of this endpoint ({error}).") from error

    def tier(self, route: Route, model: Model, wanted: Any) -> str:
        """Say which service tier serves: what is not sold is served as usual, but for flex; on Azure, none is."""
        asked = {"fast": "priority", "auto": "default", None: "default"}.get(wanted, wanted)
        sold = route.dialect != "azure" and sells(model, str(asked))
        if asked == "flex" and not sold:
            raise Failed("400", f"{model.name} has no flex processing.", param="service_tier")
        return asked if sold else "default"

    def call(self, route: Route, path: str, ask: Ask, control: Control, *, owner: str, raw: bytes) -> Call:
        """Answer: count, read and fill the prompt cache, write the text."""
        model = ask.model
        prompt = count_request(ask.flavour, model.name, msgspec.json.encode(ask.body) if ask.recalled else raw)
        anthropic = route.dialect == "anthropic"
        read = self._cache.anthropic if anthropic else self._cache.openai
        place = f"{owner}/{ask.body.get('prompt_cache_key', '')}"
        metered = read(model, place, ask.segments, prompt, time.monotonic())
        answers = tuple(answer(ask, control, n) for n in range(max(1, min(ask.n, 128))))
        visible = sum(tokens_of(model.name, one.text, one.calls) for one in answers)
        thought = sum(count_text(model.name, one.thinking) for one in answers if one.thinking)
        hidden = thought + sum(one.reasoning for one in answers)
        metered = msgspec.structs.replace(metered, output=visible + hidden, reasoning=hidden)
        number = self.new_id()
        return Call(
            id=number, request_id=f"req_{number}", path=path, dialect=route.dialect, deployment=route.deployment,
            tier="standard" if anthropic else self.tier(route, model, ask.body.get("service_tier")),
            stream=bool(ask.body.get("stream")), created=int(time.time()), ask=ask, control=control, answers=answers,
            metered=metered,
        )  # fmt: skip

    def sent(self, call: Call, texts: list[list[str]]) -> Metered:
        """Return what a stream that ended early used: the prompt, and the answer as far as it was sent."""
        visible = [count_text(call.ask.model.name, "".join(parts)) for parts in texts if parts]
        hidden = sum(one.reasoning for one in call.answers) if visible else 0
        return msgspec.structs.replace(call.metered, output=sum(visible) + hidden, reasoning=hidden)

    def charge(self, call: Call, wire: Wire, metered: Metered, client_id: str, *, aborted: bool = False) -> None:
        """Put a call on the bill."""
        tier = "default" if call.tier == "standard" else call.tier
        entry = BillEntry(
            id=wire.reply_id, request_id=call.request_id, client_request_id=client_id, at=time.time(), path=call.path,
            model=call.ask.model.served, deployment=call.deployment, tier=call.tier, stream=call.stream,
            aborted=aborted, usage=wire.usage(metered), cost=format(cost(call.ask.model, tier, metered), "f"),
        )  # fmt: skip
        self.bill.entries.append(entry)

    def charge_embedding(
        self, model: Model, route: Route, *, path: str, number: str, tokens: int, client_id: str
    ) -> None:
        """Put a call for embeddings on the bill."""
        entry = BillEntry(
            id=f"emb_{number}", request_id=f"req_{number}", client_request_id=client_id, at=time.time(), path=path,
            model=model.served, deployment=route.deployment, tier="default", stream=False, aborted=False,
            usage={"prompt_tokens": tokens, "total_tokens": tokens},
            cost=format(cost(model, "default", Metered(input=tokens)), "f"),
        )  # fmt: skip
        self.bill.entries.append(entry)

    def remember(self, call: Call, wire: Wire) -> None:
        """Keep a response for the turn that refers to it."""
        if isinstance(wire, ResponsesWire):
            body = call.ask.body
            given = body.get("input")
            before = [{"role": "user", "content": given}] if isinstance(given, str) else list(given or ())
            self._histories[wire.reply_id] = [*before, *wire.items()]
            if len(self._histories) > _HISTORIES:
                self._histories.popitem(last=False)

    def _history(self, body: dict[str, Any]) -> list[Any]:
        before = body.get("previous_response_id")
        if not before:
            return []
        if before not in self._histories:
            raise Failed("400", f"There is no response {before!r}.", code="previous_response_not_found")
        return self._histories[before]


def wire_of(call: Call) -> Wire:
    """Choose the protocol of the reply."""
    match call.ask.flavour:
        case "openai.chat":
            return ChatWire(call)
        case "openai.completions":
            return CompletionsWire(call)
        case "openai.responses":
            return ResponsesWire(call)
        case _:
            return MessagesWire(call)


def embeddings(model: Model, body: dict[str, Any], raw: bytes) -> tuple[dict[str, Any], int]:
    """Return the vectors of the request's texts (or token lists), and the number of tokens in them."""
    given = body.get("input")
    if not given or not isinstance(given, str | list):
        raise Failed("400", "input is missing.", param="input")
    single = isinstance(given, str) or isinstance(given[0], int)
    texts = [text if isinstance(text, str) else repr(text) for text in ([given] if single else given)]
    size = min(int(body.get("dimensions") or model.dimensions), model.dimensions)
    packed = body.get("encoding_format") == "base64"
    vectors = (embed(text, size) for text in texts)
    numbers = [given] if isinstance(given[0], int) else [item for item in given if isinstance(item, list)]
    tokens = sum(map(len, numbers)) if numbers else count_request("openai.embeddings", model.name, raw)
    document = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": n, "embedding": encoded(vector) if packed else vector.tolist()}
            for n, vector in enumerate(vectors)
        ],
        "model": model.served,
    }
    return document, tokens


def model_list(name: str, *, anthropic: bool) -> dict[str, Any]:
    """Return the models, or one of them, in the manner of the provider."""
    shown: list[dict[str, Any]]
    if anthropic:
        shown = [
            {
                "type": "model", "id": model.served, "display_name": f"{model.name} (sandbox)",
                "created_at": "2026-01-01T00:00:00Z", "lifecycle": "active",
            }
            for model in MODELS if model.vendor == "anthropic"
        ]  # fmt: skip
    else:
        shown = [
            {"id": known, "object": "model", "created": 1_767_225_600, "owned_by": "penstock-sandbox"}
            for model in MODELS if model.vendor != "anthropic" for known in dict.fromkeys((model.name, model.served))
        ]  # fmt: skip
    if name:
        wanted = find(name)
        names = (name, wanted.served) if wanted else (name,)
        one = next((item for item in shown if item["id"] in names), None)
        if one is None:
            raise Failed("404", f"There is no model {name!r} here.")
        return one
    if anthropic:
        return {"data": shown, "has_more": False, "first_id": shown[0]["id"], "last_id": shown[-1]["id"]}
    return {"object": "list", "data": shown}
