"""Whom a client certificate names: its subject, as the operator says it is to be read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pulse_mqtt.topics import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pulse_core.api import DeviceKey

_SUBJECT: Final = {
    "CN": "commonName",
    "O": "organizationName",
    "OU": "organizationalUnitName",
    "C": "countryName",
    "ST": "stateOrProvinceName",
    "L": "localityName",
    "DC": "domainComponent",
    "UID": "userId",
    "SERIALNUMBER": "serialNumber",
}
_ALTERNATIVE: Final = ("URI", "DNS")
_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_PLACEHOLDERS: Final = ["device_id", "tenant_id"]
_ONLY_ID_CHARACTERS = re.compile(r"[A-Za-z0-9_.:-]*")


class Naming:
    """Reads a device out of a certificate, by a template such as ``O={tenant_id},CN={device_id}``.

    The parts stand for attributes of the subject (``CN``, ``O``, ``OU``, ``C``, ``ST``, ``L``, ``DC``, ``UID``,
    ``SERIALNUMBER``) or for alternative names (``URI``, ``DNS``). A certificate must have each exactly once, or it
    names nobody: which of two would be meant is not ours to guess.
    """

    def __init__(self, template: str) -> None:
        """Raise :class:`ValueError`, for people to read, when a template could not name one device for certain."""
        if sorted(_PLACEHOLDER.findall(template)) != _PLACEHOLDERS:
            raise ValueError("{tenant_id} and {device_id} must stand there, once each, and nothing else in braces")
        self._parts: dict[str, re.Pattern[str]] = {}
        for part in template.split(","):
            attribute, equals, pattern = part.strip().partition("=")
            if not equals or not pattern or attribute not in {*_SUBJECT, *_ALTERNATIVE}:
                known = ", ".join((*_SUBJECT, *_ALTERNATIVE))
                raise ValueError(f"{part.strip()!r} is not ATTRIBUTE=PATTERN, where an attribute is one of {known}")
            if attribute in self._parts:
                raise ValueError(f"{attribute} stands there twice")
            self._parts[attribute] = _compiled(pattern)

    def key_of(self, certificate: Mapping[str, Any]) -> DeviceKey | None:
        """Whom a certificate names, None for nobody.

        :param certificate: as :meth:`ssl.SSLSocket.getpeercert` describes it.
        """
        ids: dict[str, str] = {}
        for attribute, pattern in self._parts.items():
            values = list(_values(certificate, attribute))
            match = pattern.fullmatch(values[0]) if len(values) == 1 else None
            if match is None:
                return None
            ids |= match.groupdict()
        return key_of(f"{ids['tenant_id']}/{ids['device_id']}")


def _compiled(pattern: str) -> re.Pattern[str]:
    pieces = _PLACEHOLDER.split(pattern)  # text, name, text, name, text
    for between in pieces[2:-1:2]:
        if _ONLY_ID_CHARACTERS.fullmatch(between):
            raise ValueError(f"what stands between two ids in {pattern!r} must have a character that no id has: / say")
    for number, piece in enumerate(pieces):
        pieces[number] = f"(?P<{piece}>[^/]+)" if number % 2 else re.escape(piece)
    return re.compile("".join(pieces))


def _values(certificate: Mapping[str, Any], attribute: str) -> Iterator[str]:
    if attribute in _ALTERNATIVE:
        pairs = certificate.get("subjectAltName", ())
        wanted = attribute
    else:
        pairs = (pair for names in certificate.get("subject", ()) for pair in names)
        wanted = _SUBJECT[attribute]
    return (value for name, value in pairs if name == wanted)
