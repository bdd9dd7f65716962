import json
import threading
from collections.abc import Callable
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from penstock.cli import prices_update
from penstock.cli.main import main
from penstock.cli.options import console
from penstock.ledger.log import LogWriter
from penstock.pricing.book import Book
from penstock.pricing.folder import own_layers

PAGE = json.loads((Path(__file__).parents[1] / "recorded/azure_retail/page1.json").read_text())
AT = ("--at", "2026-11-23")


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    monkeypatch.setattr(console, "_width", 120)


@pytest.fixture
def run(tmp_path, capsys):
    """Run `penstock prices` in a fresh data folder; returns exit code, output and errors."""

    def command(*words: object) -> tuple[int, str, str]:
        code = 0
        try:
            main(["prices", *map(str, words), "--data", str(tmp_path), "--config", str(tmp_path / "penstock.toml")])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return command


@pytest.fixture
def document(run):
    def command(*words: object):
        code, out, _ = run(*words, "--json")
        assert code == 0
        return json.loads(out)

    return command


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_the_list_shows_the_prices_in_force(run):
    code, out, _ = run("list", "--model", "gpt-4o-mini", *AT)
    assert code == 0
    assert lines(out) == [
        "Prices in force on 2026-11-23",
        "model        for                 input  cached  output  from        book",
        "gpt-4o-mini  global batch        0.075       –     0.3  2024-07-01  azure",
        "gpt-4o-mini  global               0.15   0.075     0.6  2024-07-01  azure",
        "gpt-4o-mini  data_zone:eu batch  0.083       –    0.33  2025-01-01  azure",
        "gpt-4o-mini  data_zone:us batch  0.083       –    0.33  2025-01-01  azure",
        "gpt-4o-mini  data_zone:eu        0.165  0.0825    0.66  2024-07-01  azure",
        "gpt-4o-mini  data_zone:us        0.165  0.0825    0.66  2024-07-01  azure",
        "Dollars per 1M tokens or characters, 1,000 searches or pages, one second. Books: azure@2026-11-26",
    ]


def test_the_list_as_json_has_exact_rates_and_what_they_buy(document):
    found = document("list", "--model", "gpt-4o-mini", "--mode", "standard", "--deployment-type", "global", *AT)
    (row,) = found["rows"]
    assert row["rates"] == {"input": "0.15", "cache_read": "0.075", "output": "0.6"}
    assert row["per"] == {"input": 1_000_000, "cache_read": 1_000_000, "output": 1_000_000}
    assert (row["row"], row["book"]) == ("azure/gpt-4o-mini/global/standard@2024-07-01", "azure@2026-11-26")
    assert row["read"] == "2026-11-23"


def test_direct_providers_are_listed_when_asked_for(document):
    (row,) = document("list", "--provider", "openai", "--model", "gpt-4o-mini-audio", *AT)["rows"]
    assert row["book"].startswith("genai-prices@")
    assert {row["provider"] for row in document("list", "--provider", "all", "--model", "gpt-4o-mini", *AT)["rows"]} > {
        "azure",
        "openai",
    }


def test_the_list_of_an_earlier_day_has_the_prices_of_that_day(document):
    words = ("list", "--model", "gpt-5.6-luna", "--mode", "standard", "--deployment-type", "global", "--at")
    for day, price in (("2026-07-29", "1"), ("2026-07-30", "0.2")):
        assert [row["rates"]["input"] for row in document(*words, day)["rows"] if row["rates"]] == [price]


def test_show_tells_which_layer_decides_and_what_it_hides(run):
    run("set", "Phi-4", "--provider", "azure", "--input", "0.10", "--output", "0.40", "--from", "2026-11-01")
    run("set", "Phi-4", "--provider", "azure", "--input", "0.09", "--output", "0.40", "--from", "2027-01-01")
    code, out, _ = run("show", "Phi-4", "--provider", "azure", *AT)
    assert code == 0
    assert lines(out)[1:5] == [
        "model  for     input  output  from        standing",
        "Phi-4  global    0.1     0.4  2026-11-01  in force",
        "Phi-4  global   0.09     0.4  2027-01-01  begins 2027-01-01",
        "Phi-4  global  0.125     0.5  2025-04-01  hidden by own",
    ]
    assert "azure/Phi-4/global/standard@2025-04-01 of azure@2026-11-26, read 2026-11-23" in out


def test_show_tells_retirement_and_fine_tuning(run):
    assert "Retires at azure on 2026-11-19" in run("show", "o1", "--provider", "azure", *AT)[1]
    assert "$25 per 1M training tokens" in run("show", "gpt-4.1", "--provider", "azure", *AT)[1]


def test_show_finds_a_model_that_only_direct_providers_have(run):
    code, out, _ = run("show", "claude-sonnet-4-5", *AT)
    assert code == 0
    assert "hidden" not in out


def test_an_unknown_model_is_an_error_that_suggests_the_near_ones(run):
    code, _, err = run("show", "gpt-4o-minni", "--provider", "azure")
    assert code == 2
    assert "Is it one of gpt-4o-mini" in err
    assert "penstock prices set gpt-4o-minni" in err


def test_history_shows_a_cut_on_its_day(run):
    code, out, _ = run("history", "gpt-5.6-sol", "--provider", "azure")
    assert code == 0
    found = [line for line in lines(out) if line.startswith("gpt-5.6-sol  global   ")]
    assert found == [
        "gpt-5.6-sol  global                  5     0.5     6.25      30  2026-07-09  azure",
        "gpt-5.6-sol  global                  4     0.4        5      20  2026-08-21  azure",
    ]


def test_the_guides_table_differs_from_azure_in_two_models(run):
    code, out, _ = run("diff", "guide-2026-03", "azure")
    assert code == 0
    changed = {line.split()[0] for line in lines(out) if "%" in line and "2024-05-13" not in line}
    assert changed == {"DeepSeek-R1", "Phi-4"}
    assert "DeepSeek-R1        global  input                0.55   1.35  +145.5%" in lines(out)
    assert "by one side only; see them with --all" in out


def test_two_days_differ_by_the_cuts_between_them(document):
    found = document("diff", "2026-07-29", "2026-08-21", "--model", "gpt-5.6")
    one = next(
        line
        for line in found["changes"]
        if (line["model"], line["deployment_type"], line["mode"], line["unit"])
        == ("gpt-5.6-luna", "global", "standard", "input")
    )
    assert (one["old"], one["new"], one["per"]) == ("1", "0.2", 1_000_000)
    assert {line["model"] for line in found["changes"]} == {"gpt-5.6-luna", "gpt-5.6-terra", "gpt-5.6-sol"}
    assert document("diff", "2026-08-21", "2026-08-22")["changes"] == []


def test_a_book_that_is_not_there_is_an_error_that_names_the_ones_that_are(run):
    code, _, err = run("diff", "azure", "nowhere")
    assert code == 2
    assert "guide-2026-03" in err


def test_set_adds_rows_and_never_edits_one(run, document, tmp_path):
    file = tmp_path / "prices" / "own.csv"
    run(
        "set",
        "gpt-4o",
        "--provider",
        "azure",
        "--input",
        "2.1",
        "--cache-read",
        "1.05",
        "--output",
        "8.4",
        "--from",
        "2026-11-01",
    )
    first = file.read_text()
    code, _, err = run("set", "gpt-4o", "--provider", "azure", "--input", "1", "--output", "1", "--from", "2026-11-01")
    assert code == 2
    assert "rows are never edited" in err
    assert file.read_text() == first
    run(
        "set",
        "gpt-4o",
        "--provider",
        "azure",
        "--input",
        "2",
        "--cache-read",
        "1",
        "--output",
        "8",
        "--from",
        "2026-12-01",
        "--source",
        "Amendment 2",
    )
    assert file.read_text().startswith(first)
    assert [(row.rates["input"] * 10**6, row.source) for row in own_layers(tmp_path).books[0].rows] == [
        (Decimal("2.1"), "set on the command line"),
        (2, "Amendment 2"),
    ]
    row = document("list", "--model", "gpt-4o", "--deployment-type", "global", "--mode", "standard", *AT)["rows"][0]
    assert (row["rates"]["input"], row["book"].partition("@")[0]) == ("2.1", "own")


def test_set_says_what_a_running_server_wants(run, tmp_path):
    words = ("set", "mystery", "--provider", "azure", "--input", "1", "--output", "2", "--from")
    assert "kill -HUP" not in run(*words, "2026-01-01")[1]
    with LogWriter(tmp_path, "worker-1"):
        assert "kill -HUP" in run(*words, "2026-02-01")[1]


def test_set_doubts_a_slip_and_a_gap(run):
    _, out, _ = run("set", "gpt-4o", "--provider", "azure", "--input", "250", "--output", "10")
    assert "Is this right? input 250 after 2.5 from 2024-12-01" in out
    assert "no rate for cache_read, which azure@2026-11-26 has" in out


def test_the_first_price_of_a_model_stands_in_for_older_days_unless_it_names_its_first(document, run):
    run("set", "mystery", "--provider", "azure", "--input", "1", "--output", "2")
    run("set", "dated", "--provider", "azure", "--input", "1", "--output", "2", "--from", "2026-01-01")
    run("set", "Phi-4", "--provider", "azure", "--input", "0.1", "--output", "0.4")
    old = document("list", "--provider", "azure", "--at", "2020-01-01")["rows"]
    assert [row["model"] for row in old if row["book"].startswith("own")] == ["mystery"]


def test_everything_of_a_provider_can_be_flat_rate(run, document):
    assert run("set", "*", "--provider", "vllm", "--flat-rate", "--from", "2026-01-01")[0] == 0
    assert [row["flat_rate"] for row in document("list", "--provider", "vllm", *AT)["rows"]] == [True]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--input", "cheap"), "'cheap' is not an amount of dollars"),
        ((), "Give at least one rate"),
        (("--input", "-1"), "a rate is zero or more dollars"),
        (("--input", "1", "--rate", "web_searches"), "write it as unit=dollars"),
        (("--input", "1", "--rate", "vibes=3"), "vibes: there is no such field"),
        (("--input", "1", "--mode", "slow"), "'slow' is none of standard"),
        (("--input", "1", "--from", "soon"), "'soon' is not a day"),
        (("--input", "1", "--hours", "25:00-26:00"), "hours: '25:00-26:00': write them as 16:30-00:30"),
        (("--input", "1e400000"), "input: 1e400000: more than 1,000,000,000 dollars for 1,000,000 cannot be right"),
        (("--input", "1", "--output", "2", "--free"), "free: it excludes input and output"),
        (("--free", "--flat-rate"), "free: it excludes flat_rate"),
    ],
)
def test_a_wrong_price_is_refused_and_nothing_is_written(run, tmp_path, words, sentence):
    code, _, err = run("set", "m", "--provider", "p", *words)
    assert code == 2
    assert sentence in err
    assert not (tmp_path / "prices").exists()


def test_check_finds_nothing_in_fresh_books_and_tells_the_retirements(run):
    code, out, _ = run("check", *AT)
    assert code == 0
    assert "No problems on 2026-11-23" in out
    assert "azure/o1" in out


def test_check_finds_a_slip_and_old_prices(run, document):
    run(
        "set",
        "gpt-4o",
        "--provider",
        "azure",
        "--input",
        "250",
        "--cache-read",
        "1.25",
        "--output",
        "10",
        "--from",
        "2026-11-01",
    )
    code, out, _ = run("check", "--at", "2027-06-01", "--json")
    assert code == 1
    problems = [(one["kind"], one["what"]) for one in json.loads(out)["problems"]]
    assert problems[0] == ("suspect", "azure/gpt-4o/global/standard@2026-11-01")
    assert ("old", "azure@2026-11-26") in problems


def test_check_names_the_unpriced_and_the_retired_models_of_the_ledger(run, tmp_path, capsys):
    usage = tmp_path / "usage.csv"
    usage.write_text(
        "at,provider,model,input_tokens,output_tokens\n"
        "2026-11-20T10:00:00Z,azure,mystery,5,5\n2026-11-21T10:00:00Z,azure,mystery,5,5\n2026-11-22T10:00:00Z,azure,o1,5,5\n"
    )
    with pytest.raises(SystemExit, match="0"):
        main(["import", str(usage), "--data", str(tmp_path), "--json"])
    capsys.readouterr()
    code, out, _ = run("check", *AT, "--json")
    assert code == 1
    found = {one["kind"]: one for one in json.loads(out)["problems"]}
    assert found["unpriced"]["what"] == "azure/mystery"
    assert found["unpriced"]["problem"].startswith("2 events; No price for mystery at azure. Add one with")
    assert found["retired"]["problem"] == "used until 2026-11-22, retired on 2026-11-19"


def test_check_is_content_once_the_unpriced_events_were_priced_anew(run, tmp_path, capsys):
    usage = tmp_path / "usage.csv"
    usage.write_text(
        "at,provider,model,input_tokens,output_tokens\n"
        "2026-11-20T10:00:00Z,azure,mystery,5,5\n2026-11-21T10:00:00Z,azure,riddle,5,5\n"
    )
    with pytest.raises(SystemExit, match="0"):
        main(["import", str(usage), "--data", str(tmp_path), "--json"])
    assert run("set", "mystery", "--provider", "azure", "--input", "1", "--output", "2")[0] == 0
    problems = json.loads(run("check", *AT, "--json")[1])["problems"]
    assert {one["what"]: one["problem"] for one in problems if one["kind"] == "unpriced"}["azure/mystery"] == (
        "1 event; today's books have a price; book it with: penstock ledger reprice"
    )
    with pytest.raises(SystemExit, match="0"):
        main(["ledger", "reprice", "--yes", "--data", str(tmp_path)])
    capsys.readouterr()
    problems = json.loads(run("check", *AT, "--json")[1])["problems"]
    assert [one["what"] for one in problems if one["kind"] == "unpriced"] == ["azure/riddle"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("update", "--url", "prices.azure.com"), "--url prices.azure.com: write an address that begins with https"),
        (("update", "--url", "ftp://example.com/x"), "write an address that begins with https"),
        (("check", "--stale-days", "-1"), "--stale-days -1: give a number of days from 0"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_code_two(run, words, sentence):
    code, _, err = run(*words)
    assert code == 2
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_a_data_folder_that_is_a_file_is_named(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(SystemExit, match="2"):
        main(["prices", "set", "m", "--provider", "p", "--input", "1", "--data", str(file)])
    assert f"{file}/prices/own.csv cannot be written: Not a directory" in capsys.readouterr().err


def test_a_file_that_is_no_book_is_named(run, tmp_path):
    file = tmp_path / "letter.json"
    file.write_text('{"dear": "sir"}')
    code, _, err = run("diff", file, "azure")
    assert code == 2
    assert "Price book letter.json, its bytes: they are no price book" in err


class PriceServer:
    """The price list on a real socket: `answer` gets the query and the number of the call."""

    def __init__(self, answer: Callable[["PriceServer", dict[str, str], int], tuple[int, bytes]]) -> None:
        self.calls: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                outer.calls.append(query)
                status, body = answer(outer, query, len(outer.calls))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/retail/prices"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(prices_update, "WAIT_SECONDS", 0.01)
    servers: list[PriceServer] = []

    def start(answer) -> PriceServer:
        servers.append(PriceServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def pages(size: int = 10, items: list[dict] | None = None):
    """Answer with the recorded page in several pieces, linked to each other."""
    every = PAGE["Items"] if items is None else items

    def answer(server: PriceServer, query: dict[str, str], _: int) -> tuple[int, bytes]:
        skip = int(query.get("$skip", 0))
        rest = skip + size < len(every)
        link = f"{server.url}?$skip={skip + size}" if rest else None
        return 200, json.dumps({**PAGE, "Items": every[skip : skip + size], "NextPageLink": link}).encode()

    return answer


def priced(meter: str, price: float, region: str = "eastus2", start: str = "2026-11-01T00:00:00Z") -> dict:
    return {
        **PAGE["Items"][0],
        "meterName": meter,
        "retailPrice": price,
        "armRegionName": region,
        "effectiveStartDate": start,
    }


def gpt_41(price: float) -> list[dict]:
    return [priced(f"gpt 4.1 {unit} glbl Tokens", price) for unit in ("Inp", "cached Inp", "Outp")]


def test_update_follows_every_page_and_writes_a_dated_book_that_stays_readable(run, serve, tmp_path):
    server = serve(pages())
    code, out, err = run("update", "--url", server.url, "--yes", "--json")
    assert (code, err) == (0, "")
    assert [call.get("$skip") for call in server.calls] == [None, "10", "20", "30", "40"]
    assert server.calls[0]["currencyCode"] == "'USD'"
    assert "Foundry Models" in server.calls[0]["$filter"]
    found = json.loads(out)
    book = Book.from_bytes(Path(found["file"]).read_bytes())
    assert (book.id, book.sha256, len(book.rows)) == (found["book"], found["sha256"], found["rows"])
    assert found["changes"] == []  # the list of 2026-08 is the one that the shipped book was made from
    assert {left["why"] for left in found["not_understood"]} >= {"a virtual machine, not a model", "fine-tuning"}
    assert own_layers(tmp_path).updates == (book,)


def test_update_shows_what_changes_before_it_writes_and_writes_nothing_without_a_yes(run, serve, tmp_path):
    server = serve(pages(items=gpt_41(0.0015)))
    code, out, _ = run("update", "--url", server.url)
    assert code == 0
    assert "gpt-4.1  global  input         2  1.5   -25.0%" in lines(out)
    assert "Nothing was written." in out
    assert not (tmp_path / "prices").exists()


def test_an_updated_price_counts_from_its_day_and_the_older_books_stay(run, document, serve, tmp_path):
    prices = tmp_path / "prices"
    assert run("update", "--url", serve(pages(items=gpt_41(0.0015))).url, "--yes")[0] == 0
    next(prices.iterdir()).rename(prices / "azure-2026-11-02T000000Z.json")
    assert run("update", "--url", serve(pages(items=gpt_41(0.0012))).url, "--yes")[0] == 0
    words = ("list", "--model", "gpt-4.1", "--deployment-type", "global", "--mode", "standard", "--at")
    rows = [
        row
        for day in ("2026-10-31", "2026-11-01")
        for row in document(*words, day)["rows"]
        if row["model"] == "gpt-4.1"
    ]
    assert [(row["rates"]["input"], row["book"].partition("@")[0]) for row in rows] == [
        ("2", "azure"),
        ("1.2", "azure-retail"),
    ]
    assert len(list((tmp_path / "prices").glob("azure-*.json"))) == 2


def test_a_list_that_says_what_the_newest_book_says_is_not_written_again(run, document, serve, tmp_path):
    first = document("update", "--url", serve(pages(items=gpt_41(0.0015))).url, "--yes")
    again = document("update", "--url", serve(pages(items=gpt_41(0.0015))).url, "--yes")
    assert (again["file"], again["same_as"], again["changes"]) == (None, first["book"], [])
    code, out, _ = run("update", "--url", serve(pages(items=gpt_41(0.0015))).url, "--yes")
    assert code == 0
    assert f"The list says what {first['book']} says; nothing was written." in " ".join(out.split())
    Path(first["file"]).rename(tmp_path / "prices" / "azure-2026-11-02T000000Z.json")  # read some days ago
    other = document("update", "--url", serve(pages(items=gpt_41(0.0012))).url, "--yes")
    Path(other["file"]).rename(tmp_path / "prices" / "azure-2026-11-03T000000Z.json")
    back = document("update", "--url", serve(pages(items=gpt_41(0.0015))).url, "--yes")
    assert (other["same_as"], back["same_as"]) == (None, None)
    assert len(own_layers(tmp_path).updates) == 3


def test_update_compares_list_with_list_and_leaves_own_prices_alone(run, document, serve):
    run(
        "set",
        "gpt-4.1",
        "--provider",
        "azure",
        "--input",
        "1",
        "--cache-read",
        "1",
        "--output",
        "1",
        "--from",
        "2026-01-01",
    )
    found = document("update", "--url", serve(pages(items=gpt_41(0.0015))).url, "--yes")
    change = next(one for one in found["changes"] if one["unit"] == "input")
    assert (change["old"], change["new"]) == ("2", "1.5")
    rows = document("list", "--model", "gpt-4.1", "--mode", "standard", "--deployment-type", "global", *AT)["rows"]
    assert [row["rates"]["input"] for row in rows if row["model"] == "gpt-4.1"] == ["1"]


def test_update_lists_the_meters_that_it_does_not_understand(run, serve):
    server = serve(pages(items=[*gpt_41(0.002), priced("gpt 7 nova Inp glbl Tokens", 1.0)]))
    _, out, _ = run("update", "--url", server.url)
    assert "1 meters became no price" in out
    assert "gpt 7 nova Inp glbl Tokens  Azure OpenAI      1  a model that is not known here" in lines(out)


def test_update_doubts_a_price_that_is_a_hundred_times_off(run, serve):
    _, out, _ = run(
        "update",
        "--url",
        serve(pages(items=[*gpt_41(0.002), priced("gpt 4.1 Inp glbl Tokens", 0.2, start="2026-11-15T00:00:00Z")])).url,
    )
    assert "Is this right? azure/gpt-4.1/global/standard@2026-11-15: input 200 after 2 from 2026-11-01" in " ".join(
        out.split()
    )


def test_a_busy_server_gets_further_tries(run, serve):
    good = pages()
    server = serve(lambda one, query, n: (503, b"busy") if n in {1, 2, 4} else good(one, query, n))
    assert run("update", "--url", server.url, "--yes")[0] == 0
    assert len(server.calls) == 8


def empty(link: str) -> tuple[int, bytes]:
    return 200, json.dumps({"Items": [], "NextPageLink": link}).encode()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda *_: (500, b"no"), (1, "the server answered 500, 4 times; nothing was written", 4)),
        (lambda *_: (404, b"no"), (2, "the server answered 404", 1)),
        (lambda *_: (200, json.dumps(PAGE).encode()[:5000]), (2, "not a whole page of prices", 1)),
        (lambda one, *_: empty(f"{one.url}?$skip=1"), (2, "lead in a circle", 2)),
        (lambda one, _, n: empty(f"{one.url}?$skip={n}"), (2, "more than 20 pages", 20)),
        (lambda *_: empty("http://example.com/"), (2, "on another server", 1)),
        (lambda *_: empty(""), (2, "no price that could be read", 1)),
    ],
)
def test_a_list_that_cannot_be_read_whole_writes_nothing(run, serve, monkeypatch, answer, expected):
    monkeypatch.setattr(prices_update, "PAGES", 20)
    server = serve(answer)
    code, _, err = run("update", "--url", server.url, "--yes")
    assert (code, expected[1] in err, len(server.calls)) == (expected[0], True, expected[2])
    assert "hidden by" not in run("show", "gpt-4.1", "--provider", "azure", *AT)[1]


def test_a_page_without_end_is_cut_off(run, serve, monkeypatch):
    monkeypatch.setattr(prices_update, "PAGE_BYTES", 1_000)
    code, _, err = run("update", "--url", serve(pages()).url, "--yes")
    assert code == 2
    assert "a page of more than 1000 bytes" in err


def test_nobody_listening_is_one_sentence(run, monkeypatch):
    monkeypatch.setattr(prices_update, "WAIT_SECONDS", 0.01)
    code, _, err = run("update", "--url", "http://127.0.0.1:9/prices", "--yes")
    assert code == 1
    assert "nothing was written. Try again later." in err
