"""The questions on the ledger's own engine and on a real PostgreSQL: the same answers, to the last digit."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import ibis
import pyarrow as pa
import pytest
from tests.ledger.making import event, many, total
from tests.ledger.questions import QUESTIONS, answer

from penstock.ledger.columns import SCHEMA
from penstock.ledger.log import LogWriter
from penstock.ledger.store import Ledger


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    with Ledger.open(folder) as ledger, LogWriter(folder, "w0") as writer:
        booked = many(300, days=5)
        ledger.add(booked, source="csv")
        for one in many(100, days=2):
            writer.append(one)
        unpriced = [one for one in booked if one.cost is None][:3]
        for one in unpriced:
            writer.append(event(corrects=one.id, at=one.at, model=one.model, requests=0, cost=Decimal("0.0000000001")))
        writer.append(event(cost=Decimal("98765432109876543.210987654321098765"), user="the rich one"))
        writer.write()
        yield ledger


def in_plain_python(question: str, ledger: Ledger) -> object:
    """The answer without any engine, for the questions where that is short."""
    events = ledger.events()
    if question == "spend_by_team":
        teams = sorted({one.team for one in events})
        return [{"team": t, "cost": total([one for one in events if one.team == t]).normalize()} for t in teams]
    if question == "distinct_requests":
        return [{"requests": len({one.request_id for one in events}), "rows": len(events)}]
    settled = {one.corrects for one in events if one.corrects and one.price_state != "unpriced"}
    left = [one for one in events if one.price_state == "unpriced" and one.id not in settled]
    return [
        {"model": m, "n": len(mine), "tokens": sum(one.usage.input_tokens for one in mine)}
        for m in sorted({one.model for one in left})
        if (mine := [one for one in left if one.model == m])
    ]


@pytest.mark.parametrize("question", ["spend_by_team", "distinct_requests", "unpriced_events"])
def test_the_ledgers_engine_answers_as_plain_python_does(ledger, question):
    assert answer(question, ledger.table()) == in_plain_python(question, ledger)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL of our own, as an unprivileged user (it refuses root), on a free port of loopback."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL programs on this machine (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'ibis-framework[postgres]'")
    as_user: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
    if os.geteuid() == 0:
        if (
            shutil.which("runuser") is None
            or subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode
        ):
            pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres to run it as")
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    data, port = folder / "data", free_port()
    subprocess.run(
        [*as_user, programs / "initdb", "-D", data, "-U", "penstock", "--auth", "trust", "--no-sync", "-E", "UTF8"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    server = subprocess.Popen(
        [*as_user, programs / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
         "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "logging_collector=off"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
    )  # fmt: skip
    try:
        backend = _connect(port)
        yield backend
        backend.disconnect()
    finally:
        subprocess.run(
            [*as_user, programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=False, capture_output=True
        )
        server.wait(timeout=30)
        shutil.rmtree(folder)


def _connect(port: int) -> ibis.BaseBackend:
    import psycopg

    until = time.monotonic() + 60
    while True:
        try:
            return ibis.postgres.connect(host="127.0.0.1", port=port, user="penstock", database="postgres")
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="module")
def in_postgres(ledger, postgres):
    """The ledger's rows in a table there; tags, a map, is the one column that PostgreSQL has no type for."""
    rows = ledger.table().drop("tags").to_pyarrow()
    kinds = {pa.string(): "text", pa.int64(): "bigint", pa.bool_(): "boolean", pa.timestamp("us"): "timestamp"}
    names = [name for name in SCHEMA.names if name != "tags"]
    columns = ", ".join(f'"{name}" {kinds.get(SCHEMA.field(name).type, "numeric(38,18)")}' for name in names)
    with postgres.con.cursor() as cursor:
        cursor.execute(f"CREATE TABLE events ({columns})")
        with cursor.copy("COPY events FROM STDIN") as copy:
            for row in zip(*(rows.column(name).to_pylist() for name in names), strict=True):
                copy.write_row(row)
    postgres.con.commit()
    return postgres.table("events")


@pytest.mark.parametrize("question", QUESTIONS)
def test_postgres_gives_the_same_answers_to_the_last_digit(ledger, in_postgres, question):
    ours = answer(question, ledger.table())
    assert ours
    assert answer(question, in_postgres) == ours
