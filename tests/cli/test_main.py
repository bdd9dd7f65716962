"""The front door: exit codes, and no traceback whatever happens."""

import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from rich.console import Console
from tests.policies.budgets.redis_server import RedisServer

from penstock import __version__
from penstock.cli import main
from penstock.cli.main import COMMANDS


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )


def test_the_version_is_printed():
    assert run("--version").stdout.strip() == __version__


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command):
    shown = run(command, "--help")
    assert shown.returncode == 0
    assert f"penstock {command}" in shown.stdout


def commands(app, *path: str):
    """Yield the words of every command that does something."""
    below = [name for name in app if not name.startswith("-")]
    if not below:
        yield path
    for name in below:
        yield from commands(app[name], *path, name)


@pytest.mark.parametrize("words", list(commands(main.app)), ids=" ".join)
def test_the_help_of_every_command_has_an_example_of_it(words):
    shown = io.StringIO()
    main.app.help_print(list(words), console=Console(file=shown, width=400))
    usage, _, rest = shown.getvalue().partition("\n")
    assert usage.startswith(f"Usage: penstock {' '.join(words)}")
    assert f"penstock {' '.join(words)}" in rest


@pytest.mark.parametrize("arguments", [["--bogus"], ["nothing"], ["serve", "--port", "x"], ["report", "--bogus"]])
def test_wrong_words_are_answered_with_exit_code_2(arguments):
    said = run(*arguments)
    assert said.returncode == 2
    assert "Traceback" not in said.stderr


def test_a_reader_who_has_read_enough_is_no_error():
    command = [sys.executable, "-m", "penstock", "prices", "list", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--port", "0"], "a port is a number from 1 to 65535"), (["--calls", "-1"], "--calls -1"),
        (["--data", "file"], "is a file, not a folder"), (["--data", "folder"], "holds a ledger that is not"),
        (["--data", "folder", "--fresh"], "was not made by the demo"),
    ],
)  # fmt: skip
def test_a_demo_that_cannot_be_says_why(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    Path("folder").mkdir()
    Path("folder/mine").write_text("x")
    with pytest.raises(SystemExit, match="2"):
        main.main(["demo", *words])
    assert sentence in capsys.readouterr().err
    assert Path("folder/mine").exists()


def test_settings_that_cannot_be_read_are_named(tmp_path):
    file = tmp_path / "penstock.toml"
    file.write_text("[server]\nprot = 1\n")
    for command in ("check", "serve"):
        said = run(command, "--config", str(file))
        assert said.returncode == 2
        assert "did you mean `port`?" in said.stderr


def test_init_writes_once_and_check_reads_it(tmp_path):
    file = tmp_path / "penstock.toml"
    assert run("init", "--config", str(file)).returncode == 0
    again = run("init", "--config", str(file))
    assert again.returncode == 2
    assert "--force" in again.stderr
    said = run("check", "--config", str(file), "--data", str(tmp_path / "data"))
    assert said.returncode == 1
    assert "OPENAI_API_KEY" in said.stdout


def test_what_is_commented_out_in_the_file_of_init_holds_when_it_is_not(tmp_path):
    file = tmp_path / "penstock.toml"
    assert run("init", "--config", str(file)).returncode == 0
    file.write_text(re.sub(r"(?m)^# (\[|[a-z_]+ = )", r"\1", file.read_text()))
    said = run("check", "--config", str(file), "--data", str(tmp_path / "data"))
    assert said.returncode == 1  # keys are not in the environment; anything else that is wrong ends with 2
    assert "AZURE_OPENAI_API_KEY" in said.stdout


def test_check_shows_doors_and_the_ways_to_providers_without_a_password(tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=5))
    pem, ca, file = tmp_path / "server.pem", tmp_path / "ca.pem", tmp_path / "penstock.toml"
    issued.private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(ca))
    file.write_text(
        f"""
[server]
unix_socket = "{tmp_path}/elsewhere/door.sock"
[server.tls]
certificate = "{pem}"
client_ca = "{ca}"
[[providers]]
name = "mine"
base_url = "https://llm.example/v1"
proxy = "http://me:secret@proxy.example:3128"
ca_file = "{ca}"
[[providers]]
name = "near"
base_url = "http://localhost/v1"
unix_socket = "{tmp_path}/vllm.sock"
[[providers]]
name = "far"
base_url = "https://far.example/v1"
"""
    )
    environment = {"HTTPS_PROXY": "http://you:hidden@other.example:8080", "NO_PROXY": ""}
    said = run("check", "--config", str(file), "--data", str(tmp_path / "data"), "--json", **environment)
    assert "secret" not in said.stdout
    assert "hidden" not in said.stdout
    assert said.returncode == 1
    found = {one["what"]: (one["answer"], one["detail"]) for one in json.loads(said.stdout)["checks"]}
    assert found["way to mine"] == ("yes", f"by the proxy proxy.example:3128; its certificate is verified by {ca}")
    assert found["way to near"] == ("look", f"by the Unix socket {tmp_path}/vllm.sock; nothing listens there")
    assert found["way to far"] == ("yes", "by the proxy other.example:8080, which the environment names")
    assert found["unix_socket"] == ("no", f"{tmp_path}/elsewhere is no folder")
    assert found["tls"][0] == "look"  # it ends in five days
    assert f"{datetime.now(UTC) + timedelta(days=5):%Y-%m-%d}" in found["tls"][1]
    assert str(ca) in found["tls"][1]
    pem.write_text("nothing")
    said = run("check", "--config", str(file), "--data", str(tmp_path / "data"), "--json", **environment)
    found = {one["what"]: (one["answer"], one["detail"]) for one in json.loads(said.stdout)["checks"]}
    assert found["tls"][0] == "no"
    assert "no certificate with its private key" in found["tls"][1]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ('[governance]\nredis = "localhost:6379"\n', "this is no address of a Redis"),
        ('[governance]\nredis = "$NOT_THERE"\n', "the environment variable NOT_THERE is not set"),
        ('[governance]\nredis = "unix://SOCKET"\n', "until it can, calls under a budget or limit are refused"),
        ("[server]\nworkers = 2\n[[budgets]]\ndollars = 5\n", "only if these share their counters"),
    ],
)
def test_check_says_where_budgets_could_not_be_counted(tmp_path, settings, why):
    file = tmp_path / "penstock.toml"
    file.write_text(settings.replace("SOCKET", f"{tmp_path}/redis.sock"))
    said = run("check", "--config", str(file), "--data", str(tmp_path / "data"), "--json")
    found = {one["what"]: (one["answer"], one["detail"]) for one in json.loads(said.stdout)["checks"]}
    assert found["budgets"][0] == "no"
    assert why in found["budgets"][1]


def test_check_says_which_redis_keeps_the_counters(tmp_path):
    file, redis_server = tmp_path / "penstock.toml", RedisServer(tmp_path)
    file.write_text(f'[governance]\nredis = "{redis_server.url}"\n')
    said = run("check", "--config", str(file), "--data", str(tmp_path / "data"), "--json")
    found = {one["what"]: (one["answer"], one["detail"]) for one in json.loads(said.stdout)["checks"]}
    redis_server.stop()
    assert found["budgets"][0] == "yes"
    assert re.fullmatch(r"Redis \d+\.\d+\.\d+ keeps the counters", found["budgets"][1])


def test_check_says_which_deployments_of_a_route_get_no_call(tmp_path):
    file = tmp_path / "penstock.toml"
    rows = "".join(
        f'[[deployments]]\nname = "{name}"\nprovider = "p"\nmodel = "{model}"\nregion = "{region}"\n'
        for name, model, region in (("mini", "gpt-4o-mini", "eu"), ("big", "gpt-4o", "us"))
    )
    route = '[[routes]]\nmodel = "auto"\ndeployments = ["mini", "big"]\n[routes.routing]\nregions = ["REGION"]\n'
    found = {}
    for region in ("eu", "moon"):
        file.write_text(f'[[providers]]\nname = "p"\nkind = "sandbox"\n{rows}{route.replace("REGION", region)}')
        said = run("check", "--config", str(file), "--data", str(tmp_path / "data"), "--json")
        checks = json.loads(said.stdout)["checks"]
        found[region] = [(one["answer"], one["detail"]) for one in checks if "no call goes to" in one["detail"]]
    assert found["eu"] == [("look", "no call goes to big: region us, and it should serve the holdout")]
    assert [answer for answer, _ in found["moon"]] == ["no", "no"]
