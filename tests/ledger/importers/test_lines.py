import gzip
import io

import pytest

from penstock.errors import InputError
from penstock.ledger.importers.drafts import Rejected
from penstock.ledger.importers.lines import LINE_LIMIT, Line, lines, open_stream, sample


def test_lines_are_numbered_as_an_editor_does():
    assert list(lines(io.BytesIO(b"\xef\xbb\xbfa\r\n\n  b\nc"))) == [Line(1, "a"), Line(3, "  b"), Line(4, "c")]


def test_a_line_that_is_too_long_is_set_aside_and_the_next_one_is_read():
    found = list(lines(io.BytesIO(b"a\n" + b"x" * 100 + b"\nb\n"), limit=10))
    assert found[0] == Line(1, "a")
    assert isinstance(found[1], Rejected)
    assert (found[1].line, found[1].code) == (2, "line_too_long")
    assert "101 bytes" in found[1].reason
    assert found[2] == Line(3, "b")


def test_a_line_as_long_as_the_limit_is_read():
    assert list(lines(io.BytesIO(b"x" * 9 + b"\n" + b"y" * 10), limit=10)) == [Line(1, "x" * 9), Line(2, "y" * 10)]


def test_ten_megabytes_without_a_line_end_are_one_rejected_line():
    [found] = lines(io.BytesIO(b"x" * 10_000_000))
    assert isinstance(found, Rejected)
    assert found.code == "line_too_long"
    assert len(found.row) < LINE_LIMIT / 100


def test_a_line_in_another_encoding_is_set_aside():
    found = list(lines(io.BytesIO("a\ncafé\nb\n".encode("latin-1"))))
    assert [item.code if isinstance(item, Rejected) else item.text for item in found] == ["a", "wrong_encoding", "b"]


def test_a_gzip_that_is_cut_off_gives_what_is_whole_and_says_where_it_ends(tmp_path):
    file = tmp_path / "rows.csv.gz"
    packed = gzip.compress(b"".join(b"%d,row,%d\n" % (n, n * 7919 % 1000) for n in range(5000)))
    file.write_bytes(packed[: len(packed) // 2])
    stream, raw = open_stream(file)
    with raw, stream:
        *whole, last = lines(stream)
    assert isinstance(last, Rejected)
    assert last.code == "truncated_file"
    assert last.line == len(whole) + 1 > 100
    assert all(line == Line(n + 1, f"{n},row,{n * 7919 % 1000}") for n, line in enumerate(whole))


def test_gzip_is_known_by_its_bytes_and_not_by_its_name(tmp_path):
    (tmp_path / "rows.csv").write_bytes(gzip.compress(b"at,model\n"))
    (tmp_path / "rows.csv.gz").write_bytes(b"at,model\n")
    assert sample(tmp_path / "rows.csv").header == sample(tmp_path / "rows.csv.gz").header == "at,model"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"), (b" \n\n", "empty"), (gzip.compress(b"", mtime=0), "empty"), (b"PK\x03\x04rest", "spreadsheet"),
        (b"PAR1rest", "Parquet"), ("a,b\n".encode("utf-16"), "UTF-16"), (b"\x00\x01\x02", "binary"),
        (b"\x28\xb5\x2f\xfd....", "zstd"), (b"\x1f\x8b\x08\x00", "ends before the first row"),
        (b"\x1f\x8bnot gzip at all", "ends before the first row"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_hold_rows_is_refused_in_a_sentence(tmp_path, data, sentence):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(InputError, match=sentence):
        sample(tmp_path / "file")


def test_a_file_that_is_not_there_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        sample(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="directory"):
        sample(tmp_path)
