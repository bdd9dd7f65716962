"""Who pays: key first, then headers, then body."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.metering.attribution import LONGEST, MOST_TAGS, NOBODY, Attribution, attribute, clean
from penstock.metering.request import RequestHead, read_request


def head(**body: Any) -> RequestHead:
    return read_request("openai.chat", json.dumps(body).encode())


def test_without_anything_to_fill_the_keys_own_attribution_is_returned() -> None:
    key = Attribution(key="k1", team="search")
    assert attribute({b"host": b"x"}, head(), key) is key
    assert attribute({}, head()) is NOBODY


def test_the_key_stands_before_headers_and_headers_before_the_body() -> None:
    key = Attribution(key="k1", team="search", tags={"env": "prod"})
    headers = {"x-penstock-team": "other", "x-penstock-app": "shop", "x-penstock-run": "r9"}
    body = head(user="u7", metadata={"app": "body", "feature": "summary", "env": "dev", "release": 12})
    assert attribute(headers, body, key) == Attribution(
        key="k1", team="search", app="shop", feature="summary", user="u7", run="r9",
        tags={"env": "prod", "release": "12"},
    )  # fmt: skip


def test_headers_may_be_bytes_or_text() -> None:
    assert attribute({b"x-penstock-user": "Zoë".encode()}, head()).user == "Zoë"
    assert attribute({b"x-penstock-user": "Zoë".encode("latin-1")}, head()).user == "Zoë"
    assert attribute({"x-penstock-user": "Zoë"}, head()).user == "Zoë"


def test_anthropics_user_stands_in_its_metadata() -> None:
    assert attribute({}, head(metadata={"user_id": "u-1"})) == Attribution(user="u-1")


def test_openais_safety_identifier_stands_for_the_user_where_none_is_named() -> None:
    assert attribute({}, head(safety_identifier="s")).user == "s"
    assert attribute({}, head(safety_identifier="s", user="u")).user == "u"


def test_no_client_writes_what_a_proof_rests_on() -> None:
    assert attribute({}, head(metadata={"penstock.arm": "control", "env": "dev"})).tags == {"env": "dev"}


def test_metadata_that_is_no_flat_object_is_passed_over() -> None:
    assert attribute({}, head(metadata=[1, 2, 3])) is NOBODY
    assert attribute({}, head(metadata={"a": {"b": 1}, "c": [1], "d": None, "e": True})) is NOBODY


def test_tags_are_bounded_in_number() -> None:
    assert len(attribute({}, head(metadata={f"t{n}": "v" for n in range(50)})).tags) == MOST_TAGS


@given(st.text(max_size=600) | st.binary(max_size=600))
def test_a_value_is_short_and_printable(value: str | bytes) -> None:
    kept = clean(value)
    assert len(kept) <= LONGEST
    assert kept.isprintable()
    kept.encode()


def test_control_characters_are_stripped() -> None:
    assert clean(b" search\r\nx-evil: 1\x00\x1b[31m ") == "searchx-evil: 1[31m"
