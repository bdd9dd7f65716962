"""A process that writes until it is killed: `python writing.py FOLDER`. It prints each id once its event is safe."""

import sys
from pathlib import Path

from tests.ledger.making import event

from penstock.ledger.log import LogWriter

if __name__ == "__main__":
    with LogWriter(Path(sys.argv[1]), "w0", rotate_bytes=20_000) as writer:
        while True:
            batch = [event() for _ in range(7)]
            for one in batch:
                writer.append(one)
            writer.write()
            writer.sync()
            print(*(one.id for one in batch), sep="\n", flush=True)  # noqa: T201
