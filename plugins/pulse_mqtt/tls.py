"""TLS of the listener: what is offered, whose client certificates are believed, and renewed files without a restart."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from cryptography import x509

from pulse_core.api import PermanentFailure
from pulse_mqtt.certificates import Naming

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pulse_core.api import DeviceKey
    from pulse_mqtt.config import MqttConfig

LOOK_EVERY_S = 10.0
"""How often the files are looked at."""
_VERIFY = {"optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class Tls:
    """One listener's TLS. ``context`` stays the same while what stands behind it is renewed."""

    def __init__(self, config: MqttConfig, log: Any) -> None:
        """Read the files. Raises :class:`PermanentFailure`, which names the one that cannot be used."""
        self._config = config
        self._log = log
        self._naming = Naming(config.tls_client_subject) if config.tls_client_ca else None
        self._read = self._state()
        self._behind, self._revoked = _load(config)
        self.context = _load(config)[0]
        # Called for each handshake, whether the client names a server or not, before a certificate is chosen or judged.
        self.context.sni_callback = self._step_in

    def owner(self, connection: ssl.SSLObject | None) -> DeviceKey | None:
        """Whom a connection's verified client certificate names, None for nobody.

        A resumed session shows the certificate of its first handshake, and is not judged again by OpenSSL: whether the
        certificate was revoked meanwhile is looked up here.
        """
        if connection is None or self._naming is None:
            return None
        shown = connection.getpeercert()
        if not shown or self._revoked.includes(connection.getpeercert(binary_form=True)):
            return None
        return self._naming.key_of(shown)

    async def follow_files(self) -> None:
        """Use renewed files as soon as they fit together; until then, the old ones. Runs until cancelled."""
        complained_of = None
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            state = self._state()
            if state == self._read:
                continue
            try:
                self._behind, self._revoked = await asyncio.to_thread(_load, self._config)
            except PermanentFailure as error:
                if complained_of != state:
                    complained_of = state
                    self._log.warning("mqtt.tls_files_unusable", error=str(error))
            else:
                self._read = state
                self._log.info("mqtt.tls_files_renewed")

    def _step_in(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._behind

    def _state(self) -> list[tuple[int, int, int] | None]:
        config = self._config
        paths = (config.tls_cert, config.tls_key, config.tls_client_ca, config.tls_client_crl)
        return [_stamp(path) for path in paths if path is not None]


class _Revoked:
    """Certificates that their issuers have revoked."""

    def __init__(self, lists: list[x509.CertificateRevocationList]) -> None:
        self._numbers = {(one.issuer, entry.serial_number) for one in lists for entry in one}

    def includes(self, certificate: bytes | None) -> bool:
        if not self._numbers or certificate is None:
            return False
        shown = x509.load_der_x509_certificate(certificate)
        return (shown.issuer, shown.serial_number) in self._numbers


def _load(config: MqttConfig) -> tuple[ssl.SSLContext, _Revoked]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    lists: list[x509.CertificateRevocationList] = []
    assert config.tls_cert is not None  # noqa: S101 - there is no TLS without it
    with _blaming("tls_cert", config.tls_cert):
        context.load_cert_chain(config.tls_cert, config.tls_key)
    if config.tls_client_ca is not None:
        with _blaming("tls_client_ca", config.tls_client_ca):
            context.load_verify_locations(config.tls_client_ca)
        context.verify_mode = _VERIFY[config.tls_client_cert]
    if config.tls_client_crl is not None:
        with _blaming("tls_client_crl", config.tls_client_crl):
            context.load_verify_locations(config.tls_client_crl)
            lists = _revocation_lists(config.tls_client_crl.read_bytes())
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context, _Revoked(lists)


def _revocation_lists(pem: bytes) -> list[x509.CertificateRevocationList]:
    begin = b"-----BEGIN X509 CRL-----"
    lists = [x509.load_pem_x509_crl(begin + one) for one in pem.split(begin)[1:]]
    if not lists:
        raise ValueError("there is no certificate revocation list in it")
    return lists


@contextmanager
def _blaming(setting: str, path: Path) -> Iterator[None]:
    """Name the setting and the file when its use fails."""
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise PermanentFailure(f"{setting} {path} cannot be used: {error}") from error


def _stamp(path: Path) -> tuple[int, int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None
