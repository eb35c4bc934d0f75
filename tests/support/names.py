"""Name resolution as a test wants it."""

from __future__ import annotations


class Names:
    """Resolves every name to the same addresses, loopback if none are given, and remembers what was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses or ("127.0.0.1",))
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.addresses
