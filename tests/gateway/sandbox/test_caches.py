from typing import Any

import pytest
from tests.gateway.sandbox.conftest import Clients, Sandbox

from penstock.gateway.sandbox.ask import Segment
from penstock.gateway.sandbox.caches import PromptCache
from penstock.gateway.sandbox.models import Model, find

LONG = "The gate holds the water back until the price of the day is known. " * 120
"""About 1,800 tokens."""


@pytest.fixture
def sonnet() -> Model:
    found = find("claude-sonnet-5")
    assert found is not None
    return found


def test_a_repeated_prefix_is_cached_in_steps_of_128(sandbox: Sandbox, clients: Clients) -> None:
    client = clients.openai(sandbox.url, "key of this test")
    cached = []
    for question in ("first?", "second?", "second?"):
        ask: Any = [{"role": "system", "content": LONG}, {"role": "user", "content": question}]
        usage: Any = client.chat.completions.create(model="gpt-4o", messages=ask).usage
        cached.append(usage.prompt_tokens_details.cached_tokens)
        assert usage.prompt_tokens > 1_024
    assert cached[0] == 0
    assert 1_024 <= cached[1] <= cached[2] < usage.prompt_tokens
    assert [tokens % 128 for tokens in cached] == [0, 0, 0]
    assert [entry["usage"]["prompt_tokens_details"]["cached_tokens"] for entry in sandbox.entries(3)] == cached


def test_prompts_below_1024_tokens_and_other_models_and_keys_share_nothing(sandbox: Sandbox, clients: Clients) -> None:
    def cached(model: str, text: str, key: str) -> int:
        ask: Any = [{"role": "user", "content": text}]
        usage: Any = clients.openai(sandbox.url, key).chat.completions.create(model=model, messages=ask).usage
        return int(usage.prompt_tokens_details.cached_tokens)

    assert [cached("gpt-4o", LONG[:3_000], "apart") for _ in range(2)] == [0, 0]
    assert cached("gpt-4o", LONG, "apart") == 0
    assert cached("gpt-4.1", LONG, "apart") == 0
    assert cached("gpt-4o", LONG, "apart too") == 0
    assert cached("gpt-4o", LONG, "apart") > 0


def test_a_prefix_goes_cold_after_ten_minutes_without_use() -> None:
    cache, model = PromptCache(), find("gpt-4o")
    assert model is not None
    segments = (Segment(LONG.encode()),)

    def cached(at: float) -> int:
        return cache.openai(model, "", segments, 1_900, at).cached

    assert [cached(at) for at in (0.0, 599.0)] == [0, 1_792]
    assert cached(1_198.0) == 1_792  # the read has warmed it anew
    assert cached(1_800.0) == 0


def test_anthropic_writes_and_reads_at_its_breakpoints(sandbox: Sandbox, clients: Clients) -> None:
    client = clients.anthropic(sandbox.url, "key of this test")
    five: Any = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}
    hour: Any = {"type": "text", "text": "Rules. " * 1_200, "cache_control": {"type": "ephemeral", "ttl": "1h"}}

    def usage(question: str) -> Any:
        ask: Any = [{"role": "user", "content": question}]
        return client.messages.create(model="claude-sonnet-5", max_tokens=9, system=[hour, five], messages=ask).usage

    first, second = usage("first?"), usage("and the second?")
    assert first.cache_creation.ephemeral_1h_input_tokens > 1_024
    assert first.cache_creation.ephemeral_5m_input_tokens > 1_024
    assert first.cache_read_input_tokens == 0
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert second.cache_creation_input_tokens == 0
    assert second.input_tokens > 0


def test_a_longer_conversation_reads_the_old_part_and_writes_the_new(sonnet: Model) -> None:
    cache = PromptCache()
    turns = [Segment(f"{n} {LONG}".encode(), LONG) for n in range(3)]

    def marked(count: int) -> list[Segment]:
        return [*turns[: count - 1], Segment(turns[count - 1].text, LONG, "5m")]

    first = cache.anthropic(sonnet, "", marked(1), 10_000, 0)
    second = cache.anthropic(sonnet, "", marked(2), 20_000, 1)
    third = cache.anthropic(sonnet, "", marked(3), 30_000, 2)
    assert second.cached == first.write_5m
    assert third.cached == first.write_5m + second.write_5m
    assert [used.prompt for used in (first, second, third)] == [10_000, 20_000, 30_000]


def test_a_mark_below_the_models_minimum_writes_nothing(sonnet: Model) -> None:
    used = PromptCache().anthropic(sonnet, "", [Segment(b"short", "short", "5m")], 50, 0)
    assert (used.input, used.write_5m) == (50, 0)


def test_an_hour_outlives_five_minutes(sonnet: Model) -> None:
    cache = PromptCache()
    for mark, left in (("5m", 0), ("1h", 1)):
        segments = [Segment(f"{mark} {LONG}".encode(), LONG, mark)]
        cache.anthropic(sonnet, "", segments, 5_000, 0)
        assert bool(cache.anthropic(sonnet, "", segments, 5_000, 301).cached) is bool(left)


def test_the_oldest_prefixes_leave_a_full_cache(sonnet: Model) -> None:
    cache = PromptCache(limit=2)
    kept = [[Segment(f"{n} {LONG}".encode(), LONG, "1h")] for n in range(3)]
    for segments in kept:
        cache.anthropic(sonnet, "", segments, 5_000, 0)
    assert cache.anthropic(sonnet, "", kept[2], 5_000, 1).cached > 0
    assert cache.anthropic(sonnet, "", kept[0], 5_000, 1).cached == 0
