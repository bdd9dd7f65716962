"""Mishaps on demand: the request header `x-sandbox: key=value;...`, and chance where the settings ask for it."""

import random
from typing import Literal

import msgspec
from msgspec import Struct

from penstock.errors import InputError
from penstock.gateway.sandbox.settings import SandboxSettings

Failure = Literal["", "400", "401", "404", "429", "500", "503", "529", "content_filter"]


class Control(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller wants to happen to this one call."""

    error: Failure = ""
    """Answer with this error instead; `content_filter` is Azure's 400 with an inner error."""
    retry_after: float = 1
    """Seconds to name in `retry-after` with a 429 or 503."""
    times: int = 0
    """Only the first so many calls that carry the same `id`; 0: every one."""
    id: str = ""
    only: str = ""
    """Only calls to this model or deployment, as the caller names it."""
    finish: Literal["", "content_filter", "refusal"] = ""
    """Stop half-way for this reason."""
    cut: Literal["", "head", "stream"] = ""
    """Close the connection before the head, or after `after` pieces of the stream."""
    event: Literal["", "error"] = ""
    """Send an error event after `after` pieces of the stream."""
    stall: float = 0
    """Be silent for so many seconds: before the head, or, with `after`, within the stream."""
    after: int = -1
    """Pieces of text to send first; 3 where a mishap needs a number and none is given."""
    usage: Literal["", "none", "wrong"] = ""
    """Report no usage, or one that contradicts itself."""
    tokens: int = -1
    """Length of the answer, in tokens."""
    reasoning: int = -1
    """Hidden tokens of a reasoning model."""
    calls: int = 0
    """Number of tool calls to ask for."""
    first_ms: float = -1
    token_ms: float = -1
    """Pace of this call instead of the settings'."""

    @property
    def stop_at(self) -> int:
        """Pieces after which the stream meets its mishap."""
        return 3 if self.after < 0 else self.after


PLAIN = Control()


def parse(header: str) -> Control:
    """Read the header; an unknown key or value is the caller's mistake."""
    fields = {}
    for part in filter(str.strip, header.split(";")):
        key, _, value = part.partition("=")
        fields[key.strip()] = value.strip()
    try:
        return msgspec.convert(fields, Control, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(Control.__struct_fields__)
        raise InputError(f"Header x-sandbox: {error}. Known keys: {known}.") from error


class Mishaps:
    """Decides what goes wrong with each call."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._dice = random.Random(settings.seed)  # noqa: S311 - repeatable by design, guards nothing
        self._seen: dict[str, int] = {}

    def decide(self, header: str, name: str, *, anthropic: bool) -> Control:
        """Return what shall happen to a call to the model or deployment `name`."""
        if header:
            control = parse(header)
            if (control.only and control.only != name) or self._used_up(control):
                return PLAIN
            return control
        settings = self._settings
        if not settings.error_rate and not settings.rate_limit_rate:
            return PLAIN
        roll = self._dice.random()
        if roll < settings.rate_limit_rate:
            return Control(error="429")
        if roll < settings.rate_limit_rate + settings.error_rate:
            third: Failure = "529" if anthropic else "503"
            return Control(error="500" if self._dice.random() < 0.5 else third)
        return PLAIN

    def _used_up(self, control: Control) -> bool:
        if not control.times:
            return False
        if len(self._seen) > 100_000:
            self._seen.clear()
        self._seen[control.id] = self._seen.get(control.id, 0) + 1
        return self._seen[control.id] > control.times
