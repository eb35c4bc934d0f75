"""What a backup says of itself, and whether this program can bring it back."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from pulse_core.errors import ConfigError, SchemaError
from pulse_postgres.schema import known_ids
from pulse_server.secret_key import key_id

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1
KIND = "pulse database, pg_dump custom format"


class Manifest(Struct, frozen=True):
    """``manifest.json``. ``schema``: the migrations that were applied; ``key_ids``: names of keys, which tell none.

    ``readings``: False when another telemetry store keeps them, and they are not in this file.
    """

    format: int
    kind: str
    version: str
    postgres: str
    taken_at: datetime
    schema: list[str]
    key_ids: list[str]
    has_key: bool
    readings: bool
    database_bytes: int
    database_sha256: str

    def encoded(self) -> bytes:
        """As JSON that people can read."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def decoded(text: bytes) -> Manifest:
    """Read a manifest. Raises ConfigError for one that this program does not know."""
    try:
        found = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"its manifest cannot be read: {error}") from error
    if (found.format, found.kind) != (FORMAT, KIND):
        raise ConfigError(
            f"it is of another kind ({found.kind!r}, format {found.format}): use the version that made it"
        )
    return found


def product_version() -> str:
    """The version of this program."""
    return version("opsconductor-pulse")


def demand_known_schema(manifest: Manifest) -> None:
    """Return if this program's migrations go on from those of the backup. Raises SchemaError."""
    if newer := sorted(set(manifest.schema) - set(known_ids())):
        raise SchemaError(
            f"the backup was made by a newer program, version {manifest.version} (it has {', '.join(newer)}): "
            "install that version"
        )


def missing_keys(manifest: Manifest, keys: Sequence[str]) -> list[str]:
    """Names of the keys with which something in the backup may be encrypted, and which are not at hand."""
    at_hand = {key_id(key) for key in keys}
    return [each for each in manifest.key_ids if each not in at_hand]
