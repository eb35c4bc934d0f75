"""What a customer fills in for an SNMP receiver."""

from __future__ import annotations

import re
from typing import Literal

from pulse_core.api import Field, IntegrationConfig, SecretStr, field_validator, model_validator
from pulse_snmp import ber
from pulse_snmp.alert import prefix_arcs
from pulse_snmp.engine import new_engine_id

AuthProtocol = Literal["none", "MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512"]
PrivProtocol = Literal["none", "DES", "AES-128", "AES-192", "AES-256", "AES-192-C", "AES-256-C"]

_HOST = re.compile(r"[^\s/@?#\x00-\x20\x7f]{1,253}\Z")
_OID = re.compile(r"[012](\.(0|[1-9][0-9]{0,9})){1,127}\Z")
_ENGINE_ID = re.compile(r"(0x)?([0-9a-f]{10,64})\Z")
_LONGEST_PREFIX_BYTES = 32
_SHORTEST_PASSWORD = 8  # RFC 3414 section 11.2
_LONGEST_SECRET = 128
_LONGEST_USER_BYTES = 32  # RFC 3414, SnmpUSM user names


class SnmpConfig(IntegrationConfig):
    """An SNMP manager that is sent a trap, or asked with an INFORM, for every alert change."""

    host: str
    """The receiver's name or address."""
    port: int = Field(162, ge=1, le=65535)
    """The receiver's UDP port."""
    version: Literal["2c", "3"] = "2c"
    """2c needs `community`, which travels readable by everybody on the way; 3 needs `user` and can do better."""
    notification: Literal["trap", "inform"] = "trap"
    """A trap is sent and not answered: what the network loses is lost. An INFORM counts as delivered when the
    receiver has answered it, and is tried again until it does."""
    community: SecretStr | None = None
    """The community string (version 2c)."""
    user: str = ""
    """The security name (version 3)."""
    auth_protocol: AuthProtocol = "none"
    """How messages are authenticated (version 3). Choose SHA-256 or better if the receiver can."""
    auth_password: SecretStr | None = None
    """The authentication password, 8 characters at least."""
    priv_protocol: PrivProtocol = "none"
    """How messages are encrypted (version 3); needs authentication. AES-192-C and AES-256-C derive their keys as Cisco
    does, AES-192 and AES-256 as net-snmp does."""
    priv_password: SecretStr | None = None
    """The encryption password, 8 characters at least."""
    oid_prefix: str = "1.3.6.1.4.1.99999"
    """Where the notification and its variables hang; the MIB describes the default."""
    engine_id: str = Field(default_factory=new_engine_id)
    """Our engine id towards this receiver, in hexadecimal (version 3). Receivers of traps must be told it together with
    the user. Leave it empty to have one made; it then stays as it is."""
    engine_boots: int = Field(1, ge=1, le=2**31 - 2)
    """Raise it by one if the receiver refuses traps as outside its time window (version 3), which happens after our
    clock was set back."""
    timeout_s: float = Field(5.0, ge=0.5, le=14.0)
    """How long an INFORM waits for its answer, in seconds."""

    @field_validator("host")
    @classmethod
    def _a_host(cls, host: str) -> str:
        if not _HOST.match(host):
            raise ValueError("a host is a name or an address, without a scheme, a path or spaces")
        return host

    @field_validator("oid_prefix")
    @classmethod
    def _a_prefix(cls, prefix: str) -> str:
        prefix = prefix.removeprefix(".")
        arcs = prefix_arcs(prefix) if _OID.match(prefix) else ()
        if not arcs or max(arcs) >= 2**32 or (arcs[0] < 2 and arcs[1] >= 40):  # noqa: PLR2004 - X.660
            raise ValueError("a prefix is an object identifier in digits and dots, as 1.3.6.1.4.1.99999")
        if len(ber.oid(arcs)) - 2 > _LONGEST_PREFIX_BYTES:
            raise ValueError(f"a prefix may take {_LONGEST_PREFIX_BYTES} bytes at most")
        return prefix

    @field_validator("engine_id")
    @classmethod
    def _an_engine_id(cls, engine_id: str) -> str:
        if not engine_id:
            return new_engine_id()
        matched = _ENGINE_ID.match(engine_id.lower().replace(":", ""))
        if matched is None or len(matched[2]) % 2 or set(matched[2]) in ({"0"}, {"f"}):
            raise ValueError("an engine id is 5 to 32 bytes in hexadecimal, not all 0 or all f")
        return matched[2]

    @model_validator(mode="after")
    def _complete(self) -> SnmpConfig:
        if self.version == "2c":
            _must(_size(self.community) > 0, "version 2c needs a community")
        else:
            _must(0 < len(self.user.encode()) <= _LONGEST_USER_BYTES, "version 3 needs a user of 1 to 32 bytes")
        _must(_size(self.community) <= _LONGEST_SECRET, f"a community is {_LONGEST_SECRET} bytes at most")
        for kind, protocol, password in (
            ("auth", self.auth_protocol, self.auth_password),
            ("priv", self.priv_protocol, self.priv_password),
        ):
            if protocol == "none":
                _must(_size(password) == 0, f"{kind}_password is of no use without {kind}_protocol")
            else:
                fits = _SHORTEST_PASSWORD <= _size(password) <= _LONGEST_SECRET
                _must(fits, f"{kind}_protocol needs a {kind}_password of {_SHORTEST_PASSWORD} characters at least")
        _must(self.priv_protocol == "none" or self.auth_protocol != "none", "encryption needs authentication as well")
        return self


def _size(secret: SecretStr | None) -> int:
    return len(secret.get_secret_value().encode()) if secret is not None else 0


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
