"""Our tokens as JWTs (RFC 7519, RFC 8725): made, and read back so strictly that only what we made passes."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING

import jwt
import msgspec
from msgspec import Struct

from pulse_core.api import AUDIENCE, Principal, Role, taken_apart

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from pulse_accounts.keys import KeyRing
    from pulse_core.api import Session

ALGORITHM = "EdDSA"
LIFETIME_S = 15 * 60
HOLDS_S = 2.0
"""So long a session is believed to hold since we last looked: whoever is locked out stays no longer than that."""
_LEEWAY_S = 5
"""The clocks of our hosts may differ by so much."""
_LONGEST = 4096
_HEADER = {"alg": ALGORITHM, "typ": "JWT"}
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Claims(Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says. ``sid`` names its session; ``jti`` only makes it different from every other."""

    iss: str
    sub: uuid.UUID
    aud: str
    exp: int
    iat: int
    tenant_id: str | None
    role: Role
    email: str
    sid: uuid.UUID
    jti: str


class Known(Struct, frozen=True):
    """A token that was verified: what it says, whose it was then, and until when (monotonic) that is believed."""

    claims: Claims
    principal: Principal
    until_s: float


def issue(session: Session, issuer: str, kid: str, key: Ed25519PrivateKey) -> str:
    """A token for a session, good from now on."""
    account, now = session.account, int(time.time())
    claims = Claims(
        iss=issuer,
        sub=account.user_id,
        aud=AUDIENCE,
        exp=now + LIFETIME_S,
        iat=now,
        tenant_id=account.tenant_id,
        role=account.role,
        email=account.email,
        sid=session.session_id,
        jti=uuid.uuid4().hex,
    )
    return jwt.encode(msgspec.to_builtins(claims), key, algorithm=ALGORITHM, headers={"kid": kid})


async def verified(token: str, issuer: str, keys: KeyRing) -> Claims | None:
    """What a token of ours says; None for anything else."""
    kid = _kid(token)
    key = await keys.public(kid) if kid is not None else None
    if key is None:
        return None
    try:
        said = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=issuer,
            leeway=_LEEWAY_S,
            options={"require": ["exp", "iat", "aud", "iss", "sub"]},
        )
        claims = msgspec.convert(said, Claims)
    except (jwt.PyJWTError, msgspec.ValidationError, ValueError, RecursionError):
        return None
    return claims if claims.exp - claims.iat <= LIFETIME_S else None


def _kid(token: str) -> str | None:
    """The key's name, of a token in the one form in which we write them; None for any other.

    Nothing else may stand in the header: neither where to fetch a key (jku, x5u) nor a key itself (jwk, x5c).
    """
    parts = taken_apart(token, longest=_LONGEST)
    if parts is None:
        return None
    kid = parts.header.get("kid")
    if parts.header != {**_HEADER, "kid": kid} or not isinstance(kid, str) or not _KID.fullmatch(kid):
        return None
    return kid
