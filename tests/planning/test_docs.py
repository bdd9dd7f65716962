import contextlib
import re
import shlex
from pathlib import Path

import pytest

from penstock.cli.main import main
from penstock.cli.options import console
from penstock.cli.plan import COMMANDS

PAGE = (Path(__file__).parents[2] / "docs/planning.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```console\n\$ penstock (.*)\n(.*)\n```", PAGE)


@pytest.mark.parametrize(("command", "answer"), EXAMPLES, ids=[command.split()[1] for command, _ in EXAMPLES])
def test_the_examples_of_the_page_say_what_they_say(capsys, monkeypatch, command, answer):
    monkeypatch.setattr(console, "_width", 400)
    with contextlib.suppress(SystemExit):
        main([*shlex.split(command), "--at", "2026-11-23"])
    assert capsys.readouterr().out.splitlines()[0].strip() == answer


@pytest.mark.parametrize("name", [calculator.name for calculator in COMMANDS] + ["diff"])
def test_every_calculator_stands_in_the_page(name):
    assert f"| `{name}` |" in PAGE
