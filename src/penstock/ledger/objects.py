"""Optional object storage for parts: S3, Azure Blob or Google Cloud Storage, through Arrow's own clients.

The address is a URI that Arrow understands (`s3://bucket/prefix?region=eu-north-1`, `abfs://container@account...`,
`gs://bucket/prefix`). Credentials come from the environment, as each cloud's own tools find them, never from the URI.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from penstock.errors import InputError, LedgerError

BLOCK = 8 << 20


class ObjectStore:
    """A place under one root; names are relative to it, with slashes."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        if urlsplit(uri).password:
            raise InputError("The address of the object storage holds a secret. Put credentials into the environment.")
        try:
            self.filesystem, self._root = pafs.FileSystem.from_uri(uri)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{uri} is no object storage that can be used: {error}") from error

    def path(self, name: str) -> str:
        """Return the full path of a name, as the file system wants it."""
        return f"{self._root.rstrip('/')}/{name}"

    def upload(self, file: Path, name: str, sha256: str) -> None:
        """Copy a file there and read it back: what arrived must have this digest."""
        try:
            with file.open("rb") as source, self.filesystem.open_output_stream(self.path(name)) as target:
                while block := source.read(BLOCK):
                    target.write(block)
            found = self.digest(name)
        except OSError as error:
            raise LedgerError(f"Cannot upload {file} to {self.uri}: {error}. The local copy stays.") from error
        if found != sha256:
            raise LedgerError(f"{name} arrived damaged at {self.uri}. The local copy stays; run compact again.")

    def digest(self, name: str) -> str:
        """SHA-256 of an object. Raise FileNotFoundError when there is none."""
        digest = hashlib.sha256()
        with self.filesystem.open_input_stream(self.path(name)) as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        if self.filesystem.get_file_info(self.path(name)).type == pafs.FileType.File:
            self.filesystem.delete_file(self.path(name))


@lru_cache(maxsize=8)
def object_store(uri: str) -> ObjectStore:
    """Return the store at this address; its client and connections are kept."""
    return ObjectStore(uri)
