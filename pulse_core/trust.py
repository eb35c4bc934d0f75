"""For self-checks: can this machine tell a genuine server from another one, and is a server there?"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from pulse_core.errors import PermanentFailure

if TYPE_CHECKING:
    from pulse_core.outbound import HttpClient


def check_tls_trust() -> None:
    """Return if this machine trusts certificate authorities, as a channel that calls TLS servers needs.

    Slim containers come without any: then every certificate of every receiver is refused. For a channel's ``check``.

    :raises PermanentFailure: it trusts none.
    """
    if ssl.create_default_context().cert_store_stats()["x509_ca"]:
        return
    folder = ssl.get_default_verify_paths().capath  # read when it is needed: not counted above
    if folder is None or not any(Path(folder).glob("*.[0-9]")):
        raise PermanentFailure(
            "this machine trusts no certificate authority, so every TLS server will be refused: install "
            "ca-certificates, or name a file of authorities in SSL_CERT_FILE"
        )


def client_to(*origins: str) -> HttpClient:
    """An HTTP client behind the outbound guard, yours to close, for a ``check``: that is lent no services.

    :param origins: what the operator wrote into your configuration: these may be called wherever they are. All else
        must be public, whatever ``outbound.allow`` says.
    """
    from pulse_core.outbound import HttpClient, Outbound  # noqa: PLC0415 - it takes a tenth of a second to import

    return HttpClient(Outbound(named=origins), allow_plain_http=True)
