"""The provider's public keys (JWK Set, RFC 7517), and whether one of them signed a token."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from pulse_core.api import TemporaryFailure
from pulse_oidc.algorithms import fits, fitting, public_key
from pulse_oidc.fetching import fetched
from pulse_oidc.kept import Kept
from pulse_oidc.metadata import Metadata, discovered
from pulse_oidc.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import HttpClient, SignedToken

METADATA_FRESH_S, METADATA_USABLE_S = 3600.0, 24 * 3600.0
KEYS_FRESH_S, KEYS_USABLE_S = 300.0, 3600.0
"""A key that the provider has dropped is believed so long; so long we live without the provider."""
_KEYS_AT_MOST = 100
# As issuers make them: hashes in either base64, numbers, dates. What leads out of a folder or a text is no name.
_KID = re.compile(r"(?!.*\.\.)[A-Za-z0-9_.:=+/-]{1,200}")
_DANGEROUS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"})
"""Where to fetch a key, a key itself, and what changes how the rest is read."""

Keys = dict[tuple[str, str], Any]
"""By name and algorithm."""


class Provider:
    """What one process knows of the provider: its metadata and its keys."""

    def __init__(self, http: HttpClient, issuer: str, log: Any) -> None:
        self._http = http
        self._issuer = issuer
        self._log = log
        self._told = ""
        self._metadata: Kept[Metadata] = Kept(
            self._discover, self._tell, fresh_s=METADATA_FRESH_S, usable_s=METADATA_USABLE_S
        )
        self._keys: Kept[Keys] = Kept(self._fetch_keys, self._tell, fresh_s=KEYS_FRESH_S, usable_s=KEYS_USABLE_S)

    async def metadata(self) -> Metadata:
        """As of an hour ago at most, unless it is away. Raises TemporaryFailure."""
        return await self._metadata.get()

    async def keys(self) -> Keys:
        """As of five minutes ago at most, unless it is away. Raises TemporaryFailure."""
        return await self._keys.get()

    async def demand_signed(self, token: SignedToken) -> None:
        """Return if one of its keys signed this. Raises Refused, and TemporaryFailure when that cannot be known.

        The name in the header selects the key, and nothing else does.
        """
        algorithm, kid = token.header.get("alg"), token.header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in (await self.metadata()).algorithms:
            raise Refused("it is signed with an algorithm that the provider does not announce, or that we do not take")
        if not isinstance(kid, str) or not _KID.fullmatch(kid) or _DANGEROUS & token.header.keys():
            raise Refused("its header names no key, or holds what it must not")
        key = await self._key(kid, algorithm)
        if key is None or not fits(algorithm, key, token.signing_input, token.signature):
            raise Refused("no key of the provider's signed it")

    async def close(self) -> None:
        """End what still runs."""
        await self._keys.close()
        await self._metadata.close()

    async def _key(self, kid: str, algorithm: str) -> Any | None:
        """A name that is not known may be new: look once more, as often as :data:`pulse_oidc.kept.APART_S` allows."""
        asked_s = time.monotonic()
        keys = await self._keys.get()
        while not any(name == kid for name, _ in keys) and (self._keys.began_s or 0.0) < asked_s:
            keys = await self._keys.following()
        return keys.get((kid, algorithm))

    def _tell(self, fault: str) -> None:
        """To the operator, when it is another than before."""
        if fault and fault != self._told:
            self._log.warning("oidc.provider_unusable", issuer=self._issuer, reason=fault)
        self._told = fault

    async def _discover(self) -> Metadata:
        return await discovered(self._http, self._issuer)

    async def _fetch_keys(self) -> Keys:
        return read_keys(await fetched(self._http, (await self.metadata()).jwks_uri))


def read_keys(document: Mapping[str, Any]) -> Keys:
    """The keys that can check signatures. One without a name is left out, and so are two of the same.

    :raises TemporaryFailure: it is no JWK Set.
    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > _KEYS_AT_MOST:
        raise TemporaryFailure("the provider's jwks_uri holds no set of keys")
    keys: Keys = {}
    twice = set()
    for jwk in listed:
        kid = jwk.get("kid") if isinstance(jwk, dict) else None
        if not isinstance(kid, str):
            continue
        for algorithm in _fitting(jwk):
            if (kid, algorithm) in keys:
                twice.add((kid, algorithm))
            if (key := public_key(algorithm, jwk)) is not None:
                keys[kid, algorithm] = key
    return {name: key for name, key in keys.items() if name not in twice}


def _fitting(jwk: Mapping[str, Any]) -> list[str]:
    try:
        return fitting(jwk)
    except TypeError:  # something else than text where text belongs
        return []
