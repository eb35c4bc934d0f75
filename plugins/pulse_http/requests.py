"""What a request asks for, read from its head: the path with its ids, the token, the kind of body."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping, Sequence

BATCH = "batch"
COMMANDS = "commands"
_BATCH_PATH = b"/ingest/v1/batch"
_SINGLE_PARTS = 8
_ACK_PARTS = 10
_TENANT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_DEVICE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_LONGEST_TYPE = 64


class Target(NamedTuple):
    """The device and message type that a path names. Not judged yet: ids may be anything."""

    tenant_id: str
    device_id: str
    msg_type: str


class CommandTarget(NamedTuple):
    """The device whose commands are meant, or the one command that it acknowledges. Not judged yet."""

    tenant_id: str
    device_id: str
    command_id: str | None = None


class Head(NamedTuple):
    """What matters of a request's headers. ``length``: the declared size of the body, if any."""

    is_json: bool
    token: str | None
    length: int | None


def target_of(scope: MutableMapping[str, Any]) -> Target | CommandTarget | str | None:
    """Read the path: the device, its commands, :data:`BATCH`, or None for any other path.

    The path is split before it is decoded, so that an encoded slash stays within its id.
    """
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    if raw == _BATCH_PATH:
        return BATCH
    parts = raw.split(b"/", _ACK_PARTS)
    length = len(parts)
    if length < _SINGLE_PARTS or parts[1:4] != [b"ingest", b"v1", b"tenant"] or parts[5] != b"device":
        return None
    if b"%" in raw:
        parts = [unquote_to_bytes(part) for part in parts]
    tenant_id, device_id, msg_type = (parts[at].decode("utf-8", "replace") for at in (4, 6, 7))
    if msg_type == COMMANDS:
        return _command_target(tenant_id, device_id, parts[_SINGLE_PARTS:])
    return Target(tenant_id, device_id, msg_type) if length == _SINGLE_PARTS else None


def _command_target(tenant_id: str, device_id: str, rest: Sequence[bytes]) -> CommandTarget | None:
    match rest:
        case []:
            return CommandTarget(tenant_id, device_id)
        case [command_id, b"ack"]:
            return CommandTarget(tenant_id, device_id, command_id.decode("utf-8", "replace"))
        case _:
            return None


def well_named(tenant_id: str, device_id: str, msg_type: str = "") -> bool:
    """Whether these could be the names of a device and a message type."""
    return (
        _TENANT_ID.fullmatch(tenant_id) is not None
        and _DEVICE_ID.fullmatch(device_id) is not None
        and len(msg_type) <= _LONGEST_TYPE
    )


def head_of(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Read the headers."""
    is_json, plain, token, length = False, True, None, None
    for name, value in headers:
        if name == b"content-type":
            is_json = value == b"application/json" or _is_json(value)
        elif name == b"x-provision-token":
            token = value.decode("latin-1").strip()
        elif name == b"content-length" and value.isdigit():
            length = int(value[:20])
        elif name == b"content-encoding":
            plain = value.strip().lower() in (b"", b"identity")
    return Head(is_json and plain, token, length)


def _is_json(value: bytes) -> bool:
    kind, *parameters = value.lower().split(b";")
    if kind.strip() != b"application/json":
        return False
    for parameter in parameters:
        name, _, charset = parameter.partition(b"=")
        if name.strip() == b"charset" and charset.strip().strip(b'"') not in (b"utf-8", b"utf8"):
            return False
    return True
