"""Ledgers for the reports on the command line, made of a CSV file, and the words to ask them."""

import json
from pathlib import Path

from penstock.cli.main import main


def penstock(*words: object) -> int:
    """Run a command and return its exit code."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def imported(folder: Path, text: str) -> Path:
    """Make a ledger of CSV text."""
    file = folder / "usage.csv"
    file.write_text(text)
    assert penstock("import", file, "--data", folder / "ledger", "--json") == 0
    return folder / "ledger"


def document(capsys, *words: object):
    """Return what `penstock report ... --json` prints."""
    capsys.readouterr()
    assert penstock("report", *words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def shown(capsys, *words: object) -> list[str]:
    """Return the lines that `penstock report ...` prints."""
    capsys.readouterr()
    assert penstock("report", *words) == 0
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]
