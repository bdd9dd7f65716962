"""Counting tokens without asking anyone: exact for OpenAI's vocabularies, with a stated error for all others.

Counting takes microseconds for what was counted before, and about 75 microseconds a thousand characters for what was
not; the first count of a process loads a vocabulary (half a second). So keep it off the event loop.
"""

import re
from collections.abc import Iterator

from penstock.errors import InputError
from penstock.metering.calibration import Calibration
from penstock.metering.content import content_class
from penstock.metering.count import Count, Method
from penstock.metering.engines import base_count, claude_count, family_count
from penstock.metering.event import UsageSource
from penstock.metering.families import Tokenizer, tokenizer_of
from penstock.metering.reading import Flavour
from penstock.metering.remembered import Remembered
from penstock.metering.request_tokens import Texts, request_tokens
from penstock.pricing.usage import Usage

REBUILT_BAND = 0.01
"""Error of vocabularies that others rebuilt or packed: none was seen in 700 documents; a frame may differ."""
LONGEST = 4_000_000
"""Characters of one text that are counted, about a million tokens: what is longer is estimated by its beginning."""
SLICE = 250_000
"""Characters that are counted at a time: a tokenizer takes up to a hundred bytes of memory for each."""
WORD_START = re.compile(r"(?<=\S)(?= [^\W\d_])")
"""Where a text can be cut without a token being cut: before a space with a word behind it."""


def _base(name: str, text: str) -> int:
    count = base_count("cl100k_base" if name == "cl100k_base" else "o200k_base")
    return count(text) if len(text) <= SLICE else sum(map(count, _slices(text)))


def _slices(text: str) -> Iterator[str]:
    """Cut a long text where no token is; in a place of a text that has no words for long, anywhere."""
    start = 0
    while len(text) - start > SLICE:
        found = WORD_START.search(text, start + SLICE - 1000, start + SLICE)
        end = found.start() if found else start + SLICE
        yield text[start:end]
        start = end
    yield text[start:]


def _other(name: str, text: str) -> int:
    package, _, vocabulary = name.partition(":")
    count = claude_count(vocabulary) if package == "ctok" else family_count(vocabulary)
    if count is None:
        raise InputError(f"The package {package} is not installed. Install it with: pip install penstock[fast,claude]")
    return count(text)


_base_tokens = Remembered(_base)
_other_tokens = Remembered(_other)
_classes = Remembered(lambda _, text: content_class(text))


def count_text(model: str, text: str, calibration: Calibration | None = None) -> Count:
    """Count the tokens of `text` as `model` would; with a `calibration`, by what its provider reported before.

    Special tokens that the text spells (`<|endoftext|>`) are text: nobody can forge a count.
    """
    if not text:
        return Count(0)
    if len(text) > LONGEST:
        beginning = count_text(model, text[:LONGEST], calibration)
        return Count(round(beginning.tokens * len(text) / LONGEST), "estimated", max(beginning.error_band, 0.2))
    tokenizer = tokenizer_of(model)
    if tokenizer.exact:
        return Count(_base_tokens(tokenizer.vocabulary, text))
    if tokenizer.ctok and claude_count(tokenizer.ctok):
        return Count(_other_tokens(f"ctok:{tokenizer.ctok}", text), "reconstructed", REBUILT_BAND)
    if tokenizer.splintr and family_count(tokenizer.splintr):
        return Count(_other_tokens(f"splintr:{tokenizer.splintr}", text), "reconstructed", REBUILT_BAND)
    return _scaled(tokenizer, model, text, calibration)


def _scaled(tokenizer: Tokenizer, model: str, text: str, calibration: Calibration | None) -> Count:
    counted = _base_tokens(tokenizer.vocabulary, text)
    kind = _classes("", text)
    learned = calibration.ratio(model, kind) if calibration else None
    if calibration and learned is not None:
        return Count(max(1, round(counted * learned)), "scaled", calibration.band(model, kind) or 0.0)
    known = kind in tokenizer.ratios
    ratio = tokenizer.ratios.get(kind, tokenizer.ratios["prose"])
    band = tokenizer.band if known else max(tokenizer.band, 0.4)
    method: Method = "estimated" if tokenizer.family == "unknown" or not known else "scaled"
    return Count(max(1, round(counted * ratio)), method, band)


def count_request(flavour: Flavour, model: str, body: bytes, calibration: Calibration | None = None) -> Count:
    """Count the input tokens of a request's body: text, message frames, tools, pictures.

    InputError when the body is no JSON object.
    """

    def texts(text: str) -> Count:
        return count_text(model, text, calibration)

    return request_tokens(flavour, body, Texts(model, texts))


def estimate(flavour: Flavour, model: str, request_body: bytes, received_text: str) -> tuple[Usage, UsageSource]:
    """Say what a call used whose provider did not: an aborted stream, an old server. Never raises for its input.

    `counted` when every token was seen and the vocabulary is the model's own; else `estimated`: another vocabulary,
    pictures, tools, or a model that thinks in secret. What came from a cache cannot be known: all input is uncached.
    """
    try:
        sent = count_request(flavour, model, request_body)
    except InputError:
        sent = count_text(model, request_body.decode("utf-8", "replace")) + Count(0, "estimated", 1.0)
    received = count_text(model, received_text)
    whole = sent + received
    seen = not (tokenizer_of(model).hidden_reasoning and flavour in {"openai.chat", "openai.responses"})
    usage = Usage(input=sent.tokens, output=received.tokens)
    return usage, "counted" if whole.method == "exact" and seen else "estimated"
