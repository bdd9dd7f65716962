"""Files that are shipped with the package: written into a folder, for tools that read them there."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from penstock.errors import InputError
from penstock.ledger.exporters.grafana import DASHBOARDS, document

PLACE = files("penstock.ledger.exporters") / "files"


def dashboards() -> dict[str, str]:
    """Return Grafana's dashboards by the name of their file."""
    return {f"{dashboard.name}.json": document(dashboard) for dashboard in DASHBOARDS}


def alert_rules() -> dict[str, str]:
    """Return Prometheus' alert rules by the name of their file."""
    return {"penstock.rules.yml": (PLACE / "penstock.rules.yml").read_text("utf-8")}


def kql_queries() -> dict[str, str]:
    """Return the KQL queries by the name of their file."""
    return {file.name: file.read_text("utf-8") for file in sorted((PLACE / "kql").iterdir(), key=lambda one: one.name)}


def put(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write files into a folder, in place of those of an earlier export. Raises InputError where that fails."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            file = folder / name
            part = file.with_name(f".{name}.part")
            part.write_text(text, "utf-8")
            part.replace(file)
            written.append(file)
    except OSError as error:
        raise InputError(f"Cannot write into {folder}: {error.strerror}.") from error
    return written
