"""What of SNMPv3 works on this machine: OpenSSL may be built, or set, not to know what is old."""

from __future__ import annotations

import importlib.resources
from typing import get_args

from pulse_core.api import PermanentFailure
from pulse_snmp import usm
from pulse_snmp.config import AuthProtocol, PrivProtocol, SnmpConfig
from pulse_snmp.engine import Engine

MIB = "OPSCONDUCTOR-PULSE-MIB.txt"
_PASSWORD = "password of nobody"  # noqa: S105 - of nobody
_ENGINE = Engine(bytes.fromhex("80000000010203"), 1, 1)


def check_all() -> None:
    """Seal a message with every protocol of authentication and of encryption, and look for the MIB. Takes 0.3 s.

    :raises PermanentFailure: naming what does not work.
    """
    lacking = [auth for auth in get_args(AuthProtocol) if auth != "none" and not _works(auth, "none")]
    lacking += [priv for priv in get_args(PrivProtocol) if priv != "none" and not _works("SHA-256", priv)]
    if lacking:
        raise PermanentFailure(f"this machine's cryptography lacks {', '.join(lacking)}: integrations must do without")
    if not importlib.resources.files("pulse_snmp").joinpath(MIB).is_file():
        raise PermanentFailure(f"{MIB} is missing: install the distribution again")


def _works(auth: str, priv: str) -> bool:
    fields = {"host": "localhost", "version": "3", "user": "probe", "engine_id": _ENGINE.engine_id.hex()}
    fields |= {"auth_protocol": auth, "auth_password": _PASSWORD}
    fields |= {"priv_protocol": priv, "priv_password": _PASSWORD} if priv != "none" else {}
    try:
        user = usm.User(SnmpConfig.model_validate(fields))
        user.seal(usm.in_context(_ENGINE.engine_id, b"probe"), _ENGINE, 1, reportable=False)
    except Exception:  # noqa: BLE001 - hashlib, cryptography and pysnmp each have their own way to say no
        return False
    return True
