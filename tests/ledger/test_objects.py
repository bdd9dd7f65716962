"""Parts in object storage, against a local server that speaks the real protocol."""

import os
import shutil
import socket
import subprocess
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from tests.ledger.making import event, many, total

from penstock.errors import InputError, LedgerError
from penstock.ledger import compaction
from penstock.ledger.objects import object_store
from penstock.ledger.store import Ledger
from penstock.metering.event import new_id, utc_now

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
AZURITE = {
    "AZURE_STORAGE_KEY": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
}
"""The emulator's published key of its one account, `devstoreaccount1`."""


@pytest.fixture(scope="module")
def s3():
    """A local S3: address of the server."""
    moto_server = pytest.importorskip("moto.server", reason="moto[server] is not installed: no S3 to test against")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def azure(tmp_path_factory):
    """A local Azure Blob Storage: address of the server. `npm install azurite`, and name it in AZURITE_BLOB."""
    program = os.environ.get("AZURITE_BLOB") or shutil.which("azurite-blob")
    if not program:
        pytest.skip("azurite-blob is not on the path, nor named in AZURITE_BLOB: no Azure to test against")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent", "--skipApiVersionCheck",
         "--disableTelemetry", "--inMemoryPersistence"],
        cwd=tmp_path_factory.mktemp("azurite"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"127.0.0.1:{port}"
    server.terminate()
    server.wait(timeout=10)


@pytest.fixture(params=["s3", "azure"])
def bucket(request, monkeypatch):
    """An address of an empty place in a bucket, in each kind of storage that is here."""
    server = request.getfixturevalue(request.param)
    name = f"book-{new_id()}"
    if request.param == "s3":
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(variable, "test")
        address = f"s3://{name}/prefix?endpoint_override={server}&scheme=http&region=eu-north-1"
        maker = object_store(address + "&allow_bucket_creation=true")
    else:
        for variable, value in AZURITE.items():
            monkeypatch.setenv(variable, value)
        address = f"abfs://{name}@devstoreaccount1.dfs.core.windows.net/prefix?endpoint_override={server}&scheme=http"
        maker = object_store(address)
    maker.filesystem.create_dir(name)
    return address


@pytest.fixture
def ledger(tmp_path, bucket):
    with Ledger.open(tmp_path, objects=bucket) as ledger:
        yield ledger


def test_parts_of_past_days_move_there_and_every_question_gets_the_same_answer(ledger, bucket, monkeypatch):
    old, new = many(60), [event(at=utc_now())]
    ledger.add(old, source="csv")
    ledger.add(new, source="csv")
    days = len({one.at.date() for one in old})
    assert ledger.compact().uploaded == days
    parts = ledger.manifest.parts()
    assert sum(part.remote == bucket for part in parts) == days
    monkeypatch.setattr(compaction, "READERS_GRACE", timedelta(0))
    ledger.compact()
    assert len(list(ledger.folder.glob("events/*/*.parquet"))) == 1
    assert ledger.events() == old + new
    assert ledger.events(request_id=old[7].request_id) == [old[7]]
    table = ledger.table()
    assert table.cost.sum().to_pyarrow().as_py() == total(old + new)
    cheap = table.filter((table["at"] < old[30].at) & (table.model == "gpt-4o")).count().to_pyarrow().as_py()
    assert cheap == sum(one.model == "gpt-4o" for one in old[:30])
    assert ledger.add(old, source="csv").duplicates == 60
    assert ledger.verify().problems == []
    assert ledger.status().remote_parts == days


def test_a_ledger_remembers_where_its_parts_are(ledger, bucket):
    ledger.add(many(10), source="csv")
    ledger.compact()
    with Ledger.open(ledger.folder) as again:
        assert again.status().objects == bucket
        assert len(again.events()) == 10


def test_late_events_of_a_day_that_moved_are_merged_with_it(ledger):
    ledger.add(many(10, days=1), source="csv")
    ledger.compact()
    ledger.add(many(5, days=1), source="csv")
    done = ledger.compact()
    assert done.merged >= 2
    assert all(part.remote for part in ledger.manifest.parts())
    assert len(ledger.events()) == 15
    assert ledger.verify().problems == []


def test_old_days_are_retired_there_too(ledger, monkeypatch):
    old = many(10, days=1)
    ledger.add(old, source="csv")
    ledger.compact()
    gone = ledger.manifest.parts()
    assert ledger.retain(days=30).cost == total(old)
    monkeypatch.setattr(compaction, "READERS_GRACE", timedelta(0))
    ledger.compact()
    store = object_store(gone[0].remote)
    for part in gone:
        with pytest.raises(FileNotFoundError):
            store.digest(part.path)
    assert (ledger.summary().cost.sum().to_pyarrow().as_py() or Decimal(0)) == total(old)


def test_an_object_that_was_changed_or_lost_is_found(ledger):
    ledger.add(many(30), source="csv")
    ledger.compact()
    first, *_, last = ledger.manifest.parts()
    store = object_store(first.remote)
    with store.filesystem.open_output_stream(store.path(first.path)) as stream:
        stream.write(b"something else")
    store.delete(last.path)
    assert {problem.kind for problem in ledger.verify().problems} == {"checksum", "missing"}


def test_where_the_storage_does_not_take_them_the_parts_stay_here(tmp_path, bucket):
    with Ledger.open(tmp_path, objects=bucket.replace("book-", "no-such-")) as ledger:
        ledger.add(many(10, days=1), source="csv")
        with pytest.raises(LedgerError, match="The local copy stays"):
            ledger.compact()
        assert len(ledger.events()) == 10
        assert ledger.verify().problems == []


@pytest.mark.parametrize(
    "address", ["s3://key:secret@bucket/prefix", "ftp://nowhere", "s3://", "abfs://account/x", "abfs://c:secret@a/p"]
)
def test_an_address_that_holds_a_secret_or_is_none_is_refused(address, tmp_path):
    with pytest.raises(InputError):
        Ledger.open(tmp_path, objects=address)
