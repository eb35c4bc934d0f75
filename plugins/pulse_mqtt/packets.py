"""What devices say, the same for both versions of MQTT once it is read."""

from __future__ import annotations

from msgspec import Struct

V311, V5 = 4, 5
"""Protocol levels: MQTT 3.1.1 and MQTT 5.0."""
VERSIONS = {V311: "3.1.1", V5: "5"}
"""What people call them."""

GRANTED_QOS = 0x03
IDENTIFIER_SHIFT = 8
"""A session keeps of each subscription its QoS and, so far above it, its identifier (3.8.2.1.2 of MQTT 5)."""


class Will(Struct, frozen=True, gc=False):
    """What is to be published when the connection breaks."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    delay_s: int = 0


class Connect(Struct, frozen=True, gc=False):
    """A CONNECT. What only MQTT 5 has stands at the values that it means there by being absent."""

    version: int
    """The protocol level."""
    client_id: str
    clean: bool
    keepalive_s: int
    username: str | None
    password: bytes | None
    will: Will | None
    expiry_s: int = 0
    """For how long the session is to outlive the connection."""
    receive_maximum: int = 65_535
    maximum_packet_size: int | None = None
    wants_reasons: bool = True
    """Request Problem Information (3.1.2.11.7)."""
    authentication_method: str | None = None


class Subscribe(Struct, frozen=True, gc=False):
    """A SUBSCRIBE: topic filters with their options, and the identifier for all of them (0: none)."""

    packet_id: bytes
    filters: list[tuple[str, int]]
    identifier: int = 0


class Unsubscribe(Struct, frozen=True, gc=False):
    """An UNSUBSCRIBE."""

    packet_id: bytes
    filters: list[str]


class Goodbye(Struct, frozen=True, gc=False):
    """A DISCONNECT."""

    code: int = 0
    expiry_s: int | None = None
    """What the session's expiry is to be instead, if anything."""


class Order(Struct, frozen=True, gc=False):
    """A command on its way out, as a PUBLISH of ours."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    repeated: bool
    command_id: str
    expires_in_s: int
    identifiers: list[int]
    """Of the subscriptions that it matches."""
