"""Optional object storage for parts: S3, Azure Blob or Google Cloud Storage, through Arrow's own clients.

The address is a URI: `s3://bucket/prefix?region=eu-north-1`, `gs://bucket/prefix`, or
`abfs://container@account.dfs.core.windows.net/prefix`; `endpoint_override=host:port&scheme=http` in its query names
another server that speaks the same protocol. Credentials come from the environment, never from the address.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

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
        self.filesystem: pafs.FileSystem
        self._root: str
        try:
            self.filesystem, self._root = _azure(uri) if uri.startswith("abfs") else pafs.FileSystem.from_uri(uri)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{uri} is no object storage that can be used: {error}") from error
        if not self._root.strip("/"):
            raise InputError(f"{uri} names no bucket or container.")

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


def _azure(uri: str) -> tuple[pafs.FileSystem, str]:
    """Open a Blob container: by `AZURE_STORAGE_KEY` or `AZURE_STORAGE_SAS_TOKEN`, else by Azure's usual chain.

    Arrow's own parser of these addresses takes a key only from the address itself.
    """
    parsed = urlsplit(uri)
    options = dict(parse_qsl(parsed.query))
    if not parsed.username or not parsed.hostname:
        raise InputError(f"{uri} is no Azure address: write abfs://container@account.dfs.core.windows.net/prefix")
    place = {}
    if server := options.get("endpoint_override"):
        scheme = options.get("scheme", "https")
        place = {
            "blob_storage_authority": server, "blob_storage_scheme": scheme,
            "dfs_storage_authority": server, "dfs_storage_scheme": scheme,
        }  # fmt: skip
    key, token = os.environ.get("AZURE_STORAGE_KEY"), os.environ.get("AZURE_STORAGE_SAS_TOKEN")
    credentials = {"account_key": key} if key else {"sas_token": token} if token else {}
    account = parsed.hostname.split(".")[0]
    return pafs.AzureFileSystem(account_name=account, **credentials, **place), f"{parsed.username}{parsed.path}"


@lru_cache(maxsize=8)
def object_store(uri: str) -> ObjectStore:
    """Return the store at this address; its client and connections are kept."""
    return ObjectStore(uri)
