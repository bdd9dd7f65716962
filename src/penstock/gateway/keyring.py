"""The keys as a worker knows them: in memory, and read again, beside the loop, when they have changed."""

import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from penstock.errors import PenstockError, RefusedError
from penstock.gateway.heads import Head
from penstock.ledger.state import State
from penstock.metering.attribution import NOBODY
from penstock.policies.key_store import KeyStore
from penstock.policies.keys import MARK, SECRET, KeySettings

LOOK_SECONDS = 0.25
"""How often it is looked whether keys have changed: a word of shared memory is read."""
NOTE_SECONDS = 10.0
"""How often it is written down which keys were used."""
OWN = b"x-penstock-key"
"""The header for our key beside a provider's own: nothing else belongs there."""
CARRIERS = (OWN, b"authorization", b"api-key", b"x-api-key")
"""Headers in which clients send keys: ours, OpenAI's, Azure's, Anthropic's."""

log = logging.getLogger("penstock")


class Keyring:
    """Holds the `ring` in force. Raises LedgerError where the keys cannot be read at the start."""

    def __init__(self, file: Path, rules: KeySettings) -> None:
        self._rules = rules
        # A write that has to wait is left for the next time: what it notes is no reason to learn late of a revocation.
        self._state = State(file, patience=0.1)
        self._store = KeyStore(self._state)
        self._version = self._state.version()
        self._changes = self._store.changes()
        self.ring = self._store.ring(rules)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="keys")

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """End the watch, and write down what was used."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._note()
        self._state.close()

    def _watch(self) -> None:
        said, noted = "", time.monotonic()
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self.look()
                said = ""
            except (PenstockError, sqlite3.Error) as error:
                if str(error) != said:  # once is enough; the keys as they were stay in force
                    log.error("keys: %s", error)  # noqa: TRY400  # the sentence says it all
                said = str(error)
            if time.monotonic() - noted >= NOTE_SECONDS:
                noted = time.monotonic()
                self._note()

    def look(self) -> None:
        """Take the keys anew if they have changed, or one of them has ended."""
        version = self._state.version()
        over = self.ring.until is not None and self.ring.until <= datetime.now(UTC)
        if version == self._version and not over:
            return
        changes = self._store.changes()
        if changes != self._changes or over:
            used = {holder.key.id for holder in self.ring.holders if holder.used}
            ring = self._store.ring(self._rules)
            for holder in ring.holders:
                holder.used = holder.key.id in used
            self.ring, self._changes = ring, changes
        self._version = version

    def _note(self) -> None:
        used = [holder for holder in self.ring.holders if holder.used]
        if not used:
            return
        for holder in used:
            holder.used = False
        try:
            self._store.note_used([holder.key.id for holder in used], datetime.now(UTC))
        except (PenstockError, sqlite3.Error):  # another writes: next time
            for holder in used:
                holder.used = True


def admit(head: Head, keyring: Keyring) -> None:
    """Find out who calls, once for all requests with this head. Raises RefusedError, and remembers nothing then."""
    ring = keyring.ring
    if SECRET.search(head.target):
        raise RefusedError(400, "key_in_address", "Send a key in a header: addresses end up in logs.")
    holder = ring.holder_of(secrets_in(head.headers))
    payer = NOBODY if holder is None else holder.attribution
    if payer != head.payer:
        head.payers.clear()
    head.holder, head.payer, head.ring = holder, payer, ring.number


def secrets_in(headers: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the virtual keys that a request brings, well formed or not."""
    words = [(name, _word(value)) for name, value in headers if name in CARRIERS]
    return [word for name, word in words if name == OWN or word.startswith(MARK)]


def holds_secret(name: bytes, value: bytes) -> bool:
    """Tell whether a header holds a virtual key: it must go to no provider."""
    return MARK in value and (SECRET.search(value) is not None or (name in CARRIERS and _word(value).startswith(MARK)))


def _word(value: bytes) -> bytes:
    """Return a key without the word `Bearer` before it."""
    scheme, _, rest = value.strip().partition(b" ")
    return rest.strip() if scheme.lower() == b"bearer" else value.strip()
