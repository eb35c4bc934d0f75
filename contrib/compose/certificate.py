"""Makes Keycloak's certificate: in production, Pulse talks to a login provider over TLS alone.

``certificate.py FOLDER``, with the address in ``KEYCLOAK_URL``. What is there already stays.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_VALID = dt.timedelta(days=3650)


def write(folder: Path, host: str) -> None:
    """Write ``keycloak.key`` (for Keycloak alone), ``keycloak.pem``, and ``trusted.pem``: whom the web role believes.

    Those are the public authorities, and this one certificate.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + _VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    handle = os.open(folder / "keycloak.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(private)
    (folder / "trusted.pem").write_bytes(_public() + certificate)
    (folder / "keycloak.pem").write_bytes(certificate)


def _public() -> bytes:
    """The authorities that this system believes."""
    found = ssl.get_default_verify_paths().cafile
    return Path(found).read_bytes() if found else b""


if __name__ == "__main__":
    into = Path(sys.argv[1])
    if not (into / "keycloak.pem").exists():
        write(into, urlsplit(os.environ["KEYCLOAK_URL"]).hostname or "")
