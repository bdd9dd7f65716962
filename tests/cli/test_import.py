import gzip
import json
from pathlib import Path

import pytest

from penstock.cli.main import main
from penstock.cli.options import console
from penstock.ledger.importers.formats import FORMATS

DATA = Path(__file__).parents[1] / "data"
TRACE = DATA / "azure_llm_2023_conv_50.csv"
GPT_4O = ["--provider", "azure", "--model", "gpt-4o", "--deployment-type", "global"]


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.setattr(console, "_width", 140)
    monkeypatch.chdir(tmp_path)


def penstock(*words: object) -> int:
    """Run a command and return its exit code."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_an_import_says_what_it_guessed_and_what_came_of_it(capsys):
    assert penstock("import", TRACE, *GPT_4O) == 0
    out = capsys.readouterr().out
    assert "traces: its columns are TIMESTAMP, ContextTokens, GeneratedTokens" in out
    assert "50: 50 new, 0 already there" in out
    assert "2023-11-16 18:15:46 to 2023-11-16 18:1" in out
    assert "50 events are older than any price known" in out
    assert Path("penstock-data").is_dir()


def test_an_import_twice_books_nothing_twice(capsys):
    penstock("import", TRACE, *GPT_4O, "--json")
    penstock("import", TRACE, *GPT_4O, "--json")
    out = capsys.readouterr().out
    first, second = json.loads("[" + out.replace("}\n{", "},{") + "]")
    [one], [other] = first["files"], second["files"]
    assert (one["new"], one["duplicates"]) == (50, 0)
    assert (other["new"], other["duplicates"]) == (0, 50)
    assert one["cost"] == other["cost"]


def test_several_files_of_several_formats_are_booked_together(capsys):
    files = [DATA / "usage.csv", DATA / "openai_usage_completions.json", DATA / "litellm_spend_logs.jsonl"]
    assert penstock("import", *files, "--data", "ledger", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [(file["format"], file["new"]) for file in document["files"]] == [
        ("csv", 3), ("openai_usage", 1), ("litellm", 5),
    ]  # fmt: skip
    assert document["files"][2]["provider_cost"].startswith("0.013065")


def test_traffic_from_two_sources_is_told_at_the_import_and_counted_once(capsys):
    penstock("import", DATA / "openai_costs.json")
    assert "recorded by other sources" not in capsys.readouterr().out
    penstock("import", DATA / "openai_usage_completions.json")
    out = capsys.readouterr().out
    assert "1 day is recorded by other sources, too (gpt-4o-mini): openai_usage counts instead of openai_costs" in out
    penstock("report", "--by", "source")
    out = capsys.readouterr().out
    assert "Left out: 3 events of openai_costs, $2.4732; it says $2.4732 was charged: openai_usage counts" in out
    penstock("report", "--json")
    assert json.loads(capsys.readouterr().out)["total"] == "2.4732"
    penstock("report", "--sources", "all", "--json")
    assert json.loads(capsys.readouterr().out)["total"] == "4.9464"
    assert penstock("report", "--sources", "hearsay") == 2
    assert "there is no source 'hearsay'" in capsys.readouterr().err


def test_a_charge_without_quantities_is_in_no_total_and_said(capsys):
    penstock("import", DATA / "anthropic_costs.json")
    assert "charged   the source says $1.50 for events without a price of ours" in capsys.readouterr().out
    penstock("report")
    out = capsys.readouterr().out
    assert "1 charge without quantities that could be priced: claude-sonnet-4-5 at anthropic" in out
    assert "prices set" not in out


def test_an_unpriced_model_is_named_with_what_to_do(capsys):
    assert penstock("import", TRACE, "--provider", "azure", "--model", "mystery", "--deployment-type", "global") == 0
    out = capsys.readouterr().out
    assert "50 events have no price: model mystery. Add one with: penstock prices set mystery --provider" in out


def test_a_dry_run_makes_no_ledger(capsys):
    assert penstock("import", TRACE, *GPT_4O, "--dry-run") == 0
    assert "50: nothing booked (dry run)" in capsys.readouterr().out
    assert not Path("penstock-data").exists()


def test_rejected_rows_are_shown_and_kept(capsys):
    Path("bad.csv").write_text(
        "at,provider,model,input_tokens\n2026-03-14,azure,gpt-4o,1\n2026-03-14,azure,gpt-4o,-1\n"
    )
    assert penstock("import", "bad.csv") == 0
    out = capsys.readouterr().out
    assert "1 row: 1 negative_number" in out
    assert "line 3: input_tokens is -1" in out
    [kept] = Path("penstock-data/rejects").iterdir()
    assert str(kept) in out


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cut.csv.gz", gzip.compress(TRACE.read_bytes(), mtime=0)[:-200]),
        ("none.csv", b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00,x,1\n"),
    ],
)
def test_a_file_that_was_cut_off_or_of_which_nothing_is_usable_ends_with_one(name, data, capsys):
    Path(name).write_bytes(data)
    assert penstock("import", name, *GPT_4O) == 1
    assert "rejected" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"), (b"\x00\x01", "binary"), (b"PK\x03\x04", "spreadsheet"), (b"a,b\n1,2\n", "no known format"),
        (TRACE.read_bytes(), "--provider"), (b'"organization.usage.completions.result', "not JSON"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_sentence_and_exit_code_two(data, sentence, capsys):
    Path("file").write_bytes(data)
    assert penstock("import", "file") == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert "Traceback" not in err


def test_a_bad_file_stops_the_import_before_the_first_one_is_booked(capsys):
    assert penstock("import", TRACE, "missing.csv", *GPT_4O) == 2
    assert "missing.csv" in capsys.readouterr().err
    assert not Path("penstock-data").exists()


def test_a_deployment_type_that_does_not_exist_is_refused(capsys):
    assert penstock("import", TRACE, *GPT_4O[:4], "--deployment-type", "globl") == 2
    assert "global, data_zone, regional" in capsys.readouterr().err


def test_without_files_it_says_how_to_name_them(capsys):
    assert penstock("import") == 2
    assert "penstock import FILE" in capsys.readouterr().err


def test_the_help_has_examples_that_name_only_what_exists(capsys):
    penstock("import", "--help")
    out = capsys.readouterr().out
    assert "Examples" in out
    assert "azure_llm_2023_conv.csv.gz --provider azure" in out
    assert [name for name in FORMATS if name not in out] == []


def test_a_document_of_which_nothing_is_whole_names_the_break_and_the_rejects_file(capsys):
    Path("file").write_bytes(b'{"data": [{"results": [{"object": "organization.usage.completions.result"')
    assert penstock("import", "file") == 1
    out = capsys.readouterr().out
    assert "1 row: 1 truncated_file" in out
    assert "breaks off in line 1" in out
    [rejects] = Path("penstock-data/rejects").iterdir()
    assert str(rejects) in out


def test_what_has_no_price_costs_an_unknown_sum_and_not_nothing(capsys):
    assert penstock("import", str(DATA / "vllm_metrics.prom")) == 0
    out = capsys.readouterr().out
    assert "cost      not known: no event has a price" in out
    assert "2 events have no price: model Qwen/Qwen3-8B" in out


def test_a_dry_run_leaves_no_ledger_and_no_rejects_behind(capsys):
    assert penstock("import", str(DATA / "azure_diagnostics.jsonl"), "--dry-run") == 0
    assert "without --dry-run all of them go to a file" in capsys.readouterr().out
    assert list(Path().iterdir()) == []
