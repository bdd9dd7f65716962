"""Usage reports of every provider become disjoint buckets; a report that contradicts itself is an error."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.metering.readers import read_body
from penstock.metering.readers.openai_usage import InputDetails, OutputDetails, WireUsage, disjoint
from penstock.metering.reading import Flavour
from penstock.pricing.usage import Usage


def reply(usage: dict[str, Any]) -> bytes:
    return json.dumps({"usage": usage}).encode()


CONTRADICTIONS: list[tuple[Flavour, dict[str, Any], tuple[int, int]]] = [
    (
        "openai.chat",
        {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 6}},
        (6, 5),
    ),
    ("openai.chat", {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"audio_tokens": 7}}, (7, 5)),
    ("openai.chat", {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 4}, (6, 4)),
    (
        "openai.chat",
        {"prompt_tokens": 5, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 3}},
        (3, 1),
    ),
    (
        "openai.chat",
        {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "total_tokens": 9,
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
        (2, 1),
    ),
    ("openai.chat", {"prompt_tokens": 9, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 4}, (8, 9)),
    (
        "openai.chat",
        {"prompt_tokens": 9, "prompt_cache_hit_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}},
        (3, 4),
    ),
    (
        "openai.responses",
        {"input_tokens": 10, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 5}},
        (11, 10),
    ),
    (
        "openai.responses",
        {
            "input_tokens": 10,
            "input_tokens_details": {"cache_write_tokens": 5, "cache_write_tokens_details": {"ttl_12h_tokens": 6}},
        },
        (6, 5),
    ),
    ("openai.embeddings", {"prompt_tokens": 8, "total_tokens": 7}, (8, 7)),
    (
        "anthropic.messages",
        {"input_tokens": 1, "output_tokens": 2, "output_tokens_details": {"thinking_tokens": 3}},
        (3, 2),
    ),
    (
        "anthropic.messages",
        {
            "input_tokens": 1,
            "output_tokens": 2,
            "cache_creation_input_tokens": 4,
            "cache_creation": {"ephemeral_1h_input_tokens": 5, "ephemeral_5m_input_tokens": 0},
        },
        (5, 4),
    ),
]


@pytest.mark.parametrize(("flavour", "usage", "numbers"), CONTRADICTIONS)
def test_a_report_that_contradicts_itself_is_an_error_naming_both_numbers(
    flavour: Flavour, usage: dict[str, Any], numbers: tuple[int, int]
) -> None:
    with pytest.raises(UsageError) as problem:
        read_body(flavour, reply(usage))
    assert all(str(number) in str(problem.value) for number in numbers)


def test_a_number_that_is_none_is_an_error_and_not_zero() -> None:
    with pytest.raises(UsageError, match=r"completion_tokens"):
        read_body("openai.chat", reply({"prompt_tokens": 1, "completion_tokens": "1"}))


counts = st.integers(0, 10_000)


@given(st.lists(counts, min_size=8, max_size=8))
def test_no_token_is_lost_or_counted_twice(numbers: list[int]) -> None:
    text, cached, writes, audio, image, out, reasoning, out_audio = numbers
    sent, received = text + cached + writes + audio + image, out + reasoning + out_audio
    usage = disjoint(
        WireUsage(
            prompt_tokens=sent,
            completion_tokens=received,
            total_tokens=sent + received,
            prompt_tokens_details=InputDetails(
                cached_tokens=cached, cache_write_tokens=writes, audio_tokens=audio, image_tokens=image
            ),
            completion_tokens_details=OutputDetails(reasoning_tokens=reasoning, audio_tokens=out_audio),
        )
    )
    assert usage == Usage(
        input=text, cache_read=cached, cache_write=writes, input_audio=audio, input_image=image,
        output=out + reasoning, reasoning=reasoning, output_audio=out_audio,
    )  # fmt: skip
    assert (usage.input_tokens, usage.output_tokens) == (sent, received)


@given(st.lists(counts | st.none(), min_size=12, max_size=12))
def test_any_report_is_either_an_error_or_adds_up(numbers: list[int | None]) -> None:
    sent, received, total, cached, writes, audio, image, reasoning, out_audio, hits, miss, long = numbers
    wire = msgspec.convert(
        {
            "prompt_tokens": sent, "completion_tokens": received, "total_tokens": total,
            "prompt_tokens_details": {
                "cached_tokens": cached, "cache_write_tokens": writes, "audio_tokens": audio, "image_tokens": image,
                "cache_write_tokens_details": {"ttl_12h_tokens": long},
            },
            "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": out_audio},
            "prompt_cache_hit_tokens": hits, "prompt_cache_miss_tokens": miss,
        },
        WireUsage,
    )  # fmt: skip
    try:
        usage = disjoint(wire)
    except UsageError:
        return
    assert usage.input_tokens == (sent or 0)
    assert usage.output_tokens == max((received or 0), (total or 0) - (sent or 0))
    assert min(msgspec.structs.asdict(usage).values()) >= 0


def test_cached_pictures_are_cached_pictures() -> None:
    told = {
        "cached_tokens": 900,
        "image_tokens": 1000,
        "cached_tokens_details": {"image_tokens": 600, "text_tokens": 300},
    }
    wire = msgspec.convert({"prompt_tokens": 1500, "prompt_tokens_details": told}, WireUsage)
    assert disjoint(wire) == Usage(input=200, cache_read=300, input_image=400, cache_read_image=600)


def test_cached_tokens_beyond_the_text_are_pictures_then_sound() -> None:
    told = {"cached_tokens": 900, "image_tokens": 300, "audio_tokens": 200}
    wire = msgspec.convert({"prompt_tokens": 1000, "prompt_tokens_details": told}, WireUsage)
    assert disjoint(wire) == Usage(cache_read=500, cache_read_image=300, input_audio=100, cache_read_audio=100)


def test_a_cost_is_taken_to_the_last_digit_and_only_if_it_is_a_number() -> None:
    exact = read_body("openai.chat", b'{"usage":{"prompt_tokens":1,"cost":0.00000012345678901234567890}}')
    assert exact.provider_cost == Decimal("0.00000012345678901234567890")
    other = read_body("openai.chat", b'{"usage":{"prompt_tokens":1,"cost":{"total_cost":0.1}}}')
    assert other.provider_cost is None


@pytest.mark.parametrize("flavour", ["openai.chat", "openai.responses", "openai.embeddings", "anthropic.messages"])
@pytest.mark.parametrize("content", [b"", b"<html>502</html>", b'{"a":', b"\xff\xfe", b'{"a":' + b"[" * 100_000])
def test_a_reply_that_is_not_json_is_a_reading_without_usage(flavour: Flavour, content: bytes) -> None:
    reading = read_body(flavour, content)
    assert (reading.usage_source, reading.error) == ("none", "not_json")
