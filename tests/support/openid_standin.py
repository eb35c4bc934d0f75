"""An OpenID provider of our own on loopback, that can be told to do anything wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pulse_oidc.algorithms import half_hash
from support.openid_lent import CALLBACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from pulse_core.api import Tokens
    from pulse_oidc.provider import OidcProvider

METADATA, KEYS, TOKEN, REVOKE = "/.well-known/openid-configuration", "/keys", "/token", "/revoke"


class SigningKey:
    """A key, its name, and its public part as a JWK."""

    def __init__(self, kid: str = "k1", algorithm: str = "EdDSA") -> None:
        self.kid, self.algorithm = kid, algorithm
        self.private: Any
        if algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        elif algorithm.startswith("ES"):
            self.private = ec.generate_private_key({"256": ec.SECP256R1, "384": ec.SECP384R1}[algorithm[2:]]())
        else:
            self.private = rsa.generate_private_key(65537, 2048)

    @property
    def jwk(self) -> dict[str, Any]:
        public = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        return {"kty": public["kty"], **public, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A token; a header that is None is left out."""
        told = {"kid": self.kid, "typ": "JWT", **header}
        headers = {name: value for name, value in told.items() if value is not None}
        if "typ" not in headers:
            headers["typ"] = ""  # PyJWT then writes none
        return jwt.encode(dict(claims), self.private, algorithm=self.algorithm, headers=headers)


class StandIn:
    """Does everything right until it is told otherwise: each attribute is part of an answer."""

    def __init__(self) -> None:
        self.issuer = ""
        self.keys = [SigningKey()]
        self.metadata: dict[str, Any] = {}
        """What is to be different in the metadata; None removes it."""
        self.identity: dict[str, Any] = {"sub": "ada-1", "tenant_id": "tenant-a", "role": "customer_admin"}
        self.id_claims: dict[str, Any] = {}
        """What is to be different in ID tokens; None removes it."""
        self.grant: dict[str, Any] = {}
        """What is to be different in the token endpoint's answer; None removes it."""
        self.instead: dict[str, Any] = {}
        """By path, a coroutine function that answers in place of everything else."""
        self.sign: Callable[[Mapping[str, Any]], str] | None = None
        """Signs ID tokens in place of the first key."""
        self.asked: Counter[str] = Counter()
        self.forms: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}

    def document(self) -> dict[str, Any]:
        """The metadata."""
        usual = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?theme=dark",
            "token_endpoint": f"{self.issuer}{TOKEN}",
            "jwks_uri": f"{self.issuer}{KEYS}",
            "end_session_endpoint": f"{self.issuer}/end",
            "revocation_endpoint": f"{self.issuer}{REVOKE}",
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "authorization_response_iss_parameter_supported": True,
        }
        return changed(usual, self.metadata)

    def access_claims(self, **changes: Any) -> dict[str, Any]:
        """What an access token says."""
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": "pulse", "exp": now + 300, "iat": now, "typ": "Bearer", **self.identity}
        return changed(usual, changes)

    def bearer(self, **changes: Any) -> str:
        """An access token."""
        return self.keys[0].sign(self.access_claims(**changes))

    def authorize(self, url: str) -> dict[str, str]:
        """What a browser brings back that was sent to ``url`` and logged in there."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    async def logged_in(self, provider: OidcProvider, **query: str) -> Tokens | None:
        """A whole login."""
        departure = await provider.begin(CALLBACK)
        back = {**self.authorize(departure.redirect_url), **query}
        return await provider.complete(back, CALLBACK, departure.secret_state)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer anything."""
        self.asked[request.path] += 1
        if request.path in self.instead:
            answer: web.StreamResponse = await self.instead[request.path](request)
            return answer
        if request.path == METADATA:
            return web.json_response(self.document())
        if request.path == KEYS:
            return web.json_response({"keys": [key.jwk for key in self.keys]})
        if request.path == TOKEN:
            return await self._token(request)
        if request.path == REVOKE:
            self.forms.append({name: str(value) for name, value in (await request.post()).items()})
            return web.Response()
        return web.Response(status=404)

    async def _token(self, request: web.BaseRequest) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if "Authorization" in request.headers:
            pair = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
            form |= dict(zip(("basic_id", "basic_secret"), map(unquote_plus, pair.split(":")), strict=True))
        self.forms.append(form)
        nonce = None
        if form["grant_type"] == "authorization_code":
            asked = self._codes.pop(form["code"], None)
            if asked is None or asked["redirect_uri"] != form["redirect_uri"] or not _proves(form, asked):
                return web.json_response({"error": "invalid_grant"}, status=400)
            nonce = asked["nonce"]
        return web.json_response(self.granted(nonce))

    def granted(self, nonce: str | None) -> dict[str, Any]:
        """The token endpoint's answer."""
        access_token, now = self.bearer(), int(time.time())
        usual = {"iss": self.issuer, "aud": "pulse", "exp": now + 300, "iat": now, "nonce": nonce, **self.identity}
        usual["at_hash"] = half_hash(self.keys[0].algorithm, access_token)
        claims = changed(usual, self.id_claims)
        tokens = {
            "access_token": access_token,
            "id_token": self.sign(claims) if self.sign else self.keys[0].sign(claims),
            "refresh_token": f"refresh-{len(self.forms)}",
            "token_type": "Bearer",
            "expires_in": 300,
        }
        return changed(tokens, self.grant)


def changed(usual: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """With changes; None removes."""
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def answering(body: bytes | str | Any, status: int = 200, **headers: str) -> Any:
    """A coroutine function that answers this, as JSON if it is no text."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=raw, status=status, headers=headers)

    return answer


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    """One at work."""
    peer = StandIn()
    runner = web.ServerRunner(web.Server(peer.serve), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    peer.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield peer
    finally:
        await runner.cleanup()


def _proves(form: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
