"""A device that speaks MQTT with a client that others wrote: what every such client must be able to do."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import NamedTuple

SESSION_S = 300
"""For how long its session outlives its connections, in MQTT 5."""


class Login(NamedTuple):
    """Who it is, where it connects, and what it is about. ``version``: 4 (3.1.1) or 5."""

    host: str
    port: int
    username: str
    password: str
    client_id: str
    version: int
    topic: str
    commands: str
    will: bytes
    """What is to be published to ``topic`` when the connection breaks."""


class Peer(ABC):
    """One device with one client, whose session goes on from connection to connection."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        """Messages that came: topic and payload. They are acknowledged as this client does it by itself."""
        self.present: bool | None = None
        """Whether the server said that the session goes on; None: this client does not tell."""
        self.asks_for_its_will = False
        """Whether it says good-bye with Disconnect with Will Message (3.14.2.1 of MQTT 5)."""

    @abstractmethod
    async def connect(self) -> None:
        """Log in, with a session that is kept, and with the will."""

    @abstractmethod
    async def subscribe(self) -> None:
        """Subscribe to commands, with QoS 1."""

    @abstractmethod
    async def publish(self, payload: bytes, qos: int) -> None:
        """Publish to the topic."""

    @abstractmethod
    async def leave(self) -> None:
        """Say good-bye, and disconnect."""

    @abstractmethod
    async def vanish(self) -> None:
        """Lose the connection."""

    @abstractmethod
    async def close(self) -> None:
        """Be gone, wherever it stands."""
