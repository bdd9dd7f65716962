"""Laws of stream readers: what is relayed, what is read, and that neither depends on how the bytes arrive."""

import json
import re
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.metering.recorded import STREAMS, Case, shown

from penstock.errors import UsageError
from penstock.metering.readers import relay, stream_reader
from penstock.metering.reading import Flavour
from penstock.pricing.usage import Usage

OPENAI_STREAMS = [case for case in STREAMS if case.flavour in {"openai.chat", "openai.completions"}]


def split(content: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted({cut % (len(content) + 1) for cut in cuts}), len(content)]
    return [content[start:end] for start, end in pairwise(places)]


def play(flavour: Flavour, pieces: Iterable[bytes], *, hide: bool = False) -> tuple[bytes, dict[str, object], str]:
    reader = stream_reader(flavour, hide_usage=hide)
    relayed = b"".join([reader.feed(piece) for piece in pieces]) + reader.close()
    return relayed, shown(reader.reading()), reader.text()


def with_line_ends(content: bytes, end: bytes) -> bytes:
    return content.replace(b"\n", end)


cuts = st.lists(st.integers(0, 1 << 20), max_size=30)
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(STREAMS), cuts, line_ends)
def test_a_stream_reads_the_same_however_its_bytes_arrive(case: Case, places: list[int], end: bytes) -> None:
    content = with_line_ends(case.content, end)
    assert play(case.flavour, split(content, places)) == (content, case.expected, case.text)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(OPENAI_STREAMS), cuts, line_ends)
def test_hiding_usage_does_not_depend_on_how_the_bytes_arrive(case: Case, places: list[int], end: bytes) -> None:
    content = with_line_ends(case.content, end)
    whole = play(case.flavour, [content], hide=True)
    assert play(case.flavour, split(content, places), hide=True) == whole
    assert whole[1:] == (case.expected, case.text)


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_stream_reads_the_same_byte_by_byte(case: Case) -> None:
    pieces = [case.content[place : place + 1] for place in range(len(case.content))]
    assert play(case.flavour, pieces) == (case.content, case.expected, case.text)


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_stream_without_its_last_blank_line_reads_the_same(case: Case) -> None:
    content = case.content.rstrip(b"\n")
    assert play(case.flavour, [content]) == (content, case.expected, case.text)


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_stream_without_done_reads_the_same(case: Case) -> None:
    content = case.content.replace(b"data: [DONE]\n\n", b"")
    assert play(case.flavour, [content]) == (content, case.expected, case.text)


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_data_spread_over_several_lines_reads_the_same(case: Case) -> None:
    def spread(line: re.Match[bytes]) -> bytes:
        try:
            document = json.loads(line[1])
        except ValueError:
            return line[0]
        pretty = re.sub(
            r'"cost": [0-9.e-]+', f'"cost": {case.expected.get("provider_cost")}', json.dumps(document, indent=1)
        )
        return "\n".join(f"data: {row}" for row in pretty.splitlines()).encode()

    content = re.sub(rb"^data: (.*)$", spread, case.content, flags=re.MULTILINE)
    assert play(case.flavour, [content]) == (content, case.expected, case.text)


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_stream_longer_than_what_is_kept_reads_the_same(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "BLOCK", 100)
    monkeypatch.setattr(relay, "KEPT_BLOCKS", 1)
    pieces = [case.content[place : place + 37] for place in range(0, len(case.content), 37)]
    assert play(case.flavour, pieces) == (case.content, case.expected, case.text)


def test_a_stream_of_many_megabytes_keeps_little_but_its_text() -> None:
    reader = relay.RelayReader(type(stream_reader("openai.chat")._fresh()))  # type: ignore[attr-defined]
    chunk = chat_chunk({"content": "x" * 10})
    for _ in range(20_000):
        reader.feed(chunk)
    kept = sum(map(len, (*reader._chunks, *reader._blocks, *reader._carry)))
    assert kept < (relay.KEPT_BLOCKS + 3) * relay.BLOCK < 20_000 * len(chunk)
    assert reader.text() == "x" * 200_000


def test_a_reading_may_be_asked_for_at_any_time_without_disturbing_the_stream() -> None:
    for case in STREAMS:
        reader = stream_reader(case.flavour)
        for place in range(0, len(case.content), 50):
            reader.feed(case.content[place : place + 50])
            reader.reading()
            assert case.text.startswith(reader.text())
        reader.close()
        assert shown(reader.reading()) == case.expected
        assert shown(reader.reading()) == case.expected


def chat_chunk(delta: dict[str, object], **more: object) -> bytes:
    chunk = {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more}
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


MARKERS = st.sampled_from([
    '"usage":{"prompt_tokens":9,"completion_tokens":9}', '"usage":null', '],"usage":null,"obfuscation":"',
    ',"usage":null}\n\n', "data: [DONE]", "\n\ndata: {}", '"error":{"code":"x"}', '"finish_reason":"length"',
    '"tool_calls":[{"id":"a"}]',
])  # fmt: skip


@given(st.lists(MARKERS | st.text(max_size=20), max_size=8), st.booleans())
def test_text_that_spells_a_marker_is_only_text(words: list[str], hide: bool) -> None:
    content = b"".join(chat_chunk({"content": word}) for word in words)
    relayed, reading, text = play("openai.chat", [content], hide=hide)
    assert (relayed, text) == (content, "".join(words))
    assert reading.get("usage_source") == "none"
    assert "error" not in reading
    assert "finish_reason" not in reading


@given(st.lists(st.text(), max_size=10))
def test_text_is_what_was_sent_lone_surrogates_replaced(words: list[str]) -> None:
    content = b"".join(chat_chunk({"content": word}) for word in [*words, "\ud83d"])
    assert play("openai.chat", [content])[2] == "".join(words) + "\ufffd"


@given(st.binary(max_size=300), cuts, st.sampled_from(["openai.chat", "openai.responses", "anthropic.messages"]))
def test_rubbish_passes_unchanged_and_reports_nothing(content: bytes, places: list[int], flavour: Flavour) -> None:
    relayed, reading, _ = play(flavour, split(content, places))
    assert relayed == content
    assert reading["usage_source"] == "none"


# --- what the client sees when usage was asked for in its name


@pytest.mark.parametrize(
    "name", ["openai/chat_plain.sse", "openai/chat_tools.sse", "azure/chat_plain.sse", "vllm/chat_plain.sse"]
)
def test_the_client_sees_what_it_would_have_seen_without_our_wish(name: str) -> None:
    case = next(case for case in STREAMS if case.name == name)
    without = []
    for event in case.content.decode().split("\n\n")[:-1]:
        if event == "data: [DONE]":
            without.append(event)
            continue
        chunk = json.loads(event.removeprefix("data: "))
        if chunk.pop("usage", None) is None:
            without.append("data: " + json.dumps(chunk, separators=(",", ":"), ensure_ascii=False))
    assert play(case.flavour, [case.content], hide=True)[0].decode() == "".join(f"{event}\n\n" for event in without)


def test_azures_first_chunk_without_choices_is_not_dropped() -> None:
    case = next(case for case in STREAMS if case.name == "azure/chat_plain.sse")
    assert b'"prompt_filter_results":[{' in play(case.flavour, [case.content], hide=True)[0]


def test_usage_beside_choices_is_the_providers_own_habit_and_stays() -> None:
    case = next(case for case in STREAMS if case.name == "deepseek/chat_reasoning.sse")
    assert play(case.flavour, [case.content], hide=True)[0] == case.content


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (b'{"id":"a","usage":null,"choices":[]}', b'{"id":"a","choices":[]}'),
        (b'{"usage":null,"id":"a"}', b'{"id":"a"}'),
        (b'{"id": "a", "usage": null, "choices": []}', b'{"id": "a", "choices": []}'),
        (b'{"id": "a", "usage" : null}', b'{"id": "a"}'),
        (b'{"usage":null}', b"{}"),
        (b'{"x":{"usage":null},"usage":null}', b'{"x":{"usage":null}}'),
        (b'{"usage":null,"x":{"usage":null}}', b'{"x":{"usage":null}}'),
        (b'{"x":{"usage":null}}', b'{"x":{"usage":null}}'),
        (b'{"t":"\\",\\"usage\\":null}","usage":null}', b'{"t":"\\",\\"usage\\":null}"}'),
        (b'{"choices":[],"usage":{"prompt_tokens":1}}', b""),
    ],
)
def test_only_the_chunks_own_null_usage_is_taken_out(sent: bytes, seen: bytes) -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        relayed = play("openai.chat", [b"data: " + sent + end + end], hide=True)[0]
        assert relayed == (b"data: " + seen + end + end if seen else b"")


def test_a_chunk_goes_on_as_soon_as_it_is_whole() -> None:
    reader = stream_reader("openai.chat", hide_usage=True)
    chunk = chat_chunk({"content": "a"})
    assert reader.feed(chunk[:20]) == b""
    assert reader.feed(chunk[20:]) == chunk
    assert reader.feed(chunk) == chunk


# --- contradictions


def test_usage_that_contradicts_itself_is_an_error_that_names_both_numbers_but_never_stops_the_stream() -> None:
    reader = stream_reader("openai.chat")
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "total_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 12},
    }
    content = chat_chunk({"content": "a"}) + chat_chunk({}, usage=usage)
    assert reader.feed(content) + reader.close() == content
    with pytest.raises(UsageError, match=r"12.*10"):
        reader.reading()
    assert reader.text() == "a"


def test_usage_of_a_wrong_shape_is_an_error_in_the_reading_only() -> None:
    reader = stream_reader("openai.chat")
    reader.feed(chat_chunk({}, usage={"prompt_tokens": "ten"}))
    with pytest.raises(UsageError, match="prompt_tokens"):
        reader.reading()


def test_the_last_usage_of_a_stream_counts() -> None:
    content = b"".join(chat_chunk({}, usage={"prompt_tokens": 5, "completion_tokens": n}) for n in (1, 2, 3))
    reader = stream_reader("openai.chat")
    reader.feed(content)
    assert reader.reading().usage == Usage(input=5, output=3)


def test_a_huge_final_event_is_read() -> None:
    text = "word " * 400_000
    response = {
        "id": "r",
        "model": "gpt-5",
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}],
        "usage": {"input_tokens": 3, "output_tokens": 400_000},
    }
    content = (
        b"event: response.completed\ndata: "
        + json.dumps({"type": "response.completed", "response": response}).encode()
        + b"\n\n"
    )
    pieces = [content[place : place + 16_384] for place in range(0, len(content), 16_384)]
    relayed, reading, _ = play("openai.responses", pieces)
    assert relayed == content
    assert reading["usage"] == {"input": 3, "output": 400_000}


def test_a_foreign_error_in_an_anthropic_stream_does_not_spoil_its_usage() -> None:
    case = next(case for case in STREAMS if case.name == "anthropic/messages_plain.sse")
    foreign = b'data: {"type":"error","message":"upstream broke","error":{"code":"upstream"}}\n\n'
    _, reading, _ = play(case.flavour, [case.content + foreign])
    assert reading == {**case.expected, "error": "upstream"}
