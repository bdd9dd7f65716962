"""OpenAI's vocabularies: exact, offline, and safe with any text."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import regex
import tiktoken_ext.openai_public
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InputError
from penstock.metering import vocabulary
from penstock.metering.vocabulary import PATTERNS, Vocabulary, count, encode, encoding

NAMES: list[Vocabulary] = ["o200k_base", "cl100k_base"]
SHARED = Path(__file__).parents[2] / "../shared/data/prompts"

PUBLISHED: list[tuple[Vocabulary, str, list[int]]] = [
    ("cl100k_base", "tiktoken is great!", [83, 1609, 5963, 374, 2294, 0]),
    ("cl100k_base", "antidisestablishmentarianism", [519, 85342, 34500, 479, 8997, 2191]),
    ("cl100k_base", "2 + 2 = 4", [17, 489, 220, 17, 284, 220, 19]),
    ("cl100k_base", "お誕生日おめでとう", [33334, 45918, 243, 21990, 9080, 33334, 62004, 16556, 78699]),
    ("o200k_base", "tiktoken is great!", [83, 8251, 2488, 382, 2212, 0]),
]
"""From the OpenAI cookbook, How to count tokens with tiktoken; the last one from tiktoken's own documentation."""


@pytest.mark.parametrize(("name", "text", "tokens"), PUBLISHED)
def test_published_examples_come_out_as_published(name: Vocabulary, text: str, tokens: list[int]) -> None:
    assert encode(name, text) == tokens


@pytest.mark.parametrize("name", NAMES)
def test_the_patterns_are_those_that_tiktoken_states(name: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiktoken_ext.openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
    assert getattr(tiktoken_ext.openai_public, name)()["pat_str"] == PATTERNS[name]


unpacked = cache(vocabulary.ranks)


def reference(name: Vocabulary, text: str) -> list[int]:
    """Byte-pair encoding by its definition: cut by the pattern, merge the pair of lowest rank until none is left."""
    ranks = unpacked(name)
    found = []
    for piece in regex.findall(PATTERNS[name], text):
        parts = [bytes([byte]) for byte in piece.encode()]
        while len(parts) > 1:
            pairs = [(ranks.get(parts[at] + parts[at + 1], len(ranks)), at) for at in range(len(parts) - 1)]
            rank, at = min(pairs)
            if rank == len(ranks):
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        found += [ranks[part] for part in parts]
    return found


assigned = st.characters(max_codepoint=0x1F9FF, exclude_categories=["Cs", "Cn"])
"""Letters that Unicode 14 already had: about newer ones two regex engines may know different things."""
words = st.text(assigned, max_size=40) | st.sampled_from([
    "I'll", "WE'RE", "don't", "  ", "\n\n", "\t", "12345", "0x1F", "naïve", "日本", "<|endoftext|>", "🙂",
    "e\u0301", "ſ'S", "a" * 50,
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(NAMES), st.lists(words, max_size=8).map("".join))
def test_tokens_are_those_of_an_independent_encoder_and_give_the_text_back(name: Vocabulary, text: str) -> None:
    tokens = encode(name, text)
    assert tokens == reference(name, text)
    assert encoding(name).decode(tokens) == text


@pytest.mark.parametrize("name", NAMES)
def test_special_tokens_that_a_text_spells_are_text(name: Vocabulary) -> None:
    assert count(name, "<|endoftext|>") > 1
    assert encoding(name).decode(encode(name, "<|endoftext|><|im_start|>")) == "<|endoftext|><|im_start|>"


@pytest.mark.parametrize("name", NAMES)
def test_half_of_a_character_counts_as_a_replacement_character(name: Vocabulary) -> None:
    assert count(name, "a\ud83d") == count(name, "a\ufffd")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("letter", [" ", "\t", "\n", "a", "=", "é", "字"])
def test_a_million_times_the_same_character_is_counted(name: Vocabulary, letter: str) -> None:
    tokens = count(name, letter * 1_000_000)
    assert 1_000 < tokens <= 2_000_000


def test_cutting_a_long_text_costs_at_most_a_token_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 2_000
    whole = count("o200k_base", text)
    monkeypatch.setattr(vocabulary, "LONGEST_PIECE", 9_000)
    assert 0 <= count("o200k_base", text) - whole <= len(text) // 9_000


def test_a_damaged_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vocabulary.CONTENT, "cl100k_base", "0" * 64)
    with pytest.raises(InputError, match=r"cl100k_base\.xz is damaged"):
        vocabulary.ranks("cl100k_base")


def test_counting_opens_no_socket_and_downloads_nothing() -> None:
    program = """
import socket
def refuse(*_, **__):
    raise SystemExit("a socket was opened")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
import tiktoken
tiktoken.get_encoding = tiktoken.encoding_for_model = refuse
from penstock.metering.counting import count_text
print([count_text(model, "hello world").tokens for model in ("gpt-4o", "gpt-4")])
print(all(count_text(model, "hello world").tokens for model in ("claude-sonnet-4-5", "deepseek-chat", "nobody-knows")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[2, 2]\nTrue\n", "")


def test_real_prompts_give_their_text_back() -> None:
    if not SHARED.exists():
        pytest.skip("the sample of prompts is not here")
    lines = (SHARED / "system.jsonl").read_text(encoding="utf-8").splitlines()[::12]
    texts = [
        next(value for key, value in json.loads(line).items() if key in {"text", "content", "prompt"}) for line in lines
    ]
    assert len(texts) > 20
    for text in texts:
        assert encoding("o200k_base").decode(encode("o200k_base", text)) == text
