"""Our tokens as JWTs (RFC 7519, RFC 8725): made, and read back so strictly that only what we made passes."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
from msgspec import Struct

from pulse_core.api import AUDIENCE, Role

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from pulse_accounts.keys import KeyRing
    from pulse_core.api import Session

ALGORITHM = "EdDSA"
LIFETIME_S = 15 * 60
_LEEWAY_S = 5
"""The clocks of our hosts may differ by so much."""
_LONGEST = 4096
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
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


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """Not a token of ours. Carries nothing: nobody is told why."""


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
    try:
        kid = _kid(token)
        key = await keys.public(kid)
        if key is None:
            return None
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
    except (_Refused, jwt.PyJWTError, msgspec.ValidationError, ValueError, RecursionError):
        return None
    return claims if claims.exp - claims.iat <= LIFETIME_S else None


def _kid(token: str) -> str:
    """The key's name, of a token in the one form in which we write them.

    Nothing else may stand in the header: neither where to fetch a key (jku, x5u) nor a key itself (jwk, x5c).
    """
    segments = token.split(".", 3) if len(token) <= _LONGEST else ()
    if len(segments) != 3 or not all(_SEGMENT.fullmatch(each) for each in segments):  # noqa: PLR2004 - head.claims.signature
        raise _Refused
    header, _claims = _object(segments[0]), _object(segments[1])
    kid = header.pop("kid", None)
    if header != _HEADER or not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise _Refused
    return kid


def _object(segment: str) -> dict[str, Any]:
    """A JSON object in which no name stands twice: one reader takes the first, another the last."""
    try:
        found = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)), object_pairs_hook=_once)
    except (binascii.Error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _Refused from error
    if not isinstance(found, dict):
        raise _Refused
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused
    return found
