"""Counts of texts and requests: exact where the vocabulary is the model's own, with a stated error elsewhere."""

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.metering.recorded import FOLDER

from penstock.errors import InputError
from penstock.metering.calibration import ENOUGH, Calibration
from penstock.metering.content import content_class
from penstock.metering.count import Count
from penstock.metering.counting import count_request, count_text, estimate
from penstock.metering.families import picture_of, tokenizer_of, tokenizers
from penstock.metering.reading import Flavour
from penstock.metering.remembered import Remembered
from penstock.pricing.usage import Usage

SHARED = Path(__file__).parents[2] / "../shared/data/prompts"
OVERHEAD = json.loads((FOLDER / "openai_chat_overhead.json").read_text(encoding="utf-8"))
BILLED = [
    (model, case["body"], case["tokens"])
    for case in OVERHEAD["cases"]
    for model in case.get("models", [OVERHEAD["model"]])
]
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    + (1024).to_bytes(4, "big")
    + (1024).to_bytes(4, "big")
    + b"\x08\x02\x00\x00\x00"
)
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


def request(flavour: Flavour, model: str, **body: Any) -> Count:
    return count_request(flavour, model, json.dumps(body).encode())


@pytest.mark.parametrize(("model", "body", "tokens"), BILLED)
def test_a_chat_request_counts_what_the_api_billed(model: str, body: dict[str, Any], tokens: int) -> None:
    assert count_request("openai.chat", model, json.dumps(body).encode()).tokens == tokens


@pytest.mark.parametrize(
    ("model", "family", "vocabulary", "exact"),
    [
        ("gpt-4o-mini-2024-07-18", "openai", "o200k_base", True),
        ("gpt-4.1-nano", "openai", "o200k_base", True),
        ("gpt-4-turbo", "openai", "cl100k_base", True),
        ("gpt-35-turbo-0125", "openai", "cl100k_base", True),
        ("gpt-6.1", "openai", "o200k_base", True),
        ("ft:gpt-4o-2024-08-06:acme::x", "openai", "o200k_base", True),
        ("openai/gpt-oss-120b", "openai", "o200k_base", True),
        ("text-embedding-3-large", "openai", "cl100k_base", True),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3", "o200k_base", False),
        ("claude-sonnet-4-5-20250929", "claude-3", "o200k_base", False),
        ("anthropic/claude-opus-4-8", "claude-4.7", "o200k_base", False),
        ("claude-sonnet-5", "claude-4.7", "o200k_base", False),
        ("azure_ai/meta-llama-3.1-70b-instruct", "llama-3", "o200k_base", False),
        ("DeepSeek-R1", "deepseek-v3", "o200k_base", False),
        ("my-own-model", "unknown", "o200k_base", False),
        ("", "unknown", "o200k_base", False),
    ],
)
def test_a_model_finds_its_vocabulary(model: str, family: str, vocabulary: str, exact: bool) -> None:
    row = tokenizer_of(model)
    assert (row.family, row.vocabulary, row.exact) == (family, vocabulary, exact)


def test_every_family_without_a_vocabulary_of_its_own_states_its_ratio_and_error() -> None:
    for row in tokenizers():
        assert row.exact or (row.ratios["prose"] > 0.5 and row.band > 0)


def test_a_model_of_its_own_vocabulary_is_exact_and_another_is_scaled_with_an_error() -> None:
    text = "The gate meters the water and holds it back. " * 40
    exact, scaled, guessed = (count_text(model, text) for model in ("gpt-4o", "gemini-2.5-pro", "nobody"))
    assert (exact.method, exact.error_band) == ("exact", 0.0)
    assert (scaled.method, scaled.tokens) == ("scaled", round(exact.tokens * 1.08))
    assert (guessed.method, guessed.error_band) == ("estimated", 0.4)


def test_nothing_has_no_tokens_and_something_has_one_at_least() -> None:
    assert count_text("claude-sonnet-4-5", "") == Count(0)
    assert count_text("deepseek-chat", "天").tokens >= 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("The gate meters the water and holds it back when there is too much of it. " * 5, "prose"),
        (
            "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft begabt. " * 5,
            "foreign",
        ),
        ("Tous les êtres humains naissent libres et égaux en dignité et en droits. " * 5, "foreign"),
        ("人人生而自由,在尊严和权利上一律平等。" * 10, "chinese"),
        ("すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。" * 5, "japanese"),
        ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다." * 5, "korean"),
        (
            "def f(x):\n    return x\n\nclass A:\n    def g(self):\n        if self:\n            return f(1)\n" * 5,
            "python",
        ),
        ("function f(x) { return x => ({a: [x, 1]}); }\nconst y = f(2) || {};\n" * 8, "code"),
        (json.dumps([{"id": n, "name": f"n{n}", "ok": True} for n in range(40)], indent=2), "json"),
        (
            json.dumps([{"id": n, "name": f"n{n}", "ok": True} for n in range(40)], separators=(",", ":")),
            "json_minified",
        ),
        ("2026-11-23 10:00:01 INFO started\n2026-11-23 10:00:02 WARN slow\n" * 10, "log"),
        (base64.b64encode(bytes(range(256)) * 8).decode(), "base64"),
        ("", "prose"),
    ],
)
def test_content_is_classed_by_what_decides_its_ratio(text: str, kind: str) -> None:
    assert content_class(text) == kind


# --- counts add up


counts = st.builds(
    Count, st.integers(0, 10_000), st.sampled_from(["exact", "reconstructed", "scaled", "estimated"]), st.floats(0, 2)
)


@given(counts, counts)
def test_a_sum_is_as_uncertain_as_its_parts(one: Count, other: Count) -> None:
    total = one + other
    assert total.tokens == one.tokens + other.tokens
    assert total.method in {one.method, other.method}
    assert (
        min(one.error_band, other.error_band) - 1e-9 <= total.error_band <= max(one.error_band, other.error_band) + 1e-9
    )
    assert total == other + one


# --- requests of each protocol


def test_embeddings_count_texts_and_token_numbers() -> None:
    model = "text-embedding-3-small"
    assert request("openai.embeddings", model, input="hello world") == Count(2)
    assert request("openai.embeddings", model, input=["hello world", "hello"]) == Count(3)
    assert request("openai.embeddings", model, input=[1, 2, 3]) == Count(3)
    assert request("openai.embeddings", model, input=[[1, 2], [3]]) == Count(3)
    assert request("openai.embeddings", model) == Count(0)


def test_completions_count_prompt_and_suffix() -> None:
    assert request("openai.completions", "gpt-3.5-turbo-instruct", prompt="hello world", suffix="hello") == Count(3)


def test_responses_count_like_the_chat_that_says_the_same() -> None:
    chat = request(
        "openai.chat",
        "gpt-4o",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
    )
    assert request("openai.responses", "gpt-4o", instructions="Be brief.", input="hello") == chat
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}]
    assert request("openai.responses", "gpt-4o", instructions="Be brief.", input=items) == chat


def test_what_the_provider_keeps_cannot_be_counted_and_says_so() -> None:
    count = request("openai.responses", "gpt-4o", input="hello", previous_response_id="resp_1")
    assert (count.method, count.error_band) == ("estimated", 1.0)


def test_tools_cost_tokens_in_every_protocol() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "description": "Name of the city"}}}
    function = {"name": "get_weather", "description": "Get the weather", "parameters": schema}
    anthropic = {"name": "get_weather", "description": "Get the weather", "input_schema": schema}
    messages = [{"role": "user", "content": "hello"}]
    with_tools = {
        "openai.chat": request(
            "openai.chat", "gpt-4o", messages=messages, tools=[{"type": "function", "function": function}]
        ),
        "openai.responses": request(
            "openai.responses", "gpt-4o", input="hello", tools=[{"type": "function", **function}]
        ),
        "anthropic.messages": request("anthropic.messages", "claude-sonnet-4-5", messages=messages, tools=[anthropic]),
    }
    assert with_tools["openai.chat"].tokens == with_tools["openai.responses"].tokens > 40
    assert with_tools["anthropic.messages"].tokens > 600
    assert {count.method for count in with_tools.values()} == {"scaled"}


def test_white_space_and_defaults_in_a_tools_json_cost_nothing_at_openai() -> None:
    plain = {"name": "f", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    ornate = {
        "name": "f",
        "parameters": {
            "type": "object",
            "title": "F",
            "additionalProperties": False,
            "properties": {"n": {"type": "integer", "minimum": 1, "default": 3, "title": "N"}},
        },
    }
    messages = [{"role": "user", "content": "hello"}]
    assert request("openai.chat", "gpt-4", messages=messages, functions=[plain]) == request(
        "openai.chat", "gpt-4", messages=messages, functions=[ornate]
    )


def test_a_forced_tool_and_a_schema_cost_tokens() -> None:
    base: dict[str, Any] = {
        "messages": [{"role": "user", "content": "hello"}],
        "functions": [{"name": "do_stuff", "parameters": {}}],
    }
    free = request("openai.chat", "gpt-4o", **base).tokens
    assert request("openai.chat", "gpt-4o", **base, function_call="none").tokens == free + 1
    assert (
        request("openai.chat", "gpt-4o", **base, function_call={"name": "do_stuff"}).tokens
        == free + 4 + count_text("gpt-4o", "do_stuff").tokens
    )
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    assert request("openai.chat", "gpt-4o", **base, response_format=schema).tokens > free


@pytest.mark.parametrize(("model", "tokens"), [("gpt-4o", 765), ("gpt-4o-mini", 25_501), ("gpt-5-mini", 1_229)])
def test_a_picture_in_the_request_is_measured(model: str, tokens: int) -> None:
    empty = request("openai.chat", model, messages=[{"role": "user", "content": []}]).tokens
    part = {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "high"}}
    count = request("openai.chat", model, messages=[{"role": "user", "content": [part]}])
    assert (count.tokens - empty, count.method) == (tokens, "scaled")
    item = {"role": "user", "content": [{"type": "input_image", "image_url": PNG_URL}]}
    assert request("openai.responses", model, input=[item]).tokens - empty == tokens


def test_a_picture_elsewhere_is_taken_for_a_usual_one_and_says_so() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    count = request("openai.chat", "gpt-4o", messages=[{"role": "user", "content": [part]}])
    assert count.method == "estimated"
    assert count.error_band > 0.9


def test_anthropic_counts_blocks_of_every_kind() -> None:
    blocks = [
        {"type": "text", "text": "hello"},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()},
        },
        {"type": "tool_use", "id": "t", "name": "get_weather", "input": {"city": "Oslo"}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "rain"}]},
        {"type": "document", "source": {"type": "text", "data": "a short document"}},
    ]
    totals = [
        request("anthropic.messages", "claude-sonnet-4-5", messages=[{"role": "user", "content": blocks[:n]}]).tokens
        for n in range(len(blocks) + 1)
    ]
    assert totals == sorted(set(totals))
    assert totals[2] - totals[1] == 37 * 37


@given(
    st.sampled_from(
        ["openai.chat", "openai.completions", "openai.responses", "openai.embeddings", "anthropic.messages"]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "messages",
                        "role",
                        "content",
                        "type",
                        "text",
                        "tools",
                        "function",
                        "input",
                        "parameters",
                        "properties",
                        "source",
                        "image_url",
                        "name",
                        "tool_choice",
                        "response_format",
                        "system",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
)
def test_any_json_is_counted_or_refused(flavour: Flavour, document: Any) -> None:
    body = json.dumps(document).encode()
    try:
        assert count_request(flavour, "gpt-4o", body).tokens >= 0
    except InputError:
        assert not isinstance(document, dict)


# --- where the provider said nothing


def test_an_aborted_answer_of_a_known_vocabulary_is_counted() -> None:
    body = b'{"messages":[{"role":"user","content":"hello"}]}'
    assert estimate("openai.chat", "gpt-4o", body, "hello world") == (Usage(input=8, output=2), "counted")


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("gpt-5", b'{"messages":[{"role":"user","content":"hello"}]}'),
        ("claude-sonnet-4-5", b'{"messages":[{"role":"user","content":"hello"}]}'),
        (
            "gpt-4o",
            b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a/b"}}]}]}',
        ),
        ("gpt-4o", b"not json at all"),
        ("gpt-4o", b"\xff\xfe"),
    ],
)
def test_what_cannot_be_seen_makes_it_an_estimate(model: str, body: bytes) -> None:
    flavour: Flavour = "anthropic.messages" if model.startswith("claude") else "openai.chat"
    usage, source = estimate(flavour, model, body, "hello world")
    assert source == "estimated"
    assert usage.input > 0
    assert usage.output > 0


# --- learning


def test_a_calibration_learns_the_ratio_and_its_error() -> None:
    calibration = Calibration()
    for n in range(ENOUGH - 1):
        calibration.update("m", "chat", 100 + n, 155 + n)
    assert calibration.ratio("m", "chat") is None
    calibration.update("m", "chat", 1000, 1500)
    assert calibration.ratio("m", "chat") == pytest.approx(1.5, abs=0.02)
    assert 0 < (calibration.band("m", "chat") or 0) < 0.05
    assert calibration.ratio("other", "chat") is None


def test_a_calibration_learns_nothing_from_nothing() -> None:
    calibration = Calibration()
    for _ in range(50):
        calibration.update("m", "chat", 0, 10)
        calibration.update("m", "chat", 10, 0)
    assert calibration.ratio("m", "chat") is None


def test_a_learned_ratio_takes_the_place_of_the_tables() -> None:
    text = "The gate meters the water and holds it back. " * 10
    calibration = Calibration()
    for _ in range(ENOUGH):
        calibration.update("gemini-3", "prose", 100, 200)
    learned = count_text("gemini-3", text, calibration)
    assert learned.tokens == 2 * count_text("gpt-4o", text).tokens
    assert (learned.method, learned.error_band) == ("scaled", 0.0)


# --- remembering


def test_what_was_counted_is_not_counted_again_and_the_oldest_is_forgotten() -> None:
    asked: Counter[str] = Counter()

    def measure(_: str, text: str) -> int:
        asked[text] += 1
        return len(text)

    known = Remembered(measure, most=2)
    assert [known("a", "x" * 100), known("a", "x" * 100), known("a", "y")] == [100, 100, 1]
    known("a", "x" * 100)
    known("a", "z\ud83d" * 50)
    assert (asked["x" * 100], asked["y"], len(known)) == (1, 1, 2)
    known("a", "y")
    assert asked["y"] == 2


def test_agents_that_send_everything_again_are_counted_once() -> None:
    if not SHARED.exists():
        pytest.skip("the sample of conversations is not here")
    seen: list[int] = []

    def measure(_: str, text: str) -> int:
        seen.append(len(text))
        return 0

    known, sent = Remembered(measure), 0
    for line in (SHARED / "chats.jsonl").read_text(encoding="utf-8").splitlines():
        messages = [str(message.get("content") or "") for message in json.loads(line)["messages"]]
        for turn in range(1, len(messages) + 1):
            for text in messages[:turn]:
                known("m", text)
                sent += len(text)
    assert sent > 5 * sum(seen)


def test_a_picture_rule_is_found_by_the_longest_prefix() -> None:
    assert picture_of("gpt-4o-mini-2024-07-18").base == 2833
    assert picture_of("gpt-4o-2024-08-06").base == 85
    assert picture_of("openai/gpt-4.1-nano").rule == "patches"
    assert picture_of("who-knows").guess
