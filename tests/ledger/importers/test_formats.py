from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.importers.reading import DATA, read

from penstock.errors import InputError
from penstock.ledger.importers.drafts import Assumed, Draft, Note, Rejected, Sample
from penstock.ledger.importers.formats import FORMATS, choose
from penstock.ledger.importers.lines import sample

FILES = [file for file in sorted(DATA.glob("*")) if file.suffix != ".md"]
SAMPLES = [file.read_bytes() for file in FILES]
REJECT_CODES = (
    "negative_number", "not_a_number", "too_large", "missing_value", "not_a_time", "future_date", "too_old",
    "wrong_usage", "wrong_columns", "wrong_csv", "not_json", "wrong_currency", "wrong_encoding", "line_too_long",
    "unknown_kind", "unfinished_bucket", "repeated_id", "truncated_file", "no_tokens", "cumulative",
)  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None)
@given(body=st.sampled_from(SAMPLES), data=st.data())
def test_no_damage_to_a_file_is_more_than_rejected_rows_or_a_sentence(name, body, data):
    """Bytes changed, cut out or put in: what is read is sound, what is not is named."""
    body = body[: data.draw(st.integers(0, 3000))]
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body)))
        cut = data.draw(st.integers(0, 5))
        put = data.draw(
            st.sampled_from([b"\xff", b"\x00", b'"', b"\n", b"-", b"9" * 50, b"[{", b",,", b"null", b"\xed\xa0\x80"])
        )
        body = body[:at] + put + body[at + cut :]
    format_ = FORMATS[name]
    assumed = {"provider": "azure", "model": "gpt-4o", "deployment_type": "global"}
    guess = format_.sniff(Sample(body.decode("utf-8-sig", errors="replace")), Assumed(**assumed))
    assert guess.why
    items: list[Draft | Rejected | Note] = []
    with suppress(InputError):
        items = read(format_, body, **assumed)
    for item in items:
        match item:
            case Draft():
                assert all(count >= 0 for count in item.event.usage.units().values())
                assert item.event.provider
                assert item.event.model
                assert item.content
                assert item.event.at.tzinfo is not None
            case Rejected():
                assert item.code in REJECT_CODES
                assert item.line > 0
            case Note():
                assert item.text


def test_every_format_and_every_reason_is_documented():
    page = (Path(__file__).parents[3] / "docs/importing.md").read_text("utf-8")
    assert [name for name in (*FORMATS, *REJECT_CODES) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_exactly_one_format_takes_a_sample_for_its_own(file):
    """Or else the order of formats would decide."""
    head = sample(file)
    fits = [name for name, format_ in FORMATS.items() if format_.sniff(head, Assumed()).fits]
    assert len(fits) == 1, fits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foo,bar\n1,2\n", "The nearest:\n  csv: its header has no column at, provider, model, input_tokens"),
        ("at,provider,model,input_tokens,prompt_tokens\n", "The nearest:\n  csv: the header has two columns that mean"),
        ('{"Items": [{"retailPrice": 0.15, "unitOfMeasure": "1M"}]}', "read by penstock prices update"),
    ],
)
def test_a_file_of_no_format_is_told_what_is_nearest(tmp_path, text, said):
    file = tmp_path / "file"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        choose(file, Assumed())
    assert said in str(error.value)
