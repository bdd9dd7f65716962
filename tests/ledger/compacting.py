"""A process that compacts until it is killed: `python compacting.py FOLDER`. It prints how many logs each run took."""

import sys
from pathlib import Path

from penstock.ledger.store import Ledger

if __name__ == "__main__":
    with Ledger.open(Path(sys.argv[1])) as ledger:
        while True:
            print(ledger.compact().logs, flush=True)  # noqa: T201
