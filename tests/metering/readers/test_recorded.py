"""Every recorded provider body yields the reading beside it, and has the shape that the official SDK knows."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import anthropic.types
import anthropic.types.beta
import openai.types
import openai.types.chat
import openai.types.responses
import openai.types.shared
import pytest
from anthropic.types.shared import ErrorResponse
from pydantic import TypeAdapter, ValidationError
from tests.metering.recorded import BODIES, CASES, FOLDER, STREAMS, Case, shown

from penstock.metering.readers import read_body, stream_reader

TYPES: dict[str, Any] = {
    "ChatCompletion": openai.types.chat.ChatCompletion,
    "ChatCompletionChunk": openai.types.chat.ChatCompletionChunk,
    "Completion": openai.types.Completion,
    "CreateEmbeddingResponse": openai.types.CreateEmbeddingResponse,
    "Response": openai.types.responses.Response,
    "ResponseStreamEvent": openai.types.responses.ResponseStreamEvent,
    "ErrorObject": openai.types.shared.ErrorObject,
    "Message": anthropic.types.Message,
    "BetaMessage": anthropic.types.beta.BetaMessage,
    "RawMessageStreamEvent": anthropic.types.RawMessageStreamEvent,
    "ErrorResponse": ErrorResponse,
}


@cache
def adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(TYPES[name])


def documents(case: Case) -> list[Any]:
    """Split a case into the JSON documents that an SDK would type."""
    if not case.streamed:
        document = json.loads(case.content)
        return [document["error"] if case.sdk == "ErrorObject" else document]
    lines = case.content.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]


@pytest.mark.parametrize("case", BODIES, ids=lambda case: case.name)
def test_a_recorded_body_yields_the_reading_beside_it(case: Case) -> None:
    assert shown(read_body(case.flavour, case.content)) == case.expected


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_a_recorded_stream_yields_the_reading_and_the_text_beside_it(case: Case) -> None:
    reader = stream_reader(case.flavour, hide_usage=False)
    assert reader.feed(case.content) + reader.close() == case.content
    assert shown(reader.reading()) == case.expected
    assert reader.text() == case.text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_recorded_body_has_the_shape_that_the_sdk_knows(case: Case) -> None:
    problems = []
    for document in documents(case):
        if case.sdk is not None:
            try:
                adapter(case.sdk).validate_python(document)
            except ValidationError as problem:
                problems.append(str(problem))
    expected_to_deviate = bool(case.deviation) and case.sdk is not None
    assert bool(problems) == expected_to_deviate, problems


FOLDERS = sorted({FOLDER / case.name.partition("/")[0] for case in CASES})


def test_every_recorded_file_belongs_to_a_case() -> None:
    named = {FOLDER / case.name for case in CASES}
    present = {file for folder in FOLDERS for file in folder.iterdir() if not file.name.endswith(".expected.json")}
    assert present == named


def test_every_provider_of_the_recordings_is_in_their_readme() -> None:
    readme = Path(FOLDER / "README.md").read_text(encoding="utf-8")
    assert [folder.name for folder in FOLDERS if f"`{folder.name}/`" not in readme] == []
