"""Forged JWTs: every trick of the trade that any issuer's tokens must withstand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

if TYPE_CHECKING:
    from collections.abc import Callable


class Forge:
    """A good token, the key that signed it (a stolen one, so that only the trick itself is judged), and its parts."""

    def __init__(self, token: str, key: Ed25519PrivateKey) -> None:
        self.token = token
        self.key = key
        self.header = jwt.get_unverified_header(token)
        self.claims = jwt.decode(token, options={"verify_signature": False})
        self.head, self.body, self.signature = token.split(".")

    def signed(self, header: str | dict[str, Any] | None = None, claims: str | dict[str, Any] | None = None) -> str:
        """A token with any header and claims (as JSON text, if need be), and a signature that is right."""
        told = {**self.header, **header} if isinstance(header, dict) else header or self.header
        said = {**self.claims, **claims} if isinstance(claims, dict) else claims or self.claims
        parts = [each if isinstance(each, str) else json.dumps(each) for each in (told, said)]
        return self.seal(".".join(segment(each.encode()) for each in parts))

    def seal(self, signing_input: str) -> str:
        """Signed as it is."""
        return f"{signing_input}.{segment(self.key.sign(signing_input.encode()))}"

    def without(self, claim: str) -> str:
        """A token that lacks a claim."""
        return self.signed(claims=json.dumps({name: value for name, value in self.claims.items() if name != claim}))

    def hmac(self, secret: bytes) -> str:
        """A token signed with HS256."""
        signing_input = f"{segment(json.dumps({**self.header, 'alg': 'HS256'}).encode())}.{self.body}"
        return f"{signing_input}.{segment(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}"

    def pem(self) -> bytes:
        """The public key, as people pass it around."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def by_a_stranger(self, **header: Any) -> str:
        """A token that a stranger signed, who says in the header where to find the key."""
        stranger = Ed25519PrivateKey.generate()
        jwk = {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": segment(stranger.public_key().public_bytes_raw()),
        }
        told = {name: jwk if value == "JWK" else value for name, value in header.items()}
        return Forge(self.token, stranger).signed({**told})


def segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def now(plus: float = 0) -> int:
    return int(time.time() + plus)


def doubled(forge: Forge, **claim: Any) -> str:
    """The claims with one more of the same name behind it."""
    return json.dumps(forge.claims)[:-1] + ", " + json.dumps(claim)[1:]


ATTACKS: dict[str, Callable[[Forge], str]] = {
    "alg none": lambda f: f"{segment(json.dumps({**f.header, 'alg': 'none'}).encode())}.{f.body}.",
    "alg none, any case": lambda f: f"{segment(json.dumps({**f.header, 'alg': 'nOnE'}).encode())}.{f.body}.",
    "alg none, signed": lambda f: f.signed({"alg": "none"}),
    "no alg": lambda f: f.signed(json.dumps({"typ": "JWT", "kid": f.header["kid"]})),
    "HS256 with the public key in PEM": lambda f: f.hmac(f.pem()),
    "HS256 with the public key raw": lambda f: f.hmac(f.key.public_key().public_bytes_raw()),
    "HS256 with nothing": lambda f: f.hmac(b""),
    "another algorithm": lambda f: f.signed({"alg": "ES256"}),
    "alg a list": lambda f: f.signed({"alg": ["EdDSA"]}),
    "kid traversal": lambda f: f.signed({"kid": "../../../../dev/null"}),
    "kid injection": lambda f: f.signed({"kid": "x' UNION SELECT 'key' --"}),
    "kid with a NUL": lambda f: f.signed({"kid": f"{f.header['kid']}\0"}),
    "kid a number": lambda f: f.signed({"kid": 1}),
    "kid null": lambda f: f.signed({"kid": None}),
    "kid very long": lambda f: f.signed({"kid": "k" * 1000}),
    "kid missing": lambda f: f.signed(json.dumps({"alg": "EdDSA", "typ": "JWT"})),
    "jku": lambda f: f.by_a_stranger(jku="http://127.0.0.1:9/keys"),
    "jku, ours": lambda f: f.signed({"jku": "http://127.0.0.1:9/keys"}),
    "x5u": lambda f: f.by_a_stranger(x5u="http://127.0.0.1:9/cert"),
    "x5u, ours": lambda f: f.signed({"x5u": "http://127.0.0.1:9/cert"}),
    "x5c": lambda f: f.by_a_stranger(x5c=["AAAA"]),
    "jwk": lambda f: f.by_a_stranger(jwk="JWK"),
    "jwk, ours": lambda f: f.signed({"jwk": {}}),
    "crit": lambda f: f.signed({"crit": ["exp"]}),
    "b64": lambda f: f.signed({"b64": False}),
    "typ of an id token": lambda f: f.signed({"typ": "logout+jwt"}),
    "signed by a stranger": lambda f: f.by_a_stranger(),
    "expired": lambda f: f.signed(claims={"exp": now(-6)}),
    "exp null": lambda f: f.signed(claims={"exp": None}),
    "exp text": lambda f: f.signed(claims={"exp": str(now(60))}),
    "exp true": lambda f: f.signed(claims={"exp": True}),
    "exp endless": lambda f: f.signed(claims=json.dumps(f.claims).replace(str(f.claims["exp"]), "Infinity")),
    "exp huge": lambda f: f.signed(claims={"exp": 10**400}),
    "issued in the future": lambda f: f.signed(claims={"iat": now(60)}),
    "not yet valid": lambda f: f.signed(claims={"nbf": now(60)}),
    "wrong audience": lambda f: f.signed(claims={"aud": "somebody else"}),
    "wrong issuer": lambda f: f.signed(claims={"iss": "http://127.0.0.1:8081"}),
    "issuer a list": lambda f: f.signed(claims={"iss": [f.claims["iss"]]}),
    "issuer with a slash": lambda f: f.signed(claims={"iss": f.claims["iss"] + "/"}),
    "empty signature": lambda f: f"{f.head}.{f.body}.",
    "no signature": lambda f: f"{f.head}.{f.body}",
    "another's signature": lambda f: f"{f.head}.{f.body}.{f.signed(claims={'jti': 'x'}).split('.')[2]}",
    "a signature of zeros": lambda f: f"{f.head}.{f.body}.{segment(bytes(64))}",
    "claims changed": lambda f: f"{f.head}.{segment(json.dumps({**f.claims, 'iat': 1}).encode())}.{f.signature}",
    "role twice": lambda f: f.signed(claims=doubled(f, role="customer_admin")),
    "tenant twice": lambda f: f.signed(claims=doubled(f, tenant_id="tenant-a")),
    "issuer twice": lambda f: f.signed(claims=doubled(f, iss="http://elsewhere")),
    "alg twice": lambda f: f.signed(json.dumps(f.header)[:-1] + ', "alg": "EdDSA"}'),
    "truncated": lambda f: f.token[:-1],
    "truncated in the claims": lambda f: f"{f.head}.{f.body[:-8]}.{f.signature}",
    "longer": lambda f: f.token + "A",
    "four segments": lambda f: f.token + ".A",
    "five segments": lambda f: f"{f.head}.{f.body}.{f.body}.{f.body}.{f.signature}",
    "padded": lambda f: f"{f.head}.{f.body}=.{f.signature}",
    "spaced": lambda f: f"{f.head}. {f.body}.{f.signature}",
    "1 MB": lambda f: f.signed(claims={"email": "x" * 1_000_000}),
    "1 MB of nothing": lambda _: "A" * 1_000_000,
    "a lot of dots": lambda _: "." * 10_000,
    "nested": lambda f: f.signed(claims="[" * 2000 + "]" * 2000),
    "claims a list": lambda f: f.signed(claims="[]"),
    "claims a text": lambda f: f.signed(claims='"x"'),
    "claims no JSON": lambda f: f.signed(claims="{"),
    "claims no text": lambda f: f.seal(f"{f.head}.{segment(bytes(range(128, 255)))}"),
    "header no JSON": lambda f: f.signed("{"),
    "an unknown role": lambda f: f.signed(claims={"role": "god"}),
    "role null": lambda f: f.signed(claims={"role": None}),
    "no tenant": lambda f: f.signed(claims={"tenant_id": None}),
    "an empty tenant": lambda f: f.signed(claims={"tenant_id": ""}),
    "tenant a number": lambda f: f.signed(claims={"tenant_id": 0}),
}  # fmt: skip
"""None of them is taken, whoever judges: each token is right but for the one thing."""


def lacking(claim: str) -> Callable[[Forge], str]:
    return lambda forge: forge.without(claim)


ATTACKS |= {f"without {claim}": lacking(claim) for claim in ("iss", "sub", "aud", "exp", "iat", "tenant_id", "role")}
