"""A session: what outlives a connection (4.1 of MQTT 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection

    from pulse_core.api import DeviceKey


class SessionKey(NamedTuple):
    """Whose session it is. A client id alone says nothing: two devices may use the same."""

    device: DeviceKey
    client_id: str


class Session:
    """One session. Its subscriptions are stored when it is to outlive its connection; the rest lives in memory."""

    __slots__ = ("expiry_s", "key", "present", "settling", "stored", "subscriptions", "unreleased")

    def __init__(self, key: SessionKey, expiry_s: int) -> None:
        self.key = key
        self.expiry_s = expiry_s
        """For how long it outlives its connection."""
        self.stored = expiry_s > 0
        """Whether the store knows of it."""
        self.present = False
        """Whether it goes on: it was there before this connection."""
        self.subscriptions: dict[str, int] = {}
        """Topic filters, each with its granted QoS, its options and its identifier (see ``packets``)."""
        self.unreleased: set[bytes] = set()
        """Packet ids of messages of QoS 2 that were taken in, or may be, and were not released yet (4.3.3)."""
        self.settling: Collection[asyncio.Future[Any]] = ()
        """Messages of earlier connections that are undecided: before that, ``unreleased`` may change."""
