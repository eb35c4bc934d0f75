"""From a notification to a mail: what stands in it, and how it refers to the others of its alert."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_email import defaults
from pulse_email.config import DEFAULT_SUBJECT
from pulse_email.filters import TemplateProblemError
from pulse_email.mime import addresses_header, message, one_line, sender_header, text_header
from pulse_email.templates import template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import Notification
    from pulse_email.config import EmailConfig

_LONGEST_SUBJECT = 250
_MOST_THREADS = 10_000
_LONGEST_DOMAIN = 34
"""In ids: so that two of them and a header's name fit into lines of 78 characters."""
_SAFE_IN_AN_ID = re.compile(r"[A-Za-z0-9-]{1,36}")


class Composed(Struct, frozen=True):
    """A mail, and what is to be said about it: templates that did not work out."""

    content: bytes
    remarks: tuple[str, ...]


class Composer:
    """Writes the mails of one integration.

    Every mail of an alert refers to one made-up first message, so that mail programs show them as one conversation,
    in whatever process they were written. Beyond that, later ones answer the OPEN mail itself if this object wrote
    it. The OPEN mail cannot be that first message: sent again on request, under an id that is already there, it would
    be dropped by servers that take it for a duplicate.
    """

    def __init__(self, integration: EmailConfig) -> None:
        self._integration = integration
        self._domain = _short(integration.from_address.rpartition("@")[2])
        self._opened: OrderedDict[str, str] = OrderedDict()
        self._always = _headers(integration)

    def compose(self, notification: Notification) -> Composed:
        """Write the mail. The same delivery gives the same mail, but for its date."""
        values, remarks = _values(notification), list[str]()
        template_of_subject = self._integration.subject_template
        subject = self._rendered("subject", template_of_subject, DEFAULT_SUBJECT, values, remarks)
        headers = text_header("Subject", one_line(subject, _LONGEST_SUBJECT)) + self._always
        headers += self._identity(notification) + f"Date: {format_datetime(datetime.now(UTC))}\r\n"
        boundary = "=_" + hashlib.sha256(f"{notification.delivery_id} {headers}".encode()).hexdigest()[:40]
        content = message(headers, self._bodies(values, remarks), boundary)
        return Composed(content, tuple(remarks))

    def _identity(self, notification: Notification) -> str:
        own, thread = self._id("d", notification.delivery_id), self._id("a", notification.alert_id)
        opened = self._opened.get(notification.alert_id)
        if notification.event == "OPEN":
            self._opened[notification.alert_id] = own
            if len(self._opened) > _MOST_THREADS:
                self._opened.popitem(last=False)
            return f"Message-ID: {own}\r\nReferences: {thread}\r\n"
        references = f"{thread}\r\n {opened}" if opened else thread
        return f"Message-ID: {own}\r\nIn-Reply-To: {opened or thread}\r\nReferences: {references}\r\n"

    def _id(self, kind: str, of: str) -> str:
        safe = of if _SAFE_IN_AN_ID.fullmatch(of) else hashlib.sha256(of.encode(errors="replace")).hexdigest()[:36]
        return f"<{kind}.{safe}@{self._domain}>"

    def _bodies(self, values: Mapping[str, Any], remarks: list[str]) -> dict[str, str]:
        integration, bodies = self._integration, dict[str, str]()
        if integration.format != "html":
            source = integration.text_template or defaults.TEXT
            bodies["plain"] = self._rendered("text", source, defaults.TEXT, values, remarks)
        if integration.format != "text":
            source = integration.html_template or defaults.HTML
            bodies["html"] = self._rendered("html", source, defaults.HTML, values, remarks)
        return bodies

    def _rendered(self, what: str, source: str, standard: str, values: Mapping[str, Any], remarks: list[str]) -> str:
        """Render; an alert that a customer's template cannot show is told in our words rather than not at all."""
        html = what == "html"
        try:
            return template(source, html=html).render(values)
        except TemplateProblemError as error:
            remarks.append(f"the {what} template did not work out, the standard one was used ({error})")
            return template(standard, html=html).render(values)


def _headers(integration: EmailConfig) -> str:
    """Return the headers that are the same in every mail."""
    headers = sender_header(integration.from_name, integration.from_address) + addresses_header("To", integration.to)
    if integration.cc:
        headers += addresses_header("Cc", integration.cc)
    # RFC 3834 and its forerunner: no out-of-office answers, please
    return headers + "Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\n"


def _short(domain: str) -> str:
    """Return as many of the last labels of ``domain`` as fit into an id."""
    while len(domain) > _LONGEST_DOMAIN and "." in domain:
        domain = domain.partition(".")[2]
    return domain if len(domain) <= _LONGEST_DOMAIN else "pulse.invalid"


def _values(notification: Notification) -> dict[str, Any]:
    closed_at = notification.closed_at if notification.event == "CLOSED" else None
    return {
        "severity": notification.severity_name,
        "severity_lower": notification.severity_name.lower(),
        "alert_type": notification.alert_type,
        "device_id": notification.device_id,
        "site_id": notification.site_id,
        "tenant_id": notification.tenant_id,
        "alert_id": notification.alert_id,
        "message": notification.summary,
        "timestamp": closed_at or notification.created_at,
        "event": notification.event,
        "details": notification.details,
    }
