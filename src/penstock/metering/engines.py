"""Optional tokenizers, taken where they are installed and prove themselves: splintr (extra `fast`), ctok (`claude`)."""

import importlib
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from types import ModuleType

from penstock.metering import vocabulary
from penstock.metering.vocabulary import Vocabulary

CountText = Callable[[str], int]

PROBES = (
    "hello world", "I'll don't WE'RE it's", "  two  spaces\n\n\n and\t tabs ", "1234567890 3.14159e-10 0xDEADBEEF",
    "naïve façade Straße ÆØÅ", "日本語のテキスト 中文测试 한국어", "🙂👩‍👩‍👧‍👦🏳️‍🌈",
    "def f(x):\n    return {'a': [1, 2, x]}\n",
    '{"a":1,"b":[true,null,"\\u00e9"]}', "<|endoftext|><|im_start|><|think|>", "привет мир שלום عالم नमस्ते", "a" * 3000,
    "http://example.org/a?b=c&d=%20#e", "CamelCaseIdentifier snake_case_identifier SCREAMING", "\r\n\r\n \u00a0\u2028",
    "∑∫√≠≤ ½ ² Ⅻ", "x" * 17 + " " * 23 + "y", "----====####", "Zürich, 3. Mai: 12,50 €", "e\u0301 combining",
)  # fmt: skip


def probes() -> list[str]:
    """Return some two hundred strings on which a tokenizer must agree with tiktoken before it is trusted."""
    pairs = [f"{one}{glue}{other}" for one, other in pairwise(PROBES) for glue in ("", " ", "\n")]
    cuts = [text[start:end] for text in PROBES for start, end in ((1, 40), (0, 7), (3, 11), (2, 5), (5, 29), (0, 2))]
    return [*PROBES, *pairs, *cuts]


@cache
def base_count(name: Vocabulary) -> CountText:
    """Return the quickest exact counter of a vocabulary: splintr if it agrees with tiktoken, else tiktoken."""
    fast = _splintr(name)
    if fast is None or any(fast(text) != vocabulary.count(name, text) for text in probes()):
        return lambda text: vocabulary.count(name, text)
    trusted = fast
    vocabulary.encoding.cache_clear()  # it has proven the other one, and one copy in memory is enough

    def count(text: str) -> int:
        # The long s in a contraction is where splintr 0.22 differs; lone surrogates it does not take.
        if "\u017f" in text or not _encodable(text):
            return vocabulary.count(name, text)
        return trusted(text)

    return count


@cache
def family_count(name: str) -> CountText | None:
    """Return splintr's counter of another family's vocabulary; None without a splintr that can be trusted."""
    fast = _splintr(name) if _splintr_agrees() else None
    if fast is None:
        return None
    trusted = fast
    return lambda text: trusted(
        text if _encodable(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


@cache
def claude_count(version: str) -> CountText | None:
    """Return ctok's counter of one generation of Claude, without the frame around a message; None without ctok."""
    module = _module("ctok")
    if module is None:
        return None
    token_count = module.token_count
    frame = token_count("a", version) - 1  # an empty message has a frame of its own
    return lambda text: max(
        0, token_count(text if _encodable(text) else text.encode("utf-8", "replace").decode(), version) - frame
    )


@cache
def _splintr_agrees() -> bool:
    fast = _splintr("o200k_base")
    return fast is not None and all(fast(text) == vocabulary.count("o200k_base", text) for text in probes())


@cache
def _splintr(name: str) -> CountText | None:
    module = _module("splintr")
    if module is None:
        return None
    try:
        tokenizer = module.Tokenizer.from_pretrained(name)
    except ValueError:  # a version without this vocabulary
        return None
    return lambda text: len(tokenizer.encode_ordinary(text))  # never `encode`: it obeys special tokens in text


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
