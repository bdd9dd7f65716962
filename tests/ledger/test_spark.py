"""The same questions on Spark, over the ledger's Parquet parts as they lie there.

Heavy (half a gigabyte to install, half a minute to run), so it runs only where both are present:
`pip install 'ibis-framework[pyspark]'` and a Java of version 17 or newer, then `pytest tests/ledger/test_spark.py`.
"""

import os
import shutil
import sys

import ibis
import pytest
from tests.ledger.making import event, many
from tests.ledger.questions import QUESTIONS, answer

from penstock.ledger.store import Ledger

pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'ibis-framework[pyspark]'")
if shutil.which("java") is None:
    pytest.skip("no java on this machine", allow_module_level=True)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    from decimal import Decimal

    with Ledger.open(tmp_path_factory.mktemp("book")) as ledger:
        booked = many(300, days=5)
        ledger.add(booked, source="csv")
        unpriced = [one for one in booked if one.cost is None][:3]
        fixes = [event(corrects=one.id, at=one.at, model=one.model, cost=Decimal("0.0000000001")) for one in unpriced]
        ledger.add([*fixes, event(cost=Decimal("98765432109876543.210987654321098765"), user="rich")], source="csv")
        yield ledger


@pytest.fixture(scope="module")
def in_spark(ledger, tmp_path_factory):
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    place = tmp_path_factory.mktemp("spark")
    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", str(place))
        .config("spark.local.dir", str(place))
        .getOrCreate()
    )
    backend = ibis.pyspark.connect(session)
    parts = [str(ledger.folder / part.path) for part in ledger.manifest.parts()]
    session.read.parquet(*parts).createOrReplaceTempView("events")
    yield backend.table("events")
    session.stop()


@pytest.mark.parametrize("question", QUESTIONS)
def test_spark_gives_the_same_answers_to_the_last_digit(ledger, in_spark, question):
    ours = answer(question, ledger.table())
    assert ours
    assert answer(question, in_spark) == ours
