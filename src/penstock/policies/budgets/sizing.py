"""What a call can cost at most: input counted or bounded, output by its limit, at the dearest price that may apply.

The cheap bound needs no tokenizer: a token of text is at least one byte of the request's body, and what is put around
messages (at most 7 tokens each) is less than the JSON around them. What a body only points to (a picture by its
address, a file, a stored conversation) is estimated by the counters instead.
"""

import asyncio
import json
from datetime import datetime
from decimal import Decimal
from math import ceil

from msgspec import Struct

from penstock.errors import InputError
from penstock.metering.count import Count
from penstock.metering.counting import count_request
from penstock.metering.meter import MODES
from penstock.metering.reading import Flavour
from penstock.policies.budgets.counters import atto
from penstock.policies.budgets.rules import FOREVER, LONG_AGO
from penstock.policies.call import Call
from penstock.policies.deployments import Target
from penstock.pricing.catalog import MEMO_SIZE, Catalog, PriceKey
from penstock.pricing.usage import INPUT_TOKENS

FRAME = 64
"""Tokens that stand in no byte of the body: the frame of the first message and of the answer."""
MEDIA = (b"image", b"audio", b'"file')
STORED = (b'"input_file"', b"previous_response_id", b'"conversation"', b'"prompt"')
POINTERS: dict[Flavour, tuple[bytes, ...]] = {
    "openai.responses": (*MEDIA, *STORED),
    "anthropic.messages": (*MEDIA, b'"document"'),
}
"""Where one of these is in a body of that wire (of any other: media), its bytes say little about its tokens."""
INLINE = 4096
"""Bytes of a body that are counted at once; more is counted beside the loop."""
SEARCHES = 10
"""Searches of the provider's own tool that one call may make, where the request does not say."""
PLAIN = frozenset({"input", "cache_read"})


class Size(Struct, frozen=True, gc=False):
    """Most tokens of a call; not of its price."""

    input: int
    output: int
    exact: bool

    @property
    def tokens(self) -> int:
        """Both together."""
        return self.input + self.output


class _Rates(Struct, frozen=True, gc=False):
    """Atto-dollars for one unit, the dearest that may apply, and until when."""

    input: int
    output: int
    searches: int
    since: datetime
    until: datetime


class Sizer:
    """Says what calls may cost. Counting is remembered in the counters; prices are remembered here."""

    def __init__(self, catalog: Catalog, default_output_tokens: int) -> None:
        self._catalog = catalog
        self._default = default_output_tokens
        self._rates: dict[tuple[str, bool, bool, bool, str], _Rates] = {}
        self._counted: set[str] = set()

    def cheap(self, call: Call) -> Size | None:
        """Bound a call by its bytes; None where they say too little."""
        body = call.body
        for mark in POINTERS.get(call.flavour, MEDIA):
            if mark in body:
                return None
        return Size(len(body) + FRAME, self._output(call), exact=False)

    async def exact(self, call: Call) -> Size:
        """Count a call's input; where that is an estimate, with what it may be wrong by."""
        tokens = 0
        for model in dict.fromkeys(target.served.model for target in call.targets):
            if len(call.body) <= INLINE and model in self._counted:
                count = _counted(call, model)
            else:  # the first count of a process loads a vocabulary
                count = await asyncio.get_running_loop().run_in_executor(None, _counted, call, model)
                if len(self._counted) < MEMO_SIZE:
                    self._counted.add(model)
            sure = count.method == "exact"
            tokens = max(tokens, count.tokens if sure else ceil(count.tokens * (1 + count.error_band)))
        return Size(tokens, self._output(call), exact=True)

    def _output(self, call: Call) -> int:
        if call.flavour == "openai.embeddings":
            return 0
        head = call.head
        limit = head.output_limit
        answers = head.n or 1
        if call.flavour == "openai.completions":
            answers = max(answers, _best_of(call.body))
        return max(0, self._default if limit is None else limit) * max(1, answers)

    def amount(self, call: Call, target: Target, size: Size) -> int | None:
        """Return atto-dollars that a call may cost at a target; None: its price is unknown."""
        body = call.body
        # A body that is bounded by its bytes has neither.
        pictures, sounds = size.exact and b"image" in body, size.exact and b"audio" in body
        writes = call.flavour != "anthropic.messages" or b"cache_control" in body
        key = (target.key, pictures, sounds, writes, call.head.service_tier or "")
        rates = self._rates.get(key)
        if rates is None or not rates.since <= call.at < rates.until:
            if len(self._rates) >= MEMO_SIZE:
                self._rates.clear()
            found, steady = self._work_out(call, target, size, pictures=pictures, sounds=sounds, writes=writes)
            if found is None:
                return None
            rates = found
            if steady:
                self._rates[key] = rates
        amount = size.input * rates.input + size.output * rates.output
        if rates.searches and b"web_search" in body:
            amount += SEARCHES * rates.searches
        return amount

    def _work_out(
        self, call: Call, target: Target, size: Size, *, pictures: bool, sounds: bool, writes: bool
    ) -> tuple[_Rates | None, bool]:
        """Return the dearest rates, and whether they hold for every size of call until a price changes."""
        served = target.served
        model, version = self._catalog.identify(served.provider, served.model)
        tier = call.head.service_tier or ""
        most = {"input": 0, "output": 0, "searches": 0}
        since, until, steady, known = LONG_AGO, FOREVER, True, False
        for mode in dict.fromkeys(("standard", MODES.get(tier, tier))):
            key = PriceKey(
                provider=served.provider, model=model, version=version, deployment_type=served.deployment_type,
                region=served.region, mode=mode,
            )  # fmt: skip
            row = self._catalog.row(key, call.at, size.input)
            if row is None:
                continue
            quote = self._catalog.quote(key, call.at)
            if quote is None:
                steady = False
            else:
                since, until = max(since, quote[1]), min(until, quote[2])
            if not (row.flat_rate or row.free):
                if not row.rates:
                    continue
                sent = [rate for unit, rate in row.rates.items() if _may_be_sent(unit, pictures, sounds, writes)]
                received = [row.rates[unit] for unit in ("output", "output_audio", "output_image") if unit in row.rates]
                text = row.rates.get("output", Decimal(0))
                most["input"] = max(most["input"], *map(_up, sent or [Decimal(0)]))
                most["output"] = max(most["output"], _up(max(received, default=text) if pictures or sounds else text))
                most["searches"] = max(most["searches"], _up(row.rates.get("web_searches", Decimal(0))))
            known = True
        return (_Rates(**most, since=since, until=until), steady) if known else (None, False)


def _may_be_sent(unit: str, pictures: bool, sounds: bool, writes: bool) -> bool:
    if unit not in INPUT_TOKENS:
        return False
    if unit in PLAIN:
        return True
    if unit.startswith("cache_write"):
        return writes
    return sounds if "audio" in unit else pictures


def _up(rate: Decimal) -> int:
    """Return atto-dollars for one unit, never less than the rate."""
    amount = atto(rate)
    return amount if Decimal(amount).scaleb(-18) >= rate else amount + 1


def _counted(call: Call, model: str) -> Count:
    try:
        return count_request(call.flavour, model, call.body)
    except InputError:
        return Count(len(call.body) + FRAME, "estimated", 0.0)


def _best_of(body: bytes) -> int:
    """Return how many answers a legacy completion asks for: for each prompt, `best_of` or `n`."""
    if b'"best_of"' not in body and b"[" not in body:
        return 1
    try:
        request = json.loads(body)
    except ValueError:
        return 1
    prompt = request.get("prompt")
    several = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    best = [request.get(name) for name in ("best_of", "n")]
    return max([1, *(one for one in best if isinstance(one, int))]) * (len(prompt) if several else 1)
