"""Optional tokenizers are taken only where they prove themselves, and change nothing where they are missing."""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace

import pytest

from penstock.metering import counting, engines, vocabulary

CACHED = (engines.base_count, engines.family_count, engines.claude_count, engines._splintr, engines._splintr_agrees)
MEMORIES = (counting._base_tokens, counting._other_tokens)


def forget() -> None:
    for function in CACHED:
        function.cache_clear()
    for memory in MEMORIES:
        memory._known.clear()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget()
    yield
    forget()


def splintr(encode: Callable[[str], list[int]]) -> ModuleType:
    """A stand-in with splintr's interface, so that the rules are tested where the package is not installed."""

    def encode_ordinary(text: str) -> list[int]:
        text.encode()  # like splintr, it does not take lone surrogates
        return encode(text)

    module = ModuleType("splintr")
    module.Tokenizer = SimpleNamespace(from_pretrained=lambda _: SimpleNamespace(encode_ordinary=encode_ordinary))  # type: ignore[attr-defined]
    return module


def test_there_are_two_hundred_probes() -> None:
    assert 190 <= len(engines.probes()) <= 210


def test_a_tokenizer_that_agrees_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def encode(text: str) -> list[int]:
        asked.append(text)
        return vocabulary.encode("o200k_base", text)

    monkeypatch.setitem(sys.modules, "splintr", splintr(encode))
    assert engines.base_count("o200k_base")("never seen before") == 3
    assert asked[-1] == "never seen before"
    assert counting.count_text("llama-3.1-8b", "hello world").method == "reconstructed"
    assert counting.count_text("llama-3.1-8b", "a\ud83d").tokens == 2


def test_what_the_quick_tokenizer_gets_wrong_or_refuses_goes_to_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "splintr", splintr(lambda text: vocabulary.encode("o200k_base", text)))
    for text in ("I'\u017f", "a\ud83d"):
        assert engines.base_count("o200k_base")(text) == vocabulary.count("o200k_base", text)


@pytest.mark.parametrize("wrong", ["<|think|>", "e\u0301", "12,50", "\u2028"])
def test_a_tokenizer_that_differs_on_one_probe_is_not_used(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(text: str) -> list[int]:
        return [0] * 99 if wrong in text else vocabulary.encode("o200k_base", text)

    monkeypatch.setitem(sys.modules, "splintr", splintr(encode))
    assert engines.base_count("o200k_base")(wrong) == vocabulary.count("o200k_base", wrong) < 99
    assert engines.family_count("llama3") is None


def test_a_package_without_the_vocabulary_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise ValueError(name)

    module = ModuleType("splintr")
    module.Tokenizer = SimpleNamespace(from_pretrained=unknown)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "splintr", module)
    assert engines.base_count("o200k_base")("hello world") == 2
    assert engines.family_count("llama3") is None


def test_without_the_packages_the_ratio_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "splintr", None)
    monkeypatch.setitem(sys.modules, "ctok", None)
    assert engines.family_count("llama3") is None
    assert engines.claude_count("4.6") is None
    assert counting.count_text("claude-sonnet-4-5", "hello world").method == "scaled"


def test_claudes_count_is_without_the_frame_of_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("ctok")
    module.token_count = lambda text, version: (7 if version == "4.6" else 6) + len(text.split())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ctok", module)
    count = counting.count_text("claude-sonnet-4-5", "one two three \ud83d")
    assert (count.tokens, count.method) == (4, "reconstructed")
    assert counting.count_text("claude-opus-4-8", "one two").tokens == 2


@pytest.mark.parametrize("package", ["splintr", "ctok"])
def test_the_real_package_counts(package: str) -> None:
    pytest.importorskip(package)
    model = {"splintr": "llama-3.1-8b", "ctok": "claude-sonnet-4-5"}[package]
    assert counting.count_text(model, "hello, world") == counting.Count(3, "reconstructed", counting.REBUILT_BAND)
