"""The keys that sign our tokens: Ed25519, made here, one signs at a time, the ones before still verify.

A new key signs only some time after it was stored, longer than any process goes without looking: so whoever meets a
token knows its key, and a kid that nobody knows is nobody's. All times are the database's, so clocks may differ.
"""

from __future__ import annotations

import base64
import secrets
import time
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from pulse_core.api import Conflict, SecretUnreadable, StoredKey, TemporaryFailure

if TYPE_CHECKING:
    from pulse_core.api import AuthServices, SecretBox, SigningKeys

FRESH_S = 5.0
"""So old is what a process knows of the keys, at most."""
SIGNS_AFTER_S = 15.0
"""So long after it was stored a new key begins to sign: FRESH_S, and time for a slow look."""


class _Signer(Struct, frozen=True):
    kid: str
    private: Ed25519PrivateKey
    since_s: float


class KeyRing:
    """What one process knows of the keys."""

    def __init__(self, services: AuthServices, *, fresh_s: float = FRESH_S) -> None:
        self._store = services.signing_keys
        self._box = services.box
        self._log = services.log
        self._fresh_s = fresh_s
        self._looked_at: float | None = None
        self._signers: list[_Signer] = []
        self._public: dict[str, Ed25519PublicKey] = {}
        self._opened: dict[str, Ed25519PrivateKey] = {}

    async def open(self) -> None:
        """Have a key that signs now, of our own if there is none that we can read."""
        await self._look()
        if not self._signing():
            newest = next(iter(self._public), None)
            await self._store.add(new_key(self._box, signs_in_s=0), replacing=newest)
            await self._look()

    async def signing(self) -> tuple[str, Ed25519PrivateKey]:
        """The key that signs now, and its name."""
        await self.refresh()
        signer = self._signing()
        if signer is None:
            raise TemporaryFailure("no signing key can be read with the secret keys that we have: `pulse keys rotate`")
        return signer.kid, signer.private

    async def public(self, kid: str) -> Ed25519PublicKey | None:
        """The key of that name, if it verifies."""
        await self.refresh()
        return self._public.get(kid)

    async def published(self) -> list[dict[str, Any]]:
        """As a JSON Web Key Set has them (RFC 8037); those that will sign soon, too."""
        await self.refresh()
        return [
            {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": _base64url(key)}
            for kid, key in self._public.items()
        ]

    async def refresh(self) -> None:
        """Look again, unless that was just done."""
        if self._looked_at is None or time.monotonic() - self._looked_at > self._fresh_s:
            await self._look()

    async def _look(self) -> None:
        began = time.monotonic()
        stored = await self._store.load()
        self._public = {key.kid: Ed25519PublicKey.from_public_bytes(key.public_key) for key in stored}
        self._signers = [
            _Signer(key.kid, private, began + key.signs_in_s) for key in stored if (private := self._private(key))
        ]
        self._opened = {kid: key for kid, key in self._opened.items() if kid in self._public}
        self._looked_at = began

    def _signing(self) -> _Signer | None:
        """The newest whose time has come; a key that cannot be read leaves it to the one before."""
        now = time.monotonic()
        return next((each for each in self._signers if each.since_s <= now), None)

    def _private(self, key: StoredKey) -> Ed25519PrivateKey | None:
        """None for one that was encrypted with a key we do not have: it verifies all the same.

        One that was opened before stays so, however it is encrypted by now.
        """
        if key.retired_s is not None:
            return None
        if key.kid not in self._opened:
            try:
                seed = base64.b64decode(self._box.open(key.private_key)["seed"])
            except SecretUnreadable:
                self._log.warning("signing_key.unreadable", kid=key.kid)
                return None
            self._opened[key.kid] = Ed25519PrivateKey.from_private_bytes(seed)
        return self._opened[key.kid]


def new_key(box: SecretBox, *, signs_in_s: float) -> StoredKey:
    """A new pair, its private part sealed."""
    private = Ed25519PrivateKey.generate()
    seed = base64.b64encode(private.private_bytes_raw()).decode("ascii")
    public = private.public_key().public_bytes_raw()
    return StoredKey(secrets.token_urlsafe(9), public, box.seal({"seed": seed}), signs_in_s)


async def rotate(store: SigningKeys, box: SecretBox, *, signs_in_s: float = SIGNS_AFTER_S) -> str:
    """Store a new key and return its name; it signs in ``signs_in_s``.

    :raises Conflict: somebody else did so at this very moment.
    """
    newest = next((key.kid for key in await store.load()), None)
    key = new_key(box, signs_in_s=signs_in_s if newest else 0)
    if not await store.add(key, replacing=newest):
        raise Conflict("somebody else has rotated the keys just now")
    return key.kid


def _base64url(key: Ed25519PublicKey) -> str:
    return base64.urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode("ascii")
