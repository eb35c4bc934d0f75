"""SNMPv3 messages of the User-based Security Model: RFC 3412 section 6, RFC 3414, RFC 3826 (AES), RFC 7860 (SHA-2).

pysnmp derives the keys and encrypts. Authentication is one HMAC of the standard library, whose place in the message is
known here and need not be searched for.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from pyasn1.type import univ
from pysnmp.entity import config as pysnmp
from pysnmp.proto.error import StatusInformation
from pysnmp.proto.secmod.eso.priv import aes192, aes256
from pysnmp.proto.secmod.rfc3414 import localkey
from pysnmp.proto.secmod.rfc3414.priv import des
from pysnmp.proto.secmod.rfc3826.priv import aes

from pulse_core.api import PermanentFailure
from pulse_snmp import ber
from pulse_snmp.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulse_snmp.config import SnmpConfig

VERSION = 3
GET = 0xA0
RESPONSE = 0xA2
REPORT = 0xA8

_AUTH: dict[str, tuple[str, int, tuple[int, ...]]] = {
    "MD5": ("md5", 12, pysnmp.USM_AUTH_HMAC96_MD5),
    "SHA": ("sha1", 12, pysnmp.USM_AUTH_HMAC96_SHA),
    "SHA-224": ("sha224", 16, pysnmp.USM_AUTH_HMAC128_SHA224),
    "SHA-256": ("sha256", 24, pysnmp.USM_AUTH_HMAC192_SHA256),
    "SHA-384": ("sha384", 32, pysnmp.USM_AUTH_HMAC256_SHA384),
    "SHA-512": ("sha512", 48, pysnmp.USM_AUTH_HMAC384_SHA512),
}
_PRIV: dict[str, Callable[[], Any]] = {
    "DES": des.Des,
    "AES-128": aes.Aes,
    "AES-192": aes192.AesBlumenthal192,
    "AES-256": aes256.AesBlumenthal256,
    "AES-192-C": aes192.Aes192,
    "AES-256-C": aes256.Aes256,
}
_AUTHENTICATED, _ENCRYPTED, _REPORTABLE = 1, 2, 4
_USM = 3
_MAX_MESSAGE_BYTES = 65507
_MAX_ID = 2**31 - 1
_LONGEST_ENGINE_ID = 32


class Keys(Struct, frozen=True):
    """A user's keys towards one engine; each is empty if the user has none."""

    auth: bytes = b""
    priv: bytes = b""


class Answer(Struct, frozen=True):
    """A message that was received: a response or a report. ``level`` is 1 authenticated, 3 encrypted too, 0 neither."""

    msg_id: int
    engine: Engine
    level: int
    tag: int
    request_id: int
    error_status: int
    first_oid: tuple[int, ...]


class User:
    """A user with its passwords. Building it takes some 10 ms a password: each is hashed over a megabyte.

    :raises PermanentFailure: this machine's cryptography lacks what the user needs.
    """

    def __init__(self, integration: SnmpConfig) -> None:
        self.name = integration.user.encode()
        self.level = 0
        self._keys: dict[bytes, Keys] = {}
        self._hash = ""
        self._priv: Any = None
        if integration.auth_password and integration.auth_protocol != "none":
            self._hash, self._mac_bytes, self._auth_oid = _AUTH[integration.auth_protocol]
            self._auth_master = localkey.hash_passphrase(_password(integration.auth_password), self._hasher())
            self.level = _AUTHENTICATED
        if integration.priv_password and integration.priv_protocol != "none":
            self._priv = _PRIV[integration.priv_protocol]()
            # pysnmp draws one start for a program, which two processes of one parent would share: and with it the IVs
            self._priv.local_int = secrets.randbits(32 if integration.priv_protocol == "DES" else 64)
            self._priv_master = localkey.hash_passphrase(_password(integration.priv_password), self._hasher())
            self.level = _AUTHENTICATED | _ENCRYPTED

    def seal(self, scoped_pdu: bytes, engine: Engine, msg_id: int, *, reportable: bool) -> bytes:
        """Make a message to, or of, the authoritative ``engine``."""
        keys = self._keys_for(engine.engine_id)
        salt = b""
        if self._priv:
            scoped_pdu, salt = self._encrypted(scoped_pdu, keys, engine)
        flags = self.level | (_REPORTABLE if reportable else 0)
        message, at = _message(
            engine, self.name, flags, msg_id, bytes(self._mac_bytes if keys.auth else 0), salt, scoped_pdu
        )
        if keys.auth:
            mac = self._mac(keys, message)
            message = message[:at] + mac + message[at + len(mac) :]
        return message

    def unseal(self, packet: bytes) -> Answer:
        """Read a message, and check whatever of authentication and encryption it claims to have.

        :raises Malformed: it is no SNMPv3 message, or not authentic.
        """
        message = ber.Reader(packet).sequence()
        if message.integer() != VERSION:
            raise ber.Malformed("another version")
        header = message.sequence()
        msg_id, _, flags = header.integer(), header.integer(), header.octets()
        security = ber.Reader(message.octets()).sequence()
        engine = Engine(security.octets(), security.integer(), security.integer())
        _user, mac, salt = security.octets(), security.octets(), security.octets()
        level = flags[0] & (_AUTHENTICATED | _ENCRYPTED) if flags else 0
        if len(engine.engine_id) > _LONGEST_ENGINE_ID or engine.boots < 0 or engine.time_s < 0:
            raise ber.Malformed("an engine that cannot be")
        if level == _ENCRYPTED:
            raise ber.Malformed("encrypted, but not authenticated")  # RFC 3412 section 7.2 step 5c
        if level & _AUTHENTICATED:
            self._check(packet, mac, engine)
        if level & _ENCRYPTED:
            scoped = ber.Reader(self._decrypted(message.octets(), salt, engine)).sequence()
        else:
            scoped = message.sequence()
        scoped.octets(), scoped.octets()
        return _answer(scoped, msg_id, engine, level)

    def _keys_for(self, engine_id: bytes) -> Keys:
        if not self.level or not engine_id:
            return Keys()
        if engine_id not in self._keys:
            if len(self._keys) >= 8:  # noqa: PLR2004 - ours, the receiver's, and what it was before
                self._keys.clear()
            self._keys[engine_id] = self._localized(univ.OctetString(engine_id))
        return self._keys[engine_id]

    def _localized(self, engine_id: Any) -> Keys:
        auth = localkey.localize_key(self._auth_master, engine_id, self._hasher()).asOctets()
        if not self._priv:
            return Keys(auth)
        return Keys(auth, self._priv.localize_key(self._auth_oid, self._priv_master, engine_id).asOctets())

    def _hasher(self) -> Callable[..., hashlib._Hash]:
        made: Callable[..., hashlib._Hash] = getattr(hashlib, self._hash)
        return made

    def _mac(self, keys: Keys, message: bytes) -> bytes:
        return hmac.digest(keys.auth, message, self._hash)[: self._mac_bytes]

    def _check(self, packet: bytes, mac: bytes, engine: Engine) -> None:
        keys = self._keys_for(engine.engine_id)
        at = packet.find(mac)
        if not keys.auth or len(mac) != self._mac_bytes:
            raise ber.Malformed("not this user's authentication")
        blank = packet[:at] + bytes(len(mac)) + packet[at + len(mac) :]
        if not hmac.compare_digest(self._mac(keys, blank), mac):
            raise ber.Malformed("not authentic")

    def _encrypted(self, data: bytes, keys: Keys, engine: Engine) -> tuple[bytes, bytes]:
        try:
            cipher, salt = self._priv.encrypt_data(
                univ.OctetString(keys.priv), (engine.boots, engine.time_s, None), data
            )
        except (StatusInformation, ValueError) as error:
            raise PermanentFailure("this machine's cryptography lacks the priv_protocol") from error
        return ber.octets(cipher.asOctets()), salt.asOctets()

    def _decrypted(self, data: bytes, salt: bytes, engine: Engine) -> bytes:
        keys = self._keys_for(engine.engine_id)
        if not self._priv or len(salt) != 8:  # noqa: PLR2004 - RFC 3414 section 8, RFC 3826 section 3
            raise ber.Malformed("not this user's encryption")
        try:
            plain: bytes = self._priv.decrypt_data(
                univ.OctetString(keys.priv),
                (engine.boots, engine.time_s, univ.OctetString(salt)),
                univ.OctetString(data),
            )
        except (StatusInformation, ValueError) as error:
            raise ber.Malformed("it cannot be decrypted") from error
        return plain


def in_context(engine_id: bytes, pdu: bytes) -> bytes:
    """Put a PDU into the default context of an engine."""
    return ber.tlv(ber.SEQUENCE, ber.octets(engine_id), ber.octets(b""), pdu)


def discovery(msg_id: int) -> bytes:
    """Ask who is there (RFC 3414 section 4): nobody's empty request, which is answered with a report."""
    nobody = ber.tlv(GET, ber.integer(msg_id), ber.integer(0), ber.integer(0), ber.tlv(ber.SEQUENCE))
    return _message(Engine(b"", 0, 0), b"", _REPORTABLE, msg_id, b"", b"", in_context(b"", nobody))[0]


def new_msg_id() -> int:
    """Draw a message id that nobody can guess: who does not see our packets cannot answer them."""
    return secrets.randbelow(_MAX_ID) + 1


def _message(
    engine: Engine, user: bytes, flags: int, msg_id: int, mac: bytes, salt: bytes, data: bytes
) -> tuple[bytes, int]:
    """Return a message and where in it the MAC stands."""
    after = ber.octets(salt)
    security = ber.tlv(
        ber.SEQUENCE,
        ber.octets(engine.engine_id),
        ber.integer(engine.boots),
        ber.integer(engine.time_s),
        ber.octets(user),
        ber.octets(mac),
        after,
    )
    header = ber.tlv(
        ber.SEQUENCE,
        ber.integer(msg_id),
        ber.integer(_MAX_MESSAGE_BYTES),
        ber.octets(bytes((flags,))),
        ber.integer(_USM),
    )
    whole = ber.tlv(ber.SEQUENCE, ber.integer(VERSION), header, ber.octets(security), data)
    return whole, len(whole) - len(data) - len(after) - len(mac)


def _answer(scoped_pdu: ber.Reader, msg_id: int, engine: Engine, level: int) -> Answer:
    tag, content = scoped_pdu.element(RESPONSE, REPORT)
    pdu = ber.Reader(content)
    request_id, status, _index = pdu.integer(), pdu.integer(), pdu.integer()
    variables = pdu.sequence()
    first = variables.sequence().oid() if variables.left else ()
    return Answer(msg_id, engine, level, tag, request_id, status, first)


def _password(secret: Any) -> bytes:
    encoded: bytes = secret.get_secret_value().encode()
    return encoded
